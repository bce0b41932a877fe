/* Upstream's flags, v1.36 and back to those the old walkthroughs carry. */
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/quantity.h"
#include "kubelet/config_table.h"
#include <errno.h>

#define CONFIG_MAX (1u << 20)

static const char *const ignored[] = {
    "application-metrics-count-limit",
    "boot-id-file",
    "chaos-chance",
    "cloud-config",
    "cloud-provider",
    "cni-bin-dir",
    "cni-conf-dir",
    "cni-cache-dir",
    "container-hints",
    "container-runtime",
    "containerd",
    "containerd-namespace",
    "config-dir",
    "cpu-manager-policy",
    "cpu-manager-policy-options",
    "cpu-manager-reconcile-period",
    "docker",
    "docker-endpoint",
    "docker-env-metadata-whitelist",
    "docker-root",
    "docker-tls-ca",
    "docker-tls-cert",
    "docker-tls-key",
    "dynamic-config-dir",
    "enforce-node-allocatable",
    "event-burst",
    "event-qps",
    "event-storage-age-limit",
    "event-storage-event-limit",
    "eviction-hard",
    "eviction-max-pod-grace-period",
    "eviction-minimum-reclaim",
    "eviction-pressure-transition-period",
    "eviction-soft",
    "eviction-soft-grace-period",
    "experimental-allocatable-ignore-eviction",
    "experimental-bootstrap-kubeconfig",
    "global-housekeeping-interval",
    "hairpin-mode",
    "host-ipc-sources",
    "host-network-sources",
    "host-pid-sources",
    "housekeeping-interval",
    "http-check-frequency",
    "image-credential-provider-bin-dir",
    "image-credential-provider-config",
    "image-pull-progress-deadline",
    "image-service-endpoint",
    "iptables-drop-bit",
    "iptables-masquerade-bit",
    "kube-api-burst",
    "kube-api-content-type",
    "kube-api-qps",
    "kube-reserved-cgroup",
    "kubelet-cgroups",
    "lock-file",
    "log-backtrace-at",
    "log-cadvisor-usage",
    "log-dir",
    "log-file",
    "log-file-max-size",
    "log-flush-frequency",
    "log-json-info-buffer-size",
    "log-text-info-buffer-size",
    "logging-format",
    "machine-id-file",
    "manifest-url",
    "manifest-url-header",
    "master-service-namespace",
    "max-open-files",
    "maximum-dead-containers",
    "maximum-dead-containers-per-container",
    "memory-manager-policy",
    "minimum-container-ttl-duration",
    "network-plugin",
    "network-plugin-mtu",
    "node-status-max-images",
    "node-status-update-frequency",
    "non-masquerade-cidr",
    "oom-score-adj",
    "pod-cidr",
    "pod-infra-container-image",
    "qos-reserved",
    "registry-burst",
    "registry-qps",
    "reserved-cpus",
    "reserved-memory",
    "runtime-cgroups",
    "seccomp-profile-root",
    "stderrthreshold",
    "storage-driver-buffer-duration",
    "storage-driver-db",
    "storage-driver-host",
    "storage-driver-password",
    "storage-driver-table",
    "storage-driver-user",
    "streaming-connection-idle-timeout",
    "system-cgroups",
    "system-reserved-cgroup",
    "tls-cipher-suites",
    "tls-curve-preferences",
    "tls-min-version",
    "topology-manager-policy",
    "topology-manager-policy-options",
    "topology-manager-scope",
    "volume-plugin-dir",
    "volume-stats-agg-period",
    "vmodule",
    "cadvisor-port",
    "experimental-mounter-path",
    "image-gc-max-age",
    "allowed-unsafe-sysctls",
    "show-hidden-metrics-for-version",
    "containerized",
};
static const char *const ignored_bools[] = {
    "allow-privileged",
    "alsologtostderr",
    "contention-profiling",
    "docker-only",
    "docker-tls",
    "enable-cadvisor-json-endpoints",
    "enable-controller-attach-detach",
    "enable-debugging-handlers",
    "enable-load-reader",
    "enable-server",
    "exit-on-lock-contention",
    "experimental-check-node-capabilities-before-mount",
    "experimental-fail-swap-on",
    "experimental-kernel-memcg-notification",
    "keep-terminated-pod-volumes",
    "kernel-memcg-notification",
    "local-storage-capacity-isolation",
    "log-json-split-stream",
    "log-text-split-stream",
    "logtostderr",
    "make-iptables-util-chains",
    "one-output",
    "protect-kernel-defaults",
    "really-crash-for-testing",
    "redirect-container-streaming",
    "runonce",
    "seccomp-default",
    "skip-headers",
    "skip-log-headers",
    "add-dir-header",
    "cgroups-per-qos-deprecated",
    "require-kubeconfig",
    "enable-custom-metrics",
    "babysit-daemons",
    "configure-cbr0",
};

