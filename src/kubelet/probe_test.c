/* Probes against a scripted engine and real sockets on loopback. */
#include "base/mem.h"
#include "base/test.h"
#include "health.pb-c.h"
#include "kubelet/hook.h"
#include "kubelet/pod.h"
#include "net/stream.h"
#include <stdlib.h>
#include <unistd.h>

static struct world {
    struct kubelet k;
    struct pod p;
    struct container c;
    struct run run;
    struct arena a;
    struct grpc_server *server;
    struct stream_listener *listener;
    char dir[64], path[96];
    int exec_code, asked;
    bool exec_refuses;
    char event[512];
} w;

/* ---- the rest of the kubelet ---- */

const struct run *container_running(const struct container *c)
{
    return w.run.id ? &w.run : NULL;
}

struct kill *pod_kill_of(const struct pod *p, const char *id)
{
    return NULL;
}

void pod_kick(struct pod *p)
{
}

const char *pod_ip(const struct pod *p)
{
    return "127.0.0.1";
}

int container_port(const struct container *c, const K8s__IntOrString *port)
{
    return stream_listener_port(w.listener);
}

void pod_event(struct pod *p, const struct container *c, const char *type, const char *reason,
               const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(w.event, sizeof(w.event), fmt, ap);
    va_end(ap);
}

/* ---- what is probed ---- */

static void on_exec(struct grpc_context *x, const ProtobufCMessage *request, void *arg)
{
    Runtime__V1__ExecSyncResponse r = RUNTIME__V1__EXEC_SYNC_RESPONSE__INIT;

    w.asked++;
    if (w.exec_refuses) {
        grpc_fail(x, GRPC_UNAVAILABLE, "engine is starting");
        return;
    }
    r.exit_code = w.exec_code;
    r.stdout.data = (uint8_t *)(uintptr_t) "not yet";
    r.stdout.len = 7;
    grpc_reply(x, &r.base);
}

static void on_check(struct grpc_context *x, const ProtobufCMessage *request, void *arg)
{
    const Grpc__Health__V1__HealthCheckRequest *q = (const void *)request;
    Grpc__Health__V1__HealthCheckResponse r = GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__INIT;

    w.asked++;
    r.status = streq(q->service, "ill")
                   ? GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__NOT_SERVING
                   : GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVING;
    grpc_reply(x, &r.base);
}

/* TCP in front of the gRPC server. */
static void on_accept(struct stream_listener *l, int fd, const char *peer, void *arg)
{
    struct stream_target t = {.unix_path = w.path};
    struct stream *a = stream_new_fd(w.k.loop, fd, NULL, NULL), *b = NULL;

    if (stream_connect(w.k.loop, &t, NULL, NULL, &b, NULL) < 0)
        stream_free(a);
    else
        (void)stream_splice(a, b, NULL, NULL);
}

static void start(const char *container)
{
    struct error *err = NULL;
    void *spec = NULL;

    memset(&w, 0, sizeof(w));
    arena_init(&w.a, 0);
    if (object_decode_json(&k8s__container__descriptor, str_of(container), OBJECT_STRICT, &w.a,
                           &spec, &err) < 0)
        fail_msg("%s", error_message(err));
    (void)snprintf(w.dir, sizeof(w.dir), "/tmp/skiff-probe-test.XXXXXX");
    assert_non_null(mkdtemp(w.dir));
    (void)snprintf(w.path, sizeof(w.path), "%s/s", w.dir);
    w.k.loop = loop_new();
    assert_int_equal(grpc_server_new(w.k.loop, w.path, 0600, &w.server, NULL), 0);
    grpc_server_handle(w.server, CRI_RUNTIME("ExecSync"),
                       &runtime__v1__exec_sync_request__descriptor, on_exec, NULL);
    grpc_server_handle(w.server, "/grpc.health.v1.Health/Check",
                       &grpc__health__v1__health_check_request__descriptor, on_check, NULL);
    assert_int_equal(
        stream_listen_tcp(w.k.loop, "127.0.0.1", 0, on_accept, NULL, &w.listener, NULL), 0);
    w.k.cri = grpc_client_new(w.k.loop, w.path);
    w.p.k = &w.k;
    w.c.pod = &w.p;
    w.c.spec = spec;
    w.p.containers = xcalloc(1, sizeof(struct container *));
    w.p.containers[0] = &w.c;
    w.p.n_containers = 1;
    w.run = (struct run){.id = (char *)(uintptr_t) "c1", .started_ns = wall_now().ns};
    if (w.c.spec->livenessprobe && w.c.spec->livenessprobe->handler->grpc)
        w.c.spec->livenessprobe->handler->grpc->port = stream_listener_port(w.listener);
    probers_update(&w.p);
}

