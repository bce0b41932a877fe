#include "api/reflector.h"
#include "api/object_stream.h"
#include "base/backoff.h"
#include "base/cleanup.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/random.h"
#include <errno.h>
#include <stdlib.h>

#define PAGE_ITEMS 500
#define LIST_TIMEOUT_MS 60000
#define WATCH_LIFE_S 300 /* plus up to as much again */

/*
 *  LISTING --whole list--> WATCHING --410--> LISTING
 *     \------- error ---------/\--- error, end ---> WAITING --> where it was
 */
enum state { LISTING, WATCHING, WAITING };

struct tracked {
    unsigned generation;
    char uid[];
};

struct reflector {
    struct kube_client *client;
    struct reflector_config cfg;
    char *namespace_, *field_selector, *label_selector;
    enum state state;
    bool relist;    /* what to do after WAITING */
    bool replacing; /* on_replace_begin was called for this list */
    bool synced, healthy, told;
    struct kube_call *call;
    struct object_list *list;
    struct object_watch *watch;
    char *resource_version, *continue_;
    struct error *stream_err;
    struct backoff backoff;
    struct loop_timer timer;
    struct mono watch_began, good;
    unsigned generation;
    struct map tracked; /* "ns/name" -> struct tracked */
};

static void list_start(struct reflector *r);
static void watch_start(struct reflector *r);

/* ---- tracking ---- */

static char *key_of(const void *msg)
{
    return xasprintf("%s/%s", object_namespace(msg), object_name(msg));
}

static void track(struct reflector *r, const void *msg)
{
    if (!r->cfg.track)
        return;
    cleanup_free char *key = key_of(msg);
    const char *uid = object_uid(msg);
    struct tracked *t = map_get(&r->tracked, key);
    if (t && !streq(t->uid, uid)) {
        /* Deleted and made again while nobody looked: the consumer sees both. */
        r->cfg.ops->on_delete(object_namespace(msg), object_name(msg), t->uid, r->cfg.arg);
        free(map_remove(&r->tracked, key));
        t = NULL;
    }
    if (!t) {
        t = xcalloc(1, sizeof(*t) + strlen(uid) + 1);
        memcpy(t->uid, uid, strlen(uid) + 1);
        (void)map_set(&r->tracked, key, t);
    }
    t->generation = r->generation;
}

static void tell_delete(struct reflector *r, const char *key, const char *uid)
{
    const char *slash = strchr(key, '/');
    cleanup_free char *ns = xstrndup(key, (size_t)(slash - key));
    r->cfg.ops->on_delete(ns, slash + 1, uid, r->cfg.arg);
}

static void sweep(struct reflector *r)
{
    size_t it = 0;
    struct map_entry *e;
    while ((e = map_next(&r->tracked, &it))) {
        struct tracked *t = e->value;
        if (t->generation == r->generation)
            continue;
        tell_delete(r, e->key, t->uid);
        free(map_remove(&r->tracked, e->key));
    }
}

/* ---- state ---- */

static void tell_state(struct reflector *r, const struct error *err)
{
    bool healthy = err == NULL;
    if (healthy)
        r->good = mono_now();
    if (r->told && r->healthy == healthy && healthy)
        return;
    r->told = true;
    r->healthy = healthy;
    if (r->cfg.ops->on_state)
        r->cfg.ops->on_state(err, r->cfg.arg);
}

static void on_timer(struct loop_timer *t)
{
    struct reflector *r = container_of(t, struct reflector, timer);
    if (r->relist || !r->resource_version)
        list_start(r);
    else
        watch_start(r);
}

static void wait_ms(struct reflector *r, int64_t ms)
{
    r->state = WAITING;
    loop_timer_start(kube_client_loop(r->client), &r->timer, ms, on_timer);
}

static void stream_over(struct reflector *r)
{
    r->call = NULL;
    object_list_free(TAKE(r->list));
    object_watch_free(TAKE(r->watch));
}

static bool is_gone(const struct kube_result *res)
{
    return res->http_code == 410 || kube_result_is(res, "Expired") || kube_result_is(res, "Gone");
}

