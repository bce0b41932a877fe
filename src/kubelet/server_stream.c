/*
 * exec, attach, port-forward: the engine is asked for a URL by CRI, the client's upgrade is
 * repeated there, and then bytes are passed both ways without being looked at: SPDY and WebSocket
 * alike. run is ExecSync.
 */
#include "base/cleanup.h"
#include "base/log.h"
#include "base/mem.h"
#include "cri.pb-c.h"
#include "kubelet/server_private.h"
#include "net/http_client.h"
#include <errno.h>
#include <stdlib.h>

#define DEADLINE_MS 30000
#define RUN_DEADLINE_MS 120000
#define COMMAND_WORDS_MAX 1000
#define HEADERS_MAX 16
#define PROXIES_MAX 1000
#define SERVICE "/runtime.v1.RuntimeService/"

struct proxy {
    struct list link;
    struct kubelet_server *server;
    struct http_exchange *x; /* NULL once upgraded */
    char protocol[32];
    struct http_client *client;
    struct http_call *call;
    struct splice *splice;
    struct loop_defer end;
};

static void on_end(struct loop_defer *d)
{
    struct proxy *p = container_of(d, struct proxy, end);
    list_remove(&p->link);
    http_client_free(p->client);
    free(p);
}

/* The client is freed outside its own callbacks. */
static void end_later(struct proxy *p)
{
    p->call = NULL;
    loop_defer_start(p->server->loop, &p->end, on_end);
}

static void on_client_gone(struct http_exchange *x, void *arg)
{
    (void)x;
    struct proxy *p = arg;
    p->x = NULL;
    http_call_cancel(p->call);
    end_later(p);
}

static void on_splice_done(struct splice *sp, const struct error *err, void *arg)
{
    (void)sp;
    (void)err;
    struct proxy *p = arg;
    p->splice = NULL;
    end_later(p);
}

/* Headers of the engine's 101 that the client has to see; the rest is between us and the engine. */
static void pass_headers(struct http_exchange *x, struct http_headers h)
{
    for (size_t i = 0; i < h.n; i++) {
        struct str n = h.v[i].name;
        if (!str_ieq_z(n, "X-Stream-Protocol-Version") && !str_ieq_z(n, "Sec-WebSocket-Accept") &&
            !str_ieq_z(n, "Sec-WebSocket-Protocol"))
            continue;
        cleanup_free char *name = str_dup(n), *value = str_dup(h.v[i].value);
        http_add_header(x, name, value);
    }
}

static void on_upgrade(struct http_call *c, struct stream *engine, const struct http_response *r,
                       void *arg)
{
    (void)c;
    static const struct stream_events none = {0};
    struct proxy *p = arg;
    struct http_exchange *x = p->x;
    p->x = NULL;
    p->call = NULL;
    pass_headers(x, r->headers);
    struct stream *client = http_upgrade(x, p->protocol, &none, NULL);
    p->splice = stream_splice(client, engine, on_splice_done, p);
}

static void on_refused(struct http_call *c, const struct http_result *r, void *arg)
{
    (void)c;
    struct proxy *p = arg;
    struct http_exchange *x = p->x;
    p->x = NULL;
    if (r->error)
        http_respond_text(x, 502, "the container engine's streaming server: %s",
                          error_message(r->error));
    else
        http_respond(x, r->status >= 200 ? r->status : 502, "text/plain; charset=utf-8", r->body);
    end_later(p);
}

static size_t forward_headers(struct http_exchange *x, struct http_header *out)
{
    static const char *const names[] = {"X-Stream-Protocol-Version", "Sec-WebSocket-Key",
                                        "Sec-WebSocket-Version", "Sec-WebSocket-Protocol",
                                        "Sec-WebSocket-Extensions"};
    struct http_headers h = http_request_headers(x);
    size_t n = 0;
    for (size_t i = 0; i < h.n; i++)
        for (size_t k = 0; k < ARRAY_LEN(names); k++)
            if (n < HEADERS_MAX && str_ieq_z(h.v[i].name, names[k]))
                out[n++] = h.v[i];
    return n;
}

static bool wanted_protocol(struct http_exchange *x, char out[static 32])
{
    static const char *const known[] = {"SPDY/3.1", "websocket"};
    for (size_t i = 0; i < ARRAY_LEN(known); i++)
        if (http_wants_upgrade(x, known[i])) {
            (void)snprintf(out, 32, "%s", known[i]);
            return true;
        }
    return false;
}

