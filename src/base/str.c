#include "base/str.h"
#include "base/mem.h"
#include <errno.h>
#include <stdlib.h>
#include <strings.h>

bool str_eq(struct str a, struct str b)
{
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

bool str_eq_z(struct str a, const char *z)
{
    return str_eq(a, str_of(z));
}

bool str_ieq_z(struct str a, const char *z)
{
    return strlen(z) == a.n && (a.n == 0 || strncasecmp(a.p, z, a.n) == 0);
}

bool str_starts(struct str s, struct str prefix)
{
    return s.n >= prefix.n && (prefix.n == 0 || memcmp(s.p, prefix.p, prefix.n) == 0);
}

bool str_ends(struct str s, struct str suffix)
{
    return s.n >= suffix.n &&
           (suffix.n == 0 || memcmp(s.p + s.n - suffix.n, suffix.p, suffix.n) == 0);
}

static bool is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

struct str str_trim(struct str s)
{
    while (s.n && is_space(s.p[0])) {
        s.p++;
        s.n--;
    }
    while (s.n && is_space(s.p[s.n - 1]))
        s.n--;
    return s;
}

struct str str_split(struct str *rest, char sep)
{
    const char *at = rest->n ? memchr(rest->p, sep, rest->n) : NULL;
    struct str head = *rest;

    if (!at) {
        *rest = STR_NULL;
        return head;
    }
    head.n = (size_t)(at - rest->p);
    rest->p = at + 1;
    rest->n -= head.n + 1;
    return head;
}

char *str_dup(struct str s)
{
    char *z = xmalloc(s.n + 1);

    if (s.n)
        memcpy(z, s.p, s.n);
    z[s.n] = '\0';
    return z;
}

int str_to_u64(struct str s, uint64_t max, uint64_t *ret)
{
    uint64_t v = 0;

    if (s.n == 0)
        return -EINVAL;
    for (size_t i = 0; i < s.n; i++) {
        unsigned d = (unsigned)(unsigned char)s.p[i] - '0';

        if (d > 9)
            return -EINVAL;
        if (__builtin_mul_overflow(v, 10, &v) || __builtin_add_overflow(v, d, &v))
            return -ERANGE;
    }
    if (v > max)
        return -ERANGE;
    *ret = v;
    return 0;
}

int str_to_i64(struct str s, int64_t min, int64_t max, int64_t *ret)
{
    bool negative = s.n && s.p[0] == '-';
    uint64_t u;
    int64_t v;
    int r;

    if (negative || (s.n && s.p[0] == '+')) {
        s.p++;
        s.n--;
    }
    r = str_to_u64(s, (uint64_t)INT64_MAX + (negative ? 1 : 0), &u);
    if (r < 0)
        return r;
    v = negative ? (int64_t)(0 - u) : (int64_t)u;
    if (v < min || v > max)
        return -ERANGE;
    *ret = v;
    return 0;
}

bool streq(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

bool strstarts(const char *s, const char *prefix)
{
    return s && strncmp(s, prefix, strlen(prefix)) == 0;
}

bool strends(const char *s, const char *suffix)
{
    return s && str_ends(str_of(s), str_of(suffix));
}

/* Levenshtein over two rows; words longer than the table are never near anything. */
#define NEAREST_MAX 64
static size_t edit_distance(const char *a, const char *b)
{
    size_t na = strlen(a), nb = strlen(b);
    size_t row[NEAREST_MAX + 1];

    if (na > NEAREST_MAX || nb > NEAREST_MAX)
        return SIZE_MAX;
    for (size_t j = 0; j <= nb; j++)
        row[j] = j;
    for (size_t i = 1; i <= na; i++) {
        size_t diagonal = row[0];

        row[0] = i;
        for (size_t j = 1; j <= nb; j++) {
            size_t best = diagonal + (a[i - 1] != b[j - 1]);

            diagonal = row[j];
            if (row[j] + 1 < best)
                best = row[j] + 1;
            if (row[j - 1] + 1 < best)
                best = row[j - 1] + 1;
            row[j] = best;
        }
    }
    return row[nb];
}

const char *str_nearest(const char *word, const char *const *candidates, size_t n)
{
    const char *best = NULL;
    size_t limit = strlen(word) / 3 + 2, best_distance = limit + 1;

    for (size_t i = 0; i < n; i++) {
        size_t d = candidates[i] ? edit_distance(word, candidates[i]) : SIZE_MAX;

        if (d < best_distance) {
            best_distance = d;
            best = candidates[i];
        }
    }
    return best;
}
