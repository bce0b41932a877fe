#include "server/controllers/daemonset_plan.h"
#include "server/controllers/meta.h"
#include "server/controllers/pod_template.h"
#include "server/controllers/selector.h"

#define HASH_LABEL "controller-revision-hash"

/* Taints that daemon pods tolerate, as upstream adds them. */
static const struct {
    const char *key, *effect;
    bool host_network_only;
} tolerated[] = {
    {"node.kubernetes.io/not-ready", "NoExecute", false},
    {"node.kubernetes.io/unreachable", "NoExecute", false},
    {"node.kubernetes.io/disk-pressure", "NoSchedule", false},
    {"node.kubernetes.io/memory-pressure", "NoSchedule", false},
    {"node.kubernetes.io/pid-pressure", "NoSchedule", false},
    {"node.kubernetes.io/unschedulable", "NoSchedule", false},
    {"node.kubernetes.io/network-unavailable", "NoSchedule", true},
};

static void add_tolerations(json_t *spec)
{
    json_t *list = json_array_need(spec, "tolerations");
    bool host = json_bool_or(spec, "hostNetwork", false);

    for (size_t i = 0; i < sizeof(tolerated) / sizeof(tolerated[0]); i++)
        if (host || !tolerated[i].host_network_only)
            json_array_append_new(list,
                                  json_pack("{s:s,s:s,s:s}", "key", tolerated[i].key, "operator",
                                            "Exists", "effect", tolerated[i].effect));
}

static json_t *name_term(const char *node)
{
    return json_pack("{s:[{s:s,s:s,s:[s]}]}", "matchFields", "key", "metadata.name", "operator",
                     "In", "values", node);
}

/* Pins the pod: each required term also names the node; matchFields of the template are replaced.
 */
static void pin(json_t *spec, const char *node)
{
    static const char key[] = "requiredDuringSchedulingIgnoredDuringExecution";
    json_t *affinity = json_object_need(json_object_need(spec, "affinity"), "nodeAffinity");
    json_t *required = json_object_get(affinity, key), *terms, *t;

    if (!json_is_object(required))
        required = json_object_need(affinity, key);
    terms = json_array_need(required, "nodeSelectorTerms");
    if (json_array_size(terms) == 0)
        json_array_append_new(terms, json_object());
    json_each(terms, i, t)
    {
        json_t *only = name_term(node);

        json_object_set(t, "matchFields", json_object_get(only, "matchFields"));
        json_decref(only);
    }
}

json_t *daemon_pod(const json_t *ds, const char *node, const char *hash)
{
    json_t *pod =
        pod_from_template(ds, "apps/v1", "DaemonSet", json_at(ds, "spec", "template", NULL));
    json_t *spec = json_object_get(pod, "spec");

    meta_set_label(pod, HASH_LABEL, hash);
    if (json_int_or(json_object_get(ds, "metadata"), "generation", 0)) {
        char text[32];

        (void)snprintf(text, sizeof(text), "%lld",
                       (long long)json_int_or(json_object_get(ds, "metadata"), "generation", 0));
        meta_set_label(pod, "pod-template-generation", text);
    }
    add_tolerations(spec);
    pin(spec, node);
    return pod;
}

unsigned daemon_should_run(const json_t *ds, const json_t *node)
{
    json_t *spec = json_deep_copy(json_at(ds, "spec", "template", "spec", NULL));
    const char *pinned = json_text_or(spec, "nodeName", "");
    unsigned out = DAEMON_RUN | DAEMON_CONTINUE;
    const json_t *taint;

    add_tolerations(spec);
    if ((*pinned && !streq(pinned, meta_name(node))) || !pod_wants_node(spec, node))
        out = 0;
    json_each(json_at(node, "spec", "taints", NULL), i, taint)
    {
        const char *effect = json_text_or(taint, "effect", "");

        if (streq(effect, "PreferNoSchedule") ||
            tolerations_tolerate(json_object_get(spec, "tolerations"), taint))
            continue;
        out &= streq(effect, "NoExecute") ? 0 : ~(unsigned)DAEMON_RUN;
    }
    json_decref(spec);
    return out;
}

const char *daemon_pod_node(const json_t *pod)
{
    const char *node = json_text_at(pod, "spec", "nodeName", NULL);
    const json_t *t, *f;

    if (node && *node)
        return node;
    json_each(json_at(pod, "spec", "affinity", "nodeAffinity",
                      "requiredDuringSchedulingIgnoredDuringExecution", "nodeSelectorTerms", NULL),
              i, t)
        json_each(json_object_get(t, "matchFields"), k, f) if (
            streq(
                json_text_or(f, "key", ""),
                "metadata.name")) return strna(json_string_value(json_array_get(json_object_get(f,
                                                                                                "va"
                                                                                                "lu"
                                                                                                "e"
                                                                                                "s"),
                                                                                0)));
    return "";
}

struct tally {
    int64_t desired, current, misscheduled, ready, updated, available, unavailable_now;
    int64_t max_unavailable, min_ready;
    const char *hash;
    bool rolling;
};