/* Splits "http://host:port/path?query" into what a client wants. */
static bool split_url(const char *url, char **ret_base, const char **ret_path)
{
    const char *host = strstr(url, "://");
    const char *path = host ? strchr(host + 3, '/') : NULL;
    if (!path)
        return false;
    *ret_base = xstrndup(url, (size_t)(path - url));
    *ret_path = path;
    return true;
}

static void proxy_to(struct request *q, const char *url)
{
    struct kubelet_server *s = q->server;
    cleanup_free char *base = NULL;
    const char *path;
    cleanup_error struct error *err = NULL;
    struct http_header headers[HEADERS_MAX];
    struct proxy *p = xcalloc(1, sizeof(*p));
    size_t n = 0;
    list_for(i, &s->proxies) n++;
    struct http_client_config hc = {.connections_max = 1};
    if (n >= PROXIES_MAX || !wanted_protocol(q->x, p->protocol) || !split_url(url, &base, &path)) {
        request_fail(q, n >= PROXIES_MAX ? 429 : 400, "%s",
                     n >= PROXIES_MAX ? "too many sessions are open"
                                      : "this needs an upgrade to SPDY/3.1 or websocket");
        free(p);
        return;
    }
    hc.base_url = base;
    p->server = s;
    if (http_client_new(s->loop, &hc, &p->client, &err) < 0) {
        request_fail(q, 502, "the container engine's streaming URL: %s", error_message(err));
        free(p);
        return;
    }
    struct http_call_spec spec = {.method = http_method_is(q->x, "GET") ? "GET" : "POST",
                                  .path = path,
                                  .headers = headers,
                                  .headers_n = forward_headers(q->x, headers),
                                  .upgrade = p->protocol,
                                  .timeout_ms = DEADLINE_MS,
                                  .collect_max = (size_t)64 << 10,
                                  .on_done = on_refused,
                                  .on_upgrade = on_upgrade,
                                  .arg = p};
    list_add_tail(&s->proxies, &p->link);
    if (http_call_start(p->client, &spec, &p->call, &err) < 0) {
        request_fail(q, 502, "%s", error_message(err));
        end_later(p);
        return;
    }
    p->x = request_take(q);
    request_end(q);
    http_on_abort(p->x, on_client_gone, p);
}

static void on_url(struct request *q, int code, const char *message, const char *url)
{
    q->grpc = NULL;
    if (code == GRPC_OK)
        proxy_to(q, url);
    else
        request_fail(q,
                     code == GRPC_NOT_FOUND          ? 404
                     : code == GRPC_INVALID_ARGUMENT ? 400
                                                     : 500,
                     "%s", message);
}

/* ---- exec ---- */

/* The kubelet's own names are input, output, error; kubectl's are accepted as well. */
static bool flag(struct http_exchange *x, const char *own, const char *other)
{
    return http_query_bool(x, own) || http_query_bool(x, other);
}

static void on_exec(int code, const char *message, const ProtobufCMessage *reply, void *arg)
{
    on_url(arg, code, message, reply ? ((const Runtime__V1__ExecResponse *)reply)->url : NULL);
}

static void exec_found(struct request *q, const char *id)
{
    struct arena *a = http_arena(q->x);
    Runtime__V1__ExecRequest m = RUNTIME__V1__EXEC_REQUEST__INIT;
    m.container_id = arena_strdup(a, id);
    m.cmd = arena_alloc(a, COMMAND_WORDS_MAX * sizeof(char *));
    struct str word;
    while (m.n_cmd < COMMAND_WORDS_MAX && (word = http_query_get_nth(q->x, "command", m.n_cmd)).p)
        m.cmd[m.n_cmd++] = arena_strndup(a, word.p, word.n);
    m.tty = http_query_bool(q->x, "tty");
    m.stdin = flag(q->x, "input", "stdin");
    m.stdout = flag(q->x, "output", "stdout");
    m.stderr = !m.tty && flag(q->x, "error", "stderr");
    if (!m.n_cmd) {
        request_fail(q, 400, "you must specify at least 1 command");
        return;
    }
    if (!m.stdin && !m.stdout && !m.stderr) {
        request_fail(q, 400, "you must specify at least 1 of stdin, stdout, stderr");
        return;
    }
    q->grpc = grpc_call_start(q->server->cri, SERVICE "Exec", &m.base,
                              &runtime__v1__exec_response__descriptor, DEADLINE_MS, on_exec, q);
}

void serve_exec(struct request *q)
{
    request_find_container(q, exec_found);
}

/* ---- attach ---- */

static void on_attach(int code, const char *message, const ProtobufCMessage *reply, void *arg)
{
    on_url(arg, code, message, reply ? ((const Runtime__V1__AttachResponse *)reply)->url : NULL);
}

