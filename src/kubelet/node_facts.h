/* What this machine is and has, read from the kernel's files; no state. */
#pragma once
#include "api/object.h"
struct node_facts {
    int64_t cpus;
    int64_t memory_bytes, memory_available_bytes, swap_bytes;
    int64_t storage_bytes, storage_available_bytes; /* of the kubelet's root */
    int64_t inodes, inodes_free;
    int64_t pids_max, pids_used;
};
void node_facts_read(struct node_facts *f, const char *root_dir);
/* machineID, kernel, os, architecture and so on; strings in the arena. */
K8s__NodeSystemInfo *node_system_info(struct arena *a);
/* Adds "hugepages-2Mi" and the like with the number of bytes set aside. */
void node_hugepages(struct arena *a, K8s__NodeStatus *s);
const char *node_architecture(void); /* Go's name: "amd64" */
