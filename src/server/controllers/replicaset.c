#include "server/controllers/replicaset.h"
#include "base/cleanup.h"
#include "base/mem.h"
#include "server/controllers/pod_template.h"
#include "server/controllers/selector.h"
#include <stdlib.h>

#define COMPONENT "replicaset-controller"
#define BURST 500

static int phase_rank(const json_t *pod)
{
    const char *phase = strna(json_text_at(pod, "status", "phase", NULL));

    return streq(phase, "Running") ? 2 : streq(phase, "Unknown") ? 1 : 0;
}

/* The one to go first comes first: unassigned, pending, not ready, cheap to delete, younger. */
static int victim_order(const void *x, const void *y)
{
    const json_t *a = *(json_t *const *)x, *b = *(json_t *const *)y;
    int na = *strna(json_text_at(a, "spec", "nodeName", NULL)) != 0,
        nb = *strna(json_text_at(b, "spec", "nodeName", NULL)) != 0;
    int64_t ca = 0, cb = 0, ta = meta_created(a).ns, tb = meta_created(b).ns;

    if (na != nb)
        return na - nb;
    if (phase_rank(a) != phase_rank(b))
        return phase_rank(a) - phase_rank(b);
    if (pod_ready(a) != pod_ready(b))
        return pod_ready(a) - pod_ready(b);
    (void)str_to_i64(
        str_of(strna(meta_annotation(a, "controller.kubernetes.io/pod-deletion-cost"))), INT32_MIN,
        INT32_MAX, &ca);
    (void)str_to_i64(
        str_of(strna(meta_annotation(b, "controller.kubernetes.io/pod-deletion-cost"))), INT32_MIN,
        INT32_MAX, &cb);
    if (ca != cb)
        return ca < cb ? -1 : 1;
    return ta > tb ? -1 : ta < tb;
}

int64_t replica_plan(const json_t *rs, const json_t *pods, json_t **ret_victims)
{
    json_t **v = xcalloc(json_array_size(pods) + 1, sizeof(*v)), *p;
    int64_t want = json_int_or(json_object_get(rs, "spec"), "replicas", 1), n = 0;

    json_each(pods, i, p) if (pod_active(p)) v[n++] = p;
    *ret_victims = json_array();
    if (n > want) {
        qsort(v, (size_t)n, sizeof(*v), victim_order);
        for (int64_t i = 0; i < n - want; i++)
            json_array_append(*ret_victims, v[i]);
    }
    free(v);
    return want - n;
}

json_t *replica_status(const json_t *rs, const json_t *pods, int64_t *ret_wait_s)
{
    const json_t *labels = json_at(rs, "spec", "template", "metadata", "labels", NULL), *p;
    int64_t min = json_int_or(json_object_get(rs, "spec"), "minReadySeconds", 0);
    int64_t replicas = 0, labeled = 0, ready = 0, available = 0, wait, terminating = 0;
    json_t *status = json_deep_copy(json_object_get(rs, "status"));

    *ret_wait_s = 0;
    json_each(pods, i, p)
    {
        terminating += meta_deleting(p) && !pod_finished(p);
        if (!pod_active(p))
            continue;
        replicas++;
        labeled += selector_map_matches(labels, json_at(p, "metadata", "labels", NULL));
        ready += pod_ready(p);
        available += pod_available(p, min, &wait);
        if (wait && (!*ret_wait_s || wait < *ret_wait_s))
            *ret_wait_s = wait;
    }
    if (!status)
        status = json_object();
    json_set_int(status, "replicas", replicas);
    json_object_del(status, "fullyLabeledReplicas");
    json_object_del(status, "readyReplicas");
    json_object_del(status, "availableReplicas");
    if (labeled)
        json_set_int(status, "fullyLabeledReplicas", labeled);
    if (ready)
        json_set_int(status, "readyReplicas", ready);
    if (available)
        json_set_int(status, "availableReplicas", available);
    json_set_int(status, "terminatingReplicas", terminating);
    json_set_int(status, "observedGeneration",
                 json_int_or(json_object_get(rs, "metadata"), "generation", 0));
    return status;
}

static void on_pod(struct controller *c, enum cluster_change what, const json_t *pod)
{
    (void)what;
    enqueue_owner(c, pod, "ReplicaSet");
}

static int write_status(struct controller *c, const json_t *rs, const json_t *pods, const char *key,
                        struct error **err)
{
    int64_t wait;
    cleanup_json json_t *status = replica_status(rs, pods, &wait), *o = NULL;

    if (wait)
        queue_add_after(&c->queue, key, wait * 1000);
    if (json_equal(status, json_object_get(rs, "status")))
        return 0;
    o = json_deep_copy(rs);
    json_object_set(o, "status", status);
    return cluster_update(c->env->cluster, "replicasets.apps", "status", o, err);
}

static int apply(struct controller *c, const json_t *rs, const json_t *pods, struct error **err)
{
    cleanup_json json_t *victims = NULL;
    int64_t n = replica_plan(rs, pods, &victims);
    const json_t *p;
    int rc = 0;

    for (int64_t i = 0; i < n && i < BURST && rc == 0; i++) {
        cleanup_json json_t *pod =
            pod_from_template(rs, "apps/v1", "ReplicaSet", json_at(rs, "spec", "template", NULL));

        rc = pod_create_for(c, rs, "apps/v1", "ReplicaSet", pod, COMPONENT, err);
    }
    json_each(victims, k, p) if (rc == 0) rc =
        pod_delete_for(c, rs, "apps/v1", "ReplicaSet", p, COMPONENT, err);
    return rc;
}

static enum queue_verdict reconcile(struct controller *c, const char *key)
{
    cleanup_free char *ns = NULL, *name = NULL;
    cleanup_json json_t *rs = NULL, *pods = NULL, *after = NULL;
    struct error *err = NULL;
    int rc = 0;

    key_split(key, &ns, &name);
    rs = cluster_get(c->env->cluster, "replicasets.apps", ns, name);
    if (!rs)
        return QUEUE_DONE;
    pods = pods_of(c, rs, "apps/v1", "ReplicaSet");
    if (!meta_deleting(rs))
        rc = apply(c, rs, pods, &err);
    if (rc == 0) {
        after = pods_of(c, rs, "apps/v1", "ReplicaSet");
        rc = write_status(c, rs, after, key, &err);
    }
    return settle(c, key, rc, &err);
}

const struct controller_def replicaset_controller = {
    .name = "replicaset",
    .watches = {{"replicasets.apps", enqueue_self}, {"pods", on_pod}},
    .reconcile = reconcile,
};
