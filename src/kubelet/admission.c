/* May this pod run here? Resources of those that do, and the number of pods. */
#include "base/mem.h"
#include "base/quantity.h"
#include "kubelet/field.h"
#include "kubelet/pod.h"
#include "kubelet/resources.h"

struct used {
    int64_t cpu, memory, pods;
};

static struct used used_by_others(struct pod *p)
{
    struct used u = {0};
    struct map_entry *e;
    size_t it = 0;

    while ((e = map_next(&p->k->pods, &it))) {
        struct pod *o = e->value;
        struct amounts q;

        if (o == p || !o->api || !o->admitted || o->terminal)
            continue;
        q = pod_requests(o->api->spec);
        u.cpu += q.cpu_milli;
        u.memory += q.memory;
        u.pods++;
    }
    return u;
}

static bool refuse(struct pod *p, const char *what, int64_t requested, int64_t used,
                   int64_t capacity)
{
    cleanup_free char *reason = xasprintf("OutOf%s", what);
    cleanup_free char *message = xasprintf(
        "Node didn't have enough resource: %s, requested: %lld, used: %lld, capacity: %lld", what,
        (long long)requested, (long long)used, (long long)capacity);

    pod_event(p, NULL, "Warning", reason, "%s", message);
    pod_fail(p, reason, message);
    return false;
}

bool pod_admission_check(struct pod *p)
{
    const struct kubelet_config *cfg = p->k->cfg;
    struct used u = used_by_others(p);
    struct amounts q = pod_requests(p->api->spec);
    int64_t cpu = node_cpu_milli() - quantity_milli_or(cfg->reserved_cpu, 0);
    int64_t memory = node_memory_bytes() - quantity_value_or(cfg->reserved_memory, 0);
    int64_t pods = cfg->max_pods;

    if (p->obs.n_sandboxes || pod_is_static(p))
        return true; /* runs already, or is to run whatever else does */
    if (cfg->pods_per_core > 0 && cfg->pods_per_core * node_cpu_milli() / 1000 < pods)
        pods = cfg->pods_per_core * node_cpu_milli() / 1000;
    if (u.pods + 1 > pods)
        return refuse(p, "pods", 1, u.pods, pods);
    if (q.cpu_milli > 0 && u.cpu + q.cpu_milli > cpu)
        return refuse(p, "cpu", q.cpu_milli, u.cpu, cpu);
    if (q.memory > 0 && u.memory + q.memory > memory)
        return refuse(p, "memory", q.memory, u.memory, memory);
    return true;
}
