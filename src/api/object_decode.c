#include "api/object_decoder.h"
#include "base/cleanup.h"
#include <errno.h>
#include <stdio.h>
#include "base/quantity.h"

#define MAP_ENTRIES_MAX 10000

void *object_new(struct arena *a, const ProtobufCMessageDescriptor *d)
{
    void *m = arena_alloc(a, d->sizeof_message);
    protobuf_c_message_init(d, m);
    return m;
}

/* Capacity of a repeated field is the power of two at or above its count: see object_append. */
static void *list_slot(struct arena *a, void *list, size_t *n, size_t element)
{
    char **v = list;
    if (!(*n & (*n - 1))) {
        char *grown = arena_alloc(a, element * (*n ? 2 * *n : 1));
        if (*n)
            memcpy(grown, *v, element * *n);
        *v = grown;
    }
    return *v + element * (*n)++;
}

void object_append(struct arena *a, void *list, size_t *n, void *element)
{
    *(void **)list_slot(a, list, n, sizeof(void *)) = element;
}

static void *value_slot(struct object_decoder *d, void *msg, const ProtobufCFieldDescriptor *f)
{
    if (f->label == PROTOBUF_C_LABEL_REPEATED)
        return list_slot(d->arena, object_slot(msg, f), object_count(msg, f),
                         object_element_size(f));
    if (f->quantifier_offset)
        *(protobuf_c_boolean *)((char *)msg + f->quantifier_offset) = 1;
    return object_slot(msg, f);
}

bool object_text_ok(struct str s)
{
    const unsigned char *p = (const unsigned char *)s.p, *end = p + s.n;
    while (p < end) {
        unsigned c = *p++;
        if (c < 0x80) {
            if (!c)
                return false;
            continue;
        }
        unsigned more = c >= 0xF0 ? 3 : c >= 0xE0 ? 2 : 1;
        if (c < 0xC2 || c > 0xF4 || (size_t)(end - p) < more)
            return false;
        uint32_t v = c & (0x3Fu >> more);
        for (unsigned i = 0; i < more; i++) {
            if ((p[i] & 0xC0) != 0x80)
                return false;
            v = v << 6 | (p[i] & 0x3F);
        }
        if ((more == 2 && (v < 0x800 || (v >= 0xD800 && v <= 0xDFFF))) ||
            (more == 3 && (v < 0x10000 || v > 0x10FFFF)))
            return false;
        p += more;
    }
    return true;
}

/* ---- where we are, for messages ---- */

static void path_add(const struct object_frame *f, struct buf *b)
{
    if (!f->field)
        return;
    if (f->kind == FRAME_OBJECT) {
        (void)buf_printf(b, "%s%s", b->n ? "." : "", f->field->name);
    } else if (f->kind == FRAME_LIST) {
        size_t n = *object_count(f->msg, f->field);
        (void)buf_printf(b, "[%zu]", n ? n - 1 : 0);
    } else if (f->entry) {
        (void)buf_printf(b, "[%s]", *(char **)object_slot(f->entry, &f->desc->fields[0]));
    }
}

static bool fail(struct object_decoder *d, const char *what)
{
    cleanup_buf struct buf b;
    buf_init(&b, 512);
    for (unsigned i = 0; i < d->n; i++)
        path_add(&d->frames[i], &b);
    if (b.n)
        (void)error_set(&d->err, EINVAL, "%.*s: %s", STR_FMT(buf_str(&b)), what);
    else
        (void)error_set(&d->err, EINVAL, "%s", what);
    return false;
}

/* ---- lifecycle ---- */

void object_decoder_init(struct object_decoder *d, const ProtobufCMessageDescriptor *root,
                         unsigned flags, struct arena *a)
{
    d->arena = a;
    d->root = root;
    d->flags = flags;
    d->err = NULL;
    buf_init(&d->raw, OBJECT_BYTES_MAX);
    object_decoder_restart(d);
}

void object_decoder_restart(struct object_decoder *d)
{
    d->out = NULL;
    d->done = false;
    d->n = d->skip = d->raw_depth = 0;
    d->raw_comma = false;
    d->raw_msg = NULL;
}

void object_decoder_fini(struct object_decoder *d)
{
    buf_fini(&d->raw);
    error_clear(&d->err);
}

