#include "server/controllers/meta.h"
#include "base/mem.h"

static const char *meta_text(const json_t *o, const char *key)
{
    return strna(json_text_at(o, "metadata", key, NULL));
}
const char *meta_name(const json_t *o)
{
    return meta_text(o, "name");
}
const char *meta_namespace(const json_t *o)
{
    return meta_text(o, "namespace");
}
const char *meta_uid(const json_t *o)
{
    return meta_text(o, "uid");
}
const char *meta_version(const json_t *o)
{
    return meta_text(o, "resourceVersion");
}
const char *meta_label(const json_t *o, const char *key)
{
    return json_text_at(o, "metadata", "labels", key, NULL);
}
const char *meta_annotation(const json_t *o, const char *key)
{
    return json_text_at(o, "metadata", "annotations", key, NULL);
}
bool meta_deleting(const json_t *o)
{
    return json_text_at(o, "metadata", "deletionTimestamp", NULL) != NULL;
}

char *meta_key(const json_t *o)
{
    const char *ns = meta_namespace(o);

    return *ns ? xasprintf("%s/%s", ns, meta_name(o)) : xstrdup(meta_name(o));
}

const json_t *meta_controller(const json_t *o)
{
    const json_t *v;

    json_each(json_at(o, "metadata", "ownerReferences", NULL), i,
              v) if (json_bool_or(v, "controller", false)) return v;
    return NULL;
}

bool meta_controlled_by(const json_t *o, const char *uid)
{
    const json_t *ref = meta_controller(o);

    return ref && *uid && streq(json_text_at(ref, "uid", NULL), uid);
}

bool meta_has_finalizer(const json_t *o, const char *name)
{
    const json_t *v;

    json_each(json_at(o, "metadata", "finalizers", NULL), i,
              v) if (streq(json_string_value(v), name)) return true;
    return false;
}

struct wall json_wall(const json_t *text)
{
    const char *z = json_string_value(text);
    struct wall t = {0};

    if (z && wall_parse(str_of(z), &t) < 0)
        t.ns = 0;
    return t;
}

struct wall meta_created(const json_t *o)
{
    return json_wall(json_at(o, "metadata", "creationTimestamp", NULL));
}

json_t *json_object_need(json_t *o, const char *key)
{
    json_t *v = json_object_get(o, key);

    if (!json_is_object(v)) {
        v = json_object();
        json_object_set_new(o, key, v);
    }
    return v;
}

json_t *json_array_need(json_t *o, const char *key)
{
    json_t *v = json_object_get(o, key);

    if (!json_is_array(v)) {
        v = json_array();
        json_object_set_new(o, key, v);
    }
    return v;
}

void json_default(json_t *o, const char *key, json_t *v)
{
    const json_t *have = json_object_get(o, key);
    bool blank = json_is_string(v) && json_is_string(have) && json_string_length(have) == 0;

    if (have && !json_is_null(have) && !blank)
        json_decref(v);
    else
        json_object_set_new(o, key, v);
}

void json_set_text(json_t *o, const char *key, const char *text)
{
    json_object_set_new(o, key, json_string(strna(text)));
}

void json_set_int(json_t *o, const char *key, int64_t v)
{
    json_object_set_new(o, key, json_integer(v));
}

void meta_set_annotation(json_t *o, const char *key, const char *value)
{
    json_set_text(json_object_need(json_object_need(o, "metadata"), "annotations"), key, value);
}

void meta_set_label(json_t *o, const char *key, const char *value)
{
    json_set_text(json_object_need(json_object_need(o, "metadata"), "labels"), key, value);
}

json_t *meta_owner_reference(const json_t *owner, const char *api_version, const char *kind)
{
    return json_pack("{s:s,s:s,s:s,s:s,s:b,s:b}", "apiVersion", api_version, "kind", kind, "name",
                     meta_name(owner), "uid", meta_uid(owner), "controller", 1,
                     "blockOwnerDeletion", 1);
}

json_t *json_time(struct wall t)
{
    char text[WALL_TEXT];

    wall_format(t, text);
    return json_string(text);
}

json_t *json_now(void)
{
    return json_time(wall_now());
}

const json_t *condition_get(const json_t *conditions, const char *type)
{
    const json_t *v;

    json_each(conditions, i, v) if (streq(json_text_at(v, "type", NULL), type)) return v;
    return NULL;
}

bool condition_is(const json_t *conditions, const char *type, const char *status)
{
    return streq(json_text_at(condition_get(conditions, type), "status", NULL), status);
}

bool condition_set(json_t *conditions, const char *type, const char *status, const char *reason,
                   const char *message)
{
    json_t *c = (json_t *)condition_get(conditions, type);
    bool moved = !c || !streq(json_text_at(c, "status", NULL), status);

    if (!c) {
        c = json_pack("{s:s}", "type", type);
        json_array_append_new(conditions, c);
    } else if (!moved && streq(strna(json_text_at(c, "reason", NULL)), strna(reason)) &&
               streq(strna(json_text_at(c, "message", NULL)), strna(message))) {
        return false;
    }
    json_set_text(c, "status", status);
    if (moved)
        json_object_set_new(c, "lastTransitionTime", json_now());
    if (reason)
        json_set_text(c, "reason", reason);
    if (message)
        json_set_text(c, "message", message);
    return true;
}

bool pod_ready(const json_t *pod)
{
    return condition_is(json_at(pod, "status", "conditions", NULL), "Ready", "True");
}

bool pod_finished(const json_t *pod)
{
    const char *phase = json_text_at(pod, "status", "phase", NULL);

    return streq(phase, "Succeeded") || streq(phase, "Failed");
}

int64_t int_or_percent(const json_t *v, int64_t total, bool up, int64_t fallback)
{
    const char *z = json_string_value(v);
    struct str s = str_of(z);
    int64_t n;

    if (json_is_integer(v))
        return json_integer_value(v);
    if (!z)
        return fallback;
    if (s.n < 2 || s.p[s.n - 1] != '%' ||
        str_to_i64((struct str){s.p, s.n - 1}, 0, 1000000, &n) < 0)
        return -1;
    return (total * n + (up ? 99 : 0)) / 100;
}
