/* runtime.v1.RuntimeService: requests become operations of containers and sandboxes; no state of
 * its own. */
#pragma once
#include "cri.pb-c.h"
#include "engine/container/container.h"
#include "engine/sandbox/sandbox.h"

void cri_runtime_register(struct engine *e);
/* For exec, attach and port-forward sessions. */
extern const struct streaming_ops cri_streaming_ops;
/* Ends streams to those who watch events. */
void cri_events_close(struct engine *e);
