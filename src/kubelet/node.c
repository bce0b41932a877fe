#include "kubelet/node.h"
#include "base/cleanup.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "kubelet/bootstrap.h"
#include "kubelet/certificate.h"
#include "kubelet/lease.h"
#include "kubelet/node_status.h"
#include "kubelet/runtime_status.h"
#include "kubelet/server.h"
#include "net/tls.h"
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>

#define CERT_CHECK_MS 60000
#define TAINTS_MAX 32

struct node {
    struct loop *loop;
    const struct kubelet_config *cfg;
    const struct node_ops *ops;
    void *arg;
    struct grpc_client *cri;
    char *name, *ip, *cert_dir, *pod_cidr;
    char *ca_file, *ca_pem; /* the cluster's, from the kubeconfig: stands in for a client CA that
                               was not named */
    char *serving_path, *serving_key_path;
    struct bootstrap *bootstrap;
    struct kube_client *client;
    struct node_status *status;
    struct lease *lease;
    struct runtime_status *runtime;
    struct certificate *client_cert, *serving_cert;
    struct tls_server *tls;
    struct kubelet_server *server;
    struct loop_timer cert_check;
};

/* ---- small facts ---- */

char *node_name_of(const struct kubelet_config *cfg)
{
    char host[256] = "";
    if (cfg->hostname_override && *cfg->hostname_override)
        return xstrdup(cfg->hostname_override);
    (void)gethostname(host, sizeof(host) - 1);
    for (char *p = host; *p; p++)
        *p = (char)tolower((unsigned char)*p);
    return xstrdup(host);
}

struct kube_client *node_client(const struct node *n)
{
    return n->client;
}

const char *node_name(const struct node *n)
{
    return n->name;
}

const char *node_ip(const struct node *n)
{
    return n->ip;
}

const char *node_pod_cidr(const struct node *n)
{
    return strna(n->pod_cidr);
}

void node_engine_changed(struct node *n)
{
    if (n->runtime)
        runtime_status_refresh(n->runtime);
}

void node_set_pressure(struct node *n, bool memory, bool disk, bool pid)
{
    if (n->status)
        node_status_set_pressure(
            n->status, (struct node_pressure){.memory = memory, .disk = disk, .pid = pid});
}

/* ---- serving certificate ---- */

static struct tls_server_config tls_config(const struct node *n, const char *cert, const char *key)
{
    bool named = n->cfg->client_ca_file && *n->cfg->client_ca_file;
    return (struct tls_server_config){
        .cert = {.path = cert},
        .key = {.path = key},
        .client_ca = named ? (struct tls_pem){.path = n->cfg->client_ca_file}
                           : (struct tls_pem){.path = n->ca_file, .data = str_of(n->ca_pem)},
        .alpn = "http/1.1",
    };
}

static void use_certificate(struct node *n, const char *cert, const char *key)
{
    struct tls_server_config tc = tls_config(n, cert, key);
    cleanup_error struct error *err = NULL;
    if (tls_server_reload(n->tls, &tc, &err) < 0)
        log_warnf("kubelet", "the new serving certificate cannot be used, the old one stays: %s",
                  error_message(err));
    char *was = n->serving_path, *key_was = n->serving_key_path;
    n->serving_path = xstrdup(cert);
    n->serving_key_path = xstrdup(key);
    free(was);
    free(key_was);
}

static void on_serving_renewed(const char *path, void *arg)
{
    use_certificate(arg, path, path);
}

static void on_cert_check(struct loop_timer *t)
{
    struct node *n = container_of(t, struct node, cert_check);
    cleanup_error struct error *err = NULL;
    if (tls_server_files_changed(n->tls) && tls_server_reload_files(n->tls, &err) < 0)
        log_warnf("kubelet", "changed certificate files cannot be used yet: %s",
                  error_message(err));
    loop_timer_start(n->loop, &n->cert_check, CERT_CHECK_MS, on_cert_check);
}

