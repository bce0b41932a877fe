#include "codec/json.h"
#include <errno.h>
#include <stdarg.h>

int json_parse(struct str text, size_t max_bytes, const char *what, json_t **ret,
               struct error **err)
{
    json_error_t e;
    json_t *v;

    if (text.n > max_bytes)
        return error_set(err, EFBIG, "%s is larger than the limit of %zu bytes", what, max_bytes);
    v = json_loadb(text.p ? text.p : "", text.n, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &e);
    if (!v)
        return error_set(err, EINVAL, "%s is not valid JSON: line %d, column %d: %s", what, e.line,
                         e.column, e.text);
    *ret = v;
    return 0;
}

static int to_buf(const char *p, size_t n, void *arg)
{
    return buf_add(arg, p, n) < 0 ? -1 : 0;
}

int json_write(const json_t *v, struct buf *b)
{
    return json_dump_callback(v, to_buf, b, JSON_COMPACT | JSON_ENCODE_ANY) < 0 ? -EMSGSIZE : 0;
}

int json_write_indented(const json_t *v, struct buf *b)
{
    return json_dump_callback(v, to_buf, b, JSON_INDENT(2) | JSON_ENCODE_ANY) < 0 ? -EMSGSIZE : 0;
}

static json_t *at_v(const json_t *v, va_list ap)
{
    const char *key;

    while (v && (key = va_arg(ap, const char *)))
        v = json_object_get(v, key);
    return (json_t *)v;
}

json_t *json_at(const json_t *v, ...)
{
    json_t *found;
    va_list ap;

    va_start(ap, v);
    found = at_v(v, ap);
    va_end(ap);
    return found;
}

const char *json_text_at(const json_t *v, ...)
{
    json_t *found;
    va_list ap;

    va_start(ap, v);
    found = at_v(v, ap);
    va_end(ap);
    return json_string_value(found);
}

const char *json_text_or(const json_t *object, const char *key, const char *fallback)
{
    const char *s = json_string_value(json_object_get(object, key));

    return s ? s : fallback;
}

int64_t json_int_or(const json_t *object, const char *key, int64_t fallback)
{
    json_t *v = json_object_get(object, key);

    return json_is_integer(v) ? json_integer_value(v) : fallback;
}

bool json_bool_or(const json_t *object, const char *key, bool fallback)
{
    json_t *v = json_object_get(object, key);

    return json_is_boolean(v) ? json_is_true(v) : fallback;
}
