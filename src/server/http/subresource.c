/* Subresources and virtual resources: bindings, evictions, tokens, scale, reviews. */
#include "base/cleanup.h"
#include "base/mem.h"
#include "codec/json.h"
#include "server/controllers/meta.h"
#include "server/http/api.h"
#include <errno.h>
#include <stdlib.h>

static void answer_done(struct api_request *q, int code)
{
    answer_object(q, code,
                  json_pack("{s:s, s:s, s:{}, s:s}", "kind", "Status", "apiVersion", "v1",
                            "metadata", "status", "Success"));
}

static void answer_err(struct api_request *q, int r, const struct error *err)
{
    struct api_status st = {0};

    if (r == -ENOENT)
        (void)status_set(&st, 404, "NotFound", "%s", error_message(err));
    else if (r == -ESTALE || r == -EEXIST)
        (void)status_set(&st, 409, "Conflict", "%s", error_message(err));
    else if (r == -EINVAL)
        (void)status_set(&st, 422, "Invalid", "%s", error_message(err));
    else if (r == -EACCES)
        (void)status_set(&st, 403, "Forbidden", "%s", error_message(err));
    else
        (void)status_set(&st, 500, "InternalError", "%s", error_message(err));
    answer_status(q, &st);
}

void handle_pod_binding(struct api_request *q, json_t *object)
{
    cleanup_json json_t *o = object;
    cleanup_error struct error *err = NULL;
    int r;

    json_set_text(json_object_need(o, "metadata"), "namespace", q->ns);
    json_set_text(json_object_need(o, "metadata"), "name", q->name);
    r = cluster_update(&q->s->registry.cluster, "pods", "binding", o, &err);
    if (r < 0)
        answer_err(q, r, err);
    else
        answer_done(q, 201);
}

/* Without disruption budgets an eviction is a graceful delete. */
void handle_eviction(struct api_request *q, json_t *object)
{
    cleanup_json json_t *o = object, *out = NULL;
    struct actor who = {.user = q->user.name,
                        .groups = (const char *const *)q->user.groups,
                        .n_groups = q->user.n_groups};
    struct delete_options d = {
        .grace_s = json_int_or(json_object_get(o, "deleteOptions"), "gracePeriodSeconds", -1),
        .uid = json_text_at(o, "deleteOptions", "preconditions", "uid", NULL),
        .dry_run = q->dry_run};
    struct api_status st = {0};

    if (registry_delete(&q->s->registry, q->r, q->ns, q->name, &who, &d, &out, &st) < 0)
        answer_status(q, &st);
    else
        answer_done(q, 201);
}

void handle_token(struct api_request *q, json_t *object)
{
    cleanup_json json_t *o = object;
    cleanup_error struct error *err = NULL;
    const char *node = user_node(&q->user);
    json_t *out = NULL;
    int r = node ? tokens_node_may(q->s->tokens, node, q->ns, q->name, o, &err) : 0;

    if (r == 0)
        r = tokens_request(q->s->tokens, q->ns, q->name, o, &out, &err);
    if (r < 0)
        answer_err(q, r, err);
    else
        answer_object(q, 201, out);
}

/* scale */

static json_t *scale_of(const struct api_request *q, const json_t *o)
{
    struct buf selector;
    const char *k;
    json_t *v, *out;

    buf_init(&selector, 8192);
    json_object_foreach(json_at(o, "spec", "selector", "matchLabels", NULL), k, v)
    {
        (void)buf_printf(&selector, "%s%s=%s", selector.n ? "," : "", k,
                         strna(json_string_value(v)));
    }
    out = json_pack(
        "{s:s, s:s, s:{s:s, s:s, s:s, s:s, s:O*}, s:{s:I}, s:{s:I, s:s}}", "kind", "Scale",
        "apiVersion", "autoscaling/v1", "metadata", "name", meta_name(o), "namespace",
        meta_namespace(o), "uid", meta_uid(o), "resourceVersion", meta_version(o),
        "creationTimestamp", json_at(o, "metadata", "creationTimestamp", NULL), "spec", "replicas",
        (json_int_t)json_int_or(json_object_get(o, "spec"), "replicas", 0), "status", "replicas",
        (json_int_t)json_int_or(json_object_get(o, "status"), "replicas", 0), "selector",
        buf_str(&selector).p);
    buf_fini(&selector);
    (void)q;
    return out;
}

static void set_scale(struct api_request *q, struct str body)
{
    struct actor who = {.user = q->user.name,
                        .groups = (const char *const *)q->user.groups,
                        .n_groups = q->user.n_groups};
    struct write_options w = {.dry_run = q->dry_run};
    cleanup_json json_t *v = NULL, *out = NULL;
    cleanup_error struct error *err = NULL;
    struct api_status st = {0};
    json_t *o;

    if (json_parse(body, API_BODY_MAX, "request body", &v, &err) < 0 ||
        !json_is_integer(json_at(v, "spec", "replicas", NULL)) ||
        json_int_or(json_object_get(v, "spec"), "replicas", -1) < 0) {
        (void)status_bad(&st, "a Scale needs spec.replicas, a number of 0 or more");
        answer_status(q, &st);
        return;
    }
    if (registry_get(&q->s->registry, q->r, q->ns, q->name, &o, &st) < 0) {
        answer_status(q, &st);
        return;
    }
    (void)json_object_set(json_object_need(o, "spec"), "replicas",
                          json_at(v, "spec", "replicas", NULL));
    if (meta_version(v)[0])
        json_set_text(json_object_get(o, "metadata"), "resourceVersion", meta_version(v));
    if (registry_update(&q->s->registry, q->r, "", q->ns, q->name, o, &who, &w, &out, &st) < 0)
        answer_status(q, &st);
    else
        answer_object(q, 200, scale_of(q, out));
}

