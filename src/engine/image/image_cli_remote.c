/* The image commands over the Docker API. */
#include "base/mem.h"
#include "codec/json.h"
#include "engine/docker/docker.h"
#include "engine/image/image_cli_private.h"
#include "engine/image/ref.h"
#include "net/http_client.h"
#include <errno.h>
#include <sys/stat.h>

#define ANSWER_MAX (64u << 20)
#define PIECE (128u * 1024)

struct remote {
    struct image_cli *cli;
    struct http_call *call;
    int fd;             /* load: being sent */
    struct buf pending; /* of a line */
    char *piece;
    int rc;
    void (*on_answer)(struct remote *m, json_t *answer);
};

static void say_line(struct remote *m, struct str line)
{
    cleanup_json json_t *o = NULL;
    struct str text = str_trim(line);

    if (!text.n || json_parse(text, 1u << 20, "answer", &o, NULL) < 0)
        return;
    const char *failure = json_text_or(o, "error", json_text_or(o, "message", NULL)),
               *stream = json_text_or(o, "stream", NULL);
    const char *status = json_text_or(o, "status", NULL);
    if (failure) {
        (void)fprintf(stderr, "skiff image: %s\n", failure);
        m->rc = 1;
    } else if (stream) {
        (void)printf("%s", stream);
    } else if (status && !m->cli->quiet &&
               !json_object_get(json_object_get(o, "progressDetail"), "current")) {
        const char *id = json_text_or(o, "id", "");
        (void)printf("%s%s%s\n", id, *id ? ": " : "", status);
    }
    (void)fflush(stdout);
}

static void on_data(struct http_call *call, struct str data, void *arg)
{
    struct remote *m = arg;

    if (buf_add_str(&m->pending, data) < 0)
        return;
    for (char *end;
         !m->on_answer && (end = m->pending.p ? memchr(m->pending.p, '\n', m->pending.n) : NULL);) {
        size_t n = (size_t)(end - m->pending.p);
        say_line(m, (struct str){m->pending.p, n});
        buf_consume(&m->pending, n + 1);
    }
}

/* Sends what the queue has room for; a file is read here because this is a command, not a daemon.
 */
static void feed(struct remote *m)
{
    while (m->fd >= 0 && http_call_write_pending(m->call) < STREAM_HIGH) {
        ssize_t n = read(m->fd, m->piece, PIECE);
        if (n > 0) {
            http_call_write(m->call, (struct str){m->piece, (size_t)n});
            continue;
        }
        if (n < 0) {
            (void)fprintf(stderr, "skiff image: read: %s\n", strerror(errno));
            m->rc = 1;
        }
        (void)close(m->fd);
        m->fd = -1;
        http_call_write_end(m->call);
    }
}

static void on_drain(struct http_call *call, void *arg)
{
    feed(arg);
}

static void on_done(struct http_call *call, const struct http_result *r, void *arg)
{
    struct remote *m = arg;
    cleanup_json json_t *o = NULL;

    if (r->error && r->error->code != ECANCELED) {
        m->rc = image_cli_say(r->error);
    } else if (r->status >= 400) {
        struct str body = buf_str(&m->pending);
        if (body.n && json_parse(body, ANSWER_MAX, "answer", &o, NULL) == 0)
            (void)fprintf(stderr, "skiff image: %s\n",
                          json_text_or(o, "message", "the engine refused"));
        else if (!m->rc)
            (void)fprintf(stderr, "skiff image: the engine answers %d\n", r->status);
        m->rc = 1;
    } else if (m->on_answer && m->pending.n) {
        cleanup_error struct error *err = NULL;
        if (json_parse(buf_str(&m->pending), ANSWER_MAX, "answer", &o, &err) < 0)
            m->rc = image_cli_say(err);
        else
            m->on_answer(m, o);
    }
    loop_exit(m->cli->loop, 0);
}

