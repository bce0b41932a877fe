/* Shared by the files of this folder only. */
#pragma once
#include "base/list.h"
#include "codec/spdy.h"
#include "codec/ws.h"
#include "engine/streaming/streaming.h"
#include "net/http_server.h"
#include "net/stream.h"

#define OPEN_TIMEOUT_MS 30000 /* for the client to open the streams it announced */
#define LINGER_MS 5000        /* for the peer to read the end before the connection is closed */

struct streaming {
    struct loop *loop;
    struct http_server *http;
    const struct streaming_ops *ops;
    void *arg;
    char *base_url;
    struct list tokens, conns;
    size_t tokens_n;
};

/* One request that a URL was given for; owned by the token list, then by the connection. */
struct grant {
    struct list link;
    struct streaming *st;
    struct streaming_request q;
    struct loop_timer expiry;
    char token[33];
};
void grant_free(struct grant *g);

/* One upgraded client connection: SPDY on the wire, WebSocket messages, or SPDY inside WebSocket
 * messages. Never freed inside its own callbacks: conn_end defers that. */
struct conn;
struct conn_owner {
    void (*drained)(struct conn *c); /* the queue to the client ran low */
    void (*gone)(
        struct conn *c); /* client gone or protocol broken; the owner lets go of everything */
    void (*ws_message)(struct conn *c, struct str data); /* plain WebSocket mode */
    const struct spdy_events *spdy;                      /* SPDY modes; arg is the conn */
};
struct conn {
    struct list link;
    struct streaming *st;
    struct grant *grant;
    struct stream *net;
    struct spdy *spdy;
    struct ws *ws;
    const struct conn_owner *owner;
    void *user; /* the session or the port forward */
    struct loop_timer timer;
    struct loop_defer free_later;
    int version; /* of channel.k8s.io */
    bool ended, lingering;
};
/* Upgrades the exchange; takes the grant. */
struct conn *conn_new(struct streaming *st, struct grant *g, struct http_exchange *x,
                      const char *protocol, bool use_spdy, bool use_ws,
                      const struct conn_owner *owner);
void conn_flush(struct conn *c);
bool conn_congested(const struct conn *c); /* stop reading what would be sent here until drained */
void conn_finish(struct conn *c);          /* send what is queued, then close in order */
void conn_end(struct conn *c);             /* close now */

/* what a grant becomes on a connection */
void session_accept(struct streaming *st, struct grant *g, struct http_exchange *x);
void forward_accept(struct streaming *st, struct grant *g, struct http_exchange *x);
/* Picks the first of our protocols (best first) that the client offers in a comma-separated or
 * repeated header. */
const char *pick_protocol(struct http_exchange *x, const char *header, const char *const *ours,
                          size_t n);
