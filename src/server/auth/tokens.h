/*
 * Service-account tokens: issued for TokenRequest, verified for bearer authentication. A token is
 * bound to its ServiceAccount's uid and, when asked, to a Pod's or Secret's uid; verification asks
 * the cluster whether these still exist, so deleting the pod ends its token.
 */
#pragma once
#include "server/controllers/cluster.h"
#include "base/str.h"
#include "base/time.h"
#include "base/buf.h"
#include <stddef.h>

struct tokens;
struct tokens_config {
    struct cluster *cluster;
    const char *issuer; /* "https://kubernetes.default.svc.cluster.local" */
    struct str key_pem; /* private key that signs; copied */
};
int tokens_new(const struct tokens_config *cfg, struct tokens **ret, struct error **err);
void tokens_free(struct tokens *t); /* NULL accepted */

/* POST serviceaccounts/token: checks request (a TokenRequest, NULL spec allowed) and answers with
 * *ret, the TokenRequest with status.token and status.expirationTimestamp; new reference. -ENOENT,
 * -EINVAL (422), -ESTALE (409: uid of the bound object differs). */
int tokens_request(struct tokens *t, const char *ns, const char *service_account,
                   const json_t *request, json_t **ret, struct error **err);

/* Upstream's NodeRestriction for tokens: a node asks only for tokens bound to its own pods. -EACCES
 * otherwise. */
int tokens_node_may(struct tokens *t, const char *node, const char *ns, const char *service_account,
                    const json_t *request, struct error **err);

struct token_user { /* who a valid token is */
    char *name;     /* system:serviceaccount:NS:NAME */
    char *uid;
    char *groups[3];
    size_t n_groups;
    char *pod_name, *pod_uid, *node_name; /* extra; NULL when not bound to a pod */
    char *credential_id;                  /* "JTI=..." */
};
/* 0; -EACCES with the reason; -EINVAL when it is not one of our tokens (try another authenticator).
 * audiences empty: the API server's own. */
int tokens_verify(struct tokens *t, struct str token, const char *const *audiences,
                  size_t n_audiences, struct token_user *ret, struct error **err);
void token_user_fini(struct token_user *u);
/* The keys as a JWK set and the OpenID discovery document, for /openid/v1/jwks and
 * /.well-known/openid-configuration. Public key as PEM. */
struct str tokens_public_key(const struct tokens *t);
const char *tokens_issuer(const struct tokens *t);
