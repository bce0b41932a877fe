/* Bootstrap, certificates, Node, Lease and engine status against a scripted API server and engine.
 */
#include "api/kubeconfig.h"
#include "base/cleanup.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/test.h"
#include "cri.pb-c.h"
#include "kubelet/bootstrap.h"
#include "kubelet/certificate.h"
#include "kubelet/lease.h"
#include "kubelet/node.h"
#include "kubelet/node_status.h"
#include "kubelet/runtime_status.h"
#include "net/http_client.h"
#include "net/http_server.h"
#include "net/x509.h"
#include <stdlib.h>

struct world {
    struct loop *loop;
    struct http_server *http;
    struct grpc_server *engine;
    struct grpc_client *cri;
    char dir[64];
    char url[64];
    char log[16384];
    char last_status[16384]; /* last body patched to nodes/NAME/status */
    /* one certificate request */
    char *csr_name, *csr_pem;
    char *cert_pem;
    bool denied;
    int forbid; /* refuse this many creations */
    struct http_exchange *watch;
    struct buf ca, ca_key;
    bool node_exists, lease_exists, network_ready;
    char cidr[64];
    int done;
};

static char *csr_json(struct world *w, struct buf *b)
{
    buf_clear(b);
    (void)buf_printf(b, "{\"metadata\":{\"name\":\"%s\",\"resourceVersion\":\"5\"},\"status\":{",
                     w->csr_name);
    if (w->denied)
        (void)buf_add_z(b, "\"conditions\":[{\"type\":\"Denied\",\"reason\":\"No\",\"message\":"
                           "\"unknown node\"}]");
    if (w->cert_pem) {
        (void)buf_add_z(b, "\"conditions\":[{\"type\":\"Approved\"}],\"certificate\":\"");
        (void)buf_add_base64(b, w->cert_pem, strlen(w->cert_pem));
        (void)buf_add_z(b, "\"");
    }
    (void)buf_add_z(b, "}}");
    return b->p;
}

static void forget(struct http_exchange *x, void *arg)
{
    struct world *w = arg;
    if (w->watch == x)
        w->watch = NULL;
}

static void csr_requests(struct world *w, struct http_exchange *x, struct str body)
{
    cleanup_buf struct buf b;
    buf_init(&b, 1 << 20);
    if (http_method_is(x, "POST")) {
        if (w->forbid > 0) {
            w->forbid--;
            http_respond(x, 403, "application/json",
                         STR("{\"kind\":\"Status\",\"message\":\"User \\\"system:bootstrap:abc\\\" "
                             "cannot create resource\",\"reason\":\"Forbidden\",\"code\":403}"));
            return;
        }
        struct arena a;
        arena_init(&a, 0);
        K8s__CertificateSigningRequest *q = NULL;
        assert_int_equal(object_decode_json(&k8s__certificate_signing_request__descriptor, body,
                                            OBJECT_STRICT, &a, &q, NULL),
                         0);
        if (!streq(w->csr_name, q->metadata->name))
            str_replace(&w->cert_pem, NULL);
        str_replace(&w->csr_name, q->metadata->name);
        free(w->csr_pem);
        w->csr_pem = xstrndup((char *)q->spec->request.data, q->spec->request.len);
        arena_fini(&a);
        http_respond(x, 201, "application/json", str_of(csr_json(w, &b)));
    } else if (http_query_bool(x, "watch")) {
        http_on_abort(x, forget, w);
        http_respond_begin(x, 200, "application/json");
        w->watch = x;
    } else {
        cleanup_buf struct buf list;
        buf_init(&list, 1 << 20);
        (void)buf_printf(&list, "{\"metadata\":{\"resourceVersion\":\"5\"},\"items\":[%s]}",
                         csr_json(w, &b));
        http_respond(x, 200, "application/json", buf_str(&list));
    }
}

