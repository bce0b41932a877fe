#include "base/time.h"
#include <errno.h>
#include <stdio.h>
#include <time.h>

static int64_t clock_ns(clockid_t id)
{
    struct timespec ts;

    (void)clock_gettime(id, &ts);
    return (int64_t)ts.tv_sec * NSEC_PER_SEC + ts.tv_nsec;
}

struct mono mono_now(void)
{
    return (struct mono){clock_ns(CLOCK_MONOTONIC)};
}

struct wall wall_now(void)
{
    return (struct wall){clock_ns(CLOCK_REALTIME)};
}

static void split_wall(struct wall t, struct tm *tm, int64_t *ns)
{
    int64_t sec = t.ns / NSEC_PER_SEC;
    time_t tt;

    *ns = t.ns % NSEC_PER_SEC;
    if (*ns < 0) {
        *ns += NSEC_PER_SEC;
        sec--;
    }
    tt = (time_t)sec;
    (void)gmtime_r(&tt, tm);
}

static void format_wall(struct wall t, char *out, int digits)
{
    struct tm tm;
    int64_t ns;
    size_t n;

    split_wall(t, &tm, &ns);
    n = strftime(out, WALL_TEXT, "%Y-%m-%dT%H:%M:%S", &tm);
    if (digits) {
        char frac[16];

        (void)snprintf(frac, sizeof frac, "%09lld", (long long)ns);
        n += (size_t)snprintf(out + n, WALL_TEXT - n, ".%.*s", digits, frac);
    }
    (void)snprintf(out + n, WALL_TEXT - n, "Z");
}

void wall_format(struct wall t, char out[static WALL_TEXT])
{
    format_wall(t, out, 0);
}

void wall_format_micro(struct wall t, char out[static WALL_TEXT])
{
    format_wall(t, out, 6);
}

void wall_format_nano(struct wall t, char out[static WALL_TEXT])
{
    format_wall(t, out, 9);
}

/* Fixed-width decimal field; advances; -1 when not digits. */
static int take_digits(struct str *s, size_t width, char follow)
{
    int v = 0;

    if (s->n < width + (follow ? 1 : 0))
        return -1;
    for (size_t i = 0; i < width; i++) {
        if (s->p[i] < '0' || s->p[i] > '9')
            return -1;
        v = v * 10 + (s->p[i] - '0');
    }
    if (follow && s->p[width] != follow)
        return -1;
    s->p += width + (follow ? 1 : 0);
    s->n -= width + (follow ? 1 : 0);
    return v;
}

static int take_fraction(struct str *s, int64_t *ns)
{
    int64_t scale = NSEC_PER_SEC / 10;

    *ns = 0;
    if (!s->n || s->p[0] != '.')
        return 0;
    s->p++;
    s->n--;
    if (!s->n || s->p[0] < '0' || s->p[0] > '9')
        return -EINVAL;
    while (s->n && s->p[0] >= '0' && s->p[0] <= '9') {
        *ns += (s->p[0] - '0') * scale;
        scale /= 10;
        s->p++;
        s->n--;
    }
    return 0;
}

static int take_offset(struct str s, int64_t *seconds)
{
    int sign, h, m;

    if (s.n == 1 && (s.p[0] == 'Z' || s.p[0] == 'z')) {
        *seconds = 0;
        return 0;
    }
    if (s.n != 6 || (s.p[0] != '+' && s.p[0] != '-'))
        return -EINVAL;
    sign = s.p[0] == '-' ? -1 : 1;
    s.p++;
    s.n--;
    h = take_digits(&s, 2, ':');
    m = h < 0 ? -1 : take_digits(&s, 2, 0);
    if (m < 0 || h > 23 || m > 59)
        return -EINVAL;
    *seconds = sign * (h * 3600 + m * 60);
    return 0;
}

int wall_parse(struct str s, struct wall *ret)
{
    int year = take_digits(&s, 4, '-'), month = take_digits(&s, 2, '-');
    int day = month < 0 || s.n < 3 ? -1 : take_digits(&s, 2, 0);
    int hour, minute, second;
    int64_t ns, offset;
    struct tm tm = {0};

    if (year < 0 || month < 1 || month > 12 || day < 1 || day > 31)
        return -EINVAL;
    if (s.p[0] != 'T' && s.p[0] != 't' && s.p[0] != ' ')
        return -EINVAL;
    s.p++;
    s.n--;
    hour = take_digits(&s, 2, ':');
    minute = hour < 0 ? -1 : take_digits(&s, 2, ':');
    second = minute < 0 ? -1 : take_digits(&s, 2, 0);
    if (second < 0 || hour > 23 || minute > 59 || second > 60)
        return -EINVAL;
    if (take_fraction(&s, &ns) < 0 || take_offset(s, &offset) < 0)
        return -EINVAL;
    tm.tm_year = year - 1900;
    tm.tm_mon = month - 1;
    tm.tm_mday = day;
    tm.tm_hour = hour;
    tm.tm_min = minute;
    tm.tm_sec = second;
    if (year < 1700 || year > 2261)
        return -EINVAL; /* outside 64-bit nanoseconds */
    ret->ns = ((int64_t)timegm(&tm) - offset) * NSEC_PER_SEC + ns;
    return 0;
}

