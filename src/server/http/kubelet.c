/*
 * What only a node can answer: logs, exec, attach, port-forward and nodes/proxy are passed on to
 * the kubelet's own API with the server's client certificate. Upgraded connections are joined byte
 * for byte.
 */
#include "base/cleanup.h"
#include "base/mem.h"
#include "codec/json.h"
#include "net/http_client.h"
#include "server/controllers/meta.h"
#include "server/http/api.h"
#include <errno.h>
#include <stdlib.h>

#define CONNECT_MS 10000
#define HEADERS_MAX 32

struct pass {
    struct api_request *q; /* NULL once answered */
    struct server *s;
    struct http_client *client;
    struct http_call *call;
    struct loop_defer free_later;
    bool begun, upgrade;
    const char *protocol;
};

static void on_free_later(struct loop_defer *d)
{
    struct pass *p = container_of(d, struct pass, free_later);

    http_client_free(p->client);
    free(p);
}

static void pass_end(struct pass *p)
{
    p->q = NULL;
    loop_defer_start(p->s->loop, &p->free_later, on_free_later);
}

static void on_gone(struct http_exchange *x, void *arg)
{
    struct pass *p = arg;

    (void)x;
    http_call_cancel(p->call);
    p->call = NULL;
    api_request_free(p->q);
    pass_end(p);
}

static void on_response(struct http_call *c, const struct http_response *r, void *arg)
{
    struct pass *p = arg;
    cleanup_free char *type = str_dup(http_headers_get(r->headers, "Content-Type"));

    (void)c;
    p->begun = true;
    http_respond_begin(p->q->x, r->status, type[0] ? type : "text/plain");
}

static void on_room(struct http_exchange *x, void *arg)
{
    struct pass *p = arg;

    (void)x;
    if (p->call)
        http_call_resume(p->call);
}

static void on_data(struct http_call *c, struct str data, void *arg)
{
    struct pass *p = arg;

    http_write(p->q->x, data);
    if (http_write_pending(p->q->x) > STREAM_HIGH) {
        http_on_drain(p->q->x, on_room, p);
        http_call_pause(c);
    }
}

static void on_done(struct http_call *c, const struct http_result *r, void *arg)
{
    struct pass *p = arg;
    struct api_request *q = p->q;
    struct api_status st = {0};

    (void)c;
    p->call = NULL;
    if (p->begun) {
        if (r->error)
            http_abort(q->x);
        else
            http_end(q->x);
        api_request_free(q);
    } else {
        (void)status_set(&st, 502, "InternalError", "error dialing backend: %s",
                         error_message(r->error));
        answer_status(q, &st);
    }
    pass_end(p);
}

static const struct stream_events no_events;

static void on_upgrade(struct http_call *c, struct stream *s, const struct http_response *r,
                       void *arg)
{
    static const char *const copied[] = {"X-Stream-Protocol-Version", "Sec-WebSocket-Accept",
                                         "Sec-WebSocket-Protocol"};
    struct pass *p = arg;
    struct api_request *q = p->q;

    (void)c;
    p->call = NULL;
    for (size_t i = 0; i < ARRAY_LEN(copied); i++) {
        struct str v = http_headers_get(r->headers, copied[i]);
        cleanup_free char *text = v.p ? str_dup(v) : NULL;

        if (text)
            http_add_header(q->x, copied[i], text);
    }
    (void)stream_splice(http_upgrade(q->x, p->protocol, &no_events, NULL), s, NULL, NULL);
    api_request_free(q);
    pass_end(p);
}

