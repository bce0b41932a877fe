/* The proxy's rules under real packets: a node, two pods behind its bridge, and a client outside,
 * each a network namespace. */
#include "api/object.h"
#include "base/cleanup.h"
#include "base/file.h"
#include "base/test.h"
#include "net/netlink_netns_test.h"
#include "net/rtnl.h"
#include "proxy/proxier.h"
#include <arpa/inet.h>
#include <linux/if_addr.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>

#define NODE_IP "192.0.2.1"
#define CLIENT_IP "192.0.2.2"
#define POD_A "10.128.0.2"
#define POD_B "10.128.0.3"
enum { NODE, CLIENT, A, B, PLACES };
static int ns[PLACES];
static pid_t servers[2];
static struct proxier proxier;
static bool ready;

#define OK(call)                                                                                   \
    do {                                                                                           \
        if ((call) < 0)                                                                            \
            fail_msg("%s: %s", #call, error_message(err));                                         \
    } while (0)

/* ---- the network ---- */

static struct ipnet net_of(const char *z)
{
    struct ipnet n;
    assert_int_equal(ipnet_parse(str_of(z), &n), 0);
    return n;
}

static void configure(int where, const char *link, const char *address, const char *gateway)
{
    cleanup_error struct error *err = NULL;
    struct netlink *n;
    struct rtnl_link l;

    OK(netlink_open(NETLINK_ROUTE, ns[where], &n, &err));
    OK(rtnl_link_get(n, link, &l, &err));
    struct rtnl_address a = {.index = l.index, .net = net_of(address)};
    OK(rtnl_address_add(n, &a, &err));
    OK(rtnl_link_set_up(n, l.index, true, &err));
    if (gateway) {
        struct rtnl_route r = {.dst = net_of("0.0.0.0/0"), .gateway = net_of(gateway).ip};
        OK(rtnl_route_replace(n, &r, &err));
    }
    netlink_close(n);
}

static void configure6(int where, const char *link, const char *address, const char *gateway)
{
    cleanup_error struct error *err = NULL;
    struct netlink *n;
    struct rtnl_link l;

    OK(netlink_open(NETLINK_ROUTE, ns[where], &n, &err));
    OK(rtnl_link_get(n, link, &l, &err));
    struct rtnl_address a = {.index = l.index, .net = net_of(address), .flags = IFA_F_NODAD};
    OK(rtnl_address_add(n, &a, &err));
    if (gateway) {
        struct rtnl_route r = {
            .dst = net_of("::/0"), .gateway = net_of(gateway).ip, .oif = l.index};
        OK(rtnl_route_replace(n, &r, &err));
    }
    netlink_close(n);
}

static void veth(const char *name, int master, int where)
{
    cleanup_error struct error *err = NULL;
    struct netlink *n;
    struct rtnl_link l;

    OK(netlink_open(NETLINK_ROUTE, ns[NODE], &n, &err));
    OK(rtnl_link_create(
        n,
        &(struct rtnl_link_spec){.kind = "veth",
                                 .name = name,
                                 .master = master,
                                 .up = true,
                                 .peer = {.name = "eth0", .netns = {.fd = ns[where]}}},
        &err));
    OK(rtnl_link_get(n, name, &l, &err));
    if (master)
        OK(rtnl_bridge_port_set_hairpin(n, l.index, true, &err));
    netlink_close(n);
}

static int sysctls(void *arg, struct error **err)
{
    int r = file_write_knob("/proc/sys/net/ipv4/ip_forward", "1", err);

    if (r == 0 && path_exists("/proc/sys/net/ipv6"))
        r = file_write_knob("/proc/sys/net/ipv6/conf/all/forwarding", "1", err);
    r = r ? r : file_write_knob("/proc/sys/net/ipv4/icmp_ratelimit", "0", err);
    return r ? r : file_write_knob("/proc/sys/net/ipv4/conf/all/rp_filter", "0", err);
}

static void build_network(void)
{
    cleanup_error struct error *err = NULL;
    struct netlink *n;
    struct rtnl_link l;

    for (int i = 0; i < PLACES; i++)
        ns[i] = test_new_netns();
    OK(netlink_open(NETLINK_ROUTE, ns[NODE], &n, &err));
    OK(rtnl_link_create(n, &(struct rtnl_link_spec){.kind = "bridge", .name = "br0", .up = true},
                        &err));
    OK(rtnl_link_get(n, "br0", &l, &err));
    int bridge = l.index;
    OK(rtnl_link_get(n, "lo", &l, &err));
    OK(rtnl_link_set_up(n, l.index, true, &err));
    netlink_close(n);
    veth("va", bridge, A);
    veth("vb", bridge, B);
    veth("vc", 0, CLIENT);
    configure(NODE, "br0", "10.128.0.1/24", NULL);
    configure(NODE, "vc", NODE_IP "/24", CLIENT_IP "/32");
    configure(CLIENT, "eth0", CLIENT_IP "/24", NODE_IP "/32");
    configure(A, "eth0", POD_A "/24", "10.128.0.1/32");
    configure(B, "eth0", POD_B "/24", "10.128.0.1/32");
    if (path_exists("/proc/sys/net/ipv6")) {
        configure6(NODE, "br0", "fd00:128::1/64", NULL);
        configure6(NODE, "vc", "fd00:2::1/64", "fd00:2::2/128");
        configure6(CLIENT, "eth0", "fd00:2::2/64", "fd00:2::1/128");
        configure6(A, "eth0", "fd00:128::2/64", "fd00:128::1/128");
        configure6(B, "eth0", "fd00:128::3/64", "fd00:128::1/128");
    }
    OK(netns_run(ns[NODE], sysctls, NULL, &err));
}

/* ---- servers and clients ---- */

static int bound(int where, int type, uint16_t port)
{
    struct sockaddr_in6 a = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
    int one = 1, fd = netns_socket(ns[where], AF_INET6, type | SOCK_CLOEXEC, 0, NULL);

    assert_true(fd >= 0);
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
    if (type == SOCK_STREAM)
        assert_int_equal(listen(fd, 64), 0);
    return fd;
}

static int introduce(const char *name, const struct sockaddr_in6 *from, char *out, size_t size)
{
    char ip[INET6_ADDRSTRLEN];

    (void)inet_ntop(AF_INET6, &from->sin6_addr, ip, sizeof(ip));
    return snprintf(out, size, "%s %s", name, strstarts(ip, "::ffff:") ? ip + 7 : ip);
}

/* Answers "a 192.0.2.2": who it is and who it thinks is asking. */
static void serve(const char *name, int tcp, int udp)
{
    for (;;) {
        struct pollfd p[2] = {{.fd = tcp, .events = POLLIN}, {.fd = udp, .events = POLLIN}};
        struct sockaddr_in6 from;
        socklen_t n = sizeof(from);
        char text[80], in[16];

        if (poll(p, 2, -1) < 0)
            continue;
        if (p[0].revents) {
            int c = accept(tcp, (struct sockaddr *)&from, &n);
            (void)!write(c, text, (size_t)introduce(name, &from, text, sizeof(text)));
            (void)close(c);
        }
        n = sizeof(from);
        if (p[1].revents && recvfrom(udp, in, sizeof(in), 0, (struct sockaddr *)&from, &n) >= 0)
            (void)sendto(udp, text, (size_t)introduce(name, &from, text, sizeof(text)), 0,
                         (struct sockaddr *)&from, n);
    }
}

static void start_servers(void)
{
    for (int i = 0; i < 2; i++) {
        int tcp = bound(i ? B : A, SOCK_STREAM, 8080), udp = bound(i ? B : A, SOCK_DGRAM, 8080);
        servers[i] = fork();
        if (servers[i] == 0 && prctl(PR_SET_PDEATHSIG, SIGKILL) == 0)
            serve(i ? "b" : "a", tcp, udp);
        (void)close(tcp);
        (void)close(udp);
    }
}

static int connected(int where, int type, const char *ip, uint16_t port)
{
    struct sockaddr_in a4 = {.sin_family = AF_INET, .sin_port = htons(port)};
    struct sockaddr_in6 a6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
    struct timeval t = {.tv_usec = 400000};
    bool v6 = strchr(ip, ':') != NULL;
    int fd = netns_socket(ns[where], v6 ? AF_INET6 : AF_INET, type | SOCK_CLOEXEC, 0, NULL);

    assert_int_equal(
        inet_pton(v6 ? AF_INET6 : AF_INET, ip, v6 ? (void *)&a6.sin6_addr : (void *)&a4.sin_addr),
        1);
    (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &t, sizeof(t));
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof(t));
    if (connect(fd, v6 ? (struct sockaddr *)&a6 : (struct sockaddr *)&a4,
                v6 ? sizeof(a6) : sizeof(a4)) < 0) {
        int saved = errno;
        (void)close(fd);
        errno = saved;
        return -1;
    }
    return fd;
}

