/* A request's path, identity and permission; then the handler of its verb. */
#include "base/cleanup.h"
#include "base/mem.h"
#include "codec/json.h"
#include "codec/yaml.h"
#include "server/controllers/meta.h"
#include "server/http/api.h"
#include <stdlib.h>

void api_request_free(struct api_request *q)
{
    auth_user_fini(&q->user);
    free(q->group);
    free(q->version);
    free(q->ns);
    free(q->name);
    free(q->sub);
    free(q->rest);
    free(q);
}

static char *take(const struct str *seg, size_t n, size_t *at)
{
    return *at < n ? str_dup(seg[(*at)++]) : xstrdup("");
}

/* What is behind .../proxy/, as it was sent: encoding matters to whom it goes. */
static char *rest_of_path(struct str path, const char *marker)
{
    const char *at = memmem(path.p, path.n, marker, strlen(marker));

    if (!at)
        return xstrdup("/");
    at += strlen(marker) - 1;
    return str_dup((struct str){at, (size_t)(path.p + path.n - at)});
}

bool api_request_parse(struct api_request *q)
{
    size_t n, at = 0;
    const struct str *seg = http_segments(q->x, &n);
    struct str plural = STR_NULL;
    bool core;

    q->group = q->version = q->ns = q->name = q->sub = q->rest = NULL;
    core = n > 0 && str_eq_z(seg[0], "api");
    if (n < 2 || (!core && (!str_eq_z(seg[0], "apis") || n < 3)))
        goto none;
    at = 1;
    q->group = core ? xstrdup("") : take(seg, n, &at);
    q->version = take(seg, n, &at);
    if (at < n && str_eq_z(seg[at], "namespaces") && n - at >= 3 &&
        !(n - at == 3 && (str_eq_z(seg[at + 2], "status") || str_eq_z(seg[at + 2], "finalize")))) {
        q->ns = str_dup(seg[at + 1]);
        at += 2;
    }
    if (at < n)
        plural = seg[at++];
    q->name = take(seg, n, &at);
    q->sub = take(seg, n, &at);
    if (at < n && !streq(q->sub, "proxy"))
        goto none;
    q->rest = rest_of_path(http_path(q->x), "/proxy/");
    q->r = plural.p ? resource_find(str_of(q->group), str_of(q->version), plural) : NULL;
none:
    if (!q->group)
        q->group = xstrdup("");
    if (!q->version)
        q->version = xstrdup("");
    if (!q->ns)
        q->ns = xstrdup("");
    if (!q->name)
        q->name = xstrdup("");
    if (!q->sub)
        q->sub = xstrdup("");
    if (!q->rest)
        q->rest = xstrdup("");
    return q->r != NULL;
}

static const char *verb_of(const struct api_request *q)
{
    bool named = q->name[0];

    if (http_method_is(q->x, "GET") || http_method_is(q->x, "HEAD")) {
        if (http_query_bool(q->x, "watch") && !q->sub[0])
            return "watch";
        return named ? "get" : "list";
    }
    if (http_method_is(q->x, "POST"))
        return "create";
    if (http_method_is(q->x, "PUT"))
        return "update";
    if (http_method_is(q->x, "PATCH"))
        return "patch";
    if (http_method_is(q->x, "DELETE"))
        return named ? "delete" : "deletecollection";
    return "";
}

static void lower_method(const struct api_request *q, char *out, size_t n)
{
    struct str m = http_method(q->x);
    size_t i;

    for (i = 0; i < m.n && i + 1 < n; i++)
        out[i] = (char)(m.p[i] >= 'A' && m.p[i] <= 'Z' ? m.p[i] + 32 : m.p[i]);
    out[i] = '\0';
}

static bool permitted(struct api_request *q)
{
    struct attributes a = {.user = &q->user,
                           .verb = q->verb,
                           .group = q->group,
                           .sub = q->sub,
                           .ns = q->ns,
                           .name = q->name};
    struct api_status st = {0};
    cleanup_free char *path = NULL, *message = NULL;
    char method[16];

    if (q->r) {
        a.resource = q->r->plural;
    } else {
        path = str_dup(http_path(q->x));
        lower_method(q, method, sizeof method);
        a.path = path;
        a.verb = method;
        a.ns = "";
    }
    /* a namespace's own name is its namespace, as upstream's attributes have it */
    if (q->r && streq(q->r->id, "namespaces"))
        a.ns = q->name;
    if (authorize(q->s->authorizer, &a))
        return true;
    message = forbidden_message(&a);
    (void)status_set(&st, 403, "Forbidden", "%s", message);
    if (q->r)
        st.details = json_pack("{s:s, s:s*, s:s}", "name", q->name, "group",
                               q->group[0] ? q->group : NULL, "kind", q->r->plural);
    answer_status(q, &st);
    return false;
}

