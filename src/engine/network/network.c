#include "base/cleanup.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "engine/network/network_private.h"
#include "net/rtnl.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/if_addr.h>
#include <linux/rtnetlink.h>
#include <stdio.h>

#define LINK_PREFIX "vsk"
#define SUBNET_ENV "/run/flannel/subnet.env"
#define SUBNET_ENV_MAX 4096
#define NET_DEV_MAX (4 << 20)

void network_link_name(const char *id, char out[static IFNAMSIZ])
{
    (void)snprintf(out, IFNAMSIZ, LINK_PREFIX "%.10s", id);
}

/* ---- lifecycle ---- */
static int set_subnet(struct network *n, const char *bridge_address, const char *range,
                      struct error **err)
{
    struct ipnet subnet, part;

    if (ipnet_parse(str_of(bridge_address), &subnet) < 0 || subnet.ip.family != AF_INET ||
        subnet.bits > 30)
        return error_set(err, EINVAL,
                         "bridge address \"%s\" is not an IPv4 prefix of at most 30 bits",
                         bridge_address);
    part = ipnet_masked(&subnet);
    if (range && range[0] &&
        (ipnet_parse(str_of(range), &part) < 0 || !ipnet_contains(&subnet, &part.ip)))
        return error_set(err, EINVAL, "fixed CIDR \"%s\" is not inside the bridge's %s", range,
                         bridge_address);
    if (memcmp(subnet.ip.bytes, ipnet_masked(&subnet).ip.bytes, 16) == 0)
        subnet.ip = ipnet_host(&subnet, 1);
    n->subnet = subnet;
    n->range = ipnet_masked(&part);
    return 0;
}

int network_open(const struct network_config *cfg, struct network **ret, struct error **err)
{
    struct network *n = xcalloc(1, sizeof *n);
    int r = 0;

    n->bridge = xstrdup(cfg->bridge);
    n->dir = xstrdup(cfg->dir);
    n->mtu = (uint32_t)cfg->mtu;
    n->masquerade = cfg->masquerade;
    n->rules = cfg->rules;
    map_init(&n->leases);
    if (strlen(cfg->bridge) >= IFNAMSIZ)
        r = error_set(err, EINVAL, "bridge name \"%s\" is longer than %d characters", cfg->bridge,
                      IFNAMSIZ - 1);
    if (r == 0 && cfg->cluster_cidr && cfg->cluster_cidr[0] &&
        ipnet_parse(str_of(cfg->cluster_cidr), &n->cluster) < 0)
        r = error_set(err, EINVAL, "cluster CIDR \"%s\" is not a prefix", cfg->cluster_cidr);
    if (r == 0 && cfg->bip && cfg->bip[0])
        r = set_subnet(n, cfg->bip, cfg->fixed_cidr, err);
    n->eager = r == 0 && n->subnet.bits;
    if (r == 0)
        r = leases_load(n, err);
    if (r == 0)
        r = netlink_open(NETLINK_ROUTE, -1, &n->rtnl, err);
    if (r < 0) {
        network_close(n);
        return r;
    }
    *ret = n;
    return 0;
}

static void free_lease(void *value)
{
    struct lease *l = value;

    free(l->ports);
    free(l);
}

void network_close(struct network *n)
{
    if (!n)
        return;
    netlink_close(n->rtnl);
    map_fini(&n->leases, free_lease);
    free(n->bridge);
    free(n->dir);
    free(n);
}

/* ---- what subnet ---- */
int network_set_pod_cidr(struct network *n, const char *cidr, struct error **err)
{
    struct ipnet old = n->subnet, net;

    if (!cidr[0])
        return 0;
    if (ipnet_parse(str_of(cidr), &net) < 0)
        return error_set(err, EINVAL, "pod CIDR \"%s\" is not a prefix", cidr);
    if (old.bits) {
        struct ipnet a = ipnet_masked(&old), b = ipnet_masked(&net);

        if (ipnet_equal(&a, &b))
            return 0;
        if (n->leases.n) {
            char text[IPNET_TEXT];

            ipnet_format(&a, text);
            return error_set(
                err, EBUSY,
                "%zu sandboxes have addresses of %s: the pod network cannot become %s now",
                n->leases.n, text, cidr);
        }
    }
    if (set_subnet(n, cidr, NULL, err) < 0)
        return -EINVAL;
    n->up = false;
    log_info("network", "pod subnet", "cidr", cidr, "bridge", n->bridge, NULL);
    return 0;
}