/* What the server said; "refused", "silent" or the errno's text otherwise. */
static const char *ask_fd(int fd, bool udp)
{
    static char text[80];
    ssize_t n = fd;

    if (fd >= 0 && udp)
        (void)!send(fd, "x", 1, 0);
    if (fd >= 0)
        n = recv(fd, text, sizeof(text) - 1, 0);
    if (n >= 0) {
        text[n] = 0;
        return text;
    }
    if (errno == ECONNREFUSED)
        return "refused";
    return errno == EAGAIN || errno == EINPROGRESS || errno == ETIMEDOUT ? "silent"
                                                                         : strerror(errno);
}

static const char *ask(int where, int type, const char *ip, uint16_t port)
{
    int fd = connected(where, type, ip, port);
    const char *answer = ask_fd(fd, type == SOCK_DGRAM);

    if (fd >= 0)
        (void)close(fd);
    return answer;
}

#define TCP(where, ip, port) ask(where, SOCK_STREAM, ip, port)
#define UDP(where, ip, port) ask(where, SOCK_DGRAM, ip, port)

/* ---- the objects ---- */

static void set_service(const char *json)
{
    cleanup_error struct error *err = NULL;
    K8s__Service *s;
    struct arena a;

    arena_init(&a, 0);
    OK(object_decode_json(&k8s__service__descriptor, str_of(json), 0, &a, &s, &err));
    proxier_set_service(&proxier, s);
    arena_fini(&a);
}

