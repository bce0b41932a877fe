#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/quantity.h"
#include "codec/yaml.h"
#include "kubelet/config_table.h"
#include <errno.h>

#define CONFIG_MAX (1u << 20)

void kubelet_config_init(struct kubelet_config *c)
{
    *c = (struct kubelet_config){
        .port = 10250,
        .healthz_port = 10248,
        .webhook_authn = true,
        .rotate_certificates = true,
        .authn_ttl_ns = 120 * NSEC_PER_SEC,
        .authz_allow_ttl_ns = 300 * NSEC_PER_SEC,
        .authz_deny_ttl_ns = 30 * NSEC_PER_SEC,
        .cgroups_per_qos = true,
        .cpu_cfs_quota = true,
        .register_node = true,
        .serialize_image_pulls = true,
        .fail_swap_on = true,
        .cpu_cfs_period_ns = 100 * NSEC_PER_MSEC,
        .max_pods = 110,
        .pod_pids_limit = -1,
        .sync_frequency_ns = 60 * NSEC_PER_SEC,
        .file_check_frequency_ns = 20 * NSEC_PER_SEC,
        .runtime_request_timeout_ns = 120 * NSEC_PER_SEC,
        .crash_loop_max_ns = 300 * NSEC_PER_SEC,
        .log_max_files = 5,
        .image_gc_high_percent = 85,
        .image_gc_low_percent = 80,
        .image_minimum_gc_age_ns = 120 * NSEC_PER_SEC,
    };
    c->cert_dir = xstrdup("/var/lib/kubelet/pki");
    c->root_dir = xstrdup("/var/lib/kubelet");
    c->log_level = xstrdup("info");
    c->runtime_endpoint = xstrdup("unix:///run/skiff/engine.sock");
    c->pod_log_dir = xstrdup("/var/log/pods");
    c->container_log_dir = xstrdup("/var/log/containers");
    c->address = xstrdup("0.0.0.0");
    c->healthz_address = xstrdup("127.0.0.1");
    c->authorization_mode = xstrdup("Webhook");
    c->cluster_domain = xstrdup("");
    c->resolv_conf = xstrdup("/etc/resolv.conf");
    c->cgroup_driver = xstrdup("cgroupfs");
    c->log_max_size = xstrdup("10Mi");
}

void kubelet_config_fini(struct kubelet_config *c)
{
    char **const texts[] = {
        &c->config_file,      &c->kubeconfig,      &c->bootstrap_kubeconfig,
        &c->cert_dir,         &c->root_dir,        &c->hostname_override,
        &c->node_ip,          &c->log_level,       &c->runtime_endpoint,
        &c->static_pod_path,  &c->pod_log_dir,     &c->container_log_dir,
        &c->address,          &c->healthz_address, &c->tls_cert_file,
        &c->tls_key_file,     &c->client_ca_file,  &c->authorization_mode,
        &c->cluster_domain,   &c->resolv_conf,     &c->cgroup_root,
        &c->cgroup_driver,    &c->reserved_cpu,    &c->reserved_memory,
        &c->reserved_storage, &c->provider_id,     &c->log_max_size,
    };

    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        str_replace(texts[i], NULL);
    flag_list_fini(&c->node_labels);
    flag_list_fini(&c->cluster_dns);
    flag_list_fini(&c->taints);
}

static const struct config_row *row_find(const char *path)
{
    for (size_t i = 0; i < config_rows_n; i++)
        if (streq(config_rows[i].path, path))
            return &config_rows[i];
    return NULL;
}

static int unknown(const char *what, const char *path, struct error **err)
{
    cleanup_free const char **names = xcalloc(config_rows_n, sizeof(*names));
    const char *near;

    for (size_t i = 0; i < config_rows_n; i++)
        names[i] = config_rows[i].path;
    near = str_nearest(path, names, config_rows_n);
    if (near)
        return error_set(err, EINVAL, "%s: unknown field \"%s\"; did you mean \"%s\"?", what, path,
                         near);
    return error_set(err, EINVAL, "%s: unknown field \"%s\"", what, path);
}

