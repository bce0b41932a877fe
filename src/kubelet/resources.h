/* Requests and limits of a pod as numbers: QoS class, shares, quota, OOM score. Pure. */
#pragma once
#include "kubelet/pod.h"
enum qos { QOS_GUARANTEED, QOS_BURSTABLE, QOS_BEST_EFFORT };
enum qos pod_qos(const K8s__PodSpec *s);
const char *qos_name(enum qos q); /* "Guaranteed" */
struct amounts {                  /* negative: not given */
    int64_t cpu_milli, memory;
};
struct amounts container_requests(const K8s__Container *c); /* falls back to limits */
struct amounts container_limits(const K8s__Container *c);
/* What the pod takes as a whole: main and sidecars summed, or the largest init stage. limits: any
 * container without one makes it unlimited (negative). */
struct amounts pod_requests(const K8s__PodSpec *s);
struct amounts pod_limits(const K8s__PodSpec *s);
int64_t cpu_shares(int64_t milli);                      /* at least 2 */
int64_t cpu_quota_us(int64_t milli, int64_t period_us); /* 0: none; at least 1000 */
int64_t cpu_weight(int64_t shares);                     /* cgroup v2 */
int64_t oom_score_adjust(const K8s__PodSpec *s, const K8s__Container *c, bool is_static,
                         int64_t node_memory);
/* Value of a resourceFieldRef ("limits.cpu"), divided and rounded up. -EINVAL unknown. */
int resource_field(const K8s__Container *c, const char *resource, const char *divisor,
                   int64_t node_cpu_milli, int64_t node_memory, int64_t *ret);
