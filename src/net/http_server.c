#include "net/http_server_private.h"
#include "base/mem.h"
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/socket.h>

static void conn_data_loop(struct http_conn *c, struct str data, size_t *used);

/* memory */

static void exchange_destroy(struct http_exchange *x)
{
    list_remove(&x->link);
    arena_fini(&x->arena);
    buf_fini(&x->body);
    buf_fini(&x->extra);
    free(x);
}

static void reap_all(struct http_server *s)
{
    while (!list_empty(&s->dead_exchanges))
        exchange_destroy(container_of(s->dead_exchanges.next, struct http_exchange, link));
    while (!list_empty(&s->dead_conns)) {
        struct http_conn *c = container_of(s->dead_conns.next, struct http_conn, link);

        list_remove(&c->link);
        free(c);
    }
}

static void on_reap(struct loop_defer *d)
{
    reap_all(container_of(d, struct http_server, reap));
}

static void server_destroy(struct http_server *s)
{
    loop_defer_stop(&s->reap);
    reap_all(s);
    free(s);
}

void http_server_enter(struct http_server *s)
{
    s->depth++;
}

void http_server_leave(struct http_server *s)
{
    if (--s->depth == 0 && s->freed)
        server_destroy(s);
}

void http_exchange_finish(struct http_exchange *x)
{
    struct http_server *s = x->conn->server;

    x->ended = true;
    if (x->conn->x == x)
        x->conn->x = NULL;
    list_add_tail(&s->dead_exchanges, &x->link);
    loop_defer_start(s->loop, &s->reap, on_reap);
}

/* deadlines: one lazy timer a connection, moved only when it has to fire earlier */

static int64_t conn_allowance(const struct http_conn *c)
{
    const struct http_server_config *cfg = &c->server->cfg;

    switch (c->state) {
    case CONN_IDLE:
        return cfg->idle_timeout_ms; /* HTTP/2: no stream open */
    case CONN_HEAD:
        return cfg->head_timeout_ms;
    case CONN_SKIP:
        return cfg->body_timeout_ms;
    case CONN_BUSY:
        if (stream_write_pending(c->stream))
            return cfg->write_timeout_ms;
        return c->x && http_exchange_wants_body(c->x) ? cfg->body_timeout_ms : 0;
    }
    return 0;
}

static uint64_t conn_progress(const struct http_conn *c)
{
    return stream_bytes_in(c->stream) + stream_bytes_out(c->stream);
}

void http_exchange_abort(struct http_exchange *x)
{
    http_exchange_fn fn = x->on_abort;

    if (x->ended)
        return;
    http_exchange_finish(x);
    if (fn)
        fn(x, x->abort_arg);
}

static void conn_abort(struct http_conn *c)
{
    http_server_enter(c->server);
    if (c->x)
        http_exchange_abort(c->x);
    if (c->h2)
        http2_conn_free(TAKE(c->h2));
    http_server_leave(c->server);
}

static void on_conn_timer(struct loop_timer *t)
{
    struct http_conn *c = container_of(t, struct http_conn, timer);
    struct http_server *s = c->server;
    struct mono now = mono_now();

    c->timer_at.ns = 0;
    if (!c->deadline.ns)
        return;
    if (c->state == CONN_BUSY && conn_progress(c) != c->progress) {
        http_conn_arm(c);
        return;
    }
    if (now.ns < c->deadline.ns) {
        c->timer_at = c->deadline;
        loop_timer_start(s->loop, t, (c->deadline.ns - now.ns) / NSEC_PER_MSEC + 1, on_conn_timer);
        return;
    }
    http_server_enter(s);
    if (c->state == CONN_HEAD)
        http_conn_refuse(c, 408);
    else if (c->state == CONN_IDLE && c->h2)
        http2_conn_goaway(c->h2);
    else if (c->state == CONN_BUSY && c->x && !c->x->begun && !stream_write_pending(c->stream)) {
        conn_abort(c);
        if (!c->gone)
            http_conn_refuse(c, 408);
    } else {
        conn_abort(c);
        if (!c->gone)
            http_conn_close(c, false);
    }
    http_server_leave(s);
}

