#include "net/http_server_private.h"
#include "base/mem.h"
#include <stdarg.h>
#include <stdio.h>
#include <time.h>

static bool dead(const struct http_exchange *x)
{
    return x->ended || x->conn->gone;
}

void http_add_header(struct http_exchange *x, const char *name, const char *value)
{
    if (dead(x) || !http1_name_ok(str_of(name)) || !http1_value_ok(str_of(value)))
        return;
    (void)buf_printf(&x->extra, "%s: %s\r\n", name, value);
}

void http_add_headerf(struct http_exchange *x, const char *name, const char *fmt, ...)
{
    struct buf b;
    va_list ap;

    buf_init(&b, 16 * 1024);
    va_start(ap, fmt);
    (void)buf_vprintf(&b, fmt, ap);
    va_end(ap);
    http_add_header(x, name, strna(b.p));
    buf_fini(&b);
}

void http_set_content_length(struct http_exchange *x, uint64_t n)
{
    x->has_length = true;
    x->length = n;
}

/* Made once a second. */
const char *http_date_line(void)
{
    static char line[64];
    static time_t made;
    time_t now = time(NULL);
    struct tm tm;

    if (now != made) {
        made = now;
        (void)gmtime_r(&now, &tm);
        (void)strftime(line, sizeof line, "Date: %a, %d %b %Y %H:%M:%S GMT\r\n", &tm);
    }
    return line;
}

static void add_framing(struct http_exchange *x, struct buf *b, int status)
{
    x->no_body = x->head_method || status == 204 || status == 304;
    if (x->has_length && status != 204 && status != 304)
        (void)buf_printf(b, "Content-Length: %llu\r\n", (unsigned long long)x->length);
    else if (status != 204 && status != 304 && x->minor == 1) {
        x->chunked = true;
        (void)buf_add_z(b, "Transfer-Encoding: chunked\r\n");
    } else if (!x->no_body) {
        x->close_after = true; /* HTTP/1.0: the end of the connection ends the body */
    }
}

static void send_head(struct http_exchange *x, int status, const char *content_type,
                      struct str body)
{
    cleanup_buf struct buf b = {0};

    x->begun = true;
    if (x->h2) {
        x->no_body = x->head_method || status == 204 || status == 304;
        http2_stream_head(x->h2, status, content_type, buf_str(&x->extra),
                          x->has_length && status != 204 && status != 304 ? (int64_t)x->length : -1,
                          x->no_body || (x->has_length && !x->length));
        if (!x->no_body)
            http2_stream_write(x->h2, body);
        return;
    }
    buf_init(&b, 256 * 1024);
    (void)buf_printf(&b, "HTTP/1.1 %d %s\r\n%s", status, http_status_text(status),
                     http_date_line());
    if (content_type)
        (void)buf_printf(&b, "Content-Type: %s\r\n", content_type);
    (void)buf_add_str(&b, buf_str(&x->extra));
    x->close_after = !x->keep_alive || x->conn->server->draining;
    add_framing(x, &b, status);
    if (x->close_after)
        (void)buf_add_z(&b, "Connection: close\r\n");
    else if (x->minor == 0)
        (void)buf_add_z(&b, "Connection: keep-alive\r\n");
    (void)buf_add_z(&b, "\r\n");
    if (!x->no_body && body.n && body.n < 16384)
        (void)buf_add_str(&b, body);
    stream_write_str(x->conn->stream, buf_str(&b));
    if (!x->no_body && body.n >= 16384)
        stream_write_str(x->conn->stream, body);
}

/* The last byte was written. */
static void response_over(struct http_exchange *x)
{
    struct http2_stream *st = x->h2;

    if (!st) {
        http_conn_next(x->conn);
        return;
    }
    http_exchange_finish(x);
    http2_stream_end(st);
}

void http_respond(struct http_exchange *x, int status, const char *content_type, struct str body)
{
    struct http_server *s;

    if (dead(x) || x->begun)
        return;
    s = x->conn->server;
    http_server_enter(s);
    http_set_content_length(x, body.n);
    send_head(x, status, content_type, body);
    x->chunked = false;
    response_over(x);
    http_server_leave(s);
}

