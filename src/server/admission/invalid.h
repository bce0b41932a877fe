/* Field errors as upstream words them, collected into one Status. */
#pragma once
#include "base/buf.h"
#include "server/admission/admission.h"
struct invalid {
    json_t *causes; /* array of {reason,message,field} */
};
void invalid_init(struct invalid *v);
void invalid_fini(struct invalid *v);
static inline bool invalid_any(const struct invalid *v)
{
    return json_array_size(v->causes) > 0;
}
/* field: "spec.containers[0].name"; detail may be "". */
void invalid_required(struct invalid *v, const char *field, const char *detail);
/* value as it prints: strings quoted, others compact JSON. */
void invalid_value(struct invalid *v, const char *field, const json_t *value, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
void invalid_text(struct invalid *v, const char *field, const char *value, const char *detail);
void invalid_duplicate(struct invalid *v, const char *field, const json_t *value);
void invalid_not_found(struct invalid *v, const char *field, const char *value);
void invalid_forbidden(struct invalid *v, const char *field, const char *detail);
/* supported: NULL-terminated, sorted. */
void invalid_unsupported(struct invalid *v, const char *field, const char *value,
                         const char *const *supported);
void invalid_too_long(struct invalid *v, const char *field, size_t max);
/* Fills *f with 422 and returns -EPERM when there are causes, else 0. Ends v. */
int invalid_finish(struct invalid *v, const struct admission_request *r,
                   struct admission_failure *f);
/* 403 `RESOURCE "NAME" is forbidden: TEXT`; returns -EPERM. */
int fail_forbidden(const struct admission_request *r, struct admission_failure *f, const char *fmt,
                   ...) __attribute__((format(printf, 3, 4)));
int fail_with(struct admission_failure *f, int code, const char *reason, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
/* Path text kept by the caller for one statement. */
#define FIELD_MAX 256
const char *field_at(char out[static FIELD_MAX], const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
