/* Two JSON values split by a NUL byte: an object and a patch of each of the three kinds. */
#include "codec/json.h"
#include "server/registry/patch.h"
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *cut = size ? memchr(data, 0, size) : NULL;
    json_t *object = NULL, *patch = NULL, *out;
    if (!cut)
        return 0;
    if (json_parse((struct str){(const char *)data, (size_t)(cut - data)}, 65536, "object", &object,
                   NULL) == 0 &&
        json_parse((struct str){(const char *)cut + 1, size - (size_t)(cut - data) - 1}, 65536,
                   "patch", &patch, NULL) == 0) {
        out = NULL;
        if (patch_json(object, patch, &out, NULL) == 0)
            json_decref(out);
        if (patch_merge(object, patch, &out, NULL) == 0)
            json_decref(out);
        if (json_is_object(object) && patch_strategic(object, patch, "Pod", &out, NULL) == 0)
            json_decref(out);
    }
    json_decref(object);
    json_decref(patch);
    return 0;
}
