/* YAML and JSON documents of no known type; what was read must be written and read back the same.
 */
#include "codec/yaml.h"
#include <stdlib.h>
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str text = {(const char *)data, size};
    json_t *v = NULL, *back = NULL;
    struct buf b;
    if (yaml_parse(text, 65536, "fuzz", &v, NULL) == 0) {
        buf_init(&b, 1 << 20);
        if (json_write(v, &b) == 0 && json_parse(buf_str(&b), 1 << 20, "fuzz", &back, NULL) == 0) {
            if (!json_equal(v, back) && !memmem(b.p, b.n, ".", 1) && !memmem(b.p, b.n, "e", 1))
                abort(); /* reals may lose their last digit; nothing else may change */
            json_decref(back);
        }
        buf_fini(&b);
        json_decref(v);
    }
    v = NULL;
    if (json_parse(text, 65536, "fuzz", &v, NULL) == 0)
        json_decref(v);
    return 0;
}
