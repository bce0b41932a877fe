#include "server/scheduler/scheduler.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "base/mem.h"
#include "server/controllers/controller.h"
#include "server/scheduler/filter.h"
#include <errno.h>

#define COMPONENT "default-scheduler"

struct scheduler {
    struct env *env;
    struct snapshot snapshot;
    struct map waiting; /* pods that fit nowhere: key -> NULL-free marker; retried when something
                           changes */
    struct queue queue;
};

static enum queue_verdict schedule(struct queue *q, const char *key, void *arg);

struct scheduler *scheduler_new(struct env *env)
{
    struct scheduler *s = xcalloc(1, sizeof(*s));

    s->env = env;
    snapshot_init(&s->snapshot);
    map_init(&s->waiting);
    queue_init(&s->queue, env->loop, schedule, s);
    return s;
}

void scheduler_free(struct scheduler *s)
{
    if (!s)
        return;
    queue_fini(&s->queue);
    map_fini(&s->waiting, NULL);
    snapshot_fini(&s->snapshot);
    free(s);
}

/* Something moved that may make room. */
static void retry_waiting(struct scheduler *s)
{
    struct map_entry *e;
    size_t it = 0;

    while ((e = map_next(&s->waiting, &it)))
        queue_add(&s->queue, e->key);
}

static bool ours(const json_t *pod)
{
    const char *name = json_text_at(pod, "spec", "schedulerName", NULL),
               *node = json_text_at(pod, "spec", "nodeName", NULL);

    return (!node || !*node) && !pod_finished(pod) && !meta_deleting(pod) &&
           streq(name ? name : COMPONENT, COMPONENT) &&
           json_array_size(json_at(pod, "spec", "schedulingGates", NULL)) == 0;
}

static void pod_change(struct scheduler *s, enum cluster_change what, const json_t *pod)
{
    char *key = meta_key(pod);
    bool held = map_has(&s->snapshot.pods, key),
         assigned = *strna(json_text_at(pod, "spec", "nodeName", NULL));

    if (what == CLUSTER_DELETED) {
        snapshot_remove_pod(&s->snapshot, key);
        (void)map_remove(&s->waiting, key);
    } else if (assigned) {
        snapshot_set_pod(&s->snapshot, pod, NULL);
        (void)map_remove(&s->waiting, key);
    } else if (ours(pod)) {
        queue_add(&s->queue, key);
    }
    /* room appears when a pod is gone or finished; affinity may be met by a new one */
    if (held != map_has(&s->snapshot.pods, key))
        retry_waiting(s);
    free(key);
}

static bool node_differs(const struct sched_node *n, const json_t *node)
{
    json_t *labels = json_at(node, "metadata", "labels", NULL),
           *taints = json_at(node, "spec", "taints", NULL);
    struct snapshot other;
    struct sched_node *fresh;
    bool differs;

    if (!n || !n->seen || !json_equal(json_at(n->object, "metadata", "labels", NULL), labels) ||
        !json_equal(json_at(n->object, "spec", "taints", NULL), taints) ||
        json_bool_or(json_object_get(n->object, "spec"), "unschedulable", false) !=
            json_bool_or(json_object_get(node, "spec"), "unschedulable", false))
        return true;
    snapshot_init(&other);
    snapshot_set_node(&other, node);
    fresh = map_get(&other.nodes, meta_name(node));
    differs = fresh->alloc.cpu_milli != n->alloc.cpu_milli ||
              fresh->alloc.memory != n->alloc.memory || fresh->alloc.pods != n->alloc.pods ||
              fresh->alloc.ephemeral != n->alloc.ephemeral ||
              fresh->alloc.other.n != n->alloc.other.n;
    snapshot_fini(&other);
    return differs;
}

void scheduler_change(struct scheduler *s, const char *resource, enum cluster_change what,
                      const json_t *object)
{
    if (streq(resource, "pods")) {
        pod_change(s, what, object);
    } else if (streq(resource, "nodes") && what == CLUSTER_DELETED) {
        snapshot_remove_node(&s->snapshot, meta_name(object));
    } else if (streq(resource, "nodes") &&
               node_differs(map_get(&s->snapshot.nodes, meta_name(object)), object)) {
        snapshot_set_node(&s->snapshot, object);
        retry_waiting(s);
    }
}

static void refuse(struct scheduler *s, const char *key, const json_t *pod, const char *message)
{
    cleanup_json json_t *o = json_deep_copy(pod);

    (void)map_set(&s->waiting, key, s);
    if (!condition_set(json_array_need(json_object_need(o, "status"), "conditions"), "PodScheduled",
                       "False", "Unschedulable", message))
        return;
    (void)cluster_update(s->env->cluster, "pods", "status", o, NULL);
    event_write(s->env, pod, "v1", "Pod", COMPONENT, "Warning", "FailedScheduling", message);
}

static enum queue_verdict bind(struct scheduler *s, const char *key, const json_t *pod,
                               const char *node)
{
    cleanup_json json_t *o =
        json_pack("{s:s,s:s,s:{s:s,s:s,s:s},s:{s:s,s:s,s:s}}", "apiVersion", "v1", "kind",
                  "Binding", "metadata", "name", meta_name(pod), "namespace", meta_namespace(pod),
                  "uid", meta_uid(pod), "target", "apiVersion", "v1", "kind", "Node", "name", node);
    cleanup_free char *name = xstrdup(node), *text = NULL;
    cleanup_error struct error *err = NULL;
    int rc = cluster_update(s->env->cluster, "pods", "binding", o, &err);

    if (rc == -ENOENT)
        return QUEUE_DONE;
    if (rc < 0) {
        log_warn("server", "pod not bound", "pod", key, "node", name, "error", error_message(err),
                 NULL);
        return QUEUE_RETRY;
    }
    snapshot_set_pod(&s->snapshot, pod, name);
    (void)map_remove(&s->waiting, key);
    text = xasprintf("Successfully assigned %s to %s", key, name);
    event_write(s->env, pod, "v1", "Pod", COMPONENT, "Normal", "Scheduled", text);
    return QUEUE_DONE;
}

static enum queue_verdict schedule(struct queue *q, const char *key, void *arg)
{
    struct scheduler *s = arg;
    cleanup_free char *ns = NULL, *name = NULL, *message = NULL;
    cleanup_json json_t *pod = NULL;
    const char *node;

    (void)q;
    key_split(key, &ns, &name);
    pod = cluster_get(s->env->cluster, "pods", ns, name);
    if (!pod || !ours(pod)) {
        (void)map_remove(&s->waiting, key);
        return QUEUE_DONE;
    }
    node = pick_node(&s->snapshot, pod, &message);
    if (node)
        return bind(s, key, pod, node);
    refuse(s, key, pod, message);
    return QUEUE_DONE;
}
