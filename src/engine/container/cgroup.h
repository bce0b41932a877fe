/* Where control groups are on this machine, and what they count. v1, hybrid and v2. */
#pragma once
#include "base/error.h"
#include <stdbool.h>
#include <stdint.h>

struct cgroups {
    bool unified;  /* v2 alone */
    bool hybrid;   /* v1 with a v2 tree beside it */
    bool has_swap; /* memory and swap can be limited together */
};
void cgroups_detect(struct cgroups *ret);
/* File of a group: controller is v1's name ("memory", "cpu", "cpuacct", "pids"); owned. */
char *cgroups_file(const struct cgroups *c, const char *controller, const char *group,
                   const char *file);
/* File that has an "oom_kill N" line; owned. */
char *cgroups_oom_file(const struct cgroups *c, const char *group);
/* Path below each hierarchy for a parent as CRI names it; owned. */
char *cgroups_path(const char *parent, const char *id);

struct cgroup_usage {
    uint64_t cpu_ns;
    uint64_t memory_bytes, memory_working_set_bytes, memory_rss_bytes,
        memory_limit_bytes; /* limit 0: none */
    uint64_t page_faults, major_page_faults;
    uint64_t swap_bytes, pids;
};
/* -ENOENT when the group does not exist. */
int cgroups_read(const struct cgroups *c, const char *group, struct cgroup_usage *ret);
/* Removes an empty group from every hierarchy; missing is fine. */
void cgroups_remove(const struct cgroups *c, const char *group);
