/* One request of the API client, from row and message to answer and error. */
#include "api/client_private.h"
#include "base/cleanup.h"
#include "base/mem.h"
#include <errno.h>
#include <stdlib.h>

#define ANSWER_BYTES_MAX ((size_t)64 << 20)
#define ERROR_BYTES_MAX ((size_t)256 << 10)

struct kube_call {
    struct list link;
    struct kube_client *client;
    struct http_call *http;
    const ProtobufCMessageDescriptor *answer;
    kube_done_fn done;
    const struct kube_stream_ops *ops; /* NULL: done */
    void *arg;
    int status; /* of a streamed answer */
    struct buf error_body;
    struct error *early; /* what stopped the request before it left */
    struct loop_defer defer;
    bool busy, dead; /* inside a callback of ours; cancelled there */
};

/* ---- paths ---- */

static int add_segment(struct buf *b, const char *text)
{
    if (!*text || streq(text, ".") || streq(text, ".."))
        return -EINVAL;
    (void)buf_add_char(b, '/');
    return buf_add_url_escaped(b, str_of(text));
}

int kube_path(const struct object_kind *k, const char *ns, const char *name,
              const char *subresource, struct buf *b)
{
    int r = *k->group ? buf_printf(b, "/apis/%s/%s", k->group, k->version)
                      : buf_printf(b, "/api/%s", k->version);
    if (!r && k->namespaced && ns && *ns) {
        (void)buf_add_z(b, "/namespaces");
        r = add_segment(b, ns);
    }
    (void)buf_printf(b, "/%s", k->plural);
    if (!r && name)
        r = add_segment(b, name);
    if (!r && subresource)
        r = buf_printf(b, "/%s", subresource);
    return r;
}

static int request_path(const struct kube_request *q, struct buf *b, struct error **err)
{
    if (q->path) {
        (void)buf_add_z(b, q->path);
    } else {
        const struct object_kind *k = q->type ? object_kind_of(q->type) : NULL;
        if (!k || !*k->plural)
            return error_set(err, EINVAL, "the request names no resource");
        if (kube_path(k, q->namespace_, q->name, q->subresource, b) < 0)
            return error_set(err, EINVAL, "%s \"%s/%s\": not a usable name", k->kind,
                             strna(q->namespace_), strna(q->name));
    }
    if (q->query && *q->query)
        (void)buf_printf(b, "?%s", q->query);
    return 0;
}

/* ---- ends ---- */

static void call_free(struct kube_call *c)
{
    list_remove(&c->link);
    loop_defer_stop(&c->defer);
    buf_fini(&c->error_body);
    error_free(c->early);
    free(c);
}

void kube_call_cancel(struct kube_call *c)
{
    if (!c || c->dead)
        return;
    http_call_cancel(c->http);
    c->http = NULL;
    if (c->busy)
        c->dead = true;
    else
        call_free(c);
}

void kube_call_free_from_client(struct list *link)
{
    struct kube_call *c = container_of(link, struct kube_call, link);
    list_remove(link);
    kube_call_cancel(c);
}

/* Hands the result over and frees: the last thing that happens to a call. */
static void finish(struct kube_call *c, const struct kube_result *r)
{
    c->busy = true;
    list_remove(&c->link);
    if (c->ops)
        c->ops->on_end(r, c->arg);
    else
        c->done(r, c->arg);
    call_free(c);
}

static void finish_error(struct kube_call *c, struct error *e, const char *reason)
{
    struct kube_result r = {.reason = reason, .err = e};
    finish(c, &r);
    error_free(e);
}

static void on_early(struct loop_defer *d)
{
    struct kube_call *c = container_of(d, struct kube_call, defer);
    finish_error(c, TAKE(c->early), "Invalid");
}

static int retry_after(struct http_headers h)
{
    int64_t s;
    struct str v = http_headers_get(h, "Retry-After");
    return v.p && !str_to_i64(v, 0, 3600, &s) ? (int)s : 0;
}

/* A Status document, or whatever text came, as an error. */
static void status_error(struct str body, int code, struct arena *a, struct kube_result *r)
{
    K8s__Status *s = NULL;
    if (object_decode_json(&k8s__status__descriptor, body, 0, a, &s, NULL) == 0 && s->message) {
        r->reason = s->reason ? s->reason : "";
        (void)error_set(&r->err, EREMOTEIO, "%s", s->message);
        return;
    }
    struct str line = str_trim(body), rest = line;
    line = str_trim(str_split(&rest, '\n'));
    r->reason = code == 401   ? "Unauthorized"
                : code == 403 ? "Forbidden"
                : code == 404 ? "NotFound"
                              : "";
    (void)error_set(&r->err, EREMOTEIO, "the API server answered %d %s%s%.*s", code,
                    http_status_text(code), line.n ? ": " : "", (int)(line.n > 300 ? 300 : line.n),
                    line.p ? line.p : "");
}

