/* The kubelet's HTTP API against a scripted engine and API server. */
#include "base/cleanup.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/test.h"
#include "cri.pb-c.h"
#include "kubelet/log_reader.h"
#include "kubelet/server.h"
#include "net/http_client.h"
#include "net/http_server.h"
#include <stdlib.h>

struct world {
    struct loop *loop;
    char dir[64];
    struct grpc_server *engine;
    struct grpc_client *cri;
    struct http_server *api, *streaming;
    struct kube_client *client;
    struct kubelet_server *server;
    struct http_client *http;
    int port;
    bool running;
    int reviews, access;
    char log_path[128];
    /* answer */
    bool done;
    int status;
    char body[65536];
};

static void on_api_body(struct http_exchange *x, struct str body, void *arg)
{
    struct world *w = arg;
    if (str_ends(http_path(x), STR("/tokenreviews"))) {
        w->reviews++;
        bool good =
            memmem(body.p, body.n, "\"good\"", 6) || memmem(body.p, body.n, "\"nobody\"", 8);
        bool nobody = memmem(body.p, body.n, "\"nobody\"", 8);
        char text[256];
        (void)snprintf(
            text, sizeof(text),
            "{\"status\":{\"authenticated\":%s,\"user\":{\"username\":\"%s\",\"groups\":[\"g\"]}}}",
            good ? "true" : "false", nobody ? "nobody" : "prom");
        http_respond(x, 201, "application/json", str_of(text));
        return;
    }
    w->access++;
    bool ok = memmem(body.p, body.n, "\"prom\"", 6) &&
              memmem(body.p, body.n, "\"subresource\":\"metrics\"", 23);
    http_respond(x, 201, "application/json",
                 ok ? STR("{\"status\":{\"allowed\":true}}")
                    : STR("{\"status\":{\"allowed\":false}}"));
}

static void on_api(struct http_exchange *x, void *arg)
{
    http_read_body(x, 1 << 20, on_api_body, arg);
}

static void list_containers(struct grpc_context *x, const ProtobufCMessage *request, void *arg)
{
    (void)arg;
    const Runtime__V1__ListContainersRequest *q =
        (const Runtime__V1__ListContainersRequest *)request;
    Runtime__V1__ListContainersResponse m = RUNTIME__V1__LIST_CONTAINERS_RESPONSE__INIT;
    Runtime__V1__Container c = RUNTIME__V1__CONTAINER__INIT;
    Runtime__V1__Container *list[] = {&c};
    c.id = (char[]){"c1"};
    c.created_at = 5;
    m.containers = list;
    for (size_t i = 0; i < q->filter->n_label_selector; i++)
        if (streq(q->filter->label_selector[i]->key, "io.kubernetes.container.name"))
            m.n_containers = streq(q->filter->label_selector[i]->value, "c");
    grpc_reply(x, &m.base);
}

static void container_status(struct grpc_context *x, const ProtobufCMessage *request, void *arg)
{
    (void)request;
    struct world *w = arg;
    Runtime__V1__ContainerStatusResponse m = RUNTIME__V1__CONTAINER_STATUS_RESPONSE__INIT;
    Runtime__V1__ContainerStatus s = RUNTIME__V1__CONTAINER_STATUS__INIT;
    s.id = (char[]){"c1"};
    s.log_path = w->log_path;
    s.state = w->running ? RUNTIME__V1__CONTAINER_STATE__CONTAINER_RUNNING
                         : RUNTIME__V1__CONTAINER_STATE__CONTAINER_EXITED;
    m.status = &s;
    grpc_reply(x, &m.base);
}

