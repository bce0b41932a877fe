/* /healthz, /livez, /metrics, /proxyMode, /configz, and the health-check node ports of Services. */
#include "base/cleanup.h"
#include "base/log.h"
#include "base/mem.h"
#include "proxy/proxy_private.h"
#include <errno.h>

struct health_port {
    struct proxy *proxy;
    struct http_server *server;
    char *service; /* "ns/name" */
    bool wanted;
};

/* Rules that wait for longer than this make the proxy unhealthy, as upstream does it (twice the
 * sync period). */
static bool is_live(const struct proxy *p)
{
    return p->synced &&
           (!proxier_is_dirty(&p->proxier) || p->failures == 0 ||
            (wall_now().ns - p->last_updated.ns) / NSEC_PER_MSEC < 2 * p->sync_period_ms);
}

static void answer_health(struct http_exchange *x, const struct proxy *p, bool with_node)
{
    cleanup_buf struct buf b = {0};
    char updated[WALL_TEXT], now[WALL_TEXT];
    bool ok = is_live(p) && (!with_node || p->node_eligible);

    buf_init(&b, 1024);
    wall_format_micro(p->last_updated, updated);
    wall_format_micro(wall_now(), now);
    (void)buf_printf(&b, "{\"lastUpdated\": \"%s\",\"currentTime\": \"%s\"", updated, now);
    if (with_node)
        (void)buf_printf(&b, ", \"nodeEligible\": %s", p->node_eligible ? "true" : "false");
    (void)buf_add_char(&b, '}');
    http_respond(x, ok ? 200 : 503, "application/json", buf_str(&b));
}

static void on_healthz_request(struct http_exchange *x, void *arg)
{
    if (str_eq_z(http_path(x), "/healthz"))
        answer_health(x, arg, true);
    else if (str_eq_z(http_path(x), "/livez"))
        answer_health(x, arg, false);
    else
        http_respond_text(x, 404, "404 page not found");
}

static void metric(struct buf *b, const char *name, const char *type, const char *help,
                   double value)
{
    (void)buf_printf(b, "# HELP %s %s\n# TYPE %s %s\n%s %.17g\n", name, help, name, type, name,
                     value);
}

static void answer_metrics(struct http_exchange *x, const struct proxy *p)
{
    static const char *const name = "kubeproxy_sync_proxy_rules_duration_seconds";
    cleanup_buf struct buf b = {0};
    double limit = 0.001;

    buf_init(&b, 65536);
    (void)buf_printf(&b, "# HELP %s SyncProxyRules latency in seconds\n# TYPE %s histogram\n", name,
                     name);
    for (size_t i = 0; i < SYNC_BUCKETS; i++, limit *= 2)
        (void)buf_printf(&b, "%s_bucket{le=\"%g\"} %llu\n", name, limit,
                         (unsigned long long)p->sync_buckets[i]);
    (void)buf_printf(&b, "%s_bucket{le=\"+Inf\"} %llu\n%s_sum %.9g\n%s_count %llu\n", name,
                     (unsigned long long)p->sync_count, name, p->sync_seconds, name,
                     (unsigned long long)p->sync_count);
    metric(&b, "kubeproxy_sync_proxy_rules_last_timestamp_seconds", "gauge",
           "The last time proxy rules were successfully synced", (double)p->last_updated.ns / 1e9);
    metric(&b, "kubeproxy_sync_proxy_rules_service_changes_total", "counter",
           "Cumulative proxy rules Service changes", (double)p->service_changes);
    metric(&b, "kubeproxy_sync_proxy_rules_endpoint_changes_total", "counter",
           "Cumulative proxy rules Endpoint changes", (double)p->slice_changes);
    metric(&b, "kubeproxy_sync_proxy_rules_nftables_sync_failures_total", "counter",
           "Cumulative proxy nftables sync failures", (double)p->failures);
    metric(&b, "skiff_proxy_element_changes_total", "counter",
           "Map elements added to or removed from the kernel", (double)p->proxier.changes);
    metric(&b, "skiff_proxy_services", "gauge", "Services known", (double)p->proxier.services.n);
    http_respond(x, 200, "text/plain; version=0.0.4; charset=utf-8", buf_str(&b));
}

static void on_metrics_request(struct http_exchange *x, void *arg)
{
    const struct proxy *p = arg;

    if (str_eq_z(http_path(x), "/metrics"))
        answer_metrics(x, p);
    else if (str_eq_z(http_path(x), "/proxyMode"))
        http_respond(x, 200, "text/plain; charset=utf-8", str_of(p->mode));
    else if (str_eq_z(http_path(x), "/healthz"))
        http_respond(x, 200, "text/plain; charset=utf-8", STR("ok"));
    else if (str_eq_z(http_path(x), "/configz"))
        http_respond(x, 200, "application/json", str_of(p->config_text));
    else
        http_respond_text(x, 404, "404 page not found");
}

