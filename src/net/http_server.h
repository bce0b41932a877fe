/*
 * HTTP/1.1 server on TCP (plain or TLS) and unix sockets, on the loop. A handler is called at the
 * end of the request's headers and answers now or later. Protocol errors, limits and timeouts are
 * answered by the server itself: 400, 408, 413, 417, 431, 501, 505. Requests on one connection are
 * served one after the other.
 *
 * An exchange lives until its response ended (http_respond, http_end, http_upgrade) or until
 * on_abort was called; then it must not be touched. Every request must be answered, save after
 * on_abort.
 */
#pragma once
#include "net/http.h"
#include "net/stream.h"
#include "net/tls.h"

struct http_server;
struct http_exchange;
typedef void (*http_exchange_fn)(struct http_exchange *x, void *arg);

struct http_server_config { /* zero means the default in brackets */
    http_exchange_fn on_request;
    void *arg;
    size_t head_max_bytes;    /* request line and headers [64 KiB] */
    size_t connections_max;   /* over it, new ones wait in the backlog [4096] */
    int64_t head_timeout_ms;  /* first byte (or handshake) to end of headers [10 s] */
    int64_t idle_timeout_ms;  /* between requests of a kept connection [90 s] */
    int64_t body_timeout_ms;  /* without a byte while the body is wanted [60 s] */
    int64_t write_timeout_ms; /* with bytes queued and none taken by the peer [60 s] */
};

/* lifecycle */
struct http_server *http_server_new(struct loop *l, const struct http_server_config *cfg);
/* Several listeners may be added. tls NULL: plain; it is referenced, and a reload of it applies. */
int http_server_listen_tcp(struct http_server *s, const char *address, uint16_t port,
                           struct tls_server *tls, struct error **err);
int http_server_listen_unix(struct http_server *s, const char *path, unsigned mode,
                            struct error **err);
uint16_t http_server_port(const struct http_server *s); /* of the first TCP listener */
size_t http_server_connections(const struct http_server *s);
/* Serves a connection that came from elsewhere (socket activation, tests): takes fd. */
void http_server_add_fd(struct http_server *s, int fd, struct tls_server *tls);
/* No new connections; idle ones close, busy ones after their exchange. */
void http_server_drain(struct http_server *s);
/* Closes all; exchanges in flight get on_abort. Upgraded streams are not ours any more. NULL
 * accepted. */
void http_server_free(struct http_server *s);

/* request; everything borrowed until the exchange ends */
struct str http_method(const struct http_exchange *x);
bool http_method_is(const struct http_exchange *x, const char *method);
struct str http_path(const struct http_exchange *x);  /* as sent, no query: "/a%2Fb/c" */
struct str http_query(const struct http_exchange *x); /* as sent, without '?' */
/* Path split at '/' and then decoded: {"a/b","c"}. Empty segments (// or a trailing /) are kept
 * out. Segments "." and ".." were refused before with 400. */
const struct str *http_segments(struct http_exchange *x, size_t *ret_n);
/* Decoded value of the first query parameter of that name; {NULL,0} when absent, n = 0 when empty.
 */
struct str http_query_get(struct http_exchange *x, const char *name);
/* i-th occurrence, for lists such as command=a&command=b. */
struct str http_query_get_nth(struct http_exchange *x, const char *name, size_t i);
bool http_query_bool(struct http_exchange *x,
                     const char *name); /* "1", "true", present without value */
struct http_headers http_request_headers(const struct http_exchange *x);
struct str http_header(const struct http_exchange *x, const char *name);
const char *http_peer_address(const struct http_exchange *x);
const struct tls_peer *http_tls_peer(struct http_exchange *x); /* NULL: none shown */
bool http_is_tls(const struct http_exchange *x);
/* Credentials of a unix peer; -ENOTSUP otherwise. */
int http_unix_peer(const struct http_exchange *x, uid_t *ret_uid, pid_t *ret_pid);
struct loop *http_loop(const struct http_exchange *x);
/* Memory that dies with the exchange. */
struct arena;
struct arena *http_arena(struct http_exchange *x);
void http_set_user(struct http_exchange *x, void *user);
void *http_user(const struct http_exchange *x);

/* request body: choose one of the two, inside on_request or later; unread bodies are skipped (or
 * the connection closed when they are large). Expect: 100-continue is answered when reading begins.
 */
/* Collects all of it, then calls fn (perhaps before this returns). Over max: 413 by itself, after
 * on_abort. The body is borrowed until the exchange ends. */
typedef void (*http_body_fn)(struct http_exchange *x, struct str body, void *arg);
void http_read_body(struct http_exchange *x, size_t max, http_body_fn fn, void *arg);
/* Piece by piece; last is true once, with data perhaps empty. http_body_pause stops pieces (and, by
 * back pressure, the peer). */
typedef void (*http_body_piece_fn)(struct http_exchange *x, struct str data, bool last, void *arg);
void http_stream_body(struct http_exchange *x, http_body_piece_fn fn, void *arg);
void http_body_pause(struct http_exchange *x);
void http_body_resume(struct http_exchange *x);
/* Declared length, -1 when chunked, 0 when none. */
int64_t http_body_length(const struct http_exchange *x);

/* Client gone (or server freed) before the response ended. The exchange is dead when fn returns. */
void http_on_abort(struct http_exchange *x, http_exchange_fn fn, void *arg);

/* response */
/* Before the response begins; copied. Content-Length, Transfer-Encoding, Connection and Date are
 * the server's. */
void http_add_header(struct http_exchange *x, const char *name, const char *value);
void http_add_headerf(struct http_exchange *x, const char *name, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* Whole response at once; content_type may be NULL. Ends the exchange. */
void http_respond(struct http_exchange *x, int status, const char *content_type, struct str body);
/* Text response, newline added; for plain errors. */
void http_respond_text(struct http_exchange *x, int status, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* Streaming: begin, any number of writes, end. Chunked unless http_set_content_length was called
 * (then exactly so many bytes must follow) or the client is HTTP/1.0. Writes are dropped for HEAD.
 */
void http_set_content_length(struct http_exchange *x, uint64_t n);
void http_respond_begin(struct http_exchange *x, int status, const char *content_type);
bool http_response_begun(const struct http_exchange *x);
void http_write(struct http_exchange *x, struct str data);
size_t http_write_pending(const struct http_exchange *x);
/* fn when the queue fell to STREAM_LOW after having been above it; NULL removes. */
void http_on_drain(struct http_exchange *x, http_exchange_fn fn, void *arg);
void http_end(struct http_exchange *x);
/* Gives up in the middle: the client sees a broken response. Ends the exchange, without on_abort.
 */
void http_abort(struct http_exchange *x);

/* Takes the connection over. Answers 101 with Upgrade: protocol, Connection: Upgrade and the
 * headers added, and returns the stream, owned by the caller; bytes that came early are delivered
 * to ev. Ends the exchange. */
struct stream *http_upgrade(struct http_exchange *x, const char *protocol,
                            const struct stream_events *ev, void *arg);
/* The same with another status and no Upgrade header (Docker's attach: 200, raw stream). */
struct stream *http_hijack(struct http_exchange *x, int status, const char *content_type,
                           const struct stream_events *ev, void *arg);
/* Client asked to upgrade to this protocol (Connection: Upgrade and a matching token)? */
bool http_wants_upgrade(const struct http_exchange *x, const char *protocol);
