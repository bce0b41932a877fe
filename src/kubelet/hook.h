/* postStart and preStop handlers: exec by the engine, HTTP GET, sleep. */
#pragma once
#include "kubelet/pod.h"
struct hook;
/* failure NULL: it went well; borrowed. Called once, unless cancelled, never before hook_start
 * returned. */
typedef void (*hook_done_fn)(const char *failure, void *arg);
struct hook *hook_start(struct container *c, const char *container_id,
                        const K8s__LifecycleHandler *h, hook_done_fn done, void *arg);
void hook_cancel(struct hook *h); /* NULL accepted */
/* A port by number or by a container port's name; -1 unknown. */
int container_port(const struct container *c, const K8s__IntOrString *port);
