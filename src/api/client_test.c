/* Client, reflector and recorder against a small scripted server on loopback. */
#include "api/client.h"
#include "api/recorder.h"
#include "api/reflector.h"
#include "base/cleanup.h"
#include "base/mem.h"
#include "base/file.h"
#include "base/test.h"
#include "net/http_server.h"
#include "net/x509.h"
#include <errno.h>
#include <stdlib.h>

struct world {
    struct loop *loop;
    struct http_server *server;
    struct kube_client *client;
    struct http_exchange *watch; /* an open one */
    int lists, watches, pages;
    char log[4096]; /* "METHOD path?query content-type\n" */
    char body[4096];
    bool expired; /* answer the next watch with 410 */
    bool second;  /* the second list differs */
    bool done;
    char seen[4096];
};

static void note(struct world *w, const char *text)
{
    strncat(w->seen, text, sizeof(w->seen) - strlen(w->seen) - 1);
    strncat(w->seen, " ", sizeof(w->seen) - strlen(w->seen) - 1);
}

static void forget_watch(struct http_exchange *x, void *arg)
{
    struct world *w = arg;
    if (w->watch == x)
        w->watch = NULL;
}

static void answer_pods(struct world *w, struct http_exchange *x)
{
    if (http_query_bool(x, "watch")) {
        w->watches++;
        if (w->expired) {
            w->expired = false;
            w->second = true;
            http_respond(x, 410, "application/json",
                         STR("{\"kind\":\"Status\",\"status\":\"Failure\",\"message\":\"too "
                             "old\",\"reason\":\"Expired\",\"code\":410}"));
            return;
        }
        http_on_abort(x, forget_watch, w);
        http_respond_begin(x, 200, "application/json");
        w->watch = x;
        return;
    }
    w->lists++;
    if (w->second) {
        http_respond(x, 200, "application/json",
                     STR("{\"metadata\":{\"resourceVersion\":\"20\"},\"items\":[{\"metadata\":{"
                         "\"name\":\"b\",\"namespace\":\"n\",\"uid\":\"2\"}}]}"));
    } else if (http_query_get(x, "continue").p) {
        w->pages++;
        http_respond(x, 200, "application/json",
                     STR("{\"metadata\":{\"resourceVersion\":\"10\"},\"items\":[{\"metadata\":{"
                         "\"name\":\"b\",\"namespace\":\"n\",\"uid\":\"2\"}}]}"));
    } else {
        http_respond(x, 200, "application/json",
                     STR("{\"metadata\":{\"resourceVersion\":\"10\",\"continue\":\"t "
                         "k\"},\"items\":[{\"metadata\":{\"name\":\"a\",\"namespace\":\"n\","
                         "\"uid\":\"1\"}}]}"));
    }
}

static void on_body(struct http_exchange *x, struct str body, void *arg)
{
    struct world *w = arg;
    (void)snprintf(w->body, sizeof(w->body), "%.*s", STR_FMT(body));
    struct str path = http_path(x);
    if (str_eq_z(path, "/api/v1/pods"))
        answer_pods(w, x);
    else if (str_eq_z(path, "/api/v1/namespaces/n/pods/none"))
        http_respond(x, 404, "application/json",
                     STR("{\"kind\":\"Status\",\"status\":\"Failure\",\"message\":\"pods "
                         "\\\"none\\\" not found\",\"reason\":\"NotFound\",\"code\":404}"));
    else if (str_eq_z(path, "/api/v1/namespaces/n/pods/plain"))
        http_respond_text(x, 502, "bad gateway");
    else if (str_eq_z(path, "/api/v1/namespaces/n/pods/broken"))
        http_respond(x, 200, "application/json", STR("{\"metadata\":3}"));
    else
        http_respond(x, 200, "application/json",
                     body.n ? body : STR("{\"metadata\":{\"name\":\"p\"}}"));
}

static void on_request(struct http_exchange *x, void *arg)
{
    struct world *w = arg;
    struct str m = http_method(x), p = http_path(x), q = http_query(x),
               c = http_header(x, "Content-Type");
    size_t n = strlen(w->log);
    (void)snprintf(w->log + n, sizeof(w->log) - n, "%.*s %.*s?%.*s %.*s %.*s\n", STR_FMT(m),
                   STR_FMT(p), STR_FMT(q), STR_FMT(c), STR_FMT(http_header(x, "Authorization")));
    http_read_body(x, 1 << 20, on_body, w);
}

