/* HTTP/2 below struct http_call: one nghttp2 session a connection, one stream a call. */
#include "net/http_client_private.h"
#include "base/mem.h"
#include <errno.h>
#include <nghttp2/nghttp2.h>
#include <stdlib.h>

#define WINDOW_CONN (4 << 20)
#define WINDOW_STREAM (256 * 1024)
#define WIRE_HIGH (64u * 1024)
#define HEAD_MAX (64u * 1024)
#define PING_AFTER_MS 30000 /* of silence while calls are on */
#define PING_WAIT_MS 15000

struct http2_client {
    struct http_client_conn *conn; /* NULL once freed */
    nghttp2_session *session;
    struct list calls;
    size_t calls_n;
    struct loop_defer flush;
    struct loop_timer timer;
    struct mono last_in;
    bool pinged, goaway;
    unsigned busy;
};

static void on_flush(struct loop_defer *d);
static void on_timer(struct loop_timer *t);

static void schedule(struct http2_client *h)
{
    if (h->conn)
        loop_defer_start(h->conn->client->loop, &h->flush, on_flush);
}

static void arm(struct http2_client *h)
{
    struct http_client *c = h->conn->client;

    loop_timer_start(c->loop, &h->timer, h->calls_n ? PING_AFTER_MS : c->idle_ms, on_timer);
}

static void free_now(struct http2_client *h)
{
    loop_defer_stop(&h->flush);
    loop_timer_stop(&h->timer);
    nghttp2_session_del(h->session);
    free(h);
}

static void leave(struct http2_client *h)
{
    if (--h->busy == 0 && !h->conn)
        free_now(h);
}

void http2_client_free(struct http2_client *h)
{
    if (!h)
        return;
    h->busy++;
    h->conn = NULL;
    loop_defer_stop(&h->flush);
    loop_timer_stop(&h->timer);
    leave(h);
}

bool http2_client_takes(const struct http2_client *h)
{
    return !h->goaway && nghttp2_session_check_request_allowed(h->session) &&
           h->calls_n < nghttp2_session_get_remote_settings(
                            h->session, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS);
}

bool http2_client_idle(const struct http2_client *h)
{
    return h->calls_n == 0;
}

/* calls */

static void unlink_call(struct http_call *call)
{
    struct http2_client *h = call->conn->h2;

    (void)nghttp2_session_set_stream_user_data(h->session, call->stream_id, NULL);
    list_remove(&call->link);
    call->conn = NULL;
    h->calls_n--;
    if (h->calls_n == 0)
        arm(h);
    schedule(h);
    if (!list_empty(&h->conn->client->waiting))
        http_client_kick(h->conn->client);
}

void http2_client_drop(struct http_call *call)
{
    struct http2_client *h = call->conn->h2;

    if (nghttp2_session_get_stream_user_data(h->session, call->stream_id) == call)
        (void)nghttp2_submit_rst_stream(h->session, NGHTTP2_FLAG_NONE, call->stream_id,
                                        NGHTTP2_CANCEL);
    unlink_call(call);
}

/* The response is complete and delivered. */
static void complete(struct http_call *call)
{
    struct http2_client *h = call->conn->h2;
    bool sent = !call->spec.stream_body || (call->upload_ended && !call->upload.n);

    if (!sent)
        (void)nghttp2_submit_rst_stream(h->session, NGHTTP2_FLAG_NONE, call->stream_id,
                                        NGHTTP2_NO_ERROR);
    unlink_call(call);
    http_call_finish(call, NULL);
}

static ssize_t read_out(nghttp2_session *session, int32_t id, uint8_t *p, size_t n, uint32_t *flags,
                        nghttp2_data_source *source, void *arg)
{
    struct http_call *call = nghttp2_session_get_stream_user_data(session, id);
    struct buf *from;
    bool more;

    if (!call)
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    from = call->spec.stream_body ? &call->upload : &call->request;
    more = call->spec.stream_body && !call->upload_ended;
    if (n > from->n - call->sent)
        n = from->n - call->sent;
    if (n == 0 && more) {
        call->deferred = true;
        return NGHTTP2_ERR_DEFERRED;
    }
    memcpy(p, from->p + call->sent, n);
    call->sent += n;
    if (call->spec.stream_body) {
        buf_consume(from, call->sent);
        call->sent = 0;
        if (call->above_low && from->n <= STREAM_LOW) {
            call->above_low = false;
            call->drain_due = true;
        }
    }
    if (!more && call->sent == from->n)
        *flags |= NGHTTP2_DATA_FLAG_EOF;
    return (ssize_t)n;
}

