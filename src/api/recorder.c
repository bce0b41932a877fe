#include "api/recorder.h"
#include "base/backoff.h"
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/list.h"
#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>

#define QUEUE_MAX 1000
#define CACHE_MAX 4096
#define SIMILAR_MAX 10
#define WINDOW_NS (600 * NSEC_PER_SEC)
#define SPAM_BURST 25
#define SPAM_PERIOD_NS (300 * NSEC_PER_SEC)
#define TRIES_MAX 12
#define MESSAGE_BYTES_MAX 1024

/* What was sent before under one key; the same table serves all three ways of holding back. */
struct memory {
    struct list link; /* oldest first */
    char *event_name; /* of the first event with this text; NULL: nothing sent yet */
    int32_t count;
    int64_t first_ns, last_ns; /* wall */
    double tokens;             /* spam filter */
    char key[];
};
struct pending {
    struct list link;
    K8s__Event *event;
    char *memory_key;
    int tries;
};
struct recorder {
    struct kube_client *client;
    char *component, *host;
    struct map cache;
    struct list by_age;
    struct list queue;
    size_t queued, dropped;
    struct pending *sending;
    struct kube_call *call;
    struct loop_timer timer;
    struct loop *loop;
    struct backoff backoff;
};

static void send_next(struct recorder *r);

/* ---- memory ---- */

static void memory_free(struct memory *m)
{
    list_remove(&m->link);
    free(m->event_name);
    free(m);
}

static struct memory *memory_of(struct recorder *r, const char *key, int64_t now)
{
    struct memory *m = map_get(&r->cache, key);
    if (m)
        list_remove(&m->link);
    if (m && now - m->last_ns > WINDOW_NS && m->tokens < 0) {
        (void)map_remove(&r->cache, key);
        memory_free(m);
        m = NULL;
    }
    if (!m) {
        m = xcalloc(1, sizeof(*m) + strlen(key) + 1);
        memcpy(m->key, key, strlen(key) + 1);
        m->first_ns = m->last_ns = now;
        m->tokens = -1;
        (void)map_set(&r->cache, key, m);
    }
    list_add_tail(&r->by_age, &m->link);
    if (r->cache.n > CACHE_MAX) {
        struct memory *old = container_of(r->by_age.next, struct memory, link);
        (void)map_remove(&r->cache, old->key);
        memory_free(old);
    }
    return m;
}

/* A token a five minutes, 25 in hand: one noisy object cannot flood the server. */
static bool spam_ok(struct recorder *r, const struct recorder_object *o, int64_t now)
{
    cleanup_free char *key =
        xasprintf("spam|%s|%s|%s", strna(o->namespace_), strna(o->name), strna(o->uid));
    struct memory *m = memory_of(r, key, now);
    if (m->tokens < 0)
        m->tokens = SPAM_BURST;
    m->tokens += (double)(now - m->last_ns) / (double)SPAM_PERIOD_NS;
    if (m->tokens > SPAM_BURST)
        m->tokens = SPAM_BURST;
    m->last_ns = now;
    if (m->tokens < 1)
        return false;
    m->tokens -= 1;
    return true;
}

/* ---- queue ---- */

static void pending_free(struct pending *p)
{
    object_free(p->event);
    free(p->memory_key);
    free(p);
}

static void enqueue(struct recorder *r, struct pending *p)
{
    if (r->queued >= QUEUE_MAX) {
        struct pending *old = container_of(r->queue.next, struct pending, link);
        list_remove(&old->link);
        pending_free(old);
        r->queued--;
        r->dropped++;
    }
    list_add_tail(&r->queue, &p->link);
    r->queued++;
    send_next(r);
}

static void on_timer(struct loop_timer *t)
{
    send_next(container_of(t, struct recorder, timer));
}

static void retry_later(struct recorder *r)
{
    loop_timer_start(r->loop, &r->timer, backoff_next_ms(&r->backoff), on_timer);
}

static bool worth_retrying(const struct kube_result *res)
{
    return res->http_code == 0 || res->http_code == 429 || res->http_code >= 500;
}

