#include "base/cleanup.h"
#include "server/controllers/daemonset_plan.h"
#include "server/controllers/pod_template.h"
#include "base/mem.h"
#include <errno.h>

#define COMPONENT "daemonset-controller"
#define REVISIONS "controllerrevisions.apps"

static void on_pod(struct controller *c, enum cluster_change what, const json_t *pod)
{
    (void)what;
    enqueue_owner(c, pod, "DaemonSet");
}

static void on_node(struct controller *c, enum cluster_change what, const json_t *node)
{
    (void)what;
    (void)node;
    enqueue_all(c, "daemonsets.apps", NULL);
}

/* Keeps the template under its hash, so that kubectl rollout history and undo find it. */
static int keep_revision(struct controller *c, const json_t *ds, const char *hash,
                         struct error **err)
{
    cleanup_free char *name = xasprintf("%s-%s", meta_name(ds), hash);
    cleanup_json json_t *have = cluster_get(c->env->cluster, REVISIONS, meta_namespace(ds), name),
                        *all = NULL, *o = NULL;
    json_t *template, *labels;
    const json_t *r;
    int64_t newest = 0;

    all = cluster_list(c->env->cluster, REVISIONS, meta_namespace(ds));
    json_each(all, i,
              r) if (meta_controlled_by(r, meta_uid(ds)) && json_int_or(r, "revision", 0) > newest)
        newest = json_int_or(r, "revision", 0);
    if (have && json_int_or(have, "revision", 0) == newest)
        return 0;
    if (have) {
        o = json_deep_copy(have);
        json_set_int(o, "revision", newest + 1);
        return cluster_update(c->env->cluster, REVISIONS, NULL, o, err);
    }
    template = json_deep_copy(json_at(ds, "spec", "template", NULL));
    json_set_text(template, "$patch", "replace");
    labels = json_deep_copy(json_at(ds, "spec", "template", "metadata", "labels", NULL));
    if (!labels)
        labels = json_object();
    json_set_text(labels, "controller-revision-hash", hash);
    o = json_pack("{s:s,s:s,s:{s:s,s:s,s:o,s:[o]},s:{s:{s:o}},s:I}", "apiVersion", "apps/v1",
                  "kind", "ControllerRevision", "metadata", "name", name, "namespace",
                  meta_namespace(ds), "labels", labels, "ownerReferences",
                  meta_owner_reference(ds, "apps/v1", "DaemonSet"), "data", "spec", "template",
                  template, "revision", (json_int_t)(newest + 1));
    return cluster_create(c->env->cluster, REVISIONS, o, NULL, err);
}

static int64_t revision_of(const json_t *r)
{
    return json_int_or(r, "revision", 0);
}

/* Old templates beyond revisionHistoryLimit go, the oldest first, but none that a pod still has. */
static int trim_history(struct controller *c, const json_t *ds, const json_t *pods,
                        const char *hash, struct error **err)
{
    int64_t keep = json_int_or(json_object_get(ds, "spec"), "revisionHistoryLimit", 10), n = 0;
    cleanup_json json_t *all = cluster_list(c->env->cluster, REVISIONS, meta_namespace(ds));
    const json_t *r, *oldest = NULL, *p;

    json_each(all, i, r)
    {
        const char *label = strna(meta_label(r, "controller-revision-hash"));
        bool used = streq(label, hash);

        if (!meta_controlled_by(r, meta_uid(ds)))
            continue;
        json_each(pods, k, p) used =
            used || streq(meta_label(p, "controller-revision-hash"), label);
        if (used)
            continue;
        n++;
        if (!oldest || revision_of(r) < revision_of(oldest))
            oldest = r;
    }
    return n > keep ? cluster_remove(c->env->cluster, REVISIONS, meta_namespace(ds),
                                     meta_name(oldest), NULL, err)
                    : 0;
}

static int write_status(struct controller *c, const json_t *ds, const struct daemon_plan *plan,
                        struct error **err)
{
    cleanup_json json_t *o = json_deep_copy(ds);
    json_t *status = json_object_need(o, "status"), *v;
    const char *key;

    json_object_del(status, "numberUnavailable");
    json_object_foreach(plan->status, key, v) json_object_set(status, key, v);
    if (json_int_or(json_object_get(ds, "metadata"), "generation", 0))
        json_set_int(status, "observedGeneration",
                     json_int_or(json_object_get(ds, "metadata"), "generation", 0));
    if (json_equal(status, json_object_get(ds, "status")))
        return 0;
    return cluster_update(c->env->cluster, "daemonsets.apps", "status", o, err);
}

static int apply(struct controller *c, const json_t *ds, const struct daemon_plan *plan,
                 const char *hash, struct error **err)
{
    const json_t *x;
    int rc = 0;

    json_each(plan->remove, i, x)
    {
        rc = pod_delete_for(c, ds, "apps/v1", "DaemonSet", x, COMPONENT, err);
        if (rc < 0 && rc != -ENOENT)
            return rc;
        error_clear(err);
    }
    json_each(plan->create, k, x)
    {
        cleanup_json json_t *pod = daemon_pod(ds, json_string_value(x), hash);

        rc = pod_create_for(c, ds, "apps/v1", "DaemonSet", pod, COMPONENT, err);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static enum queue_verdict reconcile(struct controller *c, const char *key)
{
    cleanup_free char *ns = NULL, *name = NULL;
    cleanup_json json_t *ds = NULL, *nodes = NULL, *pods = NULL;
    struct daemon_plan plan;
    char hash[TEMPLATE_HASH];
    struct error *err = NULL;
    int rc;

    key_split(key, &ns, &name);
    ds = cluster_get(c->env->cluster, "daemonsets.apps", ns, name);
    if (!ds || meta_deleting(ds))
        return QUEUE_DONE;
    template_hash(json_at(ds, "spec", "template", NULL),
                  json_int_or(json_object_get(ds, "status"), "collisionCount", 0), hash);
    nodes = cluster_list(c->env->cluster, "nodes", NULL);
    pods = pods_of(c, ds, "apps/v1", "DaemonSet");
    daemon_plan(ds, nodes, pods, hash, &plan);
    rc = keep_revision(c, ds, hash, &err);
    if (rc == 0 ||
        rc ==
            -ENOENT) { /* history is a convenience: a server without the kind still runs daemons */
        error_clear(&err);
        rc = apply(c, ds, &plan, hash, &err);
    }
    if (rc == 0)
        rc = trim_history(c, ds, pods, hash, &err);
    if (rc == 0)
        rc = write_status(c, ds, &plan, &err);
    if (plan.wait_s)
        queue_add_after(&c->queue, key, plan.wait_s * 1000);
    daemon_plan_fini(&plan);
    return settle(c, key, rc, &err);
}

const struct controller_def daemonset_controller = {
    .name = "daemonset",
    .watches = {{"daemonsets.apps", enqueue_self}, {"pods", on_pod}, {"nodes", on_node}},
    .reconcile = reconcile,
};