/* ---- raw capture: the events written out again ---- */

static void raw_before_value(struct object_decoder *d)
{
    if (d->raw_comma)
        (void)buf_add_char(&d->raw, ',');
    d->raw_comma = true;
}

static bool raw_begin(struct object_decoder *d, void *msg)
{
    buf_clear(&d->raw);
    d->raw_msg = msg;
    d->raw_comma = false;
    return true;
}

static bool raw_end(struct object_decoder *d)
{
    if (d->raw.overflowed)
        return fail(d, "too large");
    ProtobufCBinaryData *bin =
        value_slot(d, d->raw_msg, &((ProtobufCMessage *)d->raw_msg)->descriptor->fields[0]);
    bin->data = arena_alloc(d->arena, d->raw.n);
    bin->len = d->raw.n;
    memcpy(bin->data, d->raw.p, d->raw.n);
    d->raw_msg = NULL;
    return true;
}

static bool raw_scalar(struct object_decoder *d, struct str v, bool quoted)
{
    raw_before_value(d);
    if (quoted)
        (void)buf_add_json_string(&d->raw, v);
    else
        (void)buf_add_str(&d->raw, v);
    return d->raw_depth ? true : raw_end(d);
}

/* ---- targets ---- */

static struct object_frame *top(struct object_decoder *d)
{
    return &d->frames[d->n - 1];
}

/* The message that the next value's field belongs to; makes inlined messages on first use. */
static void *owner_of(struct object_decoder *d, struct object_frame *t)
{
    if (t->kind == FRAME_MAP)
        return t->entry;
    if (!t->via)
        return t->msg;
    void **slot = object_slot(t->msg, t->via);
    if (!*slot)
        *slot = object_new(d->arena, t->via->descriptor);
    return *slot;
}

static const ProtobufCFieldDescriptor *value_field(const struct object_frame *t)
{
    return t->kind == FRAME_MAP ? &t->desc->fields[1] : t->field;
}

/* A value of any kind is about to be stored: is a list wanted where none came? */
static bool scalar_fits(struct object_decoder *d, const struct object_frame *t)
{
    if (t->kind == FRAME_OBJECT && t->field->label == PROTOBUF_C_LABEL_REPEATED)
        return fail(d, object_is_map(t->field) ? "expected an object" : "expected a list");
    return true;
}

static void *new_value_message(struct object_decoder *d, struct object_frame *t)
{
    const ProtobufCFieldDescriptor *f = value_field(t);
    void *m = object_new(d->arena, f->descriptor);
    *(void **)value_slot(d, owner_of(d, t), f) = m;
    return m;
}

static bool push(struct object_decoder *d, struct object_frame f)
{
    if (d->n == OBJECT_DEPTH_MAX)
        return fail(d, "nested too deep");
    d->frames[d->n++] = f;
    return true;
}

bool object_decoder_map_open(struct object_decoder *d)
{
    if (d->skip) {
        if (++d->skip > 1000)
            return fail(d, "nested too deep");
        return true;
    }
    if (d->raw_msg) {
        if (d->raw_depth >= OBJECT_DEPTH_MAX)
            return fail(d, "nested too deep");
        raw_before_value(d);
        d->raw_depth++;
        d->raw_comma = false;
        (void)buf_add_char(&d->raw, '{');
        return true;
    }
    if (!d->n) {
        if (d->done)
            return fail(d, "more than one document");
        d->out = object_new(d->arena, d->root);
        return push(d, (struct object_frame){.kind = FRAME_OBJECT, .desc = d->root, .msg = d->out});
    }
    struct object_frame *t = top(d);
    if (!t->field) {
        d->skip = 1;
        return true;
    }
    const ProtobufCFieldDescriptor *f = value_field(t);
    if (f->type != PROTOBUF_C_TYPE_MESSAGE)
        return fail(d, "unexpected object");
    if (t->kind == FRAME_OBJECT && object_is_map(f))
        return push(
            d, (struct object_frame){
                   .kind = FRAME_MAP, .desc = f->descriptor, .msg = owner_of(d, t), .field = f});
    if (!scalar_fits(d, t))
        return false;
    enum object_shape shape = object_shape(f->descriptor);
    if (shape == SHAPE_RAW) {
        (void)raw_begin(d, new_value_message(d, t));
        return object_decoder_map_open(d);
    }
    if (shape != SHAPE_PLAIN)
        return fail(d, "unexpected object");
    void *m = new_value_message(d, t);
    return push(d, (struct object_frame){.kind = FRAME_OBJECT, .desc = f->descriptor, .msg = m});
}

