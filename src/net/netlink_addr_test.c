#include "base/test.h"
#include "net/netlink_addr.h"

TEST(parse_and_print)
{
    static const char *good[] = {"10.0.0.1", "0.0.0.0", "255.255.255.255", "::1", "fd00::12:34"};
    static const char *bad[] = {"",  "10.0.0",   "10.0.0.256", "10.0.0.01", "fe80::1%eth0",
                                "a", "1.2.3.4/5"};
    struct ip a;
    char text[IP_TEXT];

    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        assert_int_equal(ip_parse(str_of(good[i]), &a), 0);
        ip_format(&a, text);
        assert_string_equal(text, good[i]);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_true(ip_parse(str_of(bad[i]), &a) < 0);
}

TEST(prefixes)
{
    static const char *bad[] = {"10.0.0.0",    "10.0.0.0/33", "10.0.0.0/",
                                "10.0.0.0/-1", "::/129",      "10.0.0.0/08"};
    struct ipnet n, m;
    struct ip a;
    char text[IPNET_TEXT];

    assert_int_equal(ipnet_parse(STR("172.30.5.9/16"), &n), 0);
    m = ipnet_masked(&n);
    ipnet_format(&m, text);
    assert_string_equal(text, "172.30.0.0/16");
    assert_int_equal(ip_parse(STR("172.30.255.1"), &a), 0);
    assert_true(ipnet_contains(&n, &a));
    assert_int_equal(ip_parse(STR("172.31.0.1"), &a), 0);
    assert_false(ipnet_contains(&n, &a));
    a = ipnet_host(&n, 0x1ff);
    ip_format(&a, text);
    assert_string_equal(text, "172.30.1.255");
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_true(ipnet_parse(str_of(bad[i]), &n) < 0);
    assert_int_equal(ipnet_parse(STR("0.0.0.0/0"), &n), 0);
    assert_true(ipnet_contains(&n, &a));
}

TEST_MAIN()
