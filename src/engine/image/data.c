#include "base/arena.h"
#include "base/mem.h"
#include "codec/json.h"
#include "engine/image/store_private.h"
#include <errno.h>

static const char *text_member(struct arena *a, const json_t *o, const char *key)
{
    return arena_strdup(a, json_text_or(o, key, ""));
}

static int strings_member(struct arena *a, const json_t *o, const char *key,
                          struct image_strings *ret, struct error **err)
{
    json_t *list = json_object_get(o, key);
    size_t i;
    json_t *item;

    *ret = (struct image_strings){0};
    if (!list || json_is_null(list))
        return 0;
    if (json_is_string(list)) { /* old images carry a command as one word */
        ret->v = arena_alloc(a, sizeof(char *));
        ret->v[ret->n++] = arena_strdup(a, json_string_value(list));
        return 0;
    }
    if (!json_is_array(list))
        return error_set(err, EINVAL, "image configuration: %s is not a list", key);
    ret->v = arena_alloc(a, sizeof(char *) * (json_array_size(list) + 1));
    json_array_foreach(list, i, item)
    {
        if (!json_is_string(item))
            return error_set(err, EINVAL, "image configuration: %s[%zu] is not text", key, i);
        ret->v[ret->n++] = arena_strdup(a, json_string_value(item));
    }
    return 0;
}

static void keys_member(struct arena *a, const json_t *o, const char *key,
                        struct image_strings *keys, struct image_strings *values)
{
    json_t *map = json_object_get(o, key), *value;
    const char *name;

    *keys = (struct image_strings){0};
    if (values)
        *values = (struct image_strings){0};
    if (!json_is_object(map))
        return;
    keys->v = arena_alloc(a, sizeof(char *) * (json_object_size(map) + 1));
    if (values)
        values->v = arena_alloc(a, sizeof(char *) * (json_object_size(map) + 1));
    json_object_foreach(map, name, value)
    {
        keys->v[keys->n++] = arena_strdup(a, name);
        if (values)
            values->v[values->n++] =
                arena_strdup(a, json_is_string(value) ? json_string_value(value) : "");
    }
}

static int diff_ids_read(const json_t *root, struct image_strings *ret, struct error **err)
{
    json_t *list = json_at(root, "rootfs", "diff_ids", NULL), *item;
    size_t i;

    if (!json_is_array(list))
        return error_set(err, EINVAL, "image configuration: rootfs.diff_ids is missing");
    if (json_array_size(list) > IMAGE_LAYERS_MAX)
        return error_set(err, EINVAL, "image configuration: %zu layers, at most %d can be mounted",
                         json_array_size(list), IMAGE_LAYERS_MAX);
    json_array_foreach(list, i, item)
    {
        if (!image_digest_ok(str_of(json_string_value(item))))
            return error_set(err, EINVAL,
                             "image configuration: rootfs.diff_ids[%zu] is not a sha256 digest", i);
        image_strings_add(ret, json_string_value(item));
    }
    return 0;
}

int image_config_data_parse(struct str json, struct arena *a, struct image_config_data *ret,
                            struct image_strings *ret_diff_ids, struct error **err)
{
    cleanup_json json_t *root = NULL;
    struct image_config_data d = {0};
    struct image_strings diff_ids = {0};
    int r = json_parse(json, IMAGE_CONFIG_MAX, "image configuration", &root, err);

    if (r < 0)
        return r;
    if (!json_is_object(root))
        return error_set(err, EINVAL, "image configuration: not an object");
    json_t *c = json_object_get(root, "config");
    if (!json_is_object(c))
        c = NULL;
    d.user = text_member(a, c, "User");
    d.workdir = text_member(a, c, "WorkingDir");
    d.stop_signal = text_member(a, c, "StopSignal");
    d.os = text_member(a, root, "os");
    d.architecture = text_member(a, root, "architecture");
    d.variant = text_member(a, root, "variant");
    d.author = text_member(a, root, "author");
    d.created = text_member(a, root, "created");
    if ((r = strings_member(a, c, "Env", &d.env, err)) < 0 ||
        (r = strings_member(a, c, "Entrypoint", &d.entrypoint, err)) < 0 ||
        (r = strings_member(a, c, "Cmd", &d.cmd, err)) < 0)
        return r;
    keys_member(a, c, "Volumes", &d.volumes, NULL);
    keys_member(a, c, "ExposedPorts", &d.exposed_ports, NULL);
    keys_member(a, c, "Labels", &d.label_keys, &d.label_values);
    if (ret_diff_ids) {
        if ((r = diff_ids_read(root, &diff_ids, err)) < 0) {
            image_strings_fini(&diff_ids);
            return r;
        }
        *ret_diff_ids = diff_ids;
    }
    *ret = d;
    return 0;
}
