/*
 * OpenAPI for kubectl create, apply and explain. The v3 documents are made from the message
 * descriptors of the wire schema, so that they cannot disagree with what is decoded; v2 is the
 * empty document that old clients accept.
 */
#include "base/cleanup.h"
#include "base/map.h"
#include "base/mem.h"
#include "codec/json.h"
#include "server/controllers/meta.h"
#include "server/http/api.h"
#include <stdlib.h>

#define DEPTH_MAX 24

static bool named(const ProtobufCMessageDescriptor *d, const char *name)
{
    return streq(d->short_name, name);
}

static bool is_map(const ProtobufCFieldDescriptor *f)
{
    const ProtobufCMessageDescriptor *d = f->descriptor;

    return f->type == PROTOBUF_C_TYPE_MESSAGE && f->label == PROTOBUF_C_LABEL_REPEATED &&
           d->n_fields == 2 && streq(d->fields[0].name, "key") && streq(d->fields[1].name, "value");
}

static void collect(json_t *schemas, const ProtobufCMessageDescriptor *d, unsigned depth);

static json_t *value_schema(json_t *schemas, const ProtobufCFieldDescriptor *f, unsigned depth)
{
    const ProtobufCMessageDescriptor *d = f->descriptor;
    cleanup_free char *ref = NULL;

    switch (f->type) {
    case PROTOBUF_C_TYPE_BOOL:
        return json_pack("{s:s}", "type", "boolean");
    case PROTOBUF_C_TYPE_INT32:
    case PROTOBUF_C_TYPE_INT64:
        return json_pack("{s:s, s:s}", "type", "integer", "format",
                         f->type == PROTOBUF_C_TYPE_INT32 ? "int32" : "int64");
    case PROTOBUF_C_TYPE_BYTES:
        return json_pack("{s:s, s:s}", "type", "string", "format", "byte");
    case PROTOBUF_C_TYPE_MESSAGE:
        break;
    default:
        return json_pack("{s:s}", "type", "string");
    }
    if (named(d, "Time") || named(d, "MicroTime"))
        return json_pack("{s:s, s:s}", "type", "string", "format", "date-time");
    if (named(d, "Quantity"))
        return json_pack("{s:[{s:s},{s:s}]}", "oneOf", "type", "string", "type", "number");
    if (named(d, "IntOrString"))
        return json_pack("{s:s, s:[{s:s},{s:s}]}", "format", "int-or-string", "oneOf", "type",
                         "integer", "type", "string");
    if (named(d, "FieldsV1") || named(d, "RawExtension") || depth > DEPTH_MAX)
        return json_pack("{s:s}", "type", "object");
    collect(schemas, d, depth + 1);
    ref = xasprintf("#/components/schemas/io.k8s.%s", d->short_name);
    return json_pack("{s:[{s:s}]}", "allOf", "$ref", ref);
}

static json_t *field_schema(json_t *schemas, const ProtobufCFieldDescriptor *f, unsigned depth)
{
    const ProtobufCMessageDescriptor *d = f->descriptor;

    if (is_map(f))
        return json_pack("{s:s, s:o}", "type", "object", "additionalProperties",
                         value_schema(schemas, &d->fields[1], depth));
    if (f->label == PROTOBUF_C_LABEL_REPEATED)
        return json_pack("{s:s, s:o}", "type", "array", "items", value_schema(schemas, f, depth));
    return value_schema(schemas, f, depth);
}

static void collect(json_t *schemas, const ProtobufCMessageDescriptor *d, unsigned depth)
{
    cleanup_free char *name = xasprintf("io.k8s.%s", d->short_name);
    json_t *properties;

    if (json_object_get(schemas, name))
        return;
    properties = json_object();
    (void)json_object_set_new(schemas, name,
                              json_pack("{s:s, s:o}", "type", "object", "properties", properties));
    for (unsigned i = 0; i < d->n_fields; i++)
        (void)json_object_set_new(properties, d->fields[i].name,
                                  field_schema(schemas, &d->fields[i], depth));
}

/* kubectl looks for the fieldValidation parameter of the patch operation to learn that the server
 * checks fields. */
static json_t *operation(const struct resource *r, const char *group, const char *version,
                         const char *action, bool writes)
{
    json_t *parameters =
        writes ? json_pack("[{s:s, s:s, s:{s:s}}, {s:s, s:s, s:{s:s}}]", "name", "fieldValidation",
                           "in", "query", "schema", "type", "string", "name", "dryRun", "in",
                           "query", "schema", "type", "string")
               : json_array();

    return json_pack("{s:o, s:s, s:{s:s, s:s, s:s}, s:{s:{s:s}}}", "parameters", parameters,
                     "x-kubernetes-action", action, "x-kubernetes-group-version-kind", "group",
                     group, "version", version, "kind", r->kind, "responses", "200", "description",
                     "OK");
}

