#include "base/cleanup.h"
#include "base/mem.h"
#include "server/controllers/deployment_plan.h"
#include "server/controllers/pod_template.h"
#include "server/controllers/selector.h"
#include <errno.h>

#define COMPONENT "deployment-controller"
#define SETS "replicasets.apps"

static void on_set(struct controller *c, enum cluster_change what, const json_t *rs)
{
    if (meta_controller(rs))
        enqueue_owner(c, rs, "Deployment");
    else if (what != CLUSTER_DELETED)
        enqueue_all(c, "deployments.apps", meta_namespace(rs));
}

/* For Recreate: the last old pod gone lets the new set begin. */
static void on_pod(struct controller *c, enum cluster_change what, const json_t *pod)
{
    const json_t *ref = meta_controller(pod);
    cleanup_json json_t *rs = NULL;

    if (what != CLUSTER_DELETED || !ref || !streq(json_text_or(ref, "kind", ""), "ReplicaSet"))
        return;
    rs = cluster_get(c->env->cluster, SETS, meta_namespace(pod), json_text_or(ref, "name", ""));
    if (rs)
        enqueue_owner(c, rs, "Deployment");
}

/* A set without an owner that the selector means, as `kubectl delete --cascade=orphan` leaves
 * behind. */
static bool adopt(struct controller *c, const json_t *d, const json_t *rs)
{
    cleanup_json json_t *o = NULL;

    if (meta_controller(rs) || meta_deleting(rs) || meta_deleting(d) ||
        !selector_matches(json_at(d, "spec", "selector", NULL),
                          json_at(rs, "metadata", "labels", NULL)))
        return false;
    o = json_deep_copy(rs);
    json_array_append_new(json_array_need(json_object_get(o, "metadata"), "ownerReferences"),
                          meta_owner_reference(d, "apps/v1", "Deployment"));
    return cluster_update(c->env->cluster, SETS, NULL, o, NULL) == 0;
}

static json_t *sets_of(struct controller *c, const json_t *d)
{
    json_t *all = cluster_list(c->env->cluster, SETS, meta_namespace(d)), *out = json_array(), *rs;

    json_each(all, i, rs)
    {
        json_t *now;

        if (meta_controlled_by(rs, meta_uid(d))) {
            json_array_append(out, rs);
            continue;
        }
        if (!adopt(c, d, rs))
            continue;
        now = cluster_get(c->env->cluster, SETS, meta_namespace(rs), meta_name(rs));
        if (now)
            json_array_append_new(out, now);
    }
    json_decref(all);
    return out;
}

/* Somebody else's set has the name: the next hash is another one. */
static int count_collision(struct controller *c, const json_t *d, struct error **err)
{
    cleanup_json json_t *o = json_deep_copy(d);
    json_t *status = json_object_need(o, "status");

    error_clear(err);
    json_set_int(status, "collisionCount", json_int_or(status, "collisionCount", 0) + 1);
    return cluster_update(c->env->cluster, "deployments.apps", "status", o, err);
}

static bool old_pods_left(struct controller *c, const json_t *sets, const json_t *now,
                          const char *ns)
{
    json_t *pods = cluster_list(c->env->cluster, "pods", ns);
    const json_t *rs, *p;
    bool left = false;

    json_each(sets, i, rs) json_each(pods, k, p) left =
        left || (rs != now && meta_controlled_by(p, meta_uid(rs)) && !pod_finished(p));
    json_decref(pods);
    return left;
}

static void scaled_event(struct controller *c, const json_t *d, const json_t *rs, int64_t from,
                         int64_t to)
{
    cleanup_free char *text =
        xasprintf("Scaled %s replica set %s from %lld to %lld", to > from ? "up" : "down",
                  meta_name(rs), (long long)from, (long long)to);

    event_write(c->env, d, "apps/v1", "Deployment", COMPONENT, "Normal", "ScalingReplicaSet", text);
}

static int scale_set(struct controller *c, const json_t *d, const json_t *rs, int64_t n,
                     struct error **err)
{
    int64_t before = json_int_or(json_object_get(rs, "spec"), "replicas", 1);
    cleanup_json json_t *o = json_deep_copy(rs);
    cleanup_free char *desired =
        xasprintf("%lld", (long long)json_int_or(json_object_get(d, "spec"), "replicas", 1));
    int rc;