/* From the files that were named, else our own signature until a requested one is there. */
static int begin_tls(struct node *n, struct error **err)
{
    cleanup_free char *cert = xstrdup_null(n->cfg->tls_cert_file),
                      *key = xstrdup_null(n->cfg->tls_key_file);
    if (!cert || !*cert || !key || !*key) {
        const char *ip = n->ip;
        free(TAKE(cert));
        free(TAKE(key));
        int r = certificate_self_signed(n->cert_dir, n->name, &ip, 1, &cert, &key, err);
        if (r)
            return r;
    }
    struct tls_server_config tc = tls_config(n, cert, key);
    int r = tls_server_new(&tc, &n->tls, err);
    n->serving_path = TAKE(cert);
    n->serving_key_path = TAKE(key);
    if (!r)
        loop_timer_start(n->loop, &n->cert_check, CERT_CHECK_MS, on_cert_check);
    return r ? error_wrap(err, "serving certificate") : 0;
}

static void request_serving_certificate(struct node *n)
{
    if (!n->cfg->server_tls_bootstrap || (n->cfg->tls_cert_file && *n->cfg->tls_cert_file))
        return;
    const char *dns = n->name, *ip = n->ip;
    struct certificate_config cc = {.kind = CERTIFICATE_SERVING,
                                    .cert_dir = n->cert_dir,
                                    .node_name = n->name,
                                    .dns = &dns,
                                    .n_dns = 1,
                                    .ips = &ip,
                                    .n_ips = 1,
                                    .on_renewed = on_serving_renewed,
                                    .arg = n};
    cleanup_error struct error *err = NULL;
    cleanup_free char *path = NULL;
    if (certificate_start(n->client, &cc, &n->serving_cert, &path, &err) < 0)
        log_warnf("kubelet", "serving certificate: %s", error_message(err));
    else if (path)
        use_certificate(n, path, path);
}

/* ---- client certificate ---- */

static void on_client_renewed(const char *path, void *arg)
{
    (void)path;
    struct node *n = arg;
    cleanup_error struct error *err = NULL;
    if (kube_client_reload(n->client, &err) < 0)
        log_warnf("kubelet", "the new client certificate cannot be used: %s", error_message(err));
}

/* Only a certificate that bootstrap keeps is ours to renew. */
static void keep_client_certificate(struct node *n, const struct kubeconfig *k)
{
    cleanup_free char *own = path_join(n->cert_dir, "kubelet-client-current.pem");
    if (!n->cfg->rotate_certificates || !k->cert_file || !streq(k->cert_file, own))
        return;
    struct certificate_config cc = {.kind = CERTIFICATE_CLIENT,
                                    .cert_dir = n->cert_dir,
                                    .node_name = n->name,
                                    .on_renewed = on_client_renewed,
                                    .arg = n};
    cleanup_error struct error *err = NULL;
    cleanup_free char *path = NULL;
    if (certificate_start(n->client, &cc, &n->client_cert, &path, &err) < 0)
        log_warnf("kubelet", "client certificate: %s", error_message(err));
}

/* ---- Node ---- */

static void on_node(const K8s__Node *node, void *arg)
{
    struct node *n = arg;
    if (node->spec && node->spec->podcidr && !streq(n->pod_cidr, node->spec->podcidr)) {
        str_replace(&n->pod_cidr, node->spec->podcidr);
        log_info("kubelet", "pod addresses are given", "cidr", n->pod_cidr, NULL);
        if (n->runtime)
            runtime_status_set_pod_cidr(n->runtime, n->pod_cidr);
    }
    if (n->ops->on_node)
        n->ops->on_node(node, n->arg);
}

static void on_registered(void *arg)
{
    struct node *n = arg;
    if (n->ops->on_registered)
        n->ops->on_registered(n->arg);
}

static void on_ready(bool ready, void *arg)
{
    struct node *n = arg;
    if (n->ops->on_ready)
        n->ops->on_ready(ready, n->arg);
}

