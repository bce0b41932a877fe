#include "net/http_client_private.h"
#include "base/mem.h"
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

/* end of a call */

/* Whatever still connects it to the peer is cut. */
static void release(struct http_call *call)
{
    if (!call->conn)
        return;
    if (call->conn->h2)
        http2_client_drop(call);
    else
        stream_free(http_client_conn_detach(call->conn));
}

void http_call_finish(struct http_call *call, const struct error *err)
{
    struct http_client *c = call->client;
    struct http_result r = {.error = err,
                            .status = call->status,
                            .headers = call->headers,
                            .body = buf_str(&call->body)};

    if (call->state == CALL_DEAD)
        return;
    http_client_enter(c);
    release(call);
    http_client_bury(call);
    if (call->spec.on_done)
        call->spec.on_done(call, &r, call->spec.arg);
    http_client_leave(c);
}

void http_call_fail(struct http_call *call, int code, const char *fmt, ...)
{
    struct error *err = NULL;
    cleanup_free char *text = NULL;
    va_list ap;

    va_start(ap, fmt);
    if (vasprintf(&text, fmt, ap) < 0)
        text = NULL;
    va_end(ap);
    (void)error_set(&err, code, "%s %s%s: %s", call->method, call->client->base_url, call->path,
                    strna(text));
    http_call_finish(call, err);
    error_free(err);
}

void http_call_cancel(struct http_call *call)
{
    if (!call || call->state == CALL_DEAD)
        return;
    http_client_enter(call->client);
    release(call);
    http_client_bury(call);
    http_client_leave(call->client);
}

/* time */

static void on_call_timer(struct loop_timer *t);

void http_call_arm(struct http_call *call)
{
    int64_t idle = call->spec.idle_timeout_ms, at = INT64_MAX;

    if (call->deadline.ns)
        at = call->deadline.ns;
    if (idle > 0 && call->state >= CALL_SENT && call->last_byte.ns + idle * NSEC_PER_MSEC < at)
        at = call->last_byte.ns + idle * NSEC_PER_MSEC;
    if (at == INT64_MAX)
        loop_timer_stop(&call->timer);
    else
        loop_timer_start(call->client->loop, &call->timer, (at - mono_now().ns) / NSEC_PER_MSEC + 1,
                         on_call_timer);
}

static bool body_over(const struct http_call *call)
{
    return call->state == CALL_BODY && !call->paused && !call->conn->h2 && call->conn->body.done;
}

static void complete(struct http_call *call);

static void on_call_timer(struct loop_timer *t)
{
    struct http_call *call = container_of(t, struct http_call, timer);
    struct mono now = mono_now();
    int64_t idle = call->spec.idle_timeout_ms;

    if (body_over(call)) { /* ended while it was paused */
        complete(call);
        return;
    }
    if (call->deadline.ns && now.ns >= call->deadline.ns) {
        static const char *const where[] = {"waiting for a connection", "connecting",
                                            "waiting for the response", "reading the response"};

        http_call_fail(call, ETIMEDOUT, "timed out while %s",
                       call->state < CALL_DEAD ? where[call->state] : "");
        return;
    }
    if (idle > 0 && call->state >= CALL_SENT && !call->paused &&
        now.ns - call->last_byte.ns >= idle * NSEC_PER_MSEC) {
        http_call_fail(call, ETIMEDOUT, "nothing heard for %lld ms", (long long)idle);
        return;
    }
    if (call->paused)
        call->last_byte = now;
    http_call_arm(call);
}

/* request */

static void write_upload(struct http_call *call, struct str data)
{
    struct stream *st = call->conn->stream;
    char head[20];

    if (!data.n)
        return;
    if (call->upload_chunked)
        stream_write(st, head, http1_chunk_head(data.n, head));
    stream_write_str(st, data);
    if (call->upload_chunked)
        stream_write(st, "\r\n", 2);
}

