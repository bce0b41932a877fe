/* The file of one image, and the worker's word for one: the same JSON. */
#include "base/mem.h"
#include "codec/json.h"
#include "engine/image/store_private.h"
#include <errno.h>

void image_record_fini(struct image_record *r)
{
    free(r->id);
    free(r->manifest);
    image_strings_fini(&r->names);
    image_strings_fini(&r->digests);
    image_strings_fini(&r->layers);
    image_strings_fini(&r->diff_ids);
    *r = (struct image_record){0};
}

typedef bool (*word_ok_fn)(struct str s);

static int words_read(const json_t *o, const char *key, word_ok_fn ok, struct image_strings *ret,
                      struct error **err)
{
    json_t *list = json_object_get(o, key), *item;
    size_t i;

    if (!list)
        return 0;
    if (!json_is_array(list))
        return error_set(err, EINVAL, "image record: %s is not a list", key);
    json_array_foreach(list, i, item)
    {
        if (!json_is_string(item) || !ok(str_of(json_string_value(item))))
            return error_set(err, EINVAL, "image record: %s[%zu] is unusable", key, i);
        image_strings_add(ret, json_string_value(item));
    }
    return 0;
}

static bool name_ok(struct str s)
{
    struct image_ref ref;

    if (image_ref_parse(s, &ref, NULL) < 0)
        return false;
    image_ref_fini(&ref);
    return true;
}

static int record_read(const json_t *o, struct image_record *r, struct error **err)
{
    const char *id = json_text_or(o, "id", ""), *manifest = json_text_or(o, "manifest", NULL);
    int e;

    if (!image_digest_ok(str_of(id)))
        return error_set(err, EINVAL, "image record: id is not a sha256 digest");
    if (manifest && !image_hex_ok(str_of(manifest)))
        return error_set(err, EINVAL, "image record: manifest is not 64 hex digits");
    r->id = xstrdup(id);
    r->manifest = xstrdup_null(manifest);
    r->pinned = json_bool_or(o, "pinned", false);
    (void)wall_parse(str_of(json_text_or(o, "loadedAt", "")), &r->loaded_at);
    if ((e = words_read(o, "names", name_ok, &r->names, err)) < 0 ||
        (e = words_read(o, "digests", name_ok, &r->digests, err)) < 0 ||
        (e = words_read(o, "layers", image_hex_ok, &r->layers, err)) < 0 ||
        (e = words_read(o, "diffIDs", image_digest_ok, &r->diff_ids, err)) < 0)
        return e;
    if (r->layers.n != r->diff_ids.n || r->layers.n > IMAGE_LAYERS_MAX)
        return error_set(err, EINVAL, "image record: layers and diffIDs do not match");
    return 0;
}

int image_record_parse(struct str json, struct image_record *ret, struct error **err)
{
    cleanup_json json_t *root = NULL;
    struct image_record rec = {0};
    int r = json_parse(json, 1u << 20, "image record", &root, err);

    if (r < 0)
        return r;
    r = record_read(root, &rec, err);
    if (r < 0)
        image_record_fini(&rec);
    else
        *ret = rec;
    return r;
}

static json_t *words(const struct image_strings *l)
{
    json_t *list = json_array();

    for (size_t i = 0; i < l->n; i++)
        json_array_append_new(list, json_string(l->v[i]));
    return list;
}

int image_record_write(const struct image_record *r, struct buf *b)
{
    cleanup_json json_t *o = json_object();
    char when[WALL_TEXT];

    wall_format_micro(r->loaded_at, when);
    json_object_set_new(o, "id", json_string(r->id));
    if (r->manifest)
        json_object_set_new(o, "manifest", json_string(r->manifest));
    json_object_set_new(o, "names", words(&r->names));
    json_object_set_new(o, "digests", words(&r->digests));
    json_object_set_new(o, "layers", words(&r->layers));
    json_object_set_new(o, "diffIDs", words(&r->diff_ids));
    json_object_set_new(o, "pinned", json_boolean(r->pinned));
    json_object_set_new(o, "loadedAt", json_string(when));
    return json_write(o, b);
}
