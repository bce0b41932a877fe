/*
 * Asks the engine by CRI who it is and whether it is ready (Version once a connection, Status every
 * 5 s), what images it has (every 5 minutes), and tells it the pod CIDR. Feeds node_status; needs
 * nothing else of the kubelet.
 */
#pragma once
#include "kubelet/node_status.h"
#include "net/grpc.h"
struct runtime_status;
/* on_ready (may be NULL) is called when runtime and network became ready, and when that ended. */
struct runtime_status *runtime_status_start(struct loop *l, struct grpc_client *cri,
                                            struct node_status *n,
                                            void (*on_ready)(bool ready, void *arg), void *arg);
void runtime_status_stop(struct runtime_status *r); /* NULL accepted */
/* From the Node object; sent with UpdateRuntimeConfig when it is new, again after the engine
 * restarted. */
void runtime_status_set_pod_cidr(struct runtime_status *r, const char *cidrs_comma_separated);
/* Asks now (an image was pulled, the engine came back). */
void runtime_status_refresh(struct runtime_status *r);
