#include "kubelet/log_reader.h"
#include "base/cleanup.h"
#include "base/mem.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#define CHUNK ((size_t)16 << 10)
#define LINE_MAX_BYTES ((size_t)1 << 20)

struct log_reader {
    char *path;
    struct log_options o;
    int fd;
    dev_t dev;
    ino_t ino;
    struct buf in; /* read, not yet whole lines */
    int64_t left;  /* of the byte limit; negative none */
    bool limit_hit;
    bool continued; /* the last line of a stream was partial: no time before the next piece */
};

bool log_line_parse(struct str line, struct log_line *ret)
{
    struct str rest = line;
    ret->time_text = str_split(&rest, ' ');
    struct str stream = str_split(&rest, ' ');
    struct str tag = str_split(&rest, ' ');
    if (!rest.p && tag.n != 1)
        return false;
    ret->is_stderr = str_eq(stream, STR("stderr"));
    if (!ret->is_stderr && !str_eq(stream, STR("stdout")))
        return false;
    /* the tag may have more parts in future: "F:x" */
    if (!tag.n || (tag.p[0] != 'F' && tag.p[0] != 'P'))
        return false;
    ret->partial = tag.p[0] == 'P';
    ret->text = rest.p ? rest : STR("");
    return wall_parse(ret->time_text, &ret->time) == 0;
}

/* Start of the last n lines: the file is read backwards in blocks. */
static off_t tail_offset(int fd, off_t size, int64_t lines)
{
    char block[8192];
    off_t at = size;
    int64_t seen = 0;
    if (lines == 0)
        return size;
    while (at > 0) {
        size_t n = at < (off_t)sizeof(block) ? (size_t)at : sizeof(block);
        ssize_t got = pread(fd, block, n, at - (off_t)n);
        if (got <= 0)
            return at;
        for (ssize_t i = got - 1; i >= 0; i--) {
            off_t pos = at - (off_t)n + i;
            if (block[i] != '\n' || pos == size - 1)
                continue;
            if (++seen == lines)
                return pos + 1;
        }
        at -= (off_t)n;
    }
    return 0;
}

static int open_file(struct log_reader *r, struct error **err)
{
    struct stat st;
    int fd = open(r->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
        int code = fd < 0 ? errno : EINVAL;
        if (fd >= 0)
            (void)close(fd);
        return error_set_errno(err, code, "log file %s", r->path);
    }
    if (r->fd >= 0)
        (void)close(r->fd);
    r->fd = fd;
    r->dev = st.st_dev;
    r->ino = st.st_ino;
    return 0;
}

int log_reader_open(const char *path, const struct log_options *o, struct log_reader **ret,
                    struct error **err)
{
    struct log_reader *r = xcalloc(1, sizeof(*r));
    r->path = xstrdup(path);
    r->o = *o;
    r->fd = -1;
    r->left = o->limit_bytes;
    buf_init(&r->in, LINE_MAX_BYTES + CHUNK);
    int rc = open_file(r, err);
    if (rc) {
        log_reader_close(r);
        return rc;
    }
    if (o->tail_lines >= 0) {
        struct stat st;
        if (fstat(r->fd, &st) == 0)
            (void)lseek(r->fd, tail_offset(r->fd, st.st_size, o->tail_lines), SEEK_SET);
    }
    *ret = r;
    return 0;
}

void log_reader_close(struct log_reader *r)
{
    if (!r)
        return;
    if (r->fd >= 0)
        (void)close(r->fd);
    buf_fini(&r->in);
    free(r->path);
    free(r);
}

static void put(struct log_reader *r, struct buf *b, struct str s)
{
    if (r->left >= 0 && (int64_t)s.n > r->left) {
        s.n = (size_t)r->left;
        r->limit_hit = true;
    }
    if (r->left >= 0)
        r->left -= (int64_t)s.n;
    (void)buf_add_str(b, s);
}

static void put_line(struct log_reader *r, struct str line, struct buf *b)
{
    struct log_line l;
    if (!log_line_parse(line, &l))
        return;
    if (l.time.ns < r->o.since.ns || (r->o.streams && !(r->o.streams & (l.is_stderr ? 2 : 1))))
        return;
    if (r->o.timestamps && !r->continued) {
        put(r, b, l.time_text);
        put(r, b, STR(" "));
    }
    put(r, b, l.text);
    if (!l.partial)
        put(r, b, STR("\n"));
    r->continued = l.partial;
}

static void put_lines(struct log_reader *r, size_t max, struct buf *b)
{
    size_t used = 0;
    while (b->n < max && !r->limit_hit) {
        struct str rest = {used ? r->in.p + used : r->in.p, r->in.n - used};
        const char *nl = rest.n ? memchr(rest.p, '\n', rest.n) : NULL;
        if (!nl)
            break;
        put_line(r, (struct str){rest.p, (size_t)(nl - rest.p)}, b);
        used += (size_t)(nl - rest.p) + 1;
    }
    buf_consume(&r->in, used);
}

int log_reader_read(struct log_reader *r, size_t max, struct buf *b)
{
    if (r->o.limit_bytes == 0)
        return LOG_READER_LIMIT;
    put_lines(r, max, b);
    while (b->n < max && !r->limit_hit) {
        char *room = buf_reserve(&r->in, CHUNK);
        if (!room) { /* a line without end: not one of ours, dropped */
            buf_clear(&r->in);
            r->in.overflowed = false;
            continue;
        }
        ssize_t n = read(r->fd, room, CHUNK);
        if (n <= 0)
            return LOG_READER_END;
        buf_commit(&r->in, (size_t)n);
        put_lines(r, max, b);
    }
    return r->limit_hit || r->left == 0 ? LOG_READER_LIMIT : 0;
}

bool log_reader_rotated(struct log_reader *r)
{
    struct stat st;
    if (stat(r->path, &st) < 0 || (st.st_ino == r->ino && st.st_dev == r->dev))
        return false;
    buf_clear(&r->in);
    return open_file(r, NULL) == 0;
}