static void node_requests(struct world *w, struct http_exchange *x, struct str body)
{
    static const char taken[] =
        "{\"kind\":\"Status\",\"message\":\"exists\",\"reason\":\"AlreadyExists\",\"code\":409}";
    if (http_method_is(x, "POST")) {
        http_respond(x, w->node_exists ? 409 : 201, "application/json",
                     w->node_exists ? STR(taken) : body);
        w->node_exists = true;
    } else if (http_method_is(x, "PATCH")) {
        if (str_ends(http_path(x), STR("/status")))
            (void)snprintf(w->last_status, sizeof(w->last_status), "%.*s", STR_FMT(body));
        http_respond(x, 200, "application/json", STR("{}"));
    } else if (http_query_bool(x, "watch")) {
        http_respond_begin(x, 200, "application/json");
    } else {
        http_respond(x, 200, "application/json",
                     STR("{\"metadata\":{\"resourceVersion\":\"5\"},\"items\":[{\"metadata\":{"
                         "\"name\":\"n1\"},\"spec\":{\"podCIDR\":\"172.30.0.0/24\"}}]}"));
    }
}

static void on_body(struct http_exchange *x, struct str body, void *arg)
{
    struct world *w = arg;
    struct str p = http_path(x);
    size_t n = strlen(w->log);
    (void)snprintf(w->log + n, sizeof(w->log) - n, "%.*s %.*s\n", STR_FMT(http_method(x)),
                   STR_FMT(p));
    if (str_starts(p, STR("/apis/certificates.k8s.io/v1/certificatesigningrequests"))) {
        csr_requests(w, x, body);
    } else if (str_starts(p, STR("/api/v1/nodes"))) {
        node_requests(w, x, body);
    } else if (str_starts(p, STR("/apis/coordination.k8s.io"))) {
        if (http_method_is(x, "PATCH"))
            assert_non_null(memmem(body.p, body.n, "renewTime", 9));
        http_respond(x, 200, "application/json", http_method_is(x, "PATCH") ? STR("{}") : body);
    } else {
        http_respond_text(x, 404, "no");
    }
}

static void on_request(struct http_exchange *x, void *arg)
{
    http_read_body(x, 1 << 20, on_body, arg);
}

static void world_begin(struct world *w)
{
    *w = (struct world){.loop = loop_new(), .dir = "/tmp/skiff-node-test-XXXXXX"};
    assert_non_null(mkdtemp(w->dir));
    struct http_server_config hc = {.on_request = on_request, .arg = w};
    w->http = http_server_new(w->loop, &hc);
    assert_int_equal(http_server_listen_tcp(w->http, "127.0.0.1", 0, NULL, NULL), 0);
    (void)snprintf(w->url, sizeof(w->url), "http://127.0.0.1:%u", http_server_port(w->http));
    buf_init(&w->ca, 1 << 16);
    buf_init(&w->ca_key, 1 << 16);
    assert_int_equal(x509_key_generate(X509_KEY_ECDSA_P256, &w->ca_key, NULL), 0);
    assert_int_equal(x509_ca_create(buf_str(&w->ca_key), "ca", 864000, &w->ca, NULL), 0);
}

static void world_end(struct world *w)
{
    grpc_client_free(w->cri);
    grpc_server_free(w->engine);
    http_server_free(w->http);
    for (int i = 0; i < 3; i++)
        loop_run_once(w->loop, 0);
    loop_free(w->loop);
    buf_fini(&w->ca);
    buf_fini(&w->ca_key);
    free(w->csr_name);
    free(w->csr_pem);
    free(w->cert_pem);
    assert_int_equal(dir_remove_tree(w->dir, NULL), 0);
}

#define UNTIL(w, cond)                                                                             \
    do {                                                                                           \
        struct mono t0_ = mono_now();                                                              \
        while (!(cond)) {                                                                          \
            assert_true(mono_ms_since(t0_) < 8000);                                                \
            loop_run_once((w)->loop, 50);                                                          \
        }                                                                                          \
    } while (0)

