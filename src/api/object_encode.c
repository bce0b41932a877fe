#include "api/object_rules.h"
#include "base/cleanup.h"
#include <errno.h>
#include <inttypes.h>

static void encode_message(struct buf *b, const void *msg);

static void encode_time(struct buf *b, const void *m, bool micro)
{
    char text[WALL_TEXT];
    const K8s__Time *t = m; /* K8s__MicroTime has the same layout */
    if (micro)
        wall_format_micro(object_wall(t), text);
    else
        wall_format(object_wall(t), text);
    (void)buf_add_char(b, '"');
    (void)buf_add_z(b, text);
    (void)buf_add_char(b, '"');
}

static void encode_int_or_string(struct buf *b, const K8s__IntOrString *v)
{
    if (v->type == 1)
        (void)buf_add_json_string(b, str_of(strna(v->strval)));
    else
        (void)buf_printf(b, "%d", v->intval);
}

static void encode_list(struct buf *b, const void *msg, const ProtobufCFieldDescriptor *f);

static void encode_shaped(struct buf *b, const ProtobufCMessage *m)
{
    switch (object_shape(m->descriptor)) {
    case SHAPE_PLAIN:
        encode_message(b, m);
        break;
    case SHAPE_TIME:
    case SHAPE_MICRO_TIME:
        encode_time(b, m, object_shape(m->descriptor) == SHAPE_MICRO_TIME);
        break;
    case SHAPE_INT_OR_STRING:
        encode_int_or_string(b, (const K8s__IntOrString *)m);
        break;
    case SHAPE_QUANTITY: {
        const char *q = ((const K8s__Quantity *)m)->string;
        (void)buf_add_json_string(b, q ? str_of(q) : STR("0"));
        break;
    }
    case SHAPE_RAW: {
        const ProtobufCBinaryData *raw = object_slot(m, &m->descriptor->fields[0]);
        (void)buf_add_str(b,
                          raw->len ? (struct str){(const char *)raw->data, raw->len} : STR("null"));
        break;
    }
    case SHAPE_LIST:
        encode_list(b, m, &m->descriptor->fields[0]);
        break;
    }
}

static void encode_value(struct buf *b, const ProtobufCFieldDescriptor *f, const void *p)
{
    switch (f->type) {
    case PROTOBUF_C_TYPE_STRING:
        (void)buf_add_json_string(b, str_of(strna(*(char *const *)p)));
        break;
    case PROTOBUF_C_TYPE_INT32:
        (void)buf_printf(b, "%" PRId32, *(const int32_t *)p);
        break;
    case PROTOBUF_C_TYPE_INT64:
        (void)buf_printf(b, "%" PRId64, *(const int64_t *)p);
        break;
    case PROTOBUF_C_TYPE_BOOL:
        (void)buf_add_z(b, *(const protobuf_c_boolean *)p ? "true" : "false");
        break;
    case PROTOBUF_C_TYPE_BYTES: {
        const ProtobufCBinaryData *bin = p;
        (void)buf_add_char(b, '"');
        (void)buf_add_base64(b, bin->data, bin->len);
        (void)buf_add_char(b, '"');
        break;
    }
    case PROTOBUF_C_TYPE_MESSAGE:
        encode_shaped(b, *(ProtobufCMessage *const *)p);
        break;
    default: /* the schema has no other types */
        (void)buf_add_z(b, "null");
        break;
    }
}

static void encode_list(struct buf *b, const void *msg, const ProtobufCFieldDescriptor *f)
{
    size_t n = *object_count(msg, f), size = object_element_size(f);
    const char *v = *(char *const *)object_slot(msg, f);
    (void)buf_add_char(b, '[');
    for (size_t i = 0; i < n; i++) {
        if (i)
            (void)buf_add_char(b, ',');
        encode_value(b, f, v + i * size);
    }
    (void)buf_add_char(b, ']');
}

static void encode_map(struct buf *b, const void *msg, const ProtobufCFieldDescriptor *f)
{
    size_t n = *object_count(msg, f);
    void *const *v = *(void *const *const *)object_slot(msg, f);
    const ProtobufCMessageDescriptor *entry = f->descriptor;
    const ProtobufCFieldDescriptor *key = &entry->fields[0], *value = &entry->fields[1];
    (void)buf_add_char(b, '{');
    for (size_t i = 0; i < n; i++) {
        if (i)
            (void)buf_add_char(b, ',');
        (void)buf_add_json_string(b, str_of(strna(*(char *const *)object_slot(v[i], key))));
        (void)buf_add_char(b, ':');
        if (value->type == PROTOBUF_C_TYPE_MESSAGE && !object_is_set(v[i], value))
            (void)buf_add_z(b, "null");
        else
            encode_value(b, value, object_slot(v[i], value));
    }
    (void)buf_add_char(b, '}');
}

static void encode_fields(struct buf *b, const ProtobufCMessage *msg, bool *comma)
{
    const ProtobufCMessageDescriptor *d = msg->descriptor;
    for (unsigned i = 0; i < d->n_fields; i++) {
        const ProtobufCFieldDescriptor *f = &d->fields[i];
        if (!object_is_set(msg, f))
            continue;
        if (object_is_inlined(f)) {
            encode_fields(b, *(ProtobufCMessage *const *)object_slot(msg, f), comma);
            continue;
        }
        if (*comma)
            (void)buf_add_char(b, ',');
        *comma = true;
        (void)buf_add_char(b, '"');
        (void)buf_add_z(b, f->name);
        (void)buf_add_str(b, STR("\":"));
        if (object_is_map(f))
            encode_map(b, msg, f);
        else if (f->label == PROTOBUF_C_LABEL_REPEATED)
            encode_list(b, msg, f);
        else
            encode_value(b, f, object_slot(msg, f));
    }
}

static void encode_message(struct buf *b, const void *msg)
{
    bool comma = false;
    (void)buf_add_char(b, '{');
    encode_fields(b, msg, &comma);
    (void)buf_add_char(b, '}');
}

int object_encode_json(const void *msg, struct buf *b)
{
    const ProtobufCMessage *m = msg;
    const struct object_kind *k = object_kind_of(m->descriptor);
    bool comma = false;
    (void)buf_add_char(b, '{');
    if (k) {
        char api[OBJECT_API_VERSION_TEXT];
        object_kind_api_version(k, api);
        (void)buf_printf(b, "\"apiVersion\":\"%s\",\"kind\":\"%s\"", api, k->kind);
        comma = true;
    }
    encode_fields(b, m, &comma);
    (void)buf_add_char(b, '}');
    return b->overflowed ? -EMSGSIZE : 0;
}