static void set_slice(const char *json)
{
    cleanup_error struct error *err = NULL;
    K8s__EndpointSlice *s;
    struct arena a;

    arena_init(&a, 0);
    OK(object_decode_json(&k8s__endpoint_slice__descriptor, str_of(json), 0, &a, &s, &err));
    proxier_set_slice(&proxier, s);
    arena_fini(&a);
}

static void sync_rules(void)
{
    cleanup_error struct error *err = NULL;
    OK(proxier_sync(&proxier, &err));
}

static struct ruleset_options options(void)
{
    return (struct ruleset_options){.pods = {net_of("10.128.0.0/16"), net_of("fd00:128::/64")},
                                    .mark = 0x4000};
}

static void setup(void)
{
    cleanup_error struct error *err = NULL;
    struct ruleset_options o = options();

    if (ready)
        return;
    build_network();
    start_servers();
    OK(proxier_init(&proxier, "node1", &o, ns[NODE], &err));
    ready = true;
}

#define SERVICE(name, spec)                                                                        \
    "{\"metadata\":{\"namespace\":\"t\",\"name\":\"" name "\"},\"spec\":{" spec "}}"
#define SLICE(name, endpoints)                                                                     \
    "{\"metadata\":{\"namespace\":\"t\",\"name\":\"" name                                          \
    "-1\",\"labels\":{\"kubernetes.io/service-name\":\"" name                                      \
    "\"}},\"addressType\":\"IPv4\",\"ports\":[{\"name\":\"tcp\",\"port\":8080,\"protocol\":"       \
    "\"TCP\"},"                                                                                    \
    "{\"name\":\"udp\",\"port\":8080,\"protocol\":\"UDP\"}],\"endpoints\":[" endpoints "]}"
#define EP(ip, node)                                                                               \
    "{\"addresses\":[\"" ip "\"],\"nodeName\":\"" node "\",\"conditions\":{\"ready\":true}}"
#define EP_ENDING(ip, node)                                                                        \
    "{\"addresses\":[\"" ip "\"],\"nodeName\":\"" node                                             \
    "\",\"conditions\":{\"ready\":false,\"serving\":true,\"terminating\":true}}"
