#include "kubelet/server.h"
#include "base/cleanup.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "kubelet/server_private.h"
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <sys/stat.h>

#define LOG_DIR "/var/log"
#define ANSWER_BYTES_MAX ((size_t)64 << 20)
#define FILE_BYTES_MAX ((size_t)16 << 20)

/* ---- requests ---- */

static void on_abort(struct http_exchange *x, void *arg)
{
    (void)x;
    struct request *q = arg;
    q->x = NULL;
    request_end(q);
}

void request_end(struct request *q)
{
    kube_call_cancel(q->call);
    grpc_call_cancel(q->grpc);
    list_remove(&q->link);
    free(q);
}

struct http_exchange *request_take(struct request *q)
{
    struct http_exchange *x = q->x;
    q->x = NULL;
    return x;
}

void request_fail(struct request *q, int status, const char *fmt, ...)
{
    cleanup_buf struct buf b;
    buf_init(&b, (size_t)64 << 10);
    va_list ap;
    va_start(ap, fmt);
    (void)buf_vprintf(&b, fmt, ap);
    va_end(ap);
    http_respond_text(request_take(q), status, "%s", b.p ? b.p : "");
    request_end(q);
}

static void respond(struct request *q, const char *type, struct buf *b)
{
    if (b->overflowed) {
        request_fail(q, 500, "the answer is too large");
        return;
    }
    http_respond(request_take(q), 200, type, buf_str(b));
    request_end(q);
}

/* ---- small handlers ---- */

static void serve_healthz(struct request *q)
{
    struct kubelet_server *s = q->server;
    const char *why = s->cfg.unhealthy ? s->cfg.unhealthy(s->cfg.arg) : NULL;
    if (why) {
        request_fail(q, 500, "%s", why);
        return;
    }
    http_respond(request_take(q), 200, "text/plain; charset=utf-8", STR("ok"));
    request_end(q);
}

static void serve_pods(struct request *q)
{
    cleanup_buf struct buf b;
    buf_init(&b, ANSWER_BYTES_MAX);
    q->server->cfg.pods_json(&b, q->server->cfg.arg);
    respond(q, "application/json", &b);
}

static void serve_configz(struct request *q)
{
    cleanup_buf struct buf b;
    buf_init(&b, ANSWER_BYTES_MAX);
    (void)buf_add_z(&b, "{\"kubeletconfig\":");
    q->server->cfg.configz_json(&b, q->server->cfg.arg);
    (void)buf_add_char(&b, '}');
    respond(q, "application/json", &b);
}

static int add_entry(int dirfd, const char *name, unsigned char type, void *arg)
{
    (void)dirfd;
    struct buf *self = arg;
    (void)buf_add_z(self, "<a href=\"");
    (void)buf_add_url_escaped(self, str_of(name));
    (void)buf_printf(self, "%s\">", type == 4 ? "/" : "");
    for (const char *p = name; *p; p++)
        (void)(*p == '<'   ? buf_add_z(self, "&lt;")
               : *p == '&' ? buf_add_z(self, "&amp;")
                           : buf_add_char(self, *p));
    (void)buf_add_z(self, "</a>\n");
    return 0;
}

/* Files below /var/log, never outside it whatever links say. */
static void serve_log_files(struct request *q)
{
    size_t n;
    const struct str *seg = http_segments(q->x, &n);
    cleanup_buf struct buf path, body;
    buf_init(&path, 4096);
    buf_init(&body, FILE_BYTES_MAX);
    for (size_t i = 1; i < n; i++)
        (void)buf_printf(&path, "%s%.*s", i > 1 ? "/" : "", STR_FMT(seg[i]));
    cleanup_close int root = open(LOG_DIR, O_PATH | O_DIRECTORY | O_CLOEXEC);
    cleanup_close int fd =
        root < 0 ? -1 : open_in_root(root, path.n ? path.p : ".", O_RDONLY | O_NONBLOCK, 0);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0 || (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode))) {
        request_fail(q, 404, "no such log file");
        return;
    }
    cleanup_free char *self = xasprintf("/proc/self/fd/%d", fd);
    if (S_ISDIR(st.st_mode)) {
        (void)buf_add_z(&body, "<pre>\n");
        (void)dir_each(self, add_entry, &body, NULL);
        (void)buf_add_z(&body, "</pre>\n");
        respond(q, "text/html; charset=utf-8", &body);
        return;
    }
    buf_fini(&body);
    if (file_read(self, FILE_BYTES_MAX, &body, NULL) < 0) {
        request_fail(q, 413, "the file is larger than %zu MiB", FILE_BYTES_MAX >> 20);
        return;
    }
    respond(q, "text/plain; charset=utf-8", &body);
}

/* ---- routes ---- */

static const struct route routes[] = {
    {"healthz", "healthz", serve_healthz, true},
    {"pods", "pods", serve_pods, true},
    {"configz", "configz", serve_configz, false},
    {"containerLogs", "proxy", serve_logs, false},
    {"exec", "proxy", serve_exec, false},
    {"attach", "proxy", serve_attach, false},
    {"portForward", "proxy", serve_port_forward, false},
    {"run", "proxy", serve_run, false},
    {"stats", "stats", serve_stats, true},
    {"metrics", "metrics", serve_metrics, true},
    {"logs", "log", serve_log_files, false},
};

