/* The node's heartbeat: a Lease in kube-node-lease, 40 s long, renewed every 10 s with jitter. */
#pragma once
#include "api/client.h"
struct lease;
/* node_uid may be NULL when not known yet; it becomes the Lease's owner. */
struct lease *lease_start(struct kube_client *c, const char *node_name, const char *node_uid);
void lease_stop(struct lease *l); /* NULL accepted */
