/* One step of a Deployment's rollout over its ReplicaSets. Pure. */
#pragma once
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#define REVISION "deployment.kubernetes.io/revision"
/* The set made from today's template, or NULL. Borrowed. */
const json_t *deployment_new_set(const json_t *d, const json_t *sets);
int64_t set_revision(const json_t *rs);
int64_t max_revision(const json_t *sets);
/* The ReplicaSet to create for today's template. */
json_t *deployment_make_set(const json_t *d, const json_t *sets);
/* Sizes that differ from what they are: new object {set name: replicas}. old_pods: active pods of
 * old sets are still there (Recreate waits for them). */
json_t *deployment_scale(const json_t *d, const json_t *sets, bool old_pods);
/* Old sets that history does not keep: new array. */
json_t *deployment_excess(const json_t *d, const json_t *sets);
/* New status. */
json_t *deployment_status(const json_t *d, const json_t *sets, int64_t now_s);
/* Rolled out: all pods are new and available. */
bool deployment_complete(const json_t *d, const json_t *status);
