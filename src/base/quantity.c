#include "base/quantity.h"
#include <errno.h>
#include <stdio.h>

static const struct {
    const char *name;
    char format;
    int power; /* of 1024 for 'b', of 10 for 'd' */
} suffixes[] = {
    {"Ki", 'b', 1}, {"Mi", 'b', 2}, {"Gi", 'b', 3}, {"Ti", 'b', 4}, {"Pi", 'b', 5}, {"Ei", 'b', 6},
    {"n", 'd', -9}, {"u", 'd', -6}, {"m", 'd', -3}, {"", 'd', 0},   {"k", 'd', 3},  {"M", 'd', 6},
    {"G", 'd', 9},  {"T", 'd', 12}, {"P", 'd', 15}, {"E", 'd', 18},
};

static int exponent(struct str s, int *power)
{
    int64_t e;

    if (s.n < 2 || (s.p[0] != 'e' && s.p[0] != 'E'))
        return -EINVAL;
    if (str_to_i64((struct str){s.p + 1, s.n - 1}, -18, 18, &e) < 0)
        return -EINVAL;
    *power = (int)e;
    return 0;
}

static int suffix(struct str s, char *format, int *power)
{
    for (size_t i = 0; i < sizeof suffixes / sizeof suffixes[0]; i++) {
        if (!str_eq_z(s, suffixes[i].name))
            continue;
        *format = suffixes[i].format;
        *power = suffixes[i].power;
        return 0;
    }
    *format = 'e';
    return exponent(s, power);
}

/* digits * 10^-scale * unit, in thousandths, rounded up and saturating; 128 bits hold every case.
 */
static int64_t to_milli(unsigned __int128 digits, int scale, char format, int power)
{
    unsigned __int128 v = digits * 1000, limit = (unsigned __int128)INT64_MAX;
    bool rest = false;

    if (format == 'b') {
        for (int i = 0; i < power && v <= limit << 40; i++)
            v <<= 10;
    } else {
        scale -= power;
    }
    for (; scale < 0 && v <= limit << 40; scale++)
        v *= 10;
    for (; scale > 0; scale--) {
        rest |= v % 10 != 0;
        v /= 10;
    }
    v += rest;
    return v > limit ? INT64_MAX : (int64_t)v;
}

int quantity_parse(struct str s, struct quantity *ret)
{
    unsigned __int128 digits = 0;
    bool negative = s.n && s.p[0] == '-', any = false, point = false;
    int scale = 0, power;
    size_t i = negative || (s.n && s.p[0] == '+') ? 1 : 0;
    char format;

    for (; i < s.n; i++) {
        char c = s.p[i];

        if (c == '.' && !point) {
            point = true;
            continue;
        }
        if (c < '0' || c > '9')
            break;
        any = true;
        if (digits > (unsigned __int128)1000000000000000000ULL * 1000) {
            if (!point)
                return -ERANGE;
            continue; /* more precision than thousandths can show */
        }
        digits = digits * 10 + (unsigned)(c - '0');
        scale += point;
    }
    if (!any || suffix((struct str){s.p + i, s.n - i}, &format, &power) < 0)
        return -EINVAL;
    ret->milli = to_milli(digits, scale, format, power);
    if (negative)
        ret->milli = -ret->milli;
    ret->format = format;
    return 0;
}

static void format_binary(int64_t value, char *out)
{
    static const char *const names[] = {"", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"};
    int i = 0;

    while (value && value % 1024 == 0 && i < 6) {
        value /= 1024;
        i++;
    }
    (void)snprintf(out, QUANTITY_TEXT, "%lld%s", (long long)value, names[i]);
}

void quantity_format(struct quantity q, char out[static QUANTITY_TEXT])
{
    static const char *const names[] = {"m", "", "k", "M", "G", "T", "P", "E"};
    int64_t v = q.milli;
    int i = 0;

    if (v == 0) {
        (void)snprintf(out, QUANTITY_TEXT, "0");
        return;
    }
    if (q.format == 'b' && v % 1000 == 0 && (v / 1000 >= 1024 || v / 1000 <= -1024)) {
        format_binary(v / 1000, out);
        return;
    }
    while (v % 1000 == 0 && i < 7) {
        v /= 1000;
        i++;
    }
    if (q.format == 'e' && i > 1)
        (void)snprintf(out, QUANTITY_TEXT, "%llde%d", (long long)v, (i - 1) * 3);
    else
        (void)snprintf(out, QUANTITY_TEXT, "%lld%s", (long long)v, names[i]);
}

int64_t quantity_milli_or(const char *z, int64_t fallback)
{
    struct quantity q;

    return z && quantity_parse(str_of(z), &q) == 0 ? q.milli : fallback;
}

int64_t quantity_value_or(const char *z, int64_t fallback)
{
    struct quantity q;

    return z && quantity_parse(str_of(z), &q) == 0 ? quantity_value(q) : fallback;
}