static void on_sent(const struct kube_result *res, void *arg)
{
    struct recorder *r = arg;
    struct pending *p = TAKE(r->sending);
    r->call = NULL;
    struct memory *m = map_get(&r->cache, p->memory_key);
    if (res->err && worth_retrying(res) && ++p->tries < TRIES_MAX) {
        list_add_head(&r->queue, &p->link);
        r->queued++;
        retry_later(r);
        return;
    }
    if (res->http_code == 404 && m &&
        m->event_name) { /* the event to count up is gone: make it anew */
        free(TAKE(m->event_name));
        list_add_head(&r->queue, &p->link);
        r->queued++;
        send_next(r);
        return;
    }
    if (res->err)
        log_debugf("events", "event %s dropped: %s", p->event->reason, error_message(res->err));
    else if (m && !m->event_name)
        m->event_name = xstrdup(p->event->metadata->name);
    backoff_reset(&r->backoff);
    pending_free(p);
    send_next(r);
}

static void send_count(struct recorder *r, const struct memory *m, const K8s__Event *e)
{
    cleanup_buf struct buf b;
    buf_init(&b, 4096);
    char when[WALL_TEXT];
    wall_format(object_wall(e->lasttimestamp), when);
    (void)buf_printf(&b, "{\"count\":%d,\"lastTimestamp\":\"%s\",\"message\":", e->count, when);
    (void)buf_add_json_string(&b, str_of(e->message));
    (void)buf_add_char(&b, '}');
    kube_patch(r->client, &k8s__event__descriptor, e->metadata->namespace_, m->event_name, NULL,
               KUBE_PATCH_STRATEGIC, buf_str(&b), on_sent, r, &r->call);
}

static void send_next(struct recorder *r)
{
    if (r->sending || list_empty(&r->queue) || !r->client || loop_timer_pending(&r->timer))
        return;
    struct pending *p = container_of(r->queue.next, struct pending, link);
    list_remove(&p->link);
    r->queued--;
    r->sending = p;
    const struct memory *m = map_get(&r->cache, p->memory_key);
    if (m && m->event_name && p->event->count > 1)
        send_count(r, m, p->event);
    else
        kube_create(r->client, p->event, on_sent, r, &r->call);
}

/* ---- recording ---- */

static K8s__Event *build(struct recorder *r, const struct recorder_object *o, const char *type,
                         const char *reason, const char *message, const struct memory *m,
                         struct arena *a)
{
    K8s__Event *e = object_new(a, &k8s__event__descriptor);
    e->metadata = object_new(a, &k8s__object_meta__descriptor);
    e->metadata->name = arena_printf(a, "%s.%" PRIx64, o->name, (uint64_t)wall_now().ns);
    e->metadata->namespace_ =
        arena_strdup(a, o->namespace_ && *o->namespace_ ? o->namespace_ : "default");
    K8s__ObjectReference *ref = object_new(a, &k8s__object_reference__descriptor);
    ref->kind = arena_strdup(a, strna(o->kind));
    ref->apiversion = arena_strdup(a, strna(o->api_version));
    ref->name = arena_strdup(a, strna(o->name));
    if (o->namespace_ && *o->namespace_)
        ref->namespace_ = arena_strdup(a, o->namespace_);
    if (o->uid && *o->uid)
        ref->uid = arena_strdup(a, o->uid);
    if (o->resource_version && *o->resource_version)
        ref->resourceversion = arena_strdup(a, o->resource_version);
    if (o->field_path && *o->field_path)
        ref->fieldpath = arena_strdup(a, o->field_path);
    e->involvedobject = ref;
    e->reason = arena_strdup(a, reason);
    e->message = arena_strdup(a, message);
    e->type = arena_strdup(a, type);
    e->source = object_new(a, &k8s__event_source__descriptor);
    e->source->component = arena_strdup(a, r->component);
    if (r->host)
        e->source->host = arena_strdup(a, r->host);
    e->reportingcomponent = arena_strdup(a, r->component);
    e->reportinginstance = arena_strdup(a, strna(r->host));
    e->firsttimestamp = object_time(a, (struct wall){m->first_ns});
    e->lasttimestamp = object_time(a, (struct wall){m->last_ns});
    e->has_count = 1;
    e->count = m->count;
    return e;
}