static int64_t unit_ns(struct str *s)
{
    static const struct {
        const char *name;
        int64_t ns;
    } units[] = {
        {"ns", 1},
        {"us", 1000},
        {"\xc2\xb5s", 1000},
        {"\xce\xbcs", 1000},
        {"ms", NSEC_PER_MSEC},
        {"h", 3600 * NSEC_PER_SEC},
        {"m", 60 * NSEC_PER_SEC},
        {"s", NSEC_PER_SEC},
    };

    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        if (!str_starts(*s, str_of(units[i].name)))
            continue;
        s->p += strlen(units[i].name);
        s->n -= strlen(units[i].name);
        return units[i].ns;
    }
    return 0;
}

static int take_term(struct str *s, int64_t *ns)
{
    double value = 0, scale = 1;
    bool any = false;
    int64_t unit;

    for (; s->n && s->p[0] >= '0' && s->p[0] <= '9'; s->p++, s->n--, any = true)
        value = value * 10 + (s->p[0] - '0');
    if (s->n && s->p[0] == '.') {
        s->p++;
        s->n--;
        for (; s->n && s->p[0] >= '0' && s->p[0] <= '9'; s->p++, s->n--, any = true) {
            scale /= 10;
            value += (s->p[0] - '0') * scale;
        }
    }
    unit = any ? unit_ns(s) : 0;
    if (!unit)
        return -EINVAL;
    value *= (double)unit;
    if (value > 9.2e18)
        return -ERANGE;
    if (__builtin_add_overflow(*ns, (int64_t)(value + 0.5), ns))
        return -ERANGE;
    return 0;
}

int duration_parse(struct str s, int64_t *ret_ns)
{
    bool negative = s.n && s.p[0] == '-';
    int64_t ns = 0;

    if (negative || (s.n && s.p[0] == '+')) {
        s.p++;
        s.n--;
    }
    if (str_eq_z(s, "0")) {
        *ret_ns = 0;
        return 0;
    }
    if (!s.n)
        return -EINVAL;
    while (s.n) {
        int r = take_term(&s, &ns);

        if (r < 0)
            return r;
    }
    *ret_ns = negative ? -ns : ns;
    return 0;
}

/* Go prints the largest unit that fits below a second, and h/m/s above, without trailing zeros. */
static size_t add_decimal(char *out, size_t size, int64_t value, int64_t unit, const char *name)
{
    char text[32];
    int64_t frac = value % unit;
    size_t n = (size_t)snprintf(text, sizeof text, "%lld", (long long)(value / unit));

    if (frac) {
        text[n++] = '.';
        for (int64_t u = unit / 10; frac && u; u /= 10) {
            text[n++] = (char)('0' + frac / u);
            frac %= u;
        }
        text[n] = '\0';
    }
    return (size_t)snprintf(out, size, "%s%s", text, name);
}

void duration_format(int64_t ns, char out[static WALL_TEXT])
{
    size_t n = 0;

    if (ns == 0) {
        (void)snprintf(out, WALL_TEXT, "0s");
        return;
    }
    if (ns < 0) {
        out[n++] = '-';
        ns = ns == INT64_MIN ? INT64_MAX : -ns;
    }
    if (ns < 1000) {
        (void)add_decimal(out + n, WALL_TEXT - n, ns, 1, "ns");
    } else if (ns < NSEC_PER_MSEC) {
        (void)add_decimal(out + n, WALL_TEXT - n, ns, 1000, "\xc2\xb5s");
    } else if (ns < NSEC_PER_SEC) {
        (void)add_decimal(out + n, WALL_TEXT - n, ns, NSEC_PER_MSEC, "ms");
    } else {
        int64_t minutes = ns / (60 * NSEC_PER_SEC);

        if (minutes >= 60)
            n += (size_t)snprintf(out + n, WALL_TEXT - n, "%lldh", (long long)(minutes / 60));
        if (minutes)
            n += (size_t)snprintf(out + n, WALL_TEXT - n, "%lldm", (long long)(minutes % 60));
        (void)add_decimal(out + n, WALL_TEXT - n, ns % (60 * NSEC_PER_SEC), NSEC_PER_SEC, "s");
    }
}

void duration_format_human(int64_t ns, char out[static WALL_TEXT])
{
    long long s = ns / NSEC_PER_SEC, m = s / 60, h = m / 60, d = h / 24;
    int n;

    if (s < 0) {
        (void)snprintf(out, WALL_TEXT, s < -1 ? "<invalid>" : "0s");
    } else if (s < 120) {
        (void)snprintf(out, WALL_TEXT, "%llds", s);
    } else if (m < 10) {
        n = snprintf(out, WALL_TEXT, "%lldm", m);
        if (s % 60)
            (void)snprintf(out + n, WALL_TEXT - (size_t)n, "%llds", s % 60);
    } else if (h < 3) {
        (void)snprintf(out, WALL_TEXT, "%lldm", m);
    } else if (h < 8) {
        n = snprintf(out, WALL_TEXT, "%lldh", h);
        if (m % 60)
            (void)snprintf(out + n, WALL_TEXT - (size_t)n, "%lldm", m % 60);
    } else if (h < 48) {
        (void)snprintf(out, WALL_TEXT, "%lldh", h);
    } else if (d < 8) {
        n = snprintf(out, WALL_TEXT, "%lldd", d);
        if (h % 24)
            (void)snprintf(out + n, WALL_TEXT - (size_t)n, "%lldh", h % 24);
    } else if (d < 730) {
        (void)snprintf(out, WALL_TEXT, "%lldd", d);
    } else {
        n = snprintf(out, WALL_TEXT, "%lldy", d / 365);
        if (d < 2920 && d % 365)
            (void)snprintf(out + n, WALL_TEXT - (size_t)n, "%lldd", d % 365);
    }
}
