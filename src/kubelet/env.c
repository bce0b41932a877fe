#include "kubelet/env.h"
#include "kubelet/field.h"
#include "kubelet/refs.h"
#include <ctype.h>
#include <errno.h>

char *env_expand(struct arena *a, const char *text,
                 const char *(*lookup)(const char *name, void *arg), void *arg)
{
    struct buf b;
    char *out;

    if (!strchr(text, '$'))
        return arena_strdup(a, text);
    buf_init(&b, 1u << 20);
    for (const char *p = text; *p;) {
        const char *end = p[0] == '$' && p[1] == '(' ? strchr(p, ')') : NULL;

        if (end) {
            char *name = arena_strndup(a, p + 2, (size_t)(end - p - 2));
            const char *v = lookup(name, arg);

            (void)(v ? buf_add_z(&b, v) : buf_add(&b, p, (size_t)(end - p + 1)));
            p = end + 1;
        } else if (p[0] == '$' && p[1] == '$') {
            (void)buf_add_char(&b, '$');
            p += 2;
        } else {
            (void)buf_add_char(&b, *p++);
        }
    }
    out = arena_strndup(a, strna(b.p), b.n);
    buf_fini(&b);
    return out;
}

bool env_name_valid(const char *name)
{
    if (!*name)
        return false;
    for (const char *p = name; *p; p++)
        if (*p == '=' || !isprint((unsigned char)*p))
            return false;
    return true;
}

static Runtime__V1__KeyValue *find(Runtime__V1__KeyValue **v, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (streq(v[i]->key, name))
            return v[i];
    return NULL;
}

static void put(struct arena *a, Runtime__V1__KeyValue ***v, size_t *n, const char *name,
                const void *p, size_t len)
{
    Runtime__V1__KeyValue *kv = find(*v, *n, name);

    if (!kv) {
        kv = object_new(a, &runtime__v1__key_value__descriptor);
        kv->key = arena_strdup(a, name);
        object_append(a, v, n, kv);
    }
    kv->value.data = (uint8_t *)arena_strndup(a, p, len);
    kv->value.len = len;
}

static void env_set(struct env *e, const char *name, const char *value)
{
    put(e->a, &e->v, &e->n, name, value, strlen(value));
}

void env_service_set(struct env *e, const char *name, const char *value)
{
    put(e->a, &e->services.v, &e->services.n, name, value, strlen(value));
}

const char *env_lookup(const char *name, void *arg)
{
    struct env *e = arg;
    Runtime__V1__KeyValue *kv = find(e->v, e->n, name);

    if (!kv)
        kv = find(e->services.v, e->services.n, name);
    return kv ? (const char *)kv->value.data : NULL;
}

static int missing(enum ref_state st, const char *kind, const char *name, const char *why,
                   struct error **err)
{
    if (st == REF_PENDING)
        return error_set(err, EAGAIN, "%s \"%s\" is being fetched", kind, name);
    if (st == REF_MISSING)
        return error_set(err, ENOENT, "%s \"%s\" not found", kind, name);
    return error_set(err, EIO, "%s", strna(why));
}

static int from_config_map(struct env *e, struct container *c, const K8s__EnvFromSource *s,
                           struct error **err)
{
    K8s__ConfigMap *m;
    const char *why = NULL;
    const char *name =
        s->configmapref->localobjectreference ? s->configmapref->localobjectreference->name : NULL;
    enum ref_state st = refs_config_map(c->pod, strna(name), &m, &why);

    if (st == REF_MISSING && s->configmapref->optional)
        return 0;
    if (st != REF_OK)
        return missing(st, "configmap", strna(name), why, err);
    for (size_t i = 0; i < m->n_data; i++) {
        char *full = arena_printf(e->a, "%s%s", strna(s->prefix), m->data[i]->key);

        if (env_name_valid(full))
            env_set(e, full, strna(m->data[i]->value));
    }
    return 0;
}

static int from_secret(struct env *e, struct container *c, const K8s__EnvFromSource *s,
                       struct error **err)
{
    K8s__Secret *m;
    const char *why = NULL;
    const char *name =
        s->secretref->localobjectreference ? s->secretref->localobjectreference->name : NULL;
    enum ref_state st = refs_secret(c->pod, strna(name), &m, &why);

