#include "net/http_server_private.h"
#include "base/mem.h"
#include "codec/url.h"
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>

#define SEGMENTS_MAX 64

/* "http://host/path" becomes "/path"; 0 or a status. */
static int origin_form(struct str target, struct str *ret)
{
    struct url u;

    if (target.p[0] == '/' || str_eq_z(target, "*")) {
        *ret = target;
        return 0;
    }
    if (url_parse(target, &u) < 0 || str_eq_z(u.scheme, "unix"))
        return -HTTP1_BAD;
    *ret = u.path.n ? (struct str){u.path.p, (size_t)(target.p + target.n - u.path.p)} : STR("/");
    return 0;
}

int http_exchange_set_target(struct http_exchange *x, struct str target)
{
    struct str segs[SEGMENTS_MAX], rest;
    struct str *copy;
    int r = origin_form(target, &rest);

    if (r < 0)
        return r;
    x->path = str_split(&rest, '?');
    x->query = rest.p ? rest : (struct str){x->path.p + x->path.n, 0};
    r = url_segments(&x->arena, x->path, segs, SEGMENTS_MAX, &x->segments_n);
    if (r == -E2BIG)
        return -414;
    if (r < 0)
        return -HTTP1_BAD;
    copy = arena_alloc(&x->arena, sizeof *copy * (x->segments_n + 1));
    memcpy(copy, segs, sizeof *copy * x->segments_n);
    x->segments = copy;
    return 0;
}

static int fill(struct http_exchange *x, struct str head)
{
    struct http1_head h;
    struct http_header *v;
    char *copy = arena_strndup(&x->arena, head.p, head.n);
    int r = http1_parse_request((struct str){copy, head.n}, &h);

    if (r < 0)
        return r;
    x->method = h.method;
    x->minor = h.minor;
    x->keep_alive = h.keep_alive;
    x->expect_continue = h.expect_continue;
    x->wants_upgrade = h.upgrade;
    x->head_method = str_eq_z(h.method, "HEAD");
    x->body_length = h.framing == HTTP1_CHUNKED ? -1 : (int64_t)h.length;
    v = arena_alloc(&x->arena, sizeof *v * (h.headers_n + 1));
    for (size_t i = 0; i < h.headers_n; i++)
        v[i] = (struct http_header){h.headers[i].name, h.headers[i].value};
    x->headers = (struct http_headers){v, h.headers_n};
    if (http_headers_has(x->headers, "Expect") && !h.expect_continue && h.minor == 1)
        return -417;
    http1_body_init(&x->conn->body, &h);
    x->body_done = x->conn->body.done;
    return http_exchange_set_target(x, h.target);
}

struct http_exchange *http_exchange_alloc(struct http_conn *c)
{
    struct http_exchange *x = xcalloc(1, sizeof *x);

    x->conn = c;
    arena_init(&x->arena, 2048);
    buf_init(&x->extra, 64 * 1024);
    buf_init(&x->body, 0);
    return x;
}

int http_exchange_new(struct http_conn *c, struct str head, struct http_exchange **ret)
{
    struct http_exchange *x = http_exchange_alloc(c);
    int r;

    r = fill(x, head);
    if (r < 0) {
        arena_fini(&x->arena);
        free(x);
        return r;
    }
    *ret = x;
    return 0;
}

/* request */

struct str http_method(const struct http_exchange *x)
{
    return x->method;
}

bool http_method_is(const struct http_exchange *x, const char *method)
{
    return str_eq_z(x->method, method);
}

struct str http_path(const struct http_exchange *x)
{
    return x->path;
}

struct str http_query(const struct http_exchange *x)
{
    return x->query;
}

const struct str *http_segments(struct http_exchange *x, size_t *ret_n)
{
    *ret_n = x->segments_n;
    return x->segments;
}

struct str http_query_get_nth(struct http_exchange *x, const char *name, size_t i)
{
    struct str rest = x->query, key, value, out;

    while (url_query_next(&rest, &key, &value)) {
        if (url_decode(&x->arena, key, true, &out) < 0 || !str_eq_z(out, name))
            continue;
        if (i--)
            continue;
        return url_decode(&x->arena, value, true, &out) < 0 ? value : out;
    }
    return STR_NULL;
}

struct str http_query_get(struct http_exchange *x, const char *name)
{
    return http_query_get_nth(x, name, 0);
}

bool http_query_bool(struct http_exchange *x, const char *name)
{
    struct str v = http_query_get(x, name);

    return v.p && (!v.n || str_eq_z(v, "1") || str_ieq_z(v, "true"));
}

struct http_headers http_request_headers(const struct http_exchange *x)
{
    return x->headers;
}

struct str http_header(const struct http_exchange *x, const char *name)
{
    return http_headers_get(x->headers, name);
}

const char *http_peer_address(const struct http_exchange *x)
{
    return x->conn->gone ? "" : stream_peer_address(x->conn->stream);
}

const struct tls_peer *http_tls_peer(struct http_exchange *x)
{
    return x->conn->gone ? NULL : stream_tls_peer(x->conn->stream);
}

bool http_is_tls(const struct http_exchange *x)
{
    return !x->conn->gone && stream_is_tls(x->conn->stream);
}

