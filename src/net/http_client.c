#include "net/http_client_private.h"
#include "base/mem.h"
#include "codec/url.h"
#include <errno.h>
#include <stdlib.h>

static void on_dispatch(struct loop_defer *d);

/* memory */

static void call_destroy(struct http_call *call)
{
    list_remove(&call->link);
    loop_timer_stop(&call->timer);
    buf_fini(&call->request);
    buf_fini(&call->upload);
    buf_fini(&call->body);
    buf_fini(&call->in);
    free(call->gathered);
    arena_fini(&call->arena);
    free(call->method);
    free(call->path);
    free(call);
}

static void reap_all(struct http_client *c)
{
    while (!list_empty(&c->dead_calls))
        call_destroy(container_of(c->dead_calls.next, struct http_call, link));
    while (!list_empty(&c->dead_conns)) {
        struct http_client_conn *conn =
            container_of(c->dead_conns.next, struct http_client_conn, link);

        list_remove(&conn->link);
        free(conn);
    }
}

static void on_reap(struct loop_defer *d)
{
    reap_all(container_of(d, struct http_client, reap));
}

static void client_destroy(struct http_client *c)
{
    loop_defer_stop(&c->reap);
    loop_defer_stop(&c->dispatch);
    loop_timer_stop(&c->idle_timer);
    reap_all(c);
    tls_client_unref(c->tls);
    free(c->base_url);
    free(c->host);
    free(c->host_header);
    free(c->prefix);
    free(c->unix_path);
    free(c->server_name);
    free(c->user_agent);
    free(c);
}

void http_client_enter(struct http_client *c)
{
    c->depth++;
}

void http_client_leave(struct http_client *c)
{
    if (--c->depth == 0 && c->freed)
        client_destroy(c);
}

void http_client_kick(struct http_client *c)
{
    if (!c->freed)
        loop_defer_start(c->loop, &c->dispatch, on_dispatch);
}

void http_client_bury(struct http_call *call)
{
    struct http_client *c = call->client;

    call->state = CALL_DEAD;
    loop_timer_stop(&call->timer);
    list_remove(&call->link);
    list_add_tail(&c->dead_calls, &call->link);
    loop_defer_start(c->loop, &c->reap, on_reap);
}

/* connections */

struct stream *http_client_conn_detach(struct http_client_conn *conn)
{
    struct http_client *c = conn->client;
    struct stream *st = conn->stream;

    if (conn->gone)
        return NULL;
    if (!conn->call && conn->open && conn->idle_since.ns)
        c->idle_n--;
    if (conn->call)
        conn->call->conn = NULL;
    conn->call = NULL;
    if (c->shared == conn)
        c->shared = NULL;
    if (c->trying == conn)
        c->trying = NULL;
    http2_client_free(TAKE(conn->h2));
    conn->gone = true;
    conn->stream = NULL;
    c->conns_n--;
    list_remove(&conn->link);
    list_add_tail(&c->dead_conns, &conn->link);
    loop_defer_start(c->loop, &c->reap, on_reap);
    if (!list_empty(&c->waiting))
        http_client_kick(c);
    return st;
}

static void conn_close(struct http_client_conn *conn)
{
    stream_free(http_client_conn_detach(conn));
}

static void on_idle_timer(struct loop_timer *t)
{
    struct http_client *c = container_of(t, struct http_client, idle_timer);

    while (!list_empty(&c->idle)) {
        struct http_client_conn *conn = container_of(c->idle.next, struct http_client_conn, link);
        int64_t age = mono_ms_since(conn->idle_since);

        if (age < c->idle_ms) {
            loop_timer_start(c->loop, t, c->idle_ms - age + 1, on_idle_timer);
            return;
        }
        conn_close(conn);
    }
}

void http_client_conn_done(struct http_client_conn *conn, bool reusable)
{
    struct http_client *c = conn->client;

    if (conn->gone)
        return;
    if (conn->call)
        conn->call->conn = NULL;
    conn->call = NULL;
    conn->idle_since.ns = 0;
    if (!reusable || c->idle_n >= c->idle_max) {
        stream_close(http_client_conn_detach(conn));
        return;
    }
    conn->reused = true;
    conn->scanned = 0;
    conn->idle_since = mono_now();
    list_remove(&conn->link);
    list_add_tail(&c->idle, &conn->link);
    c->idle_n++;
    stream_resume(conn->stream);
    if (!loop_timer_pending(&c->idle_timer))
        loop_timer_start(c->loop, &c->idle_timer, c->idle_ms + 1, on_idle_timer);
    if (!list_empty(&c->waiting))
        http_client_kick(c);
}

/* The peer chose HTTP/2: the call that waited for this connection is its first stream. */
static void begin_shared(struct http_client_conn *conn)
{
    struct http_call *call = conn->call;

    conn->call = NULL;
    conn->h2 = http2_client_new(conn);
    conn->client->shared = conn;
    if (call)
        http2_client_submit(conn->h2, call);
}