static void add_query(struct buf *b, const char *key, const char *value)
{
    if (!value || !*value)
        return;
    (void)buf_printf(b, "%s%s=", b->n ? "&" : "", key);
    (void)buf_add_url_escaped(b, str_of(value));
}

static void add_selectors(struct reflector *r, struct buf *b)
{
    add_query(b, "fieldSelector", r->field_selector);
    add_query(b, "labelSelector", r->label_selector);
}

static unsigned decode_flags(const struct reflector *r)
{
    return r->cfg.keep_managed_fields ? 0 : OBJECT_DROP_MANAGED_FIELDS;
}

/* ---- listing ---- */

static int on_item(void *msg, void *arg)
{
    struct reflector *r = arg;
    track(r, msg);
    r->cfg.ops->on_object(REFLECT_LISTED, msg, r->cfg.arg);
    return 0;
}

static int on_list_data(struct str bytes, void *arg)
{
    struct reflector *r = arg;
    if (!r->replacing) {
        r->replacing = true;
        r->generation++;
        if (r->cfg.ops->on_replace_begin)
            r->cfg.ops->on_replace_begin(r->cfg.arg);
    }
    return object_list_feed(r->list, bytes, &r->stream_err);
}

static void list_done(struct reflector *r)
{
    str_replace(&r->resource_version, object_list_resource_version(r->list));
    str_replace(&r->continue_, object_list_continue(r->list));
    stream_over(r);
    if (*r->continue_) {
        list_start(r);
        return;
    }
    r->replacing = false;
    if (r->cfg.track)
        sweep(r);
    r->relist = false;
    r->synced = true;
    backoff_reset(&r->backoff);
    tell_state(r, NULL);
    if (r->cfg.ops->on_synced)
        r->cfg.ops->on_synced(r->cfg.arg);
    watch_start(r);
}

static void on_list_end(const struct kube_result *res, void *arg)
{
    struct reflector *r = arg;
    if (!res->err && !r->stream_err && object_list_end(r->list, &r->stream_err) == 0) {
        list_done(r);
        return;
    }
    stream_over(r);
    str_replace(&r->continue_, NULL); /* whatever it was: begin a new list */
    r->replacing = false;
    tell_state(r, r->stream_err ? r->stream_err : res->err);
    error_clear(&r->stream_err);
    int64_t ms = backoff_next_ms(&r->backoff);
    wait_ms(r, res->retry_after_s * 1000 > ms ? res->retry_after_s * 1000 : ms);
}

static void list_start(struct reflector *r)
{
    static const struct kube_stream_ops ops = {.on_data = on_list_data, .on_end = on_list_end};
    cleanup_buf struct buf query;
    buf_init(&query, (size_t)16 << 10);
    (void)buf_printf(&query, "limit=%d", PAGE_ITEMS);
    add_query(&query, "continue", r->continue_);
    add_selectors(r, &query);
    r->state = LISTING;
    r->relist = true;
    r->list = object_list_new(r->cfg.type, decode_flags(r), on_item, r);
    struct kube_request q = {.verb = KUBE_GET,
                             .type = r->cfg.type,
                             .namespace_ = r->namespace_,
                             .query = query.p,
                             .timeout_ms = LIST_TIMEOUT_MS};
    kube_stream(r->client, &q, &ops, r, &r->call);
}

/* ---- watching ---- */

static int watch_error(struct reflector *r, const K8s__Status *s)
{
    if (s->code == 410 || streq(s->reason, "Expired") || streq(s->reason, "Gone"))
        r->relist = true;
    return error_set(&r->stream_err, EREMOTEIO, "watch: %s", s->message ? s->message : "refused");
}

