#include "kubelet/probe_run.h"
#include "base/mem.h"
#include "health.pb-c.h"
#include "kubelet/hook.h"
#include "net/http_client.h"
#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <sys/socket.h>

#define OUTPUT_MAX 10240
#define HEADERS_MAX 32

struct probe_run {
    struct container *c;
    probe_done_fn done;
    void *arg;
    struct grpc_call *call;
    struct http_client *http;
    struct loop_io io;
    int fd;
    char *where;
    struct loop_timer timer, end;
    struct grpc_client *grpc;
    int64_t timeout_s;
    enum probe_result result;
    char *text;
};

static struct loop *loop_of(const struct probe_run *x)
{
    return x->c->pod->k->loop;
}

void probe_run_cancel(struct probe_run *x)
{
    if (!x)
        return;
    loop_timer_stop(&x->timer);
    loop_timer_stop(&x->end);
    grpc_call_cancel(x->call);
    grpc_client_free(x->grpc);
    http_client_free(x->http);
    if (x->fd >= 0) {
        loop_io_stop(&x->io);
        (void)close(x->fd);
    }
    free(x->where);
    free(x->text);
    free(x);
}

static void on_end(struct loop_timer *t)
{
    struct probe_run *x = container_of(t, struct probe_run, end);
    probe_done_fn done = x->done;
    void *arg = x->arg;
    enum probe_result result = x->result;
    cleanup_free char *text = TAKE(x->text);

    probe_run_cancel(x);
    done(result, strna(text), arg);
}

/* Told by a timer of no time: never from inside a client's callback, never before probe_run
 * returned. */
static void finish_as(struct probe_run *x, enum probe_result result, char *text)
{
    loop_timer_stop(&x->timer);
    x->result = result;
    free(x->text);
    x->text = text;
    loop_timer_start(loop_of(x), &x->end, 0, on_end);
}

static void finish(struct probe_run *x, bool good, char *text)
{
    finish_as(x, good ? PROBE_GOOD : PROBE_BAD, text);
}

/* ---- exec ---- */

static void on_exec(int code, const char *message, const ProtobufCMessage *reply, void *arg)
{
    struct probe_run *x = arg;
    const Runtime__V1__ExecSyncResponse *e = (const void *)reply;
    size_t out, err;

    x->call = NULL;
    if (!e) {
        if (code == GRPC_DEADLINE_EXCEEDED)
            finish(x, false, xasprintf("command timed out: %s", message));
        else
            finish_as(x, PROBE_UNKNOWN,
                      xasprintf("rpc error: code = %s desc = %s", grpc_code_name(code), message));
        return;
    }
    out = e->stdout.len < OUTPUT_MAX ? e->stdout.len : OUTPUT_MAX;
    err = e->stderr.len < OUTPUT_MAX - out ? e->stderr.len : OUTPUT_MAX - out;
    finish(x, e->exit_code == 0,
           xasprintf("%.*s%.*s", (int)out, (const char *)e->stdout.data, (int)err,
                     (const char *)e->stderr.data));
}

static void run_exec(struct probe_run *x, const char *id, const K8s__ExecAction *a,
                     int64_t timeout_s)
{
    Runtime__V1__ExecSyncRequest q = RUNTIME__V1__EXEC_SYNC_REQUEST__INIT;

    q.container_id = (char *)(uintptr_t)id;
    q.cmd = a->command;
    q.n_cmd = a->n_command;
    q.timeout = timeout_s;
    x->call = grpc_call_start(x->c->pod->k->cri, CRI_RUNTIME("ExecSync"), &q.base,
                              &runtime__v1__exec_sync_response__descriptor, (timeout_s + 5) * 1000,
                              on_exec, x);
}

/* ---- http ---- */

static void on_http(struct http_call *call, const struct http_result *r, void *arg)
{
    struct probe_run *x = arg;

    if (r->error && r->error->code != EMSGSIZE)
        finish(x, false,
               r->error->code == ETIMEDOUT
                   ? xasprintf("Get \"%s\": context deadline exceeded (Client.Timeout exceeded "
                               "while awaiting headers)",
                               x->where)
                   : xasprintf("Get \"%s\": %s", x->where, error_message(r->error)));
    else if (r->status >= 200 && r->status < 400)
        finish(x, true, NULL);
    else
        finish(x, false, xasprintf("HTTP probe failed with statuscode: %d", r->status));
}

static void run_http(struct probe_run *x, const K8s__HTTPGetAction *g, int64_t timeout_s)
{
    cleanup_error struct error *err = NULL;
    const char *host = g->host && *g->host ? g->host : pod_ip(x->c->pod);
    bool https = streq(g->scheme, "HTTPS");
    int port = container_port(x->c, g->port);
    cleanup_free char *url = xasprintf(strchr(host, ':') ? "%s://[%s]:%d" : "%s://%s:%d",
                                       https ? "https" : "http", host, port);
    cleanup_free char *path =
        xasprintf("%s%s", g->path && *g->path == '/' ? "" : "/", strna(g->path));
    struct http_header headers[HEADERS_MAX + 1];
    struct http_client_config cfg = {
        .base_url = url, .user_agent = "kube-probe/1.36", .connect_timeout_ms = timeout_s * 1000};
    struct http_call_spec spec = {.path = path,
                                  .headers = headers,
                                  .collect_max = OUTPUT_MAX,
                                  .timeout_ms = timeout_s * 1000,
                                  .on_done = on_http,
                                  .arg = x};
    struct tls_client_config tc = {.insecure = true};
    int r = 0;

    if (port < 0) {
        finish(x, false, xstrdup("the port is not known"));
        return;
    }
    for (size_t i = 0; i < g->n_httpheaders && spec.headers_n < HEADERS_MAX; i++)
        if (strcasecmp(strna(g->httpheaders[i]->name), "host") != 0)
            headers[spec.headers_n++] =
                (struct http_header){.name = str_of(strna(g->httpheaders[i]->name)),
                                     .value = str_of(strna(g->httpheaders[i]->value))};
    x->where = xasprintf("%s%s", url, path);
    if (https)
        r = tls_client_new(&tc, &cfg.tls, &err);
    if (r >= 0)
        r = http_client_new(loop_of(x), &cfg, &x->http, &err);
    tls_client_unref(cfg.tls);
    if (r >= 0)
        r = http_call_start(x->http, &spec, NULL, &err);
    if (r < 0)
        finish(x, false, xstrdup(error_message(err)));
}

