/* Which pods a ReplicaSet makes and which go. Pure. */
#pragma once
#include <jansson.h>
#include <stdint.h>
/* pods: those of the set. Positive: so many to create; negative: so many of *ret_victims (new
 * array, best victims first) go. */
int64_t replica_plan(const json_t *rs, const json_t *pods, json_t **ret_victims);
json_t *replica_status(const json_t *rs, const json_t *pods, int64_t *ret_wait_s);