static int on_event(enum watch_type type, void *msg, void *arg)
{
    struct reflector *r = arg;
    if (type == WATCH_ERROR)
        return watch_error(r, msg);
    const char *rv = object_resource_version(msg);
    if (*rv)
        str_replace(&r->resource_version, rv);
    r->good = mono_now();
    switch (type) {
    case WATCH_ADDED:
    case WATCH_MODIFIED:
        track(r, msg);
        r->cfg.ops->on_object(type == WATCH_ADDED ? REFLECT_ADDED : REFLECT_MODIFIED, msg,
                              r->cfg.arg);
        break;
    case WATCH_DELETED:
        if (r->cfg.track) {
            cleanup_free char *key = key_of(msg);
            free(map_remove(&r->tracked, key));
        }
        r->cfg.ops->on_delete(object_namespace(msg), object_name(msg), object_uid(msg), r->cfg.arg);
        break;
    case WATCH_BOOKMARK:
    case WATCH_ERROR:
        break;
    }
    return 0;
}

static void on_watch_open(void *arg)
{
    tell_state(arg, NULL);
}

static int on_watch_data(struct str bytes, void *arg)
{
    struct reflector *r = arg;
    struct error *e = NULL;
    int rc = object_watch_feed(r->watch, bytes, &e);
    if (rc &&
        !r->stream_err) { /* not ours: bytes that do not parse. The state is unsure: list again. */
        r->stream_err = TAKE(e);
        r->relist = true;
    }
    error_free(e);
    return rc;
}

static void on_watch_end(const struct kube_result *res, void *arg)
{
    struct reflector *r = arg;
    stream_over(r);
    if (is_gone(res))
        r->relist = true;
    bool lived = mono_ms_since(r->watch_began) > 5000;
    if (lived)
        backoff_reset(&r->backoff);
    cleanup_error struct error *own = TAKE(r->stream_err);
    if (res->err && !(r->relist && own))
        tell_state(r, own ? own : res->err);
    if (!res->err && lived)
        watch_start(r); /* the server's ordinary end of a watch */
    else
        wait_ms(r, backoff_next_ms(&r->backoff));
}

static void watch_start(struct reflector *r)
{
    static const struct kube_stream_ops ops = {
        .on_open = on_watch_open, .on_data = on_watch_data, .on_end = on_watch_end};
    cleanup_buf struct buf query;
    buf_init(&query, (size_t)16 << 10);
    int64_t life = WATCH_LIFE_S + (int64_t)random_below(WATCH_LIFE_S);
    (void)buf_printf(&query, "watch=true&allowWatchBookmarks=true&timeoutSeconds=%d", (int)life);
    add_query(&query, "resourceVersion", r->resource_version);
    add_selectors(r, &query);
    r->state = WATCHING;
    r->watch_began = mono_now();
    r->watch = object_watch_new(r->cfg.type, decode_flags(r), on_event, r);
    struct kube_request q = {.verb = KUBE_GET,
                             .type = r->cfg.type,
                             .namespace_ = r->namespace_,
                             .query = query.p,
                             .timeout_ms = (life + 30) * 1000};
    kube_stream(r->client, &q, &ops, r, &r->call);
}

/* ---- lifecycle ---- */

struct reflector *reflector_start(struct kube_client *c, const struct reflector_config *cfg)
{
    struct reflector *r = xcalloc(1, sizeof(*r));
    r->client = c;
    r->cfg = *cfg;
    r->namespace_ = xstrdup_null(cfg->namespace_);
    r->field_selector = xstrdup_null(cfg->field_selector);
    r->label_selector = xstrdup_null(cfg->label_selector);
    r->backoff = (struct backoff){.first_ms = 100, .max_ms = 30000};
    map_init(&r->tracked);
    list_start(r);
    return r;
}

void reflector_stop(struct reflector *r)
{
    if (!r)
        return;
    kube_call_cancel(r->call);
    stream_over(r);
    loop_timer_stop(&r->timer);
    map_fini(&r->tracked, free);
    error_free(r->stream_err);
    free(r->namespace_);
    free(r->field_selector);
    free(r->label_selector);
    free(r->resource_version);
    free(r->continue_);
    free(r);
}

bool reflector_synced(const struct reflector *r)
{
    return r->synced;
}

int64_t reflector_age_ms(const struct reflector *r)
{
    return r->good.ns ? mono_ms_since(r->good) : -1;
}

void reflector_kick(struct reflector *r)
{
    if (r->state != WAITING)
        return;
    backoff_reset(&r->backoff);
    loop_timer_stop(&r->timer);
    wait_ms(r, 0);
}
