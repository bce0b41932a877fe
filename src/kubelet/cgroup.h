/*
 * cgroups of pods, on version 1, version 2 and both side by side:
 *
 *   /kubepods                    all pods; the node's memory without what is reserved
 *   /kubepods/podUID             guaranteed
 *   /kubepods/burstable/podUID   the class has the shares of what its pods ask for
 *   /kubepods/besteffort/podUID
 *
 * The containers' own cgroups inside are the engine's.
 */
#pragma once
#include "kubelet/pod.h"

struct cgroup_limits { /* not positive: none */
    int64_t shares, quota_us, period_us, memory, pids;
};
/* What a pod gets as a whole. Pure. */
struct cgroup_limits cgroup_pod_limits(const K8s__PodSpec *s, const struct kubelet_config *cfg);

enum {
    CGROUP_CPU = 1u << 0,
    CGROUP_MEMORY = 1u << 1,
    CGROUP_PIDS = 1u << 2,
    CGROUP_CPUACCT = 1u << 3
};
struct cgroup_mount {
    char *path;
    unsigned controllers; /* version 1 only; 0: it has none of ours */
    bool v2;
};
struct cgroup_mounts {
    struct cgroup_mount *v;
    size_t n;
};
/* From the text of /proc/self/mountinfo. Pure. */
void cgroup_mounts_parse(struct str text, struct cgroup_mounts *ret);
void cgroup_mounts_fini(struct cgroup_mounts *m);
/* Makes one cgroup with all above it, and sets its limits. */
int cgroup_make(const struct cgroup_mounts *m, const char *cgroup, const struct cgroup_limits *l,
                struct error **err);
/* With everything inside; what still has processes stays (-EBUSY). */
int cgroup_dirs_remove(const struct cgroup_mounts *m, const char *cgroup, struct error **err);
