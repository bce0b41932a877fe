#include "base/cleanup.h"
#include "base/mem.h"
#include "server/controllers/controller.h"
#include <errno.h>

/* Who owns what: owner uid -> dependents, as keys "resource|ns/name". Hints only: reconcile() looks
 * at the objects themselves. */
struct gc_owner {
    struct map dependents;
};

/* Kinds that own or are owned; an owner of another kind is taken to exist. */
static const struct {
    const char *kind, *resource;
    bool cluster_scoped;
} kinds[] = {
    {"Pod", "pods", false},
    {"ReplicaSet", "replicasets.apps", false},
    {"Deployment", "deployments.apps", false},
    {"DaemonSet", "daemonsets.apps", false},
    {"StatefulSet", "statefulsets.apps", false},
    {"Job", "jobs.batch", false},
    {"CronJob", "cronjobs.batch", false},
    {"Service", "services", false},
    {"ConfigMap", "configmaps", false},
    {"Secret", "secrets", false},
    {"ServiceAccount", "serviceaccounts", false},
    {"Endpoints", "endpoints", false},
    {"Node", "nodes", true},
    {"Namespace", "namespaces", true},
    {"ClusterRole", "clusterroles.rbac.authorization.k8s.io", true},
};

static const char *resource_of(const char *kind, bool *ret_cluster)
{
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
        if (streq(kinds[i].kind, kind)) {
            *ret_cluster = kinds[i].cluster_scoped;
            return kinds[i].resource;
        }
    return NULL;
}

static void owner_free(void *v)
{
    struct gc_owner *o = v;

    map_fini(&o->dependents, NULL);
    free(o);
}

static void begin(struct controller *c)
{
    c->env->gc = xcalloc(1, sizeof(struct map));
}

static void end(struct controller *c)
{
    if (c->env->gc)
        map_fini(c->env->gc, owner_free);
    free(c->env->gc);
    c->env->gc = NULL;
}

static void enqueue_owner_object(struct controller *c, const json_t *object, const json_t *ref)
{
    bool cluster = false;
    const char *resource = resource_of(json_text_or(ref, "kind", ""), &cluster);
    char *key;

    if (!resource)
        return;
    key = cluster ? xasprintf("%s|%s", resource, json_text_or(ref, "name", ""))
                  : xasprintf("%s|%s/%s", resource, meta_namespace(object),
                              json_text_or(ref, "name", ""));
    queue_add(&c->queue, key);
    free(key);
}

static void note(struct controller *c, const json_t *object, const char *key, bool gone)
{
    struct map *owners = c->env->gc;
    const json_t *ref;

    json_each(json_at(object, "metadata", "ownerReferences", NULL), i, ref)
    {
        const char *uid = json_text_or(ref, "uid", "");
        struct gc_owner *o = map_get(owners, uid);

        if (!o && !gone) {
            o = xcalloc(1, sizeof(*o));
            map_set(owners, uid, o);
        }
        if (!o)
            continue;
        if (!gone) {
            map_set(&o->dependents, key, o);
            continue;
        }
        (void)map_remove(&o->dependents, key);
        if (json_bool_or(ref, "blockOwnerDeletion", false))
            enqueue_owner_object(c, object, ref);
        if (o->dependents.n == 0)
            owner_free(map_remove(owners, uid));
    }
}

static void enqueue_dependents(struct controller *c, const char *uid)
{
    struct gc_owner *o = map_get(c->env->gc, uid);
    struct map_entry *e;
    size_t it = 0;

    while (o && (e = map_next(&o->dependents, &it)))
        queue_add(&c->queue, e->key);
}

static void on_any(struct controller *c, enum cluster_change what, const json_t *object)
{
    bool owned = json_array_size(json_at(object, "metadata", "ownerReferences", NULL)) > 0,
         going = meta_deleting(object);
    char *name, *key;

    if (!owned && !going && what != CLUSTER_DELETED)
        return;
    name = meta_key(object);
    key = xasprintf("%s|%s", controller_current_resource, name);
    if (owned)
        note(c, object, key, what == CLUSTER_DELETED);
    if (what == CLUSTER_DELETED)
        enqueue_dependents(c, meta_uid(object));
    else if (going || (owned && what == CLUSTER_ADDED))
        queue_add(&c->queue, key);
    free(name);
    free(key);
}

enum owner_state { OWNER_SOLID, OWNER_ABSENT, OWNER_WAITING };
static enum owner_state owner_state(struct controller *c, const json_t *object, const json_t *ref)
{
    bool cluster = false;
    const char *resource = resource_of(json_text_or(ref, "kind", ""), &cluster);
    cleanup_json json_t *owner = NULL;

    if (!resource)
        return OWNER_SOLID;
    owner = cluster_get(c->env->cluster, resource, cluster ? "" : meta_namespace(object),
                        json_text_or(ref, "name", ""));
    if (!owner || !streq(meta_uid(owner), json_text_or(ref, "uid", "")))
        return OWNER_ABSENT;
    return meta_deleting(owner) && meta_has_finalizer(owner, "foregroundDeletion") ? OWNER_WAITING
                                                                                   : OWNER_SOLID;
}