static void world_begin(struct world *w)
{
    *w = (struct world){.loop = loop_new()};
    struct http_server_config sc = {.on_request = on_request, .arg = w};
    w->server = http_server_new(w->loop, &sc);
    assert_int_equal(http_server_listen_tcp(w->server, "127.0.0.1", 0, NULL, NULL), 0);
    struct kubeconfig k = {.server = xasprintf("http://127.0.0.1:%u", http_server_port(w->server)),
                           .token = "secret"};
    assert_int_equal(kube_client_new(w->loop, &k, NULL, &w->client, NULL), 0);
    free(k.server);
}

static void world_end(struct world *w)
{
    kube_client_free(w->client);
    http_server_free(w->server);
    loop_run_once(w->loop, 0);
    loop_run_once(w->loop, 0);
    loop_free(w->loop);
}

#define UNTIL(w, cond)                                                                             \
    do {                                                                                           \
        struct mono t0_ = mono_now();                                                              \
        while (!(cond)) {                                                                          \
            assert_true(mono_ms_since(t0_) < 5000);                                                \
            loop_run_once((w)->loop, 50);                                                          \
        }                                                                                          \
    } while (0)

static void on_result(const struct kube_result *r, void *arg)
{
    struct world *w = arg;
    w->done = true;
    char text[600];
    (void)snprintf(text, sizeof(text), "%d|%s|%s|%s", r->http_code, r->reason,
                   r->err ? r->err->message : "", r->msg ? object_name(r->msg) : "-");
    note(w, text);
}

TEST(requests_and_errors)
{
    struct world w;
    world_begin(&w);
    kube_get(w.client, &k8s__pod__descriptor, "n", "p", on_result, &w, NULL);
    UNTIL(&w, w.done);
    w.done = false;
    kube_get(w.client, &k8s__pod__descriptor, "n", "none", on_result, &w, NULL);
    UNTIL(&w, w.done);
    w.done = false;
    kube_get(w.client, &k8s__pod__descriptor, "n", "plain", on_result, &w, NULL);
    UNTIL(&w, w.done);
    w.done = false;
    kube_get(w.client, &k8s__pod__descriptor, "n", "broken", on_result, &w, NULL);
    UNTIL(&w, w.done);
    w.done = false;
    kube_get(w.client, &k8s__pod__descriptor, "n", "..", on_result, &w, NULL);
    assert_false(w.done);
    UNTIL(&w, w.done);
    assert_string_equal(
        w.seen,
        "200|||p 404|NotFound|pods \"none\" not found|- "
        "502||the API server answered 502 Bad Gateway: bad gateway|- "
        "200|Undecodable|the API server's answer: metadata: expected an object, not a number|- "
        "0|Invalid|Pod \"n/..\": not a usable name|- ");
    w.done = false;
    w.log[0] = 0;
    kube_patch(w.client, &k8s__node__descriptor, NULL, "a/b", "status", KUBE_PATCH_MERGE,
               STR("{\"x\":1}"), on_result, &w, NULL);
    UNTIL(&w, w.done);
    assert_string_equal(
        w.log, "PATCH /api/v1/nodes/a%2Fb/status? application/merge-patch+json Bearer secret\n");
    assert_string_equal(w.body, "{\"x\":1}");
    struct kube_call *call;
    w.done = false;
    kube_get(w.client, &k8s__pod__descriptor, "n", "p", on_result, &w, &call);
    kube_call_cancel(call);
    for (int i = 0; i < 5; i++)
        loop_run_once(w.loop, 10);
    assert_false(w.done);
    w.body[0] = 0;
    kube_delete(w.client, &k8s__pod__descriptor, "n", "p", 0, "u1", on_result, &w, NULL);
    UNTIL(&w, w.done);
    assert_string_equal(w.body, "{\"apiVersion\":\"v1\",\"kind\":\"DeleteOptions\","
                                "\"gracePeriodSeconds\":0,\"preconditions\":{\"uid\":\"u1\"}}");
    world_end(&w);
}

TEST(nobody_answers)
{
    struct world w;
    world_begin(&w);
    http_server_free(w.server);
    w.server = NULL;
    kube_get(w.client, &k8s__pod__descriptor, "n", "p", on_result, &w, NULL);
    UNTIL(&w, w.done);
    assert_non_null(strstr(w.seen, "0|Transport|"));
    assert_non_null(strstr(w.seen, "refused"));
    world_end(&w);
}

static void on_begin(void *arg)
{
    note(arg, "begin");
}
static void on_object(enum reflect_event ev, void *msg, void *arg)
{
    note(arg, ev == REFLECT_LISTED ? "L" : ev == REFLECT_ADDED ? "A" : "M");
    note(arg, object_name(msg));
}
static void on_delete(const char *ns, const char *name, const char *uid, void *arg)
{
    assert_string_equal(ns, "n");
    note(arg, "D");
    note(arg, name);
    note(arg, uid);
}
static void on_synced(void *arg)
{
    note(arg, "synced");
}

