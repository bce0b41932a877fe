/*
 * WebSocket (RFC 6455), server side after the handshake, on wslay: bytes in, whole messages out,
 * bytes to send gathered in a buffer. Ping is answered and close handled here. Messages are at most
 * WS_MESSAGE_MAX bytes.
 */
#pragma once
#include "base/buf.h"
#include "base/error.h"
#define WS_MESSAGE_MAX (1u << 20)
#define WS_OUT_MAX (8u << 20)
struct ws;
struct ws_events {
    void (*on_message)(struct ws *w, struct str data, bool binary,
                       void *arg); /* may not free the ws */
    void (*on_close)(struct ws *w,
                     void *arg); /* the peer asked to close; the answer is queued already */
};
struct ws *ws_new(const struct ws_events *ev, void *arg);
void ws_free(struct ws *w);
int ws_feed(struct ws *w, struct str bytes, struct error **err); /* -EPROTO: close the connection */
struct buf *ws_out(struct ws *w);
/* Two parts are sent as one binary message, so that a channel byte needs no copy by the caller.
 * -EMSGSIZE when too much waits. */
int ws_send(struct ws *w, struct str head, struct str data);
int ws_close(struct ws *w, unsigned code);
/* Sec-WebSocket-Accept for a Sec-WebSocket-Key (RFC 6455, 4.2.2). Owned. */
char *ws_accept(struct str key);
