#include "server/http/types.h"
#include "api/object.h"
#include "codec/json.h"

int types_check(const struct resource *r, const char *version, const json_t *object,
                struct api_status *st)
{
    cleanup_buf struct buf text = {.max = OBJECT_BYTES_MAX};
    struct error *err = NULL;
    struct arena arena;
    void *message = NULL;
    int rc = 0;

    if (!r->type || json_write(object, &text) < 0)
        return 0;
    arena_init(&arena, 16 << 10);
    if (object_decode_json(r->type, buf_str(&text), 0, &arena, &message, &err) < 0)
        rc = status_bad(st, "%s in version \"%s\" cannot be handled as a %s: %s", r->kind, version,
                        r->kind, error_message(err));
    arena_fini(&arena);
    error_free(err);
    return rc;
}
