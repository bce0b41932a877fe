#include "proxy/proxy.h"
#include "base/cleanup.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "proxy/proxy_private.h"
#include <errno.h>
#include <linux/netfilter/nfnetlink.h>

#define FULL_EVERY 120     /* periods between full comparisons: an hour */
#define FOREIGN_DELAY_MS 5 /* somebody else's change is often the first of several */

static void schedule(struct proxy *p);

/* ---- options ---- */

static int add_nets(const char *list, bool addresses, struct ipnet **v, size_t *n,
                    struct error **err)
{
    struct str rest = str_of(list);

    while (list && rest.p) {
        struct str word = str_trim(str_split(&rest, ','));
        struct ipnet net;
        struct ip a;
        if (!word.n)
            continue;
        if (addresses && ip_parse(word, &a) == 0)
            net = (struct ipnet){a, (uint8_t)(ip_bytes(&a) * 8)};
        else if (ipnet_parse(word, &net) < 0)
            return error_set(err, EINVAL, "\"%.*s\" is not an address range such as 172.30.0.0/16",
                             STR_FMT(word));
        *v = xreallocarray(*v, *n + 1, sizeof(**v));
        (*v)[(*n)++] = net;
    }
    return 0;
}

static int make_options(const struct proxy *p, struct ruleset_options *ret, struct error **err)
{
    struct ruleset_options o = {
        .detect_local = p->detect_local, .masquerade_all = p->masquerade_all, .mark = p->mark};
    const char *pods = p->detect_local == PROXY_LOCAL_NODE_CIDR ? p->node_cidrs : p->cluster_cidr;
    bool primary = streq(p->node_port_addresses, "primary");
    struct ipnet *nets = NULL;
    size_t n = 0;
    int r = add_nets(pods, false, &nets, &n, err);

    for (size_t i = 0; i < n; i++)
        o.pods[nets[i].ip.family == AF_INET6] = nets[i];
    free(nets);
    (void)snprintf(o.interface, sizeof(o.interface), "%s", strna(p->local_interface));
    if (r == 0)
        r = add_nets(primary ? p->node_ips : p->node_port_addresses, primary, &o.node_ports,
                     &o.node_ports_n, err);
    if (r < 0) {
        ruleset_options_fini(&o);
        return r;
    }
    *ret = o;
    return 0;
}

/* ---- levelling ---- */

static void count_sync(struct proxy *p, double seconds)
{
    double limit = 0.001;

    p->sync_count++;
    p->sync_seconds += seconds;
    for (size_t i = 0; i < SYNC_BUCKETS; i++, limit *= 2)
        if (seconds <= limit)
            p->sync_buckets[i]++;
}

static void sync_now(struct proxy *p)
{
    cleanup_error struct error *err = NULL;
    struct mono start = mono_now();

    if (!p->services_listed || !p->slices_listed || (p->needs_node && !p->node_seen) ||
        !proxier_is_dirty(&p->proxier))
        return;
    int r = proxier_sync(&p->proxier, &err);
    count_sync(p, (double)(mono_now().ns - start.ns) / 1e9);
    p->last_sync = mono_now();
    if (r < 0) {
        p->failures++;
        log_error("proxy", "cannot change the rules", "error", error_message(err), NULL);
        loop_timer_start(p->loop, &p->timer, backoff_next_ms(&p->backoff), p->timer.fn);
        return;
    }
    backoff_reset(&p->backoff);
    p->last_updated = wall_now();
    proxy_health_ports_level(p);
    if (!p->synced)
        log_info("proxy", "all Services are in the kernel", NULL);
    p->synced = true;
}

static void on_timer(struct loop_timer *t)
{
    sync_now(container_of(t, struct proxy, timer));
}

static void on_defer(struct loop_defer *d)
{
    struct proxy *p = container_of(d, struct proxy, defer);
    int64_t wait = p->last_sync.ns ? p->min_sync_ms - mono_ms_since(p->last_sync) : 0;

    if (loop_timer_pending(&p->timer))
        return;
    if (wait > 0)
        loop_timer_start(p->loop, &p->timer, wait, on_timer);
    else
        sync_now(p);
}

static void schedule(struct proxy *p)
{
    loop_defer_start(p->loop, &p->defer, on_defer);
}

static void on_period(struct loop_timer *t)
{
    struct proxy *p = container_of(t, struct proxy, period);

    /* Notifications tell of foreign changes, and reading large maps back costs the kernel much:
     * mostly a look is enough. */
    if (++p->periods % FULL_EVERY == 0 || (p->synced && !ruleset_present(p->proxier.rules)))
        p->proxier.reconcile_due = true;
    schedule(p);
    loop_timer_start(p->loop, &p->period, p->sync_period_ms, on_period);
}

/* Packets and timeouts change @affinity without a notification, so all that comes is somebody's
 * doing. */