static void transport_error(const struct error *e, struct kube_result *r)
{
    r->reason = "Transport";
    (void)error_set(&r->err, e->code, "%s", e->message);
}

static void on_http_done(struct http_call *h, const struct http_result *hr, void *arg)
{
    (void)h;
    struct kube_call *c = arg;
    struct arena a;
    arena_init(&a, 0);
    struct kube_result r = {.http_code = hr->status, .reason = "", .body = hr->body};
    c->http = NULL;
    if (hr->error) {
        r.http_code = 0;
        transport_error(hr->error, &r);
    } else if (hr->status < 200 || hr->status > 299) {
        r.retry_after_s = retry_after(hr->headers);
        status_error(c->ops ? buf_str(&c->error_body) : hr->body, hr->status, &a, &r);
        if (hr->status == 401)
            kube_client_forget_token(c->client);
    } else if (!c->ops && c->answer) {
        struct error *e = NULL;
        if (object_decode_json(c->answer, hr->body, 0, &a, &r.msg, &e)) {
            r.msg = NULL;
            r.err = e;
            r.reason = "Undecodable";
            (void)error_wrap(&r.err, "the API server's answer");
        }
    }
    struct error *e = r.err;
    finish(c, &r);
    error_free(e);
    arena_fini(&a);
}

static void on_http_response(struct http_call *h, const struct http_response *hr, void *arg)
{
    (void)h;
    struct kube_call *c = arg;
    c->status = hr->status;
    if (hr->status < 200 || hr->status > 299 || !c->ops->on_open)
        return;
    c->busy = true;
    c->ops->on_open(c->arg);
    c->busy = false;
    if (c->dead)
        call_free(c);
}

static void on_http_data(struct http_call *h, struct str data, void *arg)
{
    (void)h;
    struct kube_call *c = arg;
    if (c->status < 200 || c->status > 299) {
        (void)buf_add_str(&c->error_body, data);
        return;
    }
    c->busy = true;
    int r = c->ops->on_data(data, c->arg);
    c->busy = false;
    if (c->dead) {
        call_free(c);
    } else if (r < 0) {
        http_call_cancel(TAKE(c->http));
        struct error *e = NULL;
        (void)error_set(&e, -r, "stopped by the reader");
        finish_error(c, e, "Stopped");
    }
}

/* ---- starting ---- */

static const char *method(const struct kube_request *q)
{
    switch (q->verb) {
    case KUBE_GET:
        return "GET";
    case KUBE_CREATE:
        return "POST";
    case KUBE_UPDATE:
        return "PUT";
    case KUBE_PATCH:
        return "PATCH";
    case KUBE_DELETE:
        return "DELETE";
    }
    return NULL;
}

static const char *content_type(const struct kube_request *q)
{
    static const char *const patches[] = {
        [KUBE_PATCH_STRATEGIC] = "application/strategic-merge-patch+json",
        [KUBE_PATCH_MERGE] = "application/merge-patch+json",
        [KUBE_PATCH_JSON] = "application/json-patch+json",
        [KUBE_PATCH_APPLY] = "application/apply-patch+yaml",
    };
    if (q->verb == KUBE_PATCH)
        return patches[q->patch];
    return q->body || q->raw_body.n ? "application/json" : NULL;
}

static int start(struct kube_call *c, const struct kube_request *q, struct error **err)
{
    cleanup_buf struct buf path, auth, body;
    buf_init(&path, (size_t)16 << 10);
    buf_init(&auth, (size_t)72 << 10);
    buf_init(&body, OBJECT_BYTES_MAX);
    int r = request_path(q, &path, err);
    if (!r)
        r = kube_client_authorization(c->client, &auth, err);
    if (r)
        return r;
    if (path.overflowed || (q->body && object_encode_json(q->body, &body) < 0))
        return error_set(err, EMSGSIZE, "the request is too large");
    struct http_header headers[] = {{STR("Accept"), STR("application/json")},
                                    {STR("Authorization"), buf_str(&auth)}};
    struct http_call_spec spec = {
        .method = method(q),
        .path = path.p,
        .headers = headers,
        .headers_n = auth.n ? 2 : 1,
        .content_type = content_type(q),
        .body = q->body ? buf_str(&body) : q->raw_body,
        .timeout_ms = q->timeout_ms,
        .idle_timeout_ms = q->idle_timeout_ms,
        .collect_max = c->ops ? 0 : ANSWER_BYTES_MAX,
        .on_response = c->ops ? on_http_response : NULL,
        .on_data = c->ops ? on_http_data : NULL,
        .on_done = on_http_done,
        .arg = c,
    };
    return http_call_start(c->client->http, &spec, &c->http, err);
}