bool object_decoder_list_open(struct object_decoder *d)
{
    if (d->skip) {
        if (++d->skip > 1000)
            return fail(d, "nested too deep");
        return true;
    }
    if (d->raw_msg) {
        if (d->raw_depth >= OBJECT_DEPTH_MAX)
            return fail(d, "nested too deep");
        raw_before_value(d);
        d->raw_depth++;
        d->raw_comma = false;
        (void)buf_add_char(&d->raw, '[');
        return true;
    }
    if (!d->n)
        return fail(d, "expected an object");
    struct object_frame *t = top(d);
    if (!t->field) {
        d->skip = 1;
        return true;
    }
    const ProtobufCFieldDescriptor *f = value_field(t);
    if (t->kind == FRAME_OBJECT && f->label == PROTOBUF_C_LABEL_REPEATED && !object_is_map(f))
        return push(d, (struct object_frame){
                           .kind = FRAME_LIST, .desc = t->desc, .msg = owner_of(d, t), .field = f});
    enum object_shape shape =
        f->type == PROTOBUF_C_TYPE_MESSAGE ? object_shape(f->descriptor) : SHAPE_PLAIN;
    if (shape == SHAPE_RAW) {
        (void)raw_begin(d, new_value_message(d, t));
        return object_decoder_list_open(d);
    }
    if (shape == SHAPE_LIST) {
        const ProtobufCMessageDescriptor *list = f->descriptor;
        void *m = new_value_message(d, t);
        return push(d, (struct object_frame){
                           .kind = FRAME_LIST, .desc = list, .msg = m, .field = &list->fields[0]});
    }
    return fail(d, "unexpected list");
}

bool object_decoder_close(struct object_decoder *d, char bracket)
{
    if (d->skip) {
        d->skip--;
        return true;
    }
    if (d->raw_msg) {
        (void)buf_add_char(&d->raw, bracket);
        d->raw_comma = true;
        return --d->raw_depth ? true : raw_end(d);
    }
    if (!--d->n)
        d->done = true;
    return true;
}

/* ---- keys ---- */

static bool map_key(struct object_decoder *d, struct object_frame *t, struct str k)
{
    size_t n = *object_count(t->msg, t->field);
    void **v = *(void ***)object_slot(t->msg, t->field);
    const ProtobufCFieldDescriptor *key = &t->desc->fields[0];
    for (size_t i = 0; i < n; i++)
        if (str_eq_z(k, *(char **)object_slot(v[i], key)))
            return fail(d, "a key is there twice");
    if (n >= MAP_ENTRIES_MAX)
        return fail(d, "too many entries");
    t->entry = object_new(d->arena, t->desc);
    *(void **)value_slot(d, t->msg, t->field) = t->entry;
    *(char **)object_slot(t->entry, key) = arena_strndup(d->arena, k.p, k.n);
    return true;
}

static bool object_key_seen(struct object_frame *t)
{
    const ProtobufCMessageDescriptor *owner = t->via ? t->via->descriptor : t->desc;
    size_t index = (size_t)(t->field - owner->fields);
    uint64_t *set = t->via ? &t->seen_via : &t->seen;
    if (index >= 64)
        return false;
    bool before = *set >> index & 1;
    *set |= (uint64_t)1 << index;
    return before;
}

/* apiVersion and kind stand outside the schema, and only at the top. */
static bool is_type_meta(const struct object_decoder *d, struct str k)
{
    return d->n == 1 && (str_eq_z(k, "kind") || str_eq_z(k, "apiVersion"));
}

