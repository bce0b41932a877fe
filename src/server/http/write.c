/* create, update, patch, delete */
#include "base/cleanup.h"
#include "base/mem.h"
#include "codec/json.h"
#include "codec/yaml.h"
#include "server/controllers/meta.h"
#include "server/http/api.h"
#include "server/http/types.h"
#include "server/http/wire.h"
#include "server/registry/patch.h"
#include <errno.h>
#include <stdlib.h>

static struct actor actor_of(const struct api_request *q)
{
    return (struct actor){.user = q->user.name,
                          .uid = q->user.uid,
                          .groups = (const char *const *)q->user.groups,
                          .n_groups = q->user.n_groups};
}

/* The body as a value; 415 and 400 are answered here. */
static bool read_value(struct api_request *q, struct str body, json_t **ret)
{
    struct str type = http_header(q->x, "Content-Type");
    cleanup_error struct error *err = NULL;
    struct api_status st = {0};
    int r;

    if (http_content_type_is(type, "application/cbor"))
        r = error_set(
            &err, ENOTSUP,
            "the body of the request was in an unknown format - accepted media types include: "
            "application/json, application/yaml, " WIRE_CONTENT_TYPE);
    else if (http_content_type_is(type, WIRE_CONTENT_TYPE))
        r = wire_to_json(body, ret, &err);
    else if (memmem(type.p ? type.p : "", type.n, "yaml", 4))
        r = yaml_parse(body, API_BODY_MAX, "request body", ret, &err);
    else
        r = json_parse(body, API_BODY_MAX, "request body", ret, &err);
    if (r == 0)
        return true;
    if (r == -ENOTSUP)
        (void)status_set(&st, 415, "UnsupportedMediaType", "%s", error_message(err));
    else
        (void)status_bad(&st, "%s", error_message(err));
    answer_status(q, &st);
    return false;
}

/* apiVersion and kind must be those of the path; what is stored has the storage version. */
static int settle_kind(const struct api_request *q, const char *kind, json_t *o,
                       struct api_status *st)
{
    cleanup_free char *want = xasprintf("%s%s%s", q->group, q->group[0] ? "/" : "", q->version);
    const char *have = json_text_or(o, "apiVersion", ""), *have_kind = json_text_or(o, "kind", "");
    char stored[96];

    if (!json_is_object(o))
        return status_bad(st, "the body must be a JSON object of kind %s", kind);
    if ((have[0] && !streq(have, want)) || (have_kind[0] && !streq(have_kind, kind)))
        return status_bad(st,
                          "%s in version \"%s\" cannot be handled as a %s: the path is for %s %s",
                          have_kind, have, kind, want, kind);
    if (json_object_get(o, "metadata") && !json_is_object(json_object_get(o, "metadata")))
        return status_bad(st, "metadata must be an object");
    resource_api_version(q->r, stored);
    json_set_text(o, "apiVersion", stored);
    json_set_text(o, "kind", kind);
    return types_check(q->r, q->version, o, st);
}

/* What the 2018 API filled in and apps/v1 wants written: the selector from the template's labels.
 */
static void upgrade_old(const struct api_request *q, json_t *o)
{
    json_t *spec = json_object_get(o, "spec"),
           *labels = json_at(spec, "template", "metadata", "labels", NULL);

    if (served_as_stored(q) || !spec || json_object_get(spec, "selector") || !labels)
        return;
    (void)json_object_set_new(spec, "selector", json_pack("{s:O}", "matchLabels", labels));
}

static void answer_result(struct api_request *q, int rc, int code, json_t *o, struct api_status *st)
{
    if (rc < 0) {
        answer_status(q, st);
        return;
    }
    if (api_request_accepts(q) == ACCEPT_TABLE) {
        json_t *t = table_new(q->r, true, meta_version(o));

        table_add(t, q->r, o, http_query_get(q->x, "includeObject"));
        json_decref(o);
        o = t;
    } else if (!streq(json_text_or(o, "kind", ""), "Status")) {
        to_served_version(q, o);
    }
    answer_object(q, code, o);
}

/* create */

static void create_object(struct api_request *q, json_t *o)
{
    struct actor who = actor_of(q);
    struct write_options w = {.dry_run = q->dry_run};
    struct api_status st = {0};
    json_t *out = NULL;
    int rc = settle_kind(q, q->r->kind, o, &st);

    if (rc < 0) {
        json_decref(o);
    } else {
        upgrade_old(q, o);
        rc = registry_create(&q->s->registry, q->r, q->ns, o, &who, &w, &out, &st);
    }
    answer_result(q, rc, 201, out, &st);
}