static int serve(struct proxy *p, const char *address, http_exchange_fn fn,
                 struct http_server **ret, struct error **err)
{
    struct http_server_config cfg = {.on_request = fn, .arg = p, .connections_max = 64};
    const char *colon = address ? strrchr(address, ':') : NULL;
    int64_t port;

    if (!address || !address[0])
        return 0;
    if (!colon || str_to_i64(str_of(colon + 1), 0, 65535, &port) < 0)
        return error_set(err, EINVAL, "\"%s\" is not ADDRESS:PORT", address);
    struct str host = {address, (size_t)(colon - address)};
    if (host.n > 2 && host.p[0] == '[' && host.p[host.n - 1] == ']')
        host = (struct str){host.p + 1, host.n - 2};
    cleanup_free char *text = str_dup(host);
    *ret = http_server_new(p->loop, &cfg);
    return http_server_listen_tcp(*ret, text, (uint16_t)port, NULL, err);
}

int proxy_http_start(struct proxy *p, const struct proxy_config *cfg, struct error **err)
{
    int r = serve(p, cfg->healthz_address, on_healthz_request, &p->healthz, err);

    return r < 0 ? r : serve(p, cfg->metrics_address, on_metrics_request, &p->metrics, err);
}

/* ---- health-check node ports ---- */

static void health_port_free(void *value)
{
    struct health_port *h = value;

    http_server_free(h->server);
    free(h->service);
    free(h);
}

static void on_health_port_request(struct http_exchange *x, void *arg)
{
    const struct health_port *h = arg;
    const struct service *s = map_get(&h->proxy->proxier.services, h->service);
    size_t n = s ? s->local_ready : 0;
    const char *slash = strchr(h->service, '/');
    cleanup_buf struct buf b = {0};

    buf_init(&b, 4096);
    (void)buf_printf(
        &b,
        "{\n\t\"service\": {\n\t\t\"namespace\": \"%.*s\",\n\t\t\"name\": \"%s\"\n\t},\n"
        "\t\"localEndpoints\": %zu,\n\t\"serviceProxyHealthy\": %s\n}",
        (int)(slash - h->service), h->service, slash + 1, n, is_live(h->proxy) ? "true" : "false");
    http_add_header(x, "X-Load-Balancing-Endpoint-Weight", n ? "1" : "0");
    http_respond(x, n && is_live(h->proxy) ? 200 : 503, "application/json", buf_str(&b));
}

static void health_port_open(struct proxy *p, const struct service *s, const char *port)
{
    cleanup_error struct error *err = NULL;
    struct health_port *h = xcalloc(1, sizeof(*h));
    struct http_server_config cfg = {
        .on_request = on_health_port_request, .arg = h, .connections_max = 64};

    h->proxy = p;
    h->service = xstrdup(s->key);
    h->wanted = true;
    h->server = http_server_new(p->loop, &cfg);
    if (http_server_listen_tcp(h->server, NULL, s->spec.health_port, NULL, &err) < 0) {
        log_warn("proxy", "cannot serve the health-check node port", "service", s->key, "error",
                 error_message(err), NULL);
        health_port_free(h);
        return;
    }
    (void)map_set(&p->health_ports, port, h);
}

void proxy_health_ports_level(struct proxy *p)
{
    struct map_entry *e;

    for (size_t it = 0; (e = map_next(&p->health_ports, &it));)
        ((struct health_port *)e->value)->wanted = false;
    list_for(l, &p->proxier.health)
    {
        const struct service *s = container_of(l, struct service, health);
        char port[8];
        (void)snprintf(port, sizeof(port), "%u", s->spec.health_port);
        struct health_port *h = map_get(&p->health_ports, port);
        if (h && streq(h->service, s->key)) {
            h->wanted = true;
            continue;
        }
        if (h)
            health_port_free(map_remove(&p->health_ports, port));
        health_port_open(p, s, port);
    }
    for (size_t it = 0; (e = map_next(&p->health_ports, &it));) {
        struct health_port *h = e->value;
        if (!h->wanted)
            health_port_free(map_remove(&p->health_ports, e->key));
    }
}

void proxy_http_stop(struct proxy *p)
{
    http_server_free(p->healthz);
    http_server_free(p->metrics);
    p->healthz = p->metrics = NULL;
    map_fini(&p->health_ports, health_port_free);
    map_init(&p->health_ports);
}
