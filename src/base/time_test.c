#include "base/time.h"
#include "base/test.h"
#include <errno.h>
TEST(rfc3339)
{
    char out[WALL_TEXT];
    struct wall t;
    assert_int_equal(wall_parse(STR("2026-11-23T21:44:36.123456Z"), &t), 0);
    wall_format_micro(t, out);
    assert_string_equal(out, "2026-11-23T21:44:36.123456Z");
    assert_int_equal(wall_parse(STR("2026-11-23T23:44:36+02:00"), &t), 0);
    wall_format(t, out);
    assert_string_equal(out, "2026-11-23T21:44:36Z");
    wall_format_nano(t, out);
    assert_string_equal(out, "2026-11-23T21:44:36.000000000Z");
    static const char *const bad[] = {"",
                                      "2026",
                                      "2026-11-23",
                                      "2026-11-23T21:44:36",
                                      "2026-13-23T21:44:36Z",
                                      "2026-11-23T21:44:36.Z",
                                      "2026-11-23T21:44:36+2:00",
                                      "2026-11-2",
                                      "2026-11-23T"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(wall_parse(str_of(bad[i]), &t), -EINVAL);
}
TEST(durations)
{
    static const struct {
        const char *in;
        int64_t ns;
        const char *out;
    } t[] = {
        {"1m0s", 60 * NSEC_PER_SEC, "1m0s"},
        {"300ms", 300 * NSEC_PER_MSEC, "300ms"},
        {"0", 0, "0s"},
        {"-1.5s", -1500 * NSEC_PER_MSEC, "-1.5s"},
        {"1h2m3.5s", 3723500 * NSEC_PER_MSEC, "1h2m3.5s"},
        {"4h", 4 * 3600 * NSEC_PER_SEC, "4h0m0s"},
        {"1us", 1000, "1\xc2\xb5s"},
        {"15ns", 15, "15ns"},
    };
    for (size_t i = 0; i < sizeof t / sizeof t[0]; i++) {
        char out[WALL_TEXT];
        int64_t ns = -7;
        assert_int_equal(duration_parse(str_of(t[i].in), &ns), 0);
        assert_true(ns == t[i].ns);
        duration_format(ns, out);
        assert_string_equal(out, t[i].out);
    }
    int64_t ns;
    assert_int_equal(duration_parse(STR("5"), &ns), -EINVAL);
    assert_int_equal(duration_parse(STR(""), &ns), -EINVAL);
    assert_int_equal(duration_parse(STR("1x"), &ns), -EINVAL);
    assert_int_equal(duration_parse(STR("99999999h"), &ns), -ERANGE);
}
TEST(ages)
{
    static const struct {
        int64_t s;
        const char *out;
    } t[] = {{5, "5s"},
             {119, "119s"},
             {200, "3m20s"},
             {240, "4m"},
             {3600, "60m"},
             {3 * 3600 + 60, "3h1m"},
             {9 * 3600, "9h"},
             {3 * 86400, "3d"},
             {2 * 86400 + 3600, "2d1h"},
             {800LL * 86400, "2y70d"}};
    for (size_t i = 0; i < sizeof t / sizeof t[0]; i++) {
        char out[WALL_TEXT];
        duration_format_human(t[i].s * NSEC_PER_SEC, out);
        assert_string_equal(out, t[i].out);
    }
}
TEST_MAIN()
