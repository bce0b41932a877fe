/* HTTP/2 below struct http_exchange: one nghttp2 session a connection, one http2_stream an
 * exchange. */
#include "net/http_server_private.h"
#include "base/mem.h"
#include <errno.h>
#include <event2/buffer.h>
#include <nghttp2/nghttp2.h>
#include <stdlib.h>

#define STREAMS_MAX 250
#define WINDOW_CONN (1 << 20)
#define WINDOW_STREAM (256 * 1024)
#define WIRE_HIGH (64u * 1024) /* queued on the connection before frames wait in their streams */

struct http2_conn {
    struct http_conn *c; /* NULL once freed */
    nghttp2_session *session;
    struct list streams;
    size_t streams_n;
    struct loop_defer flush;
    unsigned busy; /* nghttp2 or our callbacks on the stack */
    bool closing;
};

struct http2_stream {
    struct list link;
    struct http2_conn *h;
    struct http_exchange *x; /* NULL: answered or aborted */
    int32_t id;
    struct http_header *headers;
    size_t headers_n, headers_cap, head_bytes;
    struct str target;
    int refuse;    /* status to answer with instead of a handler */
    struct buf in; /* body bytes nobody reads yet; bounded by the window */
    struct evbuffer *out;
    bool in_eof, out_eof, started, deferred, above_low, drain_due, pumping, closed;
};

static void on_flush(struct loop_defer *d);
static void leave(struct http2_conn *h);

static void schedule(struct http2_conn *h)
{
    if (h->c && !h->closing)
        loop_defer_start(h->c->server->loop, &h->flush, on_flush);
}

/* streams */

static void stream_destroy(struct http2_stream *st)
{
    list_remove(&st->link);
    buf_fini(&st->in);
    evbuffer_free(st->out);
    free(st->headers);
    free(st);
}

static void detach_exchange(struct http2_stream *st)
{
    struct http_exchange *x = st->x;

    st->x = NULL;
    if (x && !x->ended)
        http_exchange_abort(x);
}

static void count_streams(struct http2_conn *h, int by)
{
    struct http_conn *c = h->c;

    h->streams_n = (size_t)((long)h->streams_n + by);
    if (!c)
        return;
    c->state = h->streams_n ? CONN_BUSY : CONN_IDLE;
    http_conn_arm(c);
}

static int on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
    struct http2_conn *h = arg;
    struct http2_stream *st;

    if (frame->hd.type != NGHTTP2_HEADERS || frame->headers.cat != NGHTTP2_HCAT_REQUEST || !h->c)
        return 0;
    st = xcalloc(1, sizeof *st);
    st->h = h;
    st->id = frame->hd.stream_id;
    st->out = evbuffer_new();
    buf_init(&st->in, WINDOW_STREAM + 65536);
    st->x = http_exchange_alloc(h->c);
    st->x->h2 = st;
    st->x->minor = 2;
    st->x->keep_alive = true;
    list_add_tail(&h->streams, &st->link);
    (void)nghttp2_session_set_stream_user_data(session, st->id, st);
    count_streams(h, 1);
    return 0;
}

static struct str copy(struct http_exchange *x, const uint8_t *p, size_t n)
{
    return (struct str){arena_strndup(&x->arena, (const char *)p, n), n};
}

static void add_header(struct http2_stream *st, struct str name, struct str value)
{
    if (st->headers_n == HTTP1_HEADERS_MAX) {
        st->refuse = 431;
        return;
    }
    if (st->headers_n == st->headers_cap) {
        st->headers_cap = st->headers_cap ? st->headers_cap * 2 : 16;
        st->headers = xreallocarray(st->headers, st->headers_cap, sizeof *st->headers);
    }
    st->headers[st->headers_n++] = (struct http_header){name, value};
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                     size_t name_n, const uint8_t *value, size_t value_n, uint8_t flags, void *arg)
{
    struct http2_stream *st = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
    struct http2_conn *h = arg;
    struct str n, v;

    if (!st || !st->x || st->started || !h->c)
        return 0;
    st->head_bytes += name_n + value_n + 32;
    if (st->head_bytes > h->c->server->cfg.head_max_bytes) {
        st->refuse = 431;
        return 0;
    }
    n = copy(st->x, name, name_n);
    v = copy(st->x, value, value_n);
    if (str_eq_z(n, ":method"))
        st->x->method = v;
    else if (str_eq_z(n, ":path"))
        st->target = v;
    else if (str_eq_z(n, ":authority"))
        add_header(st, STR("host"), v);
    else if (n.n && n.p[0] != ':')
        add_header(st, n, v);
    return 0;
}

