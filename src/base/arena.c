#include "base/arena.h"
#include "base/mem.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

struct arena_chunk {
    struct arena_chunk *next;
    size_t used, size;
    _Alignas(8) char data[];
};

void arena_init(struct arena *a, size_t first_bytes)
{
    *a = (struct arena){.first_bytes = first_bytes};
}

static void chunks_free(struct arena_chunk *c)
{
    while (c) {
        struct arena_chunk *next = c->next;

        free(c);
        c = next;
    }
}

void arena_fini(struct arena *a)
{
    chunks_free(a->chunk);
    a->chunk = NULL;
    a->total_bytes = 0;
}

void arena_reset(struct arena *a)
{
    if (!a->chunk)
        return;
    chunks_free(a->chunk->next);
    a->chunk->next = NULL;
    a->chunk->used = 0;
    a->total_bytes = a->chunk->size;
}

void *arena_alloc(struct arena *a, size_t n)
{
    struct arena_chunk *c = a->chunk;

    n = (n + 7) & ~(size_t)7;
    if (!c || n > c->size - c->used) {
        size_t size = a->first_bytes ? a->first_bytes : 4096 - sizeof *c - 16;

        if (size < n)
            size = n;
        c = xmalloc(sizeof *c + size);
        c->used = 0;
        c->size = size;
        c->next = a->chunk;
        a->chunk = c;
        a->total_bytes += size;
    }
    c->used += n;
    return c->data + c->used - n;
}

void *arena_zalloc(struct arena *a, size_t n)
{
    return memset(arena_alloc(a, n), 0, n);
}

char *arena_strndup(struct arena *a, const char *p, size_t n)
{
    char *z = arena_alloc(a, n + 1);

    if (n)
        memcpy(z, p, n);
    z[n] = '\0';
    return z;
}

char *arena_strdup(struct arena *a, const char *z)
{
    return arena_strndup(a, z, strlen(z));
}

char *arena_printf(struct arena *a, const char *fmt, ...)
{
    va_list ap, again;
    char *z;
    int n;

    va_start(ap, fmt);
    va_copy(again, ap);
    n = vsnprintf(NULL, 0, fmt, again);
    va_end(again);
    z = arena_alloc(a, (size_t)(n < 0 ? 0 : n) + 1);
    z[0] = '\0';
    if (n > 0)
        (void)vsnprintf(z, (size_t)n + 1, fmt, ap);
    va_end(ap);
    return z;
}
