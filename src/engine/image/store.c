#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "engine/image/store_private.h"
#include <errno.h>
#include <sys/stat.h>

#define MODULE "image"

/* ---- entries ---- */
void image_entry_free(struct image_entry *e)
{
    if (!e)
        return;
    free((char *)e->im.id);
    image_strings_fini(&e->im.repo_tags);
    image_strings_fini(&e->im.repo_digests);
    image_strings_fini(&e->im.layers);
    image_strings_fini(&e->im.diff_ids);
    free(e->manifest);
    arena_fini(&e->arena);
    free(e);
}

char *image_entry_path(struct image_store *s, const char *id)
{
    return xasprintf("%s/%s.json", s->images_dir, id + strlen("sha256:"));
}

int image_entry_save(struct image_store *s, struct image_entry *e, struct error **err)
{
    cleanup_free char *path = image_entry_path(s, e->im.id);
    cleanup_buf struct buf b = {0};
    struct image_record r = {.id = (char *)e->im.id,
                             .manifest = e->manifest,
                             .names = e->im.repo_tags,
                             .digests = e->im.repo_digests,
                             .layers = e->im.layers,
                             .diff_ids = e->im.diff_ids,
                             .pinned = e->im.pinned,
                             .loaded_at = e->im.loaded_at};

    buf_init(&b, BUF_UNBOUNDED);
    image_record_write(&r, &b);
    return file_write_atomic(path, 0600, buf_str(&b), err);
}

static int entry_config(struct image_store *s, struct image_entry *e, struct error **err)
{
    cleanup_free char *path = xasprintf("%s/blobs/%s", s->images_dir, e->im.id + strlen("sha256:"));
    struct image_strings diff_ids = {0};
    struct buf b;
    int r = file_read(path, IMAGE_CONFIG_MAX, &b, err);

    if (r < 0)
        return r;
    r = image_config_data_parse(buf_str(&b), &e->arena, &e->im.config, &diff_ids, err);
    buf_fini(&b);
    if (r < 0)
        return r;
    bool same = diff_ids.n == e->im.diff_ids.n;
    for (size_t i = 0; same && i < diff_ids.n; i++)
        same = streq(diff_ids.v[i], e->im.diff_ids.v[i]);
    image_strings_fini(&diff_ids);
    return same ? 0
                : error_set(err, EINVAL,
                            "image %s: its record and its configuration name different layers",
                            e->im.id);
}

/* Takes what is in r. */
static int entry_new(struct image_store *s, struct image_record *r, struct image_entry **ret,
                     struct error **err)
{
    struct image_entry *e = xcalloc(1, sizeof(*e));
    int code;

    arena_init(&e->arena, 1024);
    e->im.id = TAKE(r->id);
    e->im.repo_tags = r->names;
    e->im.repo_digests = r->digests;
    e->im.layers = r->layers;
    e->im.diff_ids = r->diff_ids;
    e->manifest = TAKE(r->manifest);
    e->im.pinned = r->pinned;
    e->im.loaded_at = r->loaded_at;
    *r = (struct image_record){0};
    code = entry_config(s, e, err);
    for (size_t i = 0; code == 0 && i < e->im.layers.n; i++) {
        struct image_layer *l;
        code = image_layer_load(s, e->im.layers.v[i], &l, err);
        if (code == 0)
            e->im.size_bytes += l->size_bytes;
        else
            (void)error_wrap(err, "image %s: layer %.12s", e->im.id, e->im.layers.v[i]);
    }
    if (code < 0)
        image_entry_free(e);
    else
        *ret = e;
    return code;
}

static void entry_insert(struct image_store *s, struct image_entry *e)
{
    size_t at = 0;

    while (at < s->n && s->v[at]->im.loaded_at.ns > e->im.loaded_at.ns)
        at++;
    s->v = xreallocarray(s->v, s->n + 1, sizeof(*s->v));
    memmove(s->v + at + 1, s->v + at, (s->n - at) * sizeof(*s->v));
    s->v[at] = e;
    s->n++;
    image_layers_count(s, &e->im.layers, 1);
}

struct image_entry *image_store_by_id(struct image_store *s, const char *id)
{
    for (size_t i = 0; i < s->n; i++)
        if (streq(s->v[i]->im.id, id))
            return s->v[i];
    return NULL;
}

/* ---- reading and committing ---- */
static int read_image(int dirfd, const char *name, unsigned char type, void *arg)
{
    struct image_store *s = arg;
    cleanup_error struct error *err = NULL;
    struct image_record rec = {0};
    struct image_entry *e;
    struct buf b;

    if (!strends(name, ".json") || !image_hex_ok((struct str){name, strlen(name) - 5}))
        return 0;
    int r = file_read_at(dirfd, name, 1u << 20, &b, &err);
    if (r == 0) {
        r = image_record_parse(buf_str(&b), &rec, &err);
        buf_fini(&b);
    }
    if (r == 0)
        r = entry_new(s, &rec, &e, &err);
    if (r == 0) {
        entry_insert(s, e);
        return 0;
    }
    cleanup_free char *path = path_join(s->images_dir, name);
    log_warn(MODULE, "dropped an image that is not whole", "file", path, "error",
             error_message(err), NULL);
    image_trash(s, path);
    image_record_fini(&rec);
    return 0;
}