/* Request headers that the kubelet needs and that are not ours to make. */
static size_t forward_headers(const struct api_request *q, bool upgrade, struct http_header *out)
{
    static const char *const plain[] = {"Accept"};
    static const char *const upgraded[] = {"X-Stream-Protocol-Version", "Sec-WebSocket-Key",
                                           "Sec-WebSocket-Version", "Sec-WebSocket-Protocol"};
    const char *const *names = upgrade ? upgraded : plain;
    size_t n_names = upgrade ? ARRAY_LEN(upgraded) : ARRAY_LEN(plain), n = 0;
    struct http_headers h = http_request_headers(q->x);

    for (size_t i = 0; i < h.n && n < HEADERS_MAX; i++)
        for (size_t k = 0; k < n_names; k++)
            if (str_ieq_z(h.v[i].name, names[k]) && n < HEADERS_MAX)
                out[n++] = h.v[i];
    return n;
}

/* Where a node's kubelet listens. */
static int kubelet_url(struct server *s, const char *node, char **ret, struct api_status *st)
{
    cleanup_json json_t *o = cluster_get(&s->registry.cluster, "nodes", NULL, node);
    const json_t *a;
    const char *host = NULL;
    int64_t port;

    if (!o)
        return status_set(st, 404, "NotFound", "nodes \"%s\" not found", node);
    json_each(json_at(o, "status", "addresses", NULL), i,
              a) if (!host || streq(json_text_or(a, "type", ""), "InternalIP")) host =
        json_text_or(a, "address", NULL);
    if (!host)
        return status_set(st, 500, "InternalError", "node \"%s\" has announced no address yet",
                          node);
    port = json_int_or(json_at(o, "status", "daemonEndpoints", "kubeletEndpoint", NULL), "Port",
                       10250);
    *ret = xasprintf(strchr(host, ':') ? "https://[%s]:%d" : "https://%s:%d", host, (int)port);
    return 0;
}

static void start(struct api_request *q, const char *base_url, const char *path, struct str body)
{
    struct http_client_config cfg = {
        .base_url = base_url, .tls = q->s->kubelet_tls, .connect_timeout_ms = CONNECT_MS};
    struct http_header headers[HEADERS_MAX];
    cleanup_free char *method = str_dup(http_method(q->x)),
                      *type = str_dup(http_header(q->x, "Content-Type"));
    struct http_call_spec spec = {.path = path,
                                  .headers = headers,
                                  .timeout_ms = -1,
                                  .on_response = on_response,
                                  .on_data = on_data,
                                  .on_done = on_done,
                                  .on_upgrade = on_upgrade,
                                  .body = body};
    struct pass *p = xcalloc(1, sizeof *p);
    struct api_status st = {0};
    struct error *err = NULL;

    p->q = q;
    p->s = q->s;
    p->protocol = http_wants_upgrade(q->x, "SPDY/3.1")    ? "SPDY/3.1"
                  : http_wants_upgrade(q->x, "websocket") ? "websocket"
                                                          : NULL;
    spec.method = method;
    spec.content_type = type[0] ? type : NULL;
    spec.upgrade = p->protocol;
    spec.headers_n = forward_headers(q, p->protocol != NULL, headers);
    spec.arg = p;
    if (http_client_new(q->s->loop, &cfg, &p->client, &err) == 0 &&
        http_call_start(p->client, &spec, &p->call, &err) == 0) {
        http_on_abort(q->x, on_gone, p);
        return;
    }
    (void)status_set(&st, 500, "InternalError", "%s", error_message(err));
    error_free(err);
    answer_status(q, &st);
    http_client_free(p->client);
    free(p);
}

/* Container named in the query, or the only or default one. */
static int pick_container(struct api_request *q, const json_t *pod, char **ret,
                          struct api_status *st)
{
    struct str asked = http_query_get(q->x, "container");
    json_t *list = json_at(pod, "spec", "containers", NULL);
    const char *fallback = meta_annotation(pod, "kubectl.kubernetes.io/default-container");
    static const char *const lists[] = {"containers", "initContainers", "ephemeralContainers"};
    const json_t *c;
    struct buf names;

