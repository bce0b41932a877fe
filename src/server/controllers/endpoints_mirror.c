#include "base/cleanup.h"
#include "base/mem.h"
#include "server/controllers/controller.h"
#include <errno.h>

/* Endpoints that people write by hand, for Services without a selector, as EndpointSlices: proxies
 * read only those. */
#define SLICES "endpointslices.discovery.k8s.io"
#define MANAGED_BY "endpointslice.kubernetes.io/managed-by"
#define MANAGER "endpointslicemirroring-controller.k8s.io"
#define SERVICE_NAME "kubernetes.io/service-name"

static void add_addresses(json_t *endpoints, const json_t *addresses, bool ready)
{
    const json_t *a;

    json_each(addresses, i, a)
    {
        json_t *e = json_pack("{s:[s],s:{s:b}}", "addresses", json_text_or(a, "ip", ""),
                              "conditions", "ready", ready);

        if (*json_text_or(a, "hostname", ""))
            json_set_text(e, "hostname", json_text_or(a, "hostname", ""));
        if (*json_text_or(a, "nodeName", ""))
            json_set_text(e, "nodeName", json_text_or(a, "nodeName", ""));
        if (json_is_object(json_object_get(a, "targetRef")))
            json_object_set(e, "targetRef", json_object_get(a, "targetRef"));
        json_array_append_new(endpoints, e);
    }
}

static json_t *mirror_slice(const json_t *ep, const json_t *subset)
{
    char *prefix = xasprintf("%s-", meta_name(ep));
    json_t *endpoints = json_array(), *ports = json_array(), *labels = json_object(), *o;
    const json_t *p, *first;
    const char *key;
    json_t *v;

    json_each(json_object_get(subset, "ports"), i, p)
        json_array_append_new(ports, json_pack("{s:s,s:I,s:s}", "name", json_text_or(p, "name", ""),
                                               "port", (json_int_t)json_int_or(p, "port", 0),
                                               "protocol", json_text_or(p, "protocol", "TCP")));
    add_addresses(endpoints, json_object_get(subset, "addresses"), true);
    add_addresses(endpoints, json_object_get(subset, "notReadyAddresses"), false);
    first = json_array_get(json_object_get(json_array_get(endpoints, 0), "addresses"), 0);
    json_object_foreach(json_at(ep, "metadata", "labels", NULL), key, v)
        json_object_set(labels, key, v);
    json_set_text(labels, SERVICE_NAME, meta_name(ep));
    json_set_text(labels, MANAGED_BY, MANAGER);
    o = json_pack("{s:s,s:s,s:{s:s,s:s,s:o,s:[o]},s:s,s:o,s:o}", "apiVersion",
                  "discovery.k8s.io/v1", "kind", "EndpointSlice", "metadata", "generateName",
                  prefix, "namespace", meta_namespace(ep), "labels", labels, "ownerReferences",
                  meta_owner_reference(ep, "v1", "Endpoints"), "addressType",
                  strchr(strna(json_string_value(first)), ':') ? "IPv6" : "IPv4", "endpoints",
                  endpoints, "ports", ports);
    free(prefix);
    return o;
}

/* Is this one written by hand for a Service that has no selector? */
static bool mirrored(struct controller *c, const json_t *ep)
{
    cleanup_json json_t *service = NULL;

    if (!ep || meta_deleting(ep) ||
        streq(meta_label(ep, "endpointslice.kubernetes.io/skip-mirror"), "true") ||
        meta_annotation(ep, "control-plane.alpha.kubernetes.io/leader"))
        return false;
    service = cluster_get(c->env->cluster, "services", meta_namespace(ep), meta_name(ep));
    return service && json_object_size(json_at(service, "spec", "selector", NULL)) == 0;
}

static json_t *own_slices(struct controller *c, const char *ns, const char *name)
{
    json_t *all = cluster_list(c->env->cluster, SLICES, ns), *out = json_array(), *o;

    json_each(all, i, o) if (streq(meta_label(o, SERVICE_NAME), name) &&
                             streq(meta_label(o, MANAGED_BY), MANAGER) && !meta_deleting(o))
        json_array_append(out, o);
    json_decref(all);
    return out;
}

static int write_slice(struct controller *c, const json_t *have, const json_t *want,
                       struct error **err)
{
    cleanup_json json_t *o = NULL;

    if (!have)
        return cluster_create(c->env->cluster, SLICES, (json_t *)want, NULL, err);
    if (json_equal(json_object_get(have, "endpoints"), json_object_get(want, "endpoints")) &&
        json_equal(json_object_get(have, "ports"), json_object_get(want, "ports")))
        return 0;
    o = json_deep_copy(have);
    json_object_set(o, "endpoints", json_object_get(want, "endpoints"));
    json_object_set(o, "ports", json_object_get(want, "ports"));
    return cluster_update(c->env->cluster, SLICES, NULL, o, err);
}

static enum queue_verdict reconcile(struct controller *c, const char *key)
{
    cleanup_free char *ns = NULL, *name = NULL;
    cleanup_json json_t *ep = NULL, *have = NULL;
    const json_t *subset, *o;
    struct error *err = NULL;
    size_t used = 0;
    int rc = 0;

    key_split(key, &ns, &name);
    ep = cluster_get(c->env->cluster, "endpoints", ns, name);
    have = own_slices(c, ns, name);
    if (mirrored(c, ep))
        json_each(json_object_get(ep, "subsets"), i, subset)
        {
            cleanup_json json_t *want = mirror_slice(ep, subset);

            if (rc == 0)
                rc = write_slice(c, json_array_get(have, used++), want, &err);
        }
    json_each(have, k, o) if (k >= used && rc == 0) rc =
        cluster_remove(c->env->cluster, SLICES, ns, meta_name(o), NULL, &err);
    return settle(c, key, rc, &err);
}

const struct controller_def endpoints_mirror_controller = {
    .name = "endpointslice-mirroring",
    .watches = {{"endpoints", enqueue_self}, {"services", enqueue_self}},
    .reconcile = reconcile,
};
