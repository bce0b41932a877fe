#include "kubelet/certificate.h"
#include "base/backoff.h"
#include "base/cleanup.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/random.h"
#include "kubelet/csr.h"
#include "net/x509.h"
#include <errno.h>

#define PEM_BYTES_MAX ((size_t)256 << 10)
#define TIMER_MAX_MS                                                                               \
    ((int64_t)3600 * 1000) /* long waits in steps, so that a set clock is noticed */

static const struct {
    const char *prefix, *signer, *what;
    unsigned usages;
} rows[] = {
    [CERTIFICATE_CLIENT] = {"kubelet-client", "kubernetes.io/kube-apiserver-client-kubelet",
                            "client certificate", X509_CLIENT_AUTH},
    [CERTIFICATE_SERVING] = {"kubelet-server", "kubernetes.io/kubelet-serving",
                             "serving certificate", X509_SERVER_AUTH},
};

struct certificate {
    struct kube_client *client;
    enum certificate_kind kind;
    char *cert_dir, *node_name, *path;
    char **dns, **ips;
    size_t n_dns, n_ips;
    void (*on_renewed)(const char *pem_path, void *arg);
    void *arg;
    struct csr *csr;
    char *key_pem;
    struct loop_timer timer;
    struct backoff backoff;
    struct wall renew_at;
};

static void request(struct certificate *c);

static bool has(char *const *have, size_t n_have, const char *name)
{
    for (size_t i = 0; i < n_have; i++)
        if (streq(have[i], name))
            return true;
    return false;
}

static bool names_fit(const struct certificate *c, const struct x509_subject *s)
{
    for (size_t i = 0; i < c->n_dns; i++)
        if (!has(s->dns, s->n_dns, c->dns[i]))
            return false;
    for (size_t i = 0; i < c->n_ips; i++)
        if (!has(s->ips, s->n_ips, c->ips[i]))
            return false;
    return true;
}

/* Looks at the file; usable means now. renew_at is set to now when it is not or does not fit. */
static bool inspect(struct certificate *c)
{
    cleanup_buf struct buf pem = {0};
    struct x509_cert x;
    struct wall now = wall_now();
    c->renew_at = now;
    if (file_read(c->path, PEM_BYTES_MAX, &pem, NULL) < 0 ||
        x509_cert_parse(buf_str(&pem), &x, NULL) < 0)
        return false;
    bool usable =
        x509_key_matches(buf_str(&pem), buf_str(&pem), NULL) == 0 && x.not_after.ns > now.ns;
    if (usable && names_fit(c, &x.subject)) {
        int64_t life_s = (x.not_after.ns - x.not_before.ns) / NSEC_PER_SEC;
        int64_t part_s = life_s * 7 / 10 + (int64_t)random_below((uint64_t)(life_s / 5) + 1);
        c->renew_at.ns = x.not_before.ns + part_s * NSEC_PER_SEC;
    }
    x509_cert_fini(&x);
    return usable;
}

static void on_timer(struct loop_timer *t);

static void arm(struct certificate *c)
{
    int64_t ms = (c->renew_at.ns - wall_now().ns) / NSEC_PER_MSEC;
    ms = ms < 0 ? 0 : ms > TIMER_MAX_MS ? TIMER_MAX_MS : ms;
    loop_timer_start(kube_client_loop(c->client), &c->timer, ms, on_timer);
}

static void on_timer(struct loop_timer *t)
{
    struct certificate *c = container_of(t, struct certificate, timer);
    if (c->renew_at.ns > wall_now().ns)
        arm(c);
    else
        request(c);
}

