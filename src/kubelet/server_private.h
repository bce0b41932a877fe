/* Shared by the server_*.c files: one request on its way through authentication, authorization,
 * handler. */
#pragma once
#include "base/list.h"
#include "base/map.h"
#include "kubelet/server.h"
#include "net/http_server.h"

struct kubelet_server {
    struct loop *loop;
    struct kubelet_server_config cfg;
    char *address, *healthz_address, *node_name, *root_dir;
    struct kube_client *client;
    struct grpc_client *cri;
    struct tls_server *tls;
    struct http_server *main, *read_only, *healthz;
    struct map authn_cache, authz_cache;
    struct list requests; /* waiting for an answer from elsewhere */
    struct list proxies;  /* exec, attach, port-forward under way */
    struct list logs;     /* log streams under way */
};

struct request;
typedef void (*request_fn)(struct request *q);
struct route {
    const char *first;       /* first path segment */
    const char *subresource; /* of nodes, for authorization */
    request_fn handle;
    bool read_only; /* served on the read-only port */
};
/* Who asks; strings in the exchange's arena. */
struct identity {
    const char *user, *uid;
    const char **groups;
    size_t n_groups;
};
struct request {
    struct list link;
    struct kubelet_server *server;
    struct http_exchange *x;
    const struct route *route;
    struct identity who;
    const char *subresource; /* being asked about */
    struct kube_call *call;
    struct grpc_call *grpc;
    /* what a handler looked for */
    const char *ns, *pod, *container;
    bool previous;
    void (*found)(struct request *q, const char *id);
};
/* Frees q; the exchange must have been answered or handed on. */
void request_end(struct request *q);
/* Answers with text and ends. */
void request_fail(struct request *q, int status, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* Gives the exchange away: no abort handling here any more. */
struct http_exchange *request_take(struct request *q);

/* server_auth.c: calls authorized or answers 401/403 itself. */
void request_authenticate(struct request *q, request_fn authenticated);
void request_authorize(struct request *q, request_fn authorized);
void auth_caches_free(struct kubelet_server *s);

/* server_find.c: id of a container or a sandbox by the labels of its pod, then q->found; 404 by
 * itself. */
void request_find_container(struct request *q, void (*found)(struct request *q, const char *id));
void request_find_sandbox(struct request *q, void (*found)(struct request *q, const char *id));

/* handlers */
void serve_logs(struct request *q); /* server_logs.c: /containerLogs */
void serve_exec(struct request *q); /* server_stream.c */
void serve_attach(struct request *q);
void serve_port_forward(struct request *q);
void serve_run(struct request *q);
void serve_stats(struct request *q);   /* server_stats.c: /stats/summary */
void serve_metrics(struct request *q); /* /metrics, /metrics/cadvisor, /metrics/resource */
void server_streams_stop(struct kubelet_server *s);
void server_logs_stop(struct kubelet_server *s);
