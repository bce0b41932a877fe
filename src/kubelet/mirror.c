/* Mirror pods: what the API server shows of a static pod. Created when missing, deleted when it
 * mirrors another version. */
#include "base/log.h"
#include "base/mem.h"
#include "kubelet/pod.h"

#define RETRY_NS (5 * NSEC_PER_SEC)

static void on_created(const struct kube_result *r, void *arg)
{
    struct pod *p = arg;

    p->mirror_call = NULL;
    p->mirror_busy = false;
    if (r->err && r->http_code != 409) {
        log_warn("kubelet", "creating a mirror pod", "pod", p->text, "error", error_message(r->err),
                 NULL);
        p->mirror_retry_ns = wall_now().ns + RETRY_NS;
        pod_kick_at(p, p->mirror_retry_ns);
        return;
    }
    if (!r->err && r->msg) {
        str_replace(&p->mirror_uid, object_uid(r->msg));
        str_replace(&p->mirror_hash, p->uid);
        p->status_dirty = true;
    }
    pod_kick(p);
}

static void on_deleted(const struct kube_result *r, void *arg)
{
    struct pod *p = arg;

    p->mirror_call = NULL;
    p->mirror_busy = false;
    if (!r->err || r->http_code == 404 || r->http_code == 409) {
        str_replace(&p->mirror_uid, NULL);
        str_replace(&p->mirror_hash, NULL);
        str_replace(&p->sent, NULL);
    } else {
        p->mirror_retry_ns = wall_now().ns + RETRY_NS;
    }
    pod_kick(p);
}

static void create(struct pod *p)
{
    struct arena a;
    K8s__Pod *m;
    K8s__OwnerReference *o;
    const K8s__ObjectMeta *from = p->api->metadata;

    arena_init(&a, 8192);
    m = object_dup_arena(p->api, &a);
    m->metadata->uid = NULL;
    m->metadata->resourceversion = NULL;
    m->status = NULL;
    m->metadata->annotations = NULL; /* a list that can grow */
    m->metadata->n_annotations = 0;
    for (size_t i = 0; i < from->n_annotations; i++)
        pairs_set(&a, &m->metadata->annotations, &m->metadata->n_annotations,
                  from->annotations[i]->key, from->annotations[i]->value);
    pairs_set(&a, &m->metadata->annotations, &m->metadata->n_annotations, ANNOTATION_MIRROR,
              p->uid);
    if (p->k->node_uid) {
        o = object_new(&a, &k8s__owner_reference__descriptor);
        o->apiversion = arena_strdup(&a, "v1");
        o->kind = arena_strdup(&a, "Node");
        o->name = arena_strdup(&a, p->k->node_name);
        o->uid = arena_strdup(&a, p->k->node_uid);
        o->has_controller = o->controller = 1;
        m->metadata->ownerreferences = NULL;
        m->metadata->n_ownerreferences = 0;
        object_append(&a, &m->metadata->ownerreferences, &m->metadata->n_ownerreferences, o);
    }
    p->mirror_busy = true;
    kube_create(p->k->client, m, on_created, p, &p->mirror_call);
    arena_fini(&a);
}

void mirror_step(struct pod *p)
{
    bool wanted = p->wanted && !p->terminating;

    if (!p->k->client || !p->k->api_synced || p->mirror_busy || !p->api || !pod_is_static(p))
        return;
    if (p->mirror_retry_ns > wall_now().ns)
        return;
    if (p->mirror_uid && (!p->wanted || !streq(p->mirror_hash, p->uid))) {
        p->mirror_busy = true;
        kube_delete(p->k->client, &k8s__pod__descriptor, p->ns, p->name, 0, p->mirror_uid,
                    on_deleted, p, &p->mirror_call);
    } else if (!p->mirror_uid && wanted && p->k->node_uid) {
        create(p);
    }
}
