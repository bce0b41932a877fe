/*
 * The node half of the kubelet put together: credentials (TLS bootstrap, rotation), API client,
 * Node object, Lease, engine status, HTTP API with its certificate. The pod half (kubelet.c) starts
 * one and is told when there is a client to watch pods with. Without a kubeconfig there is no
 * client and only the HTTP API runs.
 */
#pragma once
#include "api/client.h"
#include "kubelet/kubelet.h"
#include "net/grpc.h"
struct node;
struct node_ops { /* only pods_json is required */
    /* The client can be used from now until node_stop. Called once. */
    void (*on_client)(struct kube_client *c, void *arg);
    void (*on_registered)(void *arg); /* the Node exists; each time it was registered */
    void (*on_node)(const K8s__Node *node, void *arg); /* borrowed for the call */
    void (*on_ready)(bool ready, void *arg);           /* engine and its network; changes only */
    void (*pods_json)(struct buf *b, void *arg);       /* a v1 PodList */
    void (*configz_json)(struct buf *b, void *arg);
    const char *(*unhealthy)(void *arg); /* NULL when well */
};
/* cfg, ops and cri are borrowed until node_stop. */
int node_start(struct loop *l, const struct kubelet_config *cfg, struct grpc_client *cri,
               const struct node_ops *ops, void *arg, struct node **ret, struct error **err);
void node_stop(struct node *n);                        /* NULL accepted */
struct kube_client *node_client(const struct node *n); /* NULL before on_client */
const char *node_name(const struct node *n);
const char *node_ip(const struct node *n);
const char *node_pod_cidr(const struct node *n); /* "" when not given yet */
/* Asks the engine now: an image was pulled or removed, its event stream broke. */
void node_engine_changed(struct node *n);
void node_set_pressure(struct node *n, bool memory, bool disk, bool pid);
/* --hostname-override, else the host's name in lower case; owned. */
char *node_name_of(const struct kubelet_config *cfg);
