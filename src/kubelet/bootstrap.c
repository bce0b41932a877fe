#include "kubelet/bootstrap.h"
#include "api/client.h"
#include "base/backoff.h"
#include "base/cleanup.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "kubelet/certificate.h"
#include "kubelet/csr.h"
#include "net/x509.h"
#include <errno.h>

#define PEM_BYTES_MAX ((size_t)256 << 10)
#define CURRENT "kubelet-client-current.pem"
#define KEY_TMP "kubelet-client.key.tmp"

struct bootstrap {
    struct loop *loop;
    char *bootstrap_kubeconfig, *kubeconfig, *cert_dir, *node_name;
    bootstrap_done_fn done;
    void *arg;
    struct kube_client *client;
    struct csr *csr;
    char *key_pem;
    struct loop_timer timer;
    struct backoff backoff;
};

/* ---- is it needed? ---- */

/* The kubeconfig's certificate, if it is one: 0 usable, BOOTSTRAP_NEEDED not, and why in err. */
static int check_certificate(const struct kubeconfig *k, struct error **err)
{
    cleanup_buf struct buf pem = {0};
    struct x509_cert c;
    int r = k->cert_pem ? (buf_init(&pem, PEM_BYTES_MAX), buf_add_z(&pem, k->cert_pem))
                        : file_read(k->cert_file, PEM_BYTES_MAX, &pem, err);
    if (!r)
        r = x509_cert_parse(buf_str(&pem), &c, err);
    if (r) {
        (void)error_wrap(err, "client certificate");
        return BOOTSTRAP_NEEDED;
    }
    if (c.not_after.ns <= wall_now().ns) {
        char when[WALL_TEXT];
        wall_format(c.not_after, when);
        (void)error_set(err, EKEYEXPIRED, "the client certificate expired at %s", when);
        r = BOOTSTRAP_NEEDED;
    }
    x509_cert_fini(&c);
    return r;
}

int bootstrap_check(const struct bootstrap_config *cfg, struct error **err)
{
    cleanup_kubeconfig struct kubeconfig k = {0};
    struct error *why = NULL;
    int r = kubeconfig_load(cfg->kubeconfig, &k, &why);
    if (!r && (k.cert_file || k.cert_pem))
        r = check_certificate(&k, &why);
    if (!r)
        return 0;
    if (cfg->bootstrap_kubeconfig && path_exists(cfg->bootstrap_kubeconfig)) {
        log_infof("kubelet", "credentials by TLS bootstrap, because: %s", error_message(why));
        error_free(why);
        return BOOTSTRAP_NEEDED;
    }
    (void)error_set(err, EINVAL,
                    "no usable credentials for the API server (%s) and no bootstrap "
                    "kubeconfig%s%s: give one with "
                    "--bootstrap-kubeconfig",
                    error_message(why), cfg->bootstrap_kubeconfig ? " at " : "",
                    strna(cfg->bootstrap_kubeconfig));
    error_free(why);
    return -EINVAL;
}

/* ---- doing it ---- */

static void attempt(struct bootstrap *b);

static void on_timer(struct loop_timer *t)
{
    attempt(container_of(t, struct bootstrap, timer));
}

static void again_later(struct bootstrap *b, const struct error *err)
{
    int64_t ms = backoff_next_ms(&b->backoff);
    log_warnf("kubelet", "TLS bootstrap: %s (trying again in %d s)", error_message(err),
              (int)((ms + 999) / 1000));
    loop_timer_start(b->loop, &b->timer, ms, on_timer);
}

static char *key_path(const struct bootstrap *b)
{
    return path_join(b->cert_dir, KEY_TMP);
}

/* The kubeconfig that the kubelet lives on: the bootstrap one's cluster, our certificate by path.
 */
static int write_kubeconfig(const struct bootstrap *b, struct error **err)
{
    cleanup_kubeconfig struct kubeconfig k = {0};
    int r = kubeconfig_load(b->bootstrap_kubeconfig, &k, err);
    if (r)
        return r;
    char **drop[] = {&k.token, &k.token_file, &k.username, &k.password, &k.cert_pem, &k.key_pem};
    for (size_t i = 0; i < ARRAY_LEN(drop); i++)
        str_replace(drop[i], NULL);
    free(k.cert_file);
    free(k.key_file);
    k.cert_file = path_join(b->cert_dir, CURRENT);
    k.key_file = xstrdup(k.cert_file);
    str_replace(&k.cluster, "default-cluster");
    str_replace(&k.user, "default-auth");
    str_replace(&k.context, "default-context");
    r = dir_make_parent(b->kubeconfig, 0755, err);
    return r ? r : kubeconfig_write(&k, b->kubeconfig, err);
}

