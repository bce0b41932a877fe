#include "server/controllers/controllers.h"
#include "base/cleanup.h"
#include "base/list.h"
#include "base/mem.h"
#include "codec/json.h"
#include "server/controllers/cache.h"
#include "server/controllers/controller.h"
#include "server/scheduler/scheduler.h"
#include "server/store/store.h"

/* A change noted inside the store's write, told at the end of the turn. */
struct noted {
    struct list link;
    enum cluster_change what;
    char *resource;
    json_t *object;
};
struct controllers {
    struct controller_set *set;
    struct scheduler *scheduler;
    struct cache cache;
    struct store_watch watch;
    struct list pending;
    struct loop_defer defer;
    struct loop *loop;
};

static void noted_free(struct noted *n)
{
    list_remove(&n->link);
    free(n->resource);
    json_decref(n->object);
    free(n);
}

static void tell(struct controllers *c, const char *resource, enum cluster_change what,
                 const json_t *object)
{
    scheduler_change(c->scheduler, resource, what, object);
    controller_set_change(c->set, resource, what, object);
}

static void drain(struct loop_defer *d)
{
    struct controllers *c = container_of(d, struct controllers, defer);

    while (!list_empty(&c->pending)) {
        struct noted *n = container_of(c->pending.next, struct noted, link);

        tell(c, n->resource, n->what, n->object);
        noted_free(n);
    }
}

/* Told of nothing that no controller reads. */
static bool interesting(struct str resource)
{
    return !str_eq_z(resource, "events");
}

static void on_change(struct store_watch *w, const struct store_event *e)
{
    static const enum cluster_change what[] = {CLUSTER_ADDED, CLUSTER_MODIFIED, CLUSTER_DELETED};
    struct controllers *c = container_of(w, struct controllers, watch);
    struct str rest = str_of(e->key), resource;
    json_t *object = NULL;
    struct noted *n;

    if (!str_starts(rest, STR("/registry/")))
        return;
    rest = (struct str){rest.p + strlen("/registry/"), rest.n - strlen("/registry/")};
    resource = str_split(&rest, '/');
    if (!interesting(resource) || json_parse(e->value, SIZE_MAX, e->key, &object, NULL) < 0)
        return;
    n = xcalloc(1, sizeof(*n));
    n->what = what[e->change];
    n->resource = str_dup(resource);
    n->object = object;
    cache_change(&c->cache, n->resource, n->what, object);
    list_add_tail(&c->pending, &n->link);
    loop_defer_start(c->loop, &c->defer, drain);
}

/* Whole objects: the scheduler reads more of a pod than the cache keeps. */
static void replay(struct controllers *c, struct cluster *below, const char *resource)
{
    json_t *all = cluster_list(below, resource, NULL);
    const json_t *o;

    json_each(all, i, o) scheduler_change(c->scheduler, resource, CLUSTER_ADDED, o);
    json_decref(all);
}

struct controllers *controllers_start(struct loop *l, struct store *store, struct cluster *cluster,
                                      const struct controllers_config *cfg)
{
    struct controllers *c = xcalloc(1, sizeof(*c));

    c->loop = l;
    list_init(&c->pending);
    cache_init(&c->cache, cluster);
    c->set = controller_set_new(l, &c->cache.cluster, cfg);
    c->scheduler = scheduler_new(&c->set->env);
    c->watch.fn = on_change;
    store_watch_start(store, &c->watch);
    bootstrap_objects(&c->set->env);
    replay(c, cluster, "nodes");
    replay(c, cluster, "pods");
    controller_set_begin(c->set);
    return c;
}

void controllers_stop(struct controllers *c)
{
    if (!c)
        return;
    store_watch_stop(&c->watch);
    loop_defer_stop(&c->defer);
    while (!list_empty(&c->pending))
        noted_free(container_of(c->pending.next, struct noted, link));
    scheduler_free(c->scheduler);
    controller_set_free(c->set);
    cache_fini(&c->cache);
    free(c);
}
