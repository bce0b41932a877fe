#include "base/quantity.h"
#include "base/test.h"
#include <errno.h>
TEST(parse_and_print)
{
    static const struct {
        const char *in;
        int64_t milli;
        const char *out;
    } t[] = {
        {"100m", 100, "100m"},     {"64Mi", 64LL * 1048576 * 1000, "64Mi"},
        {"1", 1000, "1"},          {"0.5", 500, "500m"},
        {"1e3", 1000000, "1e3"},   {"1.5Gi", 1536LL * 1048576 * 1000, "1536Mi"},
        {"2k", 2000000, "2k"},     {"0", 0, "0"},
        {"1n", 1, "1m"},           {"-1", -1000, "-1"},
        {"1024", 1024000, "1024"}, {"100Ei", INT64_MAX, NULL},
        {"1000m", 1000, "1"},      {"512Ki", 524288000, "512Ki"},
    };
    for (size_t i = 0; i < sizeof t / sizeof t[0]; i++) {
        struct quantity q;
        char out[QUANTITY_TEXT];
        assert_int_equal(quantity_parse(str_of(t[i].in), &q), 0);
        assert_true(q.milli == t[i].milli);
        quantity_format(q, out);
        if (t[i].out)
            assert_string_equal(out, t[i].out);
    }
}
TEST(bad)
{
    static const char *const t[] = {"",      "m",  "1x",   "1 Mi", "--1",
                                    "1.2.3", "e3", "0x10", "1e99", "Ki"};
    for (size_t i = 0; i < sizeof t / sizeof t[0]; i++) {
        struct quantity q;
        assert_int_equal(quantity_parse(str_of(t[i]), &q), -EINVAL);
    }
    assert_int_equal(quantity_value_or("1500m", 0), 2);
    assert_int_equal(quantity_value_or("zzz", 7), 7);
}
TEST_MAIN()
