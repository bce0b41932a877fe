/* Tar streams for tests, written by hand so that they can be wrong in every way. */
#pragma once
#include "base/buf.h"
#include <stdio.h>
#include <string.h>
struct tar_entry {
    const char *name, *link;
    char type; /* '0' file '1' hard link '2' symbolic link '3' char '4' block '5' directory '6' fifo
                  'x' pax */
    unsigned mode, uid, gid, major, minor;
    long mtime;
    const char *data;
};
static inline void tar_octal(char *to, size_t n, unsigned long v)
{
    to[n - 1] = 0;
    for (size_t i = n - 1; i-- > 0; v >>= 3)
        to[i] = (char)('0' + (v & 7));
}
static inline void tar_add(struct buf *b, const struct tar_entry *e)
{
    static const char zeros[512];
    char h[512] = {0};
    size_t n = e->data && e->type != '2' ? strlen(e->data) : 0;
    unsigned sum = 0;

    (void)snprintf(h, 100, "%s", e->name);
    tar_octal(h + 100, 8, e->mode ? e->mode : e->type == '5' ? 0755 : 0644);
    tar_octal(h + 108, 8, e->uid);
    tar_octal(h + 116, 8, e->gid);
    tar_octal(h + 124, 12, n);
    tar_octal(h + 136, 12, (unsigned long)e->mtime);
    memset(h + 148, ' ', 8);
    h[156] = e->type ? e->type : '0';
    if (e->link)
        (void)snprintf(h + 157, 100, "%s", e->link);
    memcpy(h + 257,
           "ustar\0"
           "00",
           8);
    tar_octal(h + 329, 8, e->major);
    tar_octal(h + 337, 8, e->minor);
    for (size_t i = 0; i < sizeof(h); i++)
        sum += (unsigned char)h[i];
    tar_octal(h + 148, 7, sum);
    (void)buf_add(b, h, sizeof(h));
    if (n) {
        (void)buf_add(b, e->data, n);
        (void)buf_add(b, zeros, (512 - n % 512) % 512);
    }
}
static inline void tar_end(struct buf *b)
{
    static const char zeros[1024];

    (void)buf_add(b, zeros, sizeof(zeros));
}
/* A pax record for the next entry; value may hold any bytes but NUL. */
static inline void tar_pax(struct buf *b, const char *key, const char *value)
{
    char text[8192];
    size_t n = strlen(key) + strlen(value) + 3, len = n + 1;

    while (len != n + (size_t)snprintf(NULL, 0, "%zu", len))
        len = n + (size_t)snprintf(NULL, 0, "%zu", len);
    (void)snprintf(text, sizeof(text), "%zu %s=%s\n", len, key, value);
    tar_add(b, &(struct tar_entry){.name = "PaxHeader", .type = 'x', .data = text});
}
