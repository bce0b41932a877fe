#include "server/controllers/cache.h"
#include "base/cleanup.h"
#include "base/mem.h"
#include "server/controllers/meta.h"

static const char *const cached[CACHE_RESOURCES] = {
    "pods", "services", "nodes", "daemonsets.apps", "deployments.apps", "replicasets.apps"};
#define SLIM 0 /* index of the resource that is kept slim */

static int index_of(const char *resource)
{
    for (int i = 0; i < CACHE_RESOURCES; i++)
        if (streq(cached[i], resource))
            return i;
    return -1;
}

bool cache_holds(const char *resource)
{
    return index_of(resource) >= 0;
}

static void copy_members(json_t *to, const json_t *from, const char *const *keys)
{
    for (size_t i = 0; keys[i]; i++)
        if (json_object_get(from, keys[i]))
            json_object_set(to, keys[i], json_object_get(from, keys[i]));
}

static json_t *slim_containers(const json_t *list)
{
    json_t *out = json_array();
    const json_t *c;

    json_each(list, i, c) if (json_array_size(json_object_get(c, "ports")) > 0)
        json_array_append_new(out, json_pack("{s:O}", "ports", json_object_get(c, "ports")));
    return out;
}

/* Restarts of all containers: what a Job's back-off limit counts. */
static int64_t restarts(const json_t *pod)
{
    const json_t *c;
    int64_t n = 0;

    json_each(json_at(pod, "status", "containerStatuses", NULL), i, c) n +=
        json_int_or(c, "restartCount", 0);
    return n;
}

json_t *cache_slim_pod(const json_t *pod)
{
    static const char *const meta_keys[] = {"name",
                                            "namespace",
                                            "uid",
                                            "labels",
                                            "ownerReferences",
                                            "creationTimestamp",
                                            "deletionTimestamp",
                                            NULL};
    static const char *const spec_keys[] = {"nodeName",           "hostname",      "subdomain",
                                            "serviceAccountName", "schedulerName", NULL};
    static const char *const status_keys[] = {"phase", "podIP", "podIPs", "conditions", NULL};
    const json_t *spec = json_object_get(pod, "spec");
    const char *cost = meta_annotation(pod, "controller.kubernetes.io/pod-deletion-cost");
    json_t *out =
        json_pack("{s:{s:s},s:{},s:{}}", "metadata", "resourceVersion", "slim", "spec", "status");
    json_t *to = json_object_get(out, "spec"), *node;

    copy_members(json_object_get(out, "metadata"), json_object_get(pod, "metadata"), meta_keys);
    copy_members(to, spec, spec_keys);
    copy_members(json_object_get(out, "status"), json_object_get(pod, "status"), status_keys);
    if (restarts(pod))
        json_set_int(json_object_get(out, "status"), "restarts", restarts(pod));
    json_object_set_new(to, "containers", slim_containers(json_object_get(spec, "containers")));
    if (json_array_size(json_object_get(spec, "initContainers")) > 0)
        json_object_set_new(to, "initContainers",
                            slim_containers(json_object_get(spec, "initContainers")));
    node =
        json_at(spec, "affinity", "nodeAffinity", NULL); /* a daemon's pod names its node there */
    if (node)
        json_object_set_new(to, "affinity", json_pack("{s:O}", "nodeAffinity", node));
    if (cost)
        meta_set_annotation(out, "controller.kubernetes.io/pod-deletion-cost", cost);
    return out;
}

static const char *space_of(const char *ns)
{
    return ns && *ns ? ns : "-";
}

static void object_free(void *v)
{
    json_decref(v);
}

static void space_free(void *v)
{
    map_fini(v, object_free);
    free(v);
}

void cache_change(struct cache *c, const char *resource, enum cluster_change what, json_t *object)
{
    int i = index_of(resource);
    const char *ns = space_of(meta_namespace(object));
    struct map *space;

    if (i < 0)
        return;
    space = map_get(&c->objects[i], ns);
    if (what == CLUSTER_DELETED) {
        if (space)
            json_decref(map_remove(space, meta_name(object)));
        if (space && space->n == 0)
            space_free(map_remove(&c->objects[i], ns));
        return;
    }
    if (!space) {
        space = xcalloc(1, sizeof(*space));
        map_set(&c->objects[i], ns, space);
    }
    json_decref(map_set(space, meta_name(object),
                        i == SLIM ? cache_slim_pod(object) : json_incref(object)));
}

static json_t *c_get(struct cluster *cl, const char *resource, const char *ns, const char *name)
{
    struct cache *c = cl->ctx;
    int i = index_of(resource);
    struct map *space;

    if (i < 0 || i == SLIM)
        return cluster_get(c->below, resource, ns, name);
    space = map_get(&c->objects[i], space_of(ns));
    return space ? json_incref(map_get(space, name)) : NULL;
}

static void add_all(json_t *out, const struct map *space)
{
    struct map_entry *e;
    size_t it = 0;

    while (space && (e = map_next(space, &it)))
        json_array_append(out, e->value);
}

static json_t *c_list(struct cluster *cl, const char *resource, const char *ns)
{
    struct cache *c = cl->ctx;
    int i = index_of(resource);
    struct map_entry *e;
    json_t *out;
    size_t it = 0;

    if (i < 0)
        return cluster_list(c->below, resource, ns);
    out = json_array();
    if (ns && *ns)
        add_all(out, map_get(&c->objects[i], ns));
    else
        while ((e = map_next(&c->objects[i], &it)))
            add_all(out, e->value);
    return out;
}

static int c_create(struct cluster *cl, const char *resource, json_t *object, json_t **ret,
                    struct error **err)
{
    return cluster_create(((struct cache *)cl->ctx)->below, resource, object, ret, err);
}

static int c_update(struct cluster *cl, const char *resource, const char *subresource,
                    json_t *object, struct error **err)
{
    return cluster_update(((struct cache *)cl->ctx)->below, resource, subresource, object, err);
}

static int c_remove(struct cluster *cl, const char *resource, const char *ns, const char *name,
                    const struct cluster_delete *opt, struct error **err)
{
    return cluster_remove(((struct cache *)cl->ctx)->below, resource, ns, name, opt, err);
}

void cache_init(struct cache *c, struct cluster *below)
{
    static const struct cluster_ops ops = {c_get, c_list, c_create, c_update, c_remove};

    *c = (struct cache){.cluster = {&ops, c}, .below = below};
    for (int i = 0; i < CACHE_RESOURCES; i++) {
        json_t *all = cluster_list(below, cached[i], NULL), *o;

        json_each(all, k, o) cache_change(c, cached[i], CLUSTER_ADDED, o);
        json_decref(all);
    }
}

void cache_fini(struct cache *c)
{
    for (int i = 0; i < CACHE_RESOURCES; i++)
        map_fini(&c->objects[i], space_free);
}
