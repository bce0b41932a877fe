#include "base/error.h"
#include "base/test.h"
#include <errno.h>
TEST(set_wrap_clear)
{
    struct error *err = NULL;
    assert_int_equal(error_set_errno(&err, ENOENT, "open %s", "/x"), -ENOENT);
    assert_string_equal(error_message(err), "open /x: No such file or directory");
    assert_int_equal(error_wrap(&err, "pod %s", "a/b"), -ENOENT);
    assert_string_equal(error_message(err), "pod a/b: open /x: No such file or directory");
    assert_int_equal(error_set(&err, EINVAL, "second"), -EINVAL);
    assert_string_equal(error_message(err), "second");
    error_clear(&err);
    assert_null(err);
    assert_int_equal(error_set(NULL, EINVAL, "nobody listens"), -EINVAL);
}
TEST_MAIN()