static int drop_references(struct controller *c, const char *resource, const json_t *object,
                           const char *uid, struct error **err)
{
    cleanup_json json_t *o = json_deep_copy(object);
    json_t *refs = json_at(o, "metadata", "ownerReferences", NULL);

    for (size_t i = json_array_size(refs); i-- > 0;) {
        const json_t *ref = json_array_get(refs, i);

        if (uid ? streq(json_text_or(ref, "uid", ""), uid)
                : owner_state(c, object, ref) != OWNER_SOLID)
            json_array_remove(refs, i);
    }
    if (json_array_size(refs) == 0)
        json_object_del(json_object_get(o, "metadata"), "ownerReferences");
    return cluster_update(c->env->cluster, resource, NULL, o, err);
}

static int check_dependent(struct controller *c, const char *resource, const json_t *object,
                           struct error **err)
{
    const json_t *refs = json_at(object, "metadata", "ownerReferences", NULL), *ref;
    struct cluster_delete opt = {
        .uid = meta_uid(object), .grace_s = -1, .propagation = "Background"};
    size_t solid = 0, bad = 0;

    json_each(refs, i, ref)
    {
        enum owner_state s = owner_state(c, object, ref);

        solid += s == OWNER_SOLID;
        bad += s != OWNER_SOLID;
        if (s == OWNER_WAITING)
            opt.propagation = "Foreground";
    }
    if (bad == 0 || meta_deleting(object))
        return 0;
    if (solid > 0)
        return drop_references(c, resource, object, NULL, err);
    return cluster_remove(c->env->cluster, resource, meta_namespace(object), meta_name(object),
                          &opt, err);
}

static int remove_finalizer(struct controller *c, const char *resource, const json_t *object,
                            const char *name, struct error **err)
{
    cleanup_json json_t *o = json_deep_copy(object);
    json_t *list = json_at(o, "metadata", "finalizers", NULL);

    for (size_t i = json_array_size(list); i-- > 0;)
        if (streq(json_string_value(json_array_get(list, i)), name))
            json_array_remove(list, i);
    return cluster_update(c->env->cluster, resource, NULL, o, err);
}

/* Dependents of a foreground deletion that must go first; they are told to. */
static bool dependents_left(struct controller *c, const json_t *owner, bool orphan,
                            struct error **err, int *ret_rc)
{
    struct gc_owner *o = map_get(c->env->gc, meta_uid(owner));
    struct map_entry *e;
    size_t it = 0;
    bool left = false;
    json_t *keys = json_array();
    const json_t *k;

    while (o && (e = map_next(&o->dependents, &it)))
        json_array_append_new(keys, json_string(e->key));
    *ret_rc = 0;
    json_each(keys, i, k)
    {
        const char *bar = strchr(json_string_value(k), '|');
        cleanup_free char *resource =
            xstrndup(json_string_value(k), (size_t)(bar - json_string_value(k)));
        cleanup_free char *ns = NULL, *name = NULL;
        cleanup_json json_t *d = NULL;

        key_split(bar + 1, &ns, &name);
        d = cluster_get(c->env->cluster, resource, ns, name);
        if (!d)
            continue;
        left = true;
        if (*ret_rc == 0)
            *ret_rc = orphan ? drop_references(c, resource, d, meta_uid(owner), err)
                             : check_dependent(c, resource, d, err);
    }
    json_decref(keys);
    return left;
}

static int check_owner(struct controller *c, const char *resource, const json_t *object,
                       struct error **err)
{
    bool orphan = meta_has_finalizer(object, "orphan"),
         foreground = meta_has_finalizer(object, "foregroundDeletion"), left;
    int rc;

    if (!meta_deleting(object) || (!orphan && !foreground))
        return 0;
    left = dependents_left(c, object, orphan, err, &rc);
    if (rc < 0 || (left && !orphan))
        return rc;
    return remove_finalizer(c, resource, object, orphan ? "orphan" : "foregroundDeletion", err);
}

static enum queue_verdict reconcile(struct controller *c, const char *key)
{
    const char *bar = strchr(key, '|');
    cleanup_free char *resource = xstrndup(key, (size_t)(bar - key)), *ns = NULL, *name = NULL;
    cleanup_json json_t *object = NULL;
    struct error *err = NULL;
    int rc;

    key_split(bar + 1, &ns, &name);
    object = cluster_get(c->env->cluster, resource, ns, name);
    if (!object)
        return QUEUE_DONE;
    rc = check_owner(c, resource, object, &err);
    if (rc == 0)
        rc = check_dependent(c, resource, object, &err);
    return settle(c, key, rc, &err);
}

const struct controller_def gc_controller = {
    .name = "garbagecollector",
    .watches = {{"*", on_any}},
    .reconcile = reconcile,
    .begin = begin,
    .end = end,
};
