#include "server/controllers/meta.h"
#include "server/controllers/selector.h"
#include "server/scheduler/filter.h"

static const char *node_label(const struct sched_node *n, const char *key)
{
    return key ? meta_label(n->object, key) : NULL;
}

static bool same_topology(const struct sched_node *a, const struct sched_node *b, const char *key)
{
    const char *x = node_label(a, key);

    return x && streq(x, node_label(b, key));
}

/* Is a pod (its namespace and labels) meant by an affinity term of a pod in own_ns? */
static bool term_means(const json_t *term, const char *own_ns, const char *ns, const json_t *labels)
{
    const json_t *list = json_object_get(term, "namespaces"), *v;
    const json_t *by_label = json_object_get(term, "namespaceSelector");
    /* Namespaces' labels are not in the snapshot: an empty selector means all, as upstream; any
     * other selector is taken as matching the namespaces listed only. */
    bool in = json_is_object(by_label) && json_object_size(by_label) == 0;

    if (!in && json_array_size(list) == 0 && !json_is_object(by_label))
        in = streq(own_ns, ns);
    json_each(list, i, v) in = in || streq(json_string_value(v), ns);
    return in && selector_matches(json_object_get(term, "labelSelector"), labels);
}

/* Pods in the topology domain of n that the term means. */
static size_t count_in_domain(const struct snapshot *s, const struct sched_node *n,
                              const json_t *term, const char *own_ns)
{
    const char *key = json_text_at(term, "topologyKey", NULL);
    struct map_entry *e;
    size_t it = 0, found = 0;

    while ((e = map_next(&s->pods, &it))) {
        const struct sched_pod *q = e->value;
        const struct sched_node *at = map_get(&s->nodes, q->node);

        if (at && at->object && same_topology(n, at, key) &&
            term_means(term, own_ns, q->ns, q->labels))
            found++;
    }
    return found;
}

static bool none_anywhere(const struct snapshot *s, const json_t *term, const char *own_ns)
{
    struct map_entry *e;
    size_t it = 0;

    while ((e = map_next(&s->pods, &it))) {
        const struct sched_pod *q = e->value;

        if (term_means(term, own_ns, q->ns, q->labels))
            return false;
    }
    return true;
}

static const json_t *hard_terms(const json_t *spec, const char *kind)
{
    return json_at(spec, "affinity", kind, "requiredDuringSchedulingIgnoredDuringExecution", NULL);
}

static bool required_affinity(const struct snapshot *s, const struct sched_node *n,
                              const struct placement *p)
{
    const json_t *term;

    json_each(hard_terms(p->spec, "podAffinity"), i, term)
    {
        if (!node_label(n, json_text_at(term, "topologyKey", NULL)))
            return false;
        if (count_in_domain(s, n, term, p->facts->ns) > 0)
            continue;
        /* the first pod of a group that wants to be together */
        if (!none_anywhere(s, term, p->facts->ns) ||
            !term_means(term, p->facts->ns, p->facts->ns, p->facts->labels))
            return false;
    }
    return true;
}

static bool existing_anti(const struct snapshot *s, const struct sched_node *n,
                          const struct placement *p)
{
    struct map_entry *e;
    size_t it = 0;

    while ((e = map_next(&s->pods, &it))) {
        const struct sched_pod *q = e->value;
        const struct sched_node *at = q->anti ? map_get(&s->nodes, q->node) : NULL;
        const json_t *term;

        if (!at || !at->object)
            continue;
        json_each(q->anti, i,
                  term) if (same_topology(n, at, json_text_at(term, "topologyKey", NULL)) &&
                            term_means(term, q->ns, p->facts->ns, p->facts->labels)) return false;
    }
    return true;
}

/* Matching pods per domain of one spread constraint: this node's and the smallest. */
static void spread_counts(const struct snapshot *s, const struct sched_node *n, const json_t *c,
                          const struct placement *p, int64_t *ret_here, int64_t *ret_min)
{
    const char *key = json_text_at(c, "topologyKey", NULL);
    json_t *term = json_pack("{s:s,s:O?}", "topologyKey", strna(key), "labelSelector",
                             json_object_get(c, "labelSelector"));
    struct map_entry *e;
    size_t it = 0;
    int64_t least = -1;

    while ((e = map_next(&s->nodes, &it))) {
        const struct sched_node *m = e->value;
        int64_t k;

        if (!m->seen || !node_label(m, key) || !pod_wants_node(p->spec, m->object))
            continue;
        k = (int64_t)count_in_domain(s, m, term, p->facts->ns);
        if (least < 0 || k < least)
            least = k;
    }
    *ret_here = (int64_t)count_in_domain(s, n, term, p->facts->ns);
    *ret_min = least < 0 ? 0 : least;
    json_decref(term);
}

static bool spread_fits(const struct snapshot *s, const struct sched_node *n,
                        const struct placement *p, struct reasons *r)
{
    const json_t *c;

    json_each(json_object_get(p->spec, "topologySpreadConstraints"), i, c)
    {
        int64_t here, least, self;

        if (!streq(json_text_or(c, "whenUnsatisfiable", "DoNotSchedule"), "DoNotSchedule"))
            continue;
        if (!node_label(n, json_text_at(c, "topologyKey", NULL))) {
            reasons_add(
                r, "node(s) didn't match pod topology spread constraints (missing required label)");
            return false;
        }
        spread_counts(s, n, c, p, &here, &least);
        self = selector_matches(json_object_get(c, "labelSelector"), p->facts->labels);
        if (here + self - least > json_int_or(c, "maxSkew", 1)) {
            reasons_add(r, "node(s) didn't match pod topology spread constraints");
            return false;
        }
    }
    return true;
}

bool affinity_fits(const struct snapshot *s, const struct sched_node *n, const struct placement *p,
                   struct reasons *r)
{
    const json_t *term;

    if (!spread_fits(s, n, p, r))
        return false;
    if (!required_affinity(s, n, p)) {
        reasons_add(r, "node(s) didn't match pod affinity rules");
        return false;
    }
    json_each(hard_terms(p->spec, "podAntiAffinity"), i, term)
    {
        if (count_in_domain(s, n, term, p->facts->ns) == 0)
            continue;
        reasons_add(r, "node(s) didn't match pod anti-affinity rules");
        return false;
    }
    if (!existing_anti(s, n, p)) {
        reasons_add(r, "node(s) didn't satisfy existing pods anti-affinity rules");
        return false;
    }
    return true;
}

int64_t affinity_score(const struct snapshot *s, const struct sched_node *n,
                       const struct placement *p)
{
    static const struct {
        const char *kind;
        int64_t sign;
    } kinds[] = {{"podAffinity", 1}, {"podAntiAffinity", -1}};
    int64_t score = 0;
    const json_t *w, *c;

    for (size_t k = 0; k < 2; k++)
        json_each(json_at(p->spec, "affinity", kinds[k].kind,
                          "preferredDuringSchedulingIgnoredDuringExecution", NULL),
                  i, w) score +=
            kinds[k].sign * json_int_or(w, "weight", 1) *
            (int64_t)count_in_domain(s, n, json_object_get(w, "podAffinityTerm"), p->facts->ns);
    json_each(json_object_get(p->spec, "topologySpreadConstraints"), m, c)
    {
        int64_t here, least;

        spread_counts(s, n, c, p, &here, &least);
        score -= 10 * (here - least);
    }
    return score;
}
