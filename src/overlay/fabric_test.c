/* Two hosts, each a network namespace with a pod namespace behind it, joined by a wire: pods talk
 * through the tunnel. */
#include "api/object.h"
#include "base/cleanup.h"
#include "base/file.h"
#include "base/test.h"
#include "net/netlink_netns_test.h"
#include "overlay/fabric.h"
#include "overlay/output.h"
#include <arpa/inet.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#define OK(call)                                                                                   \
    do {                                                                                           \
        if ((call) < 0)                                                                            \
            fail_msg("%s: %s", #call, error_message(err));                                         \
    } while (0)

static struct ipnet net_of(const char *z)
{
    struct ipnet n;
    assert_int_equal(ipnet_parse(str_of(z), &n), 0);
    return n;
}

static struct lease lease_of(const char *json)
{
    cleanup_error struct error *err = NULL;
    struct arena a;
    K8s__Node *n;
    struct lease l;

    arena_init(&a, 0);
    OK(object_decode_json(&k8s__node__descriptor, str_of(json), 0, &a, &n, &err));
    OK(lease_read(n, &l, &err));
    arena_fini(&a);
    return l;
}

TEST(leases_from_nodes)
{
    cleanup_error struct error *err = NULL;
    cleanup_buf struct buf b = {0};
    struct lease l = lease_of(
        "{\"metadata\":{\"name\":\"n\",\"annotations\":{\"flannel.alpha.coreos.com/backend-data\":"
        "\"{\\\"VNI\\\":1,\\\"VtepMAC\\\":\\\"f2:4c:df:c1:cb:99\\\"}\",\"flannel.alpha.coreos.com/"
        "backend-type\":\"vxlan\","
        "\"flannel.alpha.coreos.com/public-ip\":\"10.64.3.3\",\"flannel.alpha.coreos.com/"
        "kube-subnet-manager\":\"true\"}},"
        "\"spec\":{\"podCIDR\":\"172.30.5.0/24\",\"podCIDRs\":[\"172.30.5.0/24\"]}}");

    assert_true(lease_is_complete(&l));
    assert_int_equal(l.mac[0], 0xf2);
    buf_init(&b, 4096);
    assert_int_equal(lease_format_patch(&l, &b), 0);
    struct lease again = lease_of(b.p);
    again.subnet = l.subnet;
    assert_true(lease_equal(&l, &again));
    struct lease none = lease_of("{\"metadata\":{\"name\":\"n\"},\"spec\":{}}");
    assert_false(lease_is_complete(&none));
    K8s__Node *n;
    struct arena a;
    arena_init(&a, 0);
    OK(object_decode_json(
        &k8s__node__descriptor,
        STR("{\"metadata\":{\"annotations\":{\"flannel.alpha.coreos.com/public-ip\":\"x\"}}}"), 0,
        &a, &n, &err));
    assert_int_equal(lease_read(n, &l, &err), -EINVAL);
    arena_fini(&a);
}

TEST(subnet_file_and_docker_options)
{
    cleanup_buf struct buf b = {0}, d = {0};
    struct output o = {net_of("172.30.0.0/16"), net_of("172.30.5.0/24"), 1450, true}, back;

    buf_init(&b, 4096);
    buf_init(&d, 4096);
    assert_int_equal(output_format(&o, &b), 0);
    assert_string_equal(
        b.p, "FLANNEL_NETWORK=172.30.0.0/16\nFLANNEL_SUBNET=172.30.5.1/24\nFLANNEL_MTU=1450\n"
             "FLANNEL_IPMASQ=true\n");
    assert_int_equal(output_parse(buf_str(&b), &back, NULL), 0);
    assert_true(ipnet_equal(&back.subnet, &o.subnet) && back.mtu == 1450 && back.masquerade);
    struct output_docker how = {.combined = true, .combined_key = "DOCKER_NETWORK_OPTIONS"};
    assert_int_equal(output_format_docker(&o, &how, &d), 0);
    assert_string_equal(
        d.p, "DOCKER_NETWORK_OPTIONS=\" --bip=172.30.5.1/24 --ip-masq=false --mtu=1450\"\n");
    assert_int_equal(output_parse(STR("FLANNEL_MTU=9\n"), &back, NULL), -EINVAL);
    assert_int_equal(output_parse(STR(""), &back, NULL), -EINVAL);
}

/* ---- two hosts ---- */

static int host[2], pod[2];
static struct fabric fabrics[2];
static const char *const wire[2] = {"192.0.2.1/24", "192.0.2.2/24"};
static const char *const subnet[2] = {"172.30.1.0/24", "172.30.2.0/24"};
static const char *const bridge[2] = {"172.30.1.1/24", "172.30.2.1/24"};
static const char *const pod_ip[2] = {"172.30.1.2/24", "172.30.2.2/24"};

static void up(int ns, const char *link, const char *address, const char *gateway)
{
    cleanup_error struct error *err = NULL;
    struct netlink *n;
    struct rtnl_link l;

    OK(netlink_open(NETLINK_ROUTE, ns, &n, &err));
    OK(rtnl_link_get(n, link, &l, &err));
    OK(rtnl_address_add(n, &(struct rtnl_address){.index = l.index, .net = net_of(address)}, &err));
    OK(rtnl_link_set_up(n, l.index, true, &err));
    if (gateway)
        OK(rtnl_route_add(
            n, &(struct rtnl_route){.dst = net_of("0.0.0.0/0"), .gateway = net_of(gateway).ip},
            &err));
    netlink_close(n);
}

static int forwarding(void *arg, struct error **err)
{
    return file_write_knob("/proc/sys/net/ipv4/ip_forward", "1", err);
}

static void build(void)
{
    cleanup_error struct error *err = NULL;
    struct netlink *n;

    for (int i = 0; i < 2; i++) {
        host[i] = test_new_netns();
        pod[i] = test_new_netns();
    }
    OK(netlink_open(NETLINK_ROUTE, host[0], &n, &err));
    OK(rtnl_link_create(
        n,
        &(struct rtnl_link_spec){
            .kind = "veth", .name = "wire", .peer = {.name = "wire", .netns = {.fd = host[1]}}},
        &err));
    netlink_close(n);
    for (int i = 0; i < 2; i++) {
        OK(netlink_open(NETLINK_ROUTE, host[i], &n, &err));
        OK(rtnl_link_create(
            n,
            &(struct rtnl_link_spec){
                .kind = "veth", .name = "pod", .peer = {.name = "eth0", .netns = {.fd = pod[i]}}},
            &err));
        netlink_close(n);
        up(host[i], "wire", wire[i], NULL);
        up(host[i], "pod", bridge[i], NULL);
        up(pod[i], "eth0", pod_ip[i], i ? "172.30.2.1/32" : "172.30.1.1/32");
        OK(netns_run(host[i], forwarding, NULL, &err));
    }
}

/* A datagram from pod to pod, asked for again while links come up, and what the other saw as its
 * source. */
static bool talk(int from, int to, char out[static INET_ADDRSTRLEN])
{
    struct timeval t = {.tv_usec = 200000};
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(7000)}, seen = {0};
    socklen_t n = sizeof(seen);
    int s = netns_socket(pod[to], AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0, NULL);
    int c = netns_socket(pod[from], AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0, NULL);
    char in[8];
    struct ipnet target = net_of(pod_ip[to]);

    assert_int_equal(bind(s, (struct sockaddr *)&a, sizeof(a)), 0);
    (void)setsockopt(s, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof(t));
    memcpy(&a.sin_addr, target.ip.bytes, 4);
    bool ok = false;
    for (int i = 0; i < 10 && !ok; i++)
        ok = sendto(c, "hi", 2, 0, (struct sockaddr *)&a, sizeof(a)) == 2 &&
             recvfrom(s, in, sizeof(in), 0, (struct sockaddr *)&seen, &n) == 2;
    (void)inet_ntop(AF_INET, &seen.sin_addr, out, INET_ADDRSTRLEN);
    (void)close(s);
    (void)close(c);
    return ok;
}