static void stop(void)
{
    probers_stop(&w.c);
    grpc_client_free(w.k.cri);
    for (int i = 0; i < 5; i++)
        loop_run_once(w.k.loop, 10);
    stream_listener_free(w.listener);
    grpc_server_free(w.server);
    loop_run_once(w.k.loop, 0);
    loop_free(w.k.loop);
    (void)rmdir(w.dir);
    free(w.c.probed_id);
    free(w.p.containers);
    arena_fini(&w.a);
}

static void run_until(const bool *flag, int64_t ms)
{
    struct mono began = mono_now();

    while (!*flag && mono_ms_since(began) < ms)
        loop_run_once(w.k.loop, 20);
}

TEST(readiness_by_exec)
{
    start("{\"name\":\"c\",\"readinessProbe\":{\"exec\":{\"command\":[\"x\"]},\"periodSeconds\":1,"
          "\"failureThreshold\":1}}");
    assert_false(w.c.ready);
    assert_true(w.c.started);
    run_until(&w.c.ready, 3000);
    assert_true(w.c.ready);
    w.exec_code = 1;
    for (int i = 0; i < 200 && w.c.ready; i++)
        loop_run_once(w.k.loop, 20);
    assert_false(w.c.ready);
    assert_string_equal(w.event, "Readiness probe failed: not yet");
    stop();
}

TEST(engine_that_is_away_is_no_verdict)
{
    start("{\"name\":\"c\",\"livenessProbe\":{\"exec\":{\"command\":[\"x\"]},\"periodSeconds\":1,"
          "\"failureThreshold\":1}}");
    w.exec_refuses = true;
    run_until(&w.c.unhealthy, 1500);
    assert_true(w.asked > 0);
    assert_false(w.c.unhealthy);
    assert_non_null(strstr(w.event, "Liveness probe errored and resulted in unknown state"));
    w.exec_refuses = false;
    w.exec_code = 3;
    run_until(&w.c.unhealthy, 3000);
    assert_true(w.c.unhealthy);
    stop();
}

TEST(startup_goes_first)
{
    start("{\"name\":\"c\",\"startupProbe\":{\"tcpSocket\":{\"port\":1}},\"readinessProbe\":{"
          "\"tcpSocket\":{\"port\":1}}}");
    assert_false(w.c.started);
    run_until(&w.c.ready, 4000);
    assert_true(w.c.started);
    assert_true(w.c.ready);
    stop();
}

TEST(health_over_grpc)
{
    start("{\"name\":\"c\",\"livenessProbe\":{\"grpc\":{\"port\":1},\"failureThreshold\":1}}");
    run_until(&w.c.unhealthy, 500);
    assert_int_equal(w.asked, 1);
    assert_false(w.c.unhealthy);
    assert_string_equal(w.event, "");
    stop();
    start("{\"name\":\"c\",\"livenessProbe\":{\"grpc\":{\"port\":1,\"service\":\"ill\"},"
          "\"failureThreshold\":1}}");
    run_until(&w.c.unhealthy, 3000);
    assert_true(w.c.unhealthy);
    assert_string_equal(
        w.event, "Liveness probe failed: service unhealthy (responded with \"NOT_SERVING\")");
    stop();
}

TEST_MAIN()
