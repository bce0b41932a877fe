/* What an API call answers when it fails: the fields of a metav1.Status, with upstream's wording.
 */
#pragma once
#include <jansson.h>
#include <stdbool.h>
struct api_status {
    int code;           /* 0: none */
    const char *reason; /* static */
    char *message;      /* owned */
    json_t *details;    /* owned or NULL */
};
struct resource;
/* Sets and returns -1. */
int status_set(struct api_status *st, int code, const char *reason, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
void status_fini(struct api_status *st);
/* The Status object; new reference. */
json_t *status_object(const struct api_status *st);
int status_not_found(struct api_status *st, const struct resource *r, const char *name);
int status_exists(struct api_status *st, const struct resource *r, const char *name);
int status_conflict(struct api_status *st, const struct resource *r, const char *name,
                    const char *why);
int status_bad(struct api_status *st, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* "pods" or "daemonsets.apps", as messages name a resource. */
const char *status_resource(const struct resource *r);
