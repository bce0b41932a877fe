#include "base/cleanup.h"
#include "server/controllers/controller.h"
#include "server/controllers/pod_template.h"

#define QUARANTINE_MS (40 * 1000) /* a Node object may come back */

static void on_node(struct controller *c, enum cluster_change what, const json_t *node)
{
    json_t *all;
    const json_t *p;

    if (what != CLUSTER_DELETED)
        return;
    all = cluster_list(c->env->cluster, "pods", NULL);
    json_each(all, i, p) if (streq(json_text_at(p, "spec", "nodeName", NULL), meta_name(node)))
    {
        char *key = meta_key(p);

        queue_add_after(&c->queue, key, QUARANTINE_MS);
        free(key);
    }
    json_decref(all);
}

static void on_pod(struct controller *c, enum cluster_change what, const json_t *pod)
{
    const char *node = strna(json_text_at(pod, "spec", "nodeName", NULL));
    cleanup_json json_t *have = NULL;
    char *key;

    if (what == CLUSTER_DELETED || (what == CLUSTER_MODIFIED && !meta_deleting(pod)))
        return;
    if (*node)
        have = cluster_get(c->env->cluster, "nodes", "", node);
    if (have || (!*node && !meta_deleting(pod)))
        return;
    key = meta_key(pod);
    queue_add_after(&c->queue, key, *node ? QUARANTINE_MS : 0);
    free(key);
}

static enum queue_verdict reconcile(struct controller *c, const char *key)
{
    cleanup_free char *ns = NULL, *name = NULL;
    cleanup_json json_t *pod = NULL, *node = NULL;
    struct cluster_delete opt = {.grace_s = 0};
    struct error *err = NULL;
    const char *on;

    key_split(key, &ns, &name);
    pod = cluster_get(c->env->cluster, "pods", ns, name);
    on = strna(json_text_at(pod, "spec", "nodeName", NULL));
    if (!pod || (!*on && !meta_deleting(pod)))
        return QUEUE_DONE;
    if (*on)
        node = cluster_get(c->env->cluster, "nodes", "", on);
    if (node)
        return QUEUE_DONE;
    opt.uid = meta_uid(pod);
    return settle(c, key, cluster_remove(c->env->cluster, "pods", ns, name, &opt, &err), &err);
}

const struct controller_def pod_gc_controller = {
    .name = "podgc",
    .watches = {{"pods", on_pod}, {"nodes", on_node}},
    .reconcile = reconcile,
};
