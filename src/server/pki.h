/*
 * The server's keys and certificates: read when they are there, made when they are not (P-256). One
 * authority signs the API server, the admin, the server's own client towards kubelets, and nodes.
 */
#pragma once
#include "base/error.h"
struct pki_config {
    const char *dir;
    const char *advertise_address;
    const char *service_ip; /* first of the Service range: in the server's certificate */
    const char *admin_kubeconfig;
    unsigned port;
};
struct pki { /* PEM texts, owned */
    char *ca_cert, *ca_key, *server_cert, *server_key, *sa_key, *kubelet_cert, *kubelet_key;
};
int pki_open(const struct pki_config *cfg, struct pki *ret, struct error **err);
void pki_fini(struct pki *p);
