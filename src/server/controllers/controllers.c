#include "server/controllers/controllers.h"
#include "base/cleanup.h"
#include "base/list.h"
#include "base/mem.h"
#include "codec/json.h"
#include "server/controllers/controller.h"
#include "server/scheduler/scheduler.h"
#include "server/store/store.h"

/* A change noted inside the store's write, told at the end of the turn. */
struct noted {
    struct list link;
    enum cluster_change what;
    char *resource;
    struct buf value;
};
struct controllers {
    struct controller_set *set;
    struct scheduler *scheduler;
    struct store_watch watch;
    struct list pending;
    struct loop_defer defer;
    struct loop *loop;
};

static void noted_free(struct noted *n)
{
    list_remove(&n->link);
    free(n->resource);
    buf_fini(&n->value);
    free(n);
}

static void tell(struct controllers *c, const char *resource, enum cluster_change what, const json_t *object)
{
    scheduler_change(c->scheduler, resource, what, object);
    controller_set_change(c->set, resource, what, object);
}

static void drain(struct loop_defer *d)
{
    struct controllers *c = container_of(d, struct controllers, defer);

    while (!list_empty(&c->pending)) {
        struct noted *n = container_of(c->pending.next, struct noted, link);
        json_t *object = NULL;

        if (json_parse(buf_str(&n->value), SIZE_MAX, n->resource, &object, NULL) == 0)
            tell(c, n->resource, n->what, object);
        json_decref(object);
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
    struct noted *n;

    if (!str_starts(rest, STR("/registry/")))
        return;
    rest = (struct str){rest.p + strlen("/registry/"), rest.n - strlen("/registry/")};
    resource = str_split(&rest, '/');
    if (!interesting(resource))
        return;
    n = xcalloc(1, sizeof(*n));
    n->what = what[e->change];
    n->resource = str_dup(resource);
    buf_init(&n->value, BUF_UNBOUNDED);
    (void)buf_add_str(&n->value, e->value);
    list_add_tail(&c->pending, &n->link);
    loop_defer_start(c->loop, &c->defer, drain);
}

static void replay(struct controllers *c, const char *resource)
{
    json_t *all = cluster_list(c->set->env.cluster, resource, NULL);
    const json_t *o;

    json_each(all, i, o)
        scheduler_change(c->scheduler, resource, CLUSTER_ADDED, o);
    json_decref(all);
}

struct controllers *controllers_start(struct loop *l, struct store *store, struct cluster *cluster,
                                      const struct controllers_config *cfg)
{
    struct controllers *c = xcalloc(1, sizeof(*c));

    c->loop = l;
    list_init(&c->pending);
    c->set = controller_set_new(l, cluster, cfg);
    c->scheduler = scheduler_new(&c->set->env);
    bootstrap_objects(&c->set->env);
    replay(c, "nodes");
    replay(c, "pods");
    controller_set_begin(c->set);
    c->watch.fn = on_change;
    store_watch_start(store, &c->watch);
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
    free(c);
}