static void on_open(struct stream *st, void *arg)
{
    struct http_client_conn *conn = arg;
    struct http_client *c = conn->client;

    conn->open = true;
    http_client_enter(c);
    if (c->trying == conn) {
        c->trying = NULL;
        http_client_kick(c);
        if (streq(stream_alpn(st), "h2"))
            begin_shared(conn);
        else
            c->http2 = false; /* a peer of the old kind: as many connections as it takes */
    }
    if (conn->call)
        http_call_begin(conn->call);
    http_client_leave(c);
}

static void conn_lost(struct http_client_conn *conn, const char *why)
{
    struct error *err = NULL;

    (void)error_set(&err, EPROTO, "%s", why);
    http2_client_lost(conn->h2, err);
    error_free(err);
    if (!conn->gone)
        conn_close(conn);
}

static size_t on_data(struct stream *st, struct str data, void *arg)
{
    struct http_client_conn *conn = arg;
    struct http_client *c = conn->client;
    size_t used;

    (void)st;
    http_client_enter(c);
    if (conn->h2) {
        used = data.n;
        if (http2_client_feed(conn->h2, data) < 0 && !conn->gone)
            conn_lost(conn, "the peer's answer is not HTTP/2");
    } else if (conn->call) {
        used = http_call_feed(conn->call, data);
    } else {
        used = data.n; /* nobody asked */
        conn_close(conn);
    }
    http_client_leave(c);
    return used;
}

static void conn_end(struct http_client_conn *conn, bool orderly, const struct error *err)
{
    struct http_client *c = conn->client;
    struct http_call *call = conn->call;

    http_client_enter(c);
    if (conn->h2)
        http2_client_lost(conn->h2, err);
    else if (call)
        http_call_conn_end(call, orderly, err);
    if (!conn->gone)
        conn_close(conn);
    http_client_leave(c);
}

static void on_eof(struct stream *st, void *arg)
{
    (void)st;
    conn_end(arg, true, NULL);
}

static void on_close(struct stream *st, const struct error *err, void *arg)
{
    (void)st;
    conn_end(arg, err == NULL, err);
}

static void on_drain(struct stream *st, void *arg)
{
    struct http_client_conn *conn = arg;
    struct http_client *c = conn->client;
    struct http_call *call = conn->call;

    (void)st;
    http_client_enter(c);
    if (conn->h2)
        http2_client_drained(conn->h2);
    if (call && call->spec.on_drain && call->spec.stream_body)
        call->spec.on_drain(call, call->spec.arg);
    http_client_leave(c);
}

static int conn_open(struct http_client *c, bool http2, struct http_client_conn **ret,
                     struct error **err)
{
    static const struct stream_events ev = {.on_open = on_open,
                                            .on_data = on_data,
                                            .on_eof = on_eof,
                                            .on_drain = on_drain,
                                            .on_close = on_close};
    struct stream_target t = {.unix_path = c->unix_path,
                              .host = c->host,
                              .port = c->port,
                              .tls = c->tls,
                              .server_name = c->server_name,
                              .alpn = http2 ? "h2,http/1.1" : NULL,
                              .timeout_ms = c->connect_timeout_ms};
    struct http_client_conn *conn = xcalloc(1, sizeof *conn);
    int r = stream_connect(c->loop, &t, &ev, conn, &conn->stream, err);

    if (r < 0) {
        free(conn);
        return r;
    }
    conn->client = c;
    conn->tls_generation = c->tls ? tls_client_generation(c->tls) : 0;
    list_add_tail(&c->busy, &conn->link);
    c->conns_n++;
    *ret = conn;
    return 0;
}

/* The most recently used idle connection that is still fit. */
static struct http_client_conn *take_idle(struct http_client *c)
{
    while (!list_empty(&c->idle)) {
        struct http_client_conn *conn = container_of(c->idle.prev, struct http_client_conn, link);

        if (c->tls && conn->tls_generation != tls_client_generation(c->tls)) {
            conn_close(conn);
            continue;
        }
        list_remove(&conn->link);
        list_add_tail(&c->busy, &conn->link);
        conn->idle_since.ns = 0;
        c->idle_n--;
        return conn;
    }
    return NULL;
}

/* A shared connection that may take one more call. One whose certificate was replaced, or that said
 * goodbye, is left to end with its calls. */
static struct http_client_conn *take_shared(struct http_client *c)
{
    struct http_client_conn *conn = c->shared;

    if (!conn)
        return NULL;
    if (conn->tls_generation == tls_client_generation(c->tls) && http2_client_takes(conn->h2))
        return conn;
    c->shared = NULL;
    if (http2_client_idle(conn->h2))
        conn_close(conn);
    return NULL;
}