bool object_decoder_key(struct object_decoder *d, struct str k)
{
    if (d->skip)
        return true;
    if (!object_text_ok(k))
        return fail(d, "a key is not valid UTF-8 text");
    if (d->raw_msg) {
        raw_before_value(d);
        (void)buf_add_json_string(&d->raw, k);
        (void)buf_add_char(&d->raw, ':');
        d->raw_comma = false;
        return true;
    }
    struct object_frame *t = top(d);
    if (t->kind == FRAME_MAP)
        return map_key(d, t, k);
    t->field = NULL;
    if ((d->flags & OBJECT_DROP_MANAGED_FIELDS) && str_eq_z(k, "managedFields"))
        return true;
    t->field = object_field(t->desc, k, &t->via);
    if (!t->field) {
        if (!(d->flags & OBJECT_STRICT) || is_type_meta(d, k))
            return true;
        cleanup_free char *what = NULL;
        if (asprintf(&what, "unknown field \"%.*s\"", (int)(k.n > 100 ? 100 : k.n), k.p) < 0)
            what = NULL;
        return fail(d, what ? what : "unknown field");
    }
    return object_key_seen(t) ? fail(d, "this key is there twice") : true;
}

/* ---- scalars ---- */

static bool set_time(struct object_decoder *d, void *m, struct str v)
{
    struct wall w;
    if (wall_parse(v, &w) < 0)
        return fail(d, "not an RFC 3339 time");
    int64_t s = w.ns / NSEC_PER_SEC, ns = w.ns % NSEC_PER_SEC;
    if (ns < 0) {
        s--;
        ns += NSEC_PER_SEC;
    }
    K8s__Time *t = m; /* K8s__MicroTime has the same layout */
    t->has_seconds = t->has_nanos = 1;
    t->seconds = s;
    t->nanos = (int32_t)ns;
    return true;
}

static bool set_string_message(struct object_decoder *d, struct object_frame *t, struct str v)
{
    const ProtobufCFieldDescriptor *f = value_field(t);
    enum object_shape shape = object_shape(f->descriptor);
    if (shape == SHAPE_PLAIN || shape == SHAPE_LIST)
        return fail(d, shape == SHAPE_PLAIN ? "expected an object" : "expected a list");
    void *m = new_value_message(d, t);
    switch (shape) {
    case SHAPE_TIME:
    case SHAPE_MICRO_TIME:
        return set_time(d, m, v);
    case SHAPE_INT_OR_STRING: {
        K8s__IntOrString *is = m;
        is->has_type = 1;
        is->type = 1;
        is->strval = arena_strndup(d->arena, v.p, v.n);
        return true;
    }
    case SHAPE_QUANTITY: {
        struct quantity q;
        if (quantity_parse(v, &q) == -EINVAL)
            return fail(d, "not a quantity");
        ((K8s__Quantity *)m)->string = arena_strndup(d->arena, v.p, v.n);
        return true;
    }
    case SHAPE_RAW:
        (void)raw_begin(d, m);
        return raw_scalar(d, v, true);
    case SHAPE_PLAIN:
    case SHAPE_LIST:
        break;
    }
    return false;
}

static bool set_bytes(struct object_decoder *d, ProtobufCBinaryData *bin, struct str v)
{
    cleanup_buf struct buf b;
    buf_init(&b, OBJECT_BYTES_MAX);
    if (buf_add_base64_decoded(&b, v) < 0)
        return fail(d, "not base64");
    bin->len = b.n;
    bin->data = arena_alloc(d->arena, b.n + 1); /* NUL behind it: often text */
    if (b.n)
        memcpy(bin->data, b.p, b.n);
    bin->data[b.n] = 0;
    return true;
}

bool object_decoder_string(struct object_decoder *d, struct str v)
{
    if (d->skip)
        return true;
    if (!object_text_ok(v))
        return fail(d, "not valid UTF-8 text");
    if (d->raw_msg)
        return raw_scalar(d, v, true);
    if (!d->n)
        return fail(d, "expected an object");
    struct object_frame *t = top(d);
    if (!t->field)
        return true;
    if (!scalar_fits(d, t))
        return false;
    const ProtobufCFieldDescriptor *f = value_field(t);
    switch (f->type) {
    case PROTOBUF_C_TYPE_STRING:
        *(char **)value_slot(d, owner_of(d, t), f) = arena_strndup(d->arena, v.p, v.n);
        return true;
    case PROTOBUF_C_TYPE_BYTES:
        return set_bytes(d, value_slot(d, owner_of(d, t), f), v);
    case PROTOBUF_C_TYPE_MESSAGE:
        return set_string_message(d, t, v);
    case PROTOBUF_C_TYPE_BOOL:
        return fail(d, "expected true or false, not text");
    default:
        return fail(d, "expected a number, not text");
    }
}