TEST(reflector_follows)
{
    struct world w;
    world_begin(&w);
    static const struct reflector_ops ops = {.on_replace_begin = on_begin,
                                             .on_object = on_object,
                                             .on_delete = on_delete,
                                             .on_synced = on_synced};
    struct reflector_config cfg = {.type = &k8s__pod__descriptor,
                                   .field_selector = "spec.nodeName=x",
                                   .track = true,
                                   .ops = &ops,
                                   .arg = &w};
    struct reflector *r = reflector_start(w.client, &cfg);
    UNTIL(&w, w.watch);
    assert_true(reflector_synced(r));
    assert_string_equal(w.seen, "begin L a L b synced ");
    assert_non_null(strstr(w.log, "fieldSelector=spec.nodeName%3Dx"));
    assert_non_null(strstr(w.log, "resourceVersion=10"));
    w.seen[0] = 0;
    http_write(
        w.watch,
        STR("{\"type\":\"MODIFIED\",\"object\":{\"metadata\":{\"name\":\"a\",\"namespace\":\"n\","
            "\"uid\":\"1\",\"resourceVersion\":\"11\"}}}\n"
            "{\"type\":\"BOOKMARK\",\"object\":{\"metadata\":{\"resourceVersion\":\"15\"}}}\n"
            "{\"type\":\"ADDED\",\"object\":{\"metadata\":{\"name\":\"c\",\"namespace\":\"n\","
            "\"uid\":\"3\",\"resourceVersion\":\"16\"}}}\n"
            "{\"type\":\"DELETED\",\"object\":{\"metadata\":{\"name\":\"c\",\"namespace\":\"n\","
            "\"uid\":\"3\",\"resourceVersion\":\"17\"}}}\n"));
    UNTIL(&w, strstr(w.seen, "D c"));
    assert_string_equal(w.seen, "M a A c D c 3 ");
    /* the watch ends, the version is too old, a is gone from the new list */
    w.seen[0] = w.log[0] = 0;
    w.expired = true;
    struct http_exchange *x = w.watch;
    w.watch = NULL;
    http_end(x);
    UNTIL(&w, w.watch);
    assert_non_null(strstr(w.log, "resourceVersion=17"));
    assert_string_equal(w.seen, "begin L b D a 1 synced ");
    assert_non_null(strstr(w.log, "resourceVersion=20"));
    /* broken bytes: begin anew */
    w.seen[0] = 0;
    http_write(w.watch, STR("garbage\n"));
    UNTIL(&w, strstr(w.seen, "synced"));
    assert_string_equal(w.seen, "begin L b synced ");
    reflector_stop(r);
    world_end(&w);
}

TEST(recorder_counts)
{
    struct world w;
    world_begin(&w);
    struct recorder *r = recorder_new(w.client, "kubelet", "n1");
    struct recorder_object o = {
        .api_version = "v1", .kind = "Pod", .namespace_ = "n", .name = "p", .uid = "u"};
    recorder_event(r, &o, "Normal", "Pulled", "image %s", "x");
    UNTIL(&w, strstr(w.log, "POST /api/v1/namespaces/n/events?"));
    assert_non_null(strstr(w.body, "\"message\":\"image x\""));
    for (int i = 0; i < 5; i++)
        loop_run_once(w.loop, 10);
    recorder_event(r, &o, "Normal", "Pulled", "image %s", "x");
    UNTIL(&w, strstr(w.log, "PATCH /api/v1/namespaces/n/events/p."));
    assert_non_null(strstr(w.body, "\"count\":2"));
    for (int i = 0; i < 100; i++)
        recorder_event(r, &o, "Warning", "Failed", "try %d", i);
    w.log[0] = 0;
    UNTIL(&w, strstr(w.body, "combined"));
    for (int i = 0; i < 60; i++)
        loop_run_once(w.loop, 5);
    int posts = 0;
    for (const char *p = w.log; (p = strstr(p, "\n")); p++)
        posts++;
    assert_true(posts <= 25);
    recorder_free(r);
    world_end(&w);
}

/* ---- TLS, client certificates, tokens from files ---- */

static void on_tls_request(struct http_exchange *x, void *arg)
{
    (void)arg;
    const struct tls_peer *p = http_tls_peer(x);
    char text[256];
    (void)snprintf(text, sizeof(text), "{\"metadata\":{\"name\":\"%s|%.*s\"}}",
                   p && p->verified ? p->cn : "", STR_FMT(http_header(x, "Authorization")));
    http_respond(x, 200, "application/json", str_of(text));
}

