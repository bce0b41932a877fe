/* get and list */
#include "base/cleanup.h"
#include "base/mem.h"
#include "codec/json.h"
#include "server/controllers/meta.h"
#include "server/http/api.h"
#include <stdio.h>
#include <stdlib.h>

#define LIST_MAX (256u << 20)

static void answer_as(struct api_request *q, json_t *object)
{
    switch (api_request_accepts(q)) {
    case ACCEPT_TABLE: {
        json_t *t = table_new(q->r, true, meta_version(object));

        to_served_version(q, object);
        table_add(t, q->r, object, http_query_get(q->x, "includeObject"));
        json_decref(object);
        answer_object(q, 200, t);
        return;
    }
    case ACCEPT_METADATA: {
        json_t *m = metadata_only(object);

        json_decref(object);
        answer_object(q, 200, m);
        return;
    }
    case ACCEPT_PLAIN:
        break;
    }
    to_served_version(q, object);
    answer_object(q, 200, object);
}

void handle_get(struct api_request *q)
{
    struct api_status st = {0};
    json_t *o;

    if (registry_get(&q->s->registry, q->r, q->ns, q->name, &o, &st) < 0)
        answer_status(q, &st);
    else
        answer_as(q, o);
}

struct listing {
    struct api_request *q;
    struct selector *sel;
    enum accept_as as;
    json_t *table;
    struct buf out;
    char *last;
    size_t n, limit;
    bool more, parse;
    struct str include;
};

static void list_plain(struct listing *l, const json_t *o, struct str value)
{
    if (l->n > 1)
        (void)buf_add_char(&l->out, ',');
    if (o)
        (void)json_write(o, &l->out);
    else
        (void)buf_add_str(&l->out, value);
}

/* Stored bytes are the answer's bytes unless something must be looked at or changed. */
static int on_item(const char *key, struct str value, uint64_t revision, void *arg)
{
    struct listing *l = arg;
    cleanup_json json_t *o = NULL;

    (void)revision;
    if (l->limit && l->n == l->limit) {
        l->more = true;
        return 1;
    }
    if (l->parse && json_parse(value, OBJECT_BYTES_MAX * 2, key, &o, NULL) < 0)
        return 0;
    if (l->sel && !selector_match(l->sel, o))
        return 0;
    if (o)
        to_served_version(l->q, o);
    l->n++;
    str_replace(&l->last, key);
    if (l->as == ACCEPT_TABLE) {
        table_add(l->table, l->q->r, o, l->include);
    } else if (l->as == ACCEPT_METADATA) {
        cleanup_json json_t *m = metadata_only(o);

        list_plain(l, m, STR_NULL);
    } else {
        list_plain(l, o, value);
    }
    return 0;
}

/* A continue token is the last key, in base64. */
static char *after_key(struct str token, const char *prefix)
{
    struct buf b;

    buf_init(&b, 4096);
    if (!token.n || buf_add_base64_decoded(&b, token) < 0 || !strstarts(b.p, prefix)) {
        buf_fini(&b);
        return NULL;
    }
    return buf_take(&b);
}

static json_t *list_meta(struct listing *l, const char *prefix)
{
    json_t *meta = json_object();
    char version[24];
    struct buf token;
    uint64_t left = 0;

    (void)snprintf(version, sizeof version, "%llu",
                   (unsigned long long)store_revision(l->q->s->store));
    json_set_text(meta, "resourceVersion", version);
    if (!l->more)
        return meta;
    buf_init(&token, 8192);
    (void)buf_add_base64url(&token, l->last, strlen(l->last));
    json_set_text(meta, "continue", token.p);
    buf_fini(&token);
    if (!l->sel && store_count(l->q->s->store, prefix, l->last, &left, NULL) == 0)
        json_set_int(meta, "remainingItemCount", (int64_t)left);
    return meta;
}

static void finish_list(struct listing *l, const char *prefix)
{
    struct api_request *q = l->q;
    json_t *meta = list_meta(l, prefix);

    if (l->as == ACCEPT_TABLE) {
        (void)json_object_set_new(l->table, "metadata", meta);
        answer_object(q, 200, TAKE(l->table));
        return;
    }
    struct buf whole;

    buf_init(&whole, LIST_MAX);
    (void)buf_printf(&whole, "{\"kind\":\"%sList\",\"apiVersion\":\"%s%s%s\",\"metadata\":",
                     l->as == ACCEPT_METADATA ? "PartialObjectMetadata" : q->r->kind,
                     l->as == ACCEPT_METADATA ? "meta.k8s.io/v1" : q->group,
                     l->as == ACCEPT_METADATA || !q->group[0] ? "" : "/",
                     l->as == ACCEPT_METADATA ? "" : q->version);
    (void)json_write(meta, &whole);
    json_decref(meta);
    (void)buf_add_z(&whole, ",\"items\":[");
    (void)buf_add_str(&whole, buf_str(&l->out));
    (void)buf_add_z(&whole, "]}\n");
    answer_json_bytes(q, 200, buf_str(&whole));
    buf_fini(&whole);
}

void handle_list(struct api_request *q)
{
    cleanup_free char *prefix = resource_key(q->r, q->ns, NULL);
    cleanup_free char *after = after_key(http_query_get(q->x, "continue"), prefix);
    struct listing l = {
        .q = q, .as = api_request_accepts(q), .include = http_query_get(q->x, "includeObject")};
    struct api_status st = {0};
    struct error *err = NULL;
    uint64_t limit = 0;

    if (selector_parse(http_query_get(q->x, "labelSelector"), http_query_get(q->x, "fieldSelector"),
                       &l.sel, &st) < 0) {
        answer_status(q, &st);
        return;
    }
    if (http_query_get(q->x, "continue").n && !after) {
        selector_free(l.sel);
        (void)status_bad(
            &st, "continue key is not valid: it is not one that this server gave for this list");
        answer_status(q, &st);
        return;
    }
    (void)str_to_u64(http_query_get(q->x, "limit"), 100000, &limit);
    l.limit = (size_t)limit;
    l.parse = l.sel || l.as != ACCEPT_PLAIN || !served_as_stored(q);
    buf_init(&l.out, LIST_MAX);
    if (l.as == ACCEPT_TABLE)
        l.table = table_new(q->r, true, NULL);
    if (store_list(q->s->store, prefix, after, 0, on_item, &l, &err) < 0 || l.out.overflowed) {
        (void)status_set(&st, 500, "InternalError", "%s",
                         err ? error_message(err) : "the list is too large; ask with a limit");
        answer_status(q, &st);
    } else {
        finish_list(&l, prefix);
    }
    error_free(err);
    json_decref(l.table);
    selector_free(l.sel);
    buf_fini(&l.out);
    free(l.last);
}