#define PORTS(node_port)                                                                           \
    "\"ports\":[{\"name\":\"tcp\",\"port\":80,\"protocol\":\"TCP\",\"nodePort\":" node_port "},"   \
    "{\"name\":\"udp\",\"port\":53,\"protocol\":\"UDP\",\"nodePort\":" node_port "}]"

TEST(cluster_ip_and_node_port)
{
    setup();
    set_service(SERVICE("web", "\"type\":\"NodePort\",\"clusterIP\":\"10.96.0.1\",\"externalIPs\":["
                               "\"198.51.100.7\"]," PORTS("30080")));
    set_slice(SLICE("web", EP(POD_A, "node1")));
    sync_rules();
    assert_string_equal(TCP(CLIENT, "10.96.0.1", 80),
                        "a 10.128.0.1");                      /* from outside: masqueraded */
    assert_string_equal(TCP(B, "10.96.0.1", 80), "a " POD_B); /* from a pod: not */
    assert_string_equal(TCP(NODE, "10.96.0.1", 80), "a 10.128.0.1");
    assert_string_equal(TCP(A, "10.96.0.1", 80), "a 10.128.0.1"); /* to itself: hairpin */
    assert_string_equal(UDP(CLIENT, "10.96.0.1", 53), "a 10.128.0.1");
    assert_string_equal(UDP(B, "10.96.0.1", 53), "a " POD_B);
    assert_string_equal(TCP(CLIENT, NODE_IP, 30080), "a 10.128.0.1");
    assert_string_equal(UDP(CLIENT, NODE_IP, 30080), "a 10.128.0.1");
    assert_string_equal(TCP(NODE, NODE_IP, 30080), "a 10.128.0.1");
    assert_string_equal(TCP(B, NODE_IP, 30080), "a 10.128.0.1");
    assert_string_equal(TCP(CLIENT, "198.51.100.7", 80), "a 10.128.0.1");
    assert_string_equal(TCP(CLIENT, "10.96.0.1", 81), "refused"); /* a port it does not have */
}

TEST(spreads_over_endpoints_and_follows_changes)
{
    int a = 0, b = 0;

    setup();
    set_slice(SLICE("web", EP(POD_A, "node1") "," EP(POD_B, "node1")));
    sync_rules();
    for (int i = 0; i < 40; i++) {
        const char *who = TCP(CLIENT, "10.96.0.1", 80);
        a += who[0] == 'a';
        b += who[0] == 'b';
    }
    assert_int_equal(a + b, 40);
    assert_true(a > 3 && b > 3);
    set_slice(SLICE("web", EP(POD_B, "node1")));
    sync_rules();
    for (int i = 0; i < 10; i++)
        assert_string_equal(TCP(CLIENT, "10.96.0.1", 80), "b 10.128.0.1");
    set_slice(SLICE("web", EP_ENDING(POD_A, "node1"))); /* nothing else is left */
    sync_rules();
    assert_string_equal(TCP(CLIENT, "10.96.0.1", 80), "a 10.128.0.1");
}

TEST(udp_flows_leave_a_dead_endpoint)
{
    setup();
    set_slice(SLICE("web", EP(POD_A, "node1")));
    sync_rules();
    int fd = connected(CLIENT, SOCK_DGRAM, "10.96.0.1", 53),
        node_port = connected(CLIENT, SOCK_DGRAM, NODE_IP, 30080);
    assert_string_equal(ask_fd(fd, true), "a 10.128.0.1");
    assert_string_equal(ask_fd(node_port, true), "a 10.128.0.1");
    set_slice(SLICE("web", EP(POD_B, "node1")));
    sync_rules();
    assert_string_equal(ask_fd(fd, true), "b 10.128.0.1");
    assert_string_equal(ask_fd(node_port, true), "b 10.128.0.1");
    (void)close(fd);
    (void)close(node_port);
}

