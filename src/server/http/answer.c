#include "base/cleanup.h"
#include "base/mem.h"
#include "codec/json.h"
#include "server/controllers/meta.h"
#include "server/http/api.h"
#include <stdlib.h>

#define ANSWER_MAX (256u << 20)

void answer_json_bytes(struct api_request *q, int code, struct str bytes)
{
    http_respond(q->x, code, "application/json", bytes);
    api_request_free(q);
}

void answer_text(struct api_request *q, int code, const char *text)
{
    http_respond(q->x, code, "text/plain; charset=utf-8", str_of(text));
    api_request_free(q);
}

void answer_object(struct api_request *q, int code, json_t *object)
{
    struct buf b;

    buf_init(&b, ANSWER_MAX);
    (void)json_write(object, &b);
    (void)buf_add_char(&b, '\n');
    json_decref(object);
    answer_json_bytes(q, code, buf_str(&b));
    buf_fini(&b);
}

void answer_status(struct api_request *q, struct api_status *st)
{
    int code = st->code ? st->code : 500;
    json_t *o = status_object(st);

    status_fini(st);
    answer_object(q, code, o);
}

bool served_as_stored(const struct api_request *q)
{
    return streq(q->group, q->r->group) && streq(q->version, q->r->version);
}

void to_served_version(const struct api_request *q, json_t *object)
{
    cleanup_free char *text = NULL;

    if (served_as_stored(q))
        return;
    text = xasprintf("%s%s%s", q->group, q->group[0] ? "/" : "", q->version);
    json_set_text(object, "apiVersion", text);
}

enum accept_as api_request_accepts(const struct api_request *q)
{
    struct str rest = http_header(q->x, "Accept");

    /* the first entry that is served decides, as clients list them in order of preference */
    while (rest.p) {
        struct str entry = str_split(&rest, ',');

        if (memmem(entry.p, entry.n, "as=Table", 8) && memmem(entry.p, entry.n, "json", 4))
            return ACCEPT_TABLE;
        if (memmem(entry.p, entry.n, "as=PartialObjectMetadata", 24) &&
            memmem(entry.p, entry.n, "json", 4))
            return ACCEPT_METADATA;
        if (!memmem(entry.p, entry.n, "protobuf", 8))
            return ACCEPT_PLAIN;
    }
    return ACCEPT_PLAIN;
}

json_t *metadata_only(const json_t *object)
{
    return json_pack("{s:s, s:s, s:O*}", "kind", "PartialObjectMetadata", "apiVersion",
                     "meta.k8s.io/v1", "metadata", json_object_get(object, "metadata"));
}

json_t *table_new(const struct resource *r, bool with_columns, const char *resource_version)
{
    json_t *t = json_pack("{s:s, s:s, s:{s:s*}, s:[], s:[]}", "kind", "Table", "apiVersion",
                          "meta.k8s.io/v1", "metadata", "resourceVersion", resource_version,
                          "columnDefinitions", "rows");

    for (const struct column *c = resource_columns(r); with_columns && c->name; c++)
        (void)json_array_append_new(json_object_get(t, "columnDefinitions"),
                                    json_pack("{s:s, s:s, s:s, s:s, s:i}", "name", c->name, "type",
                                              c->type, "format", c->format, "description",
                                              c->description, "priority", c->priority));
    return t;
}

void table_add(json_t *table, const struct resource *r, const json_t *object, struct str include)
{
    json_t *row = json_pack("{s:[]}", "cells");

    resource_print(r, object, json_object_get(row, "cells"));
    if (str_eq_z(include, "Object"))
        (void)json_object_set(row, "object", (json_t *)(uintptr_t)object);
    else if (!str_eq_z(include, "None"))
        (void)json_object_set_new(row, "object", metadata_only(object));
    (void)json_array_append_new(json_object_get(table, "rows"), row);
}
