#include "overlay/overlay.h"
#include "api/reflector.h"
#include "base/backoff.h"
#include "base/cleanup.h"
#include "base/file.h"
#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"
#include "overlay/fabric.h"
#include "overlay/output.h"
#include <errno.h>
#include <linux/neighbour.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/rtnetlink.h>

#define EVENT_DELAY_MS 20
#define PERIOD_MS 60000 /* safety net behind the notifications */

struct overlay {
    struct loop *loop;
    struct kube_client *client;
    struct overlay_config cfg;
    char *node_name, *interface, *public_ip, *subnet_file, *docker_file;
    struct ipnet network;
    int netns;
    struct fabric fabric;
    struct netlink_monitor *monitor, *rules_monitor;
    struct reflector *nodes;
    struct map peers; /* node name -> struct lease */
    struct lease own; /* as the API server has it */
    bool own_seen, listed, ready, warned_drop;
    struct kube_call *patch;
    struct lease wanted; /* what our annotations should say */
    struct loop_defer defer;
    struct loop_timer timer, period;
    struct backoff backoff;
};

static void schedule(struct overlay *o);

/* ---- our own Node ---- */

static void on_patched(const struct kube_result *r, void *arg)
{
    struct overlay *o = arg;

    o->patch = NULL;
    if (!r->err)
        return;
    log_warn("overlay", "cannot write the Node's annotations", "error", error_message(r->err),
             NULL);
    loop_timer_start(o->loop, &o->timer, backoff_next_ms(&o->backoff), o->timer.fn);
}

static void announce(struct overlay *o)
{
    cleanup_buf struct buf b = {0};

    if (o->patch || !o->own_seen || lease_equal(&o->wanted, &o->own))
        return;
    buf_init(&b, 4096);
    if (lease_format_patch(&o->wanted, &b) == 0)
        kube_patch(o->client, &k8s__node__descriptor, NULL, o->node_name, NULL, KUBE_PATCH_MERGE,
                   buf_str(&b), on_patched, o, &o->patch);
}

/* ---- levelling ---- */

static uint32_t pod_mtu(const struct overlay *o)
{
    return o->fabric.parent.mtu - (o->cfg.host_gateway ? 0 : FABRIC_OVERHEAD);
}

static int write_files(struct overlay *o, struct error **err)
{
    struct output out = {o->network, o->own.subnet, pod_mtu(o), !o->cfg.no_masquerade};
    struct output_docker docker = {
        .combined = true, .individual = true, .masquerade = o->cfg.no_masquerade};
    cleanup_buf struct buf b = {0}, d = {0};
    bool changed = false, ignored;
    char subnet[IPNET_TEXT];

    buf_init(&b, 4096);
    buf_init(&d, 4096);
    (void)output_format(&out, &b);
    (void)output_format_docker(&out, &docker, &d);
    int r = output_write(o->subnet_file, buf_str(&b), &changed, err);
    if (r == 0 && o->docker_file)
        r = output_write(o->docker_file, buf_str(&d), &ignored, err);
    ipnet_format(&o->own.subnet, subnet);
    if (r == 0 && (changed || !o->ready)) {
        log_info("overlay", "subnet is ready", "subnet", subnet, "interface", o->fabric.parent.name,
                 NULL);
        if (o->cfg.on_subnet)
            o->cfg.on_subnet(subnet, out.mtu, o->cfg.arg);
    }
    return r;
}

static int level_peers(struct overlay *o, struct error **err)
{
    struct lease *peers = xcalloc(o->peers.n ? o->peers.n : 1, sizeof(*peers));
    struct map_entry *e;
    size_t n = 0, changes = 0;

    for (size_t it = 0; (e = map_next(&o->peers, &it));) {
        const struct lease *l = e->value;
        if (!lease_is_complete(l) || ipnet_equal(&l->subnet, &o->own.subnet))
            continue;
        if (ip_equal(&l->public_ip, &o->wanted.public_ip)) {
            log_warn("overlay", "another node announces our address; it is left out", "node",
                     e->key, NULL);
            continue;
        }
        if (l->backend == LEASE_VXLAN && (o->cfg.host_gateway || l->vni != o->cfg.vni))
            continue;
        peers[n++] = *l;
    }
    int r = fabric_peers(&o->fabric, peers, n, &o->network, &changes, err);
    free(peers);
    if (r == 0 && changes)
        log_fmt(LOG_LEVEL_INFO, "overlay", "paths to %zu peers levelled, %zu changes", n, changes);
    return r;
}

