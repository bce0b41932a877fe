/*
 * Growable byte buffer whose maximum is an argument of init: what a peer can make large comes back
 * as -EMSGSIZE instead of eating memory. Data is always followed by a NUL that does not count. A
 * buffer that overflowed keeps what it had and remembers `overflowed`.
 */
#pragma once
#include "base/str.h"
#include <stdarg.h>

struct buf {
    char *p;
    size_t n, cap, max;
    bool overflowed;
};
#define BUF_UNBOUNDED ((size_t)1 << 40)

/* lifecycle */
void buf_init(struct buf *b, size_t max);
void buf_fini(struct buf *b);
void buf_clear(struct buf *b); /* keeps the memory */
char *buf_take(struct buf *b); /* owned NUL-terminated data; b is empty afterwards */
static inline void cleanup_bufp(struct buf *b)
{
    buf_fini(b);
}
#define cleanup_buf __attribute__((cleanup(cleanup_bufp)))

/* appending: 0 or -EMSGSIZE */
int buf_add(struct buf *b, const void *p, size_t n);
int buf_add_str(struct buf *b, struct str s);
int buf_add_z(struct buf *b, const char *z);
int buf_add_char(struct buf *b, char c);
int buf_printf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
int buf_vprintf(struct buf *b, const char *fmt, va_list ap);
/* Room for n more bytes at b->p + b->n; caller then adds to b->n with buf_commit. NULL when over
 * max. */
char *buf_reserve(struct buf *b, size_t n);
void buf_commit(struct buf *b, size_t n);
/* Drops n bytes from the front. */
void buf_consume(struct buf *b, size_t n);
/* JSON string with quotes and escapes; invalid UTF-8 becomes U+FFFD. */
int buf_add_json_string(struct buf *b, struct str s);
int buf_add_base64(struct buf *b, const void *p, size_t n);
int buf_add_base64url(struct buf *b, const void *p, size_t n); /* no padding */
int buf_add_hex(struct buf *b, const void *p, size_t n);
/* Decodes standard or URL alphabet, padding optional, white space refused; -EINVAL. */
int buf_add_base64_decoded(struct buf *b, struct str s);
int buf_add_url_escaped(struct buf *b, struct str s); /* path segment / query value */
int buf_add_url_unescaped(struct buf *b, struct str s, bool plus_is_space); /* -EINVAL on bad % */
static inline struct str buf_str(const struct buf *b)
{
    return (struct str){b->p ? b->p : "", b->n};
}
