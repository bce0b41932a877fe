#include "base/test.h"
#include "base/cleanup.h"
#include "net/netlink_netns_test.h"
#include "net/rtnl.h"
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>

#define OK(call)                                                                                   \
    do {                                                                                           \
        if ((call) < 0)                                                                            \
            fail_msg("%s: %s", #call, error_message(err));                                         \
    } while (0)

static struct netlink *here;

static void setup(void)
{
    if (here)
        return;
    test_enter_netns();
    assert_int_equal(netlink_open(NETLINK_ROUTE, -1, &here, NULL), 0);
}

static struct ipnet net_of(const char *z)
{
    struct ipnet n;
    assert_int_equal(ipnet_parse(str_of(z), &n), 0);
    return n;
}

static int count_address(const struct rtnl_address *a, void *arg)
{
    char text[IPNET_TEXT];
    ipnet_format(&a->net, text);
    if (streq(text, "10.1.2.3/24"))
        ++*(int *)arg;
    return 0;
}

static int count_route(const struct rtnl_route *r, void *arg)
{
    assert_int_equal(r->protocol, RTNL_PROTO_SKIFF);
    ++*(int *)arg;
    return 0;
}

TEST(bridge_veth_addresses_routes)
{
    cleanup_error struct error *err = NULL;
    uint8_t mac[MAC_BYTES];
    struct rtnl_link bridge, host, l;
    struct netlink *there = NULL;
    int count = 0;

    setup();
    cleanup_close int ns = test_new_netns();
    assert_int_equal(mac_parse(STR("02:42:0A:01:02:03"), mac), 0);
    OK(rtnl_link_create(here,
                        &(struct rtnl_link_spec){
                            .kind = "bridge", .name = "br0", .mtu = 1450, .mac = mac, .up = true},
                        &err));
    OK(rtnl_link_get(here, "br0", &bridge, &err));
    assert_string_equal(bridge.kind, "bridge");
    assert_memory_equal(bridge.mac, mac, MAC_BYTES);
    assert_true(bridge.flags & IFF_UP);
    OK(rtnl_link_create(
        here,
        &(struct rtnl_link_spec){.kind = "veth",
                                 .name = "vhost",
                                 .mtu = 1450,
                                 .master = bridge.index,
                                 .up = true,
                                 .peer = {.name = "eth0", .mtu = 1450, .netns = {.fd = ns}}},
        &err));
    OK(rtnl_link_get(here, "vhost", &host, &err));
    assert_int_equal(host.master, bridge.index);
    OK(rtnl_bridge_port_set_hairpin(here, host.index, true, &err));
    OK(rtnl_link_set_promisc(here, bridge.index, true, &err));
    OK(netlink_open(NETLINK_ROUTE, ns, &there, &err));
    OK(rtnl_link_get(there, "eth0", &l, &err));
    OK(rtnl_link_set_up(there, l.index, true, &err));
    struct rtnl_address a = {.index = l.index, .net = net_of("10.1.2.3/24")};
    OK(rtnl_address_add(there, &a, &err));
    assert_int_equal(rtnl_address_add(there, &a, NULL), -EEXIST);
    OK(rtnl_address_each(there, l.index, AF_UNSPEC, count_address, &count, &err));
    assert_int_equal(count, 1);
    struct rtnl_route r = {
        .dst = net_of("0.0.0.0/0"), .gateway = net_of("10.1.2.1/32").ip, .oif = l.index};
    OK(rtnl_route_replace(there, &r, &err));
    OK(rtnl_route_replace(there, &r, &err));
    count = 0;
    OK(rtnl_route_each(there, AF_INET, RTNL_PROTO_SKIFF, count_route, &count, &err));
    assert_int_equal(count, 1);
    struct ip dst = net_of("192.0.2.1/32").ip;
    struct rtnl_route found;
    OK(rtnl_route_lookup(there, &dst, &found, &err));
    assert_int_equal(found.oif, l.index);
    OK(rtnl_route_delete(there, &r, &err));
    assert_int_equal(rtnl_route_delete(there, &r, NULL), -ESRCH);
    OK(rtnl_address_delete(there, &a, &err));
    OK(rtnl_link_delete(here, host.index, &err));
    assert_int_equal(rtnl_link_get(there, "eth0", &l, NULL), -ENODEV);
    OK(rtnl_link_delete_name(here, "br0", &err));
    assert_int_equal(rtnl_link_delete_name(here, "br0", &err), -ENODEV);
    netlink_close(there);
}

static int count_neighbour(const struct rtnl_neighbour *b, void *arg)
{
    static const uint8_t none[MAC_BYTES];
    if (memcmp(b->mac, none, MAC_BYTES) != 0 && b->state & NUD_PERMANENT)
        ++*(int *)arg;
    return 0;
}

TEST(vxlan_and_its_tables)
{
    cleanup_error struct error *err = NULL;
    struct rtnl_link v;
    uint8_t mac[MAC_BYTES] = {0x0e, 1, 2, 3, 4, 5};
    int count = 0;

    setup();
    int r =
        rtnl_link_create(here,
                         &(struct rtnl_link_spec){
                             .kind = "vxlan",
                             .name = "vx.1",
                             .mac = mac,
                             .up = true,
                             .vxlan = {.vni = 1, .port = 8472, .local = net_of("127.0.0.1/8").ip}},
                         &err);
    if (r == -EOPNOTSUPP)
        skip();
    OK(r);
    OK(rtnl_link_get(here, "vx.1", &v, &err));
    assert_int_equal(v.vxlan.vni, 1);
    assert_int_equal(v.vxlan.port, 8472);
    assert_false(v.vxlan.learning);
    struct rtnl_neighbour f = {
        .index = v.index, .fdb = true, .ip = net_of("192.0.2.7/32").ip, .mac = {2, 2, 2, 2, 2, 2}};
    OK(rtnl_neighbour_replace(here, &f, &err));
    struct rtnl_neighbour b = {
        .index = v.index, .ip = net_of("172.30.7.0/32").ip, .mac = {2, 2, 2, 2, 2, 2}};
    OK(rtnl_neighbour_replace(here, &b, &err));
    OK(rtnl_neighbour_each(here, v.index, true, count_neighbour, &count, &err));
    assert_int_equal(count, 1);
    count = 0;
    OK(rtnl_neighbour_each(here, v.index, false, count_neighbour, &count, &err));
    assert_int_equal(count, 1);
    OK(rtnl_neighbour_delete(here, &f, &err));
    OK(rtnl_neighbour_delete(here, &b, &err));
    count = 0;
    OK(rtnl_neighbour_each(here, v.index, true, count_neighbour, &count, &err));
    assert_int_equal(count, 0);
    OK(rtnl_link_delete(here, v.index, &err));
}

static int events;
static void on_event(const struct nlmsghdr *h, void *arg)
{
    struct rtnl_link l;
    if (h && rtnl_link_parse(h, &l) == 0 && streq(l.name, "brx"))
        events++;
}

TEST(notifications)
{
    cleanup_error struct error *err = NULL;
    static const unsigned groups[] = {RTNLGRP_LINK, RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV4_ROUTE,
                                      RTNLGRP_NEIGH};
    struct netlink_monitor *m;

    setup();
    struct loop *l = loop_new();
    OK(netlink_monitor_start(l, NETLINK_ROUTE, -1, groups, ARRAY_LEN(groups), on_event, NULL, &m,
                             &err));
    OK(rtnl_link_create(here, &(struct rtnl_link_spec){.kind = "bridge", .name = "brx"}, &err));
    for (int i = 0; i < 50 && !events; i++)
        loop_run_once(l, 100);
    assert_true(events > 0);
    OK(rtnl_link_delete_name(here, "brx", &err));
    netlink_monitor_stop(m);
    loop_free(l);
    netlink_close(here);
    here = NULL;
}

TEST_MAIN()
