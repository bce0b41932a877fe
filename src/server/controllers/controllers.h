/*
 * The controllers and the scheduler: level-triggered reconcilers on the server's loop. Each is
 * desired() and diff(), pure, and an apply() of one idempotent step, fed from de-duplicating
 * queues. One subscription to the store feeds them all, at the end of the loop turn in which
 * something changed.
 */
#pragma once
#include "server/controllers/cluster.h"

struct loop;
struct store;
struct controllers;
struct controllers_config {                   /* texts are copied */
    const char *cluster_cidr;                 /* "172.30.0.0/16" */
    int node_cidr_prefix;                     /* 24 */
    const char *root_ca_pem;                  /* what kube-root-ca.crt holds */
    const char *sign_cert_pem, *sign_key_pem; /* the CSR signer's CA */
    const char *advertise_address; /* the API server's, for endpoints of default/kubernetes */
    const char *service_cidr;
    int secure_port;
    /* The authorizer, for CSR approval: may the requester create this? */
    bool (*allows)(void *arg, const json_t *csr_spec, const char *subresource);
    void *arg;
};
/* Writes the bootstrap objects (namespaces, stock roles, the kubernetes Service), then begins. Call
 * once the registry has its admission, before serving. Nothing calls back before this returns. */
struct controllers *controllers_start(struct loop *l, struct store *store, struct cluster *cluster,
                                      const struct controllers_config *cfg);
void controllers_stop(struct controllers *c); /* NULL accepted */
