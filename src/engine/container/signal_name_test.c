#include "engine/container/signal_name.h"
#include "base/test.h"
#include <signal.h>

TEST(names)
{
    assert_int_equal(signal_number("SIGTERM", 0), SIGTERM);
    assert_int_equal(signal_number("KILL", 0), SIGKILL);
    assert_int_equal(signal_number("9", 0), SIGKILL);
    assert_int_equal(signal_number("SIGRTMIN+3", 0), 37);
    assert_int_equal(signal_number("SIGRTMINPLUS3", 0), 37);
    assert_int_equal(signal_number("SIGRTMAX-1", 0), 63);
    assert_int_equal(signal_number("SIGRTMAX", 0), 64);
    assert_int_equal(signal_number("SIGNONE", 15), 15);
    assert_int_equal(signal_number("", 15), 15);
    assert_int_equal(signal_number("99", 15), 15);
}
TEST_MAIN()
