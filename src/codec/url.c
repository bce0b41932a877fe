#include "codec/url.h"
#include <errno.h>

static int parse_authority(struct str a, struct url *u)
{
    struct str port = STR_NULL;
    uint64_t n = 0;

    if (memchr(a.p, '@', a.n))
        return -EINVAL;
    if (a.n && a.p[0] == '[') {
        const char *end = memchr(a.p, ']', a.n);

        if (!end)
            return -EINVAL;
        u->host = (struct str){a.p + 1, (size_t)(end - a.p - 1)};
        port = (struct str){end + 1, a.n - (size_t)(end + 1 - a.p)};
        if (port.n && port.p[0] != ':')
            return -EINVAL;
        if (port.n)
            port = (struct str){port.p + 1, port.n - 1};
    } else {
        struct str rest = a;

        u->host = str_split(&rest, ':');
        port = rest;
    }
    if (!u->host.n)
        return -EINVAL;
    if (!port.n) {
        u->port = str_eq_z(u->scheme, "https") ? 443 : 80;
        return 0;
    }
    if (str_to_u64(port, 65535, &n) < 0 || n == 0)
        return -EINVAL;
    u->port = (uint16_t)n;
    return 0;
}

int url_parse(struct str text, struct url *ret)
{
    struct url u = {0};
    const char *sep = text.n > 3 ? memmem(text.p, text.n, "://", 3) : NULL;
    struct str rest;
    size_t n;

    if (!sep || sep == text.p)
        return -EINVAL;
    for (size_t i = 0; i < text.n; i++)
        if ((unsigned char)text.p[i] <= ' ' || text.p[i] == 0x7f || text.p[i] == '#')
            return -EINVAL;
    u.scheme = (struct str){text.p, (size_t)(sep - text.p)};
    rest = (struct str){sep + 3, text.n - u.scheme.n - 3};
    if (str_eq_z(u.scheme, "unix")) {
        u.path = rest;
        if (!rest.n)
            return -EINVAL;
        *ret = u;
        return 0;
    }
    if (!str_eq_z(u.scheme, "http") && !str_eq_z(u.scheme, "https"))
        return -EINVAL;
    for (n = 0; n < rest.n && rest.p[n] != '/' && rest.p[n] != '?'; n++)
        ;
    if (parse_authority((struct str){rest.p, n}, &u) < 0)
        return -EINVAL;
    u.query = (struct str){rest.p + n, rest.n - n};
    u.path = str_split(&u.query, '?');
    *ret = u;
    return 0;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

int url_decode(struct arena *a, struct str s, bool plus_is_space, struct str *ret)
{
    char *out;
    size_t n = 0;

    if (!s.n || (!memchr(s.p, '%', s.n) && !(plus_is_space && memchr(s.p, '+', s.n)))) {
        *ret = s;
        return 0;
    }
    out = arena_alloc(a, s.n + 1);
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];

        if (c == '%') {
            int hi = i + 2 < s.n ? hex_digit(s.p[i + 1]) : -1;
            int lo = i + 2 < s.n ? hex_digit(s.p[i + 2]) : -1;

            if (hi < 0 || lo < 0)
                return -EINVAL;
            c = (char)(hi << 4 | lo);
            if (!c)
                return -EINVAL;
            i += 2;
        } else if (c == '+' && plus_is_space) {
            c = ' ';
        }
        out[n++] = c;
    }
    out[n] = 0;
    *ret = (struct str){out, n};
    return 0;
}

int url_segments(struct arena *a, struct str path, struct str *out, size_t max, size_t *ret_n)
{
    size_t n = 0;

    for (struct str rest = path; rest.p;) {
        struct str raw = str_split(&rest, '/'), seg;

        if (!raw.n)
            continue;
        if (url_decode(a, raw, false, &seg) < 0 || str_eq_z(seg, ".") || str_eq_z(seg, ".."))
            return -EINVAL;
        if (n == max)
            return -E2BIG;
        out[n++] = seg;
    }
    *ret_n = n;
    return 0;
}

bool url_query_next(struct str *rest, struct str *ret_key, struct str *ret_value)
{
    while (rest->p && rest->n) {
        struct str pair = str_split(rest, '&');

        if (!pair.n)
            continue;
        *ret_key = str_split(&pair, '=');
        *ret_value = pair.p ? pair : (struct str){ret_key->p + ret_key->n, 0};
        return true;
    }
    return false;
}
