#include "kubelet/csr.h"
#include "api/reflector.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/random.h"
#include "base/sha256.h"
#include <errno.h>

#define REMIND_FIRST_MS 1000
#define REMIND_MS 60000
#define NAME_DIGITS 40

struct csr {
    struct kube_client *client;
    csr_done_fn done;
    void *arg;
    char *name, *what, *signer;
    struct kube_call *call;
    struct reflector *reflector;
    struct loop_timer remind;
    struct loop_defer finish;
    bool approved;
    char *cert_pem;
    struct error *err;
};

static void csr_free(struct csr *r)
{
    kube_call_cancel(r->call);
    reflector_stop(r->reflector);
    loop_timer_stop(&r->remind);
    loop_defer_stop(&r->finish);
    error_free(r->err);
    free(r->cert_pem);
    free(r->name);
    free(r->what);
    free(r->signer);
    free(r);
}

void csr_cancel(struct csr *r)
{
    if (r)
        csr_free(r);
}

static void on_finish(struct loop_defer *d)
{
    struct csr *r = container_of(d, struct csr, finish);
    reflector_stop(TAKE(r->reflector)); /* done may free the client */
    r->done(str_of(strna(r->cert_pem)), r->err, r->arg);
    csr_free(r);
}

static void finish_later(struct csr *r)
{
    loop_timer_stop(&r->remind);
    loop_defer_start(kube_client_loop(r->client), &r->finish, on_finish);
}

/* ---- following ---- */

static void on_remind(struct loop_timer *t)
{
    struct csr *r = container_of(t, struct csr, remind);
    if (r->approved)
        log_infof("kubelet",
                  "certificate request %s is approved and waits for its signer %s: is the "
                  "controller for it running?",
                  r->name, r->signer);
    else
        log_infof("kubelet",
                  "certificate request %s (%s) waits for approval; to approve it: kubectl "
                  "certificate approve %s",
                  r->name, r->what, r->name);
    loop_timer_start(kube_client_loop(r->client), &r->remind, REMIND_MS, on_remind);
}

static void refused(struct csr *r, const K8s__CertificateSigningRequestCondition *c)
{
    (void)error_set(&r->err, EACCES, "certificate request %s was %s: %s%s%s", r->name,
                    streq(c->type, "Denied") ? "denied" : "not signed", strna(c->reason),
                    c->message && *c->message ? ": " : "", strna(c->message));
    finish_later(r);
}

static void on_object(enum reflect_event ev, void *msg, void *arg)
{
    (void)ev;
    struct csr *r = arg;
    const K8s__CertificateSigningRequest *q = msg;
    if (!q->status || r->err || r->cert_pem)
        return;
    for (size_t i = 0; i < q->status->n_conditions; i++) {
        const K8s__CertificateSigningRequestCondition *c = q->status->conditions[i];
        if (streq(c->type, "Denied") || streq(c->type, "Failed")) {
            refused(r, c);
            return;
        }
        if (streq(c->type, "Approved") && !r->approved) {
            r->approved = true;
            log_infof("kubelet", "certificate request %s is approved", r->name);
        }
    }
    const ProtobufCBinaryData *cert = &q->status->certificate;
    if (!q->status->has_certificate || !cert->len)
        return;
    r->cert_pem = xstrndup((const char *)cert->data, cert->len);
    finish_later(r);
}

static void on_delete(const char *ns, const char *name, const char *uid, void *arg)
{
    (void)ns;
    (void)name;
    (void)uid;
    struct csr *r = arg;
    if (r->err || r->cert_pem)
        return;
    (void)error_set(&r->err, EAGAIN, "certificate request %s was deleted before it was signed",
                    r->name);
    finish_later(r);
}

static void on_state(const struct error *err, void *arg)
{
    struct csr *r = arg;
    if (err)
        log_warnf("kubelet", "certificate request %s cannot be followed, trying again: %s", r->name,
                  error_message(err));
}

static void follow(struct csr *r)
{
    static const struct reflector_ops ops = {
        .on_object = on_object, .on_delete = on_delete, .on_state = on_state};
    cleanup_free char *selector = xasprintf("metadata.name=%s", r->name);
    struct reflector_config cfg = {.type = &k8s__certificate_signing_request__descriptor,
                                   .field_selector = selector,
                                   .track = true,
                                   .ops = &ops,
                                   .arg = r};
    r->reflector = reflector_start(r->client, &cfg);
    loop_timer_start(kube_client_loop(r->client), &r->remind, REMIND_FIRST_MS, on_remind);
}

/* ---- asking ---- */