void http_conn_arm(struct http_conn *c)
{
    int64_t ms = conn_allowance(c);

    if (ms <= 0) {
        c->deadline.ns = 0;
        return;
    }
    c->deadline.ns = mono_now().ns + ms * NSEC_PER_MSEC;
    c->progress = conn_progress(c);
    if (c->timer_at.ns && c->timer_at.ns <= c->deadline.ns)
        return;
    c->timer_at = c->deadline;
    loop_timer_start(c->server->loop, &c->timer, ms + 1, on_conn_timer);
}

/* connections */

static void set_accepting(struct http_server *s, bool on)
{
    for (size_t i = 0; i < s->listeners_n; i++) {
        if (!s->listeners[i].listener)
            continue;
        if (on)
            stream_listener_resume(s->listeners[i].listener);
        else
            stream_listener_pause(s->listeners[i].listener);
    }
    s->full = !on;
}

struct stream *http_conn_detach(struct http_conn *c)
{
    struct http_server *s = c->server;
    struct stream *stream = c->stream;

    if (c->gone)
        return NULL;
    c->gone = true;
    c->stream = NULL;
    http2_conn_free(TAKE(c->h2));
    loop_timer_stop(&c->timer);
    list_remove(&c->link);
    list_add_tail(&s->dead_conns, &c->link);
    loop_defer_start(s->loop, &s->reap, on_reap);
    s->conns_n--;
    if (s->full && !s->draining && s->conns_n < s->cfg.connections_max)
        set_accepting(s, true);
    return stream;
}

void http_conn_close(struct http_conn *c, bool linger)
{
    struct stream *stream = http_conn_detach(c);

    if (linger)
        stream_close_linger(stream);
    else
        stream_close(stream);
}

void http_conn_refuse(struct http_conn *c, int status)
{
    cleanup_buf struct buf b;
    const char *text = http_status_text(status);

    buf_init(&b, 1024);
    (void)buf_printf(
        &b,
        "HTTP/1.1 %d %s\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: %zu\r\n"
        "Connection: close\r\n\r\n%d %s\n",
        status, text, strlen(text) + 5, status, text);
    stream_write_str(c->stream, buf_str(&b));
    http_conn_close(c, true);
}

/* Whether the rest of the request's body is worth reading to keep the connection. */
static bool worth_skipping(const struct http_conn *c, const struct http_exchange *x)
{
    if (x->expect_continue)
        return false;
    return c->body.framing == HTTP1_CHUNKED || c->body.left <= HTTP_DRAIN_MAX;
}

void http_conn_next(struct http_conn *c)
{
    struct http_exchange *x = c->x;
    bool close = x->close_after || c->server->draining;
    bool unread = !c->body.done;

    if (unread && !close && !worth_skipping(c, x))
        close = true;
    http_exchange_finish(x);
    if (close) {
        http_conn_close(c, unread);
        return;
    }
    c->state = unread ? CONN_SKIP : CONN_IDLE;
    c->skipped = 0;
    c->scanned = 0;
    http_conn_arm(c);
    stream_resume(c->stream); /* pipelined bytes are offered again */
}

/* One step each; false: wait for more. */

static bool step_head(struct http_conn *c, struct str in, size_t *used)
{
    struct http_server *s = c->server;
    size_t n = http1_head_end(in, &c->scanned);
    struct http_exchange *x;
    int r;

    if (n > s->cfg.head_max_bytes || (!n && in.n > s->cfg.head_max_bytes)) {
        http_conn_refuse(c, 431);
        return false;
    }
    if (!n) {
        if (c->state == CONN_IDLE && in.n) {
            c->state = CONN_HEAD;
            http_conn_arm(c);
        }
        return false;
    }
    c->scanned = 0;
    *used += n;
    r = http_exchange_new(c, (struct str){in.p, n}, &x);
    if (r < 0) {
        http_conn_refuse(c, -r);
        return false;
    }
    c->x = x;
    c->state = CONN_BUSY;
    c->deadline.ns = 0;
    s->cfg.on_request(x, s->cfg.arg);
    if (c->gone)
        return false;
    if (c->state == CONN_BUSY)
        http_conn_arm(c);
    return true;
}