int http_unix_peer(const struct http_exchange *x, uid_t *ret_uid, pid_t *ret_pid)
{
    struct ucred cred;
    socklen_t n = sizeof cred;

    if (x->conn->gone || !x->conn->unix_peer ||
        getsockopt(stream_fd(x->conn->stream), SOL_SOCKET, SO_PEERCRED, &cred, &n) < 0)
        return -ENOTSUP;
    *ret_uid = cred.uid;
    *ret_pid = cred.pid;
    return 0;
}

struct loop *http_loop(const struct http_exchange *x)
{
    return x->conn->server->loop;
}

struct arena *http_arena(struct http_exchange *x)
{
    return &x->arena;
}

void http_set_user(struct http_exchange *x, void *user)
{
    x->user = user;
}

void *http_user(const struct http_exchange *x)
{
    return x->user;
}

bool http_wants_upgrade(const struct http_exchange *x, const char *protocol)
{
    return x->wants_upgrade && http_headers_has_token(x->headers, "Upgrade", protocol);
}

void http_on_abort(struct http_exchange *x, http_exchange_fn fn, void *arg)
{
    x->on_abort = fn;
    x->abort_arg = arg;
}

/* body */

int64_t http_body_length(const struct http_exchange *x)
{
    return x->body_length;
}

bool http_exchange_wants_body(const struct http_exchange *x)
{
    return !x->ended && x->body_mode != BODY_UNREAD && !x->body_done && !x->body_paused;
}

static void say_continue(struct http_exchange *x)
{
    if (!x->expect_continue || x->body_done)
        return;
    x->expect_continue = false;
    if (x->h2 && !x->begun)
        http2_stream_continue(x->h2);
    else if (!x->begun)
        stream_write_str(x->conn->stream, STR("HTTP/1.1 100 Continue\r\n\r\n"));
}

int http_exchange_deliver(struct http_exchange *x, struct str data, bool done)
{
    x->body_done = done;
    if (x->body_mode == BODY_STREAM) {
        if (data.n || x->body_done) {
            x->body_told = x->body_done;
            x->on_piece(x, data, x->body_done, x->body_arg);
        }
        return 0;
    }
    if (buf_add_str(&x->body, data) < 0)
        return -413;
    if (x->body_done) {
        x->body_told = true;
        x->on_body(x, buf_str(&x->body), x->body_arg);
    }
    return 0;
}

ssize_t http_exchange_body(struct http_exchange *x, struct str in)
{
    struct str data;
    size_t used = 0;
    int r = http1_body_next(&x->conn->body, in, &used, &data);

    if (r < 0)
        return r;
    r = http_exchange_deliver(x, data, x->conn->body.done);
    return r < 0 ? r : (ssize_t)used;
}

static void too_large(struct http_exchange *x)
{
    struct http_conn *c = x->conn;
    struct http2_stream *st = x->h2;

    http_server_enter(c->server);
    http_exchange_abort(x);
    if (st && !c->gone) {
        http2_stream_head(st, 413, NULL, STR_NULL, 0, true);
        http2_stream_end(st);
    } else if (!c->gone) {
        http_conn_refuse(c, 413);
    }
    http_server_leave(c->server);
}

/* A reader is there: bytes that waited come from the loop or, with HTTP/2, from what was kept. */
static void read_on(struct http_exchange *x)
{
    struct http_conn *c = x->conn;

    if (x->h2) {
        http2_stream_pump(x->h2);
        return;
    }
    http_conn_arm(c);
    stream_resume(c->stream);
}

void http_read_body(struct http_exchange *x, size_t max, http_body_fn fn, void *arg)
{
    struct http_conn *c = x->conn;

    if (x->ended || c->gone)
        return;
    if (x->body_length > 0 && (uint64_t)x->body_length > max) {
        too_large(x);
        return;
    }
    x->body_mode = BODY_COLLECT;
    x->body.max = max;
    x->on_body = fn;
    x->body_arg = arg;
    if (x->body_done) {
        x->body_told = true;
        fn(x, buf_str(&x->body), arg);
        return;
    }
    if (x->body_length > 0)
        (void)buf_reserve(&x->body, x->body_length > 65536 ? 65536 : (size_t)x->body_length);
    say_continue(x);
    read_on(x);
}

static void told_no_body(struct http_exchange *x)
{
    if (x->body_done && !x->body_told && !x->body_paused) {
        x->body_told = true;
        x->on_piece(x, STR(""), true, x->body_arg);
    }
}

void http_stream_body(struct http_exchange *x, http_body_piece_fn fn, void *arg)
{
    if (x->ended || x->conn->gone)
        return;
    x->body_mode = BODY_STREAM;
    x->on_piece = fn;
    x->body_arg = arg;
    say_continue(x);
    if (x->body_done) {
        told_no_body(x);
        return;
    }
    read_on(x);
}

void http_body_pause(struct http_exchange *x)
{
    x->body_paused = true;
}

void http_body_resume(struct http_exchange *x)
{
    if (x->ended || x->conn->gone)
        return;
    x->body_paused = false;
    read_on(x);
}
