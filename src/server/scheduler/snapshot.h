/*
 * The scheduler's projection of the cluster: nodes with what is allocatable and used, and the pods
 * on them with the few facts other pods' placement depends on. Labels are references into the
 * objects.
 */
#pragma once
#include "base/map.h"
#include <jansson.h>

struct sched_resources {
    int64_t cpu_milli, memory, ephemeral, pods;
    struct map other; /* extended resources: name -> int64_t *; not used when other.cap == 0 */
};
struct sched_pod {
    char *key; /* ns/name */
    char *ns, *node;
    json_t *labels; /* may be NULL */
    json_t *ports;  /* [[protocol, ip, port]...] or NULL */
    json_t *anti;   /* required anti-affinity terms, or NULL */
    bool finished, deleting;
    struct sched_resources req;
    int64_t score_cpu, score_memory; /* requests with upstream's defaults for pods without any */
};
struct sched_node {
    char *name;
    json_t *object; /* metadata and spec of the Node, and what else the filters read */
    bool seen;      /* false: pods name it, the Node object is not there */
    struct sched_resources alloc, used;
    int64_t score_cpu, score_memory;
    struct map pods; /* key -> struct sched_pod * (borrowed) */
};
struct snapshot {
    struct map nodes; /* name -> struct sched_node * */
    struct map pods;  /* key -> struct sched_pod *, assigned ones only */
};
void snapshot_init(struct snapshot *s);
void snapshot_fini(struct snapshot *s);
void snapshot_set_node(struct snapshot *s, const json_t *node);
void snapshot_remove_node(struct snapshot *s, const char *name);
/* Takes note of an assigned pod (or forgets it when it is not assigned or finished). node overrides
 * spec.nodeName: the assumed node of a pod being bound. */
void snapshot_set_pod(struct snapshot *s, const json_t *pod, const char *node);
void snapshot_remove_pod(struct snapshot *s, const char *key);
size_t snapshot_node_count(const struct snapshot *s); /* nodes whose object is known */

/* what a pod asks for */
struct sched_pod *sched_pod_new(const json_t *pod);
void sched_pod_free(struct sched_pod *p);
void sched_resources_fini(struct sched_resources *r);
