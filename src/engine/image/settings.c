/* Registry settings out of dockerd's daemon.json. */
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "codec/json.h"
#include "engine/image/image.h"
#include <errno.h>

#define MODULE "image"

void image_config_fini(struct image_config *c)
{
    free(c->data_root);
    free(c->worker_path);
    free(c->certs_dir);
    free(c->platform);
    image_strings_fini(&c->mirrors);
    image_strings_fini(&c->insecure);
    *c = (struct image_config){0};
}

static bool mirror_usable(const char *url)
{
    const char *rest = strstarts(url, "https://")  ? url + 8
                       : strstarts(url, "http://") ? url + 7
                                                   : NULL;

    if (rest && *rest && *rest != '/' && !strpbrk(rest, "?#@ "))
        return true;
    log_warn(MODULE,
             rest ? "registry mirror left out: not a plain URL"
                  : "registry mirror left out: it has no scheme; write https:// before it",
             "mirror", url, NULL);
    return false;
}

static int list_read(const json_t *root, const char *key, const char *path,
                     struct image_strings *ret, struct error **err)
{
    json_t *list = json_object_get(root, key), *item;
    size_t i;

    if (!list)
        return 0;
    if (!json_is_array(list))
        return error_set(err, EINVAL, "%s: \"%s\" is not a list", path, key);
    json_array_foreach(list, i, item)
    {
        if (!json_is_string(item))
            return error_set(err, EINVAL, "%s: \"%s\"[%zu] is not text", path, key, i);
        image_strings_add(ret, json_string_value(item));
    }
    return 0;
}

int image_config_read_daemon_json(struct image_config *c, const char *path, struct error **err)
{
    cleanup_json json_t *root = NULL;
    struct image_strings mirrors = {0};
    struct buf b;
    int r;

    if (!path_exists(path))
        return 0;
    if ((r = file_read(path, 1u << 20, &b, err)) < 0)
        return r;
    r = json_parse(buf_str(&b), 1u << 20, path, &root, err);
    buf_fini(&b);
    if (r < 0)
        return r;
    if (!json_is_object(root))
        return error_set(err, EINVAL, "%s: not a JSON object", path);
    if ((r = list_read(root, "registry-mirrors", path, &mirrors, err)) == 0)
        r = list_read(root, "insecure-registries", path, &c->insecure, err);
    for (size_t i = 0; i < mirrors.n; i++)
        if (mirror_usable(mirrors.v[i]))
            image_strings_add(&c->mirrors, mirrors.v[i]);
    image_strings_fini(&mirrors);
    if (r == 0 && json_object_get(root, "max-concurrent-downloads"))
        c->downloads_max = json_int_or(root, "max-concurrent-downloads", 3);
    return r;
}