/* "key=value:Effect" and "key:Effect" */
static size_t read_taints(const struct flag_list *l, struct arena *a, struct node_taint *out)
{
    size_t n = 0;
    for (size_t i = 0; i < l->n && n < TAINTS_MAX; i++) {
        struct str effect = str_of(l->v[i]), value = str_split(&effect, ':');
        struct str key = str_split(&value, '=');
        if (!effect.p || !key.n) {
            log_warnf("kubelet", "taint \"%s\" is not of the form key=value:Effect; left out",
                      l->v[i]);
            continue;
        }
        out[n++] = (struct node_taint){arena_strndup(a, key.p, key.n),
                                       value.p ? arena_strndup(a, value.p, value.n) : "",
                                       arena_strndup(a, effect.p, effect.n)};
    }
    return n;
}

static void begin_status(struct node *n)
{
    struct arena a;
    arena_init(&a, 0);
    struct node_taint taints[TAINTS_MAX];
    struct node_status_config sc = {
        .node_name = n->name,
        .node_ip = n->ip,
        .root_dir = n->cfg->root_dir,
        .labels = (const char *const *)n->cfg->node_labels.v,
        .n_labels = n->cfg->node_labels.n,
        .taints = taints,
        .n_taints = read_taints(&n->cfg->taints, &a, taints),
        .register_node = n->cfg->register_node,
        .unschedulable = n->cfg->unschedulable,
        .provider_id = n->cfg->provider_id && *n->cfg->provider_id ? n->cfg->provider_id : NULL,
        .max_pods = n->cfg->max_pods,
        .kubelet_port = (int)n->cfg->port,
        .reserved_cpu = n->cfg->reserved_cpu,
        .reserved_memory = n->cfg->reserved_memory,
        .reserved_storage = n->cfg->reserved_storage,
        .on_registered = on_registered,
        .on_node = on_node,
        .arg = n,
    };
    n->status = node_status_start(n->client, &sc);
    arena_fini(&a);
    n->lease = lease_start(n->client, n->name, NULL);
    n->runtime = runtime_status_start(n->loop, n->cri, n->status, on_ready, n);
}

/* ---- credentials ---- */

static int begin_client(struct node *n, struct error **err)
{
    cleanup_kubeconfig struct kubeconfig k = {0};
    int r = kubeconfig_load(n->cfg->kubeconfig, &k, err);
    if (!r)
        r = kube_client_new(n->loop, &k, NULL, &n->client, err);
    if (r)
        return r;
    log_info("kubelet", "using API server", "server", kube_client_server(n->client), NULL);
    kubelet_server_set_client(n->server, n->client);
    n->ca_file = xstrdup_null(k.ca_file);
    n->ca_pem = xstrdup_null(k.ca_pem);
    if (n->tls)
        use_certificate(n, n->serving_path, n->serving_key_path);
    keep_client_certificate(n, &k);
    request_serving_certificate(n);
    begin_status(n);
    if (n->ops->on_client)
        n->ops->on_client(n->client, n->arg);
    return 0;
}

static void on_bootstrapped(void *arg)
{
    struct node *n = arg;
    cleanup_error struct error *err = NULL;
    bootstrap_stop(TAKE(n->bootstrap));
    if (begin_client(n, &err) < 0)
        log_errorf("kubelet", "%s", error_message(err));
}

static int begin_credentials(struct node *n, struct error **err)
{
    struct bootstrap_config bc = {.bootstrap_kubeconfig = n->cfg->bootstrap_kubeconfig,
                                  .kubeconfig = n->cfg->kubeconfig,
                                  .cert_dir = n->cert_dir,
                                  .node_name = n->name};
    if (bc.bootstrap_kubeconfig && !*bc.bootstrap_kubeconfig)
        bc.bootstrap_kubeconfig = NULL;
    if (!n->cfg->kubeconfig || !*n->cfg->kubeconfig) {
        log_infof("kubelet", "no kubeconfig: pods come from manifests only");
        return 0;
    }
    int r = bootstrap_check(&bc, err);
    if (r == BOOTSTRAP_NEEDED)
        return bootstrap_start(n->loop, &bc, on_bootstrapped, n, &n->bootstrap, err);
    return r ? r : begin_client(n, err);
}

