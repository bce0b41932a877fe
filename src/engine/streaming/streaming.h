/*
 * CRI streaming: exec, attach and port-forward for clients that come with a one-time URL. Speaks SPDY/3.1
 * (v4.channel.k8s.io and older, portforward.k8s.io) and WebSocket (v5.channel.k8s.io, v4.channel.k8s.io,
 * SPDY/3.1+portforward.k8s.io). Containers are the engine's business, reached through struct
 * streaming_handler; nothing here knows them.
 *
 * A session lives from the handler's exec/attach until streaming_exited, streaming_failed or
 * the handler's on_gone, whichever comes first; then it must not be touched.
 */
#pragma once
#include "base/error.h"
#include "loop/loop.h"
#include "net/tls.h"

struct streaming;
struct streaming_session;

struct streaming_request {
    const char *container_id; /* sandbox for port-forward */
    const char *const *argv;  /* NULL-terminated; NULL for attach */
    bool tty, want_stdin, want_stdout, want_stderr;
};

/* Descriptors of a process, taken by streaming_started; -1 where there is none. With a terminal in_fd and
 * out_fd are its master (the same number is fine). */
struct streaming_io {
    int in_fd, out_fd, err_fd;
};

struct streaming_handler {
    /* Starts the command. Later (or at once) streaming_started, then streaming_exited; or streaming_failed. */
    void (*exec)(void *arg, struct streaming_session *s, const struct streaming_request *r);
    /* Joins a running container's streams; streaming_started, and streaming_exited(0) when the container ended;
     * or streaming_failed. */
    void (*attach)(void *arg, struct streaming_session *s, const struct streaming_request *r);
    void (*resize)(void *arg, struct streaming_session *s, unsigned width, unsigned height);
    /* The client left first: end the exec'd process (attach: only let go). Session is dead when this returns. */
    void (*on_gone)(void *arg, struct streaming_session *s);
    /* Connects to 127.0.0.1:port (or ::1) inside the sandbox's network namespace: a non-blocking descriptor that may
     * still be connecting. The error goes to the client. */
    int (*portforward)(void *arg, const char *sandbox_id, uint16_t port, int *ret_fd, struct error **err);
    void *arg;
};

struct streaming_config {
    const char *address; /* NULL: 127.0.0.1 */
    uint16_t port;       /* 0: any */
    struct tls_server *tls; /* NULL: plain */
    const char *base_url;   /* what URLs begin with; NULL: http(s)://address:port */
    int64_t idle_timeout_ms; /* of a session without a byte; 0: 4 h */
};
int streaming_new(struct loop *l, const struct streaming_config *cfg, const struct streaming_handler *h,
                  struct streaming **ret, struct error **err);
void streaming_free(struct streaming *st); /* sessions get on_gone; NULL accepted */
const char *streaming_base_url(const struct streaming *st);

/* One-time URLs, good for one minute; owned text. argv and the rest are copied. -EBUSY when 1,000 are out. */
int streaming_exec_url(struct streaming *st, const struct streaming_request *r, char **ret, struct error **err);
int streaming_attach_url(struct streaming *st, const struct streaming_request *r, char **ret,
                         struct error **err);
int streaming_portforward_url(struct streaming *st, const char *sandbox_id, char **ret, struct error **err);

/* From the handler. */
void streaming_started(struct streaming_session *s, const struct streaming_io *io);
/* The process ended; what is left in out_fd and err_fd is still delivered (for at most 2 s when somebody else keeps them
 * open), then the exit code. */
void streaming_exited(struct streaming_session *s, int exit_code);
void streaming_failed(struct streaming_session *s, const char *message);
void streaming_session_set_user(struct streaming_session *s, void *user);
void *streaming_session_user(const struct streaming_session *s);