static void record(struct recorder *r, const struct recorder_object *o, const char *type,
                   const char *reason, struct buf *text)
{
    int64_t now = wall_now().ns;
    if (!spam_ok(r, o, now))
        return;
    cleanup_free char *similar = xasprintf("like|%s|%s|%s|%s|%s", strna(o->kind),
                                           strna(o->namespace_), strna(o->name), type, reason);
    cleanup_free char *exact =
        xasprintf("same|%s|%s|%s|%s|%s|%s|%s", strna(o->kind), strna(o->namespace_), strna(o->name),
                  strna(o->field_path), type, reason, text->p);
    struct memory *known = map_get(&r->cache, exact);
    bool fresh = !known || now - known->last_ns > WINDOW_NS;
    struct memory *like = memory_of(r, similar, now);
    if (fresh)
        like->count++;
    like->last_ns = now;
    const char *key = exact;
    cleanup_free char *combined = NULL;
    if (fresh && like->count > SIMILAR_MAX) {
        combined = xasprintf("(combined from similar events): %s", text->p);
        key = similar;
    }
    struct memory *m = combined ? like : memory_of(r, exact, now);
    m->last_ns = now;
    if (!combined)
        m->count++;
    struct arena a;
    arena_init(&a, 0);
    struct pending *p = xcalloc(1, sizeof(*p));
    p->event = object_dup(build(r, o, type, reason, combined ? combined : text->p, m, &a));
    p->memory_key = xstrdup(key);
    arena_fini(&a);
    enqueue(r, p);
}

void recorder_event(struct recorder *r, const struct recorder_object *o, const char *type,
                    const char *reason, const char *fmt, ...)
{
    cleanup_buf struct buf text;
    buf_init(&text, (size_t)64 << 10);
    va_list ap;
    va_start(ap, fmt);
    (void)buf_vprintf(&text, fmt, ap);
    va_end(ap);
    if (text.n > MESSAGE_BYTES_MAX) {
        text.n = MESSAGE_BYTES_MAX;
        while (text.n && (text.p[text.n] & 0xC0) == 0x80) /* not inside a character */
            text.n--;
        text.p[text.n] = 0;
    }
    if (text.p)
        record(r, o, type, reason, &text);
}

void recorder_object_of(const void *msg, struct recorder_object *o,
                        char text[static OBJECT_API_VERSION_TEXT])
{
    const struct object_kind *k = object_kind_of(((const ProtobufCMessage *)msg)->descriptor);
    *o = (struct recorder_object){
        .api_version = text,
        .kind = k ? k->kind : "",
        .namespace_ = object_namespace(msg),
        .name = object_name(msg),
        .uid = object_uid(msg),
        .resource_version = object_resource_version(msg),
    };
    *text = 0;
    if (k)
        object_kind_api_version(k, text);
}

/* ---- lifecycle ---- */

struct recorder *recorder_new(struct kube_client *c, const char *component, const char *host)
{
    struct recorder *r = xcalloc(1, sizeof(*r));
    r->component = xstrdup(component);
    r->host = xstrdup_null(host);
    map_init(&r->cache);
    list_init(&r->by_age);
    list_init(&r->queue);
    r->backoff = (struct backoff){.first_ms = 1000, .max_ms = 30000};
    recorder_set_client(r, c);
    return r;
}

void recorder_set_client(struct recorder *r, struct kube_client *c)
{
    kube_call_cancel(TAKE(r->call));
    if (r->sending) {
        list_add_head(&r->queue, &r->sending->link);
        r->queued++;
        r->sending = NULL;
    }
    r->client = c;
    if (!c)
        return;
    r->loop = kube_client_loop(c);
    send_next(r);
}

void recorder_free(struct recorder *r)
{
    if (!r)
        return;
    recorder_set_client(r, NULL);
    loop_timer_stop(&r->timer);
    while (!list_empty(&r->queue)) {
        struct pending *p = container_of(r->queue.next, struct pending, link);
        list_remove(&p->link);
        pending_free(p);
    }
    while (!list_empty(&r->by_age))
        memory_free(container_of(r->by_age.next, struct memory, link));
    map_fini(&r->cache, NULL);
    free(r->component);
    free(r->host);
    free(r);
}