struct subnet_env {
    struct ipnet network;
    char *subnet;
    uint32_t mtu;
    bool masquerades;
};

static int parse_subnet_env(const char *path, struct subnet_env *ret)
{
    cleanup_buf struct buf text = {0};
    struct str rest;
    int r = file_read(path, SUBNET_ENV_MAX, &text, NULL);

    if (r < 0)
        return r;
    for (rest = buf_str(&text); rest.p;) {
        struct str value = str_trim(str_split(&rest, '\n')), key = str_split(&value, '=');
        int64_t mtu;

        if (!value.p)
            continue;
        if (str_eq_z(key, "FLANNEL_SUBNET") && !ret->subnet)
            ret->subnet = str_dup(value);
        else if (str_eq_z(key, "FLANNEL_NETWORK"))
            (void)ipnet_parse(value, &ret->network);
        else if (str_eq_z(key, "FLANNEL_MTU") && str_to_i64(value, 68, 65535, &mtu) == 0)
            ret->mtu = (uint32_t)mtu;
        else if (str_eq_z(key, "FLANNEL_IPMASQ"))
            ret->masquerades = str_eq_z(value, "true");
    }
    return 0;
}

int network_read_subnet_env(struct network *n, const char *path)
{
    struct subnet_env v = {0};
    bool rules = false;
    int r = parse_subnet_env(path, &v);

    if (r < 0)
        return r;
    if (v.subnet && !n->subnet.bits && network_set_pod_cidr(n, v.subnet, NULL) < 0)
        log_warn("network", "no usable FLANNEL_SUBNET", "file", path, NULL);
    free(v.subnet);
    if (v.network.ip.family && !n->cluster.ip.family) {
        n->cluster = v.network;
        rules = true;
    }
    if (v.masquerades && n->masquerade) {
        n->masquerade = false; /* the overlay does it */
        rules = true;
    }
    if (v.mtu && !n->mtu) {
        struct rtnl_link l;

        n->mtu = v.mtu;
        if (n->up && rtnl_link_get(n->rtnl, n->bridge, &l, NULL) == 0)
            (void)rtnl_link_set_mtu(n->rtnl, l.index, n->mtu, NULL);
    }
    if (rules && n->up)
        (void)rules_apply(n, NULL);
    return 0;
}

bool network_ready(const struct network *n, const char **ret_reason)
{
    *ret_reason = "no pod CIDR is known yet: waiting for the node's, or for "
                  "/run/flannel/subnet.env (or start with --bip)";
    return n->subnet.bits != 0;
}

/* ---- bridge ---- */
struct wanted {
    const struct network *n;
    bool found;
};

static int on_address(const struct rtnl_address *a, void *arg)
{
    struct wanted *w = arg;

    if (a->net.ip.family == AF_INET && ip_equal(&a->net.ip, &w->n->subnet.ip) &&
        a->net.bits == w->n->subnet.bits)
        w->found = true;
    return 0;
}

/* Addresses of an earlier subnet go. */
static int on_old_address(const struct rtnl_address *a, void *arg)
{
    struct rtnl_address *old = arg;

    if (!old->index)
        *old = *a;
    return 0;
}

static int address_bridge(struct network *n, int index, struct error **err)
{
    struct wanted w = {.n = n};
    struct rtnl_address want = {.index = index, .net = n->subnet};
    int r = rtnl_address_each(n->rtnl, index, AF_INET, on_address, &w, err);

    if (r < 0 || w.found)
        return r;
    for (int i = 0; i < 8; i++) {
        struct rtnl_address old = {0};

        if (rtnl_address_each(n->rtnl, index, AF_INET, on_old_address, &old, NULL) < 0 ||
            !old.index)
            break;
        (void)rtnl_address_delete(n->rtnl, &old, NULL);
    }
    r = rtnl_address_add(n->rtnl, &want, err);
    return r == -EEXIST ? 0 : r;
}

static void bridge_sysctl(const struct network *n, const char *name, const char *value)
{
    cleanup_free char *path = xasprintf("/proc/sys/net/ipv4/conf/%s/%s", n->bridge, name);

    (void)file_write_knob(path, value, NULL);
}

