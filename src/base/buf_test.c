#include "base/buf.h"
#include "base/test.h"
#include <errno.h>
TEST(bound_is_kept)
{
    struct buf b;
    buf_init(&b, 4);
    assert_int_equal(buf_add_z(&b, "abcd"), 0);
    assert_int_equal(buf_add_char(&b, 'e'), -EMSGSIZE);
    assert_true(b.overflowed);
    assert_string_equal(b.p, "abcd");
    buf_consume(&b, 3);
    assert_string_equal(b.p, "d");
    buf_fini(&b);
}
TEST(json_strings)
{
    struct buf b;
    buf_init(&b, 1000);
    assert_int_equal(buf_add_json_string(&b, STR("a\"\\\n\x01\xc3\xa9\xff\xed\xa0\x80")), 0);
    assert_string_equal(
        b.p, "\"a\\\"\\\\\\n\\u0001\xc3\xa9\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"");
    buf_clear(&b);
    (void)buf_add_json_string(&b, STR_NULL);
    assert_string_equal(b.p, "\"\"");
    buf_fini(&b);
}
TEST(base64_both_ways)
{
    static const char *const pairs[][2] = {
        {"", ""}, {"f", "Zg=="}, {"fo", "Zm8="}, {"foo", "Zm9v"}, {"foob", "Zm9vYg=="}};
    struct buf b;
    buf_init(&b, 1000);
    for (size_t i = 0; i < 5; i++) {
        buf_clear(&b);
        (void)buf_add_base64(&b, pairs[i][0], strlen(pairs[i][0]));
        assert_string_equal(buf_str(&b).p, pairs[i][1]);
        buf_clear(&b);
        assert_int_equal(buf_add_base64_decoded(&b, str_of(pairs[i][1])), 0);
        assert_string_equal(buf_str(&b).p, pairs[i][0]);
    }
    assert_int_equal(buf_add_base64_decoded(&b, STR("a")), -EINVAL);
    assert_int_equal(buf_add_base64_decoded(&b, STR("a b=")), -EINVAL);
    buf_fini(&b);
}
TEST(url_escapes)
{
    struct buf b;
    buf_init(&b, 1000);
    (void)buf_add_url_escaped(&b, STR("a b/\xff~"));
    assert_string_equal(b.p, "a%20b%2F%FF~");
    buf_clear(&b);
    assert_int_equal(buf_add_url_unescaped(&b, STR("a%20b+c%2F"), true), 0);
    assert_string_equal(b.p, "a b c/");
    assert_int_equal(buf_add_url_unescaped(&b, STR("%2"), false), -EINVAL);
    assert_int_equal(buf_add_url_unescaped(&b, STR("%zz"), false), -EINVAL);
    buf_fini(&b);
}
TEST_MAIN()
