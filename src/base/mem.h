/* Allocation that ends the process when memory is out, so callers need no error path. Frees with
 * free(). */
#pragma once
#include <stddef.h>
void *xmalloc(size_t n) __attribute__((malloc, returns_nonnull));
void *xcalloc(size_t n, size_t size) __attribute__((malloc, returns_nonnull));
void *xrealloc(void *p, size_t n) __attribute__((returns_nonnull));
void *xreallocarray(void *p, size_t n, size_t size) __attribute__((returns_nonnull));
char *xstrdup(const char *s) __attribute__((malloc, returns_nonnull));
char *xstrndup(const char *s, size_t n) __attribute__((malloc, returns_nonnull));
/* strdup that maps NULL to NULL. */
char *xstrdup_null(const char *s);
char *xasprintf(const char *fmt, ...)
    __attribute__((format(printf, 1, 2), malloc, returns_nonnull));
/* Replaces *p (freed) by a copy of s (may be NULL). */
void str_replace(char **p, const char *s);