static const struct route *find_route(struct http_exchange *x)
{
    size_t n;
    const struct str *seg = http_segments(x, &n);
    for (size_t i = 0; n && i < ARRAY_LEN(routes); i++)
        if (str_eq_z(seg[0], routes[i].first))
            return &routes[i];
    return NULL;
}

static struct request *request_new(struct kubelet_server *s, struct http_exchange *x,
                                   const struct route *r)
{
    struct request *q = xcalloc(1, sizeof(*q));
    q->server = s;
    q->x = x;
    q->route = r;
    list_add_tail(&s->requests, &q->link);
    http_on_abort(x, on_abort, q);
    return q;
}

static void on_authorized(struct request *q)
{
    q->route->handle(q);
}

static void on_authenticated(struct request *q)
{
    request_authorize(q, on_authorized);
}

static void on_main_request(struct http_exchange *x, void *arg)
{
    struct kubelet_server *s = arg;
    const struct route *r = find_route(x);
    static const struct route unknown = {"", "proxy", NULL, false};
    struct request *q = request_new(s, x, r ? r : &unknown);
    if (!r)
        request_fail(q, 404, "404 page not found");
    else
        request_authenticate(q, on_authenticated);
}

static void on_read_only_request(struct http_exchange *x, void *arg)
{
    struct kubelet_server *s = arg;
    const struct route *r = find_route(x);
    if (!r || !r->read_only) {
        http_respond_text(x, 404, "404 page not found");
        return;
    }
    if (!http_method_is(x, "GET") && !http_method_is(x, "HEAD")) {
        http_respond_text(x, 405, "this port is read-only");
        return;
    }
    r->handle(request_new(s, x, r));
}

static void on_healthz_request(struct http_exchange *x, void *arg)
{
    struct str p = http_path(x);
    if (str_eq_z(p, "/healthz") || str_starts(p, STR("/healthz/")))
        serve_healthz(request_new(arg, x, &routes[0]));
    else
        http_respond_text(x, 404, "404 page not found");
}

/* ---- lifecycle ---- */

static int listen_one(struct kubelet_server *s, http_exchange_fn fn, const char *address, int port,
                      struct tls_server *tls, const char *flag, struct http_server **ret,
                      struct error **err)
{
    if (!port)
        return 0;
    struct http_server_config hc = {.on_request = fn, .arg = s};
    *ret = http_server_new(s->loop, &hc);
    int r = http_server_listen_tcp(*ret, address, (uint16_t)port, tls, err);
    return r ? error_wrap(err, "kubelet port %d (%s)", port, flag) : 0;
}

int kubelet_server_start(struct loop *l, const struct kubelet_server_config *cfg,
                         struct kube_client *client, struct grpc_client *cri,
                         struct kubelet_server **ret, struct error **err)
{
    struct kubelet_server *s = xcalloc(1, sizeof(*s));
    s->loop = l;
    s->cfg = *cfg;
    s->address = xstrdup(strna(cfg->address));
    s->healthz_address = xstrdup(cfg->healthz_address ? cfg->healthz_address : "127.0.0.1");
    s->node_name = xstrdup(cfg->node_name);
    s->root_dir = xstrdup(cfg->root_dir);
    s->client = client;
    s->cri = cri;
    s->tls = cfg->tls ? tls_server_ref(cfg->tls) : NULL;
    map_init(&s->authn_cache);
    map_init(&s->authz_cache);
    list_init(&s->requests);
    list_init(&s->proxies);
    list_init(&s->logs);
    int r = listen_one(s, on_main_request, s->address, cfg->port, s->tls, "--port", &s->main, err);
    if (!r)
        r = listen_one(s, on_read_only_request, s->address, cfg->read_only_port, NULL,
                       "--read-only-port", &s->read_only, err);
    if (!r)
        r = listen_one(s, on_healthz_request, s->healthz_address, cfg->healthz_port, NULL,
                       "--healthz-port", &s->healthz, err);
    if (r) {
        kubelet_server_stop(s);
        return r;
    }
    *ret = s;
    return 0;
}

void kubelet_server_set_client(struct kubelet_server *s, struct kube_client *client)
{
    s->client = client;
    for (struct list *p = s->requests.next; p != &s->requests; p = p->next) {
        struct request *q = container_of(p, struct request, link);
        q->call =
            NULL; /* went with the old client, which must still be there when this is called */
    }
}

void kubelet_server_stop(struct kubelet_server *s)
{
    if (!s)
        return;
    server_streams_stop(s);
    server_logs_stop(s);
    http_server_free(s->main);
    http_server_free(s->read_only);
    http_server_free(s->healthz);
    while (!list_empty(&s->requests))
        request_end(container_of(s->requests.next, struct request, link));
    auth_caches_free(s);
    tls_server_unref(s->tls);
    free(s->address);
    free(s->healthz_address);
    free(s->node_name);
    free(s->root_dir);
    free(s);
}
