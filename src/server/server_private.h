/* Inside of the server process, shared by its folders. */
#pragma once
#include "loop/loop.h"
#include "net/http_client.h"
#include "net/http_server.h"
#include "net/tls.h"
#include "server/admission/admission.h"
#include "server/auth/tokens.h"
#include "server/pki.h"
#include "server/registry/registry.h"
#include "server/server.h"

struct authorizer;
struct server_settings {
    const char *cluster_cidr, *service_cidr, *advertise_address;
    int node_cidr_bits; /* size of a node's pod subnet */
    unsigned port;      /* of the API */
};
struct server {
    struct loop *loop;
    struct store *store;
    struct registry registry;
    struct admission *admission;
    struct tokens *tokens;
    struct authorizer *authorizer;
    struct http_server *http;
    struct tls_server *tls;
    struct tls_client *kubelet_tls;
    struct pki pki;
    struct server_settings settings;
    struct list watches; /* of http/watch.c */
    struct loop_timer bookmarks;
    bool ready;
};
void server_request(struct http_exchange *x, void *arg);
void watches_stop(struct server *s);