static void put(nghttp2_nv *nv, size_t *n, struct str name, struct str value)
{
    nv[(*n)++] = (nghttp2_nv){(uint8_t *)(uintptr_t)name.p, (uint8_t *)(uintptr_t)value.p, name.n,
                              value.n, NGHTTP2_NV_FLAG_NONE};
}

static bool left_out(struct str name)
{
    static const char *const names[] = {"host", "connection", "transfer-encoding", "upgrade",
                                        "keep-alive"};

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (str_ieq_z(name, names[i]))
            return true;
    return false;
}

/* The request was written as HTTP/1.1 text; its head is taken apart again. nghttp2 copies names and
 * values, and names must be in lower case, so they are changed in place. */
static int submit(struct http2_client *h, struct http_call *call)
{
    nghttp2_data_provider body = {.source.ptr = call, .read_callback = read_out};
    nghttp2_nv nv[HTTP1_HEADERS_MAX + 4];
    struct http1_head head;
    size_t scanned = 0, n = 0, head_n = http1_head_end(buf_str(&call->request), &scanned);
    bool has_body = call->spec.stream_body || call->request.n > head_n;

    if (!head_n || http1_parse_request((struct str){call->request.p, head_n}, &head) < 0)
        return -EINVAL;
    put(nv, &n, STR(":method"), head.method);
    put(nv, &n, STR(":scheme"), STR("https"));
    put(nv, &n, STR(":authority"), str_of(call->client->host_header));
    put(nv, &n, STR(":path"), head.target);
    for (size_t i = 0; i < head.headers_n; i++) {
        struct str name = head.headers[i].name;

        if (left_out(name))
            continue;
        for (char *p = (char *)(uintptr_t)name.p; p < name.p + name.n; p++)
            *p = *p >= 'A' && *p <= 'Z' ? (char)(*p + 32) : *p;
        put(nv, &n, name, head.headers[i].value);
    }
    call->sent = call->spec.stream_body ? 0 : head_n;
    return nghttp2_submit_request(h->session, NULL, nv, n, has_body ? &body : NULL, call);
}

void http2_client_submit(struct http2_client *h, struct http_call *call)
{
    int32_t id = submit(h, call);

    if (id < 0) {
        call->conn = NULL;
        http_call_fail(call, EPROTO, "cannot be sent over HTTP/2");
        return;
    }
    call->stream_id = id;
    call->conn = h->conn;
    call->state = CALL_SENT;
    call->last_byte = mono_now();
    buf_fini(&call->in);
    buf_init(&call->in, WINDOW_STREAM + 65536);
    call->gathered_n = call->head_bytes = 0;
    call->eof = call->deferred = false;
    list_add_tail(&h->calls, &call->link);
    h->calls_n++;
    if (h->calls_n == 1)
        arm(h);
    if (call->spec.idle_timeout_ms > 0)
        http_call_arm(call);
    if (call->upload.n > STREAM_LOW)
        call->above_low = true;
    schedule(h);
}

void http2_client_wrote(struct http_call *call)
{
    struct http2_client *h = call->conn->h2;

    if (call->upload.n > STREAM_LOW)
        call->above_low = true;
    if (call->deferred) {
        call->deferred = false;
        (void)nghttp2_session_resume_data(h->session, call->stream_id);
    }
    schedule(h);
}

void http2_client_resume(struct http_call *call)
{
    call->resumed = true;
    schedule(call->conn->h2);
}

/* responses */

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                     size_t name_n, const uint8_t *value, size_t value_n, uint8_t flags, void *arg)
{
    struct http_call *call = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
    int64_t status;
    char *n, *v;

    if (!call || call->state != CALL_SENT)
        return 0;
    call->head_bytes += name_n + value_n + 32;
    if (call->head_bytes > HEAD_MAX)
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    n = arena_strndup(&call->arena, (const char *)name, name_n);
    v = arena_strndup(&call->arena, (const char *)value, value_n);
    if (streq(n, ":status") && str_to_i64(str_of(v), 100, 999, &status) == 0)
        call->status = (int)status;
    if (n[0] == ':')
        return 0;
    if (call->gathered_n == call->gathered_cap) {
        call->gathered_cap = call->gathered_cap ? call->gathered_cap * 2 : 16;
        call->gathered = xreallocarray(call->gathered, call->gathered_cap, sizeof *call->gathered);
    }
    call->gathered[call->gathered_n++] = (struct http_header){{n, name_n}, {v, value_n}};
    return 0;
}

