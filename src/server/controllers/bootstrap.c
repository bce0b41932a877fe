#include "base/cleanup.h"
#include "base/log.h"
#include "base/mem.h"
#include "server/admission/allocator.h"
#include "server/auth/rbac_defaults.h"
#include "server/controllers/controller.h"
#include <errno.h>

static void report(const char *what, const char *name, int rc, struct error **err)
{
    if (rc < 0 && rc != -EEXIST)
        log_error("server", "bootstrap object not written", "kind", what, "name", name, "error",
                  error_message(*err), NULL);
    error_clear(err);
}

static void need(struct env *e, const char *resource, const char *ns, const char *name,
                 json_t *object)
{
    json_t *have = cluster_get(e->cluster, resource, ns, name);
    struct error *err = NULL;

    if (!have)
        report(resource, name, cluster_create(e->cluster, resource, object, NULL, &err), &err);
    json_decref(have);
    json_decref(object);
}

static void namespaces(struct env *e)
{
    static const char *const names[] = {"default", "kube-system", "kube-public", "kube-node-lease"};

    for (size_t i = 0; i < 4; i++)
        need(e, "namespaces", "", names[i],
             json_pack("{s:s,s:s,s:{s:s}}", "apiVersion", "v1", "kind", "Namespace", "metadata",
                       "name", names[i]));
}

static const char *resource_of_kind(const char *kind)
{
    static const char *const rows[][2] = {{"ClusterRole", "clusterroles"},
                                          {"ClusterRoleBinding", "clusterrolebindings"},
                                          {"Role", "roles"},
                                          {"RoleBinding", "rolebindings"}};
    static const char *const full[] = {
        "clusterroles.rbac.authorization.k8s.io", "clusterrolebindings.rbac.authorization.k8s.io",
        "roles.rbac.authorization.k8s.io", "rolebindings.rbac.authorization.k8s.io"};

    for (size_t i = 0; i < 4; i++)
        if (streq(rows[i][0], kind))
            return full[i];
    return "";
}

static void roles(struct env *e)
{
    cleanup_json json_t *all = rbac_defaults();
    json_t *want;

    json_each(all, i, want)
    {
        const char *resource = resource_of_kind(json_text_or(want, "kind", ""));
        cleanup_json json_t *have = cluster_get(e->cluster, resource, meta_namespace(want),
                                                meta_name(want)),
                            *better = NULL;
        struct error *err = NULL;

        if (!have) {
            report(resource, meta_name(want),
                   cluster_create(e->cluster, resource, want, NULL, &err), &err);
            continue;
        }
        better = rbac_reconcile(want, have);
        if (better)
            report(resource, meta_name(want),
                   cluster_update(e->cluster, resource, NULL, better, &err), &err);
    }
}

static void kubernetes_service(struct env *e)
{
    char ip[IPV4_TEXT];
    uint32_t base;
    unsigned prefix;

    if (!e->cfg.service_cidr || cidr4_parse(e->cfg.service_cidr, &base, &prefix) < 0)
        return;
    ipv4_format(base + 1, ip);
    need(e, "services", "default", "kubernetes",
         json_pack("{s:s,s:s,s:{s:s,s:s,s:{s:s,s:s}},s:{s:s,s:[s],s:s,s:[{s:s,s:s,s:i,s:i}]}}",
                   "apiVersion", "v1", "kind", "Service", "metadata", "name", "kubernetes",
                   "namespace", "default", "labels", "component", "apiserver", "provider",
                   "kubernetes", "spec", "clusterIP", ip, "clusterIPs", ip, "type", "ClusterIP",
                   "ports", "name", "https", "protocol", "TCP", "port", 443, "targetPort",
                   e->cfg.secure_port));
}

/* Creates, or replaces the given members when they differ. Takes want. */
static void same_members(struct env *e, const char *resource, const char *ns, json_t *want,
                         const char *const *keys)
{
    cleanup_json json_t *have = cluster_get(e->cluster, resource, ns, meta_name(want)), *o = NULL;
    struct error *err = NULL;
    bool differs = false;

    if (!have) {
        report(resource, meta_name(want), cluster_create(e->cluster, resource, want, NULL, &err),
               &err);
        json_decref(want);
        return;
    }
    o = json_deep_copy(have);
    for (size_t i = 0; keys[i]; i++) {
        differs =
            differs || !json_equal(json_object_get(have, keys[i]), json_object_get(want, keys[i]));
        json_object_set(o, keys[i], json_object_get(want, keys[i]));
    }
    if (differs)
        report(resource, meta_name(want), cluster_update(e->cluster, resource, NULL, o, &err),
               &err);
    json_decref(want);
}

/* The API server's own address behind default/kubernetes. */
static void kubernetes_endpoints(struct env *e)
{
    static const char *const ep_keys[] = {"subsets", NULL}, *const slice_keys[] = {"endpoints",
                                                                                   "ports", NULL};
    const char *ip = e->cfg.advertise_address;

    if (!ip)
        return;
    same_members(e, "endpoints", "default",
                 json_pack("{s:s,s:s,s:{s:s,s:s,s:{s:s}},s:[{s:[{s:s}],s:[{s:s,s:i,s:s}]}]}",
                           "apiVersion", "v1", "kind", "Endpoints", "metadata", "name",
                           "kubernetes", "namespace", "default", "labels",
                           "endpointslice.kubernetes.io/skip-mirror", "true", "subsets",
                           "addresses", "ip", ip, "ports", "name", "https", "port",
                           e->cfg.secure_port, "protocol", "TCP"),
                 ep_keys);
    same_members(
        e, "endpointslices.discovery.k8s.io", "default",
        json_pack("{s:s,s:s,s:{s:s,s:s,s:{s:s}},s:s,s:[{s:[s],s:{s:b}}],s:[{s:s,s:i,s:s}]}",
                  "apiVersion", "discovery.k8s.io/v1", "kind", "EndpointSlice", "metadata", "name",
                  "kubernetes", "namespace", "default", "labels", "kubernetes.io/service-name",
                  "kubernetes", "addressType", strchr(ip, ':') ? "IPv6" : "IPv4", "endpoints",
                  "addresses", ip, "conditions", "ready", 1, "ports", "name", "https", "port",
                  e->cfg.secure_port, "protocol", "TCP"),
        slice_keys);
}

/* What clients compare to learn which cluster answers authentication by client certificate. */
static void authentication_config(struct env *e)
{
    if (e->cfg.root_ca_pem)
        need(e, "configmaps", "kube-system", "extension-apiserver-authentication",
             json_pack("{s:s,s:s,s:{s:s,s:s},s:{s:s}}", "apiVersion", "v1", "kind", "ConfigMap",
                       "metadata", "name", "extension-apiserver-authentication", "namespace",
                       "kube-system", "data", "client-ca-file", e->cfg.root_ca_pem));
}

void bootstrap_objects(struct env *e)
{
    namespaces(e);
    roles(e);
    kubernetes_service(e);
    kubernetes_endpoints(e);
    authentication_config(e);
}
