/* Taints that follow from a node's conditions, and how long a pod bears NoExecute taints. Pure. */
#pragma once
#include <jansson.h>
#include <stdint.h>
/* New array: the node's own taints and those its conditions ask for. */
json_t *node_taints_wanted(const json_t *node);
/* Seconds until the pod must go: -1 never, 0 now. now_s against taints' timeAdded. */
int64_t pod_eviction_in(const json_t *pod, const json_t *node, int64_t now_s);