static void answer(struct http2_stream *st, int status)
{
    struct http_exchange *x = st->x;

    st->x = NULL;
    if (x)
        http_exchange_finish(x);
    http2_stream_head(st, status, NULL, STR_NULL, 0, true);
    http2_stream_end(st);
}

/* The request's head is complete: check it and call the handler. */
static void start(struct http2_stream *st, bool fin)
{
    struct http_exchange *x = st->x;
    struct http_server *s = st->h->c->server;
    uint64_t n = 0;
    struct str length;
    int r;

    st->started = true;
    x->headers = (struct http_headers){
        arena_alloc(&x->arena, sizeof *st->headers * (st->headers_n + 1)), st->headers_n};
    if (st->headers_n)
        memcpy((void *)(uintptr_t)x->headers.v, st->headers, sizeof *st->headers * st->headers_n);
    free(TAKE(st->headers));
    x->head_method = str_eq_z(x->method, "HEAD");
    x->expect_continue = str_ieq_z(http_headers_get(x->headers, "expect"), "100-continue");
    length = http_headers_get(x->headers, "content-length");
    x->body_length = fin ? 0 : length.p && str_to_u64(length, INT64_MAX, &n) == 0 ? (int64_t)n : -1;
    st->in_eof = x->body_done = fin;
    r = st->refuse ? -st->refuse
                   : http_exchange_set_target(x, st->target.n ? st->target : STR("*"));
    if (r < 0) {
        answer(st, -r);
        return;
    }
    s->cfg.on_request(x, s->cfg.arg);
}

static int on_frame_recv(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
    struct http2_stream *st = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
    bool fin = frame->hd.flags & NGHTTP2_FLAG_END_STREAM;
    struct http2_conn *h = arg;

    if (!st || !h->c || (frame->hd.type != NGHTTP2_HEADERS && frame->hd.type != NGHTTP2_DATA))
        return 0;
    if (frame->hd.type == NGHTTP2_HEADERS && !st->started && st->x) {
        start(st, fin);
        return 0;
    }
    if (fin && !st->in_eof) {
        st->in_eof = true;
        http2_stream_pump(st);
    }
    return 0;
}

static int on_data_chunk(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *p,
                         size_t n, void *arg)
{
    struct http2_stream *st = nghttp2_session_get_stream_user_data(session, id);
    struct http2_conn *h = arg;

    if (!st || !st->x || st->x->ended || !h->c || buf_add(&st->in, p, n) < 0) {
        (void)nghttp2_session_consume(session, id, n);
        return 0;
    }
    http2_stream_pump(st);
    return 0;
}

static int on_stream_close(nghttp2_session *session, int32_t id, uint32_t code, void *arg)
{
    struct http2_stream *st = nghttp2_session_get_stream_user_data(session, id);
    struct http2_conn *h = arg;

    if (!st)
        return 0;
    (void)nghttp2_session_set_stream_user_data(session, id, NULL);
    st->closed = true;
    detach_exchange(st);
    stream_destroy(st);
    count_streams(h, -1);
    return 0;
}

/* Our END_STREAM went out before theirs came in: nobody will read the rest. */
static int on_frame_send(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
    struct http2_stream *st = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);

    (void)arg;
    if (st && (frame->hd.type == NGHTTP2_DATA || frame->hd.type == NGHTTP2_HEADERS) &&
        (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) && !st->in_eof)
        (void)nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, st->id, NGHTTP2_NO_ERROR);
    return 0;
}

/* request bodies */

void http2_stream_pump(struct http2_stream *st)
{
    struct http2_conn *h = st->h;
    struct http_exchange *x = st->x;

    if (st->pumping || !x || x->ended || !h->c)
        return;
    h->busy++;
    st->pumping = true;
    if (http_exchange_wants_body(x) && (st->in.n || st->in_eof)) {
        struct buf piece = st->in;

        buf_init(&st->in, piece.max);
        (void)nghttp2_session_consume(h->session, st->id, piece.n);
        if (http_exchange_deliver(x, buf_str(&piece), st->in_eof) == -413 && !x->ended) {
            http_exchange_abort(x);
            st->x = NULL;
            answer(st, 413);
        }
        buf_fini(&piece);
    }
    st->pumping = false;
    schedule(h);
    leave(h);
}

