#include "server/scheduler/filter.h"
#include "base/mem.h"
#include "server/controllers/meta.h"
#include "server/controllers/selector.h"
#include <stdlib.h>

void reasons_init(struct reasons *r)
{
    map_init(&r->count);
}

void reasons_fini(struct reasons *r)
{
    map_fini(&r->count, free);
}

void reasons_add(struct reasons *r, const char *text)
{
    size_t *n = map_get(&r->count, text);

    if (!n) {
        n = xcalloc(1, sizeof(*n));
        map_set(&r->count, text, n);
    }
    (*n)++;
}

static int text_compare(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

char *reasons_message(const struct reasons *r, size_t nodes)
{
    char **texts = xcalloc(r->count.n + 1, sizeof(*texts));
    struct map_entry *e;
    struct buf b;
    size_t it = 0, n = 0;

    buf_init(&b, BUF_UNBOUNDED);
    (void)buf_printf(&b, "0/%zu nodes are available", nodes);
    while ((e = map_next(&r->count, &it)))
        texts[n++] = xasprintf("%zu %s", *(size_t *)e->value, e->key);
    qsort(texts, n, sizeof(*texts), text_compare);
    for (size_t i = 0; i < n; i++) {
        (void)buf_printf(&b, "%s%s", i ? ", " : ": ", texts[i]);
        free(texts[i]);
    }
    free(texts);
    (void)buf_add_char(&b, '.');
    return buf_take(&b);
}

static bool taints_fit(const struct sched_node *n, const json_t *spec, struct reasons *r)
{
    const json_t *taint, *tolerations = json_object_get(spec, "tolerations");

    if (json_bool_or(json_object_get(n->object, "spec"), "unschedulable", false)) {
        json_t *t = json_pack("{s:s,s:s}", "key", "node.kubernetes.io/unschedulable", "effect",
                              "NoSchedule");
        bool ok = tolerations_tolerate(tolerations, t);

        json_decref(t);
        if (!ok) {
            reasons_add(r, "node(s) were unschedulable");
            return false;
        }
    }
    json_each(json_at(n->object, "spec", "taints", NULL), i, taint)
    {
        const char *effect = json_text_at(taint, "effect", NULL);
        char *text;

        if (streq(effect, "PreferNoSchedule") || tolerations_tolerate(tolerations, taint))
            continue;
        text = xasprintf("node(s) had untolerated taint {%s: %s}", json_text_or(taint, "key", ""),
                         json_text_or(taint, "value", ""));
        reasons_add(r, text);
        free(text);
        return false;
    }
    return true;
}

static bool any_address(const char *ip)
{
    return !*ip || streq(ip, "0.0.0.0") || streq(ip, "::");
}

static bool ports_conflict(const json_t *a, const json_t *b)
{
    const json_t *x, *y;

    json_each(a, i, x)
    {
        json_each(b, k, y)
        {
            const char *ip = strna(json_string_value(json_array_get(x, 1)));
            const char *other = strna(json_string_value(json_array_get(y, 1)));

            if (json_equal(json_array_get(x, 0), json_array_get(y, 0)) &&
                json_equal(json_array_get(x, 2), json_array_get(y, 2)) &&
                (any_address(ip) || any_address(other) || streq(ip, other)))
                return true;
        }
    }
    return false;
}

static bool ports_fit(const struct sched_node *n, const struct sched_pod *p, struct reasons *r)
{
    struct map_entry *e;
    size_t it = 0;

    if (!p->ports)
        return true;
    while ((e = map_next(&n->pods, &it))) {
        if (!ports_conflict(p->ports, ((const struct sched_pod *)e->value)->ports))
            continue;
        reasons_add(r, "node(s) didn't have free ports for the requested pod ports");
        return false;
    }
    return true;
}

static bool resources_fit(const struct sched_node *n, const struct sched_pod *p, struct reasons *r)
{
    const struct {
        int64_t want, used, alloc;
        const char *text;
    } rows[] = {
        {p->req.cpu_milli, n->used.cpu_milli, n->alloc.cpu_milli, "Insufficient cpu"},
        {p->req.memory, n->used.memory, n->alloc.memory, "Insufficient memory"},
        {p->req.ephemeral, n->used.ephemeral, n->alloc.ephemeral, "Insufficient ephemeral-storage"},
        {1, n->used.pods, n->alloc.pods, "Too many pods"},
    };
    struct map_entry *e;
    size_t it = 0;
    bool ok = true;

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        if (rows[i].want <= 0 || rows[i].used + rows[i].want <= rows[i].alloc)
            continue;
        reasons_add(r, rows[i].text);
        ok = false;
    }
    while ((e = map_next(&p->req.other, &it))) {
        const int64_t *used = map_get(&n->used.other, e->key),
                      *alloc = map_get(&n->alloc.other, e->key);
        int64_t want = *(int64_t *)e->value;
        char *text;

        if (want <= 0 || (used ? *used : 0) + want <= (alloc ? *alloc : 0))
            continue;
        text = xasprintf("Insufficient %s", e->key);
        reasons_add(r, text);
        free(text);
        ok = false;
    }
    return ok;
}

bool node_fits(const struct snapshot *s, const struct sched_node *n, const struct placement *p,
               struct reasons *r)
{
    if (!taints_fit(n, p->spec, r))
        return false;
    if (!pod_wants_node(p->spec, n->object)) {
        reasons_add(r, "node(s) didn't match Pod's node affinity/selector");
        return false;
    }
    return ports_fit(n, p->facts, r) && resources_fit(n, p->facts, r) && affinity_fits(s, n, p, r);
}
