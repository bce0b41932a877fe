#include "api/object_stream.h"
#include "api/object_decoder.h"
#include "base/mem.h"
#include <errno.h>
#include <stdlib.h>
#include <yajl/yajl_parse.h>

/* ---- lists: the wrapper's keys are ours, each item is the decoder's ---- */

enum list_at { AT_OTHER, AT_ITEMS, AT_METADATA, AT_RESOURCE_VERSION, AT_CONTINUE };
struct object_list {
    yajl_handle parser;
    struct object_decoder decoder;
    struct arena arena;
    object_item_fn fn;
    void *arg;
    int stopped; /* what fn returned */
    int depth;
    enum list_at at; /* value of the wrapper that comes next */
    bool in_item, in_items, in_metadata, done;
    char *resource_version, *continue_;
};

static int list_item_done(struct object_list *l)
{
    l->in_item = false;
    l->stopped = l->fn(l->decoder.out, l->arg);
    arena_reset(&l->arena);
    object_decoder_restart(&l->decoder);
    return !l->stopped;
}

static int list_map_open(void *x)
{
    struct object_list *l = x;
    if (!l->in_item && l->in_items && l->depth == 2)
        l->in_item = true;
    if (l->in_item)
        return l->depth++, object_decoder_map_open(&l->decoder);
    if (l->depth == 1 && l->at == AT_METADATA)
        l->in_metadata = true;
    return ++l->depth < 1000;
}

static int list_map_close(void *x)
{
    struct object_list *l = x;
    l->depth--;
    if (l->in_item) {
        if (!object_decoder_close(&l->decoder, '}'))
            return 0;
        return l->decoder.done ? list_item_done(l) : 1;
    }
    if (l->depth == 1)
        l->in_metadata = false;
    if (!l->depth)
        l->done = true;
    return 1;
}

static int list_array_open(void *x)
{
    struct object_list *l = x;
    if (l->in_item)
        return l->depth++, object_decoder_list_open(&l->decoder);
    if (l->depth == 1 && l->at == AT_ITEMS)
        l->in_items = true;
    return ++l->depth < 1000;
}

static int list_array_close(void *x)
{
    struct object_list *l = x;
    l->depth--;
    if (l->in_item)
        return object_decoder_close(&l->decoder, ']');
    if (l->depth == 1)
        l->in_items = false;
    return 1;
}

static int list_key(void *x, const unsigned char *p, size_t n)
{
    struct object_list *l = x;
    struct str k = {(const char *)p, n};
    if (l->in_item)
        return object_decoder_key(&l->decoder, k);
    l->at = AT_OTHER;
    if (l->depth == 1)
        l->at = str_eq_z(k, "items") ? AT_ITEMS : str_eq_z(k, "metadata") ? AT_METADATA : AT_OTHER;
    else if (l->depth == 2 && l->in_metadata)
        l->at = str_eq_z(k, "resourceVersion") ? AT_RESOURCE_VERSION
                : str_eq_z(k, "continue")      ? AT_CONTINUE
                                               : AT_OTHER;
    return 1;
}

static int list_string(void *x, const unsigned char *p, size_t n)
{
    struct object_list *l = x;
    struct str v = {(const char *)p, n};
    if (l->in_item)
        return object_decoder_string(&l->decoder, v);
    if (l->depth == 2 && l->in_metadata && (l->at == AT_RESOURCE_VERSION || l->at == AT_CONTINUE)) {
        char **slot = l->at == AT_CONTINUE ? &l->continue_ : &l->resource_version;
        if (n > 4096 || !object_text_ok(v))
            return 0;
        free(*slot);
        *slot = str_dup(v);
    }
    return 1;
}

static int list_number(void *x, const char *p, size_t n)
{
    struct object_list *l = x;
    return l->in_item ? object_decoder_number(&l->decoder, (struct str){p, n}) : 1;
}

static int list_bool(void *x, int v)
{
    struct object_list *l = x;
    return l->in_item ? object_decoder_bool(&l->decoder, v) : 1;
}

static int list_null(void *x)
{
    struct object_list *l = x;
    return l->in_item ? object_decoder_null(&l->decoder) : 1;
}

struct object_list *object_list_new(const ProtobufCMessageDescriptor *item, unsigned flags,
                                    object_item_fn fn, void *arg)
{
    static const yajl_callbacks callbacks = {
        .yajl_null = list_null,
        .yajl_boolean = list_bool,
        .yajl_number = list_number,
        .yajl_string = list_string,
        .yajl_start_map = list_map_open,
        .yajl_map_key = list_key,
        .yajl_end_map = list_map_close,
        .yajl_start_array = list_array_open,
        .yajl_end_array = list_array_close,
    };
    struct object_list *l = xcalloc(1, sizeof(*l));
    arena_init(&l->arena, (size_t)16 << 10);
    object_decoder_init(&l->decoder, item, flags, &l->arena);
    l->fn = fn;
    l->arg = arg;
    l->parser = yajl_alloc(&callbacks, NULL, l);
    return l;
}

int object_list_feed(struct object_list *l, struct str bytes, struct error **err)
{
    if (l->stopped < 0)
        return l->stopped;
    if (!bytes.n)
        return 0;
    yajl_status s = yajl_parse(l->parser, (const unsigned char *)bytes.p, bytes.n);
    if (l->arena.total_bytes > 2 * OBJECT_BYTES_MAX)
        return error_set(err, EMSGSIZE, "an object in the list is too large");
    if (s == yajl_status_ok)
        return 0;
    if (l->stopped)
        return l->stopped < 0 ? error_set(err, -l->stopped, "stopped by the reader") : 0;
    return object_parse_error(l->parser, &l->decoder, bytes, err);
}

int object_list_end(struct object_list *l, struct error **err)
{
    if (yajl_complete_parse(l->parser) != yajl_status_ok)
        return object_parse_error(l->parser, &l->decoder, STR(""), err);
    return l->done ? 0 : error_set(err, EINVAL, "the list ended early");
}

const char *object_list_resource_version(const struct object_list *l)
{
    return strna(l->resource_version);
}

const char *object_list_continue(const struct object_list *l)
{
    return strna(l->continue_);
}

void object_list_free(struct object_list *l)
{
    if (!l)
        return;
    yajl_free(l->parser);
    object_decoder_fini(&l->decoder);
    arena_fini(&l->arena);
    free(l->resource_version);
    free(l->continue_);
    free(l);
}
