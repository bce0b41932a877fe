/* DaemonSets, Deployments, ReplicaSets: defaults and validation. Pure. */
#pragma once
#include "server/admission/invalid.h"
void workload_default(const char *resource, json_t *object, const json_t *old);
void workload_validate(struct invalid *v, const char *resource, const json_t *object, const json_t *old);
bool workload_is(const char *resource);
/* IntOrString: a number, or a per cent of total rounded up or down; negative when malformed. */
int64_t int_or_percent(const json_t *v, int64_t total, bool up, int64_t fallback);
