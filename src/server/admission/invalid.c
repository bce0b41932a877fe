#include "server/admission/invalid.h"
#include "base/cleanup.h"
#include "base/mem.h"
#include "codec/json.h"
#include "server/controllers/meta.h"
#include <errno.h>

void invalid_init(struct invalid *v)
{
    v->causes = json_array();
}

void invalid_fini(struct invalid *v)
{
    json_decref(v->causes);
    v->causes = NULL;
}

static void add(struct invalid *v, const char *reason, const char *field, const char *message)
{
    json_array_append_new(v->causes, json_pack("{s:s,s:s,s:s}", "reason", reason, "message",
                                               message, "field", field));
}

static void add_take(struct invalid *v, const char *reason, const char *field, char *message)
{
    add(v, reason, field, message);
    free(message);
}

static char *value_text(const json_t *value)
{
    struct buf b;

    if (!value)
        return xstrdup("null");
    buf_init(&b, 4096);
    (void)json_write(value, &b);
    return buf_take(&b);
}

void invalid_required(struct invalid *v, const char *field, const char *detail)
{
    add_take(v, "FieldValueRequired", field,
             *detail ? xasprintf("Required value: %s", detail) : xstrdup("Required value"));
}

void invalid_value(struct invalid *v, const char *field, const json_t *value, const char *fmt, ...)
{
    char *text = value_text(value);
    struct buf b;
    va_list ap;

    buf_init(&b, 8192);
    (void)buf_printf(&b, "Invalid value: %s: ", text);
    va_start(ap, fmt);
    (void)buf_vprintf(&b, fmt, ap);
    va_end(ap);
    free(text);
    add_take(v, "FieldValueInvalid", field, buf_take(&b));
}

void invalid_text(struct invalid *v, const char *field, const char *value, const char *detail)
{
    json_t *text = json_string(value);

    invalid_value(v, field, text, "%s", detail);
    json_decref(text);
}

void invalid_duplicate(struct invalid *v, const char *field, const json_t *value)
{
    char *text = value_text(value);

    add_take(v, "FieldValueDuplicate", field, xasprintf("Duplicate value: %s", text));
    free(text);
}

void invalid_not_found(struct invalid *v, const char *field, const char *value)
{
    add_take(v, "FieldValueNotFound", field, xasprintf("Not found: \"%s\"", value));
}

void invalid_forbidden(struct invalid *v, const char *field, const char *detail)
{
    add_take(v, "FieldValueForbidden", field, xasprintf("Forbidden: %s", detail));
}

void invalid_unsupported(struct invalid *v, const char *field, const char *value,
                         const char *const *supported)
{
    struct buf b;

    buf_init(&b, 4096);
    (void)buf_add_z(&b, "Unsupported value: ");
    (void)buf_add_json_string(&b, str_of(value));
    (void)buf_add_z(&b, ": supported values: ");
    for (size_t i = 0; supported[i]; i++)
        (void)buf_printf(&b, "%s\"%s\"", i ? ", " : "", supported[i]);
    add_take(v, "FieldValueNotSupported", field, buf_take(&b));
}

void invalid_too_long(struct invalid *v, const char *field, size_t max)
{
    add_take(v, "FieldValueTooLong", field,
             xasprintf("Too long: may not be more than %zu bytes", max));
}

static char *plural_of(const struct admission_request *r, const char **ret_group)
{
    const char *dot = strchr(r->resource, '.');

    *ret_group = dot ? dot + 1 : "";
    return dot ? xstrndup(r->resource, (size_t)(dot - r->resource)) : xstrdup(r->resource);
}

static const char *request_name(const struct admission_request *r)
{
    const char *name = meta_name(r->object);

    return *name ? name : strna(r->name);
}

int invalid_finish(struct invalid *v, const struct admission_request *r,
                   struct admission_failure *f)
{
    size_t n = json_array_size(v->causes);
    const char *group;
    const json_t *c;
    struct buf b;

    if (n == 0) {
        invalid_fini(v);
        return 0;
    }
    free(plural_of(r, &group));
    buf_init(&b, 64 << 10);
    (void)buf_printf(&b, "%s \"%s\" is invalid: %s", r->kind, request_name(r), n > 1 ? "[" : "");
    json_each(v->causes, i, c)(void)
        buf_printf(&b, "%s%s: %s", i ? ", " : "", json_text_or(c, "field", ""),
                   json_text_or(c, "message", ""));
    if (n > 1)
        (void)buf_add_char(&b, ']');
    *f = (struct admission_failure){.code = 422, .reason = "Invalid", .message = buf_take(&b)};
    f->details = json_pack("{s:s,s:s,s:s,s:o}", "name", request_name(r), "group", group, "kind",
                           r->kind, "causes", TAKE(v->causes));
    return -EPERM;
}

int fail_forbidden(const struct admission_request *r, struct admission_failure *f, const char *fmt,
                   ...)
{
    const char *group;
    char *plural = plural_of(r, &group);
    struct buf b;
    va_list ap;

    buf_init(&b, 64 << 10);
    if (*request_name(r))
        (void)buf_printf(&b, "%s \"%s\" is forbidden: ", r->resource, request_name(r));
    else
        (void)buf_printf(&b, "%s is forbidden: ", r->resource);
    va_start(ap, fmt);
    (void)buf_vprintf(&b, fmt, ap);
    va_end(ap);
    *f = (struct admission_failure){.code = 403, .reason = "Forbidden", .message = buf_take(&b)};
    f->details =
        json_pack("{s:s,s:s,s:s}", "name", request_name(r), "group", group, "kind", plural);
    free(plural);
    return -EPERM;
}

int fail_with(struct admission_failure *f, int code, const char *reason, const char *fmt, ...)
{
    struct buf b;
    va_list ap;

    buf_init(&b, 64 << 10);
    va_start(ap, fmt);
    (void)buf_vprintf(&b, fmt, ap);
    va_end(ap);
    *f = (struct admission_failure){.code = code, .reason = reason, .message = buf_take(&b)};
    return -EPERM;
}

void admission_failure_fini(struct admission_failure *f)
{
    free(f->message);
    json_decref(f->details);
    *f = (struct admission_failure){0};
}

const char *field_at(char out[static FIELD_MAX], const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(out, FIELD_MAX, fmt, ap);
    va_end(ap);
    return out;
}
