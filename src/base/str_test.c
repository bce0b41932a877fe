#include "base/str.h"
#include "base/test.h"
#include <errno.h>
#include <stdlib.h>
TEST(numbers)
{
    int64_t v;
    uint64_t u;
    assert_int_equal(str_to_i64(STR("-9223372036854775808"), INT64_MIN, INT64_MAX, &v), 0);
    assert_true(v == INT64_MIN);
    assert_int_equal(str_to_i64(STR("9223372036854775808"), INT64_MIN, INT64_MAX, &v), -ERANGE);
    assert_int_equal(str_to_i64(STR("12x"), 0, 100, &v), -EINVAL);
    assert_int_equal(str_to_i64(STR(""), 0, 100, &v), -EINVAL);
    assert_int_equal(str_to_i64(STR("-"), 0, 100, &v), -EINVAL);
    assert_int_equal(str_to_i64(STR("101"), 0, 100, &v), -ERANGE);
    assert_int_equal(str_to_u64(STR("18446744073709551615"), UINT64_MAX, &u), 0);
    assert_int_equal(str_to_u64(STR("18446744073709551616"), UINT64_MAX, &u), -ERANGE);
}
TEST(split)
{
    struct str rest = STR("a,,b");
    assert_true(str_eq_z(str_split(&rest, ','), "a"));
    assert_true(str_eq_z(str_split(&rest, ','), ""));
    assert_true(str_eq_z(str_split(&rest, ','), "b"));
    assert_null(rest.p);
}
TEST(prefix_suffix_trim)
{
    assert_true(str_starts(STR("abc"), STR("ab")));
    assert_false(str_starts(STR("a"), STR("ab")));
    assert_true(strends("a.tar", ".tar"));
    assert_true(str_eq_z(str_trim(STR(" \t x \n")), "x"));
    assert_true(streq(NULL, NULL));
    assert_false(streq("a", NULL));
}
TEST(nearest)
{
    static const char *const words[] = {"kubeconfig", "hostname-override", "cluster-cidr"};
    assert_string_equal(str_nearest("cluster-cdir", words, 3), "cluster-cidr");
    assert_null(str_nearest("zzzzzzzz", words, 3));
}
TEST_MAIN()
