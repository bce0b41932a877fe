#include "base/file.h"
#include "base/mem.h"
#include "engine/docker/docker_private.h"
#include <errno.h>
#include <sys/utsname.h>

/* ---- answers ---- */
void docker_json(struct http_exchange *x, int status, json_t *body)
{
    cleanup_json json_t *owned = body;
    cleanup_buf struct buf b = {0};

    buf_init(&b, BUF_UNBOUNDED);
    (void)json_write(owned, &b);
    (void)buf_add_char(&b, '\n');
    http_respond(x, status, "application/json", buf_str(&b));
}

void docker_fail(struct http_exchange *x, int status, const char *message)
{
    docker_json(x, status, json_pack("{ss}", "message", message));
}

void docker_fail_error(struct http_exchange *x, const struct error *err)
{
    int status = err->code == ENOENT                         ? 404
                 : err->code == EINVAL                       ? 400
                 : err->code == EBUSY || err->code == EEXIST ? 409
                 : err->code == ENOTSUP                      ? 501
                                                             : 500;
    docker_fail(x, status, error_message(err));
}

/* ---- ping and version ---- */
static const char *machine_arch(void)
{
    static struct utsname u;

    (void)uname(&u);
    return streq(u.machine, "x86_64") ? "amd64" : streq(u.machine, "aarch64") ? "arm64" : u.machine;
}

static void ping(const struct docker_request *q)
{
    http_add_header(q->x, "Api-Version", DOCKER_API_VERSION);
    http_add_header(q->x, "Docker-Experimental", "false");
    http_add_header(q->x, "Ostype", "linux");
    http_add_header(q->x, "Cache-Control", "no-cache, no-store, must-revalidate");
    http_respond(q->x, 200, "text/plain; charset=utf-8", STR("OK"));
}

static void version(const struct docker_request *q)
{
    struct utsname u;

    (void)uname(&u);
    json_t *details = json_pack("{ss ss ss ss ss ss}", "ApiVersion", DOCKER_API_VERSION,
                                "MinAPIVersion", "1.24", "Arch", machine_arch(), "KernelVersion",
                                u.release, "Os", "linux", "Experimental", "false");
    json_t *engine =
        json_pack("{ss ss so}", "Name", "Engine", "Version", SKIFF_VERSION, "Details", details);
    docker_json(q->x, 200,
                json_pack("{s{ss} s[o] ss ss ss ss ss ss ss ss}", "Platform", "Name", "skiff",
                          "Components", engine, "Version", SKIFF_VERSION, "ApiVersion",
                          DOCKER_API_VERSION, "MinAPIVersion", "1.24", "Os", "linux", "Arch",
                          machine_arch(), "KernelVersion", u.release, "GitCommit", "", "GoVersion",
                          ""));
}

/* `docker inspect NAME` asks for a container first and goes on to images only after this answer. */
static void no_container(const struct docker_request *q)
{
    cleanup_free char *name = docker_path_name(q, 1);
    cleanup_free char *message =
        xasprintf("No such container: %s (containers of pods are not shown here yet)", name);

    docker_fail(q->x, 404, message);
}

/* ---- routes ---- */
/* "*" is one or more segments (image names have slashes). */
static const struct route {
    const char *method, *path;
    void (*serve)(const struct docker_request *q);
} routes[] = {
    {"GET", "_ping", ping},
    {"HEAD", "_ping", ping},
    {"GET", "version", version},
    {"GET", "containers/*/json", no_container},
    {"GET", "images/json", docker_images_list},
    {"POST", "images/load", docker_image_load},
    {"POST", "images/create", docker_image_pull},
    {"GET", "images/*/json", docker_image_inspect},
    {"GET", "images/*/history", docker_image_history},
    {"POST", "images/*/tag", docker_image_tag},
    {"DELETE", "images/*", docker_image_remove},
};

static bool route_fits(const char *pattern, const struct docker_request *q)
{
    struct str rest = str_of(pattern);
    size_t i = 0;

    while (rest.p) {
        struct str word = str_split(&rest, '/');
        if (str_eq_z(word, "*")) {
            size_t after = 0;
            for (struct str tail = rest; tail.p; after++)
                (void)str_split(&tail, '/');
            if (q->path_n < i + 1 + after)
                return false;
            i = q->path_n - after;
        } else if (i >= q->path_n || !str_eq(word, q->path[i++])) {
            return false;
        }
    }
    return i == q->path_n;
}

char *docker_path_name(const struct docker_request *q, size_t last)
{
    struct buf b;

    buf_init(&b, 64 * 1024);
    for (size_t i = 1; i + last < q->path_n; i++) {
        if (i > 1)
            (void)buf_add_char(&b, '/');
        (void)buf_add_str(&b, q->path[i]);
    }
    return b.p ? buf_take(&b) : xstrdup("");
}

static bool is_version(struct str s)
{
    if (s.n < 4 || s.p[0] != 'v')
        return false;
    for (size_t i = 1; i < s.n; i++)
        if (s.p[i] != '.' && (s.p[i] < '0' || s.p[i] > '9'))
            return false;
    return true;
}

static void on_request(struct http_exchange *x, void *arg)
{
    struct docker_request q = {.api = arg, .x = x};
    cleanup_buf struct buf b = {0};

    q.path = http_segments(x, &q.path_n);
    if (q.path_n && is_version(q.path[0])) {
        q.path++;
        q.path_n--;
    }
    http_add_header(x, "Server", "skiff/" SKIFF_VERSION " (linux)");
    for (size_t i = 0; i < ARRAY_LEN(routes); i++)
        if (http_method_is(x, routes[i].method) && route_fits(routes[i].path, &q)) {
            routes[i].serve(&q);
            return;
        }
    buf_init(&b, 8192);
    (void)buf_printf(&b,
                     "%.*s %.*s is not served by this engine yet; pods are reached with kubectl",
                     STR_FMT(http_method(x)), STR_FMT(http_path(x)));
    docker_fail(x, 501, b.p);
}

/* ---- lifecycle ---- */
int docker_api_start(struct loop *l, const char *socket_path, struct image_store *s,
                     struct docker_api **ret, struct error **err)
{
    struct docker_api *d = xcalloc(1, sizeof(*d));
    struct http_server_config cfg = {.on_request = on_request, .arg = d, .body_timeout_ms = 600000};
    int r = dir_make_parent(socket_path, 0755, err);

    d->images = s;
    d->http = http_server_new(l, &cfg);
    if (r == 0)
        r = http_server_listen_unix(d->http, socket_path, 0660, err);
    if (r < 0)
        docker_api_stop(d);
    else
        *ret = d;
    return r;
}

void docker_api_stop(struct docker_api *d)
{
    if (!d)
        return;
    http_server_free(d->http);
    free(d);
}