static void sign(struct world *w)
{
    struct x509_sign s = {.ca_cert_pem = buf_str(&w->ca),
                          .ca_key_pem = buf_str(&w->ca_key),
                          .usages = X509_CLIENT_AUTH | X509_SERVER_AUTH,
                          .validity_s = 86400};
    struct buf b, line;
    buf_init(&b, 1 << 16);
    buf_init(&line, 1 << 16);
    assert_int_equal(x509_sign_csr(&s, str_of(w->csr_pem), &b, NULL), 0);
    free(w->cert_pem);
    w->cert_pem = buf_take(&b);
    buf_init(&b, 1 << 16);
    (void)buf_printf(&line, "{\"type\":\"MODIFIED\",\"object\":%s}\n", csr_json(w, &b));
    http_write(w->watch, buf_str(&line));
    buf_fini(&b);
    buf_fini(&line);
}

static void on_bootstrapped(void *arg)
{
    ((struct world *)arg)->done++;
}

TEST(bootstrap_from_token_to_kubeconfig)
{
    struct world w;
    world_begin(&w);
    w.forbid = 1;
    cleanup_free char *boot = path_join(w.dir, "bootstrap.kubeconfig"),
                      *kubeconfig = path_join(w.dir, "kubelet.kubeconfig");
    cleanup_free char *certs = path_join(w.dir, "pki");
    struct kubeconfig k = {.server = w.url, .token = (char[]){"abc.def"}};
    struct bootstrap_config cfg = {.bootstrap_kubeconfig = boot,
                                   .kubeconfig = kubeconfig,
                                   .cert_dir = certs,
                                   .node_name = "n1"};
    cleanup_error struct error *err = NULL;
    assert_true(bootstrap_check(&cfg, &err) < 0);
    assert_int_equal(kubeconfig_write(&k, boot, NULL), 0);
    assert_int_equal(bootstrap_check(&cfg, NULL), BOOTSTRAP_NEEDED);
    struct bootstrap *b = NULL;
    assert_int_equal(bootstrap_start(w.loop, &cfg, on_bootstrapped, &w, &b, NULL), 0);
    UNTIL(&w, w.watch);
    assert_true(strstarts(w.csr_name, "node-csr-"));
    struct x509_subject s;
    assert_int_equal(x509_csr_parse(str_of(w.csr_pem), &s, NULL), 0);
    assert_string_equal(s.cn, "system:node:n1");
    assert_string_equal(s.orgs[0], "system:nodes");
    x509_subject_fini(&s);
    /* killed and started again: the same key, the same request */
    cleanup_free char *name = xstrdup(w.csr_name);
    bootstrap_stop(b);
    w.watch = NULL;
    assert_int_equal(bootstrap_start(w.loop, &cfg, on_bootstrapped, &w, &b, NULL), 0);
    UNTIL(&w, w.watch);
    assert_string_equal(name, w.csr_name);
    sign(&w);
    UNTIL(&w, w.done);
    bootstrap_stop(b);
    cleanup_kubeconfig struct kubeconfig got = {0};
    assert_int_equal(kubeconfig_load(kubeconfig, &got, NULL), 0);
    assert_null(got.token);
    assert_true(strends(got.cert_file, "/kubelet-client-current.pem"));
    assert_int_equal(bootstrap_check(&cfg, NULL), 0);
    cleanup_free char *tmp = path_join(certs, "kubelet-client.key.tmp");
    assert_false(path_exists(tmp));
    world_end(&w);
}

TEST(bootstrap_denied_begins_with_a_new_key)
{
    struct world w;
    world_begin(&w);
    w.denied = true;
    cleanup_free char *boot = path_join(w.dir, "b"), *kubeconfig = path_join(w.dir, "k");
    struct kubeconfig k = {.server = w.url, .token = (char[]){"abc.def"}};
    struct bootstrap_config cfg = {.bootstrap_kubeconfig = boot,
                                   .kubeconfig = kubeconfig,
                                   .cert_dir = w.dir,
                                   .node_name = "n1"};
    assert_int_equal(kubeconfig_write(&k, boot, NULL), 0);
    struct bootstrap *b = NULL;
    assert_int_equal(bootstrap_start(w.loop, &cfg, on_bootstrapped, &w, &b, NULL), 0);
    UNTIL(&w, w.csr_name);
    cleanup_free char *first = xstrdup(w.csr_name);
    UNTIL(&w, !streq(first, w.csr_name));
    bootstrap_stop(b);
    assert_int_equal(w.done, 0);
    world_end(&w);
}

