#include "server/http/wire.h"
#include "api/object.h"
#include "base/cleanup.h"
#include "base/mem.h"
#include "codec/json.h"
#include "k8s.pb-c.h"
#include <errno.h>

#define MAGIC "k8s\0"
#define DEPTH_MAX 64

/* Kinds that come only as a body and have no path of their own in the object table. */
static const struct {
    const char *kind;
    const ProtobufCMessageDescriptor *type;
} extra_kinds[] = {
    {"DeleteOptions", &k8s__delete_options__descriptor},
    {"Binding", &k8s__binding__descriptor},
    {"Eviction", &k8s__eviction__descriptor},
    {"SelfSubjectReview", &k8s__self_subject_review__descriptor},
    /* the same fields with the same numbers, less the user, who is the one that asks */
    {"SelfSubjectAccessReview", &k8s__subject_access_review__descriptor},
};

static const ProtobufCMessageDescriptor *find_type(const K8s__TypeMeta *t)
{
    const struct object_kind *k =
        object_kind_find(str_of(strna(t->apiversion)), str_of(strna(t->kind)));

    if (k)
        return k->desc;
    for (size_t i = 0; i < ARRAY_LEN(extra_kinds); i++)
        if (streq(t->kind, extra_kinds[i].kind))
            return extra_kinds[i].type;
    return NULL;
}

/* A message with fields outside our schema, or NULL: what must not be dropped silently. */
static const ProtobufCMessage *unknown_in(const ProtobufCMessage *m, unsigned depth)
{
    const ProtobufCMessageDescriptor *d = m->descriptor;

    if (m->n_unknown_fields || depth > DEPTH_MAX)
        return m;
    if (streq(d->short_name, "ObjectMeta"))
        depth = 1; /* its own fields were checked above */
    for (unsigned i = 0; i < d->n_fields; i++) {
        const ProtobufCFieldDescriptor *f = &d->fields[i];
        const char *at = (const char *)m + f->offset;
        const ProtobufCMessage *bad = NULL;

        if (f->type != PROTOBUF_C_TYPE_MESSAGE || streq(f->name, "managedFields"))
            continue;
        if (f->label == PROTOBUF_C_LABEL_REPEATED) {
            size_t n = *(const size_t *)((const char *)m + f->quantifier_offset);

            for (size_t k = 0; k < n && !bad; k++)
                bad = unknown_in((*(ProtobufCMessage *const *const *)at)[k], depth + 1);
        } else if (*(ProtobufCMessage *const *)at) {
            bad = unknown_in(*(ProtobufCMessage *const *)at, depth + 1);
        }
        if (bad)
            return bad;
    }
    return NULL;
}

/* The wire form writes every plain field, also empty ones, which JSON would leave out and which
 * would then count as given. */
static void drop_empty(json_t *v)
{
    const char *k;
    json_t *item;
    void *tmp;
    size_t i;

    json_array_foreach(v, i, item)
    {
        drop_empty(item);
    }
    json_object_foreach_safe(v, tmp, k, item)
    {
        bool empty = json_is_string(item) && json_string_length(item) == 0;

        empty |= (streq(k, "hostPort") || streq(k, "generation")) && json_integer_value(item) == 0;
        empty |=
            streq(k, "creationTimestamp") && streq(json_string_value(item), "1970-01-01T00:00:00Z");
        if (empty)
            (void)json_object_del(v, k);
        else if (!streq(k, "data") && !streq(k, "labels") && !streq(k, "annotations"))
            drop_empty(item);
    }
}

static int object_to_json(const ProtobufCMessage *m, const K8s__TypeMeta *t, json_t **ret,
                          struct error **err)
{
    const ProtobufCMessage *bad = unknown_in(m, 0);
    cleanup_buf struct buf text = {.max = OBJECT_BYTES_MAX};
    int r;

    if (bad)
        return error_set(
            err, ENOTSUP,
            "field %u of %s in a protobuf body is not known here; send the object as JSON",
            bad->n_unknown_fields ? bad->unknown_fields[0].tag : 0, bad->descriptor->short_name);
    if (object_encode_json(m, &text) < 0)
        return error_set(err, EMSGSIZE, "the object is too large");
    r = json_parse(buf_str(&text), OBJECT_BYTES_MAX, "protobuf body", ret, err);
    if (r < 0)
        return r;
    drop_empty(*ret);
    if (t->kind && t->kind[0])
        (void)json_object_set_new(*ret, "kind", json_string(t->kind));
    if (t->apiversion && t->apiversion[0])
        (void)json_object_set_new(*ret, "apiVersion", json_string(t->apiversion));
    return 0;
}

int wire_to_json(struct str body, json_t **ret, struct error **err)
{
    const ProtobufCMessageDescriptor *type;
    K8s__Unknown *u;
    ProtobufCMessage *m = NULL;
    int r;

    if (body.n < 4 || memcmp(body.p, MAGIC, 4) != 0)
        return error_set(err, EINVAL, "a protobuf body must begin with the bytes k8s and 0");
    u = (K8s__Unknown *)protobuf_c_message_unpack(&k8s__unknown__descriptor, NULL, body.n - 4,
                                                  (const uint8_t *)body.p + 4);
    if (!u || !u->typemeta)
        r = error_set(err, EINVAL, "the protobuf body is damaged");
    else if (!(type = find_type(u->typemeta)))
        r = error_set(err, ENOTSUP, "%s %s has no protobuf schema here; send it as JSON",
                      strna(u->typemeta->apiversion), strna(u->typemeta->kind));
    else if (!(m = protobuf_c_message_unpack(type, NULL, u->raw.len, u->raw.data)))
        r = error_set(err, EINVAL, "the protobuf body is not a valid %s", u->typemeta->kind);
    else
        r = object_to_json(m, u->typemeta, ret, err);
    if (m)
        protobuf_c_message_free_unpacked(m, NULL);
    if (u)
        k8s__unknown__free_unpacked(u, NULL);
    return r;
}
