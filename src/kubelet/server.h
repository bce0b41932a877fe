/*
 * The kubelet's HTTP API: 10250 (TLS, x509 and webhook authentication, webhook authorization),
 * 10255 (read-only, plain, only when a port is given), 10248 (/healthz on localhost). Containers
 * are found by asking the engine for the labels every kubelet sets (io.kubernetes.pod.name and so
 * on), so this needs no state of the pod workers but the list of pods.
 */
#pragma once
#include "api/client.h"
#include "net/grpc.h"
#include "net/tls.h"
struct kubelet_server;
enum kubelet_authz { KUBELET_AUTHZ_WEBHOOK, KUBELET_AUTHZ_ALWAYS_ALLOW };
struct kubelet_server_config {   /* strings are copied */
    const char *address;         /* "" or "0.0.0.0" */
    int port;                    /* 10250; 0: none */
    int read_only_port;          /* 0: none */
    const char *healthz_address; /* "127.0.0.1" */
    int healthz_port;            /* 10248; 0: none */
    struct tls_server *tls;      /* with the client CA in it; referenced */
    bool anonymous;              /* system:anonymous for those without credentials */
    bool webhook_authn;          /* bearer tokens by TokenReview */
    int64_t authn_ttl_ms;        /* 0: 2 min */
    int64_t authz_allow_ttl_ms, authz_deny_ttl_ms; /* 0: 5 min, 30 s */
    enum kubelet_authz authz;
    const char *node_name;
    const char *root_dir; /* for /stats/summary */
    /* A v1 PodList as JSON; static_only never. */
    void (*pods_json)(struct buf *b, void *arg);
    /* KubeletConfiguration as JSON, for /configz. */
    void (*configz_json)(struct buf *b, void *arg);
    /* NULL when well, else one sentence (answered with 500). May be NULL. */
    const char *(*unhealthy)(void *arg);
    void *arg;
};
/* client may be NULL (no API server): then webhooks refuse. Ports that are taken are an error
 * naming port and remedy. */
int kubelet_server_start(struct loop *l, const struct kubelet_server_config *cfg,
                         struct kube_client *client, struct grpc_client *cri,
                         struct kubelet_server **ret, struct error **err);
void kubelet_server_set_client(struct kubelet_server *s, struct kube_client *client);
void kubelet_server_stop(struct kubelet_server *s); /* NULL accepted */
