#include "kubelet/volume.h"
#include <errno.h>

#define PATH_BYTES_MAX 4096

int payload_path_check(const char *path, struct error **err)
{
    struct str rest = str_of(strna(path));

    if (!rest.n || rest.p[0] == '/' || rest.n >= PATH_BYTES_MAX)
        return error_set(err, EINVAL, "invalid path: must be relative and not empty: \"%s\"",
                         strna(path));
    if (strstarts(path, ".."))
        return error_set(err, EINVAL, "invalid path: must not start with '..': \"%s\"", path);
    while (rest.p) {
        struct str part = str_split(&rest, '/');

        if (str_eq_z(part, ".."))
            return error_set(err, EINVAL, "invalid path: must not contain '..': \"%s\"", path);
        if (part.n > 255)
            return error_set(err, EINVAL,
                             "invalid path: filename must be at most 255 bytes: \"%s\"", path);
    }
    return 0;
}

/* "a//./b/" -> "a/b" */
static char *clean(struct arena *a, const char *path)
{
    char *out = arena_alloc(a, strlen(path) + 1);
    struct str rest = str_of(path);
    size_t n = 0;

    while (rest.p) {
        struct str part = str_split(&rest, '/');

        if (!part.n || str_eq_z(part, "."))
            continue;
        if (n)
            out[n++] = '/';
        memcpy(out + n, part.p, part.n);
        n += part.n;
    }
    out[n] = '\0';
    return out;
}

int payload_add(struct payload *l, const char *path, struct str data, uint32_t mode, int64_t user,
                struct error **err)
{
    struct payload_file *f = NULL;
    char *name;
    int r = payload_path_check(path, err);

    if (r < 0)
        return r;
    name = clean(l->a, path);
    if (!*name)
        return error_set(err, EINVAL, "invalid path: \"%s\"", path);
    for (size_t i = 0; i < l->n && !f; i++)
        if (streq(l->v[i].path, name))
            f = &l->v[i];
    if (!f) {
        if (!(l->n & (l->n - 1))) { /* room for the next power of two */
            struct payload_file *v = arena_alloc(l->a, (l->n ? l->n * 2 : 1) * sizeof(*v));

            if (l->n)
                memcpy(v, l->v, l->n * sizeof(*v));
            l->v = v;
        }
        f = &l->v[l->n++];
    }
    *f = (struct payload_file){
        name, {arena_strndup(l->a, data.n ? data.p : "", data.n), data.n}, mode & 0777, user};
    return 0;
}

/* Content of a key of either kind of map. */
struct keys {
    K8s__StringPair *const *text;
    size_t n_text;
    K8s__BytesPair *const *bytes;
    size_t n_bytes;
};

static bool key_get(const struct keys *k, const char *key, struct str *ret)
{
    for (size_t i = 0; i < k->n_text; i++)
        if (streq(k->text[i]->key, key)) {
            *ret = str_of(strna(k->text[i]->value));
            return true;
        }
    for (size_t i = 0; i < k->n_bytes; i++)
        if (streq(k->bytes[i]->key, key)) {
            *ret = (struct str){(const char *)k->bytes[i]->value.data, k->bytes[i]->value.len};
            return true;
        }
    return false;
}

static int add_keys(struct payload *l, const struct keys *k, K8s__KeyToPath *const *items,
                    size_t n_items, uint32_t mode, bool optional, const char *missing,
                    struct error **err)
{
    struct str data;
    int r = 0;

    for (size_t i = 0; i < n_items && r >= 0; i++) {
        const char *key = strna(items[i]->key);

        if (key_get(k, key, &data))
            r = payload_add(l, items[i]->path, data,
                            items[i]->has_mode ? (uint32_t)items[i]->mode : mode, -1, err);
        else if (!optional)
            r = error_set(err, ENOENT, "%s: %s", missing, key);
    }
    for (size_t i = 0; i < k->n_text && !n_items && r >= 0; i++)
        r = payload_add(l, k->text[i]->key, str_of(strna(k->text[i]->value)), mode, -1, err);
    for (size_t i = 0; i < k->n_bytes && !n_items && r >= 0; i++) {
        data = (struct str){(const char *)k->bytes[i]->value.data, k->bytes[i]->value.len};
        r = payload_add(l, k->bytes[i]->key, data, mode, -1, err);
    }
    return r;
}

int payload_config_map(struct payload *l, const K8s__ConfigMap *m, K8s__KeyToPath *const *items,
                       size_t n_items, uint32_t mode, bool optional, struct error **err)
{
    struct keys k = {m->data, m->n_data, m->binarydata, m->n_binarydata};

    return add_keys(l, &k, items, n_items, mode, optional,
                    "configmap references non-existent config key", err);
}

int payload_secret(struct payload *l, const K8s__Secret *s, K8s__KeyToPath *const *items,
                   size_t n_items, uint32_t mode, bool optional, struct error **err)
{
    struct keys k = {NULL, 0, s->data, s->n_data};

    return add_keys(l, &k, items, n_items, mode, optional, "references non-existent secret key",
                    err);
}
