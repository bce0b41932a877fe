#include "base/cleanup.h"
#include "base/mem.h"
#include "server/controllers/controller.h"
#include "server/controllers/endpoints_build.h"
#include "server/controllers/selector.h"
#include <errno.h>

#define SLICES "endpointslices.discovery.k8s.io"
#define MANAGED_BY "endpointslice.kubernetes.io/managed-by"
#define MANAGER "endpointslice-controller.k8s.io"
#define SERVICE_NAME "kubernetes.io/service-name"

/* Writing hundreds of addresses for each of a burst of pods would cost more than it gives: a
 * Service with so many pods is looked at a moment later, once for all changes of that moment. */
#define LARGE 64
#define LARGE_DELAY_MS 100

static void enqueue_service(struct controller *c, const json_t *service)
{
    char *key = meta_key(service);

    if (map_has(&c->env->large, key))
        queue_add_after(&c->queue, key, LARGE_DELAY_MS);
    else
        queue_add(&c->queue, key);
    free(key);
}

static void note_size(struct controller *c, const char *key, const json_t *service,
                      const json_t *pods)
{
    size_t n = 0;
    const json_t *p;

    json_each(pods, i, p) n += selector_map_matches(json_at(service, "spec", "selector", NULL),
                                                    json_at(p, "metadata", "labels", NULL));
    if (n >= LARGE)
        (void)map_set(&c->env->large, key, c);
    else
        (void)map_remove(&c->env->large, key);
}

static void on_pod(struct controller *c, enum cluster_change what, const json_t *pod)
{
    json_t *services = cluster_list(c->env->cluster, "services", meta_namespace(pod));
    const json_t *s;

    (void)what;
    json_each(services, i, s) if (selector_map_matches(json_at(s, "spec", "selector", NULL),
                                                       json_at(pod, "metadata", "labels", NULL)))
        enqueue_service(c, s);
    json_decref(services);
}

static void on_slice(struct controller *c, enum cluster_change what, const json_t *slice)
{
    const char *service = meta_label(slice, SERVICE_NAME);
    char *key;

    if (what != CLUSTER_DELETED || !service || !streq(meta_label(slice, MANAGED_BY), MANAGER))
        return;
    key = xasprintf("%s/%s", meta_namespace(slice), service);
    queue_add(&c->queue, key);
    free(key);
}

static void on_endpoints(struct controller *c, enum cluster_change what, const json_t *o)
{
    if (what == CLUSTER_DELETED)
        enqueue_self(c, what, o);
}

static void copy_labels(json_t *to, const json_t *service)
{
    const char *key;
    json_t *v;

    json_object_foreach(json_at(service, "metadata", "labels", NULL), key, v)
        json_object_set(to, key, v);
    if (streq(json_text_at(service, "spec", "clusterIP", NULL), "None"))
        json_set_text(to, "service.kubernetes.io/headless", "");
}

static int apply_endpoints(struct controller *c, const json_t *service, const json_t *pods,
                           struct error **err)
{
    const char *ns = meta_namespace(service), *name = meta_name(service);
    cleanup_json json_t *have = cluster_get(c->env->cluster, "endpoints", ns, name);
    cleanup_json json_t *subsets = endpoints_subsets(service, pods), *labels = json_object(),
                        *o = NULL;
    const json_t *before = json_object_get(have, "subsets");

    copy_labels(labels, service);
    json_set_text(labels, "endpoints.kubernetes.io/managed-by", "endpoint-controller");
    if (have && json_equal(json_at(have, "metadata", "labels", NULL), labels) &&
        (json_equal(before, subsets) ||
         (json_array_size(before) == 0 && json_array_size(subsets) == 0)))
        return 0;
    o = have ? json_deep_copy(have)
             : json_pack("{s:s,s:s,s:{s:s,s:s}}", "apiVersion", "v1", "kind", "Endpoints",
                         "metadata", "name", name, "namespace", ns);
    json_object_set(json_object_get(o, "metadata"), "labels", labels);
    json_object_set(o, "subsets", subsets);
    return have ? cluster_update(c->env->cluster, "endpoints", NULL, o, err)
                : cluster_create(c->env->cluster, "endpoints", o, NULL, err);
}

static json_t *slice_object(const json_t *service, const json_t *content)
{
    char *prefix = xasprintf("%s-", meta_name(service));
    json_t *labels = json_object(), *o;

    copy_labels(labels, service);
    json_set_text(labels, SERVICE_NAME, meta_name(service));
    json_set_text(labels, MANAGED_BY, MANAGER);
    o = json_pack("{s:s,s:s,s:{s:s,s:s,s:o,s:[o]},s:s,s:O,s:O}", "apiVersion",
                  "discovery.k8s.io/v1", "kind", "EndpointSlice", "metadata", "generateName",
                  prefix, "namespace", meta_namespace(service), "labels", labels, "ownerReferences",
                  meta_owner_reference(service, "v1", "Service"), "addressType", "IPv4",
                  "endpoints", json_object_get(content, "endpoints"), "ports",
                  json_object_get(content, "ports"));
    free(prefix);
    return o;
}