static void client_of(struct world *w, struct kube_client **ret)
{
    struct kubeconfig k = {.server = w->url};
    assert_int_equal(kube_client_new(w->loop, &k, NULL, ret, NULL), 0);
}

static void on_renewed(const char *path, void *arg)
{
    assert_true(strends(path, "kubelet-server-current.pem"));
    ((struct world *)arg)->done++;
}

TEST(serving_certificate_is_requested_and_kept)
{
    struct world w;
    world_begin(&w);
    struct kube_client *c;
    client_of(&w, &c);
    const char *dns = "n1", *ip = "10.0.0.1";
    struct certificate_config cfg = {.kind = CERTIFICATE_SERVING,
                                     .cert_dir = w.dir,
                                     .node_name = "n1",
                                     .dns = &dns,
                                     .n_dns = 1,
                                     .ips = &ip,
                                     .n_ips = 1,
                                     .on_renewed = on_renewed,
                                     .arg = &w};
    struct certificate *cert = NULL;
    char *path = NULL;
    assert_int_equal(certificate_start(c, &cfg, &cert, &path, NULL), 0);
    assert_null(path);
    UNTIL(&w, w.watch);
    sign(&w);
    UNTIL(&w, w.done);
    certificate_stop(cert);
    assert_int_equal(certificate_start(c, &cfg, &cert, &path, NULL), 0);
    assert_non_null(path); /* found, fresh, no new request */
    for (int i = 0; i < 3; i++)
        loop_run_once(w.loop, 10);
    assert_int_equal(w.done, 1);
    free(path);
    certificate_stop(cert);
    char *crt, *key;
    assert_int_equal(certificate_self_signed(w.dir, "n1", &ip, 1, &crt, &key, NULL), 0);
    assert_true(path_exists(crt) && path_exists(key));
    free(crt);
    free(key);
    kube_client_free(c);
    world_end(&w);
}

/* ---- engine ---- */

static void engine_version(struct grpc_context *x, const ProtobufCMessage *request, void *arg)
{
    (void)request;
    (void)arg;
    Runtime__V1__VersionResponse m = RUNTIME__V1__VERSION_RESPONSE__INIT;
    m.runtime_name = (char[]){"skiff"};
    m.runtime_version = (char[]){"1.2"};
    grpc_reply(x, &m.base);
}

static void engine_status(struct grpc_context *x, const ProtobufCMessage *request, void *arg)
{
    (void)request;
    struct world *w = arg;
    Runtime__V1__StatusResponse m = RUNTIME__V1__STATUS_RESPONSE__INIT;
    Runtime__V1__RuntimeStatus s = RUNTIME__V1__RUNTIME_STATUS__INIT;
    Runtime__V1__RuntimeCondition r = RUNTIME__V1__RUNTIME_CONDITION__INIT, n = r;
    r.type = (char[]){"RuntimeReady"};
    r.status = 1;
    n.type = (char[]){"NetworkReady"};
    n.status = w->network_ready;
    n.message = (char[]){"no pod CIDR yet"};
    Runtime__V1__RuntimeCondition *list[] = {&r, &n};
    s.conditions = list;
    s.n_conditions = 2;
    m.status = &s;
    grpc_reply(x, &m.base);
}

static void engine_images(struct grpc_context *x, const ProtobufCMessage *request, void *arg)
{
    (void)request;
    (void)arg;
    Runtime__V1__ListImagesResponse m = RUNTIME__V1__LIST_IMAGES_RESPONSE__INIT;
    Runtime__V1__Image i = RUNTIME__V1__IMAGE__INIT;
    char *tag = (char[]){"docker.io/library/nginx:1"};
    i.repo_tags = &tag;
    i.n_repo_tags = 1;
    i.size = 1234;
    Runtime__V1__Image *list[] = {&i};
    m.images = list;
    m.n_images = 1;
    grpc_reply(x, &m.base);
}

