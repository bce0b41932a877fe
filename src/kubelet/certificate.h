/*
 * A certificate in cert_dir that is kept fresh: requested by CSR when 70 to 90 % of its life is
 * over (jitter by node), or at once when missing or no longer fitting the names. The file pair is
 * PREFIX-DATE.pem and the link PREFIX-current.pem. The serving certificate can be self-signed
 * instead.
 */
#pragma once
#include "api/client.h"
struct certificate;
enum certificate_kind { CERTIFICATE_CLIENT, CERTIFICATE_SERVING };
struct certificate_config {
    enum certificate_kind kind;
    const char *cert_dir;
    const char *node_name;
    const char *const *dns, *const *ips; /* serving only */
    size_t n_dns, n_ips;
    /* A new one is in place (path of the PEM with certificate and key). Not called for what was
     * there at start. */
    void (*on_renewed)(const char *pem_path, void *arg);
    void *arg;
};
/* Path of what can be used now goes to ret_path (owned), NULL when a first one is still awaited. */
int certificate_start(struct kube_client *c, const struct certificate_config *cfg,
                      struct certificate **ret, char **ret_path, struct error **err);
void certificate_stop(struct certificate *c); /* NULL accepted */
/* cert_dir/kubelet.crt and kubelet.key, made when missing, expired or not for these names. */
int certificate_self_signed(const char *cert_dir, const char *node_name, const char *const *ips,
                            size_t n_ips, char **ret_cert, char **ret_key, struct error **err);
/* Writes key and certificate as PREFIX-DATE.pem, moves the link, removes all but the last two. */
int certificate_store(const char *cert_dir, const char *prefix, struct str cert_pem,
                      struct str key_pem, struct error **err);
