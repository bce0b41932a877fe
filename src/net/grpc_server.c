#include "base/buf.h"
#include "base/cleanup.h"
#include "base/map.h"
#include "base/mem.h"
#include "net/grpc.h"
#include "net/grpc_frame.h"
#include "net/stream.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define CONNECTIONS_MAX 64
#define STREAM_BACKLOG_MAX                                                                         \
    (4u << 20) /* unsent bytes of a server stream before its client counts as stuck */

struct method {
    const ProtobufCMessageDescriptor *request_type;
    grpc_handler_fn fn;
    void *arg;
};

struct grpc_server {
    struct loop *loop;
    struct stream_listener *listener;
    struct map methods;
    struct list connections;
    unsigned connections_n;
};

struct connection {
    struct list link;
    struct grpc_server *server;
    struct stream *stream;
    nghttp2_session *session;
    struct list contexts;
    struct loop_defer flush;
};

/* Freed when the handler has answered and the HTTP/2 stream is closed, whichever comes last. */
struct grpc_context {
    struct list link;
    struct connection *connection; /* NULL once the stream is closed */
    char *path;
    struct buf in, out;
    size_t sent;
    ProtobufCMessage *request;
    grpc_gone_fn on_gone;
    void *gone_arg;
    int32_t stream_id;
    int code;
    char *message;
    bool dispatched, answered, started, deferred;
};

static void context_free(struct grpc_context *x)
{
    list_remove(&x->link);
    if (x->request)
        protobuf_c_message_free_unpacked(x->request, NULL);
    buf_fini(&x->in);
    buf_fini(&x->out);
    free(x->path);
    free(x->message);
    free(x);
}

/* The stream is gone: tells the handler when it still owes an answer. */
static void context_detach(struct grpc_context *x)
{
    list_remove(&x->link);
    x->connection = NULL;
    if (x->answered || !x->dispatched) {
        context_free(x);
        return;
    }
    if (x->on_gone) {
        grpc_gone_fn fn = x->on_gone;

        x->on_gone = NULL;
        fn(x, x->gone_arg);
    }
}

static void flush(struct connection *c)
{
    const uint8_t *p;
    ssize_t n;

    while (stream_write_pending(c->stream) < STREAM_HIGH &&
           (n = nghttp2_session_mem_send(c->session, &p)) > 0)
        stream_write(c->stream, p, (size_t)n);
}

static void on_flush(struct loop_defer *d)
{
    flush(container_of(d, struct connection, flush));
}

static void flush_soon(struct connection *c)
{
    loop_defer_start(c->server->loop, &c->flush, on_flush);
}

static void connection_free(struct connection *c)
{
    list_remove(&c->link);
    c->server->connections_n--;
    loop_defer_stop(&c->flush);
    while (!list_empty(&c->contexts))
        context_detach(container_of(c->contexts.next, struct grpc_context, link));
    nghttp2_session_del(c->session);
    stream_free(c->stream);
    free(c);
}

static ssize_t read_reply(nghttp2_session *s, int32_t id, uint8_t *to, size_t room, uint32_t *flags,
                          nghttp2_data_source *source, void *user)
{
    struct grpc_context *x = nghttp2_session_get_stream_user_data(s, id);
    char code[16];
    cleanup_buf struct buf text = {.max = 4096};
    size_t n;

    (void)source;
    (void)user;
    if (!x)
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    n = x->out.n - x->sent < room ? x->out.n - x->sent : room;
    memcpy(to, x->out.p ? x->out.p + x->sent : "", n);
    x->sent += n;
    if (x->sent < x->out.n)
        return (ssize_t)n;
    buf_clear(&x->out);
    x->sent = 0;
    if (x->answered) {
        nghttp2_nv nv[2] = {
            GRPC_NV("grpc-status", code, (size_t)snprintf(code, sizeof code, "%d", x->code)),
        };

        grpc_message_encode(&text, strna(x->message));
        nv[1] = GRPC_NV("grpc-message", buf_str(&text).p, text.n);
        *flags |= NGHTTP2_DATA_FLAG_EOF | NGHTTP2_DATA_FLAG_NO_END_STREAM;
        (void)nghttp2_submit_trailer(s, id, nv, x->message && x->message[0] ? 2 : 1);
        return (ssize_t)n;
    }
    x->deferred = n == 0;
    return n ? (ssize_t)n : NGHTTP2_ERR_DEFERRED;
}

