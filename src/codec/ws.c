#include "codec/ws.h"
#include "base/mem.h"
#include "codec/sha1.h"
#include <errno.h>
#include <stdlib.h>
#include <wslay/wslay.h>

struct ws {
    const struct ws_events *ev;
    void *arg;
    wslay_event_context_ptr ctx;
    struct str in;
    struct buf out;
    bool closed;
};

static ssize_t on_recv(wslay_event_context_ptr ctx, uint8_t *to, size_t n, int flags, void *user)
{
    struct ws *w = user;

    (void)flags;
    if (!w->in.n) {
        wslay_event_set_error(ctx, WSLAY_ERR_WOULDBLOCK);
        return -1;
    }
    if (n > w->in.n)
        n = w->in.n;
    memcpy(to, w->in.p, n);
    w->in.p += n;
    w->in.n -= n;
    return (ssize_t)n;
}

static ssize_t on_send(wslay_event_context_ptr ctx, const uint8_t *p, size_t n, int flags,
                       void *user)
{
    struct ws *w = user;

    (void)flags;
    if (buf_add(&w->out, p, n) < 0) {
        wslay_event_set_error(ctx, WSLAY_ERR_CALLBACK_FAILURE);
        return -1;
    }
    return (ssize_t)n;
}

static void on_msg(wslay_event_context_ptr ctx, const struct wslay_event_on_msg_recv_arg *m,
                   void *user)
{
    struct ws *w = user;

    (void)ctx;
    if (m->opcode == WSLAY_TEXT_FRAME || m->opcode == WSLAY_BINARY_FRAME) {
        if (w->ev->on_message)
            w->ev->on_message(w, (struct str){(const char *)m->msg, m->msg_length},
                              m->opcode == WSLAY_BINARY_FRAME, w->arg);
    } else if (m->opcode == WSLAY_CONNECTION_CLOSE && !w->closed) {
        w->closed = true;
        if (w->ev->on_close)
            w->ev->on_close(w, w->arg);
    }
}

struct ws *ws_new(const struct ws_events *ev, void *arg)
{
    static const struct wslay_event_callbacks callbacks = {
        .recv_callback = on_recv, .send_callback = on_send, .on_msg_recv_callback = on_msg};
    struct ws *w = xcalloc(1, sizeof *w);

    w->ev = ev;
    w->arg = arg;
    buf_init(&w->out, WS_OUT_MAX);
    if (wslay_event_context_server_init(&w->ctx, &callbacks, w) != 0)
        abort(); /* only without memory */
    wslay_event_config_set_max_recv_msg_length(w->ctx, WS_MESSAGE_MAX);
    return w;
}

void ws_free(struct ws *w)
{
    if (!w)
        return;
    wslay_event_context_free(w->ctx);
    buf_fini(&w->out);
    free(w);
}

struct buf *ws_out(struct ws *w)
{
    return &w->out;
}

int ws_feed(struct ws *w, struct str bytes, struct error **err)
{
    int r;

    w->in = bytes;
    while (w->in.n) {
        size_t before = w->in.n;

        if (!wslay_event_want_read(w->ctx))
            return 0; /* closed: what follows does not count */
        r = wslay_event_recv(w->ctx);
        if (r != 0 || (w->in.n == before && w->in.n))
            return error_set(err, EPROTO, "not a valid WebSocket frame");
    }
    (void)wslay_event_send(w->ctx);
    return 0;
}

int ws_send(struct ws *w, struct str head, struct str data)
{
    struct wslay_event_msg m = {.opcode = WSLAY_BINARY_FRAME};
    struct buf whole;
    int r;

    if (w->out.n + head.n + data.n + 64 > WS_OUT_MAX)
        return -EMSGSIZE;
    buf_init(&whole, head.n + data.n);
    (void)buf_add_str(&whole, head);
    (void)buf_add_str(&whole, data);
    m.msg = (const uint8_t *)(whole.p ? whole.p : "");
    m.msg_length = whole.n;
    r = wslay_event_queue_msg(w->ctx, &m);
    buf_fini(&whole);
    if (r == 0)
        r = wslay_event_send(w->ctx);
    return r == 0 ? 0 : -EPIPE;
}

int ws_close(struct ws *w, unsigned code)
{
    if (wslay_event_queue_close(w->ctx, (uint16_t)code, NULL, 0) != 0)
        return -EPIPE;
    return wslay_event_send(w->ctx) == 0 ? 0 : -EPIPE;
}

char *ws_accept(struct str key)
{
    static const char guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    unsigned char sum[SHA1_BYTES];
    struct buf b;

    buf_init(&b, key.n + 256);
    (void)buf_add_str(&b, key);
    (void)buf_add_z(&b, guid);
    sha1(b.p, b.n, sum);
    buf_clear(&b);
    (void)buf_add_base64(&b, sum, sizeof sum);
    return buf_take(&b);
}