static void write_upload_end(struct http_call *call)
{
    if (call->upload_chunked)
        stream_write(call->conn->stream, "0\r\n\r\n", 5);
}

void http_call_begin(struct http_call *call)
{
    call->state = CALL_SENT;
    call->last_byte = mono_now();
    stream_write_str(call->conn->stream, buf_str(&call->request));
    if (!call->idempotent || call->spec.stream_body)
        buf_fini(&call->request);
    write_upload(call, buf_str(&call->upload));
    buf_fini(&call->upload);
    buf_init(&call->upload, BUF_UNBOUNDED);
    if (call->upload_ended)
        write_upload_end(call);
    if (call->spec.idle_timeout_ms > 0)
        http_call_arm(call);
}

void http_call_write(struct http_call *call, struct str data)
{
    if (call->state == CALL_DEAD || !call->spec.stream_body || call->upload_ended)
        return;
    if (call->state >= CALL_SENT && !call->conn->h2) {
        write_upload(call, data);
        return;
    }
    (void)buf_add_str(&call->upload, data);
    if (call->state >= CALL_SENT)
        http2_client_wrote(call);
}

void http_call_write_end(struct http_call *call)
{
    if (call->state == CALL_DEAD || !call->spec.stream_body || call->upload_ended)
        return;
    call->upload_ended = true;
    if (call->state >= CALL_SENT && call->conn->h2)
        http2_client_wrote(call);
    else if (call->state >= CALL_SENT)
        write_upload_end(call);
}

size_t http_call_write_pending(const struct http_call *call)
{
    if (call->state == CALL_DEAD)
        return 0;
    return call->upload.n +
           (call->conn && !call->conn->h2 ? stream_write_pending(call->conn->stream) : 0);
}

void http_call_pause(struct http_call *call)
{
    call->paused = true;
    if (call->conn && !call->conn->h2)
        stream_pause(call->conn->stream);
}

void http_call_resume(struct http_call *call)
{
    call->paused = false;
    call->last_byte = mono_now();
    if (call->conn && call->conn->h2) {
        http2_client_resume(call);
        return;
    }
    if (call->conn)
        stream_resume(call->conn->stream);
    if (body_over(call))
        loop_timer_start(call->client->loop, &call->timer, 0, on_call_timer);
}

/* response */

/* Everything came: the connection goes back, then the last callback. */
static void complete(struct http_call *call)
{
    struct http_client_conn *conn = call->conn;
    bool sent = !call->spec.stream_body || call->upload_ended;

    http_client_conn_done(conn,
                          conn->keep_alive && sent && stream_write_pending(conn->stream) == 0);
    http_call_finish(call, NULL);
}

static void do_upgrade(struct http_call *call, const struct http_response *r)
{
    struct stream *st = http_client_conn_detach(call->conn);

    stream_set_events(st, NULL, NULL);
    http_client_bury(call);
    call->spec.on_upgrade(call, st, r, call->spec.arg);
}

static void keep_headers(struct http_call *call, const struct http1_head *h)
{
    struct http_header *v = arena_alloc(&call->arena, sizeof *v * (h->headers_n + 1));

    for (size_t i = 0; i < h->headers_n; i++) {
        struct str name = h->headers[i].name, value = h->headers[i].value;

        v[i].name = (struct str){arena_strndup(&call->arena, name.p, name.n), name.n};
        v[i].value = (struct str){arena_strndup(&call->arena, value.p, value.n), value.n};
    }
    call->headers = (struct http_headers){v, h->headers_n};
    call->status = h->status;
}