static void on_csr(struct str cert_pem, const struct error *err, void *arg)
{
    struct certificate *c = arg;
    c->csr = NULL;
    struct error *e = NULL;
    int r = 0;
    if (err)
        r = error_set(&e, err->code, "%s", err->message);
    else
        r = certificate_store(c->cert_dir, rows[c->kind].prefix, cert_pem, str_of(c->key_pem), &e);
    if (r) {
        int64_t ms = backoff_next_ms(&c->backoff);
        log_warnf("kubelet", "%s: %s; trying again in %d s", rows[c->kind].what, error_message(e),
                  (int)(ms / 1000));
        if (r == -EACCES || !err)
            free(TAKE(c->key_pem));
        loop_timer_start(kube_client_loop(c->client), &c->timer, ms, on_timer);
        error_free(e);
        return;
    }
    free(TAKE(c->key_pem));
    backoff_reset(&c->backoff);
    (void)inspect(c);
    char until[WALL_TEXT];
    wall_format(c->renew_at, until);
    log_info("kubelet", "certificate is in place", "kind", rows[c->kind].what, "file", c->path,
             "renewal", until, NULL);
    arm(c);
    if (c->on_renewed)
        c->on_renewed(c->path, c->arg);
}

static void request(struct certificate *c)
{
    struct error *e = NULL;
    if (!c->key_pem) {
        struct buf b;
        buf_init(&b, PEM_BYTES_MAX);
        if (x509_key_generate(X509_KEY_ECDSA_P256, &b, &e) < 0) {
            buf_fini(&b);
            on_csr(STR_NULL, e, c);
            error_free(e);
            return;
        }
        c->key_pem = buf_take(&b);
    }
    cleanup_free char *cn = xasprintf("system:node:%s", c->node_name);
    const char *org = "system:nodes";
    struct csr_spec spec = {
        .signer = rows[c->kind].signer,
        .usages = rows[c->kind].usages,
        .names = {.cn = cn,
                  .orgs = &org,
                  .n_orgs = 1,
                  .dns = (const char *const *)c->dns,
                  .n_dns = c->n_dns,
                  .ips = (const char *const *)c->ips,
                  .n_ips = c->n_ips},
        .key_pem = str_of(c->key_pem),
        .what = rows[c->kind].what,
        .name_prefix = "csr-",
    };
    c->csr = csr_start(c->client, &spec, on_csr, c);
}

static char **copy_list(const char *const *v, size_t n)
{
    char **r = n ? xcalloc(n, sizeof(char *)) : NULL;
    for (size_t i = 0; i < n; i++)
        r[i] = xstrdup(v[i]);
    return r;
}

int certificate_start(struct kube_client *client, const struct certificate_config *cfg,
                      struct certificate **ret, char **ret_path, struct error **err)
{
    int r = dir_make(cfg->cert_dir, 0700, err);
    if (r)
        return r;
    struct certificate *c = xcalloc(1, sizeof(*c));
    c->client = client;
    c->kind = cfg->kind;
    c->cert_dir = xstrdup(cfg->cert_dir);
    c->node_name = xstrdup(cfg->node_name);
    c->path = xasprintf("%s/%s-current.pem", cfg->cert_dir, rows[cfg->kind].prefix);
    c->dns = copy_list(cfg->dns, cfg->n_dns);
    c->ips = copy_list(cfg->ips, cfg->n_ips);
    c->n_dns = cfg->n_dns;
    c->n_ips = cfg->n_ips;
    c->on_renewed = cfg->on_renewed;
    c->arg = cfg->arg;
    c->backoff = (struct backoff){.first_ms = 2000, .max_ms = 300000};
    *ret_path = inspect(c) ? xstrdup(c->path) : NULL;
    arm(c);
    *ret = c;
    return 0;
}

static void free_list(char **v, size_t n)
{
    for (size_t i = 0; i < n; i++)
        free(v[i]);
    free(v);
}

void certificate_stop(struct certificate *c)
{
    if (!c)
        return;
    csr_cancel(c->csr);
    loop_timer_stop(&c->timer);
    free_list(c->dns, c->n_dns);
    free_list(c->ips, c->n_ips);
    free(c->cert_dir);
    free(c->node_name);
    free(c->path);
    free(c->key_pem);
    free(c);
}