static int wrong(const char *what, const char *path, const char *want, struct error **err)
{
    return error_set(err, EINVAL, "%s: %s must be %s", what, path, want);
}

static int set_texts(struct flag_list *l, const json_t *v, const char *what, const char *path,
                     struct error **err)
{
    size_t i;
    json_t *item;

    if (!json_is_array(v))
        return wrong(what, path, "a list of texts", err);
    if (l)
        flag_list_fini(l);
    json_array_foreach(v, i, item)
    {
        if (!json_is_string(item))
            return wrong(what, path, "a list of texts", err);
        if (l)
            flag_list_add(l, json_string_value(item));
    }
    return 0;
}

static int set_value(struct kubelet_config *c, const struct config_row *r, const json_t *v,
                     const char *what, struct error **err)
{
    void *to = r->offset == CONFIG_NOWHERE ? NULL : (char *)c + r->offset;
    int64_t ns;

    switch (r->type) {
    case CONFIG_BOOL:
        if (!json_is_boolean(v))
            return wrong(what, r->path, "true or false", err);
        if (to)
            *(bool *)to = json_is_true(v);
        return 0;
    case CONFIG_INT:
        if (!json_is_integer(v))
            return wrong(what, r->path, "a whole number", err);
        if (r->max > r->min && (json_integer_value(v) < r->min || json_integer_value(v) > r->max))
            return error_set(err, ERANGE, "%s: %s must be between %lld and %lld", what, r->path,
                             (long long)r->min, (long long)r->max);
        if (to)
            *(int64_t *)to = json_integer_value(v);
        return 0;
    case CONFIG_DURATION:
        if (!json_is_string(v) || duration_parse(str_of(json_string_value(v)), &ns) < 0)
            return wrong(what, r->path, "a duration like \"1m30s\"", err);
        if (to && ns != 0) /* zero means the default, as upstream */
            *(int64_t *)to = ns;
        return 0;
    case CONFIG_TEXT:
        if (!json_is_string(v))
            return wrong(what, r->path, "a text", err);
        if (to)
            str_replace(to, json_string_value(v));
        return 0;
    case CONFIG_TEXTS:
        return set_texts(to, v, what, r->path, err);
    case CONFIG_MAP:
        return json_is_object(v) ? 0 : wrong(what, r->path, "a map", err);
    case CONFIG_NUMBER:
        return json_is_number(v) ? 0 : wrong(what, r->path, "a number", err);
    case CONFIG_REMOVED:
        log_warn("kubelet", "configuration field was removed upstream and has no effect", "field",
                 r->path, NULL);
        return 0;
    case CONFIG_ANY:
    case CONFIG_OBJECT:
        return 0;
    }
    return 0;
}

/* Rows without a place of their own that are read by their own code below. */
static bool acted_upon(const char *path)
{
    static const char *const names[] = {"kind",         "apiVersion",         "systemReserved",
                                        "kubeReserved", "registerWithTaints", "featureGates"};

    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (streq(path, names[i]))
            return true;
    return false;
}

/* Names of fields that are of no effect here go to idle. */
static int read_object(struct kubelet_config *c, const json_t *doc, const char *prefix,
                       const char *what, struct buf *idle, struct error **err)
{
    const char *key;
    json_t *v;

    json_object_foreach((json_t *)(uintptr_t)doc, key, v)
    {
        cleanup_free char *path = *prefix ? xasprintf("%s.%s", prefix, key) : xstrdup(key);
        const struct config_row *r = row_find(path);
        int e;

        if (!r)
            return unknown(what, path, err);
        if (json_is_null(v))
            continue;
        if (r->type == CONFIG_OBJECT)
            e = json_is_object(v) ? read_object(c, v, path, what, idle, err)
                                  : wrong(what, path, "a map", err);
        else
            e = set_value(c, r, v, what, err);
        if (e < 0)
            return e;
        if (r->offset == CONFIG_NOWHERE && r->type != CONFIG_OBJECT && !acted_upon(path))
            (void)buf_printf(idle, "%s%s", idle->n ? ", " : "", path);
    }
    return 0;
}