static int set_verbosity(void *target, const char *value, struct error **err)
{
    struct kubelet_config *c = target;
    int64_t v;

    if (str_to_i64(str_of(value), 0, 100, &v) < 0)
        return error_set(err, EINVAL, "--v takes a number");
    str_replace(&c->log_level, v >= 4 ? "debug" : "info");
    return 0;
}

static int set_level(void *target, const char *value, struct error **err)
{
    struct kubelet_config *c = target;
    enum log_level level;

    if (log_level_parse(value, &level) < 0)
        return error_set(err, EINVAL, "--log-level: \"%s\" is none of debug, info, warn, error",
                         value);
    str_replace(&c->log_level, value);
    return 0;
}

static int set_gates(void *target, const char *value, struct error **err)
{
    struct kubelet_config *c = target;
    struct str rest = str_of(value);

    while (rest.n) {
        struct str word = str_trim(str_split(&rest, ','));

        if (str_eq_z(word, "RotateKubeletServerCertificate=true"))
            c->server_tls_bootstrap = true;
        else if (!str_starts(word, STR("RotateKubelet")))
            log_warnf("kubelet", "feature gate %.*s has no effect", STR_FMT(word));
    }
    return 0;
}

static int set_schedulable(void *target, const char *value, struct error **err)
{
    struct kubelet_config *c = target;

    if (!streq(value, "true") && !streq(value, "false"))
        return error_set(err, EINVAL, "--register-schedulable: \"%s\" is neither true nor false",
                         value);
    c->unschedulable = streq(value, "false");
    return 0;
}

static void add_amount(char **to, const char *amount, char format)
{
    struct quantity sum = {quantity_milli_or(*to, 0) + quantity_milli_or(amount, 0), format};
    char text[QUANTITY_TEXT];

    quantity_format(sum, text);
    str_replace(to, text);
}

/* "cpu=100m,memory=1Gi"; what is reserved for the system and for Kubernetes adds up. */
static int add_reserved(void *target, const char *value, struct error **err)
{
    struct kubelet_config *c = target;
    struct str rest = str_of(value);

    while (rest.n) {
        struct str amount = str_trim(str_split(&rest, ',')), name = str_split(&amount, '=');
        cleanup_free char *text = str_dup(amount.p ? amount : STR(""));
        struct quantity q;

        if (quantity_parse(str_of(text), &q) < 0)
            return error_set(err, EINVAL,
                             "reserved resources: \"%s\" is not like cpu=100m,memory=1Gi", value);
        if (str_eq_z(name, "cpu"))
            add_amount(&c->reserved_cpu, text, 'd');
        else if (str_eq_z(name, "memory"))
            add_amount(&c->reserved_memory, text, 'b');
        else if (str_eq_z(name, "ephemeral-storage"))
            add_amount(&c->reserved_storage, text, 'b');
        else if (!str_eq_z(name, "pid"))
            return error_set(err, EINVAL,
                             "reserved resources: there is no resource \"%.*s\" to reserve",
                             STR_FMT(name));
    }
    return 0;
}