    if (st == REF_MISSING && s->secretref->optional)
        return 0;
    if (st != REF_OK)
        return missing(st, "secret", strna(name), why, err);
    for (size_t i = 0; i < m->n_data; i++) {
        char *full = arena_printf(e->a, "%s%s", strna(s->prefix), m->data[i]->key);

        if (env_name_valid(full))
            put(e->a, &e->v, &e->n, full, m->data[i]->value.data, m->data[i]->value.len);
    }
    return 0;
}

static int key_missing(bool optional, const char *kind, const char *ns, const char *name,
                       const char *key, struct error **err)
{
    if (optional)
        return 0;
    return error_set(err, ENOENT, "couldn't find key %s in %s %s/%s", key, kind, ns, name);
}

static int key_of_config_map(struct env *e, struct container *c, const char *var,
                             const K8s__ConfigMapKeySelector *s, struct error **err)
{
    K8s__ConfigMap *m;
    const char *why = NULL,
               *name = s->localobjectreference ? strna(s->localobjectreference->name) : "";
    enum ref_state st = refs_config_map(c->pod, name, &m, &why);
    const char *v;

    if (st == REF_MISSING && s->optional)
        return 0;
    if (st != REF_OK)
        return missing(st, "configmap", name, why, err);
    v = pairs_get(m->data, m->n_data, strna(s->key));
    if (!v)
        return key_missing(s->optional, "ConfigMap", c->pod->ns, name, strna(s->key), err);
    env_set(e, var, v);
    return 0;
}

static int key_of_secret(struct env *e, struct container *c, const char *var,
                         const K8s__SecretKeySelector *s, struct error **err)
{
    K8s__Secret *m;
    const char *why = NULL,
               *name = s->localobjectreference ? strna(s->localobjectreference->name) : "";
    enum ref_state st = refs_secret(c->pod, name, &m, &why);

    if (st == REF_MISSING && s->optional)
        return 0;
    if (st != REF_OK)
        return missing(st, "secret", name, why, err);
    for (size_t i = 0; i < m->n_data; i++)
        if (streq(m->data[i]->key, s->key)) {
            put(e->a, &e->v, &e->n, var, m->data[i]->value.data, m->data[i]->value.len);
            return 0;
        }
    return key_missing(s->optional, "Secret", c->pod->ns, name, strna(s->key), err);
}

static int env_one(struct env *e, struct container *c, const K8s__EnvVar *v, const char *ip,
                   struct error **err)
{
    char *text = NULL;
    int r = 0;

    if (!v->valuefrom) {
        env_set(e, v->name, env_expand(e->a, strna(v->value), env_lookup, e));
        return 0;
    }
    if (v->valuefrom->configmapkeyref)
        return key_of_config_map(e, c, v->name, v->valuefrom->configmapkeyref, err);
    if (v->valuefrom->secretkeyref)
        return key_of_secret(e, c, v->name, v->valuefrom->secretkeyref, err);
    if (v->valuefrom->fieldref)
        r = field_value(e->a, c->pod, strna(v->valuefrom->fieldref->fieldpath), false, ip, &text,
                        err);
    else if (v->valuefrom->resourcefieldref)
        r = resource_value(e->a, c->pod, c, v->valuefrom->resourcefieldref, &text, err);
    if (r < 0)
        return r;
    env_set(e, v->name, strna(text));
    return 0;
}

int env_build(struct arena *a, struct container *c, const char *sandbox_ip, struct env *e,
              struct error **err)
{
    K8s__Container *s = c->spec;
    const K8s__PodSpec *ps = c->pod->api->spec;
    bool links = !ps->has_enableservicelinks || ps->enableservicelinks;
    int r = 0;

    *e = (struct env){.a = a};
    /* a static pod may be what the API server runs in: it does not wait */
    if (c->pod->k->services && !service_env_add(c->pod->k, c->pod->ns, links, e) &&
        !pod_is_static(c->pod))
        return error_set(err, EAGAIN,
                         "services have not yet been read at least once, cannot construct envs");
    for (size_t i = 0; i < s->n_envfrom && r >= 0; i++) {
        if (s->envfrom[i]->configmapref)
            r = from_config_map(e, c, s->envfrom[i], err);
        else if (s->envfrom[i]->secretref)
            r = from_secret(e, c, s->envfrom[i], err);
    }
    for (size_t i = 0; i < s->n_env && r >= 0; i++)
        r = env_one(e, c, s->env[i], sandbox_ip, err);
    if (r < 0)
        return r;
    for (size_t i = 0; i < e->services.n; i++)
        if (!find(e->v, e->n, e->services.v[i]->key))
            object_append(a, &e->v, &e->n, e->services.v[i]);
    return 0;
}
