#include "base/log.h"
#include "base/test.h"
#include <string.h>
#include <unistd.h>
#include <fcntl.h>
TEST(ring_keeps_newest_warnings_even_below_level)
{
    log_set_level(LOG_LEVEL_ERROR);
    log_warn("m", "first", "k", "v w", NULL);
    log_warnf("m", "second %d", 2);
    log_infof("m", "not kept");
    assert_non_null(strstr(log_ring_get(0), "W m: second 2"));
    assert_non_null(strstr(log_ring_get(1), "W m: first k=\"v w\""));
    assert_null(log_ring_get(2));
    for (int i = 0; i < 100; i++)
        log_warnf("m", "n%d", i);
    assert_non_null(strstr(log_ring_get(63), "n36"));
    assert_null(log_ring_get(64));
}
TEST(one_line_per_fact)
{
    int fds[2], saved = dup(2);
    char text[512];
    ssize_t n;
    assert_int_equal(pipe(fds), 0);
    (void)dup2(fds[1], 2);
    log_set_level(LOG_LEVEL_INFO);
    log_info("mod", "two\nlines", "key", "a\nb", NULL);
    (void)dup2(saved, 2);
    (void)close(fds[1]);
    n = read(fds[0], text, sizeof text - 1);
    text[n] = '\0';
    assert_non_null(strstr(text, " I mod: two lines key=\"a\\nb\"\n"));
    assert_ptr_equal(strchr(text, '\n'), text + n - 1);
    (void)close(fds[0]);
    (void)close(saved);
}
TEST(limits)
{
    struct log_limit l = {0};
    assert_true(log_limit_ok(&l, 60000));
    assert_false(log_limit_ok(&l, 60000));
    assert_int_equal(l.suppressed, 1);
}
TEST_MAIN()
