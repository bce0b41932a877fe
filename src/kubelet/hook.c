#include "kubelet/hook.h"
#include "base/mem.h"
#include "net/http_client.h"

struct hook {
    struct container *c;
    hook_done_fn done;
    void *arg;
    struct grpc_call *call;
    struct http_client *http;
    struct loop_timer timer;
    char *failure; /* told by the timer */
};

static void hook_free(struct hook *h)
{
    loop_timer_stop(&h->timer);
    grpc_call_cancel(h->call);
    http_client_free(h->http);
    free(h->failure);
    free(h);
}

void hook_cancel(struct hook *h)
{
    if (h)
        hook_free(h);
}

static void on_end(struct loop_timer *t)
{
    struct hook *h = container_of(t, struct hook, timer);
    hook_done_fn done = h->done;
    void *arg = h->arg;
    cleanup_free char *failure = TAKE(h->failure);

    hook_free(h);
    done(failure, arg);
}

/* Clients are not freed inside their callbacks: the end is told by a timer. */
static void end_soon(struct hook *h, char *failure, int64_t ms)
{
    h->failure = failure;
    loop_timer_start(h->c->pod->k->loop, &h->timer, ms, on_end);
}

static void on_exec(int code, const char *message, const ProtobufCMessage *reply, void *arg)
{
    struct hook *h = arg;
    const Runtime__V1__ExecSyncResponse *e = (const void *)reply;

    h->call = NULL;
    if (!e)
        end_soon(h, xasprintf("rpc error: code = %s desc = %s", grpc_code_name(code), message), 0);
    else if (e->exit_code)
        end_soon(h,
                 xasprintf("command exited with %d: %.*s%.*s", e->exit_code,
                           (int)(e->stdout.len < 512 ? e->stdout.len : 512),
                           (const char *)e->stdout.data,
                           (int)(e->stderr.len < 512 ? e->stderr.len : 512),
                           (const char *)e->stderr.data),
                 0);
    else
        end_soon(h, NULL, 0);
}

static void on_http(struct http_call *call, const struct http_result *r, void *arg)
{
    struct hook *h = arg;

    if (r->error)
        end_soon(h, xstrdup(error_message(r->error)), 0);
    else if (r->status >= 400)
        end_soon(h, xasprintf("HTTP status %d", r->status), 0);
    else
        end_soon(h, NULL, 0);
}

int container_port(const struct container *c, const K8s__IntOrString *port)
{
    int64_t n;

    if (!port)
        return -1;
    if (port->type == 0)
        return port->intval > 0 && port->intval < 65536 ? port->intval : -1;
    for (size_t i = 0; i < c->spec->n_ports; i++)
        if (streq(c->spec->ports[i]->name, port->strval))
            return c->spec->ports[i]->containerport;
    return str_to_i64(str_of(port->strval), 1, 65535, &n) == 0 ? (int)n : -1;
}

static void start_http(struct hook *h, const K8s__HTTPGetAction *g)
{
    cleanup_error struct error *err = NULL;
    const char *host = g->host && *g->host ? g->host : pod_ip(h->c->pod);
    int port = container_port(h->c, g->port);
    cleanup_free char *url =
        xasprintf("%s://%s:%d", streq(g->scheme, "HTTPS") ? "https" : "http", host, port);
    struct http_client_config cfg = {
        .base_url = url, .user_agent = "kube-lifecycle/1.36", .connect_timeout_ms = 10000};
    struct http_call_spec spec = {.path = g->path && *g->path ? g->path : "/",
                                  .collect_max = 64 * 1024,
                                  .timeout_ms = 60000,
                                  .on_done = on_http,
                                  .arg = h};
    struct tls_client_config tc = {.insecure = true};
    int r = 0;

    if (port < 0) {
        end_soon(h, xstrdup("the port is not known"), 0);
        return;
    }
    if (streq(g->scheme, "HTTPS"))
        r = tls_client_new(&tc, &cfg.tls, &err);
    if (r >= 0)
        r = http_client_new(h->c->pod->k->loop, &cfg, &h->http, &err);
    tls_client_unref(cfg.tls);
    if (r >= 0)
        r = http_call_start(h->http, &spec, NULL, &err);
    if (r < 0)
        end_soon(h, xstrdup(error_message(err)), 0);
}

struct hook *hook_start(struct container *c, const char *container_id,
                        const K8s__LifecycleHandler *a, hook_done_fn done, void *arg)
{
    struct hook *h = xcalloc(1, sizeof(*h));

    h->c = c;
    h->done = done;
    h->arg = arg;
    if (a->exec) {
        Runtime__V1__ExecSyncRequest q = RUNTIME__V1__EXEC_SYNC_REQUEST__INIT;

        q.container_id = (char *)(uintptr_t)container_id;
        q.cmd = a->exec->command;
        q.n_cmd = a->exec->n_command;
        h->call = grpc_call_start(c->pod->k->cri, CRI_RUNTIME("ExecSync"), &q.base,
                                  &runtime__v1__exec_sync_response__descriptor, -1, on_exec, h);
    } else if (a->httpget) {
        start_http(h, a->httpget);
    } else {
        end_soon(h, NULL, a->sleep ? a->sleep->seconds * 1000 : 0);
    }
    return h;
}
