/* What `reset` removes, one kind a function. Each is idempotent and touches only what is ours. */
#pragma once
#include "cli/layout.h"
#include <sys/types.h>
void sweep_freeze(pid_t supervisor);
void sweep_end(pid_t pid);
/* Monitors and containers that outlived the engine: by their cgroups and by our helper binaries. */
int sweep_processes(const struct layout *l, struct error **err);
/* Every mount below the data and run directories and the kubelet's root, deepest first. */
int sweep_mounts(const struct layout *l, struct error **err);
/* Bridge, veths, overlay device, nftables tables. */
int sweep_network(const struct layout *l, struct error **err);
int sweep_cgroups(const struct layout *l, struct error **err);
int sweep_files(const struct layout *l, struct error **err);
