/*
 * Watches: a stream of events about one resource (and namespace), filtered by selectors. An object
 * that comes to match is ADDED, one that ceases to match is DELETED. A client that reads too slowly
 * is cut off and lists again.
 */
#include "base/cleanup.h"
#include "base/mem.h"
#include "codec/json.h"
#include "server/controllers/meta.h"
#include "server/http/api.h"
#include <stdio.h>
#include <stdlib.h>

#define BACKLOG_MAX (4u << 20)
#define BOOKMARK_MS 60000
#define TIMEOUT_MAX_S 3600
#define EVENT_MAX (8u << 20)

struct watch {
    struct list link;
    struct api_request *q;
    struct store_watch sub;
    struct selector *sel;
    struct loop_timer timeout;
    struct loop_defer end_later;
    enum accept_as as;
    struct str include;
    char *prefix;
    bool bookmarks, columns_sent, ended;
};

static void watch_free(struct watch *w)
{
    list_remove(&w->link);
    store_watch_stop(&w->sub);
    loop_timer_stop(&w->timeout);
    loop_defer_stop(&w->end_later);
    selector_free(w->sel);
    free(w->prefix);
    free(w);
}

static void on_abort(struct http_exchange *x, void *arg)
{
    struct watch *w = arg;

    (void)x;
    api_request_free(w->q);
    watch_free(w);
}

static void watch_end(struct watch *w)
{
    http_end(w->q->x);
    api_request_free(w->q);
    watch_free(w);
}

static void on_end_later(struct loop_defer *d)
{
    watch_end(container_of(d, struct watch, end_later));
}

static void on_timeout(struct loop_timer *t)
{
    watch_end(container_of(t, struct watch, timeout));
}

/* Object in the form asked for. New reference. */
static json_t *shape(struct watch *w, json_t *object)
{
    json_t *out;

    if (w->as == ACCEPT_METADATA)
        return metadata_only(object);
    to_served_version(w->q, object);
    if (w->as == ACCEPT_PLAIN)
        return json_incref(object);
    out = table_new(w->q->r, !w->columns_sent, meta_version(object));
    w->columns_sent = true;
    table_add(out, w->q->r, object, w->include);
    return out;
}

static void send_event(struct watch *w, const char *type, json_t *object, struct str bytes)
{
    struct buf b;

    buf_init(&b, EVENT_MAX);
    (void)buf_printf(&b, "{\"type\":\"%s\",\"object\":", type);
    if (object) {
        json_t *out = shape(w, object);

        (void)json_write(out, &b);
        json_decref(out);
    } else {
        (void)buf_add_str(&b, bytes);
    }
    (void)buf_add_z(&b, "}\n");
    http_write(w->q->x, buf_str(&b));
    buf_fini(&b);
    if (http_write_pending(w->q->x) > BACKLOG_MAX && !w->ended) {
        w->ended = true;
        loop_defer_start(w->q->s->loop, &w->end_later, on_end_later);
    }
}

static json_t *parse(struct str bytes)
{
    json_t *o = NULL;

    if (!bytes.n || json_parse(bytes, OBJECT_BYTES_MAX * 2, "event", &o, NULL) < 0)
        return NULL;
    return o;
}

static void on_event(struct watch *w, const struct store_event *e)
{
    static const char *const names[] = {
        [STORE_ADDED] = "ADDED", [STORE_MODIFIED] = "MODIFIED", [STORE_DELETED] = "DELETED"};
    bool plain = !w->sel && w->as == ACCEPT_PLAIN && served_as_stored(w->q);
    cleanup_json json_t *now = NULL, *before = NULL;
    enum store_change change = e->change;

    if (w->ended || !strstarts(e->key, w->prefix))
        return;
    if (plain) {
        send_event(w, names[change], NULL, e->value);
        return;
    }
    now = parse(e->value);
    if (!now)
        return;
    if (w->sel) {
        bool is = change != STORE_DELETED && selector_match(w->sel, now), was = false;

        before = parse(e->previous);
        was = before && selector_match(w->sel, before);
        if (!is && !was)
            return;
        change = is ? (was ? STORE_MODIFIED : STORE_ADDED) : STORE_DELETED;
    }
    send_event(w, names[change], now, STR_NULL);
}

static void on_store(struct store_watch *sub, const struct store_event *e)
{
    on_event(container_of(sub, struct watch, sub), e);
}

static void on_replay(const struct store_event *e, void *arg)
{
    on_event(arg, e);
}

static int on_initial(const char *key, struct str value, uint64_t revision, void *arg)
{
    struct watch *w = arg;
    cleanup_json json_t *o = parse(value);

    (void)key;
    (void)revision;
    if (o && selector_match(w->sel, o))
        send_event(w, "ADDED", o, STR_NULL);
    return 0;
}

