#include "base/mem.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "engine/streaming/streaming_private.h"
#include <stdlib.h>

static void on_free_later(struct loop_defer *d)
{
    struct conn *c = container_of(d, struct conn, free_later);

    list_remove(&c->link);
    loop_timer_stop(&c->timer);
    stream_free(c->net);
    spdy_free(c->spdy);
    ws_free(c->ws);
    grant_free(c->grant);
    free(c);
}

void conn_end(struct conn *c)
{
    c->ended = true;
    loop_timer_stop(&c->timer);
    loop_defer_start(c->st->loop, &c->free_later, on_free_later);
}

static void conn_gone(struct conn *c)
{
    if (c->ended)
        return;
    if (!c->lingering)
        c->owner->gone(c);
    conn_end(c);
}

bool conn_congested(const struct conn *c)
{
    return stream_write_pending(c->net) > STREAM_HIGH;
}

void conn_flush(struct conn *c)
{
    if (c->ended)
        return;
    if (c->spdy && c->ws) {
        if (spdy_out(c->spdy)->n)
            (void)ws_send(c->ws, STR_NULL, buf_str(spdy_out(c->spdy)));
        buf_clear(spdy_out(c->spdy));
    }
    struct buf *out = c->ws ? ws_out(c->ws) : spdy_out(c->spdy);

    if (out->n)
        stream_write_str(c->net, buf_str(out));
    buf_clear(out);
}

static void on_linger_timeout(struct loop_timer *t)
{
    conn_end(container_of(t, struct conn, timer));
}

/* Closing a socket with unread input would reset it and take away what the client has not read yet;
 * so the end is announced and the client given time to see it. */
void conn_finish(struct conn *c)
{
    if (c->ended || c->lingering)
        return;
    conn_flush(c);
    if (c->ws) {
        (void)ws_close(c->ws, 1000);
        conn_flush(c);
    }
    c->lingering = true;
    stream_resume(c->net);
    stream_shutdown_write(c->net);
    loop_timer_start(c->st->loop, &c->timer, LINGER_MS, on_linger_timeout);
}

static size_t on_data(struct stream *s, struct str data, void *arg)
{
    cleanup_error struct error *err = NULL;
    struct conn *c = arg;
    int r;

    (void)s;
    if (c->lingering || c->ended)
        return data.n;
    r = c->ws ? ws_feed(c->ws, data, &err) : spdy_feed(c->spdy, data, &err);
    if (r < 0) {
        log_warnf("streaming", "%s from %s", error_message(err), stream_peer_address(c->net));
        conn_gone(c);
    } else {
        conn_flush(c);
    }
    return data.n;
}

static void on_eof(struct stream *s, void *arg)
{
    (void)s;
    conn_gone(arg);
}

static void on_drain(struct stream *s, void *arg)
{
    struct conn *c = arg;

    (void)s;
    if (!c->ended && !c->lingering)
        c->owner->drained(c);
}

static void on_close(struct stream *s, const struct error *err, void *arg)
{
    (void)s;
    (void)err;
    conn_gone(arg);
}

static const struct stream_events net_events = {
    .on_data = on_data, .on_eof = on_eof, .on_drain = on_drain, .on_close = on_close};

static void on_ws_message(struct ws *w, struct str data, bool binary, void *arg)
{
    cleanup_error struct error *err = NULL;
    struct conn *c = arg;

    (void)w;
    (void)binary;
    if (c->ended || c->lingering)
        return;
    if (!c->spdy) {
        c->owner->ws_message(c, data);
    } else if (spdy_feed(c->spdy, data, &err) < 0) {
        log_warnf("streaming", "%s from %s", error_message(err), stream_peer_address(c->net));
        conn_gone(c);
    }
}

static void on_ws_close(struct ws *w, void *arg)
{
    struct conn *c = arg;

    (void)w;
    if (c->ended || c->lingering)
        return;
    c->owner->gone(c);
    conn_finish(c);
}

static const struct ws_events ws_events = {on_ws_message, on_ws_close};

static void on_open_timeout(struct loop_timer *t)
{
    struct conn *c = container_of(t, struct conn, timer);

    log_warnf("streaming", "%s did not open its streams within %d s", stream_peer_address(c->net),
              OPEN_TIMEOUT_MS / 1000);
    conn_gone(c);
}

struct conn *conn_new(struct streaming *st, struct grant *g, struct http_exchange *x,
                      const char *protocol, bool use_spdy, bool use_ws,
                      const struct conn_owner *owner)
{
    struct conn *c = xcalloc(1, sizeof *c);

    c->st = st;
    c->grant = g;
    c->owner = owner;
    if (use_ws) {
        char *accept = ws_accept(http_header(x, "Sec-WebSocket-Key"));

        c->ws = ws_new(&ws_events, c);
        http_add_header(x, "Sec-WebSocket-Accept", accept);
        if (protocol)
            http_add_header(x, "Sec-WebSocket-Protocol", protocol);
        free(accept);
    } else if (protocol) {
        http_add_header(x, "X-Stream-Protocol-Version", protocol);
    }
    if (use_spdy)
        c->spdy = spdy_new(true, owner->spdy, c);
    list_add_tail(&st->conns, &c->link);
    c->net = http_upgrade(x, use_ws ? "websocket" : "SPDY/3.1", &net_events, c);
    if (use_spdy)
        loop_timer_start(st->loop, &c->timer, OPEN_TIMEOUT_MS, on_open_timeout);
    return c;
}