/* ---- lifecycle ---- */

static void pods_json(struct buf *b, void *arg)
{
    struct node *n = arg;
    n->ops->pods_json(b, n->arg);
}

static void configz_json(struct buf *b, void *arg)
{
    struct node *n = arg;
    if (n->ops->configz_json)
        n->ops->configz_json(b, n->arg);
    else
        (void)buf_add_z(b, "{}");
}

static const char *unhealthy(void *arg)
{
    struct node *n = arg;
    return n->ops->unhealthy ? n->ops->unhealthy(n->arg) : NULL;
}

static int begin_server(struct node *n, struct error **err)
{
    const struct kubelet_config *c = n->cfg;
    struct kubelet_server_config sc = {
        .address = c->address,
        .port = (int)c->port,
        .read_only_port = (int)c->read_only_port,
        .healthz_address = c->healthz_address,
        .healthz_port = (int)c->healthz_port,
        .tls = n->tls,
        .anonymous = c->anonymous,
        .webhook_authn = c->webhook_authn,
        .authn_ttl_ms = c->authn_ttl_ns / NSEC_PER_MSEC,
        .authz_allow_ttl_ms = c->authz_allow_ttl_ns / NSEC_PER_MSEC,
        .authz_deny_ttl_ms = c->authz_deny_ttl_ns / NSEC_PER_MSEC,
        .authz = streq(c->authorization_mode, "AlwaysAllow") ? KUBELET_AUTHZ_ALWAYS_ALLOW
                                                             : KUBELET_AUTHZ_WEBHOOK,
        .node_name = n->name,
        .root_dir = c->root_dir,
        .pods_json = pods_json,
        .configz_json = configz_json,
        .unhealthy = unhealthy,
        .arg = n,
    };
    return kubelet_server_start(n->loop, &sc, NULL, n->cri, &n->server, err);
}

static char *choose_ip(const struct kubelet_config *cfg)
{
    char text[NODE_IP_TEXT];
    if (cfg->node_ip && *cfg->node_ip)
        return xstrdup(cfg->node_ip);
    if (node_default_ip(text) == 0)
        return xstrdup(text);
    log_warnf("kubelet", "no interface but the loopback has an address: 127.0.0.1 is reported; "
                         "set --node-ip");
    return xstrdup("127.0.0.1");
}

int node_start(struct loop *l, const struct kubelet_config *cfg, struct grpc_client *cri,
               const struct node_ops *ops, void *arg, struct node **ret, struct error **err)
{
    struct node *n = xcalloc(1, sizeof(*n));
    n->loop = l;
    n->cfg = cfg;
    n->ops = ops;
    n->arg = arg;
    n->cri = cri;
    n->name = node_name_of(cfg);
    n->ip = choose_ip(cfg);
    n->cert_dir = cfg->cert_dir && *cfg->cert_dir ? xstrdup(cfg->cert_dir)
                                                  : path_join(strna(cfg->root_dir), "pki");
    *ret = n; /* callbacks below may ask for it */
    int r = begin_tls(n, err);
    if (!r)
        r = begin_server(n, err);
    if (!r)
        r = begin_credentials(n, err);
    if (r) {
        *ret = NULL;
        node_stop(n);
    }
    return r;
}

void node_stop(struct node *n)
{
    if (!n)
        return;
    bootstrap_stop(n->bootstrap);
    runtime_status_stop(n->runtime);
    lease_stop(n->lease);
    node_status_stop(n->status);
    certificate_stop(n->client_cert);
    certificate_stop(n->serving_cert);
    kubelet_server_stop(n->server);
    kube_client_free(n->client);
    loop_timer_stop(&n->cert_check);
    tls_server_unref(n->tls);
    free(n->name);
    free(n->ip);
    free(n->cert_dir);
    free(n->ca_file);
    free(n->ca_pem);
    free(n->serving_path);
    free(n->serving_key_path);
    free(n->pod_cidr);
    free(n);
}