TEST(no_endpoints_are_refused)
{
    setup();
    set_slice(SLICE("web", ""));
    sync_rules();
    assert_string_equal(TCP(CLIENT, "10.96.0.1", 80), "refused");
    assert_string_equal(TCP(NODE, "10.96.0.1", 80), "refused");
    assert_string_equal(TCP(A, "10.96.0.1", 80), "refused");
    assert_string_equal(UDP(CLIENT, "10.96.0.1", 53), "refused");
    assert_string_equal(TCP(CLIENT, NODE_IP, 30080), "refused");
    set_slice(SLICE("web", EP(POD_A, "node1")));
    sync_rules();
    assert_string_equal(UDP(CLIENT, "10.96.0.1", 53), "a 10.128.0.1");
}

TEST(traffic_policies)
{
    setup();
    set_service(SERVICE("local", "\"type\":\"NodePort\",\"clusterIP\":\"10.96.0.2\","
                                 "\"externalTrafficPolicy\":\"Local\"," PORTS("30081")));
    set_slice(SLICE("local", EP(POD_A, "node1") "," EP(POD_B, "node2")));
    sync_rules();
    for (int i = 0; i < 8; i++) /* only the local one, and the client's address stays */
        assert_string_equal(TCP(CLIENT, NODE_IP, 30081), "a " CLIENT_IP);
    int b = 0;
    for (int i = 0; i < 40; i++)
        b += TCP(NODE, NODE_IP, 30081)[0] == 'b'; /* from the node itself: all of them */
    assert_true(b > 3);
    set_slice(SLICE("local", EP(POD_B, "node2")));
    sync_rules();
    assert_string_equal(TCP(CLIENT, NODE_IP, 30081), "silent"); /* none here: dropped */
    assert_string_equal(TCP(A, NODE_IP, 30081), "b " POD_A);
    set_service(SERVICE(
        "inner", "\"clusterIP\":\"10.96.0.3\",\"internalTrafficPolicy\":\"Local\"," PORTS("0")));
    set_slice(SLICE("inner", EP(POD_A, "node2") "," EP(POD_B, "node1")));
    sync_rules();
    for (int i = 0; i < 8; i++)
        assert_string_equal(TCP(A, "10.96.0.3", 80), "b " POD_A);
    set_slice(SLICE("inner", EP(POD_A, "node2")));
    sync_rules();
    assert_string_equal(TCP(B, "10.96.0.3", 80), "silent");
}

TEST(affinity_by_client)
{
    setup();
    set_service(SERVICE(
        "sticky",
        "\"type\":\"NodePort\",\"clusterIP\":\"10.96.0.4\",\"sessionAffinity\":\"ClientIP\"," PORTS(
            "30082")));
    set_slice(SLICE("sticky", EP(POD_A, "node1") "," EP(POD_B, "node1")));
    sync_rules();
    char first = TCP(CLIENT, "10.96.0.4", 80)[0];
    for (int i = 0; i < 20; i++)
        assert_int_equal(TCP(CLIENT, "10.96.0.4", 80)[0], first);
    if (first == 'a')
        set_slice(SLICE("sticky", EP(POD_B, "node1")));
    else
        set_slice(SLICE("sticky", EP(POD_A, "node1")));
    sync_rules();
    char second = TCP(CLIENT, "10.96.0.4", 80)[0];
    assert_true(second != first && (second == 'a' || second == 'b'));
    set_slice(SLICE("sticky", EP(POD_A, "node1") "," EP(POD_B, "node1")));
    sync_rules();
    for (int i = 0; i < 20; i++) /* it stays where it moved to */
        assert_int_equal(TCP(CLIENT, "10.96.0.4", 80)[0], second);
    first = TCP(CLIENT, NODE_IP, 30082)[0];
    for (int i = 0; i < 20; i++)
        assert_int_equal(TCP(CLIENT, NODE_IP, 30082)[0], first);
}

