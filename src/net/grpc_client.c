#include "base/buf.h"
#include "base/cleanup.h"
#include "base/mem.h"
#include "net/grpc.h"
#include "net/grpc_frame.h"
#include "net/stream.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define DEFAULT_DEADLINE_MS 120000

struct grpc_client {
    struct loop *loop;
    char *where;          /* "unix:///run/x.sock", "10.0.0.1:50051" */
    char *path, *address; /* one of them */
    uint16_t port;
    struct stream *stream;
    nghttp2_session *session;
    struct list calls;
    struct loop_defer flush;
};

struct grpc_call {
    struct list link;
    struct grpc_client *client;
    const ProtobufCMessageDescriptor *reply_type;
    grpc_reply_fn on_reply;
    grpc_message_fn on_message;
    grpc_end_fn on_end;
    void *arg;
    struct buf out, in;
    size_t sent;
    struct loop_timer deadline;
    struct loop_defer fail_later;
    char *message, *method;
    int32_t stream_id;
    int status;
    int64_t deadline_ms;
};

static void call_free(struct grpc_call *call)
{
    list_remove(&call->link);
    loop_timer_stop(&call->deadline);
    loop_defer_stop(&call->fail_later);
    buf_fini(&call->out);
    buf_fini(&call->in);
    free(call->message);
    free(call->method);
    free(call);
}

/* Ends the call: its memory goes after the callback. */
static void call_end(struct grpc_call *call, int code, const char *message)
{
    ProtobufCMessage *reply = NULL;
    struct str body;
    size_t used;

    list_remove(&call->link);
    loop_timer_stop(&call->deadline);
    if (call->on_end) {
        call->on_end(code, message, call->arg);
        call_free(call);
        return;
    }
    if (code == GRPC_OK) {
        if (grpc_frame_next(&call->in, &body, &used) == 1)
            reply =
                protobuf_c_message_unpack(call->reply_type, NULL, body.n, (const uint8_t *)body.p);
        if (!reply) {
            code = GRPC_INTERNAL;
            message = "the reply is not a valid message";
        }
    }
    call->on_reply(code, message, reply, call->arg);
    if (reply)
        protobuf_c_message_free_unpacked(reply, NULL);
    call_free(call);
}

static void connection_drop(struct grpc_client *c)
{
    if (c->session)
        nghttp2_session_del(c->session);
    c->session = NULL;
    stream_free(c->stream);
    c->stream = NULL;
    loop_defer_stop(&c->flush);
}

/* The list is taken over first: callbacks may start new calls, which belong to the next connection.
 */
static void connection_lost(struct grpc_client *c, const char *why)
{
    struct list lost;

    connection_drop(c);
    list_init(&lost);
    while (!list_empty(&c->calls)) {
        struct list *n = c->calls.next;

        list_remove(n);
        list_add_tail(&lost, n);
    }
    while (!list_empty(&lost)) {
        struct grpc_call *call = container_of(lost.next, struct grpc_call, link);

        call->stream_id = -1;
        call_end(call, GRPC_UNAVAILABLE, why);
    }
}

static void flush(struct grpc_client *c)
{
    const uint8_t *p;
    ssize_t n;

    if (!c->session || !c->stream)
        return;
    while (stream_write_pending(c->stream) < STREAM_HIGH &&
           (n = nghttp2_session_mem_send(c->session, &p)) > 0)
        stream_write(c->stream, p, (size_t)n);
}

static void on_flush(struct loop_defer *d)
{
    flush(container_of(d, struct grpc_client, flush));
}

static void flush_soon(struct grpc_client *c)
{
    loop_defer_start(c->loop, &c->flush, on_flush);
}

static int on_header(nghttp2_session *s, const nghttp2_frame *frame, const uint8_t *name,
                     size_t name_n, const uint8_t *value, size_t value_n, uint8_t flags, void *user)
{
    struct grpc_call *call = nghttp2_session_get_stream_user_data(s, frame->hd.stream_id);
    struct str key = {(const char *)name, name_n}, text = {(const char *)value, value_n};
    int64_t code;

    (void)flags;
    (void)user;
    if (!call)
        return 0;
    if (str_eq_z(key, "grpc-status") && str_to_i64(text, 0, 1000, &code) == 0) {
        call->status = (int)code;
    } else if (str_eq_z(key, "grpc-message")) {
        free(call->message);
        call->message = grpc_message_decode(text);
    }
    return 0;
}

/* A callback may cancel its own call; the session forgets it then. */
static void deliver_messages(nghttp2_session *s, int32_t id)
{
    struct grpc_call *call;
    struct str body;
    size_t used;

    while ((call = nghttp2_session_get_stream_user_data(s, id)) &&
           grpc_frame_next(&call->in, &body, &used) == 1) {
        ProtobufCMessage *m =
            protobuf_c_message_unpack(call->reply_type, NULL, body.n, (const uint8_t *)body.p);

        buf_consume(&call->in, used);
        if (!m)
            continue;
        call->on_message(m, call->arg);
        protobuf_c_message_free_unpacked(m, NULL);
    }
}

