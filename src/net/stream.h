/*
 * Raw duplex byte stream over TCP, a unix socket, a pipe or a terminal, plain or TLS: non-blocking,
 * on the loop, with back pressure both ways and half close. A stream belongs to whoever made it or
 * was handed it, who ends it with stream_close (flush, then close) or stream_free (drop everything
 * now). Both may be called from inside any callback and are final: no callback comes after them.
 * The memory itself goes at the end of the turn.
 */
#pragma once
#include "base/error.h"
#include "base/str.h"
#include "loop/loop.h"

struct stream;
struct tls_client;
struct tls_server;
struct tls_peer;

/* Any member may be NULL. No callback runs before the function that made the stream has returned.
 */
struct stream_events {
    /* Connection made and, with TLS, handshake done. Only after stream_connect and
     * stream_accept_tls. */
    void (*on_open)(struct stream *s, void *arg);
    /* Bytes from the peer. Returns how many were taken; the rest is kept and comes again, with more
     * behind it, when more arrives or stream_resume is called. At most STREAM_IN_MAX are kept.
     * NULL: bytes wait in the kernel until a handler is set. */
    size_t (*on_data)(struct stream *s, struct str data, void *arg);
    /* The peer will send no more (half close). Bytes offered and not taken can still be had by
     * stream_resume. NULL: the stream ends, that is on_close with err NULL. */
    void (*on_eof)(struct stream *s, void *arg);
    /* The queue of unsent bytes fell to STREAM_LOW after it had been above it. */
    void (*on_drain)(struct stream *s, void *arg);
    /* Gone; err is NULL when both sides ended in order. Comes once; the owner still has to call
     * stream_free (here or later). Unsent bytes are lost. */
    void (*on_close)(struct stream *s, const struct error *err, void *arg);
};
#define STREAM_IN_MAX (64u * 1024)
#define STREAM_LOW (32u * 1024)
#define STREAM_HIGH (256u * 1024) /* a well-behaved writer stops here and waits for on_drain */

/* lifecycle */
struct stream_target {
    const char *unix_path; /* or */
    const char *host;      /* numeric address or a name in /etc/hosts; no DNS */
    uint16_t port;
    struct tls_client *tls;  /* NULL: plain; borrowed until this call returns */
    const char *server_name; /* for verification and SNI; NULL: host */
    const char *alpn;        /* "h2,http/1.1" or NULL */
    int64_t timeout_ms;      /* for connection and handshake; 0 means 10 s */
};
/* Begins to connect. The outcome is on_open or on_close; its error is one sentence for users. */
int stream_connect(struct loop *l, const struct stream_target *target,
                   const struct stream_events *ev, void *arg, struct stream **ret,
                   struct error **err);
/* Takes a connected descriptor (made non-blocking): socket, pipe end, terminal. No on_open. */
struct stream *stream_new_fd(struct loop *l, int fd, const struct stream_events *ev, void *arg);
/* Takes two descriptors, one to read and one to write (such as a child's stdout and stdin); either
 * may be -1. */
struct stream *stream_new_fds(struct loop *l, int read_fd, int write_fd,
                              const struct stream_events *ev, void *arg);
/* As stream_new_fd for an accepted connection that starts with a TLS handshake; on_open or
 * on_close. */
struct stream *stream_new_tls(struct loop *l, int fd, struct tls_server *tls, int64_t timeout_ms,
                              const struct stream_events *ev, void *arg);
/* New owner: replaces callbacks. Bytes and an end of file already received but not taken are
 * delivered soon. */
void stream_set_events(struct stream *s, const struct stream_events *ev, void *arg);
/* Sends what is queued (for at most 10 s), then closes and frees. NULL accepted. */
void stream_close(struct stream *s);
/* As stream_close, but reads and drops what the peer still sends for up to 2 s, so that it is not
 * reset before it read our last words. */
void stream_close_linger(struct stream *s);
/* Closes at once and frees. NULL accepted. */
void stream_free(struct stream *s);

/* data */
/* Queues a copy, sent at the end of this turn. Never calls back. After the stream closed or was
 * shut down for writing the bytes are dropped. */
void stream_write(struct stream *s, const void *p, size_t n);
void stream_write_str(struct stream *s, struct str data);
size_t stream_write_pending(const struct stream *s); /* bytes queued and not yet with the kernel */
void stream_pause(struct stream *s);                 /* no on_data/on_eof until resume */
void stream_resume(struct stream *s);
bool stream_paused(const struct stream *s);
/* Half close: after the queue the peer sees end of file. */
void stream_shutdown_write(struct stream *s);
/* Bytes read in / written out by the kernel so far. */
uint64_t stream_bytes_in(const struct stream *s);
uint64_t stream_bytes_out(const struct stream *s);

/* identity */
struct loop *stream_loop(const struct stream *s);
void *stream_arg(const struct stream *s);
/* "10.0.0.1:4711", "[::1]:4711", "@" for unix peers; borrows. */
const char *stream_peer_address(const struct stream *s);
const char *stream_local_address(const struct stream *s);
/* Certificate the peer showed, or NULL (plain, none shown); borrowed until the stream is freed. */
const struct tls_peer *stream_tls_peer(struct stream *s);
/* Protocol chosen by ALPN or "". */
const char *stream_alpn(const struct stream *s);
bool stream_is_tls(const struct stream *s);
int stream_fd(
    const struct stream *s); /* reading descriptor; for SO_PEERCRED and the like; do not read it */

/* Joins two streams: takes both, copies bytes both ways with back pressure and half close, ends
 * both when either fails or both directions ended. on_done (may be NULL) is called once, last; err
 * as on_close. */
struct splice;
typedef void (*splice_done_fn)(struct splice *sp, const struct error *err, void *arg);
struct splice *stream_splice(struct stream *a, struct stream *b, splice_done_fn on_done, void *arg);
void splice_cancel(
    struct splice *sp); /* closes both; no on_done; not after on_done; NULL accepted */

/* listening */
struct stream_listener;
/* Takes nothing: the callback owns fd. peer is the text of the address. */
typedef void (*stream_accept_fn)(struct stream_listener *sl, int fd, const char *peer, void *arg);
/* address "" or NULL: all (dual stack); port 0: the kernel picks one. */
int stream_listen_tcp(struct loop *l, const char *address, uint16_t port, stream_accept_fn fn,
                      void *arg, struct stream_listener **ret, struct error **err);
/* Replaces a dead socket at path; -EADDRINUSE when somebody answers there. Path is unlinked on
 * free. */
int stream_listen_unix(struct loop *l, const char *path, unsigned mode, stream_accept_fn fn,
                       void *arg, struct stream_listener **ret, struct error **err);
uint16_t stream_listener_port(const struct stream_listener *sl);
void stream_listener_pause(struct stream_listener *sl); /* connections wait in the backlog */
void stream_listener_resume(struct stream_listener *sl);
void stream_listener_free(struct stream_listener *sl); /* NULL accepted */
