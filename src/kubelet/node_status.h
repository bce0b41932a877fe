/*
 * The Node object of this machine: registered once, then kept level. Facts are read from /proc, the
 * runtime's are pushed in by its owner. Patched when something changed and every five minutes
 * anyway. Also watches our own Node, for the pod CIDR, labels and taints others set.
 */
#pragma once
#include "api/client.h"
struct node_status;
struct node_taint {
    const char *key, *value, *effect;
};
struct node_status_config { /* strings are copied */
    const char *node_name;
    const char *node_ip;  /* NULL: the address of the default route's interface */
    const char *root_dir; /* "/var/lib/kubelet": its file system is the node's ephemeral storage */
    const char *const *labels; /* "key=value" */
    size_t n_labels;
    const struct node_taint *taints; /* register-with-taints */
    size_t n_taints;
    bool register_node;
    bool unschedulable;
    const char *provider_id; /* or NULL */
    int64_t max_pods;        /* 0: 110 */
    int kubelet_port;        /* 10250 */
    /* what allocatable is less by: "cpu" "100m" and so on, system and kube reserved summed by the
     * owner */
    const char *reserved_cpu, *reserved_memory, *reserved_storage;
    void (*on_registered)(void *arg); /* may be NULL */
    /* Our Node as the server has it, borrowed for the call; first after registration. May be NULL.
     */
    void (*on_node)(const K8s__Node *node, void *arg);
    void *arg;
};
struct node_runtime { /* what the engine says of itself; strings are copied */
    const char *name, *version;
    bool ready;
    const char *message; /* why not */
    bool network_ready;
    const char *network_message;
};
struct node_image {
    const char *const *names;
    size_t n_names;
    int64_t size_bytes;
};
struct node_pressure {
    bool memory, disk, pid;
};
struct node_status *node_status_start(struct kube_client *c, const struct node_status_config *cfg);
void node_status_stop(struct node_status *n); /* NULL accepted */
void node_status_set_runtime(struct node_status *n, const struct node_runtime *rt);
void node_status_set_images(struct node_status *n, const struct node_image *images, size_t count);
/* When nobody calls this, pressure is judged here by upstream's default thresholds. */
void node_status_set_pressure(struct node_status *n, struct node_pressure p);
/* Ready as last computed, and why not. */
bool node_status_ready(const struct node_status *n, const char **ret_why);
const char *node_status_ip(const struct node_status *n); /* "" when none was found */
/* Address this host is reached at by default: numeric text into out; -ENETUNREACH. */
#define NODE_IP_TEXT 46
int node_default_ip(char out[static NODE_IP_TEXT]);
