/*
 * CRI streaming: the HTTP server behind the URLs that Exec, Attach and PortForward answer. A
 * kubelet (or whoever holds the URL) upgrades to SPDY/3.1 or WebSocket; the streams inside are
 * joined to descriptors that the engine hands over. URLs carry a token that works once and for one
 * minute. Protocols: v4..v1.channel.k8s.io on SPDY, v5 and v4.channel.k8s.io on WebSocket,
 * portforward.k8s.io on SPDY and through a WebSocket tunnel.
 */
#pragma once
#include "base/error.h"
#include "loop/loop.h"

struct streaming;
struct streaming_session; /* one exec or attach */
struct streaming_port;    /* one forwarded connection */
enum streaming_kind { STREAMING_EXEC, STREAMING_ATTACH, STREAMING_PORT_FORWARD };
struct streaming_request {
    enum streaming_kind kind;
    const char *id;          /* container, or sandbox for a port forward */
    const char *const *argv; /* exec; NULL-terminated */
    bool tty, in, out, err;  /* err is never set together with tty */
};
struct streaming_ops {
    /* A client has attached its streams. Answer, now or later, with streaming_begin or
     * streaming_fail. request lives as long as the session. */
    void (*open)(struct streaming_session *s, const struct streaming_request *q, void *arg);
    /* The client's terminal has another size, in characters. May come before streaming_begin. */
    void (*resize)(struct streaming_session *s, unsigned width, unsigned height, void *arg);
    /* Session is over (client gone, or all was sent after streaming_exited); s is dead afterwards.
     * Called once for each open, unless streaming_fail was the answer. */
    void (*closed)(struct streaming_session *s, void *arg);
    /* Connect to 127.0.0.1:port inside the sandbox; answer with streaming_port_begin or
     * streaming_port_fail. */
    void (*port)(struct streaming_port *p, const char *sandbox_id, unsigned port, void *arg);
    /* The connection is not wanted any more; only between port and its answer. */
    void (*port_closed)(struct streaming_port *p, void *arg);
};
/* Listens on address (NULL: 127.0.0.1) at a port of the kernel's choice. */
int streaming_new(struct loop *l, const char *address, const struct streaming_ops *ops, void *arg,
                  struct streaming **ret, struct error **err);
void streaming_free(struct streaming *st); /* ends all sessions, with closed; NULL accepted */
/* URL for a request (copied); owned by the caller. */
char *streaming_url(struct streaming *st, const struct streaming_request *q);

/* Hands over descriptors (taken; -1 where there is none). With a terminal, in_fd and out_fd are the
 * same master descriptor or duplicates, err_fd is -1. */
void streaming_begin(struct streaming_session *s, int in_fd, int out_fd, int err_fd);
/* The process ended: what is still in the descriptors is sent, then the status, then the session
 * closes. Attach sessions may call it with the container's exit code, or rely on end of file (then
 * success is reported). */
void streaming_exited(struct streaming_session *s, int exit_code);
/* Instead of begin, or later: the client sees message as an internal error, the session is dead. */
void streaming_fail(struct streaming_session *s, const char *message);
void streaming_set_user(struct streaming_session *s, void *user);
void *streaming_user(const struct streaming_session *s);

void streaming_port_begin(struct streaming_port *p, int fd); /* takes fd */
void streaming_port_fail(struct streaming_port *p, const char *message);
void streaming_port_set_user(struct streaming_port *p, void *user);
void *streaming_port_user(const struct streaming_port *p);
