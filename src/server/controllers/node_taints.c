#include "server/controllers/node_taints.h"
#include "server/controllers/meta.h"
#include "server/controllers/selector.h"

static const struct {
    const char *condition, *status, *key, *effect;
} rows[] = {
    {"Ready", "False", "node.kubernetes.io/not-ready", "NoSchedule"},
    {"Ready", "Unknown", "node.kubernetes.io/unreachable", "NoSchedule"},
    {"MemoryPressure", "True", "node.kubernetes.io/memory-pressure", "NoSchedule"},
    {"DiskPressure", "True", "node.kubernetes.io/disk-pressure", "NoSchedule"},
    {"PIDPressure", "True", "node.kubernetes.io/pid-pressure", "NoSchedule"},
    {"NetworkUnavailable", "True", "node.kubernetes.io/network-unavailable", "NoSchedule"},
    {"Ready", "False", "node.kubernetes.io/not-ready", "NoExecute"},
    {"Ready", "Unknown", "node.kubernetes.io/unreachable", "NoExecute"},
};
#define ROWS (sizeof(rows) / sizeof(rows[0]))

static bool is_row(const json_t *taint, size_t i)
{
    return streq(json_text_or(taint, "key", ""), rows[i].key) &&
           streq(json_text_or(taint, "effect", ""), rows[i].effect);
}

static bool managed(const json_t *taint)
{
    for (size_t i = 0; i < ROWS; i++)
        if (is_row(taint, i))
            return true;
    return streq(json_text_or(taint, "key", ""), "node.kubernetes.io/unschedulable") &&
           streq(json_text_or(taint, "effect", ""), "NoSchedule");
}

static json_t *found(const json_t *taints, const char *key, const char *effect)
{
    json_t *t;

    json_each(taints, i, t) if (streq(json_text_or(t, "key", ""), key) &&
                                streq(json_text_or(t, "effect", ""), effect)) return t;
    return NULL;
}

static void want(json_t *out, const json_t *have, const char *key, const char *effect)
{
    json_t *old = found(have, key, effect);

    if (old)
        json_array_append(out, old);
    else
        json_array_append_new(
            out, json_pack("{s:s,s:s,s:o}", "effect", effect, "key", key, "timeAdded", json_now()));
}

json_t *node_taints_wanted(const json_t *node)
{
    const json_t *have = json_at(node, "spec", "taints", NULL),
                 *conditions = json_at(node, "status", "conditions", NULL);
    json_t *out = json_array(), *t;

    json_each(have, i, t) if (!managed(t)) json_array_append(out, t);
    for (size_t k = 0; k < ROWS; k++)
        if (condition_is(conditions, rows[k].condition, rows[k].status))
            want(out, have, rows[k].key, rows[k].effect);
    /* not heard of yet: the taint it was born with stays */
    if (!condition_get(conditions, "Ready") && found(have, rows[0].key, rows[0].effect))
        want(out, have, rows[0].key, rows[0].effect);
    if (json_bool_or(json_object_get(node, "spec"), "unschedulable", false))
        want(out, have, "node.kubernetes.io/unschedulable", "NoSchedule");
    return out;
}

int64_t pod_eviction_in(const json_t *pod, const json_t *node, int64_t now_s)
{
    const json_t *tolerations = json_at(pod, "spec", "tolerations", NULL), *taint, *t;
    int64_t least = -1;

    json_each(json_at(node, "spec", "taints", NULL), i, taint)
    {
        int64_t since = json_wall(json_object_get(taint, "timeAdded")).ns / NSEC_PER_SEC, bear = -2;

        if (!streq(json_text_or(taint, "effect", ""), "NoExecute"))
            continue;
        json_each(tolerations, k, t)
        {
            const json_t *seconds = json_object_get(t, "tolerationSeconds");

            if (!toleration_tolerates(t, taint))
                continue;
            if (!json_is_integer(seconds))
                bear = bear == -2 ? -1 : bear;
            else if (bear < 0 || json_integer_value(seconds) < bear)
                bear = json_integer_value(seconds) < 0 ? 0 : json_integer_value(seconds);
        }
        if (bear == -1)
            continue;
        if (bear == -2)
            return 0;
        bear = (since ? since : now_s) + bear - now_s;
        if (bear <= 0)
            return 0;
        if (least < 0 || bear < least)
            least = bear;
    }
    return least;
}