static void add_resource(json_t *paths, json_t *schemas, const struct resource *r,
                         const char *group, const char *version)
{
    cleanup_free char *root =
        group[0] ? xasprintf("/apis/%s/%s", group, version) : xasprintf("/api/%s", version);
    cleanup_free char *list =
        xasprintf("%s%s/%s", root, r->namespaced ? "/namespaces/{namespace}" : "", r->plural);
    cleanup_free char *one = xasprintf("%s/{name}", list), *name = NULL;
    json_t *schema;

    (void)json_object_set_new(paths, list,
                              json_pack("{s:o, s:o}", "get",
                                        operation(r, group, version, "list", false), "post",
                                        operation(r, group, version, "post", true)));
    if (!r->virtual_)
        (void)json_object_set_new(paths, one,
                                  json_pack("{s:o, s:o, s:o, s:o}", "get",
                                            operation(r, group, version, "get", false), "put",
                                            operation(r, group, version, "put", true), "patch",
                                            operation(r, group, version, "patch", true), "delete",
                                            operation(r, group, version, "delete", false)));
    name = xasprintf("io.k8s.%s", r->kind);
    if (r->type)
        collect(schemas, r->type, 0);
    schema = json_object_get(schemas, name);
    if (!schema) {
        schema = json_pack("{s:s}", "type", "object");
        (void)json_object_set_new(schemas, name, schema);
    }
    schema = json_object_get(schemas, name);
    if (!json_object_get(schema, "properties"))
        (void)json_object_set_new(schema, "x-kubernetes-preserve-unknown-fields", json_true());
    (void)json_object_set_new(json_object_need(schema, "properties"), "apiVersion",
                              json_pack("{s:s}", "type", "string"));
    (void)json_object_set_new(json_object_need(schema, "properties"), "kind",
                              json_pack("{s:s}", "type", "string"));
    (void)json_array_append_new(
        json_array_need(schema, "x-kubernetes-group-version-kind"),
        json_pack("{s:s, s:s, s:s}", "group", group, "version", version, "kind", r->kind));
}

static json_t *document(struct str group, struct str version)
{
    cleanup_free char *g = str_dup(group), *v = str_dup(version);
    json_t *paths = json_object(), *schemas = json_object();

    for (size_t i = 0; i < resources_n; i++)
        if (resource_serves(&resources[i], group, version))
            add_resource(paths, schemas, &resources[i], g, v);
    return json_pack("{s:s, s:{s:s, s:s}, s:o, s:{s:o}}", "openapi", "3.0.0", "info", "title",
                     "Kubernetes", "version", "v1.36.0", "paths", paths, "components", "schemas",
                     schemas);
}

static void index_entry(json_t *paths, struct str group, struct str version)
{
    cleanup_free char *key = group.n ? xasprintf("apis/%.*s/%.*s", STR_FMT(group), STR_FMT(version))
                                     : xasprintf("api/%.*s", STR_FMT(version));
    cleanup_free char *url = xasprintf("/openapi/v3/%s?hash=" SKIFF_VERSION, key);

    (void)json_object_set_new(paths, key, json_pack("{s:s}", "serverRelativeURL", url));
}

static json_t *index_document(void)
{
    json_t *paths = json_object();

    for (size_t i = 0; i < resources_n; i++) {
        index_entry(paths, str_of(resources[i].group), str_of(resources[i].version));
        if (resources[i].also) {
            struct str version = str_of(resources[i].also), group = str_split(&version, '/');

            index_entry(paths, group, version);
        }
    }
    return json_pack("{s:o}", "paths", paths);
}

/* openapi.v2.Document{swagger: "2.0", info: {title, version}, paths: {}} in protobuf's wire form,
 * for clients that take no JSON. */
static void answer_v2(struct api_request *q)
{
    static const char empty[] = "\x0a\x03"
                                "2.0"
                                "\x12\x15\x0a\x0aKubernetes\x12\x07v1.36.0\x42\x00";
    struct str accept = http_header(q->x, "Accept");

    if (memmem(accept.p ? accept.p : "", accept.n, "protobuf", 8)) {
        http_respond(q->x, 200, "application/com.github.proto-openapi.spec.v2.v1.0+protobuf",
                     (struct str){empty, sizeof empty - 1});
        api_request_free(q);
        return;
    }
    answer_object(q, 200,
                  json_pack("{s:s, s:{s:s, s:s}, s:{}, s:{}}", "swagger", "2.0", "info", "title",
                            "Kubernetes", "version", "v1.36.0", "paths", "definitions"));
}

bool handle_openapi(struct api_request *q)
{
    size_t n;
    const struct str *seg = http_segments(q->x, &n);

    if (n < 2 || !str_eq_z(seg[0], "openapi") || !http_method_is(q->x, "GET"))
        return false;
    if (n == 2 && str_eq_z(seg[1], "v2")) {
        answer_v2(q);
    } else if (n == 2 && str_eq_z(seg[1], "v3")) {
        answer_object(q, 200, index_document());
    } else if (n == 4 && str_eq_z(seg[1], "v3") && str_eq_z(seg[2], "api")) {
        answer_object(q, 200, document(STR(""), seg[3]));
    } else if (n == 5 && str_eq_z(seg[1], "v3") && str_eq_z(seg[2], "apis")) {
        answer_object(q, 200, document(seg[3], seg[4]));
    } else {
        return false;
    }
    return true;
}