static int remote_run(struct remote *m, struct http_call_spec *spec)
{
    cleanup_error struct error *err = NULL;

    spec->on_data = on_data;
    spec->on_drain = on_drain;
    spec->on_done = on_done;
    spec->arg = m;
    spec->timeout_ms = -1;
    buf_init(&m->pending, ANSWER_MAX);
    if (http_call_start(m->cli->client, spec, &m->call, &err) < 0) {
        m->rc = image_cli_say(err);
    } else {
        if (m->fd >= 0)
            feed(m);
        (void)loop_run(m->cli->loop);
    }
    if (m->fd >= 0)
        (void)close(m->fd);
    buf_fini(&m->pending);
    free(m->piece);
    return m->rc;
}

int image_cli_remote_load(struct image_cli *c, const char *file)
{
    cleanup_error struct error *err = NULL;
    struct remote m = {.cli = c, .fd = image_cli_open(file, &err)};
    struct stat st;

    if (m.fd < 0)
        return image_cli_say(err);
    struct http_call_spec spec = {.method = "POST",
                                  .path = "/v" DOCKER_API_VERSION "/images/load",
                                  .content_type = "application/x-tar",
                                  .stream_body = true};
    if (fstat(m.fd, &st) == 0 && S_ISREG(st.st_mode))
        spec.stream_length = st.st_size;
    m.piece = xmalloc(PIECE);
    return remote_run(&m, &spec);
}

static char *path_of(const char *before, const char *name, const char *after)
{
    struct buf b;

    buf_init(&b, 64 * 1024);
    (void)buf_printf(&b, "/v" DOCKER_API_VERSION "/%s", before);
    (void)buf_add_url_escaped(&b, str_of(name));
    (void)buf_add_z(&b, after);
    return buf_take(&b);
}

int image_cli_remote_pull(struct image_cli *c, const char *name)
{
    struct remote m = {.cli = c, .fd = -1};
    cleanup_error struct error *err = NULL;
    cleanup_free char *full = NULL;

    if (image_name_normalize(name, &full, &err) < 0)
        return image_cli_say(err);
    cleanup_free char *path = path_of("images/create?fromImage=", full, "");
    struct http_call_spec spec = {.method = "POST", .path = path};
    return remote_run(&m, &spec);
}

static void print_list(struct remote *m, json_t *list)
{
    json_t *im, *name;
    size_t i, k;

    json_array_foreach(list, i, im)
    {
        json_t *tags = json_object_get(im, "RepoTags");
        json_array_foreach(tags, k, name)
            image_cli_row(strna(json_string_value(name)), json_text_or(im, "Id", ""),
                          (uint64_t)json_int_or(im, "Size", 0));
        if (!json_array_size(tags))
            image_cli_row("<none>", json_text_or(im, "Id", ""),
                          (uint64_t)json_int_or(im, "Size", 0));
    }
}

int image_cli_remote_list(struct image_cli *c)
{
    struct remote m = {.cli = c, .fd = -1, .on_answer = print_list};
    struct http_call_spec spec = {.path = "/v" DOCKER_API_VERSION "/images/json"};

    return remote_run(&m, &spec);
}

static void ignore(struct remote *m, json_t *answer)
{
}

int image_cli_remote_remove(struct image_cli *c, const char *name)
{
    struct remote m = {.cli = c, .fd = -1, .on_answer = ignore};
    cleanup_free char *path = path_of("images/", name, "");
    struct http_call_spec spec = {.method = "DELETE", .path = path};

    return remote_run(&m, &spec);
}

int image_cli_remote_tag(struct image_cli *c, const char *name, const char *to)
{
    struct remote m = {.cli = c, .fd = -1, .on_answer = ignore};
    cleanup_error struct error *err = NULL;
    cleanup_free char *full = NULL;

    if (image_name_normalize(to, &full, &err) < 0)
        return image_cli_say(err);
    char *colon = strrchr(full, ':');
    *colon = 0;
    cleanup_free char *before = path_of("images/", name, "/tag?repo="),
                      *repo = path_of("", full, "&tag=");
    cleanup_free char *path =
        xasprintf("%s%s%s", before, repo + strlen("/v" DOCKER_API_VERSION "/"), colon + 1);
    struct http_call_spec spec = {.method = "POST", .path = path};
    return remote_run(&m, &spec);
}
