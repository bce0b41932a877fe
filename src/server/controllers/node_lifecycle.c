#include "base/cleanup.h"
#include "base/log.h"
#include "base/mem.h"
#include "server/controllers/controller.h"
#include "server/controllers/node_taints.h"
#include <errno.h>

#define LEASES "leases.coordination.k8s.io"
#define LEASE_NS "kube-node-lease"
#define GRACE_MS (50 * 1000) /* upstream's node-monitor-grace-period */

/* When this process last saw a node's Lease or status renewed: clocks of nodes are not trusted. */
struct heartbeat {
    struct mono at;
    char renew[WALL_TEXT], status[WALL_TEXT]; /* the Lease's and the Ready condition's times */
};

static void begin(struct controller *c)
{
    c->env->nodes = xcalloc(1, sizeof(struct map));
}

static void end(struct controller *c)
{
    if (c->env->nodes)
        map_fini(c->env->nodes, free);
    free(c->env->nodes);
    c->env->nodes = NULL;
}

static struct heartbeat *beat_of(struct controller *c, const char *node)
{
    struct heartbeat *h = map_get(c->env->nodes, node);

    if (!h) {
        h = xcalloc(1, sizeof(*h));
        h->at = mono_now();
        map_set(c->env->nodes, node, h);
    }
    return h;
}

/* A renewal is only noted; true when the node was overdue and should be looked at. */
static bool heard(struct heartbeat *h, char *last, const char *now)
{
    bool overdue;

    if (!*now || !strncmp(last, now, WALL_TEXT - 1))
        return false;
    (void)snprintf(last, WALL_TEXT, "%s", now);
    overdue = mono_ms_since(h->at) > GRACE_MS;
    h->at = mono_now();
    return overdue;
}

static void on_lease(struct controller *c, enum cluster_change what, const json_t *lease)
{
    struct heartbeat *h;

    if (what == CLUSTER_DELETED || !streq(meta_namespace(lease), LEASE_NS))
        return;
    h = beat_of(c, meta_name(lease));
    if (heard(h, h->renew, strna(json_text_at(lease, "spec", "renewTime", NULL))))
        queue_add(&c->queue, meta_name(lease));
}

static void on_node(struct controller *c, enum cluster_change what, const json_t *node)
{
    const json_t *ready = condition_get(json_at(node, "status", "conditions", NULL), "Ready");
    struct heartbeat *h;

    if (what == CLUSTER_DELETED) {
        free(map_remove(c->env->nodes, meta_name(node)));
        return;
    }
    h = beat_of(c, meta_name(node));
    (void)heard(h, h->status, strna(json_text_at(ready, "lastHeartbeatTime", NULL)));
    queue_add(&c->queue, meta_name(node));
}

/* All conditions the kubelet reports become Unknown; true when any changed. */
static bool mark_unknown(json_t *node)
{
    static const char *const types[] = {"Ready", "MemoryPressure", "DiskPressure", "PIDPressure"};
    json_t *list = json_array_need(json_object_need(node, "status"), "conditions");
    bool changed = false;

    for (size_t i = 0; i < 4; i++) {
        bool reported = condition_get(list, types[i]) != NULL;

        if (condition_is(list, types[i], "Unknown"))
            continue;
        changed = condition_set(list, types[i], "Unknown",
                                reported ? "NodeStatusUnknown" : "NodeStatusNeverUpdated",
                                reported ? "Kubelet stopped posting node status."
                                         : "Kubelet never posted node status.") ||
                  changed;
    }
    return changed;
}

static bool pod_unready(json_t *pod)
{
    json_t *list = json_at(pod, "status", "conditions", NULL);

    return list && condition_is(list, "Ready", "True") &&
           condition_set(list, "Ready", "False", "NodeNotReady", "Node is not ready");
}

/* Pods of a node nobody hears of must not be sent traffic. */
static void pods_not_ready(struct controller *c, const json_t *node)
{
    cleanup_json json_t *all = cluster_list(c->env->cluster, "pods", NULL);
    const json_t *p;

    json_each(all, i, p)
    {
        cleanup_json json_t *whole = NULL, *o = NULL;

        if (!streq(json_text_at(p, "spec", "nodeName", NULL), meta_name(node)) || !pod_ready(p))
            continue;
        whole = cluster_get(c->env->cluster, "pods", meta_namespace(p), meta_name(p));
        o = json_deep_copy(whole);
        if (o && pod_unready(o))
            (void)cluster_update(c->env->cluster, "pods", "status", o, NULL);
    }
    event_write(c->env, node, "v1", "Node", "node-controller", "Normal", "NodeNotReady",
                "Node status is now: NodeNotReady");
}

static int apply_taints(struct controller *c, const json_t *node, struct error **err)
{
    cleanup_json json_t *taints = node_taints_wanted(node), *o = NULL;
    const json_t *have = json_at(node, "spec", "taints", NULL);

    if (json_equal(taints, have) || (json_array_size(taints) == 0 && json_array_size(have) == 0))
        return 0;
    o = json_deep_copy(node);
    if (json_array_size(taints) == 0)
        json_object_del(json_object_need(o, "spec"), "taints");
    else
        json_object_set(json_object_need(o, "spec"), "taints", taints);
    return cluster_update(c->env->cluster, "nodes", NULL, o, err);
}

static enum queue_verdict reconcile(struct controller *c, const char *key)
{
    cleanup_json json_t *node = cluster_get(c->env->cluster, "nodes", "", key), *o = NULL;
    struct error *err = NULL;
    struct heartbeat *h;
    int64_t left;

    if (!node)
        return QUEUE_DONE;
    h = beat_of(c, key);
    left = GRACE_MS - mono_ms_since(h->at);
    if (left > 0) {
        queue_add_after(&c->queue, key, left + 1);
        return settle(c, key, apply_taints(c, node, &err), &err);
    }
    o = json_deep_copy(node);
    if (mark_unknown(o)) {
        int rc = cluster_update(c->env->cluster, "nodes", "status", o, &err);

        if (rc < 0)
            return settle(c, key, rc, &err);
        log_warn("server", "node stopped posting status", "node", key, NULL);
        pods_not_ready(c, node);
        return QUEUE_DONE; /* the change brings us back for the taints */
    }
    return settle(c, key, apply_taints(c, node, &err), &err);
}

const struct controller_def node_lifecycle_controller = {
    .name = "nodelifecycle",
    .watches = {{"nodes", on_node}, {LEASES, on_lease}},
    .reconcile = reconcile,
    .begin = begin,
    .end = end,
};