static size_t own_flags(struct kubelet_config *c, struct flag *f)
{
    const struct flag rows[] = {
        {"config", 0, FLAG_STRING, &c->config_file, "KubeletConfiguration file (YAML or JSON)"},
        {"kubeconfig", 0, FLAG_STRING, &c->kubeconfig,
         "how to reach the API server; without it static pods only"},
        {"bootstrap-kubeconfig", 0, FLAG_STRING, &c->bootstrap_kubeconfig,
         "credentials to ask for the first certificate with"},
        {"cert-dir", 0, FLAG_STRING, &c->cert_dir, "where certificates are kept"},
        {"root-dir", 0, FLAG_STRING, &c->root_dir, "volumes and pods' files"},
        {"hostname-override", 0, FLAG_STRING, &c->hostname_override, "name of the Node"},
        {"node-ip", 0, FLAG_STRING, &c->node_ip, "address of the node"},
        {"node-labels", 0, FLAG_LIST, &c->node_labels, "labels to register with"},
        {"container-runtime-endpoint", 0, FLAG_STRING, &c->runtime_endpoint,
         "CRI socket of the engine"},
        {"pod-manifest-path", 0, FLAG_STRING, &c->static_pod_path,
         "directory of static pod manifests"},
        {"pod-log-dir", 0, FLAG_STRING, &c->pod_log_dir, "directory of pods' logs"},
        {"container-log-dir", 0, FLAG_STRING, &c->container_log_dir,
         "directory of links to containers' logs"},
        {"address", 0, FLAG_STRING, &c->address, "address to serve on"},
        {"port", 0, FLAG_INT, &c->port, "port of the kubelet API", 0, 65535},
        {"read-only-port", 0, FLAG_INT, &c->read_only_port, "port of the read-only API; 0 none", 0,
         65535},
        {"healthz-port", 0, FLAG_INT, &c->healthz_port, "port of /healthz on localhost; 0 none", 0,
         65535},
        {"healthz-bind-address", 0, FLAG_STRING, &c->healthz_address, "address of /healthz"},
        {"tls-cert-file", 0, FLAG_STRING, &c->tls_cert_file, "serving certificate"},
        {"tls-private-key-file", 0, FLAG_STRING, &c->tls_key_file, "its key"},
        {"client-ca-file", 0, FLAG_STRING, &c->client_ca_file, "CA of clients' certificates"},
        {"anonymous-auth", 0, FLAG_BOOL, &c->anonymous,
         "serve those without credentials as system:anonymous"},
        {"authentication-token-webhook", 0, FLAG_BOOL, &c->webhook_authn,
         "check bearer tokens by TokenReview"},
        {"authentication-token-webhook-cache-ttl", 0, FLAG_DURATION, &c->authn_ttl_ns,
         "how long an answer holds"},
        {"authorization-mode", 0, FLAG_STRING, &c->authorization_mode, "Webhook or AlwaysAllow"},
        {"authorization-webhook-cache-authorized-ttl", 0, FLAG_DURATION, &c->authz_allow_ttl_ns,
         "how long a yes holds"},
        {"authorization-webhook-cache-unauthorized-ttl", 0, FLAG_DURATION, &c->authz_deny_ttl_ns,
         "how long a no holds"},
        {"rotate-certificates", 0, FLAG_BOOL, &c->rotate_certificates,
         "renew the client certificate"},
        {"rotate-server-certificates", 0, FLAG_BOOL, &c->server_tls_bootstrap,
         "ask for and renew the serving certificate"},
        {"cluster-domain", 0, FLAG_STRING, &c->cluster_domain, "domain of the cluster's names"},
        {"cluster-dns", 0, FLAG_LIST, &c->cluster_dns, "addresses of the cluster's name server"},
        {"resolv-conf", 0, FLAG_STRING, &c->resolv_conf,
         "resolv.conf that pods' names are built on"},
        {"cgroup-root", 0, FLAG_STRING, &c->cgroup_root, "cgroup under which pods' cgroups are"},
        {"cgroup-driver", 0, FLAG_STRING, &c->cgroup_driver, "cgroupfs"},
        {"cgroups-per-qos", 0, FLAG_BOOL, &c->cgroups_per_qos, "a cgroup for each pod"},
        {"cpu-cfs-quota", 0, FLAG_BOOL, &c->cpu_cfs_quota, "enforce CPU limits"},
        {"cpu-cfs-quota-period", 0, FLAG_DURATION, &c->cpu_cfs_period_ns, "period of the quota"},
        {"register-node", 0, FLAG_BOOL, &c->register_node, "register the Node"},
        {"register-schedulable", 0, FLAG_FUNC, c, "false: the Node starts cordoned", 0, 0,
         set_schedulable},
        {"system-reserved", 0, FLAG_FUNC, c, "kept from pods for the system: cpu=100m,memory=1Gi",
         0, 0, add_reserved},
        {"kube-reserved", 0, FLAG_FUNC, c, "kept from pods for Kubernetes: cpu=100m,memory=1Gi", 0,
         0, add_reserved},
        {"feature-gates", 0, FLAG_FUNC, c,
         "RotateKubeletServerCertificate=true; others have no effect", 0, 0, set_gates},
        {"minimum-image-ttl-duration", 0, FLAG_DURATION, &c->image_minimum_gc_age_ns,
         "youngest image that is collected"},
        {"register-with-taints", 0, FLAG_LIST, &c->taints, "key=value:Effect"},
        {"provider-id", 0, FLAG_STRING, &c->provider_id, "spec.providerID of the Node"},
        {"serialize-image-pulls", 0, FLAG_BOOL, &c->serialize_image_pulls, "one pull at a time"},
        {"max-parallel-image-pulls", 0, FLAG_INT, &c->max_parallel_image_pulls,
         "how many at most; 0 no limit", 0, INT32_MAX},
        {"fail-swap-on", 0, FLAG_BOOL, &c->fail_swap_on, "warn when swap is on"},
        {"max-pods", 0, FLAG_INT, &c->max_pods, "how many pods may run here", 0, 1000000},
        {"pods-per-core", 0, FLAG_INT, &c->pods_per_core, "and how many for each CPU; 0 no limit",
         0, 1000000},
        {"pod-max-pids", 0, FLAG_INT, &c->pod_pids_limit, "processes in a pod; -1 no limit", -1,
         INT64_MAX},
        {"sync-frequency", 0, FLAG_DURATION, &c->sync_frequency_ns,
         "how often everything is looked at again"},
        {"file-check-frequency", 0, FLAG_DURATION, &c->file_check_frequency_ns,
         "how often manifests are looked at again"},
        {"runtime-request-timeout", 0, FLAG_DURATION, &c->runtime_request_timeout_ns,
         "longest wait for the engine"},
        {"container-log-max-size", 0, FLAG_STRING, &c->log_max_size,
         "size at which a container's log is rotated"},
        {"container-log-max-files", 0, FLAG_INT, &c->log_max_files,
         "logs kept of a container, the open one included", 2, 1000},
        {"image-gc-high-threshold", 0, FLAG_INT, &c->image_gc_high_percent,
         "disk use that starts image collection", 0, 100},
        {"image-gc-low-threshold", 0, FLAG_INT, &c->image_gc_low_percent, "and that ends it", 0,
         100},
        {"v", 'v', FLAG_FUNC, c, "verbosity; 4 and more is debug", 0, 0, set_verbosity},
        {"log-level", 0, FLAG_FUNC, c, "debug, info, warn or error", 0, 0, set_level},
    };

    memcpy(f, rows, sizeof(rows));
    return ARRAY_LEN(rows);
}