/* Gives a connection to the first call in line; false when none is to be had. */
static bool serve_one(struct http_client *c)
{
    struct http_call *call = container_of(c->waiting.next, struct http_call, link);
    bool http2 = c->http2 && !call->wants_upgrade;
    struct http_client_conn *conn = http2 ? take_shared(c) : take_idle(c);
    struct error *err = NULL;

    if (conn && conn->h2) {
        list_remove(&call->link);
        http2_client_submit(conn->h2, call);
        return true;
    }
    if (!conn && (c->conns_n >= c->connections_max || (http2 && c->trying)))
        return false;
    if (!conn && conn_open(c, http2, &conn, &err) < 0) {
        http_call_finish(call, err);
        error_free(err);
        return true;
    }
    if (http2)
        c->trying = conn;
    list_remove(&call->link);
    call->conn = conn;
    conn->call = call;
    call->state = CALL_CONNECTING;
    if (conn->open)
        http_call_begin(call);
    return true;
}

static void on_dispatch(struct loop_defer *d)
{
    struct http_client *c = container_of(d, struct http_client, dispatch);

    http_client_enter(c);
    while (!c->freed && !list_empty(&c->waiting) && serve_one(c))
        ;
    http_client_leave(c);
}

/* lifecycle */

static int set_url(struct http_client *c, const struct http_client_config *cfg, struct error **err)
{
    struct url u;
    bool https;

    if (!cfg->base_url || url_parse(str_of(cfg->base_url), &u) < 0)
        return error_set(err, EINVAL,
                         "\"%s\" is not a URL such as https://10.0.0.1:6443 or unix:///run/x.sock",
                         strna(cfg->base_url));
    c->base_url = xstrdup(cfg->base_url);
    if (str_eq_z(u.scheme, "unix")) {
        c->unix_path = str_dup(u.path);
        c->host_header = xstrdup("localhost");
        c->prefix = xstrdup("");
        return 0;
    }
    https = str_eq_z(u.scheme, "https");
    c->host = str_dup(u.host);
    c->port = u.port;
    if (u.port == (https ? 443 : 80))
        c->host_header = xasprintf(strchr(c->host, ':') ? "[%s]" : "%s", c->host);
    else
        c->host_header = xasprintf(strchr(c->host, ':') ? "[%s]:%u" : "%s:%u", c->host, u.port);
    while (u.path.n && u.path.p[u.path.n - 1] == '/')
        u.path.n--;
    c->prefix = str_dup(u.path);
    if (!https)
        return 0;
    if (cfg->tls) {
        c->tls = tls_client_ref(cfg->tls);
        return 0;
    }
    return tls_client_new(&(struct tls_client_config){0}, &c->tls, err);
}

int http_client_new(struct loop *l, const struct http_client_config *cfg, struct http_client **ret,
                    struct error **err)
{
    struct http_client *c = xcalloc(1, sizeof *c);
    int r;

    c->loop = l;
    list_init(&c->idle);
    list_init(&c->busy);
    list_init(&c->waiting);
    list_init(&c->dead_calls);
    list_init(&c->dead_conns);
    r = set_url(c, cfg, err);
    if (r < 0) {
        client_destroy(c);
        return r;
    }
    c->http2 = cfg->http2 && c->tls;
    c->server_name = xstrdup_null(cfg->server_name);
    c->user_agent = xstrdup(cfg->user_agent ? cfg->user_agent : "skiff/" SKIFF_VERSION);
    c->connections_max = cfg->connections_max ? cfg->connections_max : 64;
    c->idle_max = cfg->idle_max ? cfg->idle_max : 8;
    c->idle_ms = cfg->idle_ms ? cfg->idle_ms : 60000;
    c->connect_timeout_ms = cfg->connect_timeout_ms ? cfg->connect_timeout_ms : 10000;
    *ret = c;
    return 0;
}

static void close_list(struct list *l)
{
    while (!list_empty(l))
        conn_close(container_of(l->next, struct http_client_conn, link));
}

void http_client_close_idle(struct http_client *c)
{
    close_list(&c->idle);
    if (c->shared && http2_client_idle(c->shared->h2))
        conn_close(c->shared);
    c->shared = NULL;
}

void http_client_free(struct http_client *c)
{
    if (!c)
        return;
    http_client_enter(c);
    c->freed = true;
    while (!list_empty(&c->waiting))
        http_call_cancel(container_of(c->waiting.next, struct http_call, link));
    list_for_safe(n, &c->busy)
    {
        struct http_client_conn *conn = container_of(n, struct http_client_conn, link);

        if (conn->h2)
            http2_client_cancel_all(conn->h2);
        if (conn->call)
            http_call_cancel(conn->call);
    }
    close_list(&c->busy);
    close_list(&c->idle);
    http_client_leave(c);
}

const char *http_client_base_url(const struct http_client *c)
{
    return c->base_url;
}
