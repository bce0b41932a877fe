#include "api/object_rules.h"
#include "base/cleanup.h"
#include "base/mem.h"

/* ---- copies ---- */

static void *alloc_arena(void *arena, size_t n)
{
    return arena_alloc(arena, n);
}

static void free_nothing(void *arena, void *p)
{
    (void)arena;
    (void)p;
}

static void *copy(const void *msg, ProtobufCAllocator *alloc)
{
    const ProtobufCMessage *m = msg;
    size_t n = protobuf_c_message_get_packed_size(m);
    cleanup_free uint8_t *wire = xmalloc(n + 1);
    (void)protobuf_c_message_pack(m, wire);
    return protobuf_c_message_unpack(m->descriptor, alloc, n, wire);
}

void *object_dup(const void *msg)
{
    return msg ? copy(msg, NULL) : NULL;
}

void *object_dup_arena(const void *msg, struct arena *a)
{
    ProtobufCAllocator alloc = {.alloc = alloc_arena, .free = free_nothing, .allocator_data = a};
    return msg ? copy(msg, &alloc) : NULL;
}

void object_free(void *msg)
{
    if (msg)
        protobuf_c_message_free_unpacked(msg, NULL);
}

/* ---- compare ---- */

static bool value_equal(const ProtobufCFieldDescriptor *f, const void *a, const void *b)
{
    switch (f->type) {
    case PROTOBUF_C_TYPE_STRING:
        return streq(*(char *const *)a, *(char *const *)b);
    case PROTOBUF_C_TYPE_MESSAGE:
        return object_equal(*(void *const *)a, *(void *const *)b);
    case PROTOBUF_C_TYPE_BYTES: {
        const ProtobufCBinaryData *x = a, *y = b;
        return x->len == y->len && (!x->len || !memcmp(x->data, y->data, x->len));
    }
    case PROTOBUF_C_TYPE_BOOL:
        return !*(const protobuf_c_boolean *)a == !*(const protobuf_c_boolean *)b;
    default:
        return !memcmp(a, b, object_element_size(f));
    }
}

/* Same entries in any order; keys are unique, and mostly in the same order. */
static bool map_equal(void *const *a, void *const *b, size_t n, const ProtobufCMessageDescriptor *d)
{
    for (size_t i = 0; i < n; i++) {
        const char *key = *(char *const *)object_slot(a[i], &d->fields[0]);
        size_t k = 0;
        while (k < n && !streq(key, *(char *const *)object_slot(b[(i + k) % n], &d->fields[0])))
            k++;
        if (k == n || !object_equal(a[i], b[(i + k) % n]))
            return false;
    }
    return true;
}

static bool list_equal(const ProtobufCFieldDescriptor *f, const void *a, const void *b)
{
    size_t n = *object_count(a, f), size = object_element_size(f);
    if (n != *object_count(b, f))
        return false;
    const char *x = *(char *const *)object_slot(a, f), *y = *(char *const *)object_slot(b, f);
    if (object_is_map(f))
        return map_equal((void *const *)x, (void *const *)y, n, f->descriptor);
    for (size_t i = 0; i < n; i++)
        if (!value_equal(f, x + i * size, y + i * size))
            return false;
    return true;
}

bool object_equal(const void *a, const void *b)
{
    if (!a || !b)
        return a == b;
    const ProtobufCMessageDescriptor *d = ((const ProtobufCMessage *)a)->descriptor;
    if (d != ((const ProtobufCMessage *)b)->descriptor)
        return false;
    for (unsigned i = 0; i < d->n_fields; i++) {
        const ProtobufCFieldDescriptor *f = &d->fields[i];
        if (object_is_set(a, f) != object_is_set(b, f))
            return false;
        if (!object_is_set(a, f))
            continue;
        if (f->label == PROTOBUF_C_LABEL_REPEATED
                ? !list_equal(f, a, b)
                : !value_equal(f, object_slot(a, f), object_slot(b, f)))
            return false;
    }
    return true;
}

