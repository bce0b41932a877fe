/*
 * The embedded control plane: one process that serves the Kubernetes API over TLS from a SQLite file and runs the
 * controllers and the scheduler beside it. It makes its own certificate authority when none is given.
 */
#pragma once
#include "base/error.h"
struct server;
struct cluster;
struct loop;
/* `skiff server`, with kube-apiserver's names for what both know. argv[0] is the program's name. */
int server_main(int argc, char **argv);

/* For controllers and scheduler: objects in this process, the loop, the configuration, and changes. */
struct cluster *server_cluster(struct server *s);
struct loop *server_loop(struct server *s);
struct server_settings {
    const char *cluster_cidr, *service_cidr, *advertise_address;
    int node_cidr_bits;             /* size of a node's pod subnet: 24 */
    unsigned port;                  /* of the API */
    const char *ca_cert_pem, *ca_key_pem; /* sign node certificates */
};
const struct server_settings *server_settings(const struct server *s);