static void on_kernel_event(const struct nlmsghdr *h, void *arg)
{
    struct proxy *p = arg;
    struct nft_event e = {0};

    if (h && (nft_event_parse(h, &e) < 0 || !streq(e.table, RULESET_TABLE) ||
              e.portid == ruleset_portid(p->proxier.rules)))
        return;
    if (!p->synced || p->proxier.reconcile_due)
        return;
    log_warn("proxy",
             h ? "another program changed our rules; mending them"
               : "missed notifications; checking the rules",
             NULL);
    p->proxier.reconcile_due = true;
    loop_timer_start(p->loop, &p->timer, FOREIGN_DELAY_MS, on_timer);
}

/* ---- what the API server says ---- */

static void on_service(enum reflect_event ev, void *msg, void *arg)
{
    struct proxy *p = arg;

    p->service_changes++;
    proxier_set_service(&p->proxier, msg);
    schedule(p);
}

static void on_service_gone(const char *ns, const char *name, const char *uid, void *arg)
{
    struct proxy *p = arg;

    p->service_changes++;
    proxier_delete_service(&p->proxier, ns, name);
    schedule(p);
}

static void on_slice(enum reflect_event ev, void *msg, void *arg)
{
    struct proxy *p = arg;

    p->slice_changes++;
    proxier_set_slice(&p->proxier, msg);
    schedule(p);
}

static void on_slice_gone(const char *ns, const char *name, const char *uid, void *arg)
{
    struct proxy *p = arg;

    p->slice_changes++;
    proxier_delete_slice(&p->proxier, ns, name);
    schedule(p);
}

static void on_services_listed(void *arg)
{
    ((struct proxy *)arg)->services_listed = true;
    schedule(arg);
}

static void on_slices_listed(void *arg)
{
    ((struct proxy *)arg)->slices_listed = true;
    schedule(arg);
}

static bool node_is_eligible(const K8s__Node *n)
{
    if (n->metadata && n->metadata->deletiontimestamp)
        return false;
    for (size_t i = 0; n->spec && i < n->spec->n_taints; i++)
        if (streq(n->spec->taints[i]->key, "ToBeDeletedByClusterAutoscaler"))
            return false;
    return true;
}

/* Comma-separated; true when it differs from what was there. */
static bool replace_list(char **p, struct buf *b)
{
    char *now = b->n ? buf_take(b) : NULL;
    bool changed = strcmp(strna(*p), strna(now)) != 0;

    free(*p);
    *p = now;
    return changed;
}

static void on_node(enum reflect_event ev, void *msg, void *arg)
{
    cleanup_buf struct buf cidrs = {0}, ips = {0};
    struct proxy *p = arg;
    const K8s__Node *n = msg;
    bool changed;

    buf_init(&cidrs, 4096);
    buf_init(&ips, 4096);
    p->node_seen = true;
    p->node_eligible = node_is_eligible(n);
    for (size_t i = 0; n->spec && i < n->spec->n_podcidrs; i++)
        (void)buf_printf(&cidrs, "%s%s", i ? "," : "", n->spec->podcidrs[i]);
    for (size_t i = 0; n->status && i < n->status->n_addresses; i++)
        if (streq(n->status->addresses[i]->type, "InternalIP"))
            (void)buf_printf(&ips, "%s%s", ips.n ? "," : "",
                             strna(n->status->addresses[i]->address));
    changed = replace_list(&p->node_cidrs, &cidrs);
    changed |= replace_list(&p->node_ips, &ips);
    if (n->metadata)
        proxier_set_zone(&p->proxier, pairs_get(n->metadata->labels, n->metadata->n_labels,
                                                "topology.kubernetes.io/zone"));
    struct ruleset_options o;
    if (changed && p->needs_node && make_options(p, &o, NULL) == 0)
        proxier_set_options(&p->proxier, &o);
    schedule(p);
}

static void on_node_gone(const char *ns, const char *name, const char *uid, void *arg)
{
    ((struct proxy *)arg)->node_eligible = false;
}

static void on_node_listed(void *arg)
{
    struct proxy *p = arg;

    if (!p->node_seen)
        log_warn("proxy",
                 "there is no Node of this name: the kubelet's --hostname-override must be the "
                 "same as the proxy's",
                 "node", p->node_name, NULL);
}

static const struct reflector_ops service_ops = {
    .on_object = on_service, .on_delete = on_service_gone, .on_synced = on_services_listed};
static const struct reflector_ops slice_ops = {
    .on_object = on_slice, .on_delete = on_slice_gone, .on_synced = on_slices_listed};
static const struct reflector_ops node_ops = {
    .on_object = on_node, .on_delete = on_node_gone, .on_synced = on_node_listed};

#define NOT_HEADLESS "!service.kubernetes.io/headless,!service.kubernetes.io/service-proxy-name"

