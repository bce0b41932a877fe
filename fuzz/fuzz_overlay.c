/* First byte chooses: a Node's JSON into a lease, or a subnet file. */
#include "api/object.h"
#include "overlay/lease.h"
#include "overlay/output.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void lease(struct str text)
{
    struct arena a;
    K8s__Node *n;
    struct lease l, again;
    struct buf b;

    arena_init(&a, 0);
    buf_init(&b, 65536);
    if (object_decode_json(&k8s__node__descriptor, text, 0, &a, &n, NULL) == 0 &&
        lease_read(n, &l, NULL) == 0 && lease_is_complete(&l) && lease_format_patch(&l, &b) == 0 &&
        object_decode_json(&k8s__node__descriptor, buf_str(&b), 0, &a, &n, NULL) == 0)
        (void)lease_read(n, &again, NULL);
    buf_fini(&b);
    arena_fini(&a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct output o;
    struct str text = {(const char *)data + 1, size ? size - 1 : 0};

    if (size == 0 || size > 65536)
        return 0;
    if (data[0] & 1)
        lease(text);
    else
        (void)output_parse(text, &o, NULL);
    return 0;
}
