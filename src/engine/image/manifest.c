#include "engine/image/manifest.h"
#include "base/cleanup.h"
#include "base/mem.h"
#include "codec/json.h"
#include "engine/image/ref.h"
#include <errno.h>
#include <sys/utsname.h>

#define ENTRIES_MAX 1000

static void descriptor_fini(struct descriptor *d)
{
    free(d->media_type);
    free(d->digest);
    free(d->os);
    free(d->architecture);
    free(d->variant);
    free(d->ref_name);
}

void manifest_fini(struct manifest *m)
{
    descriptor_fini(&m->config);
    for (size_t i = 0; i < m->n; i++)
        descriptor_fini(&m->v[i]);
    free(m->v);
    *m = (struct manifest){0};
}

static int descriptor_read(const json_t *o, const char *what, struct descriptor *d,
                           struct error **err)
{
    const char *digest = json_text_or(o, "digest", "");
    int64_t size = json_int_or(o, "size", 0);
    json_t *platform = json_object_get(o, "platform");
    const char *name = json_text_at(o, "annotations", "io.containerd.image.name", NULL);

    if (!json_is_object(o))
        return error_set(err, EINVAL, "manifest: %s is not an object", what);
    if (!image_digest_ok(str_of(digest)))
        return error_set(err, EINVAL, "manifest: the digest of %s is not a sha256 digest", what);
    if (size < 0)
        return error_set(err, EINVAL, "manifest: the size of %s is negative", what);
    if (!name)
        name = json_text_at(o, "annotations", "org.opencontainers.image.ref.name", NULL);
    *d = (struct descriptor){
        .media_type = xstrdup(json_text_or(o, "mediaType", "")),
        .digest = xstrdup(digest),
        .size = (uint64_t)size,
        .os = xstrdup_null(json_text_or(platform, "os", NULL)),
        .architecture = xstrdup_null(json_text_or(platform, "architecture", NULL)),
        .variant = xstrdup_null(json_text_or(platform, "variant", NULL)),
        .has_features = json_array_size(json_object_get(platform, "os.features")) > 0,
        .ref_name = xstrdup_null(name),
    };
    return 0;
}

static int list_read(const json_t *list, const char *what, struct manifest *m, struct error **err)
{
    json_t *item;
    size_t i;

    if (!json_is_array(list) || json_array_size(list) > ENTRIES_MAX)
        return error_set(err, EINVAL, "manifest: %s is missing, not a list or too long", what);
    m->v = xcalloc(json_array_size(list) + 1, sizeof(*m->v));
    json_array_foreach(list, i, item)
    {
        int r = descriptor_read(item, what, &m->v[i], err);
        if (r < 0)
            return r;
        m->n = i + 1;
    }
    return 0;
}

int manifest_parse(struct str json, struct manifest *ret, struct error **err)
{
    cleanup_json json_t *root = NULL;
    struct manifest m = {0};
    int r = json_parse(json, MANIFEST_MAX, "manifest", &root, err);

    if (r < 0)
        return r;
    if (!json_is_object(root))
        return error_set(err, EINVAL, "manifest: not an object");
    int64_t version = json_int_or(root, "schemaVersion", 0);
    if (version != 2)
        return error_set(err, EINVAL, "manifest: schema version %lld is not served, only 2",
                         (long long)version);
    m.index = json_object_get(root, "manifests") != NULL;
    if (m.index) {
        r = list_read(json_object_get(root, "manifests"), "manifests", &m, err);
    } else {
        r = descriptor_read(json_object_get(root, "config"), "config", &m.config, err);
        if (r == 0)
            r = list_read(json_object_get(root, "layers"), "layers", &m, err);
    }
    if (r < 0)
        manifest_fini(&m);
    else
        *ret = m;
    return r;
}

/* arm64 has one variant, which people write or leave out. */
static bool variant_fits(struct str arch, struct str wanted, const char *offered)
{
    if (!wanted.n || !offered || !*offered)
        return true;
    return str_eq_z(wanted, offered) || (str_eq_z(arch, "arm64") && str_eq_z(wanted, "v8"));
}

const struct descriptor *manifest_choose(const struct manifest *index, const char *platform)
{
    struct str rest = str_of(platform), os = str_split(&rest, '/'), arch = str_split(&rest, '/'),
               variant = rest;
    const struct descriptor *loose = NULL;

    for (size_t i = 0; i < index->n; i++) {
        const struct descriptor *d = &index->v[i];
        if (!d->os && !d->architecture && !loose)
            loose = d;
        if (!d->os || !d->architecture || d->has_features || !str_eq_z(os, d->os) ||
            !str_eq_z(arch, d->architecture))
            continue;
        if (variant_fits(arch, variant, d->variant))
            return d;
    }
    return index->n == 1 ? loose : NULL;
}

char *manifest_platform(void)
{
    static const struct {
        const char *machine, *platform;
    } known[] = {
        {"x86_64", "linux/amd64"},  {"aarch64", "linux/arm64/v8"}, {"armv7l", "linux/arm/v7"},
        {"armv6l", "linux/arm/v6"}, {"riscv64", "linux/riscv64"},  {"ppc64le", "linux/ppc64le"},
        {"s390x", "linux/s390x"},   {"i686", "linux/386"},
    };
    struct utsname u;

    if (uname(&u) == 0)
        for (size_t i = 0; i < ARRAY_LEN(known); i++)
            if (streq(u.machine, known[i].machine))
                return xstrdup(known[i].platform);
    return xstrdup("linux/amd64");
}
