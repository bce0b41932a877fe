/* Decides about and signs CertificateSigningRequests. Pure but for the signing itself. */
#pragma once
#include "base/buf.h"
#include "base/error.h"
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#define CSR_SIGNER_CLIENT "kubernetes.io/kube-apiserver-client"
#define CSR_SIGNER_KUBELET_CLIENT "kubernetes.io/kube-apiserver-client-kubelet"
#define CSR_SIGNER_KUBELET_SERVING "kubernetes.io/kubelet-serving"
#define CSR_SIGNER_LEGACY "kubernetes.io/legacy-unknown"

/* What the approver should ask the authorizer before approving. */
enum csr_recognized {
    CSR_NOT_OURS,    /* left for a person */
    CSR_NODE_CLIENT, /* may the requester create certificatesigningrequests/nodeclient? */
    CSR_SELF_CLIENT, /* ... selfnodeclient, else nodeclient */
    CSR_SELF_SERVER, /* ... selfnodeserver */
};
/* csr is the object; node the Node object named by a serving request's user, or NULL. */
enum csr_recognized csr_recognize(const json_t *csr, const json_t *node);
const char *csr_subresource(enum csr_recognized r); /* "nodeclient"...; NULL for not ours */
const char *csr_approval_message(enum csr_recognized r);
/* Does the request satisfy what its signer signs? -EINVAL with upstream's sentence. */
int csr_check_signer(const json_t *csr, struct error **err);
/* Certificate chain for an approved request. */
int csr_sign(const json_t *csr, struct str ca_cert_pem, struct str ca_key_pem,
             int64_t default_validity_s, struct buf *ret_pem, struct error **err);
/* Node a serving or client request is about ("system:node:X" of the user): X, or NULL. */
const char *csr_requester_node(const json_t *csr);
/* Is this group among the organizations of the request? */
bool csr_asks_for_group(const json_t *csr, const char *group);
/* Should the cleaner delete it now? */
bool csr_expired(const json_t *csr, int64_t now_s);