static void exec(struct grpc_context *x, const ProtobufCMessage *request, void *arg)
{
    struct world *w = arg;
    const Runtime__V1__ExecRequest *q = (const Runtime__V1__ExecRequest *)request;
    if (q->n_cmd != 2 || !streq(q->cmd[0], "echo") || !q->stdout) {
        grpc_fail(x, GRPC_INVALID_ARGUMENT, "wrong");
        return;
    }
    char url[128];
    (void)snprintf(url, sizeof(url), "http://127.0.0.1:%u/exec/token1",
                   http_server_port(w->streaming));
    Runtime__V1__ExecResponse m = RUNTIME__V1__EXEC_RESPONSE__INIT;
    m.url = url;
    grpc_reply(x, &m.base);
}

static void pod_stats(struct grpc_context *x, const ProtobufCMessage *request, void *arg)
{
    (void)request;
    (void)arg;
    Runtime__V1__ListPodSandboxStatsResponse m = RUNTIME__V1__LIST_POD_SANDBOX_STATS_RESPONSE__INIT;
    Runtime__V1__PodSandboxStats p = RUNTIME__V1__POD_SANDBOX_STATS__INIT, *pods[] = {&p};
    Runtime__V1__PodSandboxAttributes pa = RUNTIME__V1__POD_SANDBOX_ATTRIBUTES__INIT;
    Runtime__V1__PodSandboxMetadata pm = RUNTIME__V1__POD_SANDBOX_METADATA__INIT;
    Runtime__V1__LinuxPodSandboxStats l = RUNTIME__V1__LINUX_POD_SANDBOX_STATS__INIT;
    Runtime__V1__CpuUsage cpu = RUNTIME__V1__CPU_USAGE__INIT;
    Runtime__V1__UInt64Value v = RUNTIME__V1__UINT64_VALUE__INIT;
    Runtime__V1__ContainerStats c = RUNTIME__V1__CONTAINER_STATS__INIT, *cs[] = {&c};
    Runtime__V1__ContainerAttributes ca = RUNTIME__V1__CONTAINER_ATTRIBUTES__INIT;
    Runtime__V1__ContainerMetadata cm = RUNTIME__V1__CONTAINER_METADATA__INIT;
    pm.name = (char[]){"web"};
    pm.namespace_ = (char[]){"default"};
    v.value = 2500000000;
    cpu.usage_core_nano_seconds = &v;
    cpu.timestamp = 1795470276000000000;
    cm.name = (char[]){"nginx"};
    ca.metadata = &cm;
    c.attributes = &ca;
    c.cpu = &cpu;
    pa.metadata = &pm;
    l.containers = cs;
    l.n_containers = 1;
    l.cpu = &cpu;
    p.attributes = &pa;
    p.linux = &l;
    m.stats = pods;
    m.n_stats = 1;
    grpc_reply(x, &m.base);
}

static size_t echo(struct stream *s, struct str data, void *arg)
{
    (void)arg;
    stream_write_str(s, data);
    return data.n;
}

static void echo_closed(struct stream *s, const struct error *err, void *arg)
{
    (void)err;
    (void)arg;
    stream_free(s);
}

static void on_streaming(struct http_exchange *x, void *arg)
{
    (void)arg;
    static const struct stream_events ev = {.on_data = echo, .on_close = echo_closed};
    assert_true(http_wants_upgrade(x, "SPDY/3.1"));
    assert_true(str_eq_z(http_header(x, "X-Stream-Protocol-Version"), "v4.channel.k8s.io"));
    http_add_header(x, "X-Stream-Protocol-Version", "v4.channel.k8s.io");
    (void)http_upgrade(x, "SPDY/3.1", &ev, NULL);
}

static void pods_json(struct buf *b, void *arg)
{
    (void)arg;
    (void)buf_add_z(b, "{\"kind\":\"PodList\",\"items\":[]}");
}
static void configz_json(struct buf *b, void *arg)
{
    (void)arg;
    (void)buf_add_z(b, "{\"port\":10250}");
}