int image_store_read(struct image_store *s, struct error **err)
{
    int r = dir_each(s->images_dir, read_image, s, err);

    /* After a kill between two files a name may stand in both; the newest has it. */
    for (size_t i = 0; i < s->n; i++)
        for (size_t k = 0; k < s->v[i]->im.repo_tags.n; k++)
            for (size_t older = i + 1; older < s->n; older++)
                if (image_strings_remove(&s->v[older]->im.repo_tags, s->v[i]->im.repo_tags.v[k]))
                    (void)image_entry_save(s, s->v[older], NULL);
    return r;
}

static void add_missing(struct image_strings *to, const struct image_strings *from)
{
    for (size_t i = 0; i < from->n; i++)
        if (!image_strings_has(to, from->v[i]))
            image_strings_add(to, from->v[i]);
}

int image_store_commit(struct image_store *s, struct image_record *r, struct error **err)
{
    struct image_strings names;
    struct image_entry *e = image_store_by_id(s, r->id);
    int code = 0;

    image_strings_copy(&names, &r->names);
    if (e) {
        add_missing(&e->im.repo_tags, &r->names);
        add_missing(&e->im.repo_digests, &r->digests);
        if (r->manifest) {
            free(e->manifest);
            e->manifest = TAKE(r->manifest);
        }
    } else {
        r->loaded_at = wall_now();
        code = entry_new(s, r, &e, err);
        if (code == 0)
            entry_insert(s, e);
    }
    if (code == 0)
        code = image_entry_save(s, e, err);
    for (size_t i = 0; code == 0 && i < s->n; i++) {
        bool moved = false;
        for (size_t k = 0; s->v[i] != e && k < names.n; k++)
            moved |= image_strings_remove(&s->v[i]->im.repo_tags, names.v[k]);
        if (moved)
            (void)image_entry_save(s, s->v[i], NULL);
    }
    image_strings_fini(&names);
    image_record_fini(r);
    return code;
}

/* ---- look-up ---- */
static struct image_entry *find_hex(struct image_store *s, struct str hex)
{
    struct image_entry *found = NULL;

    if (hex.n < 4 || hex.n > 64)
        return NULL;
    for (size_t i = 0; i < s->n; i++)
        if (strncmp(s->v[i]->im.id + strlen("sha256:"), hex.p, hex.n) == 0) {
            if (found)
                return NULL; /* ambiguous */
            found = s->v[i];
        }
    return found;
}

static struct image_entry *find_name(struct image_store *s, const char *reference)
{
    struct image_ref ref;
    struct image_entry *found = NULL;

    if (image_ref_parse(str_of(reference), &ref, NULL) < 0)
        return NULL;
    cleanup_free char *name = image_ref_name(&ref);
    cleanup_free char *text =
        ref.digest ? xasprintf("%s@%s", name, ref.digest) : xasprintf("%s:%s", name, ref.tag);
    for (size_t i = 0; i < s->n && !found; i++)
        if (image_strings_has(ref.digest ? &s->v[i]->im.repo_digests : &s->v[i]->im.repo_tags,
                              text))
            found = s->v[i];
    image_ref_fini(&ref);
    return found;
}

struct image_entry *image_store_find(struct image_store *s, const char *reference,
                                     bool *ret_by_name)
{
    struct str text = str_of(reference);
    struct image_entry *e = NULL;

    *ret_by_name = false;
    if (!reference || !*reference)
        return NULL;
    bool digest = str_starts(text, STR("sha256:"));
    struct str hex = digest ? (struct str){text.p + 7, text.n - 7} : text;
    if (hex.n == 64)
        e = find_hex(s, hex);
    if (!e && !digest) {
        e = find_name(s, reference);
        *ret_by_name = e != NULL;
    }
    return e ? e : find_hex(s, hex);
}

const struct image *image_get(struct image_store *s, const char *reference)
{
    bool by_name;
    struct image_entry *e = image_store_find(s, reference, &by_name);

    return e ? &e->im : NULL;
}

const struct image *image_at(struct image_store *s, size_t i)
{
    return i < s->n ? &s->v[i]->im : NULL;
}

int image_read_blob(struct image_store *s, const char *id, const char *kind, char **ret,
                    struct error **err)
{
    struct image_entry *e = image_store_by_id(s, id);
    const char *hex = !e                      ? NULL
                      : streq(kind, "config") ? e->im.id + strlen("sha256:")
                                              : e->manifest;
    struct buf b;

    if (!hex)
        return error_set(err, ENOENT, "image %s has no %s", id, kind);
    cleanup_free char *path = xasprintf("%s/blobs/%s", s->images_dir, hex);
    int r = file_read(path, IMAGE_CONFIG_MAX, &b, err);
    if (r == 0)
        *ret = buf_take(&b);
    return r;
}

void image_store_usage(struct image_store *s, uint64_t *ret_bytes, uint64_t *ret_inodes)
{
    struct map_entry *m;
    size_t it = 0;
    uint64_t bytes = 0, inodes = 0;

    while ((m = map_next(&s->layers, &it))) {
        const struct image_layer *l = m->value;
        bytes += l->size_bytes;
        inodes += l->inodes;
    }
    *ret_bytes = bytes;
    *ret_inodes = inodes;
}