static void send_bookmark(struct watch *w, bool initial_end)
{
    char api_version[128], version[24];
    json_t *o;

    (void)snprintf(api_version, sizeof api_version, "%s%s%s", w->q->group,
                   w->q->group[0] ? "/" : "", w->q->version);
    (void)snprintf(version, sizeof version, "%llu",
                   (unsigned long long)store_revision(w->q->s->store));
    o = json_pack("{s:s, s:s, s:{s:s}}", "kind", w->q->r->kind, "apiVersion", api_version,
                  "metadata", "resourceVersion", version);
    if (initial_end)
        (void)json_object_set_new(json_object_get(o, "metadata"), "annotations",
                                  json_pack("{s:s}", "k8s.io/initial-events-end", "true"));
    if (w->as == ACCEPT_TABLE) {
        json_t *t = table_new(w->q->r, false, version);

        json_decref(o);
        o = t;
    }
    struct buf b;

    buf_init(&b, 4096);
    (void)json_write(o, &b);
    send_event(w, "BOOKMARK", NULL, buf_str(&b));
    buf_fini(&b);
    json_decref(o);
}

static void on_bookmarks(struct loop_timer *t)
{
    struct server *s = container_of(t, struct server, bookmarks);

    list_for_safe(n, &s->watches)
    {
        struct watch *w = container_of(n, struct watch, link);

        if (w->bookmarks && !w->ended)
            send_bookmark(w, false);
    }
    if (!list_empty(&s->watches))
        loop_timer_start(s->loop, &s->bookmarks, BOOKMARK_MS, on_bookmarks);
}

void watches_stop(struct server *s)
{
    loop_timer_stop(&s->bookmarks);
    while (!list_empty(&s->watches))
        watch_end(container_of(s->watches.next, struct watch, link));
}

static void begin(struct watch *w, uint64_t from, bool initial)
{
    struct server *s = w->q->s;
    uint64_t seconds = 0;

    http_on_abort(w->q->x, on_abort, w);
    http_respond_begin(w->q->x, 200, "application/json");
    list_add_tail(&s->watches, &w->link);
    if (!loop_timer_pending(&s->bookmarks))
        loop_timer_start(s->loop, &s->bookmarks, BOOKMARK_MS, on_bookmarks);
    (void)str_to_u64(http_query_get(w->q->x, "timeoutSeconds"), UINT32_MAX, &seconds);
    if (!seconds || seconds > TIMEOUT_MAX_S)
        seconds = TIMEOUT_MAX_S;
    loop_timer_start(s->loop, &w->timeout, (int64_t)seconds * 1000, on_timeout);
    if (initial) {
        (void)store_list(s->store, w->prefix, NULL, 0, on_initial, w, NULL);
        if (http_query_bool(w->q->x, "sendInitialEvents"))
            send_bookmark(w, true);
    } else {
        (void)store_replay(s->store, from, on_replay, w);
    }
    w->sub.fn = on_store;
    store_watch_start(s->store, &w->sub);
}

static void ignore(const struct store_event *e, void *arg)
{
    (void)e;
    (void)arg;
}

void handle_watch(struct api_request *q)
{
    struct str version = http_query_get(q->x, "resourceVersion"),
               fields = http_query_get(q->x, "fieldSelector");
    bool initial =
        !version.n || str_eq_z(version, "0") || http_query_bool(q->x, "sendInitialEvents");
    cleanup_free char *by_name = NULL;
    struct api_status st = {0};
    struct watch *w;
    uint64_t from = 0;
    int r = 0;

    if (!initial && str_to_u64(version, UINT64_MAX, &from) < 0)
        r = status_bad(&st, "resourceVersion \"%.*s\" is not a number", STR_FMT(version));
    if (r == 0 && !initial && store_replay(q->s->store, from, ignore, NULL) < 0)
        r = status_set(&st, 410, "Expired", "too old resource version: %llu (%llu)",
                       (unsigned long long)from, (unsigned long long)store_revision(q->s->store));
    if (r < 0) {
        answer_status(q, &st);
        return;
    }
    if (q->name[0]) {
        by_name = xasprintf("metadata.name=%s", q->name);
        fields = str_of(by_name);
    }
    w = xcalloc(1, sizeof *w);
    w->q = q;
    if (selector_parse(http_query_get(q->x, "labelSelector"), fields, &w->sel, &st) < 0) {
        free(w);
        answer_status(q, &st);
        return;
    }
    w->as = api_request_accepts(q);
    w->include = http_query_get(q->x, "includeObject");
    w->bookmarks = http_query_bool(q->x, "allowWatchBookmarks");
    w->prefix = resource_key(q->r, q->ns, NULL);
    begin(w, from, initial);
}