/* system and kube reserved together */
static void reserve(const json_t *doc, const char *resource, bool milli, char **to)
{
    const char *a = json_text_at(doc, "systemReserved", resource, NULL);
    const char *b = json_text_at(doc, "kubeReserved", resource, NULL);
    struct quantity q;
    char text[QUANTITY_TEXT];

    if (!a && !b)
        return;
    q = (struct quantity){quantity_milli_or(a, 0) + quantity_milli_or(b, 0), milli ? 'd' : 'b'};
    quantity_format(q, text);
    str_replace(to, text);
}

static void taints(struct kubelet_config *c, const json_t *doc)
{
    size_t i;
    json_t *t;

    if (json_object_get(doc, "registerWithTaints"))
        flag_list_fini(&c->taints);
    json_array_foreach(json_object_get(doc, "registerWithTaints"), i, t)
    {
        cleanup_free char *text =
            xasprintf("%s=%s:%s", json_text_or(t, "key", ""), json_text_or(t, "value", ""),
                      json_text_or(t, "effect", ""));

        flag_list_add(&c->taints, text);
    }
}

/* Before serverTLSBootstrap there was a feature gate that alone turned it on; files of then carry
 * it still. */
static void gates(struct kubelet_config *c, const json_t *doc)
{
    if (json_is_true(json_at(doc, "featureGates", "RotateKubeletServerCertificate", NULL)) &&
        !json_object_get(doc, "serverTLSBootstrap"))
        c->server_tls_bootstrap = true;
}

int kubelet_config_check(const struct kubelet_config *c, struct error **err)
{
    if (!streq(c->authorization_mode, "Webhook") && !streq(c->authorization_mode, "AlwaysAllow"))
        return error_set(err, EINVAL,
                         "authorization mode \"%s\" is not served: it is Webhook or AlwaysAllow",
                         strna(c->authorization_mode));
    if (!streq(c->cgroup_driver, "cgroupfs"))
        return error_set(err, EINVAL, "cgroup driver \"%s\" is not served: it is cgroupfs",
                         strna(c->cgroup_driver));
    if (quantity_value_or(c->log_max_size, 0) <= 0)
        return error_set(err, EINVAL,
                         "containerLogMaxSize \"%s\" is not a quantity above 0, such as 10Mi",
                         c->log_max_size);
    if (c->image_gc_low_percent >= c->image_gc_high_percent)
        return error_set(
            err, EINVAL,
            "imageGCLowThresholdPercent %lld must be below imageGCHighThresholdPercent %lld",
            (long long)c->image_gc_low_percent, (long long)c->image_gc_high_percent);
    return 0;
}

int kubelet_config_parse(struct kubelet_config *c, struct str text, const char *what,
                         struct error **err)
{
    cleanup_json json_t *doc = NULL;
    struct buf idle;
    int r = yaml_parse(text, CONFIG_MAX, what, &doc, err);

    if (r < 0)
        return r;
    if (!json_is_object(doc) || !streq(json_text_or(doc, "kind", ""), "KubeletConfiguration") ||
        !streq(json_text_or(doc, "apiVersion", ""), "kubelet.config.k8s.io/v1beta1"))
        return error_set(err, EINVAL,
                         "%s: not a KubeletConfiguration of kubelet.config.k8s.io/v1beta1 (set "
                         "kind and apiVersion)",
                         what);
    buf_init(&idle, CONFIG_MAX);
    r = read_object(c, doc, "", what, &idle, err);
    if (r >= 0 && idle.n)
        log_warn("kubelet", "fields are accepted and have no effect", "file", what, "fields",
                 idle.p, NULL);
    buf_fini(&idle);
    if (r < 0)
        return r;
    reserve(doc, "cpu", true, &c->reserved_cpu);
    reserve(doc, "memory", false, &c->reserved_memory);
    reserve(doc, "ephemeral-storage", false, &c->reserved_storage);
    taints(c, doc);
    gates(c, doc);
    r = kubelet_config_check(c, err);
    return r < 0 ? error_wrap(err, "%s", what) : 0;
}
