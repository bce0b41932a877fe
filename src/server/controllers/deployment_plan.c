#include "server/controllers/deployment_plan.h"
#include "base/mem.h"
#include "server/controllers/meta.h"
#include "server/controllers/pod_template.h"
#include <stdlib.h>

#define HASH "pod-template-hash"

static int64_t size_of(const json_t *rs)
{
    return json_int_or(json_object_get(rs, "spec"), "replicas", 1);
}

static int64_t stat(const json_t *rs, const char *key)
{
    return json_int_or(json_object_get(rs, "status"), key, 0);
}

static int64_t smaller(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

int64_t set_revision(const json_t *rs)
{
    int64_t n = 0;

    (void)str_to_i64(str_of(strna(meta_annotation(rs, REVISION))), 0, INT64_MAX, &n);
    return n;
}

int64_t max_revision(const json_t *sets)
{
    const json_t *rs;
    int64_t max = 0;

    json_each(sets, i, rs) if (set_revision(rs) > max) max = set_revision(rs);
    return max;
}

static bool same_template(const json_t *d, const json_t *rs)
{
    json_t *t = json_deep_copy(json_at(rs, "spec", "template", NULL)),
           *w = json_deep_copy(json_at(d, "spec", "template", NULL));
    bool same;

    json_object_del(json_at(t, "metadata", "labels", NULL), HASH);
    json_object_del(json_at(w, "metadata", "labels", NULL), HASH);
    json_object_del(json_object_get(t, "metadata"), "creationTimestamp");
    json_object_del(json_object_get(w, "metadata"), "creationTimestamp");
    same = json_equal(t, w);
    json_decref(t);
    json_decref(w);
    return same;
}

const json_t *deployment_new_set(const json_t *d, const json_t *sets)
{
    const json_t *rs, *best = NULL;

    json_each(sets, i, rs) if (same_template(d, rs) &&
                               (!best || meta_created(rs).ns < meta_created(best).ns)) best = rs;
    return best;
}

static void surge_and_missing(const json_t *d, int64_t *ret_surge, int64_t *ret_missing)
{
    const json_t *rolling = json_at(d, "spec", "strategy", "rollingUpdate", NULL);
    int64_t n = size_of(d);

    *ret_surge = int_or_percent(json_object_get(rolling, "maxSurge"), n, true, 1);
    *ret_missing = int_or_percent(json_object_get(rolling, "maxUnavailable"), n, false, 1);
    if (*ret_surge <= 0 && *ret_missing <= 0)
        *ret_missing = 1;
}

static bool recreates(const json_t *d)
{
    return streq(json_text_at(d, "spec", "strategy", "type", NULL), "Recreate");
}

json_t *deployment_make_set(const json_t *d, const json_t *sets)
{
    json_t *template = json_deep_copy(json_at(d, "spec", "template", NULL)), *selector, *rs;
    char hash[TEMPLATE_HASH], *name,
        *revision = xasprintf("%lld", (long long)max_revision(sets) + 1);

    template_hash(json_at(d, "spec", "template", NULL),
                  json_int_or(json_object_get(d, "status"), "collisionCount", 0), hash);
    json_set_text(json_object_need(json_object_need(template, "metadata"), "labels"), HASH, hash);
    selector = json_deep_copy(json_at(d, "spec", "selector", NULL));
    json_set_text(json_object_need(selector, "matchLabels"), HASH, hash);
    name = xasprintf("%s-%s", meta_name(d), hash);
    rs = json_pack("{s:s,s:s,s:{s:s,s:s,s:O,s:{s:s},s:[o]},s:{s:i,s:o,s:o}}", "apiVersion",
                   "apps/v1", "kind", "ReplicaSet", "metadata", "name", name, "namespace",
                   meta_namespace(d), "labels", json_at(template, "metadata", "labels", NULL),
                   "annotations", REVISION, revision, "ownerReferences",
                   meta_owner_reference(d, "apps/v1", "Deployment"), "spec", "replicas", 0,
                   "selector", selector, "template", template);
    if (json_int_or(json_object_get(d, "spec"), "minReadySeconds", 0))
        json_set_int(json_object_get(rs, "spec"), "minReadySeconds",
                     json_int_or(json_object_get(d, "spec"), "minReadySeconds", 0));
    free(name);
    free(revision);
    return rs;
}

static int by_age(const void *a, const void *b)
{
    int64_t x = meta_created(*(json_t *const *)a).ns, y = meta_created(*(json_t *const *)b).ns;

    return x < y ? -1 : x > y;
}

/* Old sets, the oldest first; owned array of borrowed objects. */
static json_t **old_sets(const json_t *sets, const json_t *now, size_t *ret_n)
{
    json_t **v = xcalloc(json_array_size(sets) + 1, sizeof(*v)), *rs;
    size_t n = 0;

    json_each(sets, i, rs) if (rs != now) v[n++] = rs;
    qsort(v, n, sizeof(*v), by_age);
    *ret_n = n;
    return v;
}

static void want_size(json_t *out, const json_t *rs, int64_t n)
{
    if (n < 0)
        n = 0;
    if (n != size_of(rs))
        json_set_int(out, meta_name(rs), n);
}

/* Not available pods of old sets go first, then available ones as far as enough stay. */
static void shrink_old(json_t *out, json_t **old, size_t n_old, int64_t total, const json_t *now,
                       int64_t min_available)
{
    int64_t budget = total - min_available - (size_of(now) - stat(now, "availableReplicas")),
            available = 0;

    for (size_t i = 0; i < n_old; i++)
        available += stat(old[i], "availableReplicas");
    available += stat(now, "availableReplicas");
    for (size_t i = 0; i < n_old && budget > 0; i++) {
        int64_t bad = size_of(old[i]) - stat(old[i], "availableReplicas"),
                cut = smaller(bad, budget), good;

        if (cut < 0)
            cut = 0;
        budget -= cut;
        good = smaller(smaller(size_of(old[i]) - cut, available - min_available), budget);
        if (good > 0) {
            cut += good;
            budget -= good;
            available -= good;
        }
        want_size(out, old[i], size_of(old[i]) - cut);
    }
}

static void scale_rolling(json_t *out, const json_t *d, json_t **old, size_t n_old,
                          const json_t *now)
{
    int64_t surge, missing, total = size_of(now), want = size_of(d);

    surge_and_missing(d, &surge, &missing);
    for (size_t i = 0; i < n_old; i++)
        total += size_of(old[i]);
    if (size_of(now) > want)
        want_size(out, now, want);
    else if (size_of(now) < want && total < want + surge)
        want_size(out, now, size_of(now) + smaller(want + surge - total, want - size_of(now)));
    else
        shrink_old(out, old, n_old, total, now, want - missing);
}

/* While paused the rollout stands; only the size of the one set with pods follows spec.replicas. */
static void scale_paused(json_t *out, const json_t *d, const json_t *sets)
{
    const json_t *rs, *active = NULL;
    size_t n = 0;

    json_each(sets, i, rs) if (size_of(rs) > 0)
    {
        active = rs;
        n++;
    }
    if (n == 1)
        want_size(out, active, size_of(d));
}

json_t *deployment_scale(const json_t *d, const json_t *sets, bool old_pods)
{
    const json_t *now = deployment_new_set(d, sets);
    json_t *out = json_object(), **old;
    bool old_sizes = false;
    size_t n;

    if (json_bool_or(json_object_get(d, "spec"), "paused", false)) {
        scale_paused(out, d, sets);
        return out;
    }
    if (!now)
        return out;
    old = old_sets(sets, now, &n);
    for (size_t i = 0; i < n; i++)
        old_sizes = old_sizes || size_of(old[i]) > 0;
    if (!old_sizes && !(recreates(d) && old_pods)) {
        want_size(out, now, size_of(d));
    } else if (recreates(d)) {
        for (size_t i = 0; i < n; i++)
            want_size(out, old[i], 0);
    } else {
        scale_rolling(out, d, old, n, now);
    }
    free(old);
    return out;
}

json_t *deployment_excess(const json_t *d, const json_t *sets)
{
    const json_t *now = deployment_new_set(d, sets);
    int64_t keep = json_int_or(json_object_get(d, "spec"), "revisionHistoryLimit", 10), idle = 0;
    json_t *out = json_array(), **old;
    size_t n;

    old = old_sets(sets, now, &n);
    for (size_t i = 0; i < n; i++)
        idle += size_of(old[i]) == 0 && stat(old[i], "replicas") == 0 && !meta_deleting(old[i]);
    for (size_t i = 0; i < n && idle > keep; i++) {
        if (size_of(old[i]) || stat(old[i], "replicas") || meta_deleting(old[i]))
            continue;
        json_array_append(out, old[i]);
        idle--;
    }
    free(old);
    return out;
}

bool deployment_complete(const json_t *d, const json_t *status)
{
    int64_t n = size_of(d);

    return json_int_or(status, "updatedReplicas", 0) == n &&
           json_int_or(status, "replicas", 0) == n &&
           json_int_or(status, "availableReplicas", 0) == n;
}

static void set_count(json_t *status, const char *key, int64_t n)
{
    if (n)
        json_set_int(status, key, n);
    else
        json_object_del(status, key);
}

/* Progressing: made, moving, done, or stuck past the deadline. */
static void progress(const json_t *d, const json_t *now, const json_t *before, json_t *status,
                     int64_t now_s)
{
    json_t *conditions = json_array_need(status, "conditions"), *c;
    static const char *const counts[] = {"updatedReplicas", "availableReplicas", "readyReplicas",
                                         "replicas"};
    int64_t deadline = json_int_or(json_object_get(d, "spec"), "progressDeadlineSeconds", 600),
            since;
    char *text = xasprintf("ReplicaSet \"%s\" is progressing.", meta_name(now));
    bool moved = false;

    for (size_t i = 0; i < 4; i++)
        moved = moved || json_int_or(before, counts[i], 0) != json_int_or(status, counts[i], 0);
    c = (json_t *)condition_get(conditions, "Progressing");
    since = json_wall(json_object_get(c, "lastUpdateTime")).ns / NSEC_PER_SEC;
    if (deployment_complete(d, status)) {
        free(text);
        text = xasprintf("ReplicaSet \"%s\" has successfully progressed.", meta_name(now));
        moved = condition_set(conditions, "Progressing", "True", "NewReplicaSetAvailable", text);
    } else if (!c) {
        moved = condition_set(conditions, "Progressing", "True", "ReplicaSetUpdated", text);
    } else if (moved) {
        (void)condition_set(conditions, "Progressing", "True", "ReplicaSetUpdated", text);
    } else if (now_s - since > deadline &&
               !streq(json_text_or(c, "reason", ""), "NewReplicaSetAvailable") &&
               !json_bool_or(json_object_get(d, "spec"), "paused", false)) {
        free(text);
        text = xasprintf("ReplicaSet \"%s\" has timed out progressing.", meta_name(now));
        moved = condition_set(conditions, "Progressing", "False", "ProgressDeadlineExceeded", text);
    }
    c = (json_t *)condition_get(conditions, "Progressing");
    if (c && (moved || !json_object_get(c, "lastUpdateTime")))
        json_object_set_new(c, "lastUpdateTime", json_time((struct wall){now_s * NSEC_PER_SEC}));
    free(text);
}

static void availability(const json_t *d, json_t *status, int64_t available)
{
    json_t *conditions = json_array_need(status, "conditions"), *c;
    int64_t surge, missing;
    bool ok, moved;

    surge_and_missing(d, &surge, &missing);
    ok = available >= size_of(d) - (recreates(d) ? 0 : missing);
    moved = condition_set(conditions, "Available", ok ? "True" : "False",
                          ok ? "MinimumReplicasAvailable" : "MinimumReplicasUnavailable",
                          ok ? "Deployment has minimum availability."
                             : "Deployment does not have minimum availability.");
    c = (json_t *)condition_get(conditions, "Available");
    if (moved || !json_object_get(c, "lastUpdateTime"))
        json_object_set_new(c, "lastUpdateTime", json_now());
}

json_t *deployment_status(const json_t *d, const json_t *sets, int64_t now_s)
{
    const json_t *before = json_object_get(d, "status"), *now = deployment_new_set(d, sets), *rs;
    json_t *status = before ? json_deep_copy(before) : json_object();
    int64_t total = 0, ready = 0, available = 0, terminating = 0, missing;

    json_each(sets, i, rs)
    {
        total += stat(rs, "replicas");
        ready += stat(rs, "readyReplicas");
        available += stat(rs, "availableReplicas");
        terminating += stat(rs, "terminatingReplicas");
    }
    missing = size_of(d) - available;
    set_count(status, "replicas", total);
    set_count(status, "readyReplicas", ready);
    set_count(status, "availableReplicas", available);
    set_count(status, "updatedReplicas", now ? stat(now, "replicas") : 0);
    set_count(status, "unavailableReplicas", missing > 0 ? missing : 0);
    json_set_int(status, "terminatingReplicas", terminating);
    json_set_int(status, "observedGeneration",
                 json_int_or(json_object_get(d, "metadata"), "generation", 0));
    availability(d, status, available);
    if (now)
        progress(d, now, before, status, now_s);
    return status;
}
