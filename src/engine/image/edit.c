/* Naming, pinning and removing images. */
#include "base/log.h"
#include "base/mem.h"
#include "engine/image/store_private.h"
#include <errno.h>

#define MODULE "image"

static int find_or_fail(struct image_store *s, const char *reference, struct image_entry **ret,
                        bool *by_name, struct error **err)
{
    *ret = image_store_find(s, reference, by_name);
    return *ret ? 0 : error_set(err, ENOENT, "No such image: %s", strna(reference));
}

int image_tag(struct image_store *s, const char *reference, const char *name, struct error **err)
{
    struct image_entry *e;
    struct image_ref ref;
    bool by_name;
    int r;

    if ((r = find_or_fail(s, reference, &e, &by_name, err)) < 0 ||
        (r = image_ref_parse(str_of(name), &ref, err)) < 0)
        return r;
    cleanup_free char *text = image_ref_text(&ref);
    bool digest = ref.digest != NULL;
    image_ref_fini(&ref);
    if (digest)
        return error_set(err, EINVAL, "refusing to create a tag with a digest reference: %s", name);
    struct image_record rec = {.id = xstrdup(e->im.id)};
    image_strings_add(&rec.names, text);
    return image_store_commit(s, &rec, err);
}

int image_pin(struct image_store *s, const char *reference, bool pinned, struct error **err)
{
    struct image_entry *e;
    bool by_name;
    int r = find_or_fail(s, reference, &e, &by_name, err);

    if (r < 0)
        return r;
    e->im.pinned = pinned;
    return image_entry_save(s, e, err);
}

static void note(struct image_strings *l, const char *text)
{
    if (l)
        image_strings_add(l, text);
}

static int entry_delete(struct image_store *s, struct image_entry *e,
                        struct image_strings *untagged, struct image_strings *deleted,
                        struct error **err)
{
    cleanup_free char *path = image_entry_path(s, e->im.id);
    size_t at = 0;

    if (unlink(path) < 0 && errno != ENOENT)
        return error_set_errno(err, errno, "remove %s", path);
    for (size_t i = 0; i < e->im.repo_tags.n; i++)
        note(untagged, e->im.repo_tags.v[i]);
    for (size_t i = 0; i < e->im.repo_digests.n; i++)
        note(untagged, e->im.repo_digests.v[i]);
    note(deleted, e->im.id);
    while (s->v[at] != e)
        at++;
    memmove(s->v + at, s->v + at + 1, (s->n - at - 1) * sizeof(*s->v));
    s->n--;
    image_layers_count(s, &e->im.layers, -1);
    const char *const blobs[] = {e->im.id + strlen("sha256:"), e->manifest};
    for (size_t i = 0; i < ARRAY_LEN(blobs); i++)
        if (blobs[i]) {
            cleanup_free char *blob = xasprintf("%s/blobs/%s", s->images_dir, blobs[i]);
            (void)unlink(blob);
        }
    for (size_t i = e->im.layers.n; i-- > 0;) {
        const struct image_layer *l = map_get(&s->layers, e->im.layers.v[i]);
        if (deleted && l && l->refs == 0) {
            cleanup_free char *text = xasprintf("sha256:%s", e->im.layers.v[i]);
            image_strings_add(deleted, text);
        }
    }
    image_layers_collect(s, &e->im.layers);
    log_info(MODULE, "image removed", "image", e->im.id, NULL);
    image_entry_free(e);
    return 0;
}

static int untag(struct image_store *s, struct image_entry *e, const char *reference,
                 struct image_strings *untagged, struct error **err)
{
    struct image_ref ref;
    int r = image_ref_parse(str_of(reference), &ref, err);

    if (r < 0)
        return r;
    cleanup_free char *name = image_ref_name(&ref);
    cleanup_free char *text =
        ref.digest ? xasprintf("%s@%s", name, ref.digest) : xasprintf("%s:%s", name, ref.tag);
    if (image_strings_remove(ref.digest ? &e->im.repo_digests : &e->im.repo_tags, text))
        note(untagged, text);
    image_ref_fini(&ref);
    return image_entry_save(s, e, err);
}

int image_remove(struct image_store *s, const char *reference, unsigned flags,
                 struct image_strings *untagged, struct image_strings *deleted, struct error **err)
{
    struct image_entry *e;
    bool by_name;
    int r = find_or_fail(s, reference, &e, &by_name, err);

    if (r < 0)
        return r;
    if (e->im.pinned)
        return error_set(err, EBUSY, "image %s is pinned", reference);
    if ((flags & IMAGE_REMOVE_UNTAG) && by_name &&
        e->im.repo_tags.n + (strchr(reference, '@') ? 1u : 0u) > 1)
        return untag(s, e, reference, untagged, err);
    if ((flags & IMAGE_REMOVE_UNTAG) && !by_name && !(flags & IMAGE_REMOVE_FORCE) &&
        e->im.repo_tags.n > 1)
        return error_set(err, EBUSY,
                         "conflict: unable to delete %.12s (must be forced) - image is referenced "
                         "in multiple repositories",
                         e->im.id + strlen("sha256:"));
    if (s->in_use && s->in_use(e->im.id, s->in_use_arg))
        return error_set(err, EBUSY,
                         "conflict: unable to remove \"%s\": a container is using image %.12s",
                         reference, e->im.id + strlen("sha256:"));
    return entry_delete(s, e, untagged, deleted, err);
}
