#include "proxy/config.h"
#include "base/cleanup.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/time.h"
#include "codec/yaml.h"
#include <errno.h>

#define CONFIG_MAX (1u << 20)

void proxy_settings_init(struct proxy_settings *s)
{
    *s = (struct proxy_settings){
        .mark_bit = 14, .sync_ns = 30 * NSEC_PER_SEC, .min_sync_ns = 0, .verbosity = 2};
    s->bind_address = xstrdup("0.0.0.0");
    s->healthz = xstrdup("0.0.0.0:10256");
    s->metrics = xstrdup("127.0.0.1:10249");
    s->mode = xstrdup("");
    s->detect_local = xstrdup("");
}

void proxy_settings_fini(struct proxy_settings *s)
{
    char *v[] = {
        s->kubeconfig,   s->server,    s->bind_address, s->node_name,           s->cluster_cidr,
        s->detect_local, s->interface, s->prefix,       s->node_port_addresses, s->healthz,
        s->metrics,      s->mode,      s->text};

    for (size_t i = 0; i < ARRAY_LEN(v); i++)
        free(v[i]);
    *s = (struct proxy_settings){0};
}

/* ---- the file ---- */

static int read_text(const json_t *o, const char *key, char **ret, struct error **err)
{
    const json_t *v = json_object_get(o, key);

    if (!v || json_is_null(v))
        return 0;
    if (!json_is_string(v))
        return error_set(err, EINVAL, "%s must be a string", key);
    if (json_string_value(v)[0])
        str_replace(ret, json_string_value(v));
    return 0;
}

static int read_duration(const json_t *o, const char *key, int64_t *ret, struct error **err)
{
    const char *text = json_text_at(o, key, NULL);
    int64_t ns;

    if (!json_object_get(o, key) || json_is_null(json_object_get(o, key)))
        return 0;
    if (!text || duration_parse(str_of(text), &ns) < 0 || ns < 0)
        return error_set(err, EINVAL, "%s must be a duration such as 30s", key);
    if (ns)
        *ret = ns;
    return 0;
}

static int read_rules(struct proxy_settings *s, const json_t *o, struct error **err)
{
    const json_t *bit = json_object_get(o, "masqueradeBit"),
                 *all = json_object_get(o, "masqueradeAll");
    int r;

    if (!json_is_object(o))
        return 0;
    if (bit && !json_is_null(bit)) {
        if (!json_is_integer(bit) || json_integer_value(bit) < 0 || json_integer_value(bit) > 31)
            return error_set(err, EINVAL, "masqueradeBit must be within 0 and 31");
        s->mark_bit = json_integer_value(bit);
    }
    if (all && !json_is_boolean(all) && !json_is_null(all))
        return error_set(err, EINVAL, "masqueradeAll must be true or false");
    s->masquerade_all |= json_is_true(all);
    r = read_duration(o, "syncPeriod", &s->sync_ns, err);
    return r < 0 ? r : read_duration(o, "minSyncPeriod", &s->min_sync_ns, err);
}

static int read_addresses(struct proxy_settings *s, const json_t *v, struct error **err)
{
    cleanup_buf struct buf b = {0};
    size_t i;
    const json_t *x;

    if (!v || json_is_null(v))
        return 0;
    if (!json_is_array(v))
        return error_set(err, EINVAL, "nodePortAddresses must be a list");
    buf_init(&b, 65536);
    json_array_foreach(v, i, x)
    {
        if (!json_is_string(x))
            return error_set(err, EINVAL, "nodePortAddresses must be a list of strings");
        (void)buf_printf(&b, "%s%s", b.n ? "," : "", json_string_value(x));
    }
    if (b.n)
        str_replace(&s->node_port_addresses, b.p);
    return 0;
}

static int read_document(struct proxy_settings *s, const json_t *o, struct error **err)
{
    static const char *const rows[] = {"iptables", "ipvs", "nftables"};
    const json_t *local = json_object_get(o, "detectLocal");
    struct {
        const char *key;
        char **at;
    } texts[] = {{"bindAddress", &s->bind_address},
                 {"hostnameOverride", &s->node_name},
                 {"clusterCIDR", &s->cluster_cidr},
                 {"detectLocalMode", &s->detect_local},
                 {"healthzBindAddress", &s->healthz},
                 {"metricsBindAddress", &s->metrics},
                 {"mode", &s->mode}};
    int r = 0;

    for (size_t i = 0; i < ARRAY_LEN(texts) && r == 0; i++)
        r = read_text(o, texts[i].key, texts[i].at, err);
    for (size_t i = 0; i < ARRAY_LEN(rows) && r == 0; i++)
        r = read_rules(s, json_object_get(o, rows[i]), err);
    if (r == 0)
        r = read_addresses(s, json_object_get(o, "nodePortAddresses"), err);
    if (r == 0)
        r = read_text(json_object_get(o, "clientConnection"), "kubeconfig", &s->kubeconfig, err);
    if (r == 0 && json_is_object(local)) {
        r = read_text(local, "bridgeInterface", &s->interface, err);
        r = r < 0 ? r : read_text(local, "interfaceNamePrefix", &s->prefix, err);
    }
    return r;
}