/* ---- what all objects have ---- */

K8s__ObjectMeta *object_meta(const void *msg)
{
    const ProtobufCMessageDescriptor *d = ((const ProtobufCMessage *)msg)->descriptor;
    for (unsigned i = 0; i < d->n_fields; i++)
        if (d->fields[i].descriptor == &k8s__object_meta__descriptor &&
            d->fields[i].label != PROTOBUF_C_LABEL_REPEATED)
            return *(K8s__ObjectMeta **)object_slot(msg, &d->fields[i]);
    return NULL;
}

const char *object_name(const void *msg)
{
    K8s__ObjectMeta *m = object_meta(msg);
    return m ? strna(m->name) : "";
}

const char *object_namespace(const void *msg)
{
    K8s__ObjectMeta *m = object_meta(msg);
    return m ? strna(m->namespace_) : "";
}

const char *object_uid(const void *msg)
{
    K8s__ObjectMeta *m = object_meta(msg);
    return m ? strna(m->uid) : "";
}

const char *object_resource_version(const void *msg)
{
    K8s__ObjectMeta *m = object_meta(msg);
    return m ? strna(m->resourceversion) : "";
}

/* ---- pairs ---- */

const char *pairs_get(K8s__StringPair *const *v, size_t n, const char *key)
{
    for (size_t i = 0; i < n; i++)
        if (streq(v[i]->key, key))
            return strna(v[i]->value);
    return NULL;
}

void pairs_set(struct arena *a, K8s__StringPair ***v, size_t *n, const char *key, const char *value)
{
    for (size_t i = 0; i < *n; i++) {
        if (streq((*v)[i]->key, key)) {
            (*v)[i]->value = arena_strdup(a, value);
            return;
        }
    }
    K8s__StringPair *p = object_new(a, &k8s__string_pair__descriptor);
    p->key = arena_strdup(a, key);
    p->value = arena_strdup(a, value);
    object_append(a, v, n, p);
}

const char *quantities_get(K8s__QuantityPair *const *v, size_t n, const char *key)
{
    for (size_t i = 0; i < n; i++)
        if (streq(v[i]->key, key))
            return v[i]->value ? v[i]->value->string : NULL;
    return NULL;
}

void quantities_set(struct arena *a, K8s__QuantityPair ***v, size_t *n, const char *key,
                    const char *value)
{
    K8s__QuantityPair *p = NULL;
    for (size_t i = 0; i < *n; i++)
        if (streq((*v)[i]->key, key))
            p = (*v)[i];
    if (!p) {
        p = object_new(a, &k8s__quantity_pair__descriptor);
        p->key = arena_strdup(a, key);
        object_append(a, v, n, p);
    }
    p->value = object_new(a, &k8s__quantity__descriptor);
    p->value->string = arena_strdup(a, value);
}

/* ---- small values ---- */

K8s__Time *object_time(struct arena *a, struct wall t)
{
    K8s__Time *m = object_new(a, &k8s__time__descriptor);
    m->has_seconds = 1;
    m->seconds = t.ns / NSEC_PER_SEC;
    return m;
}

K8s__MicroTime *object_micro_time(struct arena *a, struct wall t)
{
    K8s__MicroTime *m = object_new(a, &k8s__micro_time__descriptor);
    m->has_seconds = m->has_nanos = 1;
    m->seconds = t.ns / NSEC_PER_SEC;
    m->nanos = (int32_t)(t.ns % NSEC_PER_SEC);
    return m;
}

K8s__IntOrString *object_int(struct arena *a, int32_t v)
{
    K8s__IntOrString *m = object_new(a, &k8s__int_or_string__descriptor);
    m->has_type = m->has_intval = 1;
    m->intval = v;
    return m;
}

K8s__IntOrString *object_int_string(struct arena *a, const char *v)
{
    K8s__IntOrString *m = object_new(a, &k8s__int_or_string__descriptor);
    m->has_type = 1;
    m->type = 1;
    m->strval = arena_strdup(a, v);
    return m;
}
