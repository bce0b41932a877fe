/* Usage of node, pods and containers as the kubelet publishes it, from CRI's statistics and /proc.
 * Pure: reply in, text out. */
#pragma once
#include "base/buf.h"
#include "cri.pb-c.h"
struct stats_input {
    const char *node_name, *root_dir;
    const Runtime__V1__ListPodSandboxStatsResponse *pods;
};
int stats_summary(const struct stats_input *in, struct buf *b);  /* /stats/summary */
int stats_cadvisor(const struct stats_input *in, struct buf *b); /* /metrics/cadvisor */
int stats_resource(const struct stats_input *in, struct buf *b); /* /metrics/resource */