static int on_data(nghttp2_session *s, uint8_t flags, int32_t id, const uint8_t *p, size_t n,
                   void *user)
{
    struct grpc_call *call = nghttp2_session_get_stream_user_data(s, id);

    (void)flags;
    (void)user;
    if (call && buf_add(&call->in, p, n) < 0) {
        call->status = GRPC_RESOURCE_EXHAUSTED;
        (void)nghttp2_submit_rst_stream(s, NGHTTP2_FLAG_NONE, id, NGHTTP2_CANCEL);
    }
    return 0;
}

static int on_frame(nghttp2_session *s, const nghttp2_frame *frame, void *user)
{
    struct grpc_call *call = nghttp2_session_get_stream_user_data(s, frame->hd.stream_id);

    (void)user;
    if (call && call->on_message && frame->hd.type == NGHTTP2_DATA)
        deliver_messages(s, frame->hd.stream_id);
    return 0;
}

static int on_stream_close(nghttp2_session *s, int32_t id, uint32_t error_code, void *user)
{
    struct grpc_call *call = nghttp2_session_get_stream_user_data(s, id);
    char text[96];

    (void)user;
    if (!call)
        return 0;
    (void)nghttp2_session_set_stream_user_data(s, id, NULL);
    call->stream_id = -1;
    if (call->status < 0) {
        (void)snprintf(text, sizeof text, "the peer ended the call: %s",
                       nghttp2_http2_strerror(error_code));
        call_end(call, GRPC_UNAVAILABLE, text);
    } else {
        call_end(call, call->status, call->message ? call->message : "");
    }
    return 0;
}

static ssize_t read_request(nghttp2_session *s, int32_t id, uint8_t *to, size_t room,
                            uint32_t *flags, nghttp2_data_source *source, void *user)
{
    struct grpc_call *call = nghttp2_session_get_stream_user_data(s, id);
    size_t n;

    (void)source;
    (void)user;
    if (!call) /* cancelled while its request was still going out */
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    n = call->out.n - call->sent;
    if (n > room)
        n = room;
    memcpy(to, call->out.p + call->sent, n);
    call->sent += n;
    if (call->sent == call->out.n) {
        *flags |= NGHTTP2_DATA_FLAG_EOF;
        buf_fini(&call->out);
        call->sent = 0;
    }
    return (ssize_t)n;
}

static void submit(struct grpc_call *call)
{
    struct grpc_client *c = call->client;
    nghttp2_data_provider body = {.read_callback = read_request};
    char timeout[32];
    nghttp2_nv nv[] = {
        GRPC_NV(":method", "POST", 4),
        GRPC_NV(":scheme", "http", 4),
        GRPC_NV(":path", call->method, strlen(call->method)),
        GRPC_NV(":authority", "localhost", 9),
        GRPC_NV("content-type", "application/grpc", 16),
        GRPC_NV("te", "trailers", 8),
        GRPC_NV("grpc-timeout", timeout, 0),
    };
    size_t n = sizeof nv / sizeof nv[0] - 1;

    if (call->deadline_ms > 0 && call->deadline_ms < 100000000) {
        nv[n].valuelen =
            (size_t)snprintf(timeout, sizeof timeout, "%lldm", (long long)call->deadline_ms);
        n++;
    }
    call->stream_id = nghttp2_submit_request(c->session, NULL, nv, n, &body, call);
    flush_soon(c);
}

static void session_open(struct grpc_client *c)
{
    nghttp2_session_callbacks *cb;
    nghttp2_option *option = grpc_session_option();

    if (nghttp2_session_callbacks_new(&cb) != 0)
        abort();
    nghttp2_session_callbacks_set_on_header_callback(cb, on_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, on_data);
    nghttp2_session_callbacks_set_on_frame_recv_callback(cb, on_frame);
    nghttp2_session_callbacks_set_on_stream_close_callback(cb, on_stream_close);
    if (nghttp2_session_client_new2(&c->session, cb, c, option) != 0)
        abort();
    nghttp2_option_del(option);
    nghttp2_session_callbacks_del(cb);
    grpc_session_windows(c->session);
}

static size_t on_bytes(struct stream *s, struct str data, void *arg)
{
    struct grpc_client *c = arg;
    ssize_t n = nghttp2_session_mem_recv(c->session, (const uint8_t *)data.p, data.n);

    if (c->stream != s)
        return data.n; /* a callback ended the client's connection */
    if (n < 0) {
        connection_lost(c, "the peer does not speak HTTP/2");
        return data.n;
    }
    flush(c);
    return data.n;
}

static void on_drain(struct stream *s, void *arg)
{
    (void)s;
    flush(arg);
}

static void on_close(struct stream *s, const struct error *err, void *arg)
{
    struct grpc_client *c = arg;
    cleanup_free char *why = NULL;

    (void)s;
    if (err)
        why = xasprintf("%s: %s", c->where, error_message(err));
    else
        why = xasprintf("%s: the peer closed the connection", c->where);
    connection_lost(c, why);
}

static const struct stream_events client_events = {
    .on_data = on_bytes, .on_drain = on_drain, .on_close = on_close};

