/*
 * Kubernetes objects as protobuf-c structs of api/k8s.proto, with one decoder, encoder, copy and
 * compare for all of them, driven by the descriptors. JSON is read by streaming events, never as a
 * tree.
 *
 * Decoded objects live in the caller's arena and die with it; object_dup gives a heap copy for
 * object_free. Rules on input: valid UTF-8 (no overlong forms, no surrogates), depth at most
 * OBJECT_DEPTH_MAX, a key twice in one object is an error, a wrong type is an error that names the
 * path, null is absent, unknown keys are skipped (an error with OBJECT_STRICT). The order of keys
 * is free.
 */
#pragma once
#include "base/arena.h"
#include "base/buf.h"
#include "base/error.h"
#include "base/time.h"
#include "k8s.pb-c.h"

#define OBJECT_DEPTH_MAX 64
#define OBJECT_BYTES_MAX ((size_t)8 << 20) /* one object in a list or watch */
enum {
    OBJECT_DROP_MANAGED_FIELDS = 1u << 0,
    OBJECT_STRICT = 1u << 1,
};

/* lifecycle */
void *object_new(struct arena *a, const ProtobufCMessageDescriptor *d);
/* *ret_msg is a pointer to the struct of d. */
int object_decode_json(const ProtobufCMessageDescriptor *d, struct str json, unsigned flags,
                       struct arena *a, void *ret_msg, struct error **err);
/* Appends; apiVersion and kind are written for types that are kinds of their own. -EMSGSIZE. */
int object_encode_json(const void *msg, struct buf *b);
void *object_dup(const void *msg); /* heap; object_free */
void *object_dup_arena(const void *msg, struct arena *a);
void object_free(void *msg); /* only for object_dup; NULL accepted */
/* Same content; the order of map entries does not matter. NULLs are equal to one another. */
bool object_equal(const void *a, const void *b);

/* kinds: one row per type that stands alone in the API */
struct object_kind {
    const ProtobufCMessageDescriptor *desc;
    const char *group; /* "" for core */
    const char *version;
    const char *kind;
    const char *plural;
    bool namespaced;
};
const struct object_kind *object_kind_of(const ProtobufCMessageDescriptor *d); /* NULL when none */
/* By "apps/v1" + "DaemonSet"; NULL when we have no type for it. */
const struct object_kind *object_kind_find(struct str api_version, struct str kind);
/* "v1" or "apps/v1"; out large enough for all rows. */
#define OBJECT_API_VERSION_TEXT 64
void object_kind_api_version(const struct object_kind *k, char out[static OBJECT_API_VERSION_TEXT]);

/* fields every object has; NULL or "" safe, never NULL unless said */
K8s__ObjectMeta *object_meta(const void *msg); /* NULL when there is none */
const char *object_name(const void *msg);      /* "" */
const char *object_namespace(const void *msg); /* "" */
const char *object_uid(const void *msg);       /* "" */
const char *object_resource_version(const void *msg);

/* string maps: repeated StringPair and its kin */
const char *pairs_get(K8s__StringPair *const *v, size_t n, const char *key); /* NULL when absent */
void pairs_set(struct arena *a, K8s__StringPair ***v, size_t *n, const char *key,
               const char *value);
const char *quantities_get(K8s__QuantityPair *const *v, size_t n,
                           const char *key); /* NULL when absent */
void quantities_set(struct arena *a, K8s__QuantityPair ***v, size_t *n, const char *key,
                    const char *value);
/* Appends to a repeated message or string field: list is &msg->field, n is &msg->n_field. Grows in
 * the arena; the list must have been made by this function, by the decoder or be empty. */
void object_append(struct arena *a, void *list, size_t *n, void *element);

/* times */
K8s__Time *object_time(struct arena *a, struct wall t);
K8s__MicroTime *object_micro_time(struct arena *a, struct wall t);
static inline struct wall object_wall(const K8s__Time *t) /* zero when NULL */
{
    return (struct wall){t ? t->seconds * NSEC_PER_SEC + t->nanos : 0};
}
static inline struct wall object_wall_micro(const K8s__MicroTime *t)
{
    return (struct wall){t ? t->seconds * NSEC_PER_SEC + t->nanos : 0};
}
/* IntOrString */
K8s__IntOrString *object_int(struct arena *a, int32_t v);
K8s__IntOrString *object_int_string(struct arena *a, const char *v);