TEST(balancer_source_ranges)
{
    setup();
    set_service(
        "{\"metadata\":{\"namespace\":\"t\",\"name\":\"lb\"},\"spec\":{\"type\":\"LoadBalancer\","
        "\"clusterIP\":\"10.96.0.5\","
        "\"loadBalancerSourceRanges\":[\"203.0.113.0/24\",\"203.0.113.4/30\",\"10.128.0.0/"
        "16\"]," PORTS(
            "30083") "},"
                     "\"status\":{\"loadBalancer\":{\"ingress\":[{\"ip\":\"198.51.100.9\"}]}}}");
    set_slice(SLICE("lb", EP(POD_A, "node1")));
    sync_rules();
    assert_string_equal(TCP(CLIENT, "198.51.100.9", 80), "silent");
    assert_string_equal(TCP(B, "198.51.100.9", 80), "a 10.128.0.1");
    assert_string_equal(TCP(CLIENT, NODE_IP, 30083),
                        "a 10.128.0.1"); /* ranges are for the balancer's address */
    set_service(
        "{\"metadata\":{\"namespace\":\"t\",\"name\":\"lb\"},\"spec\":{\"type\":\"LoadBalancer\","
        "\"clusterIP\":\"10.96.0.5\","
        "\"loadBalancerSourceRanges\":[\"192.0.2.0/24\"]," PORTS(
            "30083") "},"
                     "\"status\":{\"loadBalancer\":{\"ingress\":[{\"ip\":\"198.51.100.9\"}]}}}");
    sync_rules();
    assert_string_equal(TCP(CLIENT, "198.51.100.9", 80), "a 10.128.0.1");
}

static int count_element(const struct nft_element_view *e, void *arg)
{
    ++*(size_t *)arg;
    return 0;
}

static size_t kernel_elements(const char *set)
{
    struct nft *n;
    size_t count = 0;

    assert_int_equal(nft_open(ns[NODE], &n, NULL), 0);
    assert_int_equal(
        nft_element_each(n, NFPROTO_IPV4, RULESET_TABLE, set, count_element, &count, NULL), 0);
    nft_close(n);
    return count;
}

TEST(a_restart_adopts_and_repairs)
{
    cleanup_error struct error *err = NULL;
    struct ruleset_options o = options();

    setup();
    char first = TCP(CLIENT, "10.96.0.4", 80)[0];
    size_t services = kernel_elements("services"), affinity = kernel_elements("affinity");
    assert_true(services > 3 && affinity > 0);
    proxier_fini(&proxier);
    OK(proxier_init(&proxier, "node1", &o, ns[NODE], &err));
    set_service(SERVICE(
        "sticky",
        "\"type\":\"NodePort\",\"clusterIP\":\"10.96.0.4\",\"sessionAffinity\":\"ClientIP\"," PORTS(
            "30082")));
    set_slice(SLICE("sticky", EP(POD_A, "node1") "," EP(POD_B, "node1")));
    sync_rules();
    assert_int_equal(kernel_elements("services"), 2); /* the others are gone */
    assert_int_equal(kernel_elements("affinity"), affinity);
    assert_int_equal(TCP(CLIENT, "10.96.0.4", 80)[0], first);
    /* somebody flushes everything */
    assert_int_equal(ruleset_remove(ns[NODE], &err), 0);
    assert_true(TCP(CLIENT, "10.96.0.4", 80)[0] != 'a');
    proxier.reconcile_due = true;
    sync_rules();
    char who = TCP(CLIENT, "10.96.0.4", 80)[0];
    assert_true(who == 'a' || who == 'b');
}

TEST(two_services_want_one_address)
{
    setup();
    set_service(SERVICE(
        "x1", "\"clusterIP\":\"10.96.0.8\",\"externalIPs\":[\"198.51.100.1\"]," PORTS("0")));
    set_service(SERVICE(
        "x2", "\"clusterIP\":\"10.96.0.9\",\"externalIPs\":[\"198.51.100.1\"]," PORTS("0")));
    set_slice(SLICE("x1", EP(POD_A, "node1")));
    set_slice(SLICE("x2", EP(POD_B, "node1")));
    sync_rules();
    assert_string_equal(TCP(CLIENT, "198.51.100.1", 80), "a 10.128.0.1");
    proxier_delete_service(&proxier, "t", "x1");
    sync_rules();
    assert_string_equal(TCP(CLIENT, "198.51.100.1", 80), "b 10.128.0.1");
    proxier_delete_service(&proxier, "t", "x2");
    proxier_delete_slice(&proxier, "t", "x1-1");
    proxier_delete_slice(&proxier, "t", "x2-1");
    sync_rules();
}