int proxy_settings_read(struct proxy_settings *s, struct str text, const char *what,
                        struct error **err)
{
    cleanup_json json_t *o = NULL;
    cleanup_buf struct buf b = {0};
    int r = yaml_parse(text, CONFIG_MAX, what, &o, err);

    buf_init(&b, CONFIG_MAX);
    if (r < 0)
        return r;
    if (!streq(json_text_at(o, "kind", NULL), "KubeProxyConfiguration") ||
        !streq(json_text_at(o, "apiVersion", NULL), "kubeproxy.config.k8s.io/v1alpha1"))
        return error_set(err, EINVAL,
                         "%s: not a KubeProxyConfiguration of kubeproxy.config.k8s.io/v1alpha1",
                         what);
    r = read_document(s, o, err);
    if (r < 0)
        return error_wrap(err, "%s", what);
    (void)buf_add_z(&b, "{\"kubeproxyconfig\":");
    if (json_write(o, &b) == 0 && buf_add_char(&b, '}') == 0)
        str_replace(&s->text, b.p);
    return 0;
}

/* ---- flags ---- */

int proxy_settings_parse(struct proxy_settings *s, int argc, char **argv, struct error **err)
{
    cleanup_free char *file = NULL, *host = NULL, *healthz_port = NULL, *metrics_port = NULL;
    bool verbose = false;
    const struct flag flags[] = {
        {"config", 0, FLAG_STRING, &file, "KubeProxyConfiguration file"},
        {"kubeconfig", 0, FLAG_STRING, &s->kubeconfig, "credentials and address of the API server"},
        {"master", 0, FLAG_STRING, &s->server,
         "address of the API server; overrides the kubeconfig's"},
        {"hostname-override", 0, FLAG_STRING, &host, "this node's name, the same as the kubelet's"},
        {"bind-address", 0, FLAG_STRING, &s->bind_address, "this node's address"},
        {"cluster-cidr", 0, FLAG_STRING, &s->cluster_cidr,
         "addresses of pods; traffic from others is masqueraded"},
        {"detect-local-mode", 0, FLAG_STRING, &s->detect_local,
         "ClusterCIDR, NodeCIDR, BridgeInterface or InterfaceNamePrefix"},
        {"pod-bridge-interface", 0, FLAG_STRING, &s->interface, "for BridgeInterface"},
        {"pod-interface-name-prefix", 0, FLAG_STRING, &s->prefix, "for InterfaceNamePrefix"},
        {"nodeport-addresses", 0, FLAG_STRING, &s->node_port_addresses,
         "ranges of node port addresses, or primary"},
        {"masquerade-all", 0, FLAG_BOOL, &s->masquerade_all,
         "masquerade all traffic to cluster IPs"},
        {"iptables-masquerade-bit", 0, FLAG_INT, &s->mark_bit, "bit of the packet mark", .min = 0,
         .max = 31},
        {"nftables-masquerade-bit", 0, FLAG_INT, &s->mark_bit, "bit of the packet mark", .min = 0,
         .max = 31},
        {"proxy-mode", 0, FLAG_STRING, &s->mode, "accepted; nf_tables serves every mode"},
        {"healthz-bind-address", 0, FLAG_STRING, &s->healthz,
         "address and port of /healthz; empty: none"},
        {"metrics-bind-address", 0, FLAG_STRING, &s->metrics,
         "address and port of /metrics; empty: none"},
        {"healthz-port", 0, FLAG_STRING, &healthz_port, NULL},
        {"metrics-port", 0, FLAG_STRING, &metrics_port, NULL},
        {"iptables-sync-period", 0, FLAG_DURATION, &s->sync_ns, "how often everything is compared"},
        {"nftables-sync-period", 0, FLAG_DURATION, &s->sync_ns, "how often everything is compared"},
        {"iptables-min-sync-period", 0, FLAG_DURATION, &s->min_sync_ns,
         "least time between changes"},
        {"nftables-min-sync-period", 0, FLAG_DURATION, &s->min_sync_ns,
         "least time between changes"},
        {"cleanup", 0, FLAG_BOOL, &s->cleanup, "remove all rules and exit"},
        {"v", 'v', FLAG_INT, &s->verbosity, "verbosity", .min = 0, .max = 20, .seen = &verbose},
        {"logtostderr", 0, FLAG_IGNORED_BOOL},
        {"alsologtostderr", 0, FLAG_IGNORED_BOOL},
        {"log-dir", 0, FLAG_IGNORED},
        {"log-file", 0, FLAG_IGNORED},
        {"vmodule", 0, FLAG_IGNORED},
        {"logging-format", 0, FLAG_IGNORED},
        {"feature-gates", 0, FLAG_IGNORED},
        {"init-only", 0, FLAG_IGNORED_BOOL},
        {"oom-score-adj", 0, FLAG_IGNORED},
        {"profiling", 0, FLAG_IGNORED_BOOL},
        {"show-hidden-metrics-for-version", 0, FLAG_IGNORED},
        {"bind-address-hard-fail", 0, FLAG_IGNORED_BOOL},
        {"config-sync-period", 0, FLAG_IGNORED},
        {"conntrack-max-per-core", 0, FLAG_IGNORED},
        {"conntrack-min", 0, FLAG_IGNORED},
        {"conntrack-tcp-be-liberal", 0, FLAG_IGNORED_BOOL},
        {"conntrack-tcp-timeout-close-wait", 0, FLAG_IGNORED},
        {"conntrack-tcp-timeout-established", 0, FLAG_IGNORED},
        {"conntrack-udp-timeout", 0, FLAG_IGNORED},
        {"conntrack-udp-timeout-stream", 0, FLAG_IGNORED},
        {"iptables-localhost-nodeports", 0, FLAG_IGNORED_BOOL},
        {"ipvs-exclude-cidrs", 0, FLAG_IGNORED},
        {"ipvs-min-sync-period", 0, FLAG_IGNORED},
        {"ipvs-scheduler", 0, FLAG_IGNORED},
        {"ipvs-strict-arp", 0, FLAG_IGNORED_BOOL},
        {"ipvs-sync-period", 0, FLAG_IGNORED},
        {"ipvs-tcp-timeout", 0, FLAG_IGNORED},
        {"ipvs-tcpfin-timeout", 0, FLAG_IGNORED},
        {"ipvs-udp-timeout", 0, FLAG_IGNORED},
        {"kube-api-burst", 0, FLAG_IGNORED},
        {"kube-api-content-type", 0, FLAG_IGNORED},
        {"kube-api-qps", 0, FLAG_IGNORED},
        {"proxy-port-range", 0, FLAG_IGNORED},
        {"udp-timeout", 0, FLAG_IGNORED},
        {"windows-service", 0, FLAG_IGNORED_BOOL},
        {"write-config-to", 0, FLAG_IGNORED},
        {"cleanup-iptables", 0, FLAG_IGNORED_BOOL},
    };
    int r = flags_parse("kube-proxy", flags, ARRAY_LEN(flags), argc, argv, NULL, err);

    if (r == 0 && file) {
        cleanup_buf struct buf text = {0};
        r = file_read(file, CONFIG_MAX, &text, err);
        if (r == 0)
            r = proxy_settings_read(s, buf_str(&text), file, err);
    }
    if (r == 0 && host)
        str_replace(&s->node_name, host);
    return r;
}