static bool step_body(struct http_conn *c, struct str in, size_t *used)
{
    ssize_t r;

    if (!http_exchange_wants_body(c->x))
        return false;
    r = http_exchange_body(c->x, in);
    if (r < 0 && !c->gone) {
        conn_abort(c);
        if (!c->gone)
            http_conn_refuse(c, (int)-r);
        return false;
    }
    if (r > 0)
        *used += (size_t)r;
    return r > 0 && !c->gone;
}

static bool step_skip(struct http_conn *c, struct str in, size_t *used)
{
    struct str data;
    size_t n = 0;

    if (http1_body_next(&c->body, in, &n, &data) < 0) {
        http_conn_refuse(c, 400);
        return false;
    }
    *used += n;
    c->skipped += n;
    if (c->skipped > HTTP_DRAIN_MAX) {
        http_conn_close(c, true);
        return false;
    }
    if (c->body.done) {
        c->state = CONN_IDLE;
        http_conn_arm(c);
        return true;
    }
    return n > 0;
}

static void conn_data_loop(struct http_conn *c, struct str data, size_t *used)
{
    bool more = true;

    while (more && !c->gone) {
        struct str in = {data.p + *used, data.n - *used};

        if (!in.n && !(c->state == CONN_SKIP && c->body.done))
            break;
        switch (c->state) {
        case CONN_IDLE:
        case CONN_HEAD:
            more = step_head(c, in, used);
            break;
        case CONN_BUSY:
            more = step_body(c, in, used);
            break;
        case CONN_SKIP:
            more = step_skip(c, in, used);
            break;
        }
    }
}

static size_t on_conn_data(struct stream *st, struct str data, void *arg)
{
    struct http_conn *c = arg;
    struct http_server *s = c->server;
    size_t used = 0;

    (void)st;
    http_server_enter(s);
    if (!c->h2) {
        conn_data_loop(c, data, &used);
    } else {
        used = data.n;
        if (http2_conn_feed(c->h2, data) < 0 && !c->gone) {
            conn_abort(c);
            if (!c->gone)
                http_conn_close(c, false);
        }
    }
    http_server_leave(s);
    return used;
}

static void on_conn_open(struct stream *st, void *arg)
{
    struct http_conn *c = arg;

    if (streq(stream_alpn(st), "h2"))
        c->h2 = http2_conn_new(c);
}

static void on_conn_end(struct http_conn *c)
{
    struct http_server *s = c->server;

    http_server_enter(s);
    conn_abort(c);
    if (!c->gone)
        http_conn_close(c, false);
    http_server_leave(s);
}

static void on_conn_eof(struct stream *st, void *arg)
{
    (void)st;
    on_conn_end(arg);
}

static void on_conn_close(struct stream *st, const struct error *err, void *arg)
{
    (void)st, (void)err;
    on_conn_end(arg);
}

static void on_conn_drain(struct stream *st, void *arg)
{
    struct http_conn *c = arg;
    struct http_exchange *x = c->x;
    struct http_server *s = c->server;

    (void)st;
    http_server_enter(s);
    if (c->h2)
        http2_conn_drained(c->h2);
    if (x && !x->ended && x->on_drain)
        x->on_drain(x, x->drain_arg);
    http_server_leave(s);
}

static void add_conn(struct http_server *s, int fd, struct tls_server *tls)
{
    static const struct stream_events ev = {.on_open = on_conn_open,
                                            .on_data = on_conn_data,
                                            .on_eof = on_conn_eof,
                                            .on_drain = on_conn_drain,
                                            .on_close = on_conn_close};
    struct http_conn *c = xcalloc(1, sizeof *c);
    struct sockaddr_storage ss = {0};
    socklen_t n = sizeof ss;

    c->server = s;
    (void)getsockname(fd, (struct sockaddr *)&ss, &n);
    c->unix_peer = ss.ss_family == AF_UNIX;
    c->stream = tls ? stream_new_tls(s->loop, fd, tls, s->cfg.head_timeout_ms, &ev, c)
                    : stream_new_fd(s->loop, fd, &ev, c);
    list_add_tail(&s->conns, &c->link);
    if (++s->conns_n >= s->cfg.connections_max)
        set_accepting(s, false);
    http_conn_arm(c);
}

