/*
 * kubeconfig files: the current context of a file resolved into what a client needs, and writing
 * one. Certificates stay where they are: inline data is kept as PEM text, a path stays a path (made
 * absolute against the file's directory), so that a rotated file is seen. exec and auth-provider
 * users are refused with a sentence that says so.
 */
#pragma once
#include "base/buf.h"
#include "base/error.h"

struct kubeconfig {
    char *server; /* "https://10.0.0.1:6443", with an optional path prefix */
    char *tls_server_name;
    bool insecure_skip_tls_verify;
    char *ca_file, *ca_pem; /* at most one is set: data wins over the file, as upstream */
    char *cert_file, *cert_pem;
    char *key_file, *key_pem;
    char *token, *token_file;
    char *username, *password;
    char *namespace_; /* NULL when the context names none */
    char *context, *cluster, *user;
};
/* lifecycle */
int kubeconfig_parse(struct str text, const char *base_dir, const char *context,
                     struct kubeconfig *ret,
                     struct error **err); /* context NULL: current-context */
int kubeconfig_load(const char *path, struct kubeconfig *ret, struct error **err);
/* What runs inside a pod: KUBERNETES_SERVICE_HOST/PORT and the mounted service account. */
int kubeconfig_in_cluster(struct kubeconfig *ret, struct error **err);
void kubeconfig_fini(struct kubeconfig *k);
static inline void cleanup_kubeconfigp(struct kubeconfig *k)
{
    kubeconfig_fini(k);
}
#define cleanup_kubeconfig __attribute__((cleanup(cleanup_kubeconfigp)))

/* writing: one cluster, one user, one context; names default to "default". YAML, mode 0600, atomic.
 */
int kubeconfig_format(const struct kubeconfig *k, struct buf *b);
int kubeconfig_write(const struct kubeconfig *k, const char *path, struct error **err);