static struct lease lease_for(int i, enum lease_backend backend)
{
    struct lease l = {
        .subnet = net_of(subnet[i]), .public_ip = net_of(wire[i]).ip, .backend = backend, .vni = 1};

    fabric_mac(i ? "node2" : "node1", 1, l.mac);
    return l;
}

static int count_route(const struct rtnl_route *r, void *arg)
{
    ++*(int *)arg;
    return 0;
}

TEST(pods_talk_through_the_tunnel)
{
    cleanup_error struct error *err = NULL;
    const struct ipnet network = net_of("172.30.0.0/16");
    char seen[INET_ADDRSTRLEN];
    size_t changes;

    build();
    for (int i = 0; i < 2; i++) {
        struct lease own = lease_for(i, LEASE_VXLAN), peer = lease_for(!i, LEASE_VXLAN);
        OK(fabric_open(&fabrics[i], host[i], &err));
        OK(fabric_choose(&fabrics[i], "wire", NULL, &err));
        int r = fabric_device(&fabrics[i], 1, 8472, own.mac, &own.subnet, &err);
        if (r == -EOPNOTSUPP)
            skip();
        OK(r);
        OK(fabric_rules(&fabrics[i], &network, &own.subnet, true, &err));
        OK(fabric_peers(&fabrics[i], &peer, 1, &network, &changes, &err));
        assert_int_equal(changes, 3);
    }
    assert_true(talk(0, 1, seen));
    assert_string_equal(seen, "172.30.1.2"); /* pods see one another's own addresses */
    assert_true(talk(1, 0, seen));
    assert_string_equal(seen, "172.30.2.2");
}