static bool newer(const json_t *a, const json_t *b)
{
    return meta_created(a).ns > meta_created(b).ns;
}

/* The pod to keep on a node: one that runs before one that waits, the oldest. */
static const json_t *keeper(const json_t *mine)
{
    const json_t *best = NULL, *p;

    json_each(mine, i, p)
    {
        if (!pod_active(p))
            continue;
        if (!best || pod_ready(p) > pod_ready(best) ||
            (pod_ready(p) == pod_ready(best) && newer(best, p)))
            best = p;
    }
    return best;
}

static void plan_node(const json_t *ds, const json_t *node, const json_t *mine, struct tally *t,
                      struct daemon_plan *ret, json_t *old)
{
    unsigned should = daemon_should_run(ds, node);
    const json_t *keep = keeper(mine);
    bool going = false;
    json_t *p;
    int64_t wait;

    json_each(mine, i, p)
    {
        going = going || meta_deleting(p);
        /* failed pods are replaced; the kubelet's finished ones must not block the node */
        if (!meta_deleting(p) && (pod_finished(p) || !(should & DAEMON_CONTINUE) || p != keep))
            json_array_append(ret->remove, p);
    }
    if (!(should & DAEMON_RUN)) {
        t->misscheduled += keep != NULL;
        return;
    }
    t->desired++;
    if (!keep) {
        t->unavailable_now++;
        if (!going && json_array_size(mine) == 0)
            json_array_append_new(ret->create, json_string(meta_name(node)));
        return;
    }
    t->current++;
    t->ready += pod_ready(keep);
    if (pod_available(keep, t->min_ready, &wait))
        t->available++;
    else
        t->unavailable_now++;
    if (wait && (!ret->wait_s || wait < ret->wait_s))
        ret->wait_s = wait;
    if (streq(meta_label(keep, HASH_LABEL), t->hash))
        t->updated++;
    else
        json_array_append(old, (json_t *)keep);
}

/* Old pods that may go now: those that do not serve anyway, then as many as may be missing. */
static void plan_rolling(const json_t *old, struct tally *t, struct daemon_plan *ret)
{
    int64_t budget = t->max_unavailable - t->unavailable_now;
    json_t *p;

    if (!t->rolling)
        return;
    json_each(old, i, p)
    {
        bool serves = pod_available(p, t->min_ready, NULL);

        if (serves && budget <= 0)
            continue;
        if (serves)
            budget--;
        json_array_append(ret->remove, p);
    }
}

static json_t *pods_by_node(const json_t *pods)
{
    json_t *out = json_object(), *p;

    json_each(pods, i, p) json_array_append(json_array_need(out, daemon_pod_node(p)), p);
    return out;
}

static void remove_strays(json_t *by_node, struct daemon_plan *ret)
{
    const char *node;
    json_t *list, *p;

    json_object_foreach(by_node, node, list) json_each(list, i, p) if (!meta_deleting(p))
        json_array_append(ret->remove, p);
}

void daemon_plan(const json_t *ds, const json_t *nodes, const json_t *pods, const char *hash,
                 struct daemon_plan *ret)
{
    const json_t *strategy = json_at(ds, "spec", "updateStrategy", NULL);
    struct tally t = {.hash = hash,
                      .min_ready = json_int_or(json_object_get(ds, "spec"), "minReadySeconds", 0)};
    json_t *by_node = pods_by_node(pods), *old = json_array();
    const json_t *node;

    *ret = (struct daemon_plan){.create = json_array(), .remove = json_array()};
    t.rolling = !streq(json_text_at(strategy, "type", NULL), "OnDelete");
    json_each(nodes, i, node)
    {
        const json_t *mine = json_object_get(by_node, meta_name(node));

        plan_node(ds, node, mine, &t, ret, old);
        json_object_del(by_node, meta_name(node));
    }
    remove_strays(by_node, ret);
    t.max_unavailable = int_or_percent(json_at(strategy, "rollingUpdate", "maxUnavailable", NULL),
                                       t.desired, true, 1);
    if (t.max_unavailable <
        1) /* maxSurge alone: a second pod beside the first is not made; one goes at a time */
        t.max_unavailable = 1;
    plan_rolling(old, &t, ret);
    json_decref(old);
    json_decref(by_node);
    ret->status = json_pack("{s:I,s:I,s:I,s:I,s:I,s:I}", "currentNumberScheduled",
                            (json_int_t)t.current, "numberMisscheduled", (json_int_t)t.misscheduled,
                            "desiredNumberScheduled", (json_int_t)t.desired, "numberReady",
                            (json_int_t)t.ready, "updatedNumberScheduled", (json_int_t)t.updated,
                            "numberAvailable", (json_int_t)t.available);
    if (t.desired > t.available)
        json_set_int(ret->status, "numberUnavailable", t.desired - t.available);
}

void daemon_plan_fini(struct daemon_plan *p)
{
    json_decref(p->create);
    json_decref(p->remove);
    json_decref(p->status);
    *p = (struct daemon_plan){0};
}
