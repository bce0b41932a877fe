/* Pulling one image: manifest, configuration, layers. */
#include "base/file.h"
#include "base/mem.h"
#include "base/sha256.h"
#include "engine/image/manifest.h"
#include "engine/image/registry.h"
#include <curl/curl.h>
#include <errno.h>

struct pull {
    const struct worker_request *q;
    struct image_ref ref;
    struct registry *registry;
    struct manifest manifest;
    struct buf manifest_text;
    char top_digest[72]; /* what the name resolved to: an index or a manifest */
};

/* Documents that are here already need no second trip. */
static bool blob_cached(const struct worker_request *q, const char *digest, struct buf *ret)
{
    cleanup_free char *path = xasprintf("%s/images/blobs/%s", q->root, digest + strlen("sha256:"));
    char hex[65];

    if (file_read(path, MANIFEST_MAX, ret, NULL) < 0)
        return false;
    sha256_hex(ret->p, ret->n, hex);
    if (streq(hex, digest + strlen("sha256:")))
        return true;
    buf_fini(ret);
    return false;
}

static int manifest_resolve(struct pull *p, struct error **err)
{
    cleanup_free char *platform = p->q->platform ? xstrdup(p->q->platform) : manifest_platform();
    cleanup_free char *reference = xstrdup(p->ref.digest ? p->ref.digest : p->ref.tag);

    for (int depth = 0; depth < 4; depth++) {
        char digest[72];
        buf_fini(&p->manifest_text);
        manifest_fini(&p->manifest);
        if (!strstarts(reference, "sha256:") || !blob_cached(p->q, reference, &p->manifest_text)) {
            int r = registry_manifest(p->registry, reference, &p->manifest_text, digest, err);
            if (r < 0)
                return r;
        } else {
            (void)snprintf(digest, sizeof(digest), "%s", reference);
        }
        if (depth == 0)
            (void)snprintf(p->top_digest, sizeof(p->top_digest), "%s", digest);
        int r = manifest_parse(buf_str(&p->manifest_text), &p->manifest, err);
        if (r < 0)
            return error_wrap(err, "failed to pull and unpack image \"%s\"", p->q->ref);
        if (!p->manifest.index)
            return 0;
        const struct descriptor *d = manifest_choose(&p->manifest, platform);
        if (!d)
            return error_set(err, ENOENT,
                             "failed to pull and unpack image \"%s\": no match for platform %s in "
                             "manifest: not found",
                             p->q->ref, platform);
        str_replace(&reference, d->digest);
    }
    return error_set(err, EINVAL,
                     "failed to pull and unpack image \"%s\": indexes are nested too deep",
                     p->q->ref);
}

static bool config_kind_ok(const char *type)
{
    return !*type || streq(type, "application/vnd.oci.image.config.v1+json") ||
           streq(type, "application/vnd.docker.container.image.v1+json") ||
           streq(type, "application/octet-stream");
}

static int open_layer(void *arg, size_t i, struct source **ret, struct error **err)
{
    struct pull *p = arg;

    return registry_blob_open(p->registry, p->manifest.v[i].digest, p->manifest.v[i].size, ret,
                              err);
}

static int pull_layers(struct pull *p, const struct image_record *rec, struct error **err)
{
    struct layer_task *tasks = xcalloc(p->manifest.n + 1, sizeof(*tasks));
    int r = 0;

    if (rec->diff_ids.n != p->manifest.n)
        r = error_set(
            err, EBADMSG,
            "failed to pull and unpack image \"%s\": %zu layers, but the configuration names %zu",
            p->q->ref, p->manifest.n, rec->diff_ids.n);
    for (size_t i = 0; r == 0 && i < p->manifest.n; i++) {
        const struct descriptor *d = &p->manifest.v[i];
        if (strends(d->media_type, "+encrypted"))
            r = error_set(err, ENOTSUP,
                          "failed to pull and unpack image \"%s\": its layers are encrypted",
                          p->q->ref);
        (void)snprintf(tasks[i].diff_id, sizeof(tasks[i].diff_id), "%s", rec->diff_ids.v[i]);
        (void)snprintf(tasks[i].chain, sizeof(tasks[i].chain), "%s", rec->layers.v[i]);
        (void)snprintf(tasks[i].blob, sizeof(tasks[i].blob), "%s", d->digest);
        (void)snprintf(tasks[i].label, sizeof(tasks[i].label), "%.12s",
                       d->digest + strlen("sha256:"));
        tasks[i].blob_bytes = d->size;
    }
    if (r == 0)
        r = layers_make(p->q, tasks, p->manifest.n, open_layer, p, err);
    free(tasks);
    if (r < 0 && err && *err && !strstarts((*err)->message, "failed to pull"))
        error_wrap(err, "failed to pull and unpack image \"%s\"", p->q->ref);
    return r;
}

static int pull_config(struct pull *p, struct buf *ret, struct error **err)
{
    const struct descriptor *c = &p->manifest.config;

    if (!config_kind_ok(c->media_type))
        return error_set(err, EINVAL,
                         "failed to pull and unpack image \"%s\": not a container image but %s",
                         p->q->ref, c->media_type);
    return blob_cached(p->q, c->digest, ret)
               ? 0
               : registry_blob(p->registry, c->digest, IMAGE_CONFIG_MAX, ret, err);
}

static int pull_image(struct pull *p, struct error **err)
{
    struct image_record rec = {0};
    struct buf config;
    cleanup_buf struct buf b = {0};
    char hex[65];
    int r;

    buf_init(&b, MESSAGE_MAX);
    if ((r = manifest_resolve(p, err)) < 0 || (r = pull_config(p, &config, err)) < 0)
        return r;
    r = worker_image_begin(p->q, buf_str(&config), &rec, err);
    buf_fini(&config);
    if (r == 0)
        r = pull_layers(p, &rec, err);
    if (r == 0)
        r = blob_store(p->q, buf_str(&p->manifest_text), hex, err);
    if (r == 0) {
        cleanup_free char *name = image_ref_name(&p->ref),
                          *digest = xasprintf("%s@%s", name, p->top_digest);
        rec.manifest = xstrdup(hex);
        image_strings_add(&rec.digests, digest);
        if (p->ref.tag && !p->ref.digest) {
            cleanup_free char *text = image_ref_text(&p->ref);
            image_strings_add(&rec.names, text);
        }
        worker_message_image(&b, &rec, p->top_digest);
        worker_send(&b);
    }
    image_record_fini(&rec);
    return r;
}

int worker_pull(const struct worker_request *q, struct error **err)
{
    struct pull p = {.q = q};
    int r;

    curl_global_init(CURL_GLOBAL_DEFAULT);
    buf_init(&p.manifest_text, MANIFEST_MAX);
    if ((r = image_ref_parse(str_of(q->ref), &p.ref, err)) < 0)
        return r;
    cleanup_free char *what = xasprintf("Pulling from %s", p.ref.path);
    worker_progress(p.ref.tag ? p.ref.tag : "", what, 0, 0);
    registry_new(q, &p.ref, &p.registry);
    r = pull_image(&p, err);
    registry_free(p.registry);
    manifest_fini(&p.manifest);
    buf_fini(&p.manifest_text);
    image_ref_fini(&p.ref);
    return r;
}