static void engine_config(struct grpc_context *x, const ProtobufCMessage *request, void *arg)
{
    struct world *w = arg;
    const Runtime__V1__UpdateRuntimeConfigRequest *q =
        (const Runtime__V1__UpdateRuntimeConfigRequest *)request;
    (void)snprintf(w->cidr, sizeof(w->cidr), "%s", q->runtime_config->network_config->pod_cidr);
    w->network_ready = true;
    Runtime__V1__UpdateRuntimeConfigResponse m = RUNTIME__V1__UPDATE_RUNTIME_CONFIG_RESPONSE__INIT;
    grpc_reply(x, &m.base);
}

struct node_world {
    struct world w;
    struct runtime_status *rt;
    bool registered, ready;
};

static void on_node(const K8s__Node *node, void *arg)
{
    struct node_world *n = arg;
    if (node->spec && node->spec->podcidr && n->rt)
        runtime_status_set_pod_cidr(n->rt, node->spec->podcidr);
}

static void on_registered(void *arg)
{
    ((struct node_world *)arg)->registered = true;
}

static void on_ready(bool ready, void *arg)
{
    ((struct node_world *)arg)->ready = ready;
}

TEST(node_becomes_ready)
{
    struct node_world n = {0};
    struct world *w = &n.w;
    world_begin(w);
    cleanup_free char *socket = path_join(w->dir, "cri.sock");
    assert_int_equal(grpc_server_new(w->loop, socket, 0600, &w->engine, NULL), 0);
    grpc_server_handle(w->engine, "/runtime.v1.RuntimeService/Version",
                       &runtime__v1__version_request__descriptor, engine_version, w);
    grpc_server_handle(w->engine, "/runtime.v1.RuntimeService/Status",
                       &runtime__v1__status_request__descriptor, engine_status, w);
    grpc_server_handle(w->engine, "/runtime.v1.RuntimeService/UpdateRuntimeConfig",
                       &runtime__v1__update_runtime_config_request__descriptor, engine_config, w);
    grpc_server_handle(w->engine, "/runtime.v1.ImageService/ListImages",
                       &runtime__v1__list_images_request__descriptor, engine_images, w);
    w->cri = grpc_client_new(w->loop, socket);
    struct kube_client *c;
    client_of(w, &c);
    const char *label = "disk=ssd";
    struct node_taint taint = {"a", "b", "NoSchedule"};
    struct node_status_config cfg = {.node_name = "n1",
                                     .node_ip = "10.9.8.7",
                                     .root_dir = w->dir,
                                     .labels = &label,
                                     .n_labels = 1,
                                     .taints = &taint,
                                     .n_taints = 1,
                                     .register_node = true,
                                     .on_registered = on_registered,
                                     .on_node = on_node,
                                     .arg = &n};
    struct node_status *node = node_status_start(c, &cfg);
    struct lease *lease = lease_start(c, "n1", NULL);
    n.rt = runtime_status_start(w->loop, w->cri, node, on_ready, &n);
    UNTIL(w, n.registered && n.ready && strstr(w->last_status, "docker.io/library/nginx:1"));
    assert_string_equal(w->cidr, "172.30.0.0/24");
    UNTIL(w, strstr(w->last_status, "\"type\":\"Ready\",\"status\":\"True\""));
    assert_non_null(strstr(w->last_status, "{\"type\":\"InternalIP\",\"address\":\"10.9.8.7\"}"));
    assert_non_null(strstr(w->last_status, "\"containerRuntimeVersion\":\"skiff://1.2\""));
    assert_non_null(strstr(w->log, "POST /api/v1/nodes\n"));
    UNTIL(w,
          strstr(w->log, "POST /apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases\n"));
    const char *why;
    assert_true(node_status_ready(node, &why));
    /* the engine goes away */
    grpc_server_free(w->engine);
    w->engine = NULL;
    runtime_status_refresh(n.rt);
    UNTIL(w, strstr(w->last_status, "\"type\":\"Ready\",\"status\":\"False\""));
    assert_non_null(strstr(w->last_status, "container runtime is not ready"));
    /* another start: the Node is there already */
    runtime_status_stop(n.rt);
    n.rt = NULL;
    node_status_stop(node);
    n.registered = false;
    node = node_status_start(c, &cfg);
    UNTIL(w, n.registered);
    assert_non_null(strstr(w->log, "PATCH /api/v1/nodes/n1\n"));
    node_status_stop(node);
    lease_stop(lease);
    kube_client_free(c);
    world_end(w);
}