/* Sends the response headers once, and wakes the data source afterwards. */
static void push(struct grpc_context *x)
{
    nghttp2_data_provider body = {.read_callback = read_reply};
    nghttp2_nv nv[] = {
        GRPC_NV(":status", "200", 3),
        GRPC_NV("content-type", "application/grpc", 16),
    };

    if (!x->started) {
        x->started = true;
        (void)nghttp2_submit_response(x->connection->session, x->stream_id, nv, 2, &body);
    } else if (x->deferred) {
        x->deferred = false;
        (void)nghttp2_session_resume_data(x->connection->session, x->stream_id);
    }
    flush_soon(x->connection);
}

static void answer(struct grpc_context *x, int code, const char *message)
{
    assert(!x->answered);
    x->answered = true;
    if (!x->connection) {
        context_free(x);
        return;
    }
    x->code = code;
    x->message = xstrdup_null(message);
    push(x);
}

void grpc_reply(struct grpc_context *x, const ProtobufCMessage *reply)
{
    if (x->connection && grpc_frame_add(&x->out, reply) < 0) {
        answer(x, GRPC_RESOURCE_EXHAUSTED, "the reply is larger than 16 MiB");
        return;
    }
    answer(x, GRPC_OK, NULL);
}

void grpc_fail(struct grpc_context *x, int code, const char *fmt, ...)
{
    struct buf text;
    va_list ap;

    buf_init(&text, 8192);
    va_start(ap, fmt);
    (void)buf_vprintf(&text, fmt, ap);
    va_end(ap);
    answer(x, code, buf_str(&text).p);
    buf_fini(&text);
}

void grpc_fail_error(struct grpc_context *x, const struct error *err)
{
    static const struct {
        int err, code;
    } table[] = {
        {ENOENT, GRPC_NOT_FOUND},
        {EEXIST, GRPC_ALREADY_EXISTS},
        {EINVAL, GRPC_INVALID_ARGUMENT},
        {EBUSY, GRPC_FAILED_PRECONDITION},
        {EPERM, GRPC_PERMISSION_DENIED},
        {EACCES, GRPC_PERMISSION_DENIED},
        {ENOSYS, GRPC_UNIMPLEMENTED},
        {EOPNOTSUPP, GRPC_UNIMPLEMENTED},
        {ETIMEDOUT, GRPC_DEADLINE_EXCEEDED},
        {ENOSPC, GRPC_RESOURCE_EXHAUSTED},
        {EAGAIN, GRPC_UNAVAILABLE},
    };
    int code = GRPC_UNKNOWN;

    for (size_t i = 0; err && i < ARRAY_LEN(table); i++)
        if (err->code == table[i].err)
            code = table[i].code;
    grpc_fail(x, code, "%s", error_message(err));
}

int grpc_send(struct grpc_context *x, const ProtobufCMessage *message)
{
    if (!x->connection)
        return -EPIPE;
    if (x->out.n - x->sent > STREAM_BACKLOG_MAX || grpc_frame_add(&x->out, message) < 0)
        return -ENOBUFS;
    push(x);
    return 0;
}

void grpc_finish(struct grpc_context *x, int code, const char *message)
{
    answer(x, code, message);
}

void grpc_on_gone(struct grpc_context *x, grpc_gone_fn fn, void *arg)
{
    x->on_gone = fn;
    x->gone_arg = arg;
}