/* The server's sentence names the user: `User "x" cannot create resource ...`. */
static char *forbidden_user(const char *message)
{
    const char *p = strstr(message, "User \"");
    const char *end = p ? strchr(p + 6, '"') : NULL;
    return end ? xstrndup(p + 6, (size_t)(end - p) - 6) : NULL;
}

static void explain(struct csr *r, const struct kube_result *res)
{
    const char *why = error_message(res->err);
    if (res->http_code == 401) {
        (void)error_set(&r->err, EPERM,
                        "the API server does not accept these credentials: %s; a bootstrap token "
                        "may have expired "
                        "(kubeadm token list, or skiff token list): make a new one and put it into "
                        "the bootstrap kubeconfig",
                        why);
        return;
    }
    if (res->http_code != 403) {
        (void)error_set(&r->err, res->err->code == EACCES ? EIO : res->err->code,
                        "%s cannot be requested: %s", r->what, why);
        return;
    }
    cleanup_free char *user = forbidden_user(why);
    bool token = !user || strstarts(user, "system:bootstrap:");
    (void)error_set(&r->err, EPERM,
                    "certificate requests are forbidden to this user: %s; to allow them: kubectl "
                    "create clusterrolebinding "
                    "kubelet-bootstrap --clusterrole=system:node-bootstrapper --%s=%s",
                    why, token ? "group" : "user", token ? "system:bootstrappers" : user);
}

static void on_created(const struct kube_result *res, void *arg)
{
    struct csr *r = arg;
    r->call = NULL;
    if (!res->err) {
        log_infof("kubelet", "requested a %s: %s", r->what, r->name);
        follow(r);
    } else if (kube_result_is(res, "AlreadyExists")) {
        log_infof("kubelet", "%s was requested before: %s", r->what, r->name);
        follow(r);
    } else {
        explain(r, res);
        finish_later(r);
    }
}

static void usage_list(struct arena *a, K8s__CertificateSigningRequestSpec *s, unsigned usages)
{
    object_append(a, &s->usages, &s->n_usages, arena_strdup(a, "digital signature"));
    if (usages & X509_CLIENT_AUTH)
        object_append(a, &s->usages, &s->n_usages, arena_strdup(a, "client auth"));
    if (usages & X509_SERVER_AUTH)
        object_append(a, &s->usages, &s->n_usages, arena_strdup(a, "server auth"));
}

/* The same key and names give the same request, so that a restart does not pile requests up. */
static char *name_of(const struct csr_spec *spec)
{
    cleanup_buf struct buf b;
    buf_init(&b, (size_t)64 << 10);
    (void)x509_public_key(spec->key_pem, &b, NULL);
    (void)buf_printf(&b, "%s|%u|%s", spec->signer, spec->usages, strna(spec->names.cn));
    for (size_t i = 0; i < spec->names.n_dns; i++)
        (void)buf_printf(&b, "|%s", spec->names.dns[i]);
    for (size_t i = 0; i < spec->names.n_ips; i++)
        (void)buf_printf(&b, "|%s", spec->names.ips[i]);
    char hex[SHA256_HEX];
    sha256_hex(b.p, b.n, hex);
    return xasprintf("%s%.*s", spec->name_prefix, NAME_DIGITS, hex);
}

static void create(struct csr *r, const struct csr_spec *spec)
{
    struct arena a;
    arena_init(&a, 0);
    cleanup_buf struct buf pem;
    buf_init(&pem, (size_t)64 << 10);
    if (x509_csr_create(spec->key_pem, &spec->names, &pem, &r->err) < 0) {
        finish_later(r);
    } else {
        K8s__CertificateSigningRequest *q =
            object_new(&a, &k8s__certificate_signing_request__descriptor);
        q->metadata = object_new(&a, &k8s__object_meta__descriptor);
        q->metadata->name = r->name;
        q->spec = object_new(&a, &k8s__certificate_signing_request_spec__descriptor);
        q->spec->signername = r->signer;
        q->spec->has_request = 1;
        q->spec->request = (ProtobufCBinaryData){pem.n, (uint8_t *)pem.p};
        usage_list(&a, q->spec, spec->usages);
        kube_create(r->client, q, on_created, r, &r->call);
    }
    arena_fini(&a);
}

struct csr *csr_start(struct kube_client *c, const struct csr_spec *spec, csr_done_fn done,
                      void *arg)
{
    struct csr *r = xcalloc(1, sizeof(*r));
    r->client = c;
    r->done = done;
    r->arg = arg;
    r->what = xstrdup(spec->what);
    r->signer = xstrdup(spec->signer);
    r->name = name_of(spec);
    create(r, spec);
    return r;
}
