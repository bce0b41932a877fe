/* Pull and load: long answers, one JSON object a line, as the docker client draws its bars from. */
#include "base/mem.h"
#include "engine/docker/docker_private.h"
#include "engine/image/ref.h"
#include <errno.h>
#include <sys/socket.h>

#define AUTH_MAX (64u * 1024)

struct transfer {
    struct docker_api *api;
    struct http_exchange *x; /* NULL: the client is gone */
    struct image_job *job;
    struct stream *feed; /* load: bytes on their way to the worker */
    char *first;         /* pull: line held back until it is known that the answer is no error */
    bool quiet, done;
};

static void transfer_free(struct transfer *t)
{
    stream_free(t->feed);
    free(t->first);
    free(t);
}

static void line(struct transfer *t, json_t *o)
{
    cleanup_json json_t *owned = o;
    cleanup_buf struct buf b = {0};

    buf_init(&b, BUF_UNBOUNDED);
    if (!http_response_begun(t->x)) {
        http_respond_begin(t->x, 200, "application/json");
        if (t->first) {
            (void)buf_add_z(&b, t->first);
            (void)buf_add_z(&b, "\r\n");
        }
    }
    (void)json_write(owned, &b);
    (void)buf_add_z(&b, "\r\n");
    http_write(t->x, buf_str(&b));
}

/* A client that does not read is not written to: bars are worth nothing late. */
static bool client_slow(struct transfer *t)
{
    return http_write_pending(t->x) > STREAM_HIGH;
}

static void on_progress(const struct image_progress *p, void *arg)
{
    struct transfer *t = arg;

    if (!t->x || t->quiet || client_slow(t))
        return;
    if (strstarts(p->status, "Pulling from")) {
        cleanup_json json_t *o = json_pack("{ss ss}", "status", p->status, "id", p->id);
        cleanup_buf struct buf b = {0};
        buf_init(&b, BUF_UNBOUNDED);
        (void)json_write(o, &b);
        str_replace(&t->first, b.p);
        return;
    }
    if (!*p->id)
        return;
    if (p->total)
        line(t, json_pack("{ss s{sI sI} ss}", "status", p->status, "progressDetail", "current",
                          (json_int_t)p->current, "total", (json_int_t)p->total, "id", p->id));
    else
        line(t, json_pack("{ss s{} ss}", "status", p->status, "progressDetail", "id", p->id));
}

static void fail(struct transfer *t, const struct error *err)
{
    if (!http_response_begun(t->x)) {
        docker_fail_error(t->x, err);
        return;
    }
    line(t, json_pack("{s{ss} ss}", "errorDetail", "message", error_message(err), "error",
                      error_message(err)));
    http_end(t->x);
}

static void on_abort(struct http_exchange *x, void *arg)
{
    struct transfer *t = arg;

    image_job_cancel(t->job);
    transfer_free(t);
}

/* ---- pull ---- */
static void on_pulled(const struct image_result *r, void *arg)
{
    struct transfer *t = arg;

    if (r->error) {
        fail(t, r->error);
    } else {
        cleanup_free char *digest = r->digest ? xasprintf("Digest: %s", r->digest) : NULL;
        cleanup_free char *name = image_ref_familiar(r->names.n ? r->names.v[0] : r->ids.v[0]);
        cleanup_free char *status =
            xasprintf("Status: %s for %s",
                      r->up_to_date ? "Image is up to date" : "Downloaded newer image", name);
        if (digest)
            line(t, json_pack("{ss}", "status", digest));
        line(t, json_pack("{ss}", "status", status));
        http_end(t->x);
    }
    transfer_free(t);
}

