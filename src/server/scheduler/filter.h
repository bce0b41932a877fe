/* May this pod run on this node? Pure. */
#pragma once
#include "server/scheduler/snapshot.h"
#include "base/buf.h"
/* Collected reasons, each with the number of nodes that gave it. */
struct reasons {
    struct map count; /* text -> size_t * */
};
void reasons_init(struct reasons *r);
void reasons_fini(struct reasons *r);
void reasons_add(struct reasons *r, const char *text);
/* "0/3 nodes are available: 1 Insufficient cpu, 2 Too many pods." */
char *reasons_message(const struct reasons *r, size_t nodes);

struct placement { /* a pod that looks for a node */
    const json_t *pod;
    const json_t *spec;
    const struct sched_pod *facts;
};
/* True when it fits; else the reasons are added (several for resources). */
bool node_fits(const struct snapshot *s, const struct sched_node *n, const struct placement *p,
               struct reasons *r);
/* affinity.c: pod affinity, anti-affinity and topology spread with DoNotSchedule. */
bool affinity_fits(const struct snapshot *s, const struct sched_node *n, const struct placement *p,
                   struct reasons *r);
/* How well soft pod affinity and spread are served on this node; more is better. */
int64_t affinity_score(const struct snapshot *s, const struct sched_node *n,
                       const struct placement *p);
/* score.c: 0..100 and more; the higher the better. */
int64_t node_score(const struct snapshot *s, const struct sched_node *n, const struct placement *p);
/* The best node's name (borrowed from s), or NULL with *ret_message owned. */
const char *pick_node(const struct snapshot *s, const json_t *pod, char **ret_message);
