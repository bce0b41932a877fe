/*
 * HTTP client on the loop: one object per base URL with a pool of kept connections, or one shared
 * HTTP/2 connection. A call ends in exactly one on_done (or on_upgrade), never before
 * http_call_start has returned, or in http_call_cancel and nothing. Errors are one sentence fit for
 * users ("dial tcp 10.0.0.1:6443: connection refused").
 */
#pragma once
#include "net/http.h"
#include "net/stream.h"
#include "net/tls.h"

struct http_client;
struct http_call;

struct http_client_config { /* zero means the default in brackets */
    const char
        *base_url; /* "https://host:port[/prefix]", "http://host:port[/prefix]", "unix:///path" */
    struct tls_client *tls;     /* referenced; NULL with https: the system's bundle */
    const char *server_name;    /* [host of the URL] */
    const char *user_agent;     /* [skiff/VERSION] */
    size_t connections_max;     /* over it, calls wait in line [64] */
    size_t idle_max;            /* kept connections [8] */
    int64_t idle_ms;            /* how long [60 s] */
    int64_t connect_timeout_ms; /* [10 s] */
    bool http2; /* offer HTTP/2 to https peers: all calls but upgrades share one connection */
};
int http_client_new(struct loop *l, const struct http_client_config *cfg, struct http_client **ret,
                    struct error **err);
/* Calls in flight are cancelled, without on_done. NULL accepted. */
void http_client_free(struct http_client *c);
const char *http_client_base_url(const struct http_client *c);
/* Drops kept connections; calls in flight go on. Done by itself after a tls_client_reload. */
void http_client_close_idle(struct http_client *c);

struct http_response {
    int status;
    struct http_headers headers; /* borrowed for the duration of the callback; in a result too */
};
struct http_result {
    const struct error
        *error; /* NULL: a complete response came, of whatever status. Code is an errno:
                 * ECONNREFUSED, ETIMEDOUT, ENOENT (no socket, no such host), EPROTO,
                 * ECONNRESET, EKEYREJECTED (TLS verification), EMSGSIZE (body over collect_max) */
    int status; /* 0 when no response came */
    struct http_headers headers;
    struct str body; /* what collect_max gathered; borrowed for the callback */
};
struct http_call_spec {
    const char *method; /* NULL: GET */
    const char *path;   /* path and query, already escaped; base URL's prefix goes before it */
    const struct http_header
        *headers; /* extra; copied. Host, Content-Length, Connection are the client's */
    size_t headers_n;
    const char *content_type; /* of the body */
    struct str body;          /* copied */
    bool stream_body;         /* upload by http_call_write / http_call_write_end instead of body */
    int64_t stream_length;    /* its length, or 0 for chunked */
    int64_t timeout_ms;       /* whole call, waiting in line included: 0 means 30 s, negative none
                                 (watches) */
    int64_t idle_timeout_ms;  /* longest silence of the peer; 0: none */
    size_t collect_max;       /* > 0: gather the body for on_done (of any status), no on_data */
    const char *upgrade;      /* ask for this protocol; needs on_upgrade */

    /* Headers came. May be NULL. */
    void (*on_response)(struct http_call *c, const struct http_response *r, void *arg);
    /* A piece of the body; pause with http_call_pause. May be NULL: dropped. */
    void (*on_data)(struct http_call *c, struct str data, void *arg);
    void (*on_drain)(struct http_call *c, void *arg); /* upload queue is low again; may be NULL */
    /* Last callback; the call is gone when it returns. */
    void (*on_done)(struct http_call *c, const struct http_result *r, void *arg);
    /* 101 came: takes the stream (set its events; early bytes are kept). Last callback, instead of
     * on_done. Any other status is an ordinary response. */
    void (*on_upgrade)(struct http_call *c, struct stream *s, const struct http_response *r,
                       void *arg);
    void *arg;
};
/* ret may be NULL when the call is never cancelled. Fails only for what the caller did wrong. */
int http_call_start(struct http_client *c, const struct http_call_spec *spec,
                    struct http_call **ret, struct error **err);
/* No further callbacks; frees. Fine inside any callback of this call but the last. NULL accepted.
 */
void http_call_cancel(struct http_call *c);
void http_call_pause(struct http_call *c); /* no on_data: back pressure to the peer */
void http_call_resume(struct http_call *c);
void http_call_write(struct http_call *c, struct str data);
size_t http_call_write_pending(const struct http_call *c);
void http_call_write_end(struct http_call *c);