struct pki {
    char dir[64];
    struct buf ca, ca_key, key;
};

static void put_certificate(struct pki *p, const char *cn, unsigned usages, const char *file)
{
    const char *ip = "127.0.0.1";
    struct x509_names names = {.cn = cn, .ips = &ip, .n_ips = 1};
    struct x509_sign s = {.ca_cert_pem = buf_str(&p->ca),
                          .ca_key_pem = buf_str(&p->ca_key),
                          .usages = usages,
                          .validity_s = 3600};
    struct buf b;
    buf_init(&b, 1 << 16);
    assert_int_equal(x509_issue(&s, buf_str(&p->key), &names, &b, NULL), 0);
    (void)buf_add_str(&b, buf_str(&p->key));
    cleanup_free char *path = path_join(p->dir, file);
    assert_int_equal(file_write_atomic(path, 0600, buf_str(&b), NULL), 0);
    buf_fini(&b);
}

TEST(certificates_and_tokens_are_read_anew)
{
    struct pki p = {.dir = "/tmp/skiff-api-test-XXXXXX"};
    struct world w = {.loop = loop_new()};
    assert_non_null(mkdtemp(p.dir));
    buf_init(&p.ca, 1 << 16);
    buf_init(&p.ca_key, 1 << 16);
    buf_init(&p.key, 1 << 16);
    assert_int_equal(x509_key_generate(X509_KEY_ECDSA_P256, &p.ca_key, NULL), 0);
    assert_int_equal(x509_key_generate(X509_KEY_ECDSA_P256, &p.key, NULL), 0);
    assert_int_equal(x509_ca_create(buf_str(&p.ca_key), "ca", 86400, &p.ca, NULL), 0);
    put_certificate(&p, "server", X509_SERVER_AUTH, "server.pem");
    put_certificate(&p, "first", X509_CLIENT_AUTH, "client.pem");
    cleanup_free char *server = path_join(p.dir, "server.pem"),
                      *client = path_join(p.dir, "client.pem"), *token = path_join(p.dir, "token");
    assert_int_equal(file_write_atomic(token, 0600, STR("t1\n"), NULL), 0);
    struct tls_server_config tc = {
        .cert = {.path = server}, .key = {.path = server}, .client_ca = {.data = buf_str(&p.ca)}};
    struct tls_server *tls = NULL;
    assert_int_equal(tls_server_new(&tc, &tls, NULL), 0);
    struct http_server_config sc = {.on_request = on_tls_request};
    w.server = http_server_new(w.loop, &sc);
    assert_int_equal(http_server_listen_tcp(w.server, "127.0.0.1", 0, tls, NULL), 0);
    cleanup_free char *url = xasprintf("https://127.0.0.1:%u", http_server_port(w.server));
    struct kubeconfig k = {.server = url,
                           .ca_pem = p.ca.p,
                           .cert_file = client,
                           .key_file = client,
                           .token_file = token};
    assert_int_equal(kube_client_new(w.loop, &k, NULL, &w.client, NULL), 0);
    kube_get(w.client, &k8s__pod__descriptor, "n", "p", on_result, &w, NULL);
    UNTIL(&w, w.done);
    put_certificate(&p, "second", X509_CLIENT_AUTH, "client.pem");
    assert_int_equal(file_write_atomic(token, 0600, STR("t2"), NULL), 0);
    assert_int_equal(kube_client_reload(w.client, NULL), 0);
    w.done = false;
    kube_get(w.client, &k8s__pod__descriptor, "n", "p", on_result, &w, NULL);
    UNTIL(&w, w.done);
    assert_string_equal(w.seen, "200|||first|Bearer t1 200|||second|Bearer t2 ");
    kube_client_free(w.client);
    /* another CA: refused, in words */
    buf_clear(&p.ca);
    assert_int_equal(x509_ca_create(buf_str(&p.key), "other", 86400, &p.ca, NULL), 0);
    k.ca_pem = p.ca.p;
    assert_int_equal(kube_client_new(w.loop, &k, NULL, &w.client, NULL), 0);
    w.done = false;
    w.seen[0] = 0;
    kube_get(w.client, &k8s__pod__descriptor, "n", "p", on_result, &w, NULL);
    UNTIL(&w, w.done);
    assert_non_null(strstr(w.seen, "0|Transport|"));
    assert_non_null(strstr(w.seen, "certificate"));
    tls_server_unref(tls);
    world_end(&w);
    assert_int_equal(dir_remove_tree(p.dir, NULL), 0);
    buf_fini(&p.ca);
    buf_fini(&p.ca_key);
    buf_fini(&p.key);
}

TEST_MAIN()
