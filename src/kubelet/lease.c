#include "kubelet/lease.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/random.h"

#define NAMESPACE "kube-node-lease"
#define DURATION_S 40
#define RENEW_MS 10000
#define RETRY_MIN_MS 100
#define RETRY_MAX_MS 7000

struct lease {
    struct kube_client *client;
    char *node_name, *node_uid;
    struct kube_call *call;
    struct loop_timer timer;
    bool exists; /* renew by patch; else create */
    int64_t retry_ms;
    struct log_limit limit;
};

static void renew(struct lease *l);

static void on_timer(struct loop_timer *t)
{
    renew(container_of(t, struct lease, timer));
}

static void arm(struct lease *l, int64_t ms)
{
    loop_timer_start(kube_client_loop(l->client), &l->timer, ms, on_timer);
}

static void on_done(const struct kube_result *res, void *arg)
{
    struct lease *l = arg;
    l->call = NULL;
    if (!res->err) {
        l->exists = true;
        l->retry_ms = 0;
        /* within 4 % of ten seconds, so that a fleet does not beat in step */
        arm(l, RENEW_MS - 200 + (int64_t)random_below(400));
        return;
    }
    if (kube_result_is(res, "AlreadyExists")) {
        l->exists = true;
        arm(l, 0);
        return;
    }
    bool missing = kube_result_is(res, "NotFound") && l->exists;
    l->retry_ms = l->retry_ms ? l->retry_ms * 2 : RETRY_MIN_MS;
    if (l->retry_ms > RETRY_MAX_MS)
        l->retry_ms = RETRY_MAX_MS;
    if (missing)
        l->exists = false;
    else if (log_limit_ok(&l->limit, 30000))
        log_warnf("kubelet", "node lease cannot be renewed: %s", error_message(res->err));
    arm(l, missing ? 0 : l->retry_ms);
}

static void create(struct lease *l)
{
    struct arena a;
    arena_init(&a, 0);
    K8s__Lease *m = object_new(&a, &k8s__lease__descriptor);
    m->metadata = object_new(&a, &k8s__object_meta__descriptor);
    m->metadata->name = l->node_name;
    m->metadata->namespace_ = arena_strdup(&a, NAMESPACE);
    if (l->node_uid) {
        K8s__OwnerReference *o = object_new(&a, &k8s__owner_reference__descriptor);
        o->apiversion = arena_strdup(&a, "v1");
        o->kind = arena_strdup(&a, "Node");
        o->name = l->node_name;
        o->uid = l->node_uid;
        object_append(&a, &m->metadata->ownerreferences, &m->metadata->n_ownerreferences, o);
    }
    m->spec = object_new(&a, &k8s__lease_spec__descriptor);
    m->spec->holderidentity = l->node_name;
    m->spec->has_leasedurationseconds = 1;
    m->spec->leasedurationseconds = DURATION_S;
    m->spec->renewtime = object_micro_time(&a, wall_now());
    kube_create(l->client, m, on_done, l, &l->call);
    arena_fini(&a);
}

static void renew(struct lease *l)
{
    if (!l->exists) {
        create(l);
        return;
    }
    char now[WALL_TEXT];
    wall_format_micro(wall_now(), now);
    cleanup_buf struct buf b;
    buf_init(&b, 4096);
    (void)buf_add_z(&b, "{\"spec\":{\"holderIdentity\":");
    (void)buf_add_json_string(&b, str_of(l->node_name));
    (void)buf_printf(&b, ",\"leaseDurationSeconds\":%d,\"renewTime\":\"%s\"}}", DURATION_S, now);
    kube_patch(l->client, &k8s__lease__descriptor, NAMESPACE, l->node_name, NULL, KUBE_PATCH_MERGE,
               buf_str(&b), on_done, l, &l->call);
}

struct lease *lease_start(struct kube_client *c, const char *node_name, const char *node_uid)
{
    struct lease *l = xcalloc(1, sizeof(*l));
    l->client = c;
    l->node_name = xstrdup(node_name);
    l->node_uid = xstrdup_null(node_uid);
    renew(l);
    return l;
}

void lease_stop(struct lease *l)
{
    if (!l)
        return;
    kube_call_cancel(l->call);
    loop_timer_stop(&l->timer);
    free(l->node_name);
    free(l->node_uid);
    free(l);
}
