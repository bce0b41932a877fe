#include "engine/core.h"
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/random.h"
#include <errno.h>

void engine_new_id(char out[static ID_TEXT])
{
    uint8_t raw[ID_HEX / 2];
    cleanup_buf struct buf text;

    random_bytes(raw, sizeof raw);
    buf_init(&text, ID_TEXT);
    (void)buf_add_hex(&text, raw, sizeof raw);
    memcpy(out, text.p, ID_HEX);
    out[ID_HEX] = 0;
}

int engine_find(const struct map *m, const char *kind, const char *id, void **ret,
                struct error **err)
{
    void *found = map_get(m, id);
    struct map_entry *e;
    size_t it = 0, n = 0;

    if (found) {
        *ret = found;
        return 0;
    }
    while (id[0] && (e = map_next(m, &it)))
        if (strstarts(e->key, id)) {
            found = e->value;
            n++;
        }
    if (n > 1)
        return error_set(err, EINVAL, "%zu %s IDs begin with \"%s\"", n, kind, id);
    if (!n)
        return error_set(err, ENOENT, "%s \"%s\" not found", kind, id);
    *ret = found;
    return 0;
}