static void on_scale_body(struct http_exchange *x, struct str body, void *arg)
{
    (void)x;
    set_scale(arg, body);
}

void handle_scale(struct api_request *q)
{
    struct api_status st = {0};
    cleanup_json json_t *o = NULL;

    if (streq(q->verb, "update") || streq(q->verb, "patch")) {
        http_read_body(q->x, API_BODY_MAX, on_scale_body, q);
        return;
    }
    if (registry_get(&q->s->registry, q->r, q->ns, q->name, &o, &st) < 0)
        answer_status(q, &st);
    else
        answer_object(q, 200, scale_of(q, o));
}

/* reviews */

static json_t *user_info(const struct user *u)
{
    json_t *groups = json_array();

    for (size_t i = 0; i < u->n_groups; i++)
        (void)json_array_append_new(groups, json_string(u->groups[i]));
    return json_pack("{s:s, s:s*, s:o}", "username", u->name, "uid", u->uid, "groups", groups);
}

static void token_review(struct api_request *q, json_t *o)
{
    const char *token = json_text_at(o, "spec", "token", NULL);
    json_t *wanted = json_at(o, "spec", "audiences", NULL), *status = json_object();
    size_t n = json_array_size(wanted);
    const char **audiences = xcalloc(n + 1, sizeof *audiences);
    cleanup_error struct error *err = NULL;
    struct user u = {0};

    for (size_t i = 0; i < n; i++)
        audiences[i] = strna(json_string_value(json_array_get(wanted, i)));
    if (authenticate_token(q->s, str_of(strna(token)), audiences, n, &u, &err) < 0) {
        (void)json_object_set_new(status, "authenticated", json_false());
        json_set_text(status, "error", error_message(err));
    } else {
        (void)json_object_set_new(status, "authenticated", json_true());
        (void)json_object_set_new(status, "user", user_info(&u));
        if (n)
            (void)json_object_set(status, "audiences", wanted);
    }
    free(audiences);
    auth_user_fini(&u);
    (void)json_object_set_new(o, "status", status);
}

static void access_review(struct api_request *q, json_t *o, const struct user *u)
{
    json_t *about = json_at(o, "spec", "resourceAttributes", NULL),
           *path = json_at(o, "spec", "nonResourceAttributes", NULL);
    struct attributes a = {
        .user = u,
        .verb = json_text_or(about ? about : path, "verb", ""),
        .group = json_text_or(about, "group", ""),
        .resource = json_text_or(about, "resource", ""),
        .sub = json_text_or(about, "subresource", ""),
        .ns = json_text_or(about, "namespace", ""),
        .name = json_text_or(about, "name", ""),
        .path = path ? json_text_or(path, "path", "") : NULL,
    };
    bool ok = authorize(q->s->authorizer, &a);

    (void)json_object_set_new(o, "status", json_pack("{s:b}", "allowed", ok));
    if (!ok) {
        cleanup_free char *why = forbidden_message(&a);

        json_set_text(json_object_get(o, "status"), "reason", why);
    }
}

static void subject_review(struct api_request *q, json_t *o)
{
    struct user u = {.name = xstrdup(strna(json_text_at(o, "spec", "user", NULL)))};
    const json_t *v;

    json_each(json_at(o, "spec", "groups", NULL), i, v)
        user_add_group(&u, strna(json_string_value(v)));
    access_review(q, o, &u);
    auth_user_fini(&u);
}

static void rules_review(struct api_request *q, json_t *o)
{
    cleanup_json json_t *all = authorizer_rules(q->s->authorizer, &q->user,
                                                strna(json_text_at(o, "spec", "namespace", NULL)));
    json_t *resource_rules = json_array(), *path_rules = json_array(), *rule;

    json_each(all, i, rule)(void) json_array_append(
        json_array_size(json_object_get(rule, "nonResourceURLs")) ? path_rules : resource_rules,
        rule);
    (void)json_object_set_new(o, "status",
                              json_pack("{s:o, s:o, s:b}", "resourceRules", resource_rules,
                                        "nonResourceRules", path_rules, "incomplete", 0));
}

void handle_review(struct api_request *q, json_t *object)
{
    char api_version[96];

    resource_api_version(q->r, api_version);
    json_set_text(object, "apiVersion", api_version);
    json_set_text(object, "kind", q->r->kind);
    if (streq(q->r->plural, "tokenreviews"))
        token_review(q, object);
    else if (streq(q->r->plural, "selfsubjectreviews"))
        (void)json_object_set_new(object, "status",
                                  json_pack("{s:o}", "userInfo", user_info(&q->user)));
    else if (streq(q->r->plural, "subjectaccessreviews"))
        subject_review(q, object);
    else if (streq(q->r->plural, "selfsubjectrulesreviews"))
        rules_review(q, object);
    else
        access_review(q, object, &q->user);
    answer_object(q, 201, object);
}
