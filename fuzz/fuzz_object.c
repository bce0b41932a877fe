#include "api/object.h"
#include "api/object_stream.h"
#include <stdlib.h>
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static int no_item(void *msg, void *arg)
{
    (void)msg;
    (void)arg;
    return 0;
}

/* What decodes must encode to something that decodes to the same. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct str text = {(const char *)data, n};
    struct arena a;
    arena_init(&a, 0);
    K8s__Pod *p = NULL, *q = NULL;
    if (object_decode_json(&k8s__pod__descriptor, text, 0, &a, &p, NULL) == 0) {
        struct buf b;
        buf_init(&b, BUF_UNBOUNDED);
        if (object_encode_json(p, &b) < 0 ||
            object_decode_json(&k8s__pod__descriptor, buf_str(&b), 0, &a, &q, NULL) < 0 ||
            !object_equal(p, q))
            abort();
        buf_fini(&b);
    }
    struct object_list *l = object_list_new(&k8s__pod__descriptor, 0, no_item, NULL);
    size_t half = n / 2;
    if (object_list_feed(l, (struct str){text.p, half}, NULL) == 0 &&
        object_list_feed(l, (struct str){text.p + half, n - half}, NULL) == 0)
        (void)object_list_end(l, NULL);
    object_list_free(l);
    arena_fini(&a);
    return 0;
}
