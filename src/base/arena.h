/* Bump allocator: a document and its strings live and die together. 8-byte aligned. */
#pragma once
#include "base/str.h"
struct arena_chunk;
struct arena {
    struct arena_chunk *chunk;
    size_t first_bytes; /* size of the first chunk; 0 means 4 KiB */
    size_t total_bytes;
};
void arena_init(struct arena *a, size_t first_bytes);
void arena_fini(struct arena *a);
void arena_reset(struct arena *a);             /* keeps one chunk for reuse */
void *arena_alloc(struct arena *a, size_t n);  /* uninitialised */
void *arena_zalloc(struct arena *a, size_t n); /* zeroed */
char *arena_strdup(struct arena *a, const char *z);
char *arena_strndup(struct arena *a, const char *p, size_t n);
char *arena_printf(struct arena *a, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
