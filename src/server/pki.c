#include "server/pki.h"
#include "api/kubeconfig.h"
#include "base/cleanup.h"
#include "base/file.h"
#include "base/mem.h"
#include "net/x509.h"
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#define DAY_S (24LL * 3600)
#define CA_VALIDITY_S (3650 * DAY_S)
#define CERT_VALIDITY_S (365 * DAY_S)
#define RENEW_BEFORE_S                                                                             \
    (60 * DAY_S) /* certificates of the server are made anew at a start this close to their end */
#define PEM_MAX (64u << 10)

static int read_pem(const char *dir, const char *name, char **ret)
{
    cleanup_free char *path = path_join(dir, name);
    struct buf b;
    int r = file_read(path, PEM_MAX, &b, NULL);

    if (r == 0)
        *ret = buf_take(&b);
    return r;
}

static int write_pem(const char *dir, const char *name, unsigned mode, const char *text,
                     struct error **err)
{
    cleanup_free char *path = path_join(dir, name);

    return file_write_atomic(path, mode, str_of(text), err);
}

static int key_open(const char *dir, const char *name, char **ret, struct error **err)
{
    struct buf b;
    int r;

    if (read_pem(dir, name, ret) == 0)
        return 0;
    buf_init(&b, PEM_MAX);
    r = x509_key_generate(X509_KEY_ECDSA_P256, &b, err);
    if (r == 0)
        *ret = buf_take(&b);
    buf_fini(&b);
    return r < 0 ? r : write_pem(dir, name, 0600, *ret, err);
}

static int ca_open(const char *dir, struct pki *p, struct error **err)
{
    struct buf b;
    int r = key_open(dir, "ca.key", &p->ca_key, err);

    if (r < 0 || read_pem(dir, "ca.crt", &p->ca_cert) == 0)
        return r;
    buf_init(&b, PEM_MAX);
    r = x509_ca_create(str_of(p->ca_key), "kubernetes", CA_VALIDITY_S, &b, err);
    if (r == 0)
        p->ca_cert = buf_take(&b);
    buf_fini(&b);
    return r < 0 ? r : write_pem(dir, "ca.crt", 0644, p->ca_cert, err);
}

struct wanted {
    const char *name; /* file name without ending */
    struct x509_names names;
    unsigned usages;
};

static bool has_ips(const struct x509_cert *c, const struct x509_names *n)
{
    for (size_t i = 0; i < n->n_ips; i++) {
        bool found = false;

        for (size_t k = 0; k < c->subject.n_ips; k++)
            found |= streq(n->ips[i], c->subject.ips[k]);
        if (!found)
            return false;
    }
    return true;
}

/* Still good: signed by this CA, long enough to live, and naming all addresses. */
static bool usable(const char *cert, const char *key, const struct pki *p, const struct wanted *w)
{
    struct x509_cert c = {0};
    bool ok;

    if (x509_cert_parse(str_of(cert), &c, NULL) < 0)
        return false;
    ok = c.not_after.ns > wall_now().ns + RENEW_BEFORE_S * NSEC_PER_SEC && has_ips(&c, &w->names) &&
         x509_cert_verify(str_of(cert), str_of(p->ca_cert), NULL) == 0 &&
         x509_key_matches(str_of(cert), str_of(key), NULL) == 0;
    x509_cert_fini(&c);
    return ok;
}

static int cert_open(const char *dir, const struct pki *p, const struct wanted *w, char **ret_cert,
                     char **ret_key, struct error **err)
{
    cleanup_free char *cert_name = xasprintf("%s.crt", w->name),
                      *key_name = xasprintf("%s.key", w->name);
    struct x509_sign sign = {str_of(p->ca_cert), str_of(p->ca_key), w->usages, CERT_VALIDITY_S};
    struct buf b;
    int r = key_open(dir, key_name, ret_key, err);

    if (r < 0)
        return r;
    if (read_pem(dir, cert_name, ret_cert) == 0) {
        if (usable(*ret_cert, *ret_key, p, w))
            return 0;
        free(TAKE(*ret_cert));
    }
    buf_init(&b, PEM_MAX);
    r = x509_issue(&sign, str_of(*ret_key), &w->names, &b, err);
    if (r == 0)
        *ret_cert = buf_take(&b);
    buf_fini(&b);
    return r < 0 ? r : write_pem(dir, cert_name, 0644, *ret_cert, err);
}

static int admin_kubeconfig(const struct pki_config *cfg, const struct pki *p, struct error **err)
{
    static const char *const orgs[] = {"system:masters"};
    struct wanted w = {
        "admin", {.cn = "kubernetes-admin", .orgs = orgs, .n_orgs = 1}, X509_CLIENT_AUTH};
    cleanup_kubeconfig struct kubeconfig k = {0};
    int r;

    if (!cfg->admin_kubeconfig)
        return 0;
    r = cert_open(cfg->dir, p, &w, &k.cert_pem, &k.key_pem, err);
    if (r < 0)
        return r;
    k.server = xasprintf(strchr(cfg->advertise_address, ':') ? "https://[%s]:%u" : "https://%s:%u",
                         cfg->advertise_address, cfg->port);
    k.ca_pem = xstrdup(p->ca_cert);
    k.cluster = xstrdup("kubernetes");
    k.user = xstrdup("kubernetes-admin");
    k.context = xstrdup("kubernetes-admin@kubernetes");
    return kubeconfig_write(&k, cfg->admin_kubeconfig, err);
}

int pki_open(const struct pki_config *cfg, struct pki *ret, struct error **err)
{
    static const char *const dns[] = {"kubernetes", "kubernetes.default", "kubernetes.default.svc",
                                      "kubernetes.default.svc.cluster.local", "localhost"};
    const char *ips[] = {"127.0.0.1", cfg->advertise_address, cfg->service_ip};
    static const char *const masters[] = {"system:masters"};
    struct wanted server = {
        "apiserver",
        {.cn = "kube-apiserver", .dns = dns, .n_dns = 5, .ips = ips, .n_ips = 3},
        X509_SERVER_AUTH};
    struct wanted client = {"apiserver-kubelet-client",
                            {.cn = "kube-apiserver-kubelet-client", .orgs = masters, .n_orgs = 1},
                            X509_CLIENT_AUTH};
    int r = dir_make(cfg->dir, 0755, err);

    *ret = (struct pki){0};
    if (r == 0)
        r = ca_open(cfg->dir, ret, err);
    if (r == 0)
        r = cert_open(cfg->dir, ret, &server, &ret->server_cert, &ret->server_key, err);
    if (r == 0)
        r = cert_open(cfg->dir, ret, &client, &ret->kubelet_cert, &ret->kubelet_key, err);
    if (r == 0)
        r = key_open(cfg->dir, "sa.key", &ret->sa_key, err);
    if (r == 0)
        r = admin_kubeconfig(cfg, ret, err);
    if (r < 0)
        (void)error_wrap(err, "certificates in %s", cfg->dir);
    return r;
}

void pki_fini(struct pki *p)
{
    free(p->ca_cert);
    free(p->ca_key);
    free(p->server_cert);
    free(p->server_key);
    free(p->sa_key);
    free(p->kubelet_cert);
    free(p->kubelet_key);
    *p = (struct pki){0};
}
