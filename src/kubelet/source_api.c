#include "api/reflector.h"
#include "base/log.h"
#include "base/mem.h"
#include "kubelet/source.h"

struct source_api {
    struct kubelet *k;
    struct reflector *reflector;
};

/* ---- mirrors ---- */

static struct pod *static_pod_named(struct kubelet *k, const char *ns, const char *name)
{
    struct map_entry *e;
    size_t it = 0;

    while ((e = map_next(&k->pods, &it))) {
        struct pod *p = e->value;

        if (pod_is_static(p) && p->wanted && streq(p->ns, ns) && streq(p->name, name))
            return p;
    }
    return NULL;
}

static void on_mirror(struct source_api *s, const K8s__Pod *o, const char *hash)
{
    struct kubelet *k = s->k;
    struct pod *p = static_pod_named(k, object_namespace(o), object_name(o));

    if (!p) {
        if (k->file_synced)
            kube_delete(k->client, &k8s__pod__descriptor, object_namespace(o), object_name(o), 0,
                        object_uid(o), source_ignore_answer, NULL, NULL);
        return;
    }
    if (!streq(p->mirror_uid, object_uid(o))) {
        str_replace(&p->mirror_uid, object_uid(o));
        str_replace(&p->sent, NULL);
        p->status_dirty = true;
    }
    /* one that is being deleted is let go, and made again */
    str_replace(&p->mirror_hash, o->metadata->deletiontimestamp ? "deleted" : hash);
    pod_kick(p);
}

void source_ignore_answer(const struct kube_result *r, void *arg)
{
}

/* ---- pods ---- */

static void on_object(enum reflect_event ev, void *msg, void *arg)
{
    struct source_api *s = arg;
    const K8s__Pod *o = msg;
    const char *mirror;
    struct pod *p;

    if (!o->metadata || !o->spec || !*object_uid(o))
        return;
    mirror = pairs_get(o->metadata->annotations, o->metadata->n_annotations, ANNOTATION_MIRROR);
    if (mirror) {
        on_mirror(s, o, mirror);
        return;
    }
    p = pod_find(s->k, object_uid(o));
    if (p && p->api && streq(object_resource_version(p->api), object_resource_version(o)))
        return;
    if (!p)
        p = pod_new(s->k, object_uid(o), object_namespace(o), object_name(o), POD_SOURCE_API);
    p->source = POD_SOURCE_API;
    pod_set_spec(p, object_dup(o));
}

static void on_delete(const char *ns, const char *name, const char *uid, void *arg)
{
    struct source_api *s = arg;
    struct pod *p = pod_find(s->k, uid);
    struct map_entry *e;
    size_t it = 0;

    if (p && p->source == POD_SOURCE_API) {
        pod_unwant(p);
        return;
    }
    while ((e = map_next(&s->k->pods, &it))) {
        p = e->value;
        if (pod_is_static(p) && streq(p->mirror_uid, uid)) {
            str_replace(&p->mirror_uid, NULL);
            str_replace(&p->mirror_hash, NULL);
            str_replace(&p->sent, NULL);
            pod_kick(p);
        }
    }
}

static void on_synced(void *arg)
{
    struct source_api *s = arg;

    if (s->k->api_synced)
        return;
    s->k->api_synced = true;
    observer_relist(s->k);
    pods_kick_all(s->k);
}

struct source_api *source_api_start(struct kubelet *k)
{
    static const struct reflector_ops ops = {
        .on_object = on_object, .on_delete = on_delete, .on_synced = on_synced};
    struct source_api *s = xcalloc(1, sizeof(*s));
    cleanup_free char *selector = xasprintf("spec.nodeName=%s", k->node_name);
    struct reflector_config cfg = {.type = &k8s__pod__descriptor,
                                   .field_selector = selector,
                                   .track = true,
                                   .ops = &ops,
                                   .arg = s};

    s->k = k;
    s->reflector = reflector_start(k->client, &cfg);
    return s;
}

void source_api_stop(struct source_api *s)
{
    if (!s)
        return;
    reflector_stop(s->reflector);
    free(s);
}