/* Takes the head off data. Returns bytes used; 0: more is needed or the call is over. */
static size_t feed_head(struct http_call *call, struct str data)
{
    struct http_client_conn *conn = call->conn;
    size_t n = http1_head_end(data, &conn->scanned);
    struct http1_head h;
    struct http_response r;

    if (!n && data.n < STREAM_IN_MAX - 1)
        return 0;
    conn->scanned = 0;
    if (!n || http1_parse_response((struct str){data.p, n}, call->to_head, &h) < 0) {
        http_call_fail(call, EPROTO, "the peer's answer is not HTTP");
        return 0;
    }
    if (h.status < 200 && h.status != 101)
        return n;
    keep_headers(call, &h);
    r = (struct http_response){h.status, call->headers};
    if (h.status == 101) {
        if (call->wants_upgrade)
            do_upgrade(call, &r);
        else
            http_call_fail(call, EPROTO, "the peer switched protocols unasked");
        return n;
    }
    http1_body_init(&conn->body, &h);
    conn->keep_alive = h.keep_alive;
    http_call_head(call);
    return n;
}

void http_call_head(struct http_call *call)
{
    struct http_response r = {call->status, call->headers};

    call->state = CALL_BODY;
    if (!call->conn->h2) {
        buf_fini(&call->request);
        buf_init(&call->request, 0);
    }
    if (call->spec.on_response)
        call->spec.on_response(call, &r, call->spec.arg);
}

bool http_call_piece(struct http_call *call, struct str piece)
{
    if (!piece.n)
        return true;
    if (call->spec.collect_max) {
        if (buf_add_str(&call->body, piece) == 0)
            return true;
        http_call_fail(call, EMSGSIZE, "the response is larger than %zu bytes",
                       call->spec.collect_max);
        return false;
    }
    if (call->spec.on_data)
        call->spec.on_data(call, piece, call->spec.arg);
    return call->state != CALL_DEAD;
}

size_t http_call_feed(struct http_call *call, struct str data)
{
    size_t used = 0;

    call->last_byte = mono_now();
    while (call->state == CALL_SENT && used < data.n) {
        size_t n = feed_head(call, (struct str){data.p + used, data.n - used});

        if (!n)
            return call->state == CALL_DEAD ? data.n : used;
        used += n;
    }
    while (call->state == CALL_BODY && !call->conn->body.done && !call->paused && used < data.n) {
        struct str piece;
        size_t n;

        if (http1_body_next(&call->conn->body, (struct str){data.p + used, data.n - used}, &n,
                            &piece) < 0) {
            http_call_fail(call, EPROTO, "the response's chunks are malformed");
            return data.n;
        }
        used += n;
        if (!http_call_piece(call, piece))
            return data.n;
    }
    if (body_over(call)) {
        if (used < data.n)
            call->conn->keep_alive = false; /* bytes nobody asked for */
        complete(call);
        return data.n;
    }
    return call->state == CALL_CONNECTING ? data.n : used;
}

bool http_call_retry(struct http_call *call, bool unprocessed)
{
    struct http_client *c = call->client;

    if (call->state != CALL_SENT || call->retried || (!call->idempotent && !unprocessed) ||
        call->spec.stream_body)
        return false;
    call->retried = true;
    release(call);
    call->state = CALL_WAITING;
    list_remove(&call->link);
    list_add_head(&c->waiting, &call->link);
    http_client_kick(c);
    return true;
}

void http_call_conn_end(struct http_call *call, bool orderly, const struct error *err)
{
    if (call->state == CALL_BODY && orderly && call->conn->body.framing == HTTP1_CLOSE) {
        http_client_conn_done(call->conn, false);
        http_call_finish(call, NULL);
        return;
    }
    if (call->conn->reused && http_call_retry(call, false))
        return;
    if (call->state == CALL_CONNECTING && err)
        http_call_finish(call, err); /* says who and why already */
    else
        http_call_fail(call, err && err->code ? err->code : ECONNRESET, "%s",
                       err ? error_message(err)
                           : "connection closed before the response was complete");
}

/* start */

