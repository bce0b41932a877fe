#include "api/object_stream.h"
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static int no_event(enum watch_type type, void *msg, void *arg)
{
    (void)type;
    (void)msg;
    (void)arg;
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct object_watch *w =
        object_watch_new(&k8s__pod__descriptor, OBJECT_DROP_MANAGED_FIELDS, no_event, NULL);
    size_t step = n / 3 + 1;
    for (size_t i = 0; i < n; i += step)
        if (object_watch_feed(w, (struct str){(const char *)data + i, n - i < step ? n - i : step},
                              NULL) < 0)
            break;
    object_watch_free(w);
    return 0;
}
