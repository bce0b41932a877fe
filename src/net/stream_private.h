/* The inside of a stream, shared by stream*.c and by nobody else. */
#pragma once
#include "base/buf.h"
#include "loop/loop.h"
#include "net/stream.h"
#include <event2/buffer.h>
#include <event2/event.h>
#include <event2/event_struct.h>
#include <openssl/ssl.h>

/*
 * CONNECTING -> HANDSHAKE -> OPEN -> DEAD; plain accepted streams start OPEN, TLS ones at
 * HANDSHAKE. DEAD: descriptors closed, on_close due or done; only memory is left.
 */
enum stream_state { STREAM_CONNECTING, STREAM_HANDSHAKE, STREAM_OPEN, STREAM_DEAD };

struct stream {
    struct loop *loop;
    struct stream_events ev;
    void *arg;
    enum stream_state state;
    int read_fd, write_fd; /* equal for sockets; -1 when that direction is over */
    SSL *ssl;
    struct event read_event, write_event;
    struct loop_timer timer; /* connection, handshake, closing */
    struct loop_defer work;  /* flush and delivery at the end of the turn */
    struct buf in;
    struct evbuffer *out;
    uint64_t bytes_in, bytes_out;
    struct error *error; /* why on_close is due */
    struct tls_peer *tls_peer;
    char *peer, *local, *what, *server_name; /* what: for messages, "dial tcp 1.2.3.4:5" */
    unsigned char *alpn;                     /* wire form, to offer */
    size_t alpn_n;
    unsigned depth; /* callbacks and event handlers on the stack */
    bool is_socket, tls_is_server;
    bool paused;
    bool recheck; /* offer kept bytes (and TLS' own) again */
    bool eof_seen, eof_told, no_read;
    bool shut_wanted, shut_done;
    bool above_low;          /* the queue went over STREAM_LOW since the last on_drain */
    bool read_blocked;       /* input is full of untaken bytes */
    bool closing, lingering; /* stream_close was called */
    bool freed, close_told;
    bool open_due;
    struct tls_client *tls_client;
    struct tls_server *tls_server;
};

struct stream *stream_alloc(struct loop *l, const struct stream_events *ev, void *arg);
void stream_attach_fds(struct stream *s, int read_fd, int write_fd);
void stream_update_events(struct stream *s);
/* Ends it with an error (taken; NULL: in order). on_close comes from the loop or the running
 * handler. */
void stream_die(struct stream *s, struct error *err);
void stream_enter(struct stream *s);
/* Leaves a handler; frees when asked to meanwhile. Returns false when s is gone. */
bool stream_leave(struct stream *s);
void stream_opened(struct stream *s);
void stream_schedule(struct stream *s);
/* stream_tls.c */
int stream_start_tls(struct stream *s);
void stream_handshake(struct stream *s);
struct error *stream_tls_error(struct stream *s, int ssl_error, const char *what);
/* stream_connect.c */
char *stream_address_text(int fd, bool peer);
/* No delay; a peer that vanished is noticed within about a minute and a half. */
void stream_tune_tcp(int fd);
void stream_connected(struct stream *s);
