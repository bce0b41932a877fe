#include "kubelet/resources.h"
#include "base/quantity.h"
#include <errno.h>

#define CRITICAL_PRIORITY 2000000000

static int64_t amount(K8s__QuantityPair *const *v, size_t n, const char *key, bool milli)
{
    const char *z = quantities_get(v, n, key);

    if (!z)
        return -1;
    return milli ? quantity_milli_or(z, -1) : quantity_value_or(z, -1);
}

struct amounts container_limits(const K8s__Container *c)
{
    struct amounts a = {-1, -1};

    if (c->resources) {
        a.cpu_milli = amount(c->resources->limits, c->resources->n_limits, "cpu", true);
        a.memory = amount(c->resources->limits, c->resources->n_limits, "memory", false);
    }
    return a;
}

struct amounts container_requests(const K8s__Container *c)
{
    struct amounts a = {-1, -1};
    struct amounts l = container_limits(c);

    if (c->resources) {
        a.cpu_milli = amount(c->resources->requests, c->resources->n_requests, "cpu", true);
        a.memory = amount(c->resources->requests, c->resources->n_requests, "memory", false);
    }
    if (a.cpu_milli < 0)
        a.cpu_milli = l.cpu_milli;
    if (a.memory < 0)
        a.memory = l.memory;
    return a;
}

static bool given(struct amounts r, struct amounts l)
{
    return r.cpu_milli > 0 || r.memory > 0 || l.cpu_milli > 0 || l.memory > 0;
}

static void qos_count(const K8s__Container *c, bool *any, bool *guaranteed)
{
    struct amounts r = container_requests(c), l = container_limits(c);

    if (given(r, l))
        *any = true;
    if (l.cpu_milli <= 0 || l.memory <= 0 || l.cpu_milli != r.cpu_milli || l.memory != r.memory)
        *guaranteed = false;
}

enum qos pod_qos(const K8s__PodSpec *s)
{
    bool any = false, guaranteed = true;

    for (size_t i = 0; i < s->n_initcontainers; i++)
        qos_count(s->initcontainers[i], &any, &guaranteed);
    for (size_t i = 0; i < s->n_containers; i++)
        qos_count(s->containers[i], &any, &guaranteed);
    return !any ? QOS_BEST_EFFORT : guaranteed ? QOS_GUARANTEED : QOS_BURSTABLE;
}

const char *qos_name(enum qos q)
{
    static const char *const names[] = {"Guaranteed", "Burstable", "BestEffort"};

    return names[q];
}

static int64_t zero_up(int64_t v)
{
    return v < 0 ? 0 : v;
}