/* X-Registry-Auth: base64url of a JSON object. Absent or unusable: anonymous, as upstream. */
static json_t *registry_auth(struct http_exchange *x, struct image_auth *ret)
{
    struct str header = http_header(x, "X-Registry-Auth");
    cleanup_buf struct buf b = {0};
    json_t *o = NULL;

    buf_init(&b, AUTH_MAX);
    *ret = (struct image_auth){0};
    if (!header.n || buf_add_base64_decoded(&b, header) < 0 ||
        json_parse(buf_str(&b), AUTH_MAX, "X-Registry-Auth", &o, NULL) < 0)
        return NULL;
    *ret = (struct image_auth){
        .username = json_text_or(o, "username", NULL),
        .password = json_text_or(o, "password", NULL),
        .auth = json_text_or(o, "auth", NULL),
        .identity_token = json_text_or(o, "identitytoken", NULL),
        .registry_token = json_text_or(o, "registrytoken", NULL),
    };
    return o;
}

void docker_image_pull(const struct docker_request *q)
{
    struct str from = http_query_get(q->x, "fromImage"), tag = http_query_get(q->x, "tag");
    cleanup_error struct error *err = NULL;
    struct image_auth auth;

    if (!from.n) {
        docker_fail(q->x, 501,
                    "importing a file system as an image is not served by this engine yet");
        return;
    }
    bool digest = str_starts(tag, STR("sha256:"));
    cleanup_free char *ref =
        tag.n ? xasprintf("%.*s%c%.*s", STR_FMT(from), digest ? '@' : ':', STR_FMT(tag))
              : str_dup(from);
    cleanup_json json_t *owner = registry_auth(q->x, &auth); /* auth points into it */

    (void)owner;
    struct transfer *t = xcalloc(1, sizeof(*t));
    *t = (struct transfer){.api = q->api, .x = q->x};
    if (image_pull(q->api->images, ref, &auth, on_progress, on_pulled, t, &t->job, &err) < 0) {
        docker_fail_error(q->x, err);
        transfer_free(t);
        return;
    }
    http_on_abort(q->x, on_abort, t);
}

/* ---- load ---- */
static void on_loaded(const struct image_result *r, void *arg)
{
    struct transfer *t = arg;

    if (r->error) {
        fail(t, r->error);
    } else {
        for (size_t i = 0; i < r->names.n; i++) {
            cleanup_free char *name = image_ref_familiar(r->names.v[i]),
                              *text = xasprintf("Loaded image: %s\n", name);
            line(t, json_pack("{ss}", "stream", text));
        }
        for (size_t i = 0; r->names.n == 0 && i < r->ids.n; i++) {
            cleanup_free char *text = xasprintf("Loaded image ID: %s\n", r->ids.v[i]);
            line(t, json_pack("{ss}", "stream", text));
        }
        http_end(t->x);
    }
    transfer_free(t);
}

static void on_feed_drain(struct stream *s, void *arg)
{
    struct transfer *t = arg;

    http_body_resume(t->x);
}

/* The worker needs no more, or has died: its own word tells which; the rest of the body is read and
 * dropped. */
static void on_feed_close(struct stream *s, const struct error *err, void *arg)
{
    struct transfer *t = arg;

    stream_free(t->feed);
    t->feed = NULL;
    http_body_resume(t->x);
}

static void on_body(struct http_exchange *x, struct str data, bool last, void *arg)
{
    struct transfer *t = arg;

    if (!t->feed)
        return;
    stream_write_str(t->feed, data);
    if (last)
        stream_shutdown_write(t->feed);
    else if (stream_write_pending(t->feed) > STREAM_HIGH)
        http_body_pause(x);
}

void docker_image_load(const struct docker_request *q)
{
    static const struct stream_events ev = {.on_drain = on_feed_drain, .on_close = on_feed_close};
    cleanup_error struct error *err = NULL;
    int sv[2];

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv) < 0) {
        docker_fail(q->x, 500, "out of descriptors");
        return;
    }
    struct transfer *t = xcalloc(1, sizeof(*t));
    *t = (struct transfer){.api = q->api, .x = q->x, .quiet = true};
    if (image_load(q->api->images, sv[1], on_progress, on_loaded, t, &t->job, &err) < 0) {
        (void)close(sv[0]);
        docker_fail_error(q->x, err);
        transfer_free(t);
        return;
    }
    t->feed = stream_new_fd(http_loop(q->x), sv[0], &ev, t);
    http_on_abort(q->x, on_abort, t);
    http_stream_body(q->x, on_body, t);
}
