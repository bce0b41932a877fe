#include "monitor/log.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define STAMP 30

void log_digits(char *p, uint64_t v, int n)
{
    while (n--) {
        p[n] = (char)('0' + v % 10);
        v /= 10;
    }
}

/* Civil date from days since 1970, without the C library's time zone code. */
static void stamp(char *p)
{
    struct timespec t;
    int64_t day, sec, z, era, doe, yoe, doy, mp, month;

    (void)clock_gettime(CLOCK_REALTIME, &t);
    day = t.tv_sec / 86400;
    sec = t.tv_sec % 86400;
    z = day + 719468;
    era = z / 146097;
    doe = z % 146097;
    yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    mp = (5 * doy + 2) / 153;
    month = mp < 10 ? mp + 3 : mp - 9;
    memcpy(p, "0000-00-00T00:00:00.000000000Z", STAMP);
    log_digits(p, (uint64_t)(yoe + era * 400 + (month <= 2)), 4);
    log_digits(p + 5, (uint64_t)month, 2);
    log_digits(p + 8, (uint64_t)(doy - (153 * mp + 2) / 5 + 1), 2);
    log_digits(p + 11, (uint64_t)(sec / 3600), 2);
    log_digits(p + 14, (uint64_t)(sec / 60 % 60), 2);
    log_digits(p + 17, (uint64_t)(sec % 60), 2);
    log_digits(p + 20, (uint64_t)t.tv_nsec, 9);
}

int log_open(struct log *l, const char *path)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);

    if (fd < 0)
        return errno;
    if (l->fd >= 0)
        (void)close(l->fd);
    l->fd = fd;
    l->path = path;
    return 0;
}

static void write_all(int fd, struct iovec *v, int n)
{
    while (n > 0) {
        ssize_t r = writev(fd, v, n);

        if (r < 0 && errno == EINTR)
            continue;
        if (r < 0)
            return; /* disk full: the container must go on, this line is lost */
        while (n > 0 && (size_t)r >= v->iov_len) {
            r -= (ssize_t)v->iov_len;
            v++;
            n--;
        }
        if (n > 0) {
            v->iov_base = (char *)v->iov_base + r;
            v->iov_len -= (size_t)r;
        }
    }
}

static void line(struct log *l, const char *stream, const char *tag, const char *p, size_t n)
{
    char time[STAMP + 1];
    struct iovec v[5] = {{time, STAMP + 1},
                         {(void *)stream, strlen(stream)},
                         {(void *)tag, 2},
                         {(void *)p, n},
                         {(void *)"\n", 1}};

    if (l->fd < 0)
        return;
    stamp(time);
    time[STAMP] = ' ';
    write_all(l->fd, v, 5);
}

void log_feed(struct log *l, struct log_stream *s, const char *p, size_t n)
{
    while (n > 0) {
        const char *nl = memchr(p, '\n', n);
        size_t k = nl ? (size_t)(nl - p) : n, room = sizeof s->line - s->have;

        if (k > room) {
            memcpy(s->line + s->have, p, room);
            line(l, s->name, "P ", s->line, sizeof s->line);
            s->have = 0;
            p += room;
            n -= room;
            continue;
        }
        if (nl && s->have == 0) {
            line(l, s->name, "F ", p, k);
        } else {
            memcpy(s->line + s->have, p, k);
            s->have += k;
            if (nl) {
                line(l, s->name, "F ", s->line, s->have);
                s->have = 0;
            }
        }
        p += k + (nl != NULL);
        n -= k + (nl != NULL);
    }
}

void log_end(struct log *l, struct log_stream *s)
{
    if (s->have)
        line(l, s->name, "P ", s->line, s->have);
    s->have = 0;
}
