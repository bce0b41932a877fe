/* One whole document: yajl in front of the decoder. */
#include "api/object_decoder.h"
#include "base/cleanup.h"
#include <errno.h>
#include <stdio.h>
#include <yajl/yajl_parse.h>

static int on_null(void *d)
{
    return object_decoder_null(d);
}
static int on_bool(void *d, int v)
{
    return object_decoder_bool(d, v);
}
static int on_number(void *d, const char *p, size_t n)
{
    return object_decoder_number(d, (struct str){p, n});
}
static int on_string(void *d, const unsigned char *p, size_t n)
{
    return object_decoder_string(d, (struct str){(const char *)p, n});
}
static int on_key(void *d, const unsigned char *p, size_t n)
{
    return object_decoder_key(d, (struct str){(const char *)p, n});
}
static int on_map_open(void *d)
{
    return object_decoder_map_open(d);
}
static int on_map_close(void *d)
{
    return object_decoder_close(d, '}');
}
static int on_list_open(void *d)
{
    return object_decoder_list_open(d);
}
static int on_list_close(void *d)
{
    return object_decoder_close(d, ']');
}

int object_parse_error(struct yajl_handle_t *h, struct object_decoder *d, struct str text,
                       struct error **err)
{
    if (d && d->err) {
        int code = d->err->code;
        return error_set(err, code, "%s", d->err->message);
    }
    unsigned char *why = yajl_get_error(h, 0, (const unsigned char *)text.p, text.n);
    struct str s = str_trim(str_of((const char *)why));
    int r = error_set(err, EINVAL, "not valid JSON near byte %zu: %.*s",
                      (size_t)yajl_get_bytes_consumed(h), STR_FMT(s));
    yajl_free_error(h, why);
    return r;
}

int object_decode_json(const ProtobufCMessageDescriptor *desc, struct str json, unsigned flags,
                       struct arena *a, void *ret_msg, struct error **err)
{
    static const yajl_callbacks callbacks = {
        .yajl_null = on_null,
        .yajl_boolean = on_bool,
        .yajl_number = on_number,
        .yajl_string = on_string,
        .yajl_start_map = on_map_open,
        .yajl_map_key = on_key,
        .yajl_end_map = on_map_close,
        .yajl_start_array = on_list_open,
        .yajl_end_array = on_list_close,
    };
    struct object_decoder d;
    object_decoder_init(&d, desc, flags, a);
    yajl_handle h = yajl_alloc(&callbacks, NULL, &d);
    int r = 0;
    if (yajl_parse(h, (const unsigned char *)json.p, json.n) != yajl_status_ok ||
        yajl_complete_parse(h) != yajl_status_ok)
        r = object_parse_error(h, &d, json, err);
    else if (!d.done)
        r = error_set(err, EINVAL, "empty document");
    else
        *(void **)ret_msg = d.out;
    yajl_free(h);
    object_decoder_fini(&d);
    return r;
}