static int allow_forwarding(void *arg, struct error **err)
{
    cleanup_buf struct buf b = {0};

    if (file_read("/proc/sys/net/ipv4/ip_forward", 16, &b, NULL) == 0 && b.n && b.p[0] == '1')
        return 0;
    return file_write_knob("/proc/sys/net/ipv4/ip_forward", "1", err);
}

/* A verdict of accept in our table does not save a packet from another table's drop: all we can do
 * is say so. */
static void warn_about_drop(struct overlay *o)
{
    static const uint8_t families[] = {NFPROTO_IPV4, NFPROTO_INET};
    struct nft_chain_found f;

    for (size_t i = 0; i < ARRAY_LEN(families) && !o->warned_drop; i++) {
        if (nft_find_drop_policy(o->fabric.nft, families[i], NF_INET_FORWARD, &f, NULL) != 1)
            continue;
        o->warned_drop = true;
        log_warn("overlay",
                 "a firewall drops forwarded packets by default: pods may not reach other nodes; "
                 "\"iptables -P FORWARD ACCEPT\" "
                 "or rules for the pod network let them",
                 "table", f.table, "chain", f.chain, NULL);
    }
}

static int level(struct overlay *o, struct error **err)
{
    int r = fabric_choose(&o->fabric, o->interface, o->public_ip, err);

    if (r < 0)
        return r;
    o->wanted = o->own;
    o->wanted.managed = true;
    o->wanted.backend = o->cfg.host_gateway ? LEASE_HOST_GW : LEASE_VXLAN;
    o->wanted.vni = o->cfg.vni;
    o->wanted.public_ip = o->fabric.address;
    if (o->public_ip)
        (void)ip_parse(str_of(o->public_ip), &o->wanted.public_ip);
    memset(o->wanted.mac, 0, MAC_BYTES);
    if (!o->cfg.host_gateway)
        fabric_mac(o->node_name, o->cfg.vni, o->wanted.mac);
    /* The files first: on a single node nothing else matters to pods. */
    r = write_files(o, err);
    if (r == 0)
        r = o->netns >= 0 ? netns_run(o->netns, allow_forwarding, NULL, err)
                          : allow_forwarding(NULL, err);
    if (r == 0)
        r = fabric_rules(&o->fabric, &o->network, &o->own.subnet, !o->cfg.no_masquerade, err);
    if (r == 0 && !o->cfg.host_gateway)
        r = fabric_device(&o->fabric, o->cfg.vni, o->cfg.port, o->wanted.mac, &o->own.subnet, err);
    if (r == 0)
        r = level_peers(o, err);
    announce(o);
    warn_about_drop(o);
    o->ready |= r == 0;
    return r;
}

static void level_now(struct overlay *o)
{
    cleanup_error struct error *err = NULL;

    if (!o->listed || !o->own_seen || !o->own.subnet.ip.family)
        return;
    if (level(o, &err) < 0) {
        log_error("overlay", "pod network is not level", "error", error_message(err), NULL);
        loop_timer_start(o->loop, &o->timer, backoff_next_ms(&o->backoff), o->timer.fn);
        return;
    }
    backoff_reset(&o->backoff);
}

static void on_defer(struct loop_defer *d)
{
    level_now(container_of(d, struct overlay, defer));
}

static void on_timer(struct loop_timer *t)
{
    level_now(container_of(t, struct overlay, timer));
}

static void on_period(struct loop_timer *t)
{
    struct overlay *o = container_of(t, struct overlay, period);

    level_now(o);
    loop_timer_start(o->loop, t, PERIOD_MS, on_period);
}