/* ---- tcp ---- */

static void on_connect(struct loop_io *io, unsigned events)
{
    struct probe_run *x = container_of(io, struct probe_run, io);
    int code = 0;
    socklen_t n = sizeof(code);

    (void)getsockopt(x->fd, SOL_SOCKET, SO_ERROR, &code, &n);
    loop_io_stop(&x->io);
    finish(x, code == 0,
           code ? xasprintf("dial tcp %s: connect: %s", x->where, strerror(code)) : NULL);
}

static void on_timeout(struct loop_timer *t)
{
    struct probe_run *x = container_of(t, struct probe_run, timer);

    loop_io_stop(&x->io);
    finish(x, false, xasprintf("dial tcp %s: i/o timeout", x->where));
}

static void run_tcp(struct probe_run *x, const char *host, int port, int64_t timeout_s)
{
    struct sockaddr_in a4 = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    struct sockaddr_in6 a6 = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port)};
    bool six = inet_pton(AF_INET6, host, &a6.sin6_addr) == 1;

    x->where = xasprintf("%s:%d", host, port);
    if (port < 0 || (!six && inet_pton(AF_INET, host, &a4.sin_addr) != 1)) {
        finish(x, false, xasprintf("%s is no address to connect to", x->where));
        return;
    }
    x->fd = socket(six ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (x->fd < 0) {
        finish(x, false, xstrdup(strerror(errno)));
        return;
    }
    if (connect(x->fd, six ? (struct sockaddr *)&a6 : (struct sockaddr *)&a4,
                six ? sizeof(a6) : sizeof(a4)) < 0 &&
        errno != EINPROGRESS) {
        finish(x, false, xasprintf("dial tcp %s: connect: %s", x->where, strerror(errno)));
        return;
    }
    loop_io_start(loop_of(x), &x->io, x->fd, LOOP_WRITE, on_connect);
    loop_timer_start(loop_of(x), &x->timer, timeout_s * 1000, on_timeout);
}

/* ---- grpc ---- */

static void on_health(int code, const char *message, const ProtobufCMessage *reply, void *arg)
{
    struct probe_run *x = arg;
    const Grpc__Health__V1__HealthCheckResponse *h = (const void *)reply;
    const ProtobufCEnumValue *v;

    x->call = NULL;
    if (code == GRPC_DEADLINE_EXCEEDED) {
        finish(x, false,
               xasprintf("timeout: health rpc did not complete within %" PRId64 "s", x->timeout_s));
    } else if (code == GRPC_UNIMPLEMENTED) {
        finish(x, false,
               xasprintf("error: this server does not implement the grpc health protocol "
                         "(grpc.health.v1.Health): %s",
                         message));
    } else if (!h) {
        finish(x, false,
               xasprintf("error: health rpc probe failed: rpc error: code = %s desc = %s",
                         grpc_code_name(code), message));
    } else if (h->status != GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVING) {
        v = protobuf_c_enum_descriptor_get_value(
            &grpc__health__v1__health_check_response__serving_status__descriptor, (int)h->status);
        finish(x, false, xasprintf("service unhealthy (responded with \"%s\")", v ? v->name : "?"));
    } else {
        finish(x, true, NULL);
    }
}

static void run_grpc(struct probe_run *x, const K8s__GRPCAction *a)
{
    Grpc__Health__V1__HealthCheckRequest q = GRPC__HEALTH__V1__HEALTH_CHECK_REQUEST__INIT;

    if (a->port < 1 || a->port > 65535) {
        finish(x, false, xstrdup("the port is not known"));
        return;
    }
    q.service = a->service ? a->service : (char *)(uintptr_t) "";
    x->grpc = grpc_client_new_tcp(loop_of(x), pod_ip(x->c->pod), (uint16_t)a->port);
    x->call = grpc_call_start(x->grpc, "/grpc.health.v1.Health/Check", &q.base,
                              &grpc__health__v1__health_check_response__descriptor,
                              x->timeout_s * 1000, on_health, x);
}

struct probe_run *probe_run(struct container *c, const char *id, const K8s__Probe *s,
                            probe_done_fn done, void *arg)
{
    struct probe_run *x = xcalloc(1, sizeof(*x));
    const K8s__ProbeHandler *h = s->handler;
    int64_t timeout = s->timeoutseconds > 0 ? s->timeoutseconds : 1;

    x->c = c;
    x->done = done;
    x->arg = arg;
    x->fd = -1;
    x->timeout_s = timeout;
    if (h->exec)
        run_exec(x, id, h->exec, timeout);
    else if (h->httpget)
        run_http(x, h->httpget, timeout);
    else if (h->tcpsocket)
        run_tcp(x, h->tcpsocket->host && *h->tcpsocket->host ? h->tcpsocket->host : pod_ip(c->pod),
                container_port(c, h->tcpsocket->port), timeout);
    else if (h->grpc)
        run_grpc(x, h->grpc);
    else
        finish(x, false, xstrdup("the probe has no handler"));
    return x;
}