/* ---- all of it together ---- */

static void no_pods(struct buf *b, void *arg)
{
    (void)arg;
    (void)buf_add_z(b, "{\"kind\":\"PodList\",\"items\":[]}");
}

static void on_client(struct kube_client *c, void *arg)
{
    assert_non_null(c);
    ((struct world *)arg)->done++;
}

static void on_answer(struct http_call *c, const struct http_result *r, void *arg)
{
    (void)c;
    struct world *w = arg;
    w->done += r->status == 200 ? 100 : 1000;
}

/* A port that was free a moment ago. */
static int free_port(struct world *w)
{
    struct http_server_config hc = {.on_request = on_request};
    struct http_server *s = http_server_new(w->loop, &hc);
    assert_int_equal(http_server_listen_tcp(s, "127.0.0.1", 0, NULL, NULL), 0);
    int port = http_server_port(s);
    http_server_free(s);
    return port;
}

TEST(node_from_token_to_served_certificate)
{
    struct world w;
    world_begin(&w);
    cleanup_free char *boot = path_join(w.dir, "b"), *kubeconfig = path_join(w.dir, "k");
    cleanup_free char *socket = path_join(w.dir, "cri.sock");
    struct kubeconfig k = {.server = w.url, .token = (char[]){"abc.def"}};
    assert_int_equal(kubeconfig_write(&k, boot, NULL), 0);
    w.cri = grpc_client_new(w.loop, socket);
    struct kubelet_config cfg = {.kubeconfig = kubeconfig,
                                 .bootstrap_kubeconfig = boot,
                                 .root_dir = w.dir,
                                 .hostname_override = (char[]){"n1"},
                                 .node_ip = (char[]){"127.0.0.1"},
                                 .address = (char[]){"127.0.0.1"},
                                 .port = free_port(&w),
                                 .anonymous = true,
                                 .authorization_mode = (char[]){"AlwaysAllow"},
                                 .rotate_certificates = true,
                                 .server_tls_bootstrap = true,
                                 .register_node = true};
    static const struct node_ops ops = {.on_client = on_client, .pods_json = no_pods};
    struct node *n = NULL;
    assert_int_equal(node_start(w.loop, &cfg, w.cri, &ops, &w, &n, NULL), 0);
    UNTIL(&w, w.watch && strstarts(w.csr_name, "node-csr-"));
    sign(&w);
    UNTIL(&w, w.done && w.watch && strstarts(w.csr_name, "csr-"));
    assert_string_equal(node_name(n), "n1");
    sign(&w);
    /* served at last with what the CA signed */
    cleanup_free char *served = path_join(w.dir, "pki/kubelet-server-current.pem");
    UNTIL(&w, path_exists(served));
    for (int i = 0; i < 3; i++)
        loop_run_once(w.loop, 10);
    struct tls_client_config tc = {.ca = {.data = buf_str(&w.ca)}};
    struct tls_client *tls = NULL;
    assert_int_equal(tls_client_new(&tc, &tls, NULL), 0);
    cleanup_free char *url = xasprintf("https://127.0.0.1:%d", (int)cfg.port);
    struct http_client_config hc = {.base_url = url, .tls = tls};
    struct http_client *http = NULL;
    assert_int_equal(http_client_new(w.loop, &hc, &http, NULL), 0);
    struct http_call_spec spec = {.path = "/pods", .on_done = on_answer, .arg = &w};
    assert_int_equal(http_call_start(http, &spec, NULL, NULL), 0);
    UNTIL(&w, w.done > 1);
    assert_int_equal(w.done, 101);
    http_client_free(http);
    tls_client_unref(tls);
    /* a second kubelet finds the port taken and says so */
    struct node *second = NULL;
    cleanup_error struct error *err = NULL;
    assert_true(node_start(w.loop, &cfg, w.cri, &ops, &w, &second, &err) < 0);
    assert_non_null(strstr(error_message(err), "kubelet port"));
    node_stop(n);
    world_end(&w);
}

TEST_MAIN()