static void schedule(struct overlay *o)
{
    loop_defer_start(o->loop, &o->defer, on_defer);
}

/* ---- the kernel's notifications: only those about what is ours ---- */

static bool concerns_us(const struct overlay *o, const struct nlmsghdr *h)
{
    struct rtnl_link l;
    struct rtnl_address a;
    struct rtnl_route r;
    struct rtnl_neighbour b;
    const struct fabric *f = &o->fabric;

    switch (h->nlmsg_type) {
    case RTM_NEWLINK:
    case RTM_DELLINK:
        return rtnl_link_parse(h, &l) == 0 &&
               ((f->device && l.index == f->device) || l.index == f->parent.index);
    case RTM_NEWADDR:
    case RTM_DELADDR:
        return rtnl_address_parse(h, &a) == 0 &&
               (a.index == f->device || a.index == f->parent.index);
    case RTM_DELROUTE:
        return rtnl_route_parse(h, &r) == 0 && r.protocol == RTNL_PROTO_SKIFF &&
               (r.oif == f->device || r.oif == f->parent.index);
    case RTM_DELNEIGH:
        return rtnl_neighbour_parse(h, &b) == 0 && f->device && b.index == f->device;
    default:
        return false;
    }
}

static void on_kernel_event(const struct nlmsghdr *h, void *arg)
{
    struct overlay *o = arg;

    if ((!h || concerns_us(o, h)) && !loop_timer_pending(&o->timer))
        loop_timer_start(o->loop, &o->timer, EVENT_DELAY_MS, on_timer);
}

static void on_rules_event(const struct nlmsghdr *h, void *arg)
{
    struct overlay *o = arg;
    struct nft_event e = {0};

    if (h && (nft_event_parse(h, &e) < 0 || !streq(e.table, FABRIC_TABLE) ||
              e.portid == nft_portid(o->fabric.nft)))
        return;
    o->fabric.rules_done = false;
    if (o->ready && !loop_timer_pending(&o->timer)) {
        log_warn("overlay", "another program changed our rules; mending them", NULL);
        loop_timer_start(o->loop, &o->timer, EVENT_DELAY_MS, on_timer);
    }
}

/* ---- the API server's news ---- */

static void on_node(enum reflect_event ev, void *msg, void *arg)
{
    struct overlay *o = arg;
    cleanup_error struct error *err = NULL;
    const char *name = object_name(msg);
    struct lease l, *known;

    if (lease_read(msg, &l, &err) < 0) {
        log_warn("overlay", "a Node's data is not understood", "node", name, "error",
                 error_message(err), NULL);
        return;
    }
    if (streq(name, o->node_name)) {
        bool same = o->own_seen && lease_equal(&l, &o->own);
        if (!o->own_seen && !l.subnet.ip.family)
            log_info("overlay", "waiting for the controller manager to give this node a podCIDR",
                     "node", name, NULL);
        o->own = l;
        o->own_seen = true;
        if (!same)
            schedule(o);
        return;
    }
    known = map_get(&o->peers, name);
    if (known && lease_equal(known, &l))
        return;
    if (!known) {
        known = xcalloc(1, sizeof(*known));
        (void)map_set(&o->peers, name, known);
    }
    *known = l;
    schedule(o);
}

static void on_node_gone(const char *ns, const char *name, const char *uid, void *arg)
{
    struct overlay *o = arg;

    if (streq(name, o->node_name)) {
        o->own_seen = false;
        return;
    }
    free(map_remove(&o->peers, name));
    schedule(o);
}

static void on_nodes_listed(void *arg)
{
    struct overlay *o = arg;

    o->listed = true;
    if (!o->own_seen)
        log_info("overlay", "waiting for the kubelet to register this node", "node", o->node_name,
                 NULL);
    schedule(o);
}

static const struct reflector_ops node_ops = {
    .on_object = on_node, .on_delete = on_node_gone, .on_synced = on_nodes_listed};

/* ---- lifecycle ---- */

