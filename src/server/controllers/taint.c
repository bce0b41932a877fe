#include "base/cleanup.h"
#include "base/mem.h"
#include "server/controllers/controller.h"
#include "server/controllers/node_taints.h"

/* Evicts pods from nodes with NoExecute taints they do not bear, or no longer. */
static bool has_no_execute(const json_t *node)
{
    const json_t *t;

    json_each(json_at(node, "spec", "taints", NULL), i,
              t) if (streq(json_text_or(t, "effect", ""), "NoExecute")) return true;
    return false;
}

static void on_node(struct controller *c, enum cluster_change what, const json_t *node)
{
    json_t *all;
    const json_t *p;

    if (what == CLUSTER_DELETED || !has_no_execute(node))
        return;
    all = cluster_list(c->env->cluster, "pods", NULL);
    json_each(all, i, p) if (streq(json_text_at(p, "spec", "nodeName", NULL), meta_name(node)))
        enqueue_self(c, what, p);
    json_decref(all);
}

static void on_pod(struct controller *c, enum cluster_change what, const json_t *pod)
{
    const char *node = strna(json_text_at(pod, "spec", "nodeName", NULL));
    cleanup_json json_t *have = NULL;

    if (what == CLUSTER_DELETED || !*node || meta_deleting(pod))
        return;
    have = cluster_get(c->env->cluster, "nodes", "", node);
    if (have && has_no_execute(have))
        enqueue_self(c, what, pod);
}

static enum queue_verdict reconcile(struct controller *c, const char *key)
{
    cleanup_free char *ns = NULL, *name = NULL, *text = NULL;
    cleanup_json json_t *pod = NULL, *node = NULL;
    struct cluster_delete opt = {.grace_s = -1};
    struct error *err = NULL;
    int64_t left;

    key_split(key, &ns, &name);
    pod = cluster_get(c->env->cluster, "pods", ns, name);
    if (!pod || meta_deleting(pod) || pod_finished(pod))
        return QUEUE_DONE;
    node = cluster_get(c->env->cluster, "nodes", "",
                       strna(json_text_at(pod, "spec", "nodeName", NULL)));
    left = node ? pod_eviction_in(pod, node, wall_now().ns / NSEC_PER_SEC) : -1;
    if (left < 0)
        return QUEUE_DONE;
    if (left > 0) {
        queue_add_after(&c->queue, key, left * 1000);
        return QUEUE_DONE;
    }
    text = xasprintf("Marking for deletion Pod %s", key);
    event_write(c->env, pod, "v1", "Pod", "taint-eviction-controller", "Normal",
                "TaintManagerEviction", text);
    opt.uid = meta_uid(pod);
    return settle(c, key, cluster_remove(c->env->cluster, "pods", ns, name, &opt, &err), &err);
}

const struct controller_def taint_controller = {
    .name = "taint-eviction",
    .watches = {{"nodes", on_node}, {"pods", on_pod}},
    .reconcile = reconcile,
};