static void on_create_body(struct http_exchange *x, struct str body, void *arg)
{
    struct api_request *q = arg;
    json_t *o;

    (void)x;
    if (!read_value(q, body, &o))
        return;
    if (q->r->virtual_)
        handle_review(q, o);
    else if (streq(q->sub, "binding"))
        handle_pod_binding(q, o);
    else if (streq(q->sub, "eviction"))
        handle_eviction(q, o);
    else if (streq(q->sub, "token"))
        handle_token(q, o);
    else
        create_object(q, o);
}

static void refuse_method(struct api_request *q)
{
    struct api_status st = {0};

    (void)status_set(&st, 405, "MethodNotAllowed",
                     "the server does not allow this method on the requested resource");
    answer_status(q, &st);
}

void handle_create(struct api_request *q)
{
    bool posted_sub =
        streq(q->sub, "binding") || streq(q->sub, "eviction") || streq(q->sub, "token");

    if ((q->sub[0] && !posted_sub) || (q->name[0] && !q->sub[0]))
        refuse_method(q);
    else
        http_read_body(q->x, API_BODY_MAX, on_create_body, q);
}

/* update */

static void on_update_body(struct http_exchange *x, struct str body, void *arg)
{
    struct api_request *q = arg;
    struct actor who = actor_of(q);
    struct write_options w = {.dry_run = q->dry_run};
    struct api_status st = {0};
    json_t *o, *out = NULL;
    int rc;

    (void)x;
    if (!read_value(q, body, &o))
        return;
    rc = settle_kind(q, q->r->kind, o, &st);
    if (rc < 0) {
        json_decref(o);
    } else {
        upgrade_old(q, o);
        rc = registry_update(&q->s->registry, q->r, q->sub, q->ns, q->name, o, &who, &w, &out, &st);
    }
    answer_result(q, rc, 200, out, &st);
}

void handle_update(struct api_request *q)
{
    if (!q->name[0])
        refuse_method(q);
    else
        http_read_body(q->x, API_BODY_MAX, on_update_body, q);
}

/* patch */

static int apply_patch(struct api_request *q, const json_t *old, const json_t *patch, json_t **ret,
                       struct api_status *st)
{
    struct str type = http_header(q->x, "Content-Type");
    cleanup_error struct error *err = NULL;
    int r;

    if (http_content_type_is(type, "application/json-patch+json"))
        r = patch_json(old, patch, ret, &err);
    else if (http_content_type_is(type, "application/merge-patch+json"))
        r = patch_merge(old, patch, ret, &err);
    else if (http_content_type_is(type, "application/strategic-merge-patch+json"))
        r = patch_strategic(old, patch, q->r->kind, ret, &err);
    else
        return status_set(st, 415, "UnsupportedMediaType",
                          "patches of type \"%.*s\" are not served; use "
                          "application/json-patch+json, application/merge-patch+json "
                          "or application/strategic-merge-patch+json",
                          STR_FMT(type));
    if (r == -ENOENT)
        return status_set(st, 422, "Invalid",
                          "the server rejected our request due to an error in our request: %s",
                          error_message(err));
    if (r < 0)
        return status_bad(st, "%s", error_message(err));
    return 0;
}

/* The version the patch was computed on is the server's own unless the patch names one. */
static int patch_once(struct api_request *q, const json_t *patch, json_t **ret,
                      struct api_status *st)
{
    struct actor who = actor_of(q);
    struct write_options w = {.dry_run = q->dry_run};
    cleanup_json json_t *old = NULL;
    json_t *new = NULL;

    if (registry_get(&q->s->registry, q->r, q->ns, q->name, &old, st) < 0)
        return -1;
    to_served_version(q, old);
    if (apply_patch(q, old, patch, &new, st) < 0)
        return -1;
    if (settle_kind(q, q->r->kind, new, st) < 0) {
        json_decref(new);
        return -1;
    }
    return registry_update(&q->s->registry, q->r, q->sub, q->ns, q->name, new, &who, &w, ret, st);
}