const char *grpc_method(const struct grpc_context *x)
{
    return x->path;
}

static void dispatch(struct grpc_context *x)
{
    struct method *m = x->path ? map_get(&x->connection->server->methods, x->path) : NULL;
    struct str body;
    size_t used;
    int r;

    x->dispatched = true;
    if (!m) {
        grpc_fail(x, GRPC_UNIMPLEMENTED, "method %s is not served here", strna(x->path));
        return;
    }
    r = grpc_frame_next(&x->in, &body, &used);
    if (r == -EINVAL)
        grpc_fail(x, GRPC_UNIMPLEMENTED, "compressed messages are not supported");
    else if (r != 1 || used != x->in.n)
        grpc_fail(x, GRPC_INTERNAL, "%s wants exactly one message of at most 16 MiB", x->path);
    if (x->answered)
        return;
    x->request = protobuf_c_message_unpack(m->request_type, NULL, body.n, (const uint8_t *)body.p);
    buf_fini(&x->in);
    if (!x->request) {
        grpc_fail(x, GRPC_INTERNAL, "%s: the request is not a valid %s", x->path,
                  m->request_type->short_name);
        return;
    }
    m->fn(x, x->request, m->arg);
}

static int on_begin_headers(nghttp2_session *s, const nghttp2_frame *frame, void *user)
{
    struct connection *c = user;
    struct grpc_context *x;

    if (frame->hd.type != NGHTTP2_HEADERS || frame->headers.cat != NGHTTP2_HCAT_REQUEST)
        return 0;
    x = xcalloc(1, sizeof *x);
    x->connection = c;
    x->stream_id = frame->hd.stream_id;
    buf_init(&x->in, GRPC_MESSAGE_MAX + 5);
    buf_init(&x->out, GRPC_MESSAGE_MAX + STREAM_BACKLOG_MAX + 10);
    list_add_tail(&c->contexts, &x->link);
    (void)nghttp2_session_set_stream_user_data(s, x->stream_id, x);
    return 0;
}

static int on_header(nghttp2_session *s, const nghttp2_frame *frame, const uint8_t *name,
                     size_t name_n, const uint8_t *value, size_t value_n, uint8_t flags, void *user)
{
    struct grpc_context *x = nghttp2_session_get_stream_user_data(s, frame->hd.stream_id);

    (void)flags;
    (void)user;
    if (x && !x->path && str_eq_z((struct str){(const char *)name, name_n}, ":path"))
        x->path = str_dup((struct str){(const char *)value, value_n});
    return 0;
}

static int on_data(nghttp2_session *s, uint8_t flags, int32_t id, const uint8_t *p, size_t n,
                   void *user)
{
    struct grpc_context *x = nghttp2_session_get_stream_user_data(s, id);

    (void)flags;
    (void)user;
    if (x && !x->dispatched)
        (void)buf_add(&x->in, p, n); /* an overflow is refused when the message is cut */
    return 0;
}

static int on_frame(nghttp2_session *s, const nghttp2_frame *frame, void *user)
{
    struct grpc_context *x;

    (void)user;
    if (frame->hd.type != NGHTTP2_HEADERS && frame->hd.type != NGHTTP2_DATA)
        return 0;
    x = nghttp2_session_get_stream_user_data(s, frame->hd.stream_id);
    if (x && !x->dispatched && (frame->hd.flags & NGHTTP2_FLAG_END_STREAM))
        dispatch(x);
    return 0;
}

static int on_stream_close(nghttp2_session *s, int32_t id, uint32_t error_code, void *user)
{
    struct grpc_context *x = nghttp2_session_get_stream_user_data(s, id);

    (void)error_code;
    (void)user;
    if (!x)
        return 0;
    (void)nghttp2_session_set_stream_user_data(s, id, NULL);
    context_detach(x);
    return 0;
}

