#include "server/registry/status.h"
#include "base/mem.h"
#include "codec/json.h"
#include "server/registry/resource.h"
#include <stdlib.h>

static int set_v(struct api_status *st, int code, const char *reason, const char *fmt, va_list ap)
{
    status_fini(st);
    st->code = code;
    st->reason = reason;
    if (vasprintf(&st->message, fmt, ap) < 0)
        st->message = xstrdup(fmt);
    return -1;
}

int status_set(struct api_status *st, int code, const char *reason, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    (void)set_v(st, code, reason, fmt, ap);
    va_end(ap);
    return -1;
}

int status_bad(struct api_status *st, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    (void)set_v(st, 400, "BadRequest", fmt, ap);
    va_end(ap);
    return -1;
}

void status_fini(struct api_status *st)
{
    free(st->message);
    json_decref(st->details);
    *st = (struct api_status){0};
}

json_t *status_object(const struct api_status *st)
{
    json_t *o =
        json_pack("{s:s, s:s, s:{}, s:s, s:s*, s:s, s:O*, s:i}", "kind", "Status", "apiVersion",
                  "v1", "metadata", "status", "Failure", "message", st->message, "reason",
                  st->reason, "details", st->details, "code", st->code);

    if (o)
        return o;
    /* the message was not valid UTF-8 */
    return json_pack("{s:s, s:s, s:{}, s:s, s:s, s:i}", "kind", "Status", "apiVersion", "v1",
                     "metadata", "status", "Failure", "reason", st->reason, "code", st->code);
}

const char *status_resource(const struct resource *r)
{
    return r->id;
}

static json_t *details_of(const struct resource *r, const char *name)
{
    return json_pack("{s:s, s:s*, s:s}", "name", name ? name : "", "group",
                     r->group[0] ? r->group : NULL, "kind", r->plural);
}

int status_not_found(struct api_status *st, const struct resource *r, const char *name)
{
    (void)status_set(st, 404, "NotFound", "%s \"%s\" not found", status_resource(r), name);
    st->details = details_of(r, name);
    return -1;
}

int status_exists(struct api_status *st, const struct resource *r, const char *name)
{
    (void)status_set(st, 409, "AlreadyExists", "%s \"%s\" already exists", status_resource(r),
                     name);
    st->details = details_of(r, name);
    return -1;
}

int status_conflict(struct api_status *st, const struct resource *r, const char *name,
                    const char *why)
{
    (void)status_set(st, 409, "Conflict", "Operation cannot be fulfilled on %s \"%s\": %s",
                     status_resource(r), name, why);
    st->details = details_of(r, name);
    return -1;
}