static void on_patch_body(struct http_exchange *x, struct str body, void *arg)
{
    struct api_request *q = arg;
    struct api_status st = {0};
    json_t *patch, *out = NULL;
    int rc;

    if (http_content_type_is(http_header(x, "Content-Type"), "application/apply-patch+yaml")) {
        (void)status_set(
            &st, 415, "UnsupportedMediaType",
            "server-side apply is not served here: use kubectl apply without --server-side");
        answer_status(q, &st);
        return;
    }
    if (!read_value(q, body, &patch))
        return;
    rc = patch_once(q, patch, &out, &st);
    json_decref(patch);
    answer_result(q, rc, 200, out, &st);
}

void handle_patch(struct api_request *q)
{
    if (!q->name[0])
        refuse_method(q);
    else
        http_read_body(q->x, API_BODY_MAX, on_patch_body, q);
}

/* delete */

static void options_from(struct api_request *q, const json_t *body, struct delete_options *d)
{
    struct str grace = http_query_get(q->x, "gracePeriodSeconds"),
               how = http_query_get(q->x, "propagationPolicy");
    const char *text = json_text_at(body, "propagationPolicy", NULL);
    static const char *const policies[] = {"Background", "Foreground", "Orphan"};

    *d = (struct delete_options){.grace_s = json_int_or(body, "gracePeriodSeconds", -1),
                                 .dry_run = q->dry_run};
    d->uid = json_text_at(body, "preconditions", "uid", NULL);
    d->resource_version = json_text_at(body, "preconditions", "resourceVersion", NULL);
    if (grace.n)
        (void)str_to_i64(grace, 0, INT32_MAX, &d->grace_s);
    for (size_t i = 0; i < ARRAY_LEN(policies); i++)
        if (streq(text, policies[i]) || str_eq_z(how, policies[i]))
            d->propagation = policies[i];
    d->dry_run |= json_array_size(json_object_get(body, "dryRun")) > 0;
}

static bool read_options(struct api_request *q, struct str body, json_t **ret)
{
    *ret = NULL;
    return !str_trim(body).n || read_value(q, body, ret);
}

static void on_delete_body(struct http_exchange *x, struct str body, void *arg)
{
    struct api_request *q = arg;
    struct actor who = actor_of(q);
    struct api_status st = {0};
    struct delete_options d;
    json_t *options, *out = NULL;
    int rc;

    (void)x;
    if (!read_options(q, body, &options))
        return;
    options_from(q, options, &d);
    rc = registry_delete(&q->s->registry, q->r, q->ns, q->name, &who, &d, &out, &st);
    json_decref(options);
    answer_result(q, rc, 200, out, &st);
}

void handle_delete(struct api_request *q)
{
    if (q->sub[0])
        refuse_method(q);
    else
        http_read_body(q->x, API_BODY_MAX, on_delete_body, q);
}

struct victims {
    const struct selector *sel;
    json_t *found;
};

static int on_victim(json_t *object, void *arg)
{
    struct victims *v = arg;

    if (selector_match(v->sel, object))
        (void)json_array_append(v->found, object);
    return 0;
}

static void delete_matching(struct api_request *q, const json_t *options, struct selector *sel)
{
    struct victims v = {sel, json_array()};
    struct actor who = actor_of(q);
    struct delete_options d;
    char api_version[96];
    json_t *o;

    options_from(q, options, &d);
    (void)registry_each(&q->s->registry, q->r, q->ns, on_victim, &v);
    json_each(v.found, i, o)
    {
        struct api_status st = {0};
        json_t *out = NULL;

        (void)registry_delete(&q->s->registry, q->r, meta_namespace(o), meta_name(o), &who, &d,
                              &out, &st);
        status_fini(&st);
        json_decref(out);
    }
    resource_api_version(q->r, api_version);
    answer_object(q, 200,
                  json_pack("{s:s+, s:s, s:{}, s:o}", "kind", q->r->kind, "List", "apiVersion",
                            api_version, "metadata", "items", v.found));
}

static void on_collection_body(struct http_exchange *x, struct str body, void *arg)
{
    struct api_request *q = arg;
    struct selector *sel = NULL;
    struct api_status st = {0};
    json_t *options;

    (void)x;
    if (!read_options(q, body, &options))
        return;
    if (selector_parse(http_query_get(q->x, "labelSelector"), http_query_get(q->x, "fieldSelector"),
                       &sel, &st) < 0)
        answer_status(q, &st);
    else
        delete_matching(q, options, sel);
    selector_free(sel);
    json_decref(options);
}

void handle_delete_collection(struct api_request *q)
{
    if (q->r->namespaced && !q->ns[0])
        refuse_method(q);
    else
        http_read_body(q->x, API_BODY_MAX, on_collection_body, q);
}