static int bridge_up(struct network *n, struct error **err)
{
    struct rtnl_link_spec spec = {.kind = "bridge", .name = n->bridge, .up = true};
    uint8_t mac[MAC_BYTES] = {0x02, 0x42};
    struct rtnl_link l;
    int r;

    r = rtnl_link_get(n->rtnl, n->bridge, &l, NULL);
    if (n->up && r == 0)
        return 0;
    (void)network_read_subnet_env(n, SUBNET_ENV); /* its MTU, and what not to masquerade */
    spec.mtu = n->mtu;
    /* Without one of its own the bridge would take a port's, and change it as ports come and go. */
    memcpy(mac + 2, n->subnet.ip.bytes, 4);
    spec.mac = mac;
    if (r == -ENODEV) {
        r = rtnl_link_create(n->rtnl, &spec, err);
        if (r == 0)
            r = rtnl_link_get(n->rtnl, n->bridge, &l, err);
    }
    if (r == 0)
        r = rtnl_link_set_up(n->rtnl, l.index, true, err);
    if (r == 0)
        r = address_bridge(n, l.index, err);
    if (r == 0)
        r = file_write_knob("/proc/sys/net/ipv4/ip_forward", "1", err);
    if (r < 0)
        return error_wrap(err, "bridge %s", n->bridge);
    bridge_sysctl(n, "send_redirects", "0");
    bridge_sysctl(n, "route_localnet", "1");
    r = rules_apply(n, err);
    if (r < 0)
        return error_wrap(err, "nf_tables");
    n->up = true;
    return 0;
}

/* ---- a sandbox's end ---- */
/*
 * The pod's address has no prefix route: everything, neighbours on the bridge too, goes through the
 * host. So that connection tracking sees both directions of a Service's connection between two pods
 * of this node, without br_netfilter.
 */
static int configure_inside(struct network *n, int netns, const struct ip *ip, struct error **err)
{
    struct netlink *in;
    struct rtnl_link l;
    struct rtnl_address a = {.net = {*ip, n->subnet.bits}, .flags = IFA_F_NOPREFIXROUTE};
    struct rtnl_route gateway = {.dst = {n->subnet.ip, 32}, .scope = RT_SCOPE_LINK};
    struct rtnl_route route = {.dst = {{AF_INET, {0}}, 0}, .gateway = n->subnet.ip};
    int r = netlink_open(NETLINK_ROUTE, netns, &in, err);

    if (r < 0)
        return r;
    r = rtnl_link_get(in, "eth0", &l, err);
    a.index = gateway.oif = route.oif = l.index;
    if (r == 0)
        r = rtnl_address_add(in, &a, err);
    if (r == 0)
        r = rtnl_link_set_up(in, l.index, true, err);
    if (r == 0)
        r = rtnl_route_add(in, &gateway, err);
    if (r == 0)
        r = rtnl_route_add(in, &route, err);
    netlink_close(in);
    return r;
}

static int plug(struct network *n, const char *id, int netns, const struct ip *ip,
                struct error **err)
{
    char name[IFNAMSIZ];
    struct rtnl_link bridge, port;
    struct rtnl_link_spec spec = {.kind = "veth", .name = name, .mtu = n->mtu, .up = true};
    int r = rtnl_link_get(n->rtnl, n->bridge, &bridge, err);

    if (r < 0)
        return r;
    network_link_name(id, name);
    spec.master = bridge.index;
    spec.peer.name = "eth0";
    spec.peer.mtu = n->mtu;
    spec.peer.netns.fd = netns;
    r = rtnl_link_create(n->rtnl, &spec, err);
    if (r == 0)
        r = rtnl_link_get(n->rtnl, name, &port, err);
    if (r == 0)
        r = rtnl_bridge_port_set_hairpin(n->rtnl, port.index, true, err);
    return r == 0 ? configure_inside(n, netns, ip, err) : r;
}

int network_attach(struct network *n, const char *id, const char *netns,
                   const struct network_port *ports, size_t ports_n, char ret_ip[static IP_TEXT],
                   struct error **err)
{
    cleanup_close int fd = open(netns, O_RDONLY | O_CLOEXEC);
    struct lease *l = NULL;
    int r;

    if (fd < 0)
        return error_set_errno(err, errno, "open %s", netns);
    r = bridge_up(n, err);
    if (r == 0)
        r = lease_take(n, id, &l, err);
    if (r == 0)
        r = plug(n, id, fd, &l->ip, err);
    if (r == 0 && ports_n) {
        l->ports = xreallocarray(NULL, ports_n, sizeof *ports);
        memcpy(l->ports, ports, ports_n * sizeof *ports);
        l->ports_n = ports_n;
        r = rules_apply(n, err);
    }
    if (r < 0) {
        network_detach(n, id);
        return r;
    }
    ip_format(&l->ip, ret_ip);
    return 0;
}