static size_t on_bytes(struct stream *s, struct str data, void *arg)
{
    struct connection *c = arg;
    ssize_t n = nghttp2_session_mem_recv(c->session, (const uint8_t *)data.p, data.n);

    (void)s;
    if (n < 0) {
        connection_free(c);
        return data.n;
    }
    flush(c);
    if (!nghttp2_session_want_read(c->session) && !nghttp2_session_want_write(c->session))
        connection_free(c);
    return data.n;
}

static void on_drain(struct stream *s, void *arg)
{
    (void)s;
    flush(arg);
}

static void on_close(struct stream *s, const struct error *err, void *arg)
{
    (void)s;
    (void)err;
    connection_free(arg);
}

static const struct stream_events server_events = {
    .on_data = on_bytes, .on_drain = on_drain, .on_close = on_close};

static void session_open(struct connection *c)
{
    nghttp2_session_callbacks *cb;
    nghttp2_option *option = grpc_session_option();

    if (nghttp2_session_callbacks_new(&cb) != 0)
        abort();
    nghttp2_session_callbacks_set_on_begin_headers_callback(cb, on_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback(cb, on_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, on_data);
    nghttp2_session_callbacks_set_on_frame_recv_callback(cb, on_frame);
    nghttp2_session_callbacks_set_on_stream_close_callback(cb, on_stream_close);
    if (nghttp2_session_server_new2(&c->session, cb, c, option) != 0)
        abort();
    nghttp2_option_del(option);
    nghttp2_session_callbacks_del(cb);
    grpc_session_windows(c->session);
}

static void on_accept(struct stream_listener *sl, int fd, const char *peer, void *arg)
{
    struct grpc_server *s = arg;
    struct connection *c;

    (void)sl;
    (void)peer;
    if (s->connections_n >= CONNECTIONS_MAX) {
        (void)close(fd);
        return;
    }
    c = xcalloc(1, sizeof *c);
    c->server = s;
    s->connections_n++;
    list_init(&c->contexts);
    list_add_tail(&s->connections, &c->link);
    session_open(c);
    c->stream = stream_new_fd(s->loop, fd, &server_events, c);
    flush_soon(c);
}

int grpc_server_new(struct loop *l, const char *unix_path, unsigned mode, struct grpc_server **ret,
                    struct error **err)
{
    struct grpc_server *s = xcalloc(1, sizeof *s);
    int r;

    s->loop = l;
    list_init(&s->connections);
    map_init(&s->methods);
    if (strstarts(unix_path, "unix://"))
        unix_path += 7;
    r = stream_listen_unix(l, unix_path, mode, on_accept, s, &s->listener, err);
    if (r < 0) {
        free(s);
        return r;
    }
    *ret = s;
    return 0;
}

void grpc_server_free(struct grpc_server *s)
{
    if (!s)
        return;
    stream_listener_free(s->listener);
    while (!list_empty(&s->connections))
        connection_free(container_of(s->connections.next, struct connection, link));
    map_fini(&s->methods, free);
    free(s);
}

void grpc_server_handle(struct grpc_server *s, const char *method,
                        const ProtobufCMessageDescriptor *request_type, grpc_handler_fn fn,
                        void *arg)
{
    struct method *m = xcalloc(1, sizeof *m);

    *m = (struct method){request_type, fn, arg};
    free(map_set(&s->methods, method, m));
}

const char *grpc_code_name(int code)
{
    static const char *const names[] = {
        "OK",       "Canceled",       "Unknown",          "InvalidArgument",   "DeadlineExceeded",
        "NotFound", "AlreadyExists",  "PermissionDenied", "ResourceExhausted", "FailedPrecondition",
        "Aborted",  "OutOfRange",     "Unimplemented",    "Internal",          "Unavailable",
        "DataLoss", "Unauthenticated"};

    return code >= 0 && code < (int)ARRAY_LEN(names) ? names[code] : "Code";
}