static void attach_found(struct request *q, const char *id)
{
    Runtime__V1__AttachRequest m = RUNTIME__V1__ATTACH_REQUEST__INIT;
    m.container_id = arena_strdup(http_arena(q->x), id);
    m.tty = http_query_bool(q->x, "tty");
    m.stdin = flag(q->x, "input", "stdin");
    m.stdout = flag(q->x, "output", "stdout");
    m.stderr = !m.tty && flag(q->x, "error", "stderr");
    q->grpc = grpc_call_start(q->server->cri, SERVICE "Attach", &m.base,
                              &runtime__v1__attach_response__descriptor, DEADLINE_MS, on_attach, q);
}

void serve_attach(struct request *q)
{
    request_find_container(q, attach_found);
}

/* ---- port-forward ---- */

static void on_forward(int code, const char *message, const ProtobufCMessage *reply, void *arg)
{
    on_url(arg, code, message,
           reply ? ((const Runtime__V1__PortForwardResponse *)reply)->url : NULL);
}

static void forward_found(struct request *q, const char *id)
{
    int32_t ports[16];
    Runtime__V1__PortForwardRequest m = RUNTIME__V1__PORT_FORWARD_REQUEST__INIT;
    m.pod_sandbox_id = arena_strdup(http_arena(q->x), id);
    m.port = ports;
    struct str text;
    int64_t v;
    /* WebSocket clients name the ports here ("ports" by comma or repeated), SPDY ones later in each
     * stream */
    for (size_t i = 0; (text = http_query_get_nth(q->x, "port", i)).p; i++)
        while (text.p && m.n_port < ARRAY_LEN(ports))
            if (str_to_i64(str_split(&text, ','), 1, 65535, &v) == 0)
                ports[m.n_port++] = (int32_t)v;
    q->grpc = grpc_call_start(q->server->cri, SERVICE "PortForward", &m.base,
                              &runtime__v1__port_forward_response__descriptor, DEADLINE_MS,
                              on_forward, q);
}

void serve_port_forward(struct request *q)
{
    request_find_sandbox(q, forward_found);
}

/* ---- run ---- */

static void on_run(int code, const char *message, const ProtobufCMessage *reply, void *arg)
{
    struct request *q = arg;
    q->grpc = NULL;
    if (code != GRPC_OK) {
        request_fail(q, 500, "%s", message);
        return;
    }
    const Runtime__V1__ExecSyncResponse *m = (const Runtime__V1__ExecSyncResponse *)reply;
    cleanup_buf struct buf b;
    buf_init(&b, (size_t)32 << 20);
    (void)buf_add(&b, m->stdout.data, m->stdout.len);
    (void)buf_add(&b, m->stderr.data, m->stderr.len);
    http_respond(request_take(q), m->exit_code ? 500 : 200, "text/plain; charset=utf-8",
                 buf_str(&b));
    request_end(q);
}

static void run_found(struct request *q, const char *id)
{
    struct arena *a = http_arena(q->x);
    char *words[64];
    struct str cmd = http_query_get(q->x, "cmd");
    Runtime__V1__ExecSyncRequest m = RUNTIME__V1__EXEC_SYNC_REQUEST__INIT;
    m.container_id = arena_strdup(a, id);
    m.cmd = words;
    m.timeout = RUN_DEADLINE_MS / 1000;
    while (cmd.p && m.n_cmd < ARRAY_LEN(words)) {
        struct str word = str_split(&cmd, ' ');
        if (word.n)
            words[m.n_cmd++] = arena_strndup(a, word.p, word.n);
    }
    if (!m.n_cmd) {
        request_fail(q, 400, "cmd is missing");
        return;
    }
    q->grpc = grpc_call_start(q->server->cri, SERVICE "ExecSync", &m.base,
                              &runtime__v1__exec_sync_response__descriptor, RUN_DEADLINE_MS + 5000,
                              on_run, q);
}

void serve_run(struct request *q)
{
    if (!http_method_is(q->x, "POST"))
        request_fail(q, 405, "run takes POST");
    else
        request_find_container(q, run_found);
}

void server_streams_stop(struct kubelet_server *s)
{
    while (!list_empty(&s->proxies)) {
        struct proxy *p = container_of(s->proxies.next, struct proxy, link);
        list_remove(&p->link);
        loop_defer_stop(&p->end);
        splice_cancel(p->splice);
        if (p->x)
            http_abort(p->x);
        http_client_free(p->client);
        free(p);
    }
}