static int64_t larger(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

struct amounts pod_requests(const K8s__PodSpec *s)
{
    struct amounts sum = {0, 0}, sidecars = {0, 0}, init = {0, 0};

    for (size_t i = 0; i < s->n_containers; i++) {
        struct amounts r = container_requests(s->containers[i]);

        sum.cpu_milli += zero_up(r.cpu_milli);
        sum.memory += zero_up(r.memory);
    }
    for (size_t i = 0; i < s->n_initcontainers; i++) {
        struct amounts r = container_requests(s->initcontainers[i]);
        struct amounts stage = {zero_up(r.cpu_milli) + sidecars.cpu_milli,
                                zero_up(r.memory) + sidecars.memory};

        if (streq(s->initcontainers[i]->restartpolicy, "Always"))
            sidecars = stage;
        init.cpu_milli = larger(init.cpu_milli, stage.cpu_milli);
        init.memory = larger(init.memory, stage.memory);
    }
    return (struct amounts){larger(sum.cpu_milli + sidecars.cpu_milli, init.cpu_milli),
                            larger(sum.memory + sidecars.memory, init.memory)};
}

static int64_t add_limit(int64_t sum, int64_t v)
{
    return sum < 0 || v <= 0 ? -1 : sum + v;
}

struct amounts pod_limits(const K8s__PodSpec *s)
{
    struct amounts sum = {0, 0}, init = {0, 0};

    for (size_t i = 0; i < s->n_containers; i++) {
        struct amounts l = container_limits(s->containers[i]);

        sum.cpu_milli = add_limit(sum.cpu_milli, l.cpu_milli);
        sum.memory = add_limit(sum.memory, l.memory);
    }
    for (size_t i = 0; i < s->n_initcontainers; i++) {
        struct amounts l = container_limits(s->initcontainers[i]);
        bool stays = streq(s->initcontainers[i]->restartpolicy, "Always");

        if (stays || l.cpu_milli <= 0)
            sum.cpu_milli = add_limit(sum.cpu_milli, l.cpu_milli);
        else
            init.cpu_milli = larger(init.cpu_milli, l.cpu_milli);
        if (stays || l.memory <= 0)
            sum.memory = add_limit(sum.memory, l.memory);
        else
            init.memory = larger(init.memory, l.memory);
    }
    if (sum.cpu_milli >= 0)
        sum.cpu_milli = larger(sum.cpu_milli, init.cpu_milli);
    if (sum.memory >= 0)
        sum.memory = larger(sum.memory, init.memory);
    return sum;
}

int64_t cpu_shares(int64_t milli)
{
    int64_t shares = milli <= 0 ? 2 : milli * 1024 / 1000;

    return shares < 2 ? 2 : shares > 262144 ? 262144 : shares;
}

int64_t cpu_quota_us(int64_t milli, int64_t period_us)
{
    int64_t quota;

    if (milli <= 0)
        return 0;
    quota = milli * period_us / 1000;
    return quota < 1000 ? 1000 : quota;
}

int64_t cpu_weight(int64_t shares)
{
    return 1 + (shares - 2) * 9999 / 262142;
}

int64_t oom_score_adjust(const K8s__PodSpec *s, const K8s__Container *c, bool is_static,
                         int64_t node_memory)
{
    int64_t request, adjust;

    if (is_static || s->priority >= CRITICAL_PRIORITY)
        return -997;
    switch (pod_qos(s)) {
    case QOS_GUARANTEED:
        return -997;
    case QOS_BEST_EFFORT:
        return 1000;
    case QOS_BURSTABLE:
        break;
    }
    request = zero_up(container_requests(c).memory);
    adjust = node_memory > 0 ? 1000 - 1000 * request / node_memory : 999;
    if (adjust < 3)
        return 3;
    return adjust >= 1000 ? 999 : adjust;
}

int resource_field(const K8s__Container *c, const char *resource, const char *divisor,
                   int64_t node_cpu_milli, int64_t node_memory, int64_t *ret)
{
    struct amounts l = container_limits(c), r = container_requests(c);
    int64_t value, div;

    if (streq(resource, "limits.cpu") || streq(resource, "requests.cpu")) {
        value = streq(resource, "limits.cpu") ? (l.cpu_milli > 0 ? l.cpu_milli : node_cpu_milli)
                                              : zero_up(r.cpu_milli);
        div = quantity_milli_or(divisor, 1000);
    } else if (streq(resource, "limits.memory") || streq(resource, "requests.memory")) {
        value = streq(resource, "limits.memory") ? (l.memory > 0 ? l.memory : node_memory)
                                                 : zero_up(r.memory);
        div = quantity_value_or(divisor, 1);
    } else if (streq(resource, "limits.ephemeral-storage") ||
               streq(resource, "requests.ephemeral-storage")) {
        value = 0;
        div = 1;
        if (c->resources) {
            bool limit = streq(resource, "limits.ephemeral-storage");
            value = amount(limit ? c->resources->limits : c->resources->requests,
                           limit ? c->resources->n_limits : c->resources->n_requests,
                           "ephemeral-storage", false);
        }
        value = zero_up(value);
        div = quantity_value_or(divisor, 1);
    } else {
        return -EINVAL;
    }
    if (div <= 0)
        div = streq(resource + strlen(resource) - 3, "cpu") ? 1000 : 1;
    *ret = (value + div - 1) / div;
    return 0;
}