static void server_begin(struct world *w, const struct kubelet_server_config *base)
{
    struct kubelet_server_config cfg = *base;
    cfg.node_name = "n1";
    cfg.address = "127.0.0.1";
    cfg.root_dir = w->dir;
    cfg.pods_json = pods_json;
    cfg.configz_json = configz_json;
    /* a free port: try a few */
    for (w->port = 20000 + getpid() % 20000;; w->port++) {
        cfg.port = w->port;
        if (kubelet_server_start(w->loop, &cfg, w->client, w->cri, &w->server, NULL) == 0)
            break;
    }
    cleanup_free char *url = xasprintf("http://127.0.0.1:%d", w->port);
    struct http_client_config hc = {.base_url = url};
    assert_int_equal(http_client_new(w->loop, &hc, &w->http, NULL), 0);
}

static void world_begin(struct world *w, const struct kubelet_server_config *cfg)
{
    *w = (struct world){.loop = loop_new(), .dir = "/tmp/skiff-kubelet-test-XXXXXX"};
    assert_non_null(mkdtemp(w->dir));
    (void)snprintf(w->log_path, sizeof(w->log_path), "%s/0.log", w->dir);
    cleanup_free char *socket = path_join(w->dir, "cri.sock");
    assert_int_equal(grpc_server_new(w->loop, socket, 0600, &w->engine, NULL), 0);
    grpc_server_handle(w->engine, "/runtime.v1.RuntimeService/ListContainers",
                       &runtime__v1__list_containers_request__descriptor, list_containers, w);
    grpc_server_handle(w->engine, "/runtime.v1.RuntimeService/ContainerStatus",
                       &runtime__v1__container_status_request__descriptor, container_status, w);
    grpc_server_handle(w->engine, "/runtime.v1.RuntimeService/Exec",
                       &runtime__v1__exec_request__descriptor, exec, w);
    grpc_server_handle(w->engine, "/runtime.v1.RuntimeService/ListPodSandboxStats",
                       &runtime__v1__list_pod_sandbox_stats_request__descriptor, pod_stats, w);
    w->cri = grpc_client_new(w->loop, socket);
    struct http_server_config hc = {.on_request = on_api, .arg = w},
                              sc = {.on_request = on_streaming, .arg = w};
    w->api = http_server_new(w->loop, &hc);
    w->streaming = http_server_new(w->loop, &sc);
    assert_int_equal(http_server_listen_tcp(w->api, "127.0.0.1", 0, NULL, NULL), 0);
    assert_int_equal(http_server_listen_tcp(w->streaming, "127.0.0.1", 0, NULL, NULL), 0);
    cleanup_free char *url = xasprintf("http://127.0.0.1:%u", http_server_port(w->api));
    struct kubeconfig k = {.server = url};
    assert_int_equal(kube_client_new(w->loop, &k, NULL, &w->client, NULL), 0);
    server_begin(w, cfg);
}

