/*
 * One certificate by request: writes a CertificateSigningRequest, follows it until somebody
 * approved and signed it, and hands over the certificate. Tells in plain lines what it waits for
 * and which command would help. Does not give up on its own while the request can still succeed; a
 * refusal ends it with an error.
 */
#pragma once
#include "api/client.h"
#include "net/x509.h"
struct csr;
struct csr_spec {
    const char *signer; /* "kubernetes.io/kube-apiserver-client-kubelet" */
    unsigned usages;    /* enum x509_usage */
    struct x509_names names;
    struct str key_pem;
    const char *what;        /* "client certificate", for messages */
    const char *name_prefix; /* "node-csr-": named after the key, so that a retry finds its own
                                request; "csr-" */
};
/* cert_pem is borrowed and empty when err is set. EACCES: refused for good (denied, failed); the
 * key is spent, begin with a new one. Anything else: try again later with the same key. */
typedef void (*csr_done_fn)(struct str cert_pem, const struct error *err, void *arg);
struct csr *csr_start(struct kube_client *c, const struct csr_spec *spec, csr_done_fn done,
                      void *arg);
void csr_cancel(struct csr *r); /* NULL accepted; not after done */