int proxy_settings_finish(struct proxy_settings *s, struct error **err)
{
    static const char *const modes[] = {"ClusterCIDR", "NodeCIDR", "BridgeInterface",
                                        "InterfaceNamePrefix"};
    struct proxy_config *c = &s->config;

    *c = (struct proxy_config){
        .node_name = s->node_name,
        .cluster_cidr = s->cluster_cidr,
        .node_port_addresses = s->node_port_addresses,
        .masquerade_all = s->masquerade_all,
        .masquerade_bit = (int)s->mark_bit,
        .healthz_address = s->healthz,
        .metrics_address = s->metrics,
        .mode = s->mode[0] ? s->mode : "iptables",
        .config_text = s->text,
        .sync_period_ms = s->sync_ns / NSEC_PER_MSEC,
        .min_sync_ms = s->min_sync_ns / NSEC_PER_MSEC,
    };
    for (size_t i = 0; s->detect_local[0]; i++) {
        if (i == ARRAY_LEN(modes))
            return error_set(
                err, EINVAL,
                "detect-local-mode \"%s\" is none of ClusterCIDR, NodeCIDR, BridgeInterface, "
                "InterfaceNamePrefix",
                s->detect_local);
        if (streq(modes[i], s->detect_local)) {
            c->detect_local = (enum proxy_detect_local)i;
            break;
        }
    }
    c->local_interface = c->detect_local == PROXY_LOCAL_BRIDGE ? s->interface : s->prefix;
    if (s->mode[0] && !streq(s->mode, "iptables") && !streq(s->mode, "ipvs") &&
        !streq(s->mode, "nftables"))
        return error_set(err, EINVAL, "proxy mode \"%s\" is none of iptables, ipvs, nftables",
                         s->mode);
    if (s->mode[0] && !streq(s->mode, "nftables"))
        log_info("proxy", "this mode is served by nf_tables", "mode", s->mode, NULL);
    return 0;
}
