#include "server/registry/patch.h"
#include "base/cleanup.h"
#include "base/mem.h"
#include "base/str.h"
#include "codec/json.h"
#include <errno.h>
#include <stdlib.h>

#define OPERATIONS_MAX 10000

/* merge patch */

static json_t *merge(json_t *target, const json_t *patch)
{
    const char *k;
    json_t *v;

    if (!json_is_object(patch))
        return json_deep_copy(patch);
    target = json_is_object(target) ? json_deep_copy(target) : json_object();
    json_object_foreach((json_t *)patch, k, v)
    {
        if (json_is_null(v))
            (void)json_object_del(target, k);
        else
            (void)json_object_set_new(target, k, merge(json_object_get(target, k), v));
    }
    return target;
}

int patch_merge(const json_t *object, const json_t *patch, json_t **ret, struct error **err)
{
    if (!json_is_object(patch))
        return error_set(err, EINVAL, "a merge patch must be a JSON object");
    *ret = merge((json_t *)object, patch);
    return 0;
}

/* JSON patch: a pointer is walked to the container of its last token */

struct place {
    json_t *parent; /* borrowed */
    char *token;    /* owned, unescaped; NULL: the whole document */
};

static char *unescape(struct str t)
{
    char *out = xmalloc(t.n + 1), *to = out;

    for (size_t i = 0; i < t.n; i++) {
        if (t.p[i] == '~' && i + 1 < t.n && (t.p[i + 1] == '0' || t.p[i + 1] == '1')) {
            *to++ = t.p[i + 1] == '0' ? '~' : '/';
            i++;
        } else {
            *to++ = t.p[i];
        }
    }
    *to = '\0';
    return out;
}

static json_t *child(const json_t *v, const char *token)
{
    int64_t i;

    if (json_is_object(v))
        return json_object_get(v, token);
    if (json_is_array(v) && str_to_i64(str_of(token), 0, INT32_MAX, &i) == 0)
        return json_array_get(v, (size_t)i);
    return NULL;
}

static int locate(json_t *doc, const char *pointer, struct place *ret, struct error **err)
{
    struct str rest = str_of(pointer);

    *ret = (struct place){NULL, NULL};
    if (!rest.n)
        return 0;
    if (rest.p[0] != '/')
        return error_set(err, EINVAL, "JSON pointer \"%s\" does not begin with /", pointer);
    rest.p++;
    rest.n--;
    ret->parent = doc;
    for (;;) {
        char *token = unescape(str_split(&rest, '/'));

        if (!rest.p) {
            ret->token = token;
            return 0;
        }
        ret->parent = child(ret->parent, token);
        free(token);
        if (!ret->parent)
            return error_set(err, ENOENT, "doc is missing path: %s", pointer);
    }
}

static int get_at(json_t *doc, const char *pointer, json_t **ret, struct error **err)
{
    struct place p;
    int r = locate(doc, pointer, &p, err);

    if (r < 0)
        return r;
    *ret = p.token ? child(p.parent, p.token) : doc;
    free(p.token);
    return *ret ? 0 : error_set(err, ENOENT, "doc is missing path: %s", pointer);
}

/* Takes value. */
static int add_at(json_t **doc, const char *pointer, json_t *value, bool must_exist,
                  struct error **err)
{
    struct place p;
    int64_t i;
    int r = locate(*doc, pointer, &p, err);

    if (r == 0 && !p.token) {
        json_decref(*doc);
        *doc = value;
        return 0;
    }
    if (r == 0 && must_exist && !child(p.parent, p.token))
        r = error_set(err, ENOENT, "doc is missing key: %s", pointer);
    if (r == 0 && json_is_object(p.parent)) {
        r = json_object_set(p.parent, p.token, value) == 0
                ? 0
                : error_set(err, EINVAL, "cannot set %s", pointer);
    } else if (r == 0 && json_is_array(p.parent)) {
        size_t n = json_array_size(p.parent);

        if (streq(p.token, "-"))
            i = (int64_t)n;
        else if (str_to_i64(str_of(p.token), 0, (int64_t)n, &i) < 0)
            r = error_set(err, EINVAL, "array index \"%s\" in %s is not within the array", p.token,
                          pointer);
        if (r == 0)
            r = must_exist ? json_array_set(p.parent, (size_t)i, value)
                           : json_array_insert(p.parent, (size_t)i, value);
    } else if (r == 0) {
        r = error_set(err, EINVAL, "%s is inside a value that is neither an object nor an array",
                      pointer);
    }
    free(p.token);
    json_decref(value);
    return r;
}

static int remove_at(json_t *doc, const char *pointer, struct error **err)
{
    struct place p;
    int64_t i;
    int r = locate(doc, pointer, &p, err);

    if (r < 0)
        return r;
    r = -1;
    if (p.token && json_is_object(p.parent))
        r = json_object_del(p.parent, p.token);
    else if (p.token && json_is_array(p.parent) &&
             str_to_i64(str_of(p.token), 0, INT32_MAX, &i) == 0)
        r = json_array_remove(p.parent, (size_t)i);
    free(p.token);
    return r == 0 ? 0
                  : error_set(err, ENOENT,
                              "remove operation does not apply: doc is missing path: %s", pointer);
}

static int operation(json_t **doc, const json_t *op, struct error **err)
{
    const char *name = json_text_or(op, "op", ""), *path = json_text_or(op, "path", NULL);
    const char *from = json_text_or(op, "from", NULL);
    json_t *value = json_object_get(op, "value"), *source = NULL;
    int r;

    if (!path)
        return error_set(err, EINVAL, "a JSON patch operation lacks \"path\"");
    if (streq(name, "remove"))
        return remove_at(*doc, path, err);
    if (streq(name, "move") || streq(name, "copy")) {
        if (!from)
            return error_set(err, EINVAL, "JSON patch operation %s lacks \"from\"", name);
        r = get_at(*doc, from, &source, err);
        if (r < 0)
            return r;
        source = json_deep_copy(source);
        if (streq(name, "move"))
            r = remove_at(*doc, from, err);
        if (r < 0) {
            json_decref(source);
            return r;
        }
        return add_at(doc, path, source, false, err);
    }
    if (!value)
        return error_set(err, EINVAL, "JSON patch operation \"%s\" on %s lacks \"value\"", name,
                         path);
    if (streq(name, "add") || streq(name, "replace"))
        return add_at(doc, path, json_deep_copy(value), streq(name, "replace"), err);
    if (!streq(name, "test"))
        return error_set(err, EINVAL, "JSON patch operation \"%s\" is not known", name);
    r = get_at(*doc, path, &source, err);
    if (r == 0 && !json_equal(source, value))
        r = error_set(err, ENOENT, "testing value %s failed", path);
    return r;
}

int patch_json(const json_t *object, const json_t *patch, json_t **ret, struct error **err)
{
    json_t *doc, *op;
    size_t i;
    int r = 0;

    if (!json_is_array(patch) || json_array_size(patch) > OPERATIONS_MAX)
        return error_set(err, EINVAL, "a JSON patch must be an array of at most %d operations",
                         OPERATIONS_MAX);
    doc = json_deep_copy(object);
    json_array_foreach((json_t *)patch, i, op)
    {
        r = operation(&doc, op, err);
        if (r < 0)
            break;
    }
    if (r < 0) {
        json_decref(doc);
        return r;
    }
    *ret = doc;
    return 0;
}