void http_respond_text(struct http_exchange *x, int status, const char *fmt, ...)
{
    cleanup_buf struct buf b;
    va_list ap;

    buf_init(&b, 256 * 1024);
    va_start(ap, fmt);
    (void)buf_vprintf(&b, fmt, ap);
    va_end(ap);
    (void)buf_add_char(&b, '\n');
    http_respond(x, status, "text/plain; charset=utf-8", buf_str(&b));
}

void http_respond_begin(struct http_exchange *x, int status, const char *content_type)
{
    if (dead(x) || x->begun)
        return;
    send_head(x, status, content_type, STR_NULL);
    if (!x->h2)
        http_conn_arm(x->conn);
}

bool http_response_begun(const struct http_exchange *x)
{
    return x->begun;
}

void http_write(struct http_exchange *x, struct str data)
{
    struct stream *st = x->conn->stream;
    char head[20];

    if (dead(x) || !x->begun || x->no_body || !data.n)
        return;
    if (x->has_length && data.n > x->length - x->written)
        data.n = (size_t)(x->length - x->written);
    x->written += data.n;
    if (x->h2) {
        http2_stream_write(x->h2, data);
        return;
    }
    if (x->chunked) {
        stream_write(st, head, http1_chunk_head(data.n, head));
        stream_write_str(st, data);
        stream_write(st, "\r\n", 2);
    } else {
        stream_write_str(st, data);
    }
    if (!x->conn->deadline.ns)
        http_conn_arm(x->conn);
}

size_t http_write_pending(const struct http_exchange *x)
{
    if (dead(x))
        return 0;
    return x->h2 ? http2_stream_pending(x->h2) : stream_write_pending(x->conn->stream);
}

void http_on_drain(struct http_exchange *x, http_exchange_fn fn, void *arg)
{
    x->on_drain = fn;
    x->drain_arg = arg;
}

void http_end(struct http_exchange *x)
{
    struct http_server *s;

    if (dead(x) || !x->begun)
        return;
    s = x->conn->server;
    http_server_enter(s);
    if (x->chunked && !x->no_body && !x->h2)
        stream_write(x->conn->stream, "0\r\n\r\n", 5);
    if (x->has_length && !x->no_body && x->written < x->length)
        http_abort(x);
    else
        response_over(x);
    http_server_leave(s);
}

void http_abort(struct http_exchange *x)
{
    struct http_conn *c = x->conn;
    struct http_server *s = c->server;

    if (dead(x))
        return;
    http_server_enter(s);
    http_exchange_finish(x);
    if (x->h2)
        http2_stream_reset(x->h2);
    else
        stream_free(http_conn_detach(c));
    http_server_leave(s);
}

static struct stream *hand_over(struct http_exchange *x, struct buf *head,
                                const struct stream_events *ev, void *arg)
{
    struct http_conn *c = x->conn;
    struct http_server *s = c->server;
    struct stream *st;

    http_server_enter(s);
    http_exchange_finish(x);
    st = http_conn_detach(c);
    stream_write_str(st, buf_str(head));
    stream_set_events(st, ev, arg);
    stream_resume(st);
    http_server_leave(s);
    return st;
}

struct stream *http_upgrade(struct http_exchange *x, const char *protocol,
                            const struct stream_events *ev, void *arg)
{
    cleanup_buf struct buf b;

    if (dead(x) || x->begun || x->h2)
        return NULL;
    buf_init(&b, 128 * 1024);
    (void)buf_printf(&b,
                     "HTTP/1.1 101 Switching Protocols\r\n%sUpgrade: %s\r\nConnection: Upgrade\r\n",
                     http_date_line(), protocol);
    (void)buf_add_str(&b, buf_str(&x->extra));
    (void)buf_add_z(&b, "\r\n");
    return hand_over(x, &b, ev, arg);
}

struct stream *http_hijack(struct http_exchange *x, int status, const char *content_type,
                           const struct stream_events *ev, void *arg)
{
    cleanup_buf struct buf b;

    if (dead(x) || x->begun || x->h2)
        return NULL;
    buf_init(&b, 128 * 1024);
    (void)buf_printf(&b, "HTTP/1.1 %d %s\r\n%s", status, http_status_text(status),
                     http_date_line());
    if (content_type)
        (void)buf_printf(&b, "Content-Type: %s\r\n", content_type);
    (void)buf_add_str(&b, buf_str(&x->extra));
    (void)buf_add_z(&b, "\r\n");
    return hand_over(x, &b, ev, arg);
}