static int connect_now(struct grpc_client *c, struct error **err)
{
    struct stream_target target = {.unix_path = c->path, .host = c->address, .port = c->port};
    int r;

    if (c->stream)
        return 0;
    r = stream_connect(c->loop, &target, &client_events, c, &c->stream, err);
    if (r < 0)
        return r;
    session_open(c);
    return 0;
}

struct grpc_client *grpc_client_new(struct loop *l, const char *unix_path)
{
    struct grpc_client *c = xcalloc(1, sizeof *c);

    c->loop = l;
    c->path = xstrdup(strstarts(unix_path, "unix://") ? unix_path + 7 : unix_path);
    c->where = xasprintf("unix://%s", c->path);
    list_init(&c->calls);
    return c;
}

struct grpc_client *grpc_client_new_tcp(struct loop *l, const char *address, uint16_t port)
{
    struct grpc_client *c = xcalloc(1, sizeof *c);

    c->loop = l;
    c->address = xstrdup(address);
    c->port = port;
    c->where = xasprintf(strchr(address, ':') ? "[%s]:%u" : "%s:%u", address, port);
    list_init(&c->calls);
    return c;
}

void grpc_client_free(struct grpc_client *c)
{
    if (!c)
        return;
    connection_drop(c);
    while (!list_empty(&c->calls))
        call_free(container_of(c->calls.next, struct grpc_call, link));
    free(c->path);
    free(c->address);
    free(c->where);
    free(c);
}

static void on_fail_later(struct loop_defer *d)
{
    struct grpc_call *call = container_of(d, struct grpc_call, fail_later);
    char *message = TAKE(call->message);

    call_end(call, call->status, message);
    free(message);
}

static void on_deadline(struct loop_timer *t)
{
    struct grpc_call *call = container_of(t, struct grpc_call, deadline);
    struct grpc_client *c = call->client;

    if (call->stream_id > 0 && c->session) {
        (void)nghttp2_session_set_stream_user_data(c->session, call->stream_id, NULL);
        (void)nghttp2_submit_rst_stream(c->session, NGHTTP2_FLAG_NONE, call->stream_id,
                                        NGHTTP2_CANCEL);
        flush_soon(c);
    }
    call_end(call, GRPC_DEADLINE_EXCEEDED, "context deadline exceeded");
}

static struct grpc_call *start(struct grpc_client *c, const char *method,
                               const ProtobufCMessage *request,
                               const ProtobufCMessageDescriptor *reply_type, int64_t deadline_ms,
                               struct grpc_call *call)
{
    struct error *err = NULL;

    call->client = c;
    call->reply_type = reply_type;
    call->method = xstrdup(method);
    call->status = -1;
    call->stream_id = -1;
    call->deadline_ms = deadline_ms;
    buf_init(&call->out, GRPC_MESSAGE_MAX + 5);
    buf_init(&call->in, GRPC_MESSAGE_MAX + 5);
    list_add_tail(&c->calls, &call->link);
    if (grpc_frame_add(&call->out, request) < 0) {
        call->status = GRPC_RESOURCE_EXHAUSTED;
        call->message = xstrdup("the request is larger than 16 MiB");
    } else if (connect_now(c, &err) < 0) {
        call->status = GRPC_UNAVAILABLE;
        call->message = xasprintf("%s: %s", c->where, error_message(err));
        error_clear(&err);
    } else {
        submit(call);
    }
    if (call->message)
        loop_defer_start(c->loop, &call->fail_later, on_fail_later);
    else if (deadline_ms > 0)
        loop_timer_start(c->loop, &call->deadline, deadline_ms, on_deadline);
    return call;
}

struct grpc_call *grpc_call_start(struct grpc_client *c, const char *method,
                                  const ProtobufCMessage *request,
                                  const ProtobufCMessageDescriptor *reply_type, int64_t deadline_ms,
                                  grpc_reply_fn fn, void *arg)
{
    struct grpc_call *call = xcalloc(1, sizeof *call);

    call->on_reply = fn;
    call->arg = arg;
    return start(c, method, request, reply_type, deadline_ms ? deadline_ms : DEFAULT_DEADLINE_MS,
                 call);
}

struct grpc_call *grpc_stream_start(struct grpc_client *c, const char *method,
                                    const ProtobufCMessage *request,
                                    const ProtobufCMessageDescriptor *reply_type,
                                    grpc_message_fn on_message, grpc_end_fn on_end, void *arg)
{
    struct grpc_call *call = xcalloc(1, sizeof *call);

    call->on_message = on_message;
    call->on_end = on_end;
    call->arg = arg;
    return start(c, method, request, reply_type, -1, call);
}

void grpc_call_cancel(struct grpc_call *call)
{
    struct grpc_client *c;

    if (!call)
        return;
    c = call->client;
    if (call->stream_id > 0 && c->session) {
        (void)nghttp2_session_set_stream_user_data(c->session, call->stream_id, NULL);
        (void)nghttp2_submit_rst_stream(c->session, NGHTTP2_FLAG_NONE, call->stream_id,
                                        NGHTTP2_CANCEL);
        flush_soon(c);
    }
    call_free(call);
}