static int update_slice(struct controller *c, const json_t *have, const json_t *want,
                        struct error **err)
{
    cleanup_json json_t *o = NULL;

    if (json_equal(json_object_get(have, "endpoints"), json_object_get(want, "endpoints")) &&
        json_equal(json_object_get(have, "ports"), json_object_get(want, "ports")) &&
        json_equal(json_at(have, "metadata", "labels", NULL),
                   json_at(want, "metadata", "labels", NULL)))
        return 0;
    o = json_deep_copy(have);
    json_object_set(o, "endpoints", json_object_get(want, "endpoints"));
    json_object_set(o, "ports", json_object_get(want, "ports"));
    json_object_set(json_object_get(o, "metadata"), "labels",
                    json_at(want, "metadata", "labels", NULL));
    return cluster_update(c->env->cluster, SLICES, NULL, o, err);
}

/* Our slices of this Service. */
static json_t *own_slices(struct controller *c, const json_t *service)
{
    json_t *all = cluster_list(c->env->cluster, SLICES, meta_namespace(service)),
           *out = json_array(), *o;

    json_each(all, i, o) if (streq(meta_label(o, SERVICE_NAME), meta_name(service)) &&
                             streq(meta_label(o, MANAGED_BY), MANAGER) && !meta_deleting(o))
        json_array_append(out, o);
    json_decref(all);
    return out;
}

/* A slice with the wanted ports that is not used yet, else any. */
static size_t best_slice(const json_t *have, const json_t *want)
{
    const json_t *o;

    json_each(have, i, o) if (json_equal(json_object_get(o, "ports"),
                                         json_object_get(want, "ports"))) return i;
    return 0;
}

static int apply_slices(struct controller *c, const json_t *service, const json_t *pods,
                        const json_t *nodes, struct error **err)
{
    cleanup_json json_t *want = endpoints_slices(service, pods, nodes),
                        *have = own_slices(c, service);
    struct cluster *cl = c->env->cluster;
    const json_t *w, *o;
    int rc = 0;

    json_each(want, i, w)
    {
        cleanup_json json_t *target = slice_object(service, w);
        size_t k = best_slice(have, w);

        if (json_array_size(have) == 0) {
            rc = cluster_create(cl, SLICES, target, NULL, err);
        } else {
            rc = update_slice(c, json_array_get(have, k), target, err);
            json_array_remove(have, k);
        }
        if (rc < 0)
            return rc;
    }
    json_each(have, m, o)
    {
        rc = cluster_remove(cl, SLICES, meta_namespace(o), meta_name(o), NULL, err);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static int remove_endpoints(struct controller *c, const char *ns, const char *name,
                            struct error **err)
{
    cleanup_json json_t *have = cluster_get(c->env->cluster, "endpoints", ns, name);

    if (!have ||
        !streq(meta_label(have, "endpoints.kubernetes.io/managed-by"), "endpoint-controller"))
        return 0;
    return cluster_remove(c->env->cluster, "endpoints", ns, name, NULL, err);
}

static enum queue_verdict reconcile(struct controller *c, const char *key)
{
    cleanup_free char *ns = NULL, *name = NULL;
    cleanup_json json_t *service = NULL, *pods = NULL, *nodes = NULL, *node_list = NULL;
    struct error *err = NULL;
    json_t *n;
    int rc;

    key_split(key, &ns, &name);
    service = cluster_get(c->env->cluster, "services", ns, name);
    if (!service || meta_deleting(service)) {
        (void)map_remove(&c->env->large, key);
        return settle(c, key, remove_endpoints(c, ns, name, &err), &err);
    }
    if (json_object_size(json_at(service, "spec", "selector", NULL)) == 0 ||
        streq(json_text_at(service, "spec", "type", NULL), "ExternalName"))
        return QUEUE_DONE;
    pods = cluster_list(c->env->cluster, "pods", ns);
    node_list = cluster_list(c->env->cluster, "nodes", NULL);
    nodes = json_object();
    json_each(node_list, i, n) json_object_set(nodes, meta_name(n), n);
    note_size(c, key, service, pods);
    rc = apply_slices(c, service, pods, nodes, &err);
    if (rc == 0)
        rc = apply_endpoints(c, service, pods, &err);
    return settle(c, key, rc, &err);
}

const struct controller_def endpoints_controller = {
    .name = "endpoints",
    .watches = {{"services", enqueue_self},
                {"pods", on_pod},
                {SLICES, on_slice},
                {"endpoints", on_endpoints}},
    .reconcile = reconcile,
};