static void on_goaway(struct http2_client *h)
{
    h->goaway = true;
    if (h->conn->client->shared == h->conn)
        h->conn->client->shared = NULL;
}

static int on_frame_recv(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
    struct http_call *call = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
    struct http2_client *h = arg;

    if (!h->conn)
        return 0;
    if (frame->hd.type == NGHTTP2_GOAWAY)
        on_goaway(h);
    if (!call || (frame->hd.type != NGHTTP2_HEADERS && frame->hd.type != NGHTTP2_DATA))
        return 0;
    call->last_byte = mono_now();
    if (frame->hd.type == NGHTTP2_HEADERS && call->state == CALL_SENT) {
        if (call->status < 200) {
            call->gathered_n = 0;
            return 0;
        }
        call->headers = (struct http_headers){call->gathered, call->gathered_n};
        http_call_head(call);
    }
    if (call->state == CALL_BODY && (frame->hd.flags & NGHTTP2_FLAG_END_STREAM)) {
        call->eof = true;
        if (!call->paused && !call->in.n)
            complete(call);
    }
    return 0;
}

static int on_data_chunk(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *p,
                         size_t n, void *arg)
{
    struct http_call *call = nghttp2_session_get_stream_user_data(session, id);
    struct http2_client *h = arg;

    if (call && h->conn && (call->paused || call->in.n) && buf_add(&call->in, p, n) == 0)
        return 0;
    if (call && h->conn) {
        call->last_byte = mono_now();
        (void)http_call_piece(call, (struct str){(const char *)p, n});
    }
    (void)nghttp2_session_consume(session, id, n);
    return 0;
}

static int on_stream_close(nghttp2_session *session, int32_t id, uint32_t code, void *arg)
{
    struct http_call *call = nghttp2_session_get_stream_user_data(session, id);
    struct http2_client *h = arg;

    if (!call || !h->conn || (call->eof && code == NGHTTP2_NO_ERROR))
        return 0;  /* complete, but paused: the rest comes on resume */
    if (call->eof) /* an error after the end harms nobody */
        return 0;
    (void)nghttp2_session_set_stream_user_data(session, id, NULL);
    if (http_call_retry(call, code == NGHTTP2_REFUSED_STREAM))
        return 0;
    unlink_call(call);
    http_call_fail(call, ECONNRESET, "the peer gave up the stream: %s",
                   nghttp2_http2_strerror(code));
    return 0;
}

/* connection */

/* Delivers what came while a call was paused; tells drained uploads. False when nothing was to do.
 */
static bool serve_one(struct http2_client *h)
{
    list_for(n, &h->calls)
    {
        struct http_call *call = container_of(n, struct http_call, link);

        if (call->drain_due) {
            call->drain_due = false;
            if (call->spec.on_drain)
                call->spec.on_drain(call, call->spec.arg);
            return true;
        }
        if (call->paused || !call->resumed)
            continue;
        call->resumed = false;
        if (call->in.n) {
            struct buf piece = call->in;

            buf_init(&call->in, piece.max);
            if (nghttp2_session_find_stream(h->session, call->stream_id))
                (void)nghttp2_session_consume(h->session, call->stream_id, piece.n);
            else
                (void)nghttp2_session_consume_connection(h->session, piece.n);
            (void)http_call_piece(call, buf_str(&piece));
            buf_fini(&piece);
        }
        if (call->state == CALL_BODY && call->eof && !call->paused && !call->in.n)
            complete(call);
        return true;
    }
    return false;
}

