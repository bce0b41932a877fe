/* The configuration in effect, in the shape of KubeletConfiguration; for /configz. */
#include "codec/json.h"
#include "base/time.h"
#include "kubelet/config_table.h"

static json_t *value_of(const struct kubelet_config *c, const struct config_row *r)
{
    const void *from = (const char *)c + r->offset;
    char text[WALL_TEXT];
    json_t *list;

    switch (r->type) {
    case CONFIG_BOOL:
        return json_boolean(*(const bool *)from);
    case CONFIG_INT:
        return json_integer(*(const int64_t *)from);
    case CONFIG_DURATION:
        duration_format(*(const int64_t *)from, text);
        return json_string(text);
    case CONFIG_TEXT:
        return *(char *const *)from ? json_string(*(char *const *)from) : NULL;
    case CONFIG_TEXTS:
        list = json_array();
        for (size_t i = 0; i < ((const struct flag_list *)from)->n; i++)
            (void)json_array_append_new(list, json_string(((const struct flag_list *)from)->v[i]));
        return list;
    case CONFIG_MAP:
    case CONFIG_NUMBER:
    case CONFIG_ANY:
    case CONFIG_OBJECT:
    case CONFIG_REMOVED:
        break;
    }
    return NULL;
}

static void put(json_t *doc, const char *path, json_t *v)
{
    struct str rest = str_of(path);
    json_t *at = doc;

    for (;;) {
        struct str part = str_split(&rest, '.');
        char key[128];
        json_t *next;

        (void)snprintf(key, sizeof(key), "%.*s", STR_FMT(part));
        if (!rest.p) {
            (void)json_object_set_new(at, key, v);
            return;
        }
        next = json_object_get(at, key);
        if (!next) {
            next = json_object();
            (void)json_object_set_new(at, key, next);
        }
        at = next;
    }
}

void kubelet_config_json(const struct kubelet_config *c, struct buf *b)
{
    cleanup_json json_t *doc = json_object();

    for (size_t i = 0; i < config_rows_n; i++) {
        json_t *v = config_rows[i].offset == CONFIG_NOWHERE ? NULL : value_of(c, &config_rows[i]);

        if (v)
            put(doc, config_rows[i].path, v);
    }
    (void)json_write(doc, b);
}