static struct overlay *overlay_new(struct loop *l, const struct overlay_config *cfg)
{
    struct overlay *o = xcalloc(1, sizeof(*o));

    o->loop = l;
    o->client = cfg->client;
    o->cfg = *cfg;
    o->cfg.vni = cfg->vni ? cfg->vni : 1;
    o->cfg.port = cfg->port ? cfg->port : 8472;
    o->node_name = xstrdup(strna(cfg->node_name));
    o->interface = cfg->interface && cfg->interface[0] ? xstrdup(cfg->interface) : NULL;
    o->public_ip = cfg->public_ip && cfg->public_ip[0] ? xstrdup(cfg->public_ip) : NULL;
    o->subnet_file = xstrdup(cfg->subnet_file ? cfg->subnet_file : "/run/flannel/subnet.env");
    o->docker_file = xstrdup_null(cfg->docker_file);
    o->netns = cfg->netns_fd > 0 ? cfg->netns_fd : -1;
    o->backoff = (struct backoff){.first_ms = 500, .max_ms = 30000};
    o->timer.fn = on_timer;
    map_init(&o->peers);
    return o;
}

int overlay_start(struct loop *l, const struct overlay_config *cfg, struct overlay **ret,
                  struct error **err)
{
    static const unsigned groups[] = {RTNLGRP_LINK, RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV4_ROUTE,
                                      RTNLGRP_NEIGH};
    static const unsigned rules_group = NFNLGRP_NFTABLES;
    const char *network = cfg->network && cfg->network[0] ? cfg->network : "172.30.0.0/16";
    struct overlay *o = overlay_new(l, cfg);
    struct str rest = str_of(network);
    int r = 0;

    if (ipnet_parse(str_trim(str_split(&rest, ',')), &o->network) < 0 ||
        o->network.ip.family != AF_INET)
        r = error_set(err, EINVAL, "network \"%s\" is not an IPv4 range such as 172.30.0.0/16",
                      network);
    if (r == 0)
        r = fabric_open(&o->fabric, o->netns, err);
    if (r == 0)
        r = netlink_monitor_start(l, NETLINK_ROUTE, o->netns, groups, ARRAY_LEN(groups),
                                  on_kernel_event, o, &o->monitor, err);
    if (r == 0)
        r = netlink_monitor_start(l, NETLINK_NETFILTER, o->netns, &rules_group, 1, on_rules_event,
                                  o, &o->rules_monitor, err);
    if (r < 0) {
        overlay_stop(o);
        return r;
    }
    loop_timer_start(l, &o->period, PERIOD_MS, on_period);
    o->nodes = reflector_start(
        o->client, &(struct reflector_config){
                       .type = &k8s__node__descriptor, .track = true, .ops = &node_ops, .arg = o});
    *ret = o;
    return 0;
}

void overlay_stop(struct overlay *o)
{
    if (!o)
        return;
    reflector_stop(o->nodes);
    kube_call_cancel(o->patch);
    loop_timer_stop(&o->timer);
    loop_timer_stop(&o->period);
    loop_defer_stop(&o->defer);
    netlink_monitor_stop(o->monitor);
    netlink_monitor_stop(o->rules_monitor);
    fabric_close(&o->fabric);
    map_fini(&o->peers, free);
    free(o->node_name);
    free(o->interface);
    free(o->public_ip);
    free(o->subnet_file);
    free(o->docker_file);
    free(o);
}

bool overlay_ready(const struct overlay *o)
{
    return o->ready;
}

int overlay_cleanup(const char *subnet_file, const char *docker_file, int netns_fd,
                    struct error **err)
{
    const char *files[] = {subnet_file ? subnet_file : "/run/flannel/subnet.env", docker_file};

    for (size_t i = 0; i < ARRAY_LEN(files); i++)
        if (files[i] && unlink(files[i]) < 0 && errno != ENOENT)
            return error_set_errno(err, errno, "remove %s", files[i]);
    return fabric_remove(netns_fd > 0 ? netns_fd : -1, 1, err);
}