void network_detach(struct network *n, const char *id)
{
    char name[IFNAMSIZ];
    struct lease *l = map_get(&n->leases, id);
    bool had_ports = l && l->ports_n;

    if (!l)
        return;
    network_link_name(id, name);
    (void)rtnl_link_delete_name(n->rtnl, name, NULL);
    lease_drop(n, id);
    if (had_ports)
        (void)rules_apply(n, NULL);
}

/* ---- at start ---- */
void network_keep(struct network *n, const char *id, const char *ip,
                  const struct network_port *ports, size_t ports_n)
{
    struct ip address;
    struct lease *l;

    if (ip_parse(str_of(ip), &address) < 0)
        return;
    l = lease_put(n, id, &address);
    l->kept = true;
    free(l->ports);
    l->ports = xreallocarray(NULL, ports_n + 1, sizeof *ports);
    memcpy(l->ports, ports, ports_n * sizeof *ports);
    l->ports_n = ports_n;
}

struct stray {
    struct network *n;
    char names[64][IFNAMSIZ];
    size_t count;
};

static int on_link(const struct rtnl_link *l, void *arg)
{
    struct stray *s = arg;
    struct map_entry *e;
    size_t it = 0;

    if (!strstarts(l->name, LINK_PREFIX) || !streq(l->kind, "veth") ||
        s->count == ARRAY_LEN(s->names))
        return 0;
    while ((e = map_next(&s->n->leases, &it))) {
        char name[IFNAMSIZ];

        network_link_name(e->key, name);
        if (streq(name, l->name))
            return 0;
    }
    memcpy(s->names[s->count++], l->name, IFNAMSIZ);
    return 0;
}

int network_sweep(struct network *n, struct error **err)
{
    struct map_entry *e;
    size_t it = 0;
    struct rtnl_link bridge;
    struct stray s = {.n = n};

    while ((e = map_next(&n->leases, &it))) {
        struct lease *l = e->value;

        if (!l->kept) {
            cleanup_free char *id = xstrdup(l->id);

            lease_drop(n, id);
        }
    }
    /* Ends of ours on a bridge that is ours; another engine on this machine has its own bridge. */
    if (rtnl_link_get(n->rtnl, n->bridge, &bridge, NULL) == 0) {
        (void)rtnl_link_each(n->rtnl, on_link, &s, NULL);
        for (size_t i = 0; i < s.count; i++) {
            struct rtnl_link l;

            if (rtnl_link_get(n->rtnl, s.names[i], &l, NULL) == 0 && l.master == bridge.index)
                (void)rtnl_link_delete(n->rtnl, l.index, NULL);
        }
    }
    return n->subnet.bits && (n->leases.n || n->eager) ? bridge_up(n, err) : 0;
}

/* Of our end, in /proc/net/dev, which unlike /sys is that of the namespace we are in: what we send,
 * the pod receives. */
int network_read_usage(const struct network *n, const char *id, struct network_usage *ret)
{
    enum { RX_BYTES = 0, RX_ERRORS = 2, TX_BYTES = 8, TX_ERRORS = 10, COLUMNS = 11 };
    cleanup_buf struct buf text = {0};
    char name[IFNAMSIZ];
    struct str rest;
    int r = file_read("/proc/net/dev", NET_DEV_MAX, &text, NULL);

    (void)n;
    if (r < 0)
        return r;
    network_link_name(id, name);
    for (rest = buf_str(&text); rest.p;) {
        struct str line = str_split(&rest, '\n'), key = str_trim(str_split(&line, ':'));
        uint64_t v[COLUMNS] = {0};

        if (!str_eq_z(key, name))
            continue;
        for (size_t i = 0; i < COLUMNS && line.p;) {
            struct str word = str_split(&line, ' ');

            if (word.n && str_to_u64(word, UINT64_MAX, &v[i]) == 0)
                i++;
        }
        *ret = (struct network_usage){v[TX_BYTES], v[TX_ERRORS], v[RX_BYTES], v[RX_ERRORS]};
        return 0;
    }
    return -ENOENT;
}