void http2_stream_continue(struct http2_stream *st)
{
    static const uint8_t name[] = ":status", value[] = "100";
    nghttp2_nv nv = {(uint8_t *)(uintptr_t)name, (uint8_t *)(uintptr_t)value, 7, 3,
                     NGHTTP2_NV_FLAG_NONE};

    (void)nghttp2_submit_headers(st->h->session, NGHTTP2_FLAG_NONE, st->id, NULL, &nv, 1, NULL);
    schedule(st->h);
}

/* responses */

static ssize_t read_out(nghttp2_session *session, int32_t id, uint8_t *p, size_t n, uint32_t *flags,
                        nghttp2_data_source *source, void *arg)
{
    struct http2_stream *st = source->ptr;
    int got = evbuffer_remove(st->out, p, n);
    size_t left = evbuffer_get_length(st->out);

    if (left == 0 && st->out_eof)
        *flags |= NGHTTP2_DATA_FLAG_EOF;
    else if (got <= 0) {
        st->deferred = true;
        return NGHTTP2_ERR_DEFERRED;
    }
    if (st->above_low && left <= STREAM_LOW) {
        st->above_low = false;
        st->drain_due = true;
    }
    return got > 0 ? got : 0;
}

#define NV_MAX 64

static void put_nv(nghttp2_nv *nv, size_t *n, struct str name, struct str value)
{
    if (*n < NV_MAX)
        nv[(*n)++] = (nghttp2_nv){(uint8_t *)(uintptr_t)name.p, (uint8_t *)(uintptr_t)value.p,
                                  name.n, value.n, NGHTTP2_NV_FLAG_NONE};
}

/* "Name: value\r\n" lines to pairs with lower-case names; rewrites the text. */
static void put_lines(nghttp2_nv *nv, size_t *n, struct buf *text)
{
    struct str rest = buf_str(text);

    while (rest.n) {
        struct str line = str_split(&rest, '\r'), name;

        if (rest.n)
            rest.p++, rest.n--;
        name = str_split(&line, ':');
        if (!line.p || !name.n || str_ieq_z(name, "connection") ||
            str_ieq_z(name, "transfer-encoding"))
            continue;
        for (size_t i = 0; i < name.n; i++) {
            char *c = text->p + (name.p - text->p) + i;

            *c = *c >= 'A' && *c <= 'Z' ? (char)(*c + 32) : *c;
        }
        put_nv(nv, n, name, str_trim(line));
    }
}

void http2_stream_head(struct http2_stream *st, int status, const char *content_type,
                       struct str extra, int64_t length, bool no_body)
{
    nghttp2_data_provider body = {.source.ptr = st, .read_callback = read_out};
    cleanup_buf struct buf text;
    nghttp2_nv nv[NV_MAX];
    size_t n = 0, status_n;

    buf_init(&text, 256 * 1024);
    (void)buf_printf(&text, "%d", status);
    status_n = text.n;
    (void)buf_printf(&text, "\r\n%s", http_date_line());
    if (content_type)
        (void)buf_printf(&text, "content-type: %s\r\n", content_type);
    if (length >= 0)
        (void)buf_printf(&text, "content-length: %lld\r\n", (long long)length);
    (void)buf_add_str(&text, extra);
    put_nv(nv, &n, STR(":status"), (struct str){text.p, status_n});
    put_lines(nv, &n, &text);
    (void)nghttp2_submit_response(st->h->session, st->id, nv, n, no_body ? NULL : &body);
    schedule(st->h);
}

void http2_stream_write(struct http2_stream *st, struct str data)
{
    if (!data.n)
        return;
    (void)evbuffer_add(st->out, data.p, data.n);
    if (evbuffer_get_length(st->out) > STREAM_LOW)
        st->above_low = true;
    if (st->deferred) {
        st->deferred = false;
        (void)nghttp2_session_resume_data(st->h->session, st->id);
    }
    schedule(st->h);
}

size_t http2_stream_pending(const struct http2_stream *st)
{
    return evbuffer_get_length(st->out);
}

void http2_stream_end(struct http2_stream *st)
{
    st->out_eof = true;
    st->x = NULL;
    if (st->deferred) {
        st->deferred = false;
        (void)nghttp2_session_resume_data(st->h->session, st->id);
    }
    if (st->in.n) {
        (void)nghttp2_session_consume(st->h->session, st->id, st->in.n);
        buf_clear(&st->in);
    }
    schedule(st->h);
}

void http2_stream_reset(struct http2_stream *st)
{
    st->x = NULL;
    (void)nghttp2_submit_rst_stream(st->h->session, NGHTTP2_FLAG_NONE, st->id,
                                    NGHTTP2_INTERNAL_ERROR);
    schedule(st->h);
}