    if (!asked.n && fallback)
        asked = str_of(fallback);
    if (!asked.n && json_array_size(list) == 1)
        asked = str_of(json_text_or(json_array_get(list, 0), "name", ""));
    buf_init(&names, 8192);
    for (size_t k = 0; k < ARRAY_LEN(lists); k++) {
        json_each(json_at(pod, "spec", lists[k], NULL), i, c)
        {
            const char *name = json_text_or(c, "name", "");

            if (asked.n && str_eq_z(asked, name)) {
                buf_fini(&names);
                *ret = xstrdup(name);
                return 0;
            }
            (void)buf_printf(&names, "%s%s", names.n ? " " : "", name);
        }
    }
    if (asked.n)
        (void)status_bad(st, "container %.*s is not valid for pod %s", STR_FMT(asked), q->name);
    else
        (void)status_bad(st, "a container name must be specified for pod %s, choose one of: [%s]",
                         q->name, names.p);
    buf_fini(&names);
    return -1;
}

/* Query words of the API and of the kubelet differ for the streams. */
static void stream_query(struct api_request *q, struct buf *path)
{
    static const char *const words[][2] = {
        {"stdin", "input"}, {"stdout", "output"}, {"stderr", "error"}, {"tty", "tty"}};
    struct str command;

    (void)buf_add_char(path, '?');
    for (size_t i = 0; (command = http_query_get_nth(q->x, "command", i)).p; i++) {
        (void)buf_add_z(path, "command=");
        (void)buf_add_url_escaped(path, command);
        (void)buf_add_char(path, '&');
    }
    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        if (http_query_bool(q->x, words[i][0]))
            (void)buf_printf(path, "%s=1&", words[i][1]);
}

static int pod_path(struct api_request *q, const json_t *pod, struct buf *path,
                    struct api_status *st)
{
    cleanup_free char *container = NULL;

    if (streq(q->sub, "portforward")) {
        (void)buf_printf(path, "/portForward/%s/%s", q->ns, q->name);
        if (http_query(q->x).n)
            (void)buf_printf(path, "?%.*s", STR_FMT(http_query(q->x)));
        return 0;
    }
    if (pick_container(q, pod, &container, st) < 0)
        return -1;
    if (streq(q->sub, "log")) {
        (void)buf_printf(path, "/containerLogs/%s/%s/%s?%.*s", q->ns, q->name, container,
                         STR_FMT(http_query(q->x)));
        return 0;
    }
    (void)buf_printf(path, "/%s/%s/%s/%s", q->sub, q->ns, q->name, container);
    stream_query(q, path);
    return 0;
}

static void pass_pod(struct api_request *q)
{
    cleanup_json json_t *pod = NULL;
    cleanup_free char *url = NULL;
    cleanup_buf struct buf path = {.max = 64 * 1024};
    struct api_status st = {0};
    const char *node;

    if (registry_get(&q->s->registry, q->r, q->ns, q->name, &pod, &st) < 0) {
        answer_status(q, &st);
        return;
    }
    node = json_text_at(pod, "spec", "nodeName", NULL);
    if (!node || !node[0])
        (void)status_bad(&st, "pod %s does not have a host assigned", q->name);
    else if (pod_path(q, pod, &path, &st) == 0)
        (void)kubelet_url(q->s, node, &url, &st);
    if (st.code)
        answer_status(q, &st);
    else
        start(q, url, path.p, STR_NULL);
}

static void on_proxy_body(struct http_exchange *x, struct str body, void *arg)
{
    struct api_request *q = arg;
    cleanup_free char *url = NULL, *path = NULL;
    struct api_status st = {0};

    (void)x;
    path = http_query(q->x).n ? xasprintf("%s?%.*s", q->rest, STR_FMT(http_query(q->x)))
                              : xstrdup(q->rest);
    if (kubelet_url(q->s, q->name, &url, &st) < 0)
        answer_status(q, &st);
    else
        start(q, url, path, body);
}

void handle_kubelet(struct api_request *q)
{
    if (streq(q->sub, "proxy"))
        http_read_body(q->x, API_BODY_MAX, on_proxy_body, q);
    else
        pass_pod(q);
}
