#include "base/error.h"
#include "base/mem.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int set_v(struct error **err, int code, const char *suffix, const char *fmt, va_list ap)
{
    struct error *e;
    char *text = NULL;

    if (code <= 0)
        code = EIO;
    if (!err)
        return -code;
    if (vasprintf(&text, fmt, ap) < 0)
        text = xstrdup(fmt);
    e = xcalloc(1, sizeof *e);
    e->code = code;
    if (suffix) {
        e->message = xasprintf("%s: %s", text, suffix);
        free(text);
    } else {
        e->message = text;
    }
    error_free(*err);
    *err = e;
    return -code;
}

int error_set(struct error **err, int code, const char *fmt, ...)
{
    va_list ap;
    int r;

    va_start(ap, fmt);
    r = set_v(err, code, NULL, fmt, ap);
    va_end(ap);
    return r;
}

int error_set_errno(struct error **err, int code, const char *fmt, ...)
{
    va_list ap;
    int r;

    va_start(ap, fmt);
    r = set_v(err, code, strerror(code), fmt, ap);
    va_end(ap);
    return r;
}

int error_wrap(struct error **err, const char *fmt, ...)
{
    char *prefix = NULL, *whole;
    va_list ap;

    if (!err || !*err)
        return -EIO;
    va_start(ap, fmt);
    if (vasprintf(&prefix, fmt, ap) < 0)
        prefix = xstrdup(fmt);
    va_end(ap);
    whole = xasprintf("%s: %s", prefix, (*err)->message);
    free(prefix);
    free((*err)->message);
    (*err)->message = whole;
    return -(*err)->code;
}

const char *error_message(const struct error *err)
{
    return err && err->message ? err->message : "unknown error";
}

void error_free(struct error *err)
{
    if (!err)
        return;
    free(err->message);
    free(err);
}

void error_clear(struct error **err)
{
    error_free(*err);
    *err = NULL;
}