static void on_flush(struct loop_defer *d)
{
    struct http2_client *h = container_of(d, struct http2_client, flush);
    struct http_client *c = h->conn->client;

    http_client_enter(c);
    h->busy++;
    while (h->conn && serve_one(h))
        ;
    while (h->conn && stream_write_pending(h->conn->stream) < WIRE_HIGH) {
        const uint8_t *p;
        ssize_t n = nghttp2_session_mem_send(h->session, &p);

        if (n <= 0)
            break;
        stream_write(h->conn->stream, p, (size_t)n);
    }
    if (h->conn && h->calls_n == 0 && h->conn != c->shared)
        stream_close(http_client_conn_detach(h->conn));
    leave(h);
    http_client_leave(c);
}

void http2_client_drained(struct http2_client *h)
{
    schedule(h);
}

int http2_client_feed(struct http2_client *h, struct str in)
{
    ssize_t r;

    h->last_in = mono_now();
    h->pinged = false;
    h->busy++;
    r = nghttp2_session_mem_recv(h->session, (const uint8_t *)in.p, in.n);
    schedule(h);
    if (!h->conn)
        r = 0;
    leave(h);
    return r < 0 ? -EPROTO : 0;
}

void http2_client_lost(struct http2_client *h, const struct error *err)
{
    bool reused = nghttp2_session_get_next_stream_id(h->session) > 3;

    h->busy++;
    h->goaway = true;
    while (!list_empty(&h->calls) && h->conn) {
        struct http_call *call = container_of(h->calls.next, struct http_call, link);

        if (reused && http_call_retry(call, false))
            continue;
        unlink_call(call);
        http_call_fail(call, err && err->code ? err->code : ECONNRESET, "%s",
                       err ? error_message(err)
                           : "connection closed before the response was complete");
    }
    leave(h);
}

void http2_client_cancel_all(struct http2_client *h)
{
    h->busy++;
    while (!list_empty(&h->calls))
        http_call_cancel(container_of(h->calls.next, struct http_call, link));
    leave(h);
}

static void on_timer(struct loop_timer *t)
{
    struct http2_client *h = container_of(t, struct http2_client, timer);
    struct http_client_conn *conn = h->conn;
    struct http_client *c = conn->client;
    struct error *err = NULL;

    http_client_enter(c);
    if (!h->calls_n) {
        stream_close(http_client_conn_detach(conn));
    } else if (h->pinged) {
        (void)error_set(&err, ETIMEDOUT, "the peer does not answer on this connection any more");
        http2_client_lost(h, err);
        error_free(err);
        if (!conn->gone)
            stream_free(http_client_conn_detach(conn));
    } else if (mono_ms_since(h->last_in) < PING_AFTER_MS) {
        loop_timer_start(c->loop, t, PING_AFTER_MS - mono_ms_since(h->last_in) + 1, on_timer);
    } else {
        h->pinged = true;
        (void)nghttp2_submit_ping(h->session, NGHTTP2_FLAG_NONE, NULL);
        schedule(h);
        loop_timer_start(c->loop, t, PING_WAIT_MS, on_timer);
    }
    http_client_leave(c);
}

struct http2_client *http2_client_new(struct http_client_conn *conn)
{
    static const nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, WINDOW_STREAM},
        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, HEAD_MAX},
    };
    struct http2_client *h = xcalloc(1, sizeof *h);
    nghttp2_session_callbacks *cb;
    nghttp2_option *opt;

    h->conn = conn;
    h->last_in = mono_now();
    list_init(&h->calls);
    if (nghttp2_session_callbacks_new(&cb) != 0 || nghttp2_option_new(&opt) != 0)
        abort(); /* out of memory */
    nghttp2_session_callbacks_set_on_header_callback(cb, on_header);
    nghttp2_session_callbacks_set_on_frame_recv_callback(cb, on_frame_recv);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, on_data_chunk);
    nghttp2_session_callbacks_set_on_stream_close_callback(cb, on_stream_close);
    nghttp2_option_set_no_auto_window_update(opt, 1);
    nghttp2_option_set_no_closed_streams(opt, 1);
    if (nghttp2_session_client_new2(&h->session, cb, h, opt) != 0)
        abort();
    nghttp2_option_del(opt);
    nghttp2_session_callbacks_del(cb);
    (void)nghttp2_submit_settings(h->session, NGHTTP2_FLAG_NONE, settings, 3);
    (void)nghttp2_session_set_local_window_size(h->session, NGHTTP2_FLAG_NONE, 0, WINDOW_CONN);
    schedule(h);
    return h;
}