static size_t kernel_elements6(const char *set)
{
    struct nft *n;
    size_t count = 0;

    assert_int_equal(nft_open(ns[NODE], &n, NULL), 0);
    assert_int_equal(
        nft_element_each(n, NFPROTO_IPV6, RULESET_TABLE, set, count_element, &count, NULL), 0);
    nft_close(n);
    return count;
}

/* Small numbers from a fixed sequence, so that a failure can be had again. */
static unsigned dice(unsigned n)
{
    static uint32_t x = 2463534242u;
    x ^= x << 13;
    x ^= x >> 17;
    x ^= x << 5;
    return x % n;
}

static void random_service(unsigned i)
{
    static const char *const policies[] = {"", "\"externalTrafficPolicy\":\"Local\",",
                                           "\"internalTrafficPolicy\":\"Local\",",
                                           "\"sessionAffinity\":\"ClientIP\","};
    char name[16], json[900];

    (void)snprintf(name, sizeof(name), "r%u", i);
    if (dice(6) == 0) {
        proxier_delete_service(&proxier, "t", name);
        return;
    }
    (void)snprintf(
        json, sizeof(json),
        "{\"metadata\":{\"namespace\":\"t\",\"name\":\"%s\"},\"spec\":{\"type\":\"NodePort\","
        "\"clusterIP\":\"10.97.0.%u\","
        "\"clusterIPs\":[\"10.97.0.%u\"%s],\"externalIPs\":[\"198.51.100.%u\"],%s%s\"ports\":["
        "{\"name\":\"tcp\",\"port\":%u,\"nodePort\":%u},{\"name\":\"udp\",\"protocol\":\"UDP\","
        "\"port\":53}]}}",
        name, i + 1, i + 1, dice(2) ? ",\"fd00:97::1\"" : "", dice(8) + 1, policies[dice(4)],
        policies[dice(4)], 80 + dice(3), 31000 + dice(12));
    if (strstr(json, "sessionAffinity") == NULL ||
        strstr(strstr(json, "sessionAffinity") + 1, "sessionAffinity") == NULL)
        if (strstr(json, "TrafficPolicy") == NULL ||
            strstr(strstr(json, "TrafficPolicy") + 1, "TrafficPolicy") == NULL)
            set_service(json);
}

static void random_slice(unsigned i)
{
    cleanup_buf struct buf b = {0};
    char name[16];

    (void)snprintf(name, sizeof(name), "r%u-1", i);
    if (dice(6) == 0) {
        proxier_delete_slice(&proxier, "t", name);
        return;
    }
    buf_init(&b, 65536);
    (void)buf_printf(&b,
                     "{\"metadata\":{\"namespace\":\"t\",\"name\":\"%s\",\"labels\":{\"kubernetes."
                     "io/service-name\":\"r%u\"}},"
                     "\"addressType\":\"%s\",\"ports\":[{\"name\":\"tcp\",\"port\":8080},{\"name\":"
                     "\"udp\",\"port\":53,"
                     "\"protocol\":\"UDP\"}],\"endpoints\":[",
                     name, i, dice(4) ? "IPv4" : "IPv6");
    bool v4 = strstr(b.p, "IPv4") != NULL;
    for (unsigned k = 0, n = dice(5); k < n; k++)
        (void)buf_printf(&b,
                         "%s{\"addresses\":[\"%s%u\"],\"nodeName\":\"node%u\",\"conditions\":{"
                         "\"ready\":%s,\"serving\":true,"
                         "\"terminating\":%s}}",
                         k ? "," : "", v4 ? "10.128.9." : "fd00:128::", dice(9) + 1, dice(3),
                         dice(3) ? "true" : "false", dice(2) ? "true" : "false");
    (void)buf_add_z(&b, "]}");
    set_slice(b.p);
}