static void on_accept(struct stream_listener *sl, int fd, const char *peer, void *arg)
{
    struct http_listener *hl = arg;

    (void)sl, (void)peer;
    add_conn(hl->server, fd, hl->tls);
}

/* lifecycle */

struct http_server *http_server_new(struct loop *l, const struct http_server_config *cfg)
{
    struct http_server *s = xcalloc(1, sizeof *s);

    s->loop = l;
    s->cfg = *cfg;
    if (!s->cfg.head_max_bytes || s->cfg.head_max_bytes > STREAM_IN_MAX - 1)
        s->cfg.head_max_bytes = STREAM_IN_MAX - 1;
    if (!s->cfg.connections_max)
        s->cfg.connections_max = 4096;
    if (!s->cfg.head_timeout_ms)
        s->cfg.head_timeout_ms = 10000;
    if (!s->cfg.idle_timeout_ms)
        s->cfg.idle_timeout_ms = 90000;
    if (!s->cfg.body_timeout_ms)
        s->cfg.body_timeout_ms = 60000;
    if (!s->cfg.write_timeout_ms)
        s->cfg.write_timeout_ms = 60000;
    list_init(&s->conns);
    list_init(&s->dead_conns);
    list_init(&s->dead_exchanges);
    return s;
}

static int listener_slot(struct http_server *s, struct http_listener **ret, struct error **err)
{
    if (s->listeners_n == HTTP_LISTENERS_MAX)
        return error_set(err, ENOSPC, "listen: no more than %d addresses", HTTP_LISTENERS_MAX);
    *ret = &s->listeners[s->listeners_n];
    **ret = (struct http_listener){.server = s};
    return 0;
}

int http_server_listen_tcp(struct http_server *s, const char *address, uint16_t port,
                           struct tls_server *tls, struct error **err)
{
    struct http_listener *hl = NULL;
    int r = listener_slot(s, &hl, err);

    if (r == 0)
        r = stream_listen_tcp(s->loop, address, port, on_accept, hl, &hl->listener, err);
    if (r < 0)
        return r;
    hl->tls = tls ? tls_server_ref(tls) : NULL;
    if (tls)
        tls_server_default_alpn(tls, "h2,http/1.1");
    s->listeners_n++;
    return 0;
}

int http_server_listen_unix(struct http_server *s, const char *path, unsigned mode,
                            struct error **err)
{
    struct http_listener *hl = NULL;
    int r = listener_slot(s, &hl, err);

    if (r == 0)
        r = stream_listen_unix(s->loop, path, mode, on_accept, hl, &hl->listener, err);
    if (r < 0)
        return r;
    s->listeners_n++;
    return 0;
}

uint16_t http_server_port(const struct http_server *s)
{
    for (size_t i = 0; i < s->listeners_n; i++)
        if (s->listeners[i].listener && stream_listener_port(s->listeners[i].listener))
            return stream_listener_port(s->listeners[i].listener);
    return 0;
}

size_t http_server_connections(const struct http_server *s)
{
    return s->conns_n;
}

void http_server_add_fd(struct http_server *s, int fd, struct tls_server *tls)
{
    add_conn(s, fd, tls);
}

static void close_listeners(struct http_server *s)
{
    for (size_t i = 0; i < s->listeners_n; i++) {
        stream_listener_free(s->listeners[i].listener);
        tls_server_unref(s->listeners[i].tls);
        s->listeners[i] = (struct http_listener){0};
    }
    s->listeners_n = 0;
}

void http_server_drain(struct http_server *s)
{
    s->draining = true;
    close_listeners(s);
    list_for_safe(n, &s->conns)
    {
        struct http_conn *c = container_of(n, struct http_conn, link);

        if (c->h2)
            http2_conn_goaway(c->h2);
        if (c->state == CONN_IDLE)
            http_conn_close(c, false);
    }
}

void http_server_free(struct http_server *s)
{
    if (!s)
        return;
    http_server_enter(s);
    s->draining = true;
    close_listeners(s);
    while (!list_empty(&s->conns)) {
        struct http_conn *c = container_of(s->conns.next, struct http_conn, link);

        conn_abort(c);
        if (!c->gone)
            stream_free(http_conn_detach(c));
    }
    s->freed = true;
    http_server_leave(s);
}