static void build_request(struct http_call *call, const struct http_call_spec *spec)
{
    struct http_client *c = call->client;
    struct buf *b = &call->request;

    (void)buf_printf(b, "%s %s%s HTTP/1.1\r\nHost: %s\r\nUser-Agent: %s\r\n", call->method,
                     c->prefix, call->path, c->host_header, c->user_agent);
    for (size_t i = 0; i < spec->headers_n; i++)
        (void)buf_printf(b, "%.*s: %.*s\r\n", STR_FMT(spec->headers[i].name),
                         STR_FMT(spec->headers[i].value));
    if (spec->content_type)
        (void)buf_printf(b, "Content-Type: %s\r\n", spec->content_type);
    if (spec->upgrade)
        (void)buf_printf(b, "Connection: Upgrade\r\nUpgrade: %s\r\n", spec->upgrade);
    if (spec->stream_body && spec->stream_length > 0)
        (void)buf_printf(b, "Content-Length: %lld\r\n", (long long)spec->stream_length);
    else if (spec->stream_body)
        (void)buf_add_z(b, "Transfer-Encoding: chunked\r\n");
    else if (spec->body.n || streq(call->method, "POST") || streq(call->method, "PUT") ||
             streq(call->method, "PATCH"))
        (void)buf_printf(b, "Content-Length: %zu\r\n", spec->body.n);
    (void)buf_add_z(b, "\r\n");
    (void)buf_add_str(b, spec->body);
}

static int check_spec(const struct http_call_spec *spec, struct error **err)
{
    const char *path = spec->path;

    if (!path || path[0] != '/')
        return error_set(err, EINVAL, "request path \"%s\" does not begin with '/'", strna(path));
    for (; *path; path++)
        if ((unsigned char)*path <= ' ' || *path == 0x7f || *path == '#')
            return error_set(err, EINVAL,
                             "request path \"%s\" holds a character that must be escaped",
                             spec->path);
    for (size_t i = 0; i < spec->headers_n; i++)
        if (!http1_name_ok(spec->headers[i].name) || !http1_value_ok(spec->headers[i].value))
            return error_set(err, EINVAL, "header \"%.*s\" cannot be sent",
                             STR_FMT(spec->headers[i].name));
    if (spec->method && !http1_name_ok(str_of(spec->method)))
        return error_set(err, EINVAL, "\"%s\" is not a method", spec->method);
    if (spec->upgrade && !spec->on_upgrade)
        return error_set(err, EINVAL, "upgrade without on_upgrade");
    return 0;
}

static struct http_call *call_new(struct http_client *c, const struct http_call_spec *spec)
{
    struct http_call *call = xcalloc(1, sizeof *call);
    int64_t ms = spec->timeout_ms ? spec->timeout_ms : 30000;

    call->client = c;
    call->spec = *spec;
    call->method = xstrdup(spec->method ? spec->method : "GET");
    call->path = xstrdup(spec->path);
    call->to_head = streq(call->method, "HEAD");
    call->wants_upgrade = spec->upgrade != NULL;
    call->idempotent =
        !call->wants_upgrade && !streq(call->method, "POST") && !streq(call->method, "PATCH");
    call->upload_chunked = spec->stream_body && spec->stream_length <= 0;
    arena_init(&call->arena, 1024);
    buf_init(&call->request, BUF_UNBOUNDED);
    buf_init(&call->upload, BUF_UNBOUNDED);
    buf_init(&call->body, spec->collect_max);
    if (ms > 0)
        call->deadline.ns = mono_now().ns + ms * NSEC_PER_MSEC;
    return call;
}

int http_call_start(struct http_client *c, const struct http_call_spec *spec,
                    struct http_call **ret, struct error **err)
{
    struct http_call *call;
    int r = check_spec(spec, err);

    if (r < 0)
        return r;
    call = call_new(c, spec);
    build_request(call, spec);
    call->spec.headers = NULL;
    call->spec.path = call->spec.method = call->spec.content_type = call->spec.upgrade = NULL;
    call->spec.body = STR_NULL;
    list_add_tail(&c->waiting, &call->link);
    http_call_arm(call);
    http_client_kick(c);
    if (ret)
        *ret = call;
    return 0;
}
