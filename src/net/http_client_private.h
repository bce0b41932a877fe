/* The inside of the HTTP client, shared by http_client.c and http_call.c and by nobody else. */
#pragma once
#include "base/arena.h"
#include "base/buf.h"
#include "base/list.h"
#include "codec/http1.h"
#include "net/http_client.h"

struct http_client {
    struct loop *loop;
    char *base_url, *host, *host_header, *prefix, *unix_path, *server_name, *user_agent;
    uint16_t port;
    struct tls_client *tls;
    size_t connections_max, idle_max, conns_n, idle_n;
    int64_t idle_ms, connect_timeout_ms;
    struct list idle, busy; /* connections */
    struct list waiting;    /* calls without a connection */
    struct list dead_conns, dead_calls;
    struct loop_defer reap, dispatch;
    struct loop_timer idle_timer;
    struct http_client_conn *shared; /* HTTP/2 connection that takes new calls */
    struct http_client_conn *trying; /* being made, protocol not known yet */
    unsigned depth;
    bool freed, http2;
};

struct http_client_conn {
    struct list link;
    struct http_client *client;
    struct stream *stream;
    struct http_call *call; /* NULL: idle, or HTTP/2 */
    struct http2_client *h2;
    size_t scanned;
    struct http1_body body;
    struct mono idle_since;
    unsigned tls_generation;
    bool open, reused, gone, keep_alive;
};

enum http_call_state { CALL_WAITING, CALL_CONNECTING, CALL_SENT, CALL_BODY, CALL_DEAD };

struct http_call {
    struct list link; /* waiting or dead */
    struct http_client *client;
    struct http_client_conn *conn;
    struct http_call_spec spec; /* callbacks and limits; its pointers are not ours any more */
    enum http_call_state state;
    char *method, *path;
    struct buf request; /* head and body, kept until the response for a second try */
    struct buf upload;  /* written before the connection was there */
    bool upload_ended, upload_chunked, to_head, idempotent, retried, wants_upgrade, paused;
    struct loop_timer timer;
    struct mono deadline, last_byte;
    /* response */
    struct arena arena;
    int status;
    struct http_headers headers;
    struct buf body;
    /* HTTP/2 */
    int32_t stream_id;
    struct http_header *gathered;
    size_t gathered_n, gathered_cap, head_bytes, sent;
    struct buf in; /* came while paused; bounded by the window */
    bool eof, deferred, above_low, drain_due, resumed;
};

/* http_client.c */
void http_client_enter(struct http_client *c);
void http_client_leave(struct http_client *c);
void http_client_kick(struct http_client *c); /* hand out connections at the end of the turn */
void http_client_bury(struct http_call *call);
/* Ends the connection's use: back to the pool or closed. */
void http_client_conn_done(struct http_client_conn *conn, bool reusable);
struct stream *http_client_conn_detach(struct http_client_conn *conn);
void http_client_send(struct http_client_conn *conn);
/* A call that got no answer goes back in line; false when it may not. */
bool http_call_retry(struct http_call *call, bool unprocessed);
/* http2_client.c */
struct http2_client *http2_client_new(struct http_client_conn *conn);
void http2_client_free(struct http2_client *h); /* its calls were ended before; NULL accepted */
bool http2_client_takes(const struct http2_client *h);
bool http2_client_idle(const struct http2_client *h);
void http2_client_submit(struct http2_client *h, struct http_call *call);
int http2_client_feed(struct http2_client *h, struct str in);
void http2_client_drained(struct http2_client *h);
/* The connection is gone: every call on it fails or is tried again. */
void http2_client_lost(struct http2_client *h, const struct error *err);
void http2_client_cancel_all(struct http2_client *h);
/* Lets go of a call that ended or was given up. */
void http2_client_drop(struct http_call *call);
void http2_client_resume(struct http_call *call);
void http2_client_wrote(struct http_call *call); /* upload bytes or its end were added */
/* http_call.c */
void http_call_head(struct http_call *call);                    /* status and headers are there */
bool http_call_piece(struct http_call *call, struct str piece); /* false: the call is over */
void http_call_arm(struct http_call *call);   /* its timer, by deadline and silence */
void http_call_begin(struct http_call *call); /* connection is there: request goes out */
/* Last callback and death. err may be NULL; borrowed. */
void http_call_finish(struct http_call *call, const struct error *err);
void http_call_fail(struct http_call *call, int code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* Response bytes; returns how many were taken. */
size_t http_call_feed(struct http_call *call, struct str data);
/* The connection ended; orderly: the peer said so. */
void http_call_conn_end(struct http_call *call, bool orderly, const struct error *err);
