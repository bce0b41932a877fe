#include "server/http/proto_body.h"
#include "api/object.h"
#include "base/cleanup.h"
#include "codec/json.h"
#include <errno.h>

#define MAGIC "k8s\0"
#define MAGIC_BYTES 4

/* Zero is a statement here. */
static const char *const pointers[] = {
    "replicas", "terminationGracePeriodSeconds", "revisionHistoryLimit", "runAsUser", "runAsGroup", "fsGroup",
    "automountServiceAccountToken", "enableServiceLinks", "optional", "immutable", "allowPrivilegeEscalation", "runAsNonRoot",
    "readOnlyRootFilesystem", "privileged", "gracePeriodSeconds", "orphanDependents", "ready", "serving", "terminating",
    "allocateLoadBalancerNodePorts", "publishNotReadyAddresses", "backoffLimit", "completions", "parallelism",
    "ttlSecondsAfterFinished", "suspend", "defaultMode", "mode", "tolerationSeconds",
};

static bool is_pointer(const char *key)
{
    for (size_t i = 0; i < sizeof(pointers) / sizeof(pointers[0]); i++)
        if (streq(key, pointers[i]))
            return true;
    return false;
}

static bool is_unset(const char *key, const json_t *v)
{
    const char *z = json_string_value(v);

    if (z)
        return !*z || streq(z, "1970-01-01T00:00:00Z");
    if (json_is_null(v) || (json_is_array(v) && json_array_size(v) == 0))
        return true;
    if (json_is_false(v) || (json_is_integer(v) && json_integer_value(v) == 0))
        return !is_pointer(key);
    return false;
}

/* Maps of users' keys keep their empty values; depth is bounded by the decoder. */
static bool is_map(const char *key)
{
    static const char *const maps[] = {"labels", "annotations", "data", "stringData", "binaryData", "matchLabels", "nodeSelector",
                                       "selector"};

    for (size_t i = 0; i < sizeof(maps) / sizeof(maps[0]); i++)
        if (streq(key, maps[i]))
            return true;
    return false;
}

static void prune(json_t *v)
{
    const char *key;
    json_t *x;
    void *next;

    if (json_is_array(v))
        for (size_t i = 0; i < json_array_size(v); i++)
            prune(json_array_get(v, i));
    if (!json_is_object(v))
        return;
    json_object_foreach_safe(v, next, key, x)
    {
        if (is_unset(key, x))
            json_object_del(v, key);
        else if (!is_map(key) || json_is_object(json_object_get(x, "matchLabels")))
            prune(x);
    }
}

static const ProtobufCMessageDescriptor *type_of(const K8s__TypeMeta *t)
{
    const struct object_kind *k;

    if (!t || !t->kind)
        return NULL;
    if (streq(t->kind, "DeleteOptions"))
        return &k8s__delete_options__descriptor;
    k = object_kind_find(str_of(strna(t->apiversion)), str_of(t->kind));
    return k ? k->desc : NULL;
}

static int convert(const K8s__Unknown *u, const ProtobufCMessageDescriptor *d, json_t **ret, struct error **err)
{
    ProtobufCMessage *m = protobuf_c_message_unpack(d, NULL, u->raw.len, u->raw.data);
    cleanup_buf struct buf text;
    int rc;

    if (!m)
        return error_set(err, EINVAL, "the body is not a %s message", u->typemeta->kind);
    buf_init(&text, OBJECT_BYTES_MAX);
    rc = object_encode_json(m, &text);
    protobuf_c_message_free_unpacked(m, NULL);
    if (rc < 0)
        return error_set(err, EMSGSIZE, "the body is too large");
    if (json_parse(buf_str(&text), OBJECT_BYTES_MAX, "request body", ret, err) < 0)
        return -EINVAL;
    prune(*ret);
    json_object_set_new(*ret, "apiVersion", json_string(strna(u->typemeta->apiversion)));
    json_object_set_new(*ret, "kind", json_string(u->typemeta->kind));
    return 0;
}

int proto_body_parse(struct str body, json_t **ret, struct error **err)
{
    const ProtobufCMessageDescriptor *d;
    K8s__Unknown *u;
    int rc;

    if (body.n < MAGIC_BYTES || memcmp(body.p, MAGIC, MAGIC_BYTES))
        return error_set(err, EINVAL, "the body does not begin as a Kubernetes protobuf message does");
    u = k8s__unknown__unpack(NULL, body.n - MAGIC_BYTES, (const uint8_t *)body.p + MAGIC_BYTES);
    if (!u)
        return error_set(err, EINVAL, "the body is not a Kubernetes protobuf message");
    d = type_of(u->typemeta);
    if (!d)
        rc = error_set(err, ENOTSUP, "no protobuf type for %s in %s here; send JSON",
                       u->typemeta ? strna(u->typemeta->kind) : "an object without a kind",
                       u->typemeta ? strna(u->typemeta->apiversion) : "\"\"");
    else
        rc = convert(u, d, ret, err);
    k8s__unknown__free_unpacked(u, NULL);
    return rc;
}
