#include "server/scheduler/snapshot.h"
#include "base/mem.h"
#include "base/quantity.h"
#include "server/controllers/meta.h"
#include <inttypes.h>

#define SCORE_CPU_DEFAULT 100 /* milli */
#define SCORE_MEMORY_DEFAULT (200LL << 20)

void sched_resources_fini(struct sched_resources *r)
{
    if (r->other.cap)
        map_fini(&r->other, free);
}

static int64_t *other_need(struct sched_resources *r, const char *name)
{
    int64_t *v = map_get(&r->other, name);

    if (!v) {
        v = xcalloc(1, sizeof(*v));
        map_set(&r->other, name, v);
    }
    return v;
}

/* Where the value of a resource is kept. */
static int64_t *resource_slot(struct sched_resources *r, const char *name)
{
    if (streq(name, "cpu"))
        return &r->cpu_milli;
    if (streq(name, "memory"))
        return &r->memory;
    if (streq(name, "ephemeral-storage"))
        return &r->ephemeral;
    if (streq(name, "pods"))
        return &r->pods;
    return other_need(r, name);
}

static int64_t resource_value(const char *name, const json_t *v)
{
    const char *z = json_string_value(v);

    if (json_is_integer(v))
        return json_integer_value(v) * (streq(name, "cpu") ? 1000 : 1);
    return streq(name, "cpu") ? quantity_milli_or(z, 0) : quantity_value_or(z, 0);
}

enum combine { COMBINE_ADD, COMBINE_MAX };
static void combine_list(struct sched_resources *r, const json_t *list, enum combine how)
{
    const char *key;
    json_t *v;

    json_object_foreach((json_t *)list, key, v)
    {
        int64_t n = resource_value(key, v), *slot = resource_slot(r, key);

        if (how == COMBINE_ADD)
            *slot += n;
        else if (*slot < n)
            *slot = n;
    }
}

static void combine(struct sched_resources *r, struct sched_resources *with, int64_t sign,
                    enum combine how)
{
    struct map_entry *e;
    size_t it = 0;
    int64_t *const to[] = {&r->cpu_milli, &r->memory, &r->ephemeral, &r->pods};
    const int64_t from[] = {with->cpu_milli, with->memory, with->ephemeral, with->pods};

    for (size_t i = 0; i < 4; i++) {
        if (how == COMBINE_ADD)
            *to[i] += sign * from[i];
        else if (*to[i] < from[i])
            *to[i] = from[i];
    }
    while ((e = map_next(&with->other, &it))) {
        int64_t *slot = other_need(r, e->key), n = *(int64_t *)e->value;

        if (how == COMBINE_ADD)
            *slot += sign * n;
        else if (*slot < n)
            *slot = n;
    }
}

/* Sum of containers, or the most any init container needs beside the sidecars started before it. */
static void pod_requests(const json_t *spec, struct sched_resources *ret)
{
    struct sched_resources side = {0}, init = {0};
    const json_t *c;

    json_each(json_object_get(spec, "containers"), i, c)
        combine_list(ret, json_at(c, "resources", "requests", NULL), COMBINE_ADD);
    json_each(json_object_get(spec, "initContainers"), k, c)
    {
        const json_t *requests = json_at(c, "resources", "requests", NULL);
        struct sched_resources now = {0};

        if (streq(json_text_at(c, "restartPolicy", NULL), "Always")) {
            combine_list(ret, requests, COMBINE_ADD);
            combine_list(&side, requests, COMBINE_ADD);
            combine(&init, &side, 1, COMBINE_MAX);
            continue;
        }
        combine(&now, &side, 1, COMBINE_ADD);
        combine_list(&now, requests, COMBINE_ADD);
        combine(&init, &now, 1, COMBINE_MAX);
        sched_resources_fini(&now);
    }
    combine(ret, &init, 1, COMBINE_MAX);
    combine_list(ret, json_object_get(spec, "overhead"), COMBINE_ADD);
    ret->pods = 1;
    sched_resources_fini(&side);
    sched_resources_fini(&init);
}

static json_t *pod_ports(const json_t *spec)
{
    json_t *out = NULL;
    const json_t *c, *p;

    json_each(json_object_get(spec, "containers"), i, c)
    {
        json_each(json_object_get(c, "ports"), k, p)
        {
            int64_t port = json_int_or(p, "hostPort", 0);

            if (port <= 0)
                continue;
            if (!out)
                out = json_array();
            json_array_append_new(out, json_pack("[s,s,I]", json_text_or(p, "protocol", "TCP"),
                                                 json_text_or(p, "hostIP", "0.0.0.0"),
                                                 (json_int_t)port));
        }
    }
    return out;
}

struct sched_pod *sched_pod_new(const json_t *pod)
{
    struct sched_pod *p = xcalloc(1, sizeof(*p));
    const json_t *spec = json_object_get(pod, "spec");