    json_set_int(json_object_get(o, "spec"), "replicas", n);
    meta_set_annotation(o, "deployment.kubernetes.io/desired-replicas", desired);
    rc = cluster_update(c->env->cluster, SETS, NULL, o, err);
    if (rc == 0)
        scaled_event(c, d, rs, before, n);
    return rc;
}

/* The set of today's template exists and carries the newest revision, and so does the Deployment.
 */
static int need_set(struct controller *c, const json_t *d, const json_t *sets, struct error **err)
{
    const json_t *now = deployment_new_set(d, sets);
    cleanup_json json_t *o = NULL;
    cleanup_free char *text = NULL;

    if (!now) {
        int rc;

        o = deployment_make_set(d, sets);
        rc = cluster_create(c->env->cluster, SETS, o, NULL, err);
        return rc == -EEXIST ? count_collision(c, d, err) : rc;
    }
    if (set_revision(now) >= max_revision(sets) && set_revision(now) > 0) {
        if (streq(meta_annotation(d, REVISION), meta_annotation(now, REVISION)))
            return 0;
        o = json_deep_copy(d);
        meta_set_annotation(o, REVISION, meta_annotation(now, REVISION));
        return cluster_update(c->env->cluster, "deployments.apps", NULL, o, err);
    }
    o = json_deep_copy(now);
    text = xasprintf("%lld", (long long)max_revision(sets) + 1);
    meta_set_annotation(o, REVISION, text);
    return cluster_update(c->env->cluster, SETS, NULL, o, err);
}

static int apply(struct controller *c, const json_t *d, struct error **err)
{
    cleanup_json json_t *sets = sets_of(c, d), *sizes = NULL, *excess = NULL;
    const json_t *rs;
    int rc = 0;

    if (!json_bool_or(json_object_get(d, "spec"), "paused", false)) {
        rc = need_set(c, d, sets, err);
        if (rc < 0)
            return rc;
        json_decref(sets);
        sets = sets_of(c, d);
    }
    sizes = deployment_scale(
        d, sets, old_pods_left(c, sets, deployment_new_set(d, sets), meta_namespace(d)));
    json_each(sets, i, rs)
    {
        const json_t *n = json_object_get(sizes, meta_name(rs));

        rc = n ? scale_set(c, d, rs, json_integer_value(n), err) : 0;
        if (rc < 0)
            return rc;
    }
    excess = deployment_excess(d, sets);
    json_each(excess, k, rs)
    {
        rc = cluster_remove(c->env->cluster, SETS, meta_namespace(rs), meta_name(rs), NULL, err);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static int write_status(struct controller *c, const char *ns, const char *name, const char *key,
                        struct error **err)
{
    cleanup_json json_t *d = cluster_get(c->env->cluster, "deployments.apps", ns, name),
                        *sets = NULL, *status = NULL, *o = NULL;

    if (!d)
        return 0;
    sets = sets_of(c, d);
    status = deployment_status(d, sets, wall_now().ns / NSEC_PER_SEC);
    if (!deployment_complete(d, status) &&
        condition_is(json_object_get(status, "conditions"), "Progressing", "True"))
        queue_add_after(
            &c->queue, key,
            (json_int_or(json_object_get(d, "spec"), "progressDeadlineSeconds", 600) + 1) * 1000);
    if (json_equal(status, json_object_get(d, "status")))
        return 0;
    o = json_deep_copy(d);
    json_object_set(o, "status", status);
    return cluster_update(c->env->cluster, "deployments.apps", "status", o, err);
}

static enum queue_verdict reconcile(struct controller *c, const char *key)
{
    cleanup_free char *ns = NULL, *name = NULL;
    cleanup_json json_t *d = NULL;
    struct error *err = NULL;
    int rc = 0;

    key_split(key, &ns, &name);
    d = cluster_get(c->env->cluster, "deployments.apps", ns, name);
    if (!d)
        return QUEUE_DONE;
    if (!meta_deleting(d))
        rc = apply(c, d, &err);
    if (rc == 0)
        rc = write_status(c, ns, name, key, &err);
    return settle(c, key, rc, &err);
}

const struct controller_def deployment_controller = {
    .name = "deployment",
    .watches = {{"deployments.apps", enqueue_self}, {SETS, on_set}, {"pods", on_pod}},
    .reconcile = reconcile,
};