static bool sub_served(const struct resource *r, const char *sub)
{
    static const struct {
        const char *name;
        unsigned flag;
    } table[] = {
        {"status", SUB_STATUS | SUB_APPROVAL},
        {"scale", SUB_SCALE},
        {"approval", SUB_APPROVAL},
        {"token", SUB_TOKEN},
        {"binding", SUB_BINDING},
        {"eviction", SUB_EVICTION},
        {"log", SUB_STREAMS},
        {"exec", SUB_STREAMS},
        {"attach", SUB_STREAMS},
        {"portforward", SUB_STREAMS},
        {"proxy", SUB_PROXY},
        {"finalize", SUB_FINALIZE},
    };

    for (size_t i = 0; i < ARRAY_LEN(table); i++)
        if (streq(sub, table[i].name))
            return r->subs & table[i].flag;
    return !sub[0];
}

static void not_served(struct api_request *q)
{
    struct api_status st = {0};

    (void)status_set(&st, 404, "NotFound", "the server could not find the requested resource");
    answer_status(q, &st);
}

static bool is_stream(const char *sub)
{
    return streq(sub, "log") || streq(sub, "exec") || streq(sub, "attach") ||
           streq(sub, "portforward") || streq(sub, "proxy");
}

static const struct {
    const char *verb;
    void (*fn)(struct api_request *q);
} verbs[] = {
    {"get", handle_get},       {"list", handle_list},
    {"watch", handle_watch},   {"create", handle_create},
    {"update", handle_update}, {"patch", handle_patch},
    {"delete", handle_delete}, {"deletecollection", handle_delete_collection},
};

static void dispatch_resource(struct api_request *q)
{
    if (!sub_served(q->r, q->sub) || (q->r->virtual_ && !streq(q->verb, "create"))) {
        not_served(q);
        return;
    }
    if (q->r->namespaced && !q->ns[0] && q->name[0]) {
        not_served(q);
        return;
    }
    if (is_stream(q->sub)) {
        handle_kubelet(q);
        return;
    }
    if (streq(q->sub, "scale")) {
        handle_scale(q);
        return;
    }
    for (size_t i = 0; i < ARRAY_LEN(verbs); i++) {
        if (streq(q->verb, verbs[i].verb)) {
            verbs[i].fn(q);
            return;
        }
    }
    struct api_status st = {0};

    (void)status_set(&st, 405, "MethodNotAllowed",
                     "the server does not allow this method on the requested resource");
    answer_status(q, &st);
}

static void on_abort(struct http_exchange *x, void *arg)
{
    struct api_request *q = arg;

    (void)x;
    q->aborted = true;
    api_request_free(q);
}

void server_request(struct http_exchange *x, void *arg)
{
    struct api_request *q = xcalloc(1, sizeof *q);
    cleanup_error struct error *err = NULL;
    struct api_status st = {0};
    bool is_api;

    q->s = arg;
    q->x = x;
    http_on_abort(x, on_abort, q);
    is_api = api_request_parse(q);
    q->verb = verb_of(q);
    q->dry_run = http_query_get(x, "dryRun").n > 0;
    http_add_header(x, "Cache-Control", "no-cache, private");
    if (authenticate(q->s, x, &q->user, &err) < 0) {
        (void)status_set(&st, 401, "Unauthorized", "Unauthorized: %s", error_message(err));
        answer_status(q, &st);
        return;
    }
    if (http_header(x, "Impersonate-User").p) {
        (void)status_set(&st, 403, "Forbidden",
                         "impersonation is not served here; use that user's own credentials");
        answer_status(q, &st);
        return;
    }
    if (!permitted(q))
        return;
    if (is_api) {
        dispatch_resource(q);
        return;
    }
    if (!handle_discovery(q) && !handle_meta(q) && !handle_openapi(q))
        not_served(q);
}
