/* One probe: exec by the engine, HTTP GET, TCP connect, gRPC health check; without blocking, within
 * its timeout. */
#pragma once
#include "kubelet/pod.h"
struct probe_run;
/* Unknown: the engine could not be asked; says nothing about the container. */
enum probe_result { PROBE_GOOD, PROBE_BAD, PROBE_UNKNOWN };
/* Called once, not before probe_run returned, not after a cancel. text says why it failed;
 * borrowed. */
typedef void (*probe_done_fn)(enum probe_result result, const char *text, void *arg);
struct probe_run *probe_run(struct container *c, const char *container_id, const K8s__Probe *s,
                            probe_done_fn done, void *arg);
void probe_run_cancel(struct probe_run *x); /* NULL accepted */