static void begin(struct kube_call *c, const struct kube_request *q, struct kube_call **ret)
{
    buf_init(&c->error_body, ERROR_BYTES_MAX);
    c->answer = q->answer ? q->answer : q->verb == KUBE_DELETE ? NULL : q->type;
    list_add_tail(&c->client->calls, &c->link);
    if (start(c, q, &c->early) < 0)
        loop_defer_start(c->client->loop, &c->defer, on_early);
    if (ret)
        *ret = c;
}

void kube_call(struct kube_client *client, const struct kube_request *q, kube_done_fn done,
               void *arg, struct kube_call **ret)
{
    struct kube_call *c = xcalloc(1, sizeof(*c));
    c->client = client;
    c->done = done;
    c->arg = arg;
    begin(c, q, ret);
}

void kube_stream(struct kube_client *client, const struct kube_request *q,
                 const struct kube_stream_ops *ops, void *arg, struct kube_call **ret)
{
    struct kube_call *c = xcalloc(1, sizeof(*c));
    c->client = client;
    c->ops = ops;
    c->arg = arg;
    begin(c, q, ret);
}

/* ---- short forms ---- */

void kube_get(struct kube_client *c, const ProtobufCMessageDescriptor *type, const char *ns,
              const char *name, kube_done_fn done, void *arg, struct kube_call **ret)
{
    struct kube_request q = {.verb = KUBE_GET, .type = type, .namespace_ = ns, .name = name};
    kube_call(c, &q, done, arg, ret);
}

void kube_create(struct kube_client *c, const void *msg, kube_done_fn done, void *arg,
                 struct kube_call **ret)
{
    struct kube_request q = {.verb = KUBE_CREATE,
                             .type = ((const ProtobufCMessage *)msg)->descriptor,
                             .namespace_ = object_namespace(msg),
                             .body = msg};
    kube_call(c, &q, done, arg, ret);
}

void kube_update(struct kube_client *c, const void *msg, const char *subresource, kube_done_fn done,
                 void *arg, struct kube_call **ret)
{
    struct kube_request q = {.verb = KUBE_UPDATE,
                             .type = ((const ProtobufCMessage *)msg)->descriptor,
                             .namespace_ = object_namespace(msg),
                             .name = object_name(msg),
                             .subresource = subresource,
                             .body = msg};
    kube_call(c, &q, done, arg, ret);
}

void kube_patch(struct kube_client *c, const ProtobufCMessageDescriptor *type, const char *ns,
                const char *name, const char *subresource, enum kube_patch kind, struct str patch,
                kube_done_fn done, void *arg, struct kube_call **ret)
{
    struct kube_request q = {.verb = KUBE_PATCH,
                             .type = type,
                             .namespace_ = ns,
                             .name = name,
                             .subresource = subresource,
                             .patch = kind,
                             .raw_body = patch};
    kube_call(c, &q, done, arg, ret);
}

void kube_delete(struct kube_client *c, const ProtobufCMessageDescriptor *type, const char *ns,
                 const char *name, int64_t grace_s, const char *uid, kube_done_fn done, void *arg,
                 struct kube_call **ret)
{
    K8s__Preconditions pre = K8S__PRECONDITIONS__INIT;
    K8s__DeleteOptions options = K8S__DELETE_OPTIONS__INIT;
    if (grace_s >= 0) {
        options.has_graceperiodseconds = 1;
        options.graceperiodseconds = grace_s;
    }
    if (uid && *uid) {
        pre.uid = (char *)(uintptr_t)uid;
        options.preconditions = &pre;
    }
    struct kube_request q = {
        .verb = KUBE_DELETE, .type = type, .namespace_ = ns, .name = name, .body = &options};
    kube_call(c, &q, done, arg, ret);
}