TEST(nothing_to_do_is_nothing_done_and_damage_is_mended)
{
    cleanup_error struct error *err = NULL;
    const struct ipnet network = net_of("172.30.0.0/16");
    struct lease own = lease_for(0, LEASE_VXLAN), peer = lease_for(1, LEASE_VXLAN);
    struct rtnl_link l;
    char seen[INET_ADDRSTRLEN];
    size_t changes;
    int routes = 0;

    int before = fabrics[0].device;
    OK(fabric_device(&fabrics[0], 1, 8472, own.mac, &own.subnet, &err));
    assert_int_equal(fabrics[0].device, before);
    OK(fabric_peers(&fabrics[0], &peer, 1, &network, &changes, &err));
    assert_int_equal(changes, 0);
    /* somebody else's MAC, MTU and a deleted device */
    OK(rtnl_link_get(fabrics[0].route, "flannel.1", &l, &err));
    assert_int_equal(l.mtu, 1450);
    OK(rtnl_link_delete(fabrics[0].route, l.index, &err));
    assert_false(talk(0, 1, seen));
    OK(fabric_device(&fabrics[0], 1, 8472, own.mac, &own.subnet, &err));
    OK(fabric_peers(&fabrics[0], &peer, 1, &network, &changes, &err));
    assert_int_equal(changes, 3);
    assert_true(talk(0, 1, seen));
    /* the peer went away */
    OK(fabric_peers(&fabrics[0], NULL, 0, &network, &changes, &err));
    assert_int_equal(changes, 3);
    OK(rtnl_route_each(fabrics[0].route, AF_INET, RTNL_PROTO_SKIFF, count_route, &routes, &err));
    assert_int_equal(routes, 0);
}

TEST(host_gateway)
{
    cleanup_error struct error *err = NULL;
    const struct ipnet network = net_of("172.30.0.0/16");
    char seen[INET_ADDRSTRLEN];

    for (int i = 0; i < 2; i++) {
        struct lease peer = lease_for(!i, LEASE_HOST_GW);
        OK(fabric_remove(host[i], 1, &err));
        fabrics[i].device = 0;
        OK(fabric_peers(&fabrics[i], &peer, 1, &network, NULL, &err));
    }
    assert_true(talk(0, 1, seen));
    assert_string_equal(seen, "172.30.1.2");
    for (int i = 0; i < 2; i++) {
        OK(fabric_peers(&fabrics[i], NULL, 0, &network, NULL, &err));
        OK(fabric_remove(host[i], 1, &err)); /* nothing there is success */
        fabric_close(&fabrics[i]);
        (void)close(host[i]);
        (void)close(pod[i]);
    }
}

TEST_MAIN()
