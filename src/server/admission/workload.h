/* DaemonSets, Deployments, ReplicaSets: defaults and validation. Pure. */
#pragma once
#include "server/admission/invalid.h"
void workload_default(const char *resource, json_t *object, const json_t *old);
void workload_validate(struct invalid *v, const char *resource, const json_t *object,
                       const json_t *old);
bool workload_is(const char *resource);
