/* Security contexts of pod and container as CRI has them. */
#pragma once
#include "kubelet/pod.h"
Runtime__V1__LinuxSandboxSecurityContext *security_sandbox(struct arena *a, struct pod *p);
/* -EINVAL: runAsNonRoot forbids it. */
int security_container(struct arena *a, struct container *c,
                       Runtime__V1__LinuxContainerSecurityContext **ret, struct error **err);
