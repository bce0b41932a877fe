/* Where JSON differs from plain reflection over api/k8s.proto; rows, not code. Private to src/api.
 */
#pragma once
#include "api/object.h"

/* How values of a message type look in JSON. */
enum object_shape {
    SHAPE_PLAIN,      /* an object of its fields */
    SHAPE_TIME,       /* "2026-11-23T21:44:36Z" */
    SHAPE_MICRO_TIME, /* with six digits */
    SHAPE_INT_OR_STRING,
    SHAPE_QUANTITY, /* a string; a number is accepted */
    SHAPE_RAW,      /* any JSON, kept as text in the one bytes field */
    SHAPE_LIST,     /* a list: ExtraValue */
};
enum object_shape object_shape(const ProtobufCMessageDescriptor *d);
/* A repeated key/value message that JSON spells as an object. */
static inline bool object_is_map(const ProtobufCFieldDescriptor *f)
{
    const ProtobufCMessageDescriptor *d = f->descriptor;
    return f->label == PROTOBUF_C_LABEL_REPEATED && f->type == PROTOBUF_C_TYPE_MESSAGE &&
           d->n_fields == 2 && !strcmp(d->fields[0].name, "key") &&
           !strcmp(d->fields[1].name, "value") &&
           strcmp(d->short_name + strlen(d->short_name) - 4, "Pair") == 0;
}
/* A field whose message JSON flattens into the owner (Volume.volumeSource). */
bool object_is_inlined(const ProtobufCFieldDescriptor *f);
/* Field by JSON key. When it stands inside an inlined message, *ret_via is that field, else NULL.
 */
const ProtobufCFieldDescriptor *object_field(const ProtobufCMessageDescriptor *d, struct str key,
                                             const ProtobufCFieldDescriptor **ret_via);

/* raw access by field */
static inline void *object_slot(const void *msg, const ProtobufCFieldDescriptor *f)
{
    return (char *)(uintptr_t)msg + f->offset;
}
static inline size_t *object_count(const void *msg, const ProtobufCFieldDescriptor *f)
{
    return (size_t *)((char *)(uintptr_t)msg + f->quantifier_offset);
}
static inline size_t object_element_size(const ProtobufCFieldDescriptor *f)
{
    switch (f->type) {
    case PROTOBUF_C_TYPE_BYTES:
        return sizeof(ProtobufCBinaryData);
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_DOUBLE:
        return 8;
    case PROTOBUF_C_TYPE_STRING:
    case PROTOBUF_C_TYPE_MESSAGE:
        return sizeof(void *);
    default:
        return 4;
    }
}
bool object_is_set(const void *msg, const ProtobufCFieldDescriptor *f);
