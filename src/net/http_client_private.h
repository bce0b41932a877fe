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
    struct list idle, busy;    /* connections */
    struct list waiting;       /* calls without a connection */
    struct list dead_conns, dead_calls;
    struct loop_defer reap, dispatch;
    struct loop_timer idle_timer;
    unsigned depth;
    bool freed;
};

struct http_client_conn {
    struct list link;
    struct http_client *client;
    struct stream *stream;
    struct http_call *call; /* NULL: idle */
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
/* http_call.c */
void http_call_begin(struct http_call *call); /* connection is there: request goes out */
/* Last callback and death. err may be NULL; borrowed. */
void http_call_finish(struct http_call *call, const struct error *err);
void http_call_fail(struct http_call *call, int code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* Response bytes; returns how many were taken. */
size_t http_call_feed(struct http_call *call, struct str data);
/* The connection ended; orderly: the peer said so. */
void http_call_conn_end(struct http_call *call, bool orderly, const struct error *err);