static int finish(struct bootstrap *b, struct str cert_pem, struct error **err)
{
    int r = certificate_store(b->cert_dir, "kubelet-client", cert_pem, str_of(b->key_pem), err);
    if (!r)
        r = write_kubeconfig(b, err);
    if (r)
        return r;
    cleanup_free char *tmp = key_path(b);
    (void)unlink(tmp);
    return 0;
}

static void on_csr(struct str cert_pem, const struct error *err, void *arg)
{
    struct bootstrap *b = arg;
    b->csr = NULL;
    cleanup_error struct error *own = NULL;
    if (!err && finish(b, cert_pem, &own) < 0)
        err = own;
    if (err) {
        if (err->code == EACCES) { /* denied: this key is spent */
            cleanup_free char *tmp = key_path(b);
            (void)unlink(tmp);
            free(TAKE(b->key_pem));
        }
        again_later(b, err);
        return;
    }
    log_info("kubelet", "TLS bootstrap is done", "kubeconfig", b->kubeconfig, NULL);
    b->done(b->arg);
}

/* A key from an earlier run of ours is used again: its request may be approved by now. */
static int load_key(struct bootstrap *b, struct error **err)
{
    if (b->key_pem)
        return 0;
    cleanup_free char *path = key_path(b);
    struct buf pem = {0};
    cleanup_buf struct buf pub;
    buf_init(&pub, PEM_BYTES_MAX);
    if (file_read(path, PEM_BYTES_MAX, &pem, NULL) == 0 &&
        x509_public_key(buf_str(&pem), &pub, NULL) == 0) {
        b->key_pem = buf_take(&pem);
        return 0;
    }
    buf_fini(&pem);
    buf_init(&pem, PEM_BYTES_MAX);
    int r = dir_make(b->cert_dir, 0700, err);
    if (!r)
        r = x509_key_generate(X509_KEY_ECDSA_P256, &pem, err);
    if (!r)
        r = file_write_atomic(path, 0600, buf_str(&pem), err);
    if (r)
        buf_fini(&pem);
    else
        b->key_pem = buf_take(&pem);
    return r;
}

/* The file is read anew each time: a new token in it is all the cure that an expired one needs. */
static int connect_client(struct bootstrap *b, struct error **err)
{
    cleanup_kubeconfig struct kubeconfig k = {0};
    int r = kubeconfig_load(b->bootstrap_kubeconfig, &k, err);
    if (r)
        return r;
    kube_client_free(TAKE(b->client));
    return kube_client_new(b->loop, &k, NULL, &b->client, err);
}

static void attempt(struct bootstrap *b)
{
    cleanup_error struct error *err = NULL;
    if (connect_client(b, &err) < 0 || load_key(b, &err) < 0) {
        again_later(b, err);
        return;
    }
    cleanup_free char *cn = xasprintf("system:node:%s", b->node_name);
    const char *org = "system:nodes";
    struct csr_spec spec = {
        .signer = "kubernetes.io/kube-apiserver-client-kubelet",
        .usages = X509_CLIENT_AUTH,
        .names = {.cn = cn, .orgs = &org, .n_orgs = 1},
        .key_pem = str_of(b->key_pem),
        .what = "client certificate",
        .name_prefix = "node-csr-",
    };
    b->csr = csr_start(b->client, &spec, on_csr, b);
}

int bootstrap_start(struct loop *l, const struct bootstrap_config *cfg, bootstrap_done_fn done,
                    void *arg, struct bootstrap **ret, struct error **err)
{
    cleanup_kubeconfig struct kubeconfig k = {0};
    int r = kubeconfig_load(cfg->bootstrap_kubeconfig, &k, err); /* a broken file is told at once */
    if (r)
        return r;
    struct bootstrap *b = xcalloc(1, sizeof(*b));
    b->loop = l;
    b->bootstrap_kubeconfig = xstrdup(cfg->bootstrap_kubeconfig);
    b->kubeconfig = xstrdup(cfg->kubeconfig);
    b->cert_dir = xstrdup(cfg->cert_dir);
    b->node_name = xstrdup(cfg->node_name);
    b->done = done;
    b->arg = arg;
    b->backoff = (struct backoff){.first_ms = 1000, .max_ms = 60000};
    attempt(b);
    *ret = b;
    return 0;
}

void bootstrap_stop(struct bootstrap *b)
{
    if (!b)
        return;
    csr_cancel(b->csr);
    kube_client_free(b->client);
    loop_timer_stop(&b->timer);
    free(b->bootstrap_kubeconfig);
    free(b->kubeconfig);
    free(b->cert_dir);
    free(b->node_name);
    free(b->key_pem);
    free(b);
}
