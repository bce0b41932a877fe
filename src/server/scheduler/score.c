#include "server/controllers/meta.h"
#include "server/controllers/selector.h"
#include "server/scheduler/filter.h"
#include "base/mem.h"
#include <stdlib.h>

/* Share that stays free after placing, 0..100. */
static int64_t free_share(int64_t used, int64_t want, int64_t alloc)
{
    if (alloc <= 0 || used + want > alloc)
        return 0;
    return (int64_t)(100.0 * (double)(alloc - used - want) / (double)alloc);
}

static int64_t preferred_nodes(const struct sched_node *n, const json_t *spec)
{
    const json_t *w;
    int64_t sum = 0;

    json_each(json_at(spec, "affinity", "nodeAffinity",
                      "preferredDuringSchedulingIgnoredDuringExecution", NULL),
              i, w) if (node_term_matches(json_object_get(w, "preference"), n->object)) sum +=
        json_int_or(w, "weight", 1);
    return sum;
}

static int64_t soft_taints(const struct sched_node *n, const json_t *spec)
{
    const json_t *taint;
    int64_t bad = 0;

    json_each(json_at(n->object, "spec", "taints", NULL), i,
              taint) if (streq(json_text_at(taint, "effect", NULL), "PreferNoSchedule") &&
                         !tolerations_tolerate(json_object_get(spec, "tolerations"), taint)) bad++;
    return bad;
}

/* Pods with the same labels in the same namespace: siblings of one owner are spread out. */
static int64_t siblings(const struct sched_node *n, const struct placement *p)
{
    struct map_entry *e;
    size_t it = 0;
    int64_t k = 0;

    if (!p->facts->labels)
        return 0;
    while ((e = map_next(&n->pods, &it))) {
        const struct sched_pod *q = e->value;

        if (!q->deleting && streq(q->ns, p->facts->ns) && json_equal(q->labels, p->facts->labels))
            k++;
    }
    return k;
}

int64_t node_score(const struct snapshot *s, const struct sched_node *n, const struct placement *p)
{
    int64_t cpu = free_share(n->score_cpu, p->facts->score_cpu, n->alloc.cpu_milli);
    int64_t memory = free_share(n->score_memory, p->facts->score_memory, n->alloc.memory);
    int64_t balance = 100 - llabs(cpu - memory);

    return (cpu + memory) / 2 + balance + 2 * preferred_nodes(n, p->spec) -
           300 * soft_taints(n, p->spec) - 50 * siblings(n, p) + 2 * affinity_score(s, n, p);
}

const char *pick_node(const struct snapshot *s, const json_t *pod, char **ret_message)
{
    struct sched_pod *facts = sched_pod_new(pod);
    struct placement p = {.pod = pod, .spec = json_object_get(pod, "spec"), .facts = facts};
    const char *best = NULL;
    int64_t best_score = 0;
    struct reasons r;
    struct map_entry *e;
    size_t it = 0, nodes = 0;

    reasons_init(&r);
    while ((e = map_next(&s->nodes, &it))) {
        const struct sched_node *n = e->value;
        int64_t score;

        if (!n->seen)
            continue;
        nodes++;
        if (!node_fits(s, n, &p, &r))
            continue;
        score = node_score(s, n, &p);
        if (best && (score < best_score || (score == best_score && strcmp(n->name, best) > 0)))
            continue;
        best = n->name;
        best_score = score;
    }
    if (!best)
        *ret_message =
            nodes ? reasons_message(&r, nodes) : xstrdup("no nodes available to schedule pods");
    reasons_fini(&r);
    sched_pod_free(facts);
    return best;
}