    p->key = meta_key(pod);
    p->ns = xstrdup(meta_namespace(pod));
    p->node = xstrdup(json_text_or(spec, "nodeName", ""));
    p->labels = json_incref(json_at(pod, "metadata", "labels", NULL));
    p->anti = json_incref(json_at(spec, "affinity", "podAntiAffinity",
                                  "requiredDuringSchedulingIgnoredDuringExecution", NULL));
    p->ports = pod_ports(spec);
    p->finished = pod_finished(pod);
    p->deleting = meta_deleting(pod);
    pod_requests(spec, &p->req);
    p->score_cpu = p->req.cpu_milli ? p->req.cpu_milli : SCORE_CPU_DEFAULT;
    p->score_memory = p->req.memory ? p->req.memory : SCORE_MEMORY_DEFAULT;
    return p;
}

void sched_pod_free(struct sched_pod *p)
{
    if (!p)
        return;
    free(p->key);
    free(p->ns);
    free(p->node);
    json_decref(p->labels);
    json_decref(p->ports);
    json_decref(p->anti);
    sched_resources_fini(&p->req);
    free(p);
}

static void node_free(void *v)
{
    struct sched_node *n = v;

    free(n->name);
    json_decref(n->object);
    sched_resources_fini(&n->alloc);
    sched_resources_fini(&n->used);
    map_fini(&n->pods, NULL);
    free(n);
}

static void pod_free(void *v)
{
    sched_pod_free(v);
}

void snapshot_init(struct snapshot *s)
{
    map_init(&s->nodes);
    map_init(&s->pods);
}

void snapshot_fini(struct snapshot *s)
{
    map_fini(&s->nodes, node_free);
    map_fini(&s->pods, pod_free);
}

static struct sched_node *node_need(struct snapshot *s, const char *name)
{
    struct sched_node *n = map_get(&s->nodes, name);

    if (!n) {
        n = xcalloc(1, sizeof(*n));
        n->name = xstrdup(name);
        map_init(&n->pods);
        map_set(&s->nodes, name, n);
    }
    return n;
}

/* Labels, taints and the unschedulable mark; statuses and images would only cost memory. */
static json_t *node_projection(const json_t *node)
{
    const json_t *spec = json_object_get(node, "spec");

    return json_pack("{s:{s:s,s:O?},s:{s:b,s:O?}}", "metadata", "name", meta_name(node), "labels",
                     json_at(node, "metadata", "labels", NULL), "spec", "unschedulable",
                     json_bool_or(spec, "unschedulable", false), "taints",
                     json_object_get(spec, "taints"));
}

void snapshot_set_node(struct snapshot *s, const json_t *node)
{
    struct sched_node *n = node_need(s, meta_name(node));

    json_decref(n->object);
    n->object = node_projection(node);
    n->seen = true;
    sched_resources_fini(&n->alloc);
    n->alloc = (struct sched_resources){0};
    combine_list(&n->alloc, json_at(node, "status", "allocatable", NULL), COMBINE_ADD);
}

void snapshot_remove_node(struct snapshot *s, const char *name)
{
    struct sched_node *n = map_get(&s->nodes, name);

    if (!n)
        return;
    n->seen = false;
    if (n->pods.n == 0)
        node_free(map_remove(&s->nodes, name));
}

void snapshot_remove_pod(struct snapshot *s, const char *key)
{
    struct sched_pod *p = map_remove(&s->pods, key);
    struct sched_node *n;

    if (!p)
        return;
    n = node_need(s, p->node);
    (void)map_remove(&n->pods, key);
    combine(&n->used, &p->req, -1, COMBINE_ADD);
    n->score_cpu -= p->score_cpu;
    n->score_memory -= p->score_memory;
    if (!n->seen && n->pods.n == 0)
        node_free(map_remove(&s->nodes, n->name));
    sched_pod_free(p);
}

void snapshot_set_pod(struct snapshot *s, const json_t *pod, const char *node)
{
    struct sched_pod *p = sched_pod_new(pod);
    struct sched_node *n;

    if (node)
        str_replace(&p->node, node);
    snapshot_remove_pod(s, p->key);
    if (!*p->node || p->finished) {
        sched_pod_free(p);
        return;
    }
    n = node_need(s, p->node);
    combine(&n->used, &p->req, 1, COMBINE_ADD);
    n->score_cpu += p->score_cpu;
    n->score_memory += p->score_memory;
    map_set(&n->pods, p->key, p);
    map_set(&s->pods, p->key, p);
}

size_t snapshot_node_count(const struct snapshot *s)
{
    struct map_entry *e;
    size_t it = 0, n = 0;

    while ((e = map_next(&s->nodes, &it)))
        n += ((struct sched_node *)e->value)->seen;
    return n;
}