struct flag *kubelet_flags(struct kubelet_config *c, size_t *ret_n)
{
    struct flag *f = xcalloc(80 + ARRAY_LEN(ignored) + ARRAY_LEN(ignored_bools), sizeof(*f));
    size_t n = own_flags(c, f);

    for (size_t i = 0; i < ARRAY_LEN(ignored); i++)
        f[n++] = (struct flag){.name = ignored[i], .type = FLAG_IGNORED};
    for (size_t i = 0; i < ARRAY_LEN(ignored_bools); i++)
        f[n++] = (struct flag){.name = ignored_bools[i], .type = FLAG_IGNORED_BOOL};
    *ret_n = n;
    return f;
}

/* --config is wanted before the rest: flags win over what the file says. */
static const char *config_of(int argc, char **argv)
{
    const char *path = NULL;

    for (int i = 1; i < argc; i++) {
        const char *a = argv[i] + strspn(argv[i], "-");

        if (argv[i][0] != '-' || !strstarts(a, "config"))
            continue;
        if (a[6] == '=')
            path = a + 7;
        else if (!a[6] && i + 1 < argc)
            path = argv[i + 1];
    }
    return path;
}

/* What flags add to rather than set: given at all, flags replace what the file says. */
struct aside {
    struct flag_list cluster_dns, taints;
    char *reserved[3];
};

static void put_aside(struct kubelet_config *c, struct aside *a)
{
    *a = (struct aside){
        c->cluster_dns, c->taints, {c->reserved_cpu, c->reserved_memory, c->reserved_storage}};
    c->cluster_dns = c->taints = (struct flag_list){0};
    c->reserved_cpu = c->reserved_memory = c->reserved_storage = NULL;
}

static void take_back(struct kubelet_config *c, struct aside *a)
{
    char **const reserved[] = {&c->reserved_cpu, &c->reserved_memory, &c->reserved_storage};

    for (size_t i = 0; i < ARRAY_LEN(reserved); i++) {
        if (!*reserved[i])
            *reserved[i] = TAKE(a->reserved[i]);
        free(a->reserved[i]);
    }
    if (c->cluster_dns.n)
        flag_list_fini(&a->cluster_dns);
    else
        c->cluster_dns = a->cluster_dns;
    if (c->taints.n)
        flag_list_fini(&a->taints);
    else
        c->taints = a->taints;
}

int kubelet_config_load(struct kubelet_config *c, int argc, char **argv, const struct flag *extra,
                        size_t n_extra, struct error **err)
{
    const char *path = config_of(argc, argv);
    struct aside aside;
    struct flag *flags;
    size_t n;
    int r;

    if (path) {
        struct buf text;

        r = file_read(path, CONFIG_MAX, &text, err);
        if (r < 0)
            return r;
        r = kubelet_config_parse(c, buf_str(&text), path, err);
        buf_fini(&text);
        if (r < 0)
            return r;
    }
    flags = kubelet_flags(c, &n);
    flags = xreallocarray(flags, n + n_extra, sizeof(*flags));
    if (n_extra)
        memcpy(flags + n, extra, n_extra * sizeof(*extra));
    put_aside(c, &aside);
    r = flags_parse(argv[0], flags, n + n_extra, argc, argv, NULL, err);
    take_back(c, &aside);
    free(flags);
    return r ? r : kubelet_config_check(c, err);
}