TEST(random_changes_leave_nothing_to_level)
{
    setup();
    for (int round = 0; round < 60; round++) {
        for (unsigned step = 0; step < 20; step++) {
            for (unsigned n = dice(4) + 1; n; n--)
                dice(2) ? random_service(dice(12)) : random_slice(dice(12));
            sync_rules();
            assert_false(proxier.reconcile_due); /* no transaction was refused */
        }
        proxier.reconcile_due = true;
        sync_rules();
        /* what piecemeal changes made of the kernel is what is wanted */
        assert_int_equal(proxier.last_tally.added, 0);
        assert_int_equal(proxier.last_tally.removed, 0);
    }
    for (unsigned i = 0; i < 12; i++) {
        char name[16];
        (void)snprintf(name, sizeof(name), "r%u", i);
        proxier_delete_service(&proxier, "t", name);
        (void)snprintf(name, sizeof(name), "r%u-1", i);
        proxier_delete_slice(&proxier, "t", name);
    }
    sync_rules();
}

TEST(both_families)
{
    setup();
    set_service(SERVICE(
        "dual",
        "\"type\":\"NodePort\",\"clusterIP\":\"10.96.0.20\",\"clusterIPs\":[\"10.96.0.20\",\"fd00:"
        "96::20\"],"
        "\"sessionAffinity\":\"ClientIP\",\"externalTrafficPolicy\":\"Local\"," PORTS("30084")));
    set_slice(
        "{\"metadata\":{\"namespace\":\"t\",\"name\":\"dual-6\",\"labels\":{\"kubernetes.io/"
        "service-name\":\"dual\"}},"
        "\"addressType\":\"IPv6\",\"ports\":[{\"name\":\"tcp\",\"port\":8080}],\"endpoints\":["
        "{\"addresses\":[\"fd00:128::2\"],\"nodeName\":\"node1\"},{\"addresses\":[\"fd00:128::3\"]}"
        "]}");
    sync_rules();
    assert_int_equal(kernel_elements6("services"), 1);
    assert_int_equal(kernel_elements6("endpoints"),
                     5); /* two for the cluster address, two and a local one for the node port */
    assert_int_equal(kernel_elements6("live"), 5);
    if (path_exists("/proc/sys/net/ipv6")) {
        char first = TCP(CLIENT, "fd00:96::20", 80)[0];
        assert_true(first == 'a' || first == 'b');
        for (int i = 0; i < 10; i++)
            assert_int_equal(TCP(CLIENT, "fd00:96::20", 80)[0], first);
        assert_string_equal(TCP(CLIENT, "fd00:2::1", 30084), "a fd00:2::2"); /* policy Local */
        assert_string_equal(TCP(CLIENT, "fd00:96::20", 81), "refused");
        set_slice(
            "{\"metadata\":{\"namespace\":\"t\",\"name\":\"dual-6\",\"labels\":{\"kubernetes.io/"
            "service-name\":\"dual\"}},"
            "\"addressType\":\"IPv6\",\"ports\":[{\"name\":\"tcp\",\"port\":8080}],\"endpoints\":["
            "{\"addresses\":[\"fd00:128::2\"],\"nodeName\":\"node1\"}]}");
        sync_rules();
        assert_string_equal(TCP(B, "fd00:96::20", 80), "a fd00:128::3");
        assert_string_equal(TCP(A, "fd00:96::20", 80), "a fd00:128::1"); /* to itself */
        assert_string_equal(TCP(CLIENT, "fd00:96::20", 80), "a fd00:128::1");
    }
    proxier_delete_service(&proxier, "t", "dual");
    proxier_delete_slice(&proxier, "t", "dual-6");
    sync_rules();
    assert_int_equal(kernel_elements6("endpoints"), 0);
}

TEST(all_gone_at_the_end)
{
    cleanup_error struct error *err = NULL;

    setup();
    proxier_delete_service(&proxier, "t", "sticky");
    proxier_delete_slice(&proxier, "t", "sticky-1");
    sync_rules();
    assert_int_equal(proxier.services.n, 0);
    assert_int_equal(kernel_elements("services"), 0);
    assert_int_equal(kernel_elements("endpoints"), 0);
    assert_int_equal(kernel_elements("live"), 0);
    OK(ruleset_remove(ns[NODE], &err));
    proxier_fini(&proxier);
    for (int i = 0; i < 2; i++) {
        (void)kill(servers[i], SIGKILL);
        (void)waitpid(servers[i], NULL, 0);
    }
    for (int i = 0; i < PLACES; i++)
        (void)close(ns[i]);
}

TEST_MAIN()