/* connection */

/* The list may change under a handler, so look again from the start. */
static bool tell_one_drain(struct http2_conn *h)
{
    list_for(n, &h->streams)
    {
        struct http2_stream *st = container_of(n, struct http2_stream, link);

        if (!st->drain_due)
            continue;
        st->drain_due = false;
        if (st->x && !st->x->ended && st->x->on_drain)
            st->x->on_drain(st->x, st->x->drain_arg);
        return true;
    }
    return false;
}

static void free_now(struct http2_conn *h)
{
    loop_defer_stop(&h->flush);
    nghttp2_session_del(h->session);
    while (!list_empty(&h->streams))
        stream_destroy(container_of(h->streams.next, struct http2_stream, link));
    free(h);
}

static void leave(struct http2_conn *h)
{
    if (--h->busy == 0 && !h->c)
        free_now(h);
}

static void send_frames(struct http2_conn *h)
{
    while (h->c && stream_write_pending(h->c->stream) < WIRE_HIGH) {
        const uint8_t *p;
        ssize_t n = nghttp2_session_mem_send(h->session, &p);

        if (n <= 0)
            break;
        stream_write(h->c->stream, p, (size_t)n);
    }
}

static void on_flush(struct loop_defer *d)
{
    struct http2_conn *h = container_of(d, struct http2_conn, flush);
    struct http_server *s = h->c->server;

    http_server_enter(s);
    h->busy++;
    send_frames(h);
    while (h->c && tell_one_drain(h))
        ;
    if (h->c && h->c->state == CONN_BUSY && !h->c->deadline.ns)
        http_conn_arm(h->c);
    if (h->c && !nghttp2_session_want_read(h->session) && !nghttp2_session_want_write(h->session))
        http_conn_close(h->c, false);
    leave(h);
    http_server_leave(s);
}

void http2_conn_drained(struct http2_conn *h)
{
    schedule(h);
}

void http2_conn_goaway(struct http2_conn *h)
{
    (void)nghttp2_session_terminate_session(h->session, NGHTTP2_NO_ERROR);
    schedule(h);
}

size_t http2_conn_streams(const struct http2_conn *h)
{
    return h->streams_n;
}

int http2_conn_feed(struct http2_conn *h, struct str in)
{
    ssize_t r;

    h->busy++;
    r = nghttp2_session_mem_recv(h->session, (const uint8_t *)in.p, in.n);
    schedule(h);
    if (!h->c)
        r = 0;
    leave(h);
    return r < 0 ? -EPROTO : 0;
}

struct http2_conn *http2_conn_new(struct http_conn *c)
{
    static const nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, STREAMS_MAX},
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, WINDOW_STREAM},
        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, 64 * 1024},
    };
    struct http2_conn *h = xcalloc(1, sizeof *h);
    nghttp2_session_callbacks *cb;
    nghttp2_option *opt;

    h->c = c;
    list_init(&h->streams);
    if (nghttp2_session_callbacks_new(&cb) != 0 || nghttp2_option_new(&opt) != 0)
        abort(); /* out of memory */
    nghttp2_session_callbacks_set_on_begin_headers_callback(cb, on_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback(cb, on_header);
    nghttp2_session_callbacks_set_on_frame_recv_callback(cb, on_frame_recv);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, on_data_chunk);
    nghttp2_session_callbacks_set_on_stream_close_callback(cb, on_stream_close);
    nghttp2_session_callbacks_set_on_frame_send_callback(cb, on_frame_send);
    nghttp2_option_set_no_auto_window_update(opt, 1);
    nghttp2_option_set_no_closed_streams(opt, 1);
    if (nghttp2_session_server_new2(&h->session, cb, h, opt) != 0)
        abort();
    nghttp2_option_del(opt);
    nghttp2_session_callbacks_del(cb);
    (void)nghttp2_submit_settings(h->session, NGHTTP2_FLAG_NONE, settings, 3);
    (void)nghttp2_session_set_local_window_size(h->session, NGHTTP2_FLAG_NONE, 0, WINDOW_CONN);
    schedule(h);
    return h;
}

void http2_conn_free(struct http2_conn *h)
{
    if (!h || h->closing)
        return;
    h->closing = true;
    h->busy++;
    loop_defer_stop(&h->flush);
    list_for(n, &h->streams) detach_exchange(container_of(n, struct http2_stream, link));
    h->c = NULL;
    leave(h);
}
