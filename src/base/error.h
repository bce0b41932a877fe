/*
 * Errors that end up in a user's face.
 *
 * A function that can fail returns int and takes `struct error **err` last: 0 is success and *err
 * is untouched; a negative errno is failure and *err is set; a positive value is a condition its
 * header names. `err` may be NULL when the caller needs only the code. Messages are lower case,
 * carry no "failed to", and name the thing, the place and, where there is one, the remedy.
 */
#pragma once
#include <stdarg.h>

struct error {
    int code; /* positive errno */
    char *message;
};

/* Sets *err (when err is not NULL) to a new error and returns -code. code 0 becomes EIO. When code
 * is an errno, ": strerror" is appended only by error_set_errno. Replaces an error already set. */
int error_set(struct error **err, int code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* As error_set, with ": <strerror(code)>" appended. */
int error_set_errno(struct error **err, int code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* Puts "prefix: " before the message of *err; returns -(*err)->code, or -EIO when nothing is set.
 */
int error_wrap(struct error **err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Message of an error, never NULL; borrows. */
const char *error_message(const struct error *err);
/* Frees and NULLs. */
void error_clear(struct error **err);
void error_free(struct error *err);
static inline void cleanup_errorp(struct error **err)
{
    error_free(*err);
}
#define cleanup_error __attribute__((cleanup(cleanup_errorp)))