static void world_end(struct world *w)
{
    http_client_free(w->http);
    kubelet_server_stop(w->server);
    kube_client_free(w->client);
    http_server_free(w->api);
    http_server_free(w->streaming);
    grpc_client_free(w->cri);
    grpc_server_free(w->engine);
    for (int i = 0; i < 3; i++)
        loop_run_once(w->loop, 0);
    loop_free(w->loop);
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

static void on_data(struct http_call *c, struct str data, void *arg)
{
    (void)c;
    struct world *w = arg;
    strncat(w->body, data.p, data.n < sizeof(w->body) - strlen(w->body) - 1 ? data.n : 0);
}

static void on_done(struct http_call *c, const struct http_result *r, void *arg)
{
    (void)c;
    struct world *w = arg;
    w->status = r->status;
    w->done = true;
}

static void ask(struct world *w, const char *path, const char *token)
{
    cleanup_free char *auth = xasprintf("Bearer %s", strna(token));
    struct http_header h = {STR("Authorization"), str_of(auth)};
    struct http_call_spec spec = {.path = path,
                                  .headers = &h,
                                  .headers_n = token ? 1 : 0,
                                  .on_data = on_data,
                                  .on_done = on_done,
                                  .arg = w};
    w->done = false;
    w->body[0] = 0;
    assert_int_equal(http_call_start(w->http, &spec, NULL, NULL), 0);
}

static int get(struct world *w, const char *path, const char *token)
{
    ask(w, path, token);
    UNTIL(w, w->done);
    return w->status;
}

static const struct kubelet_server_config open_config = {.anonymous = true,
                                                         .authz = KUBELET_AUTHZ_ALWAYS_ALLOW};
static const struct kubelet_server_config closed_config = {.webhook_authn = true,
                                                           .authz = KUBELET_AUTHZ_WEBHOOK};

static void put_log(struct world *w, const char *text)
{
    FILE *f = fopen(w->log_path, "a");
    assert_non_null(f);
    (void)fputs(text, f);
    (void)fclose(f);
}

TEST(simple_pages)
{
    struct world w;
    world_begin(&w, &open_config);
    assert_int_equal(get(&w, "/healthz", NULL), 200);
    assert_string_equal(w.body, "ok");
    assert_int_equal(get(&w, "/pods", NULL), 200);
    assert_int_equal(get(&w, "/configz", NULL), 200);
    assert_string_equal(w.body, "{\"kubeletconfig\":{\"port\":10250}}");
    assert_int_equal(get(&w, "/nothing", NULL), 404);
    assert_int_equal(get(&w, "/logs/..%2f..%2fetc/passwd", NULL), 404);
    assert_int_equal(get(&w, "/metrics", NULL), 200);
    assert_int_equal(get(&w, "/stats/summary", NULL), 200);
    assert_non_null(strstr(w.body, "\"podRef\":{\"name\":\"web\",\"namespace\":\"default\""));
    assert_int_equal(get(&w, "/metrics/resource", NULL), 200);
    assert_non_null(strstr(w.body, "container_cpu_usage_seconds_total{container=\"nginx\","
                                   "namespace=\"default\",pod=\"web\"} 2.5 1795470276000\n"));
    assert_int_equal(get(&w, "/metrics/cadvisor", NULL), 200);
    world_end(&w);
}

TEST(authentication_and_authorization)
{
    struct world w;
    world_begin(&w, &closed_config);
    assert_int_equal(get(&w, "/metrics", NULL), 401);
    assert_int_equal(get(&w, "/metrics", "bad"), 401);
    assert_int_equal(get(&w, "/metrics", "nobody"), 403);
    assert_non_null(strstr(
        w.body, "Forbidden (user=nobody, verb=get, resource=nodes, subresource(s)=[metrics])"));
    int reviews = w.reviews, access = w.access;
    assert_int_equal(get(&w, "/metrics", "good"), 200);
    assert_int_equal(get(&w, "/metrics", "good"), 200);
    assert_int_equal(w.reviews, reviews + 1);
    assert_int_equal(w.access, access + 1);
    assert_int_equal(get(&w, "/pods", "good"), 403);
    world_end(&w);
}

TEST(logs)
{
    struct world w;
    world_begin(&w, &open_config);
    put_log(
        &w,
        "2026-11-23T21:44:36.000000001Z stdout F one\n2026-11-23T21:44:37Z stderr P tw\n"
        "2026-11-23T21:44:37Z stderr F o\n2026-11-23T21:44:38Z stdout F three\nnot a log line\n");
    assert_int_equal(get(&w, "/containerLogs/default/web/c", NULL), 200);
    assert_string_equal(w.body, "one\ntwo\nthree\n");
    assert_int_equal(
        get(&w, "/containerLogs/default/web/c?sinceTime=2026-11-23T21:44:38Z&timestamps=true",
            NULL),
        200);
    assert_string_equal(w.body, "2026-11-23T21:44:38Z three\n");
    assert_int_equal(get(&w, "/containerLogs/default/web/c?limitBytes=5", NULL), 200);
    assert_string_equal(w.body, "one\nt");
    assert_int_equal(get(&w, "/containerLogs/default/web/c?tailLines=2", NULL), 200);
    assert_string_equal(w.body, "three\n");
    assert_int_equal(get(&w, "/containerLogs/default/web/c?tailLines=0", NULL), 200);
    assert_string_equal(w.body, "");
    assert_int_equal(get(&w, "/containerLogs/default/web/c?tailLines=-1", NULL), 400);
    assert_int_equal(get(&w, "/containerLogs/default/web/c?previous=true", NULL), 400);
    assert_int_equal(get(&w, "/containerLogs/default/web/other", NULL), 404);
    /* follow: new lines, rotation, end */
    w.running = true;
    ask(&w, "/containerLogs/default/web/c?follow=true&tailLines=1", NULL);
    for (int i = 0; i < 5; i++)
        loop_run_once(w.loop, 20);
    put_log(&w, "2026-11-23T21:44:39Z stdout F four\n");
    UNTIL(&w, strstr(w.body, "four\n"));
    cleanup_free char *old = xasprintf("%s.1", w.log_path);
    assert_int_equal(rename(w.log_path, old), 0);
    put_log(&w, "2026-11-23T21:44:40Z stdout F five\n");
    UNTIL(&w, strstr(w.body, "five\n"));
    assert_false(w.done);
    w.running = false;
    UNTIL(&w, w.done);
    assert_string_equal(w.body, "four\nfive\n");
    world_end(&w);
}

struct duplex {
    struct stream *s;
    char got[64];
};
static size_t on_bytes(struct stream *s, struct str data, void *arg)
{
    (void)s;
    struct duplex *d = arg;
    strncat(d->got, data.p, data.n < 40 ? data.n : 40);
    return data.n;
}
static void on_upgraded(struct http_call *c, struct stream *s, const struct http_response *r,
                        void *arg)
{
    (void)c;
    static const struct stream_events ev = {.on_data = on_bytes};
    struct duplex *d = arg;
    assert_int_equal(r->status, 101);
    assert_true(
        str_eq_z(http_headers_get(r->headers, "X-Stream-Protocol-Version"), "v4.channel.k8s.io"));
    d->s = s;
    stream_set_events(s, &ev, d);
    stream_write_str(s, STR("hello"));
}

TEST(exec_is_passed_on)
{
    struct world w;
    struct duplex d = {0};
    world_begin(&w, &open_config);
    struct http_header h = {STR("X-Stream-Protocol-Version"), STR("v4.channel.k8s.io")};
    struct http_call_spec spec = {.method = "POST",
                                  .path = "/exec/default/web/c?command=echo&command=a%20b&output=1",
                                  .headers = &h,
                                  .headers_n = 1,
                                  .upgrade = "SPDY/3.1",
                                  .on_upgrade = on_upgraded,
                                  .on_done = on_done,
                                  .arg = &d};
    assert_int_equal(http_call_start(w.http, &spec, NULL, NULL), 0);
    UNTIL(&w, streq(d.got, "hello"));
    stream_free(d.s);
    for (int i = 0; i < 5; i++)
        loop_run_once(w.loop, 10);
    assert_int_equal(get(&w, "/exec/default/web/c?output=1", NULL), 400);
    assert_int_equal(get(&w, "/exec/default/web/c?command=echo&command=x&output=1", NULL), 400);
    assert_non_null(strstr(w.body, "upgrade"));
    world_end(&w);
}

TEST(log_lines)
{
    struct log_line l;
    assert_true(log_line_parse(STR("2026-11-23T21:44:36.123456789Z stdout F hello world"), &l));
    assert_true(str_eq_z(l.text, "hello world"));
    assert_true(log_line_parse(STR("2026-11-23T21:44:36Z stderr P "), &l));
    assert_true(l.is_stderr && l.partial && l.text.n == 0);
    assert_false(log_line_parse(STR("hello"), &l));
    assert_false(log_line_parse(STR(""), &l));
    assert_false(log_line_parse(STR("2026-11-23T21:44:36Z stdin F x"), &l));
}

TEST_MAIN()
