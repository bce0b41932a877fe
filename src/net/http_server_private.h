/* The inside of the HTTP server, shared by http_server*.c and by nobody else. */
#pragma once
#include "base/arena.h"
#include "base/buf.h"
#include "base/list.h"
#include "codec/http1.h"
#include "net/http_server.h"

#define HTTP_LISTENERS_MAX 8
#define HTTP_DRAIN_MAX (256u * 1024) /* unread body that is skipped rather than cut off */

struct http_listener {
    struct http_server *server;
    struct stream_listener *listener;
    struct tls_server *tls;
};

struct http_server {
    struct loop *loop;
    struct http_server_config cfg;
    struct http_listener listeners[HTTP_LISTENERS_MAX];
    size_t listeners_n;
    struct list conns;
    size_t conns_n;
    struct list dead_conns, dead_exchanges; /* memory that goes at the end of the turn */
    struct loop_defer reap;
    unsigned depth; /* our handlers on the stack */
    bool full, draining, freed;
};

/* IDLE: before the first byte of a request. HEAD: part of a head is there. BUSY: an exchange is on.
 * SKIP: response done, rest of the request's body is being dropped. */
enum http_conn_state { CONN_IDLE, CONN_HEAD, CONN_BUSY, CONN_SKIP };

struct http_conn {
    struct list link;
    struct http_server *server;
    struct stream *stream;
    enum http_conn_state state;
    struct http_exchange *x;
    size_t scanned; /* of the head */
    struct http1_body body;
    size_t skipped;
    struct loop_timer timer;
    struct mono timer_at, deadline; /* when the timer fires; when time is up (ns 0: never) */
    uint64_t progress;              /* bytes moved when the deadline was set */
    struct http2_conn *h2; /* HTTP/2 spoken here; then x and the body decoder are not used */
    bool gone, unix_peer;
};

enum http_body_mode { BODY_UNREAD, BODY_COLLECT, BODY_STREAM };

struct http_exchange {
    struct list link; /* when dead */
    struct http_conn *conn;
    struct http2_stream *h2; /* NULL: HTTP/1 */
    struct arena arena;
    struct str method, path, query;
    const struct str *segments;
    size_t segments_n;
    struct http_headers headers;
    int minor;
    int64_t body_length;
    bool keep_alive, expect_continue, wants_upgrade, head_method;
    bool ended;
    void *user;
    /* body */
    enum http_body_mode body_mode;
    bool body_paused, body_done, body_told;
    struct buf body;
    http_body_fn on_body;
    http_body_piece_fn on_piece;
    void *body_arg;
    /* response */
    struct buf extra; /* header lines added */
    bool begun, chunked, no_body, close_after, has_length;
    uint64_t length, written;
    http_exchange_fn on_abort, on_drain;
    void *abort_arg, *drain_arg;
};

/* http_server.c */
void http_server_enter(struct http_server *s);
void http_server_leave(struct http_server *s);
void http_conn_arm(struct http_conn *c);
void http_conn_close(struct http_conn *c, bool linger); /* flushes; memory goes later */
struct stream *http_conn_detach(struct http_conn *c);   /* without closing the stream */
/* The exchange's response is complete: next request, skipping what is left of this one. */
void http_conn_next(struct http_conn *c);
/* Takes x out of its connection; memory goes later. */
void http_exchange_finish(struct http_exchange *x);
/* Answers a protocol error and closes. */
void http_conn_refuse(struct http_conn *c, int status);
/* http_exchange.c */
int http_exchange_new(struct http_conn *c, struct str head, struct http_exchange **ret);
/* Bare exchange, for HTTP/2 to fill; and its path and query. 0 or a negative status. */
struct http_exchange *http_exchange_alloc(struct http_conn *c);
int http_exchange_set_target(struct http_exchange *x, struct str target);
/* Hands decoded bytes to whoever reads the body; -413 when it is too much. */
int http_exchange_deliver(struct http_exchange *x, struct str data, bool done);
/* Offers body bytes; returns how many were taken. A negative result is a protocol error. */
ssize_t http_exchange_body(struct http_exchange *x, struct str data);
bool http_exchange_wants_body(const struct http_exchange *x);
/* "Date: ...\r\n" */
const char *http_date_line(void);
/* Calls on_abort, once, and finishes the exchange. */
void http_exchange_abort(struct http_exchange *x);
/* http2_server.c */
struct http2_conn *http2_conn_new(struct http_conn *c);
void http2_conn_free(struct http2_conn *h); /* aborts what is on; NULL accepted */
size_t http2_conn_streams(const struct http2_conn *h);
/* Takes all; negative: beyond repair. */
int http2_conn_feed(struct http2_conn *h, struct str in);
void http2_conn_drained(struct http2_conn *h); /* the connection takes more bytes */
void http2_conn_goaway(struct http2_conn *h);
void http2_stream_pump(struct http2_stream *st); /* body bytes kept for a reader who is there now */
void http2_stream_continue(struct http2_stream *st);
/* Head of the response; no_body: ends with it. */
void http2_stream_head(struct http2_stream *st, int status, const char *content_type,
                       struct str extra, int64_t length, bool no_body);
void http2_stream_write(struct http2_stream *st, struct str data);
size_t http2_stream_pending(const struct http2_stream *st);
void http2_stream_end(struct http2_stream *st);
void http2_stream_reset(struct http2_stream *st);
