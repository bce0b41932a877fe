/* Values of the downward API: fieldRef and resourceFieldRef. */
#pragma once
#include "kubelet/pod.h"
/* Text into the arena. -EAGAIN: not known yet (pod IP before the sandbox); -EINVAL with err.
 * in_volume: whole label and annotation maps are allowed. sandbox_ip: what to answer for the pod's
 * address. */
int field_value(struct arena *a, struct pod *p, const char *path, bool in_volume,
                const char *sandbox_ip, char **ret, struct error **err);
/* container NULL: c itself. */
int resource_value(struct arena *a, struct pod *p, const struct container *c,
                   const K8s__ResourceFieldSelector *s, char **ret, struct error **err);
int64_t node_memory_bytes(void);
int64_t node_cpu_milli(void);
