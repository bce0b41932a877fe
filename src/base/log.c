#include "base/log.h"
#include "base/buf.h"
#include "base/mem.h"
#include "base/time.h"
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <stdio.h>
#include <unistd.h>

#define LINE_MAX_BYTES 8192
static enum log_level current = LOG_LEVEL_INFO;
static char *ring[LOG_RING];
static size_t ring_n;

static const struct {
    const char *name;
    char letter;
    int syslog;
} levels[] = {
    [LOG_LEVEL_ERROR] = {"error", 'E', 3},
    [LOG_LEVEL_WARN] = {"warn", 'W', 4},
    [LOG_LEVEL_INFO] = {"info", 'I', 6},
    [LOG_LEVEL_DEBUG] = {"debug", 'D', 7},
};

void log_set_level(enum log_level level)
{
    current = level;
}

enum log_level log_get_level(void)
{
    return current;
}

bool log_enabled(enum log_level level)
{
    return level <= current;
}

int log_level_parse(const char *name, enum log_level *ret)
{
    static const struct {
        const char *name;
        enum log_level level;
    } names[] = {
        {"error", LOG_LEVEL_ERROR}, {"fatal", LOG_LEVEL_ERROR},  {"panic", LOG_LEVEL_ERROR},
        {"warn", LOG_LEVEL_WARN},   {"warning", LOG_LEVEL_WARN}, {"info", LOG_LEVEL_INFO},
        {"debug", LOG_LEVEL_DEBUG}, {"trace", LOG_LEVEL_DEBUG},
    };

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (!streq(names[i].name, name))
            continue;
        *ret = names[i].level;
        return 0;
    }
    return -EINVAL;
}

/* The journal announces itself by the device and inode of the stream it gave us (systemd.exec(5)).
 */
static bool to_journal(void)
{
    static int known = -1;
    const char *want;
    char have[64];
    struct stat st;

    if (known >= 0)
        return known;
    known = 0;
    want = getenv("JOURNAL_STREAM");
    if (want && fstat(STDERR_FILENO, &st) == 0) {
        (void)snprintf(have, sizeof have, "%llu:%llu", (unsigned long long)st.st_dev,
                       (unsigned long long)st.st_ino);
        known = streq(have, want);
    }
    return known;
}

static void remember(const char *line, size_t n)
{
    char **slot = &ring[ring_n++ % LOG_RING];

    free(*slot);
    *slot = xstrndup(line, n);
}

const char *log_ring_get(size_t i)
{
    if (i >= LOG_RING || i >= ring_n)
        return NULL;
    return ring[(ring_n - 1 - i) % LOG_RING];
}

static void begin(struct buf *b, enum log_level level)
{
    if (to_journal()) {
        (void)buf_printf(b, "<%d>", levels[level].syslog);
    } else {
        char now[WALL_TEXT];

        wall_format_micro(wall_now(), now);
        (void)buf_printf(b, "%s ", now);
    }
    (void)buf_printf(b, "%c ", levels[level].letter);
}

static void finish(struct buf *b, enum log_level level, size_t body)
{
    size_t n = b->n;

    for (size_t i = body; i < n; i++)
        if ((unsigned char)b->p[i] < 0x20)
            b->p[i] = ' ';
    if (level <= LOG_LEVEL_WARN)
        remember(b->p, n);
    if (level <= current) {
        b->p[n] = '\n'; /* the buffer always has room for its NUL; one write keeps lines whole */
        ssize_t w = write(STDERR_FILENO, b->p, n + 1);
        (void)w;
    }
    buf_fini(b);
}

static bool needs_quotes(struct str v)
{
    if (!v.n)
        return true;
    for (size_t i = 0; i < v.n; i++)
        if ((unsigned char)v.p[i] <= ' ' || v.p[i] == '"' || v.p[i] == '=')
            return true;
    return false;
}

void log_kv(enum log_level level, const char *module, const char *msg, ...)
{
    const char *key, *value;
    struct buf b;
    va_list ap;
    size_t body;

    if (level > current && level > LOG_LEVEL_WARN)
        return;
    buf_init(&b, LINE_MAX_BYTES);
    begin(&b, level);
    body = b.n;
    (void)buf_printf(&b, "%s: %s", module, msg);
    va_start(ap, msg);
    while ((key = va_arg(ap, const char *))) {
        value = va_arg(ap, const char *);
        (void)buf_printf(&b, " %s=", key);
        if (needs_quotes(str_of(strna(value))))
            (void)buf_add_json_string(&b, str_of(strna(value)));
        else
            (void)buf_add_z(&b, value);
    }
    va_end(ap);
    finish(&b, level, body);
}

void log_fmt(enum log_level level, const char *module, const char *fmt, ...)
{
    struct buf b;
    va_list ap;
    size_t body;

    if (level > current && level > LOG_LEVEL_WARN)
        return;
    buf_init(&b, LINE_MAX_BYTES);
    begin(&b, level);
    body = b.n;
    (void)buf_printf(&b, "%s: ", module);
    va_start(ap, fmt);
    (void)buf_vprintf(&b, fmt, ap);
    va_end(ap);
    finish(&b, level, body);
}

bool log_limit_ok(struct log_limit *l, int period_ms)
{
    long long now = mono_now().ns;

    if (now < l->next_ns) {
        l->suppressed++;
        return false;
    }
    l->next_ns = now + (long long)period_ms * NSEC_PER_MSEC;
    l->suppressed = 0;
    return true;
}
