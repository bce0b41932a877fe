/* What a DaemonSet wants on each node. Pure. */
#pragma once
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
enum { DAEMON_RUN = 1u << 0, DAEMON_CONTINUE = 1u << 1 }; /* should be created; may stay */
unsigned daemon_should_run(const json_t *ds, const json_t *node);
/* The pod for a node, ready to be created. hash: controller-revision-hash. */
json_t *daemon_pod(const json_t *ds, const char *node, const char *hash);
/* Node a daemon pod is for: spec.nodeName or its metadata.name affinity; "" when neither. */
const char *daemon_pod_node(const json_t *pod);
struct daemon_plan {
    json_t *create; /* array of node names */
    json_t *remove; /* array of pods (references) */
    int64_t wait_s; /* look again after so many seconds; 0: no need */
    json_t *status; /* numbers of the new status */
};
/* nodes, pods: arrays. Deletes and creates at most what the update strategy allows now. */
void daemon_plan(const json_t *ds, const json_t *nodes, const json_t *pods, const char *hash,
                 struct daemon_plan *ret);
void daemon_plan_fini(struct daemon_plan *p);
