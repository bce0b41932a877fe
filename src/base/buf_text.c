/* Encodings into a buffer: JSON strings, base64, hex, URL escapes. */
#include "base/buf.h"
#include <errno.h>

/* Length of the valid UTF-8 sequence at p (RFC 3629), or 0. */
static size_t utf8_len(const unsigned char *p, size_t n)
{
    size_t len;

    if (p[0] < 0x80)
        return 1;
    if (p[0] >= 0xc2 && p[0] <= 0xdf)
        len = 2;
    else if (p[0] >= 0xe0 && p[0] <= 0xef)
        len = 3;
    else if (p[0] >= 0xf0 && p[0] <= 0xf4)
        len = 4;
    else
        return 0;
    if (n < len)
        return 0;
    for (size_t i = 1; i < len; i++)
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) ||
        (p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] > 0x8f))
        return 0;
    return len;
}

static int add_json_special(struct buf *b, unsigned char c)
{
    switch (c) {
    case '"':
        return buf_add(b, "\\\"", 2);
    case '\\':
        return buf_add(b, "\\\\", 2);
    case '\n':
        return buf_add(b, "\\n", 2);
    case '\r':
        return buf_add(b, "\\r", 2);
    case '\t':
        return buf_add(b, "\\t", 2);
    default:
        return buf_printf(b, "\\u%04x", c);
    }
}

int buf_add_json_string(struct buf *b, struct str s)
{
    const unsigned char *p = (const unsigned char *)s.p;
    size_t run = 0;

    (void)buf_add_char(b, '"');
    for (size_t i = 0; i < s.n;) {
        size_t len = utf8_len(p + i, s.n - i);

        if (len && p[i] >= 0x20 && p[i] != '"' && p[i] != '\\') {
            i += len;
            continue;
        }
        (void)buf_add(b, s.p + run, i - run);
        (void)(len ? add_json_special(b, p[i]) : buf_add(b, "\xef\xbf\xbd", 3));
        run = ++i;
    }
    (void)buf_add(b, s.p ? s.p + run : "", s.n - run);
    (void)buf_add_char(b, '"');
    return b->overflowed ? -EMSGSIZE : 0;
}

static int add_base64_with(struct buf *b, const unsigned char *p, size_t n, const char *alphabet,
                           bool pad)
{
    char *to = buf_reserve(b, (n + 2) / 3 * 4);
    size_t k = 0;

    if (!to)
        return -EMSGSIZE;
    for (size_t i = 0; i < n; i += 3) {
        size_t left = n - i;
        unsigned v = (unsigned)p[i] << 16;

        if (left > 1)
            v |= (unsigned)p[i + 1] << 8;
        if (left > 2)
            v |= p[i + 2];
        to[k++] = alphabet[v >> 18];
        to[k++] = alphabet[v >> 12 & 63];
        if (left > 1)
            to[k++] = alphabet[v >> 6 & 63];
        else if (pad)
            to[k++] = '=';
        if (left > 2)
            to[k++] = alphabet[v & 63];
        else if (pad)
            to[k++] = '=';
    }
    buf_commit(b, k);
    return 0;
}

#define ALNUM "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
int buf_add_base64(struct buf *b, const void *p, size_t n)
{
    return add_base64_with(b, p, n, ALNUM "+/", true);
}

int buf_add_base64url(struct buf *b, const void *p, size_t n)
{
    return add_base64_with(b, p, n, ALNUM "-_", false);
}

static int base64_value(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    if (c == '+' || c == '-')
        return 62;
    if (c == '/' || c == '_')
        return 63;
    return -1;
}

int buf_add_base64_decoded(struct buf *b, struct str s)
{
    unsigned acc = 0, bits = 0;
    char *to;
    size_t k = 0;

    while (s.n && s.p[s.n - 1] == '=')
        s.n--;
    if (s.n % 4 == 1)
        return -EINVAL;
    to = buf_reserve(b, s.n / 4 * 3 + 3);
    if (!to)
        return -EMSGSIZE;
    for (size_t i = 0; i < s.n; i++) {
        int v = base64_value(s.p[i]);

        if (v < 0) {
            b->p[b->n] = '\0';
            return -EINVAL;
        }
        acc = acc << 6 | (unsigned)v;
        bits += 6;
        if (bits >= 8) {
            bits -= 8;
            to[k++] = (char)(acc >> bits & 0xff);
        }
    }
    buf_commit(b, k);
    return 0;
}

int buf_add_hex(struct buf *b, const void *p, size_t n)
{
    const unsigned char *u = p;

    for (size_t i = 0; i < n; i++) {
        char two[2] = {"0123456789abcdef"[u[i] >> 4], "0123456789abcdef"[u[i] & 15]};

        if (buf_add(b, two, 2) < 0)
            return -EMSGSIZE;
    }
    return 0;
}

int buf_add_url_escaped(struct buf *b, struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        int r;

        if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
            (c && strchr("-._~", c)))
            r = buf_add_char(b, c);
        else
            r = buf_printf(b, "%%%02X", (unsigned char)c);
        if (r < 0)
            return r;
    }
    return 0;
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

int buf_add_url_unescaped(struct buf *b, struct str s, bool plus_is_space)
{
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];

        if (c == '%') {
            int hi = i + 2 < s.n ? hex_value(s.p[i + 1]) : -1;
            int lo = i + 2 < s.n ? hex_value(s.p[i + 2]) : -1;

            if (hi < 0 || lo < 0)
                return -EINVAL;
            c = (char)(hi << 4 | lo);
            i += 2;
        } else if (c == '+' && plus_is_space) {
            c = ' ';
        }
        if (buf_add_char(b, c) < 0)
            return -EMSGSIZE;
    }
    return 0;
}
