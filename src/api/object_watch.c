/* Watch events, one JSON object a line. The type may stand before or behind the object. */
#include "api/object_decoder.h"
#include "api/object_stream.h"
#include "base/cleanup.h"
#include "base/mem.h"
#include <errno.h>
#include <yajl/yajl_parse.h>

static const char *const names[] = {
    [WATCH_ADDED] = "ADDED",       [WATCH_MODIFIED] = "MODIFIED", [WATCH_DELETED] = "DELETED",
    [WATCH_BOOKMARK] = "BOOKMARK", [WATCH_ERROR] = "ERROR",
};

const char *watch_type_name(enum watch_type t)
{
    return names[t];
}

struct object_watch {
    const ProtobufCMessageDescriptor *item;
    unsigned flags;
    struct arena arena;
    struct buf line;
    object_watch_fn fn;
    void *arg;
    int stopped;
};

/* One pass over a line. */
struct pass {
    struct object_decoder decoder;
    int depth;
    int type; /* enum watch_type, -1 unknown yet */
    bool at_type, at_object, in_object, missed;
};

static int pass_open(struct pass *p, bool list)
{
    if (p->depth == 1 && p->at_object) {
        if (p->type < 0)
            p->missed = true; /* the type comes later: read the object in a second pass */
        else
            p->in_object = true;
    }
    p->depth++;
    if (p->in_object)
        return list ? object_decoder_list_open(&p->decoder) : object_decoder_map_open(&p->decoder);
    return p->depth < 1000;
}

static int pass_map_open(void *x)
{
    return pass_open(x, false);
}
static int pass_list_open(void *x)
{
    return pass_open(x, true);
}

static int pass_close(struct pass *p, char bracket)
{
    p->depth--;
    if (!p->in_object)
        return 1;
    if (!object_decoder_close(&p->decoder, bracket))
        return 0;
    if (p->decoder.done)
        p->in_object = false;
    return 1;
}

static int pass_map_close(void *x)
{
    return pass_close(x, '}');
}
static int pass_list_close(void *x)
{
    return pass_close(x, ']');
}

static int pass_key(void *x, const unsigned char *s, size_t n)
{
    struct pass *p = x;
    struct str k = {(const char *)s, n};
    if (p->in_object)
        return object_decoder_key(&p->decoder, k);
    if (p->depth == 1) {
        p->at_type = str_eq_z(k, "type");
        p->at_object = str_eq_z(k, "object");
    }
    return 1;
}

static int pass_string(void *x, const unsigned char *s, size_t n)
{
    struct pass *p = x;
    struct str v = {(const char *)s, n};
    if (p->in_object)
        return object_decoder_string(&p->decoder, v);
    if (p->depth != 1 || !p->at_type)
        return 1;
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (str_eq_z(v, names[i])) {
            p->type = (int)i;
            if (i == WATCH_ERROR)
                p->decoder.root = &k8s__status__descriptor;
            return 1;
        }
    return error_set(&p->decoder.err, EINVAL, "unknown watch event \"%.*s\"",
                     (int)(n < 40 ? n : 40), v.p) == 0;
}

static int pass_number(void *x, const char *s, size_t n)
{
    struct pass *p = x;
    return p->in_object ? object_decoder_number(&p->decoder, (struct str){s, n}) : 1;
}
static int pass_bool(void *x, int v)
{
    struct pass *p = x;
    return p->in_object ? object_decoder_bool(&p->decoder, v) : 1;
}
static int pass_null(void *x)
{
    struct pass *p = x;
    return p->in_object ? object_decoder_null(&p->decoder) : 1;
}

static int pass_run(struct pass *p, struct str line, struct error **err)
{
    static const yajl_callbacks callbacks = {
        .yajl_null = pass_null,
        .yajl_boolean = pass_bool,
        .yajl_number = pass_number,
        .yajl_string = pass_string,
        .yajl_start_map = pass_map_open,
        .yajl_map_key = pass_key,
        .yajl_end_map = pass_map_close,
        .yajl_start_array = pass_list_open,
        .yajl_end_array = pass_list_close,
    };
    yajl_handle h = yajl_alloc(&callbacks, NULL, p);
    int r = 0;
    if (yajl_parse(h, (const unsigned char *)line.p, line.n) != yajl_status_ok ||
        yajl_complete_parse(h) != yajl_status_ok)
        r = object_parse_error(h, &p->decoder, line, err);
    yajl_free(h);
    return r;
}

static int take_line(struct object_watch *w, struct str line, struct error **err)
{
    struct pass p = {.type = -1};
    object_decoder_init(&p.decoder, w->item, w->flags, &w->arena);
    int r = pass_run(&p, line, err);
    if (!r && p.missed && p.type >= 0 && !p.decoder.done)
        r = pass_run(&p, line, err);
    if (!r && (p.type < 0 || !p.decoder.done))
        r = error_set(err, EINVAL, "watch event without type or object");
    if (!r) {
        w->stopped = w->fn((enum watch_type)p.type, p.decoder.out, w->arg);
        if (w->stopped < 0)
            r = error_set(err, -w->stopped, "stopped by the reader");
    }
    object_decoder_fini(&p.decoder);
    arena_reset(&w->arena);
    return r;
}

struct object_watch *object_watch_new(const ProtobufCMessageDescriptor *item, unsigned flags,
                                      object_watch_fn fn, void *arg)
{
    struct object_watch *w = xcalloc(1, sizeof(*w));
    w->item = item;
    w->flags = flags;
    w->fn = fn;
    w->arg = arg;
    arena_init(&w->arena, 0);
    buf_init(&w->line, OBJECT_BYTES_MAX);
    return w;
}

int object_watch_feed(struct object_watch *w, struct str bytes, struct error **err)
{
    while (bytes.n && !w->stopped) {
        const char *end = memchr(bytes.p, '\n', bytes.n);
        size_t n = end ? (size_t)(end - bytes.p) : bytes.n;
        struct str line = {bytes.p, n};
        if (w->line.n || !end) {
            if (buf_add(&w->line, bytes.p, n) < 0)
                return error_set(err, EMSGSIZE, "a watch event is larger than %zu MiB",
                                 OBJECT_BYTES_MAX >> 20);
            line = buf_str(&w->line);
        }
        bytes.p += n + (end ? 1 : 0);
        bytes.n -= n + (end ? 1 : 0);
        if (!end)
            return 0;
        int r = str_trim(line).n ? take_line(w, line, err) : 0;
        if (w->line.cap > (size_t)64 << 10)
            buf_fini(&w->line), buf_init(&w->line, OBJECT_BYTES_MAX);
        else
            buf_clear(&w->line);
        if (r)
            return r;
    }
    return 0;
}

void object_watch_free(struct object_watch *w)
{
    if (!w)
        return;
    arena_fini(&w->arena);
    buf_fini(&w->line);
    free(w);
}