static void start_reflectors(struct proxy *p)
{
    cleanup_free char *field = xasprintf("metadata.name=%s", p->node_name);

    p->services =
        reflector_start(p->client, &(struct reflector_config){.type = &k8s__service__descriptor,
                                                              .label_selector = NOT_HEADLESS,
                                                              .track = true,
                                                              .ops = &service_ops,
                                                              .arg = p});
    p->slices = reflector_start(p->client,
                                &(struct reflector_config){.type = &k8s__endpoint_slice__descriptor,
                                                           .label_selector = NOT_HEADLESS,
                                                           .track = true,
                                                           .ops = &slice_ops,
                                                           .arg = p});
    p->node = reflector_start(p->client, &(struct reflector_config){.type = &k8s__node__descriptor,
                                                                    .field_selector = field,
                                                                    .track = true,
                                                                    .ops = &node_ops,
                                                                    .arg = p});
}

/* ---- lifecycle ---- */

static struct proxy *proxy_new(struct loop *l, const struct proxy_config *cfg)
{
    struct proxy *p = xcalloc(1, sizeof(*p));
    int bit = cfg->masquerade_bit < 0 ? 14 : cfg->masquerade_bit;

    p->loop = l;
    p->client = cfg->client;
    p->node_name = xstrdup(strna(cfg->node_name));
    p->detect_local = cfg->detect_local;
    p->cluster_cidr = xstrdup_null(cfg->cluster_cidr);
    p->local_interface = xstrdup_null(cfg->local_interface);
    p->node_port_addresses = xstrdup_null(cfg->node_port_addresses);
    p->mode = xstrdup(cfg->mode ? cfg->mode : "nftables");
    p->config_text = xstrdup(cfg->config_text ? cfg->config_text : "{}");
    p->masquerade_all = cfg->masquerade_all;
    p->mark = 1u << (bit & 31);
    p->needs_node =
        cfg->detect_local == PROXY_LOCAL_NODE_CIDR || streq(cfg->node_port_addresses, "primary");
    p->node_eligible = true;
    p->sync_period_ms = cfg->sync_period_ms ? cfg->sync_period_ms : 30000;
    p->min_sync_ms = cfg->min_sync_ms;
    p->backoff = (struct backoff){.first_ms = 200, .max_ms = 30000};
    p->timer.fn = on_timer;
    map_init(&p->health_ports);
    return p;
}

/* Pods on one bridge reach each other through a Service only if bridged packets pass by our rules.
 */
static void ensure_bridge_calls(void)
{
    static const char *const knobs[] = {"/proc/sys/net/bridge/bridge-nf-call-iptables",
                                        "/proc/sys/net/bridge/bridge-nf-call-ip6tables"};

    for (size_t i = 0; i < ARRAY_LEN(knobs); i++) {
        cleanup_error struct error *err = NULL;
        if (path_exists(knobs[i]) && file_write_knob(knobs[i], "1", &err) < 0)
            log_warn("proxy", "pods on one bridge may not reach each other through Services",
                     "error", error_message(err), NULL);
    }
}

int proxy_start(struct loop *l, const struct proxy_config *cfg, struct proxy **ret,
                struct error **err)
{
    static const unsigned groups[] = {NFNLGRP_NFTABLES};
    struct ruleset_options options = {0};
    int netns = cfg->netns_fd > 0 ? cfg->netns_fd : -1;
    struct proxy *p = proxy_new(l, cfg);
    int r = make_options(p, &options, err);

    if (r == 0)
        r = proxier_init(&p->proxier, p->node_name, &options, netns, err);
    if (r < 0) {
        ruleset_options_fini(&options);
        proxy_stop(p);
        return r;
    }
    ensure_bridge_calls();
    r = netlink_monitor_start(l, NETLINK_NETFILTER, netns, groups, ARRAY_LEN(groups),
                              on_kernel_event, p, &p->monitor, err);
    if (r == 0)
        r = proxy_http_start(p, cfg, err);
    if (r < 0) {
        proxy_stop(p);
        return r;
    }
    loop_timer_start(l, &p->period, p->sync_period_ms, on_period);
    start_reflectors(p);
    *ret = p;
    return 0;
}

void proxy_stop(struct proxy *p)
{
    if (!p)
        return;
    reflector_stop(p->services);
    reflector_stop(p->slices);
    reflector_stop(p->node);
    proxy_http_stop(p);
    loop_timer_stop(&p->timer);
    loop_timer_stop(&p->period);
    loop_defer_stop(&p->defer);
    netlink_monitor_stop(p->monitor);
    if (p->proxier.node_name)
        proxier_fini(&p->proxier);
    free(p->node_name);
    free(p->cluster_cidr);
    free(p->local_interface);
    free(p->node_port_addresses);
    free(p->mode);
    free(p->config_text);
    free(p->node_cidrs);
    free(p->node_ips);
    free(p);
}

bool proxy_synced(const struct proxy *p)
{
    return p->synced;
}

int proxy_cleanup(int netns_fd, struct error **err)
{
    return ruleset_remove(netns_fd > 0 ? netns_fd : -1, err);
}
