#include "server/controllers/fake_cluster.h"
#include "base/mem.h"
#include "base/random.h"
#include "server/controllers/meta.h"
#include <assert.h>
#include <errno.h>

static json_t *all_of(struct fake_cluster *f, const char *resource)
{
    return json_array_need(f->store, resource);
}

static ssize_t find(struct fake_cluster *f, const char *resource, const char *ns, const char *name)
{
    const json_t *o;

    json_each(all_of(f, resource), i, o) if (streq(meta_namespace(o), strna(ns)) &&
                                             streq(meta_name(o), name)) return (ssize_t)i;
    return -1;
}

static json_t *fake_get(struct cluster *c, const char *resource, const char *ns, const char *name)
{
    struct fake_cluster *f = c->ctx;
    ssize_t i = find(f, resource, ns, name);

    return i < 0 ? NULL : json_incref(json_array_get(all_of(f, resource), (size_t)i));
}

static json_t *fake_list(struct cluster *c, const char *resource, const char *ns)
{
    struct fake_cluster *f = c->ctx;
    json_t *out = json_array(), *o;

    json_each(all_of(f, resource), i, o) if (!ns || !*ns || streq(ns, meta_namespace(o)))
        json_array_append(out, o);
    return out;
}

static int fake_create(struct cluster *c, const char *resource, json_t *object, json_t **ret,
                       struct error **err)
{
    struct fake_cluster *f = c->ctx;
    json_t *o = json_deep_copy(object), *meta = json_object_need(o, "metadata");
    const char *prefix = json_text_or(meta, "generateName", "");

    if (!*meta_name(o) && *prefix) {
        char suffix[6], *name;

        random_suffix(suffix, 5);
        name = xasprintf("%s%s", prefix, suffix);
        json_set_text(meta, "name", name);
        free(name);
    }
    if (find(f, resource, meta_namespace(o), meta_name(o)) >= 0) {
        json_decref(o);
        return error_set(err, EEXIST, "%s already exists", resource);
    }
    if (ret)
        *ret = json_incref(o);
    fake_put_json(f, resource, o);
    return 0;
}

static int fake_update(struct cluster *c, const char *resource, const char *subresource,
                       json_t *object, struct error **err)
{
    struct fake_cluster *f = c->ctx;
    ssize_t i = find(f, resource, meta_namespace(object), meta_name(object));

    (void)subresource;
    if (i < 0)
        return error_set(err, ENOENT, "%s not found", resource);
    json_array_set_new(all_of(f, resource), (size_t)i, json_deep_copy(object));
    return 0;
}

static int fake_delete(struct cluster *c, const char *resource, const char *ns, const char *name,
                       const struct cluster_delete *opt, struct error **err)
{
    struct fake_cluster *f = c->ctx;

    (void)opt;
    if (find(f, resource, ns, name) < 0)
        return error_set(err, ENOENT, "%s not found", resource);
    fake_remove(f, resource, ns, name);
    return 0;
}

static const struct cluster_ops fake_ops = {fake_get, fake_list, fake_create, fake_update,
                                            fake_delete};

void fake_init(struct fake_cluster *f)
{
    *f = (struct fake_cluster){.cluster = {&fake_ops, f}, .store = json_object()};
}

void fake_fini(struct fake_cluster *f)
{
    json_decref(f->store);
}

json_t *fake_json(const char *text)
{
    char *copy = xstrdup(text);
    json_t *v;

    for (char *p = copy; *p; p++)
        if (*p == '\'')
            *p = '"';
    v = json_loads(copy, JSON_DECODE_ANY, NULL);
    assert(v);
    free(copy);
    return v;
}

void fake_put(struct fake_cluster *f, const char *resource, const char *text)
{
    fake_put_json(f, resource, fake_json(text));
}

void fake_put_json(struct fake_cluster *f, const char *resource, json_t *object)
{
    json_t *meta = json_object_need(object, "metadata");
    char uid[UUID_TEXT];

    random_uuid(uid);
    json_default(meta, "uid", json_string(uid));
    json_default(meta, "creationTimestamp", json_now());
    json_array_append_new(all_of(f, resource), object);
}

void fake_remove(struct fake_cluster *f, const char *resource, const char *ns, const char *name)
{
    ssize_t i = find(f, resource, ns, name);

    if (i >= 0)
        json_array_remove(all_of(f, resource), (size_t)i);
}