static bool set_number_message(struct object_decoder *d, struct object_frame *t, struct str v)
{
    const ProtobufCFieldDescriptor *f = value_field(t);
    switch (object_shape(f->descriptor)) {
    case SHAPE_INT_OR_STRING: {
        int64_t n;
        if (str_to_i64(v, INT32_MIN, INT32_MAX, &n) < 0)
            return fail(d, "not a whole number of 32 bits");
        K8s__IntOrString *is = new_value_message(d, t);
        is->has_type = is->has_intval = 1;
        is->type = 0;
        is->intval = (int32_t)n;
        return true;
    }
    case SHAPE_QUANTITY:
    case SHAPE_RAW:
        if (object_shape(f->descriptor) == SHAPE_QUANTITY)
            return set_string_message(d, t, v);
        (void)raw_begin(d, new_value_message(d, t));
        return raw_scalar(d, v, false);
    case SHAPE_LIST:
        return fail(d, "expected a list");
    case SHAPE_TIME:
    case SHAPE_MICRO_TIME:
        return fail(d, "expected a time");
    case SHAPE_PLAIN:
        break;
    }
    return fail(d, "expected an object, not a number");
}

bool object_decoder_number(struct object_decoder *d, struct str v)
{
    if (d->skip)
        return true;
    if (d->raw_msg)
        return raw_scalar(d, v, false);
    if (!d->n)
        return fail(d, "expected an object");
    struct object_frame *t = top(d);
    if (!t->field)
        return true;
    if (!scalar_fits(d, t))
        return false;
    const ProtobufCFieldDescriptor *f = value_field(t);
    int64_t n;
    switch (f->type) {
    case PROTOBUF_C_TYPE_INT32:
        if (str_to_i64(v, INT32_MIN, INT32_MAX, &n) < 0)
            return fail(d, "not a whole number of 32 bits");
        *(int32_t *)value_slot(d, owner_of(d, t), f) = (int32_t)n;
        return true;
    case PROTOBUF_C_TYPE_INT64:
        if (str_to_i64(v, INT64_MIN, INT64_MAX, &n) < 0)
            return fail(d, "not a whole number of 64 bits");
        *(int64_t *)value_slot(d, owner_of(d, t), f) = n;
        return true;
    case PROTOBUF_C_TYPE_MESSAGE:
        return set_number_message(d, t, v);
    case PROTOBUF_C_TYPE_BOOL:
        return fail(d, "expected true or false, not a number");
    default:
        return fail(d, "expected text, not a number");
    }
}

bool object_decoder_bool(struct object_decoder *d, bool v)
{
    if (d->skip)
        return true;
    if (d->raw_msg)
        return raw_scalar(d, v ? STR("true") : STR("false"), false);
    if (!d->n)
        return fail(d, "expected an object");
    struct object_frame *t = top(d);
    if (!t->field)
        return true;
    if (!scalar_fits(d, t))
        return false;
    const ProtobufCFieldDescriptor *f = value_field(t);
    if (f->type == PROTOBUF_C_TYPE_MESSAGE && object_shape(f->descriptor) == SHAPE_RAW) {
        (void)raw_begin(d, new_value_message(d, t));
        return raw_scalar(d, v ? STR("true") : STR("false"), false);
    }
    if (f->type != PROTOBUF_C_TYPE_BOOL)
        return fail(d, "unexpected true or false");
    *(protobuf_c_boolean *)value_slot(d, owner_of(d, t), f) = v;
    return true;
}

bool object_decoder_null(struct object_decoder *d)
{
    if (d->skip)
        return true;
    if (d->raw_msg)
        return raw_scalar(d, STR("null"), false);
    if (!d->n)
        return fail(d, "expected an object");
    struct object_frame *t = top(d);
    if (!t->field || t->kind == FRAME_OBJECT)
        return true;
    if (t->kind == FRAME_LIST)
        return fail(d, "null in a list");
    if (t->desc->fields[1].type == PROTOBUF_C_TYPE_STRING)
        *(char **)object_slot(t->entry, &t->desc->fields[1]) = arena_strdup(d->arena, "");
    return true;
}
