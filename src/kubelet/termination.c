#include "kubelet/termination.h"
#include "base/file.h"
#include "base/mem.h"
#include "kubelet/log_reader.h"
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#define LOG_BYTES_MAX 2048
#define LOG_LINES_MAX 80

static void from_log(struct run *r)
{
    struct log_options o = {.tail_lines = LOG_LINES_MAX, .limit_bytes = -1};
    struct log_reader *reader;
    cleanup_buf struct buf b;

    buf_init(&b, 1u << 20);
    if (!r->log_path || log_reader_open(r->log_path, &o, &reader, NULL) < 0)
        return;
    while (log_reader_read(reader, 64 * 1024, &b) == 0 && b.n < 512 * 1024)
        ;
    log_reader_close(reader);
    if (b.n > LOG_BYTES_MAX)
        buf_consume(&b, b.n - LOG_BYTES_MAX);
    if (b.n)
        r->last_words = str_dup(buf_str(&b));
}

void termination_read(struct run *r)
{
    cleanup_close int fd = r->last_words_file ? open(r->last_words_file,
                                                     O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK)
                                              : -1;
    char text[TERMINATION_MESSAGE_MAX];
    ssize_t n = fd >= 0 ? read(fd, text, sizeof(text)) : 0;

    str_replace(&r->last_words, NULL);
    if (n > 0)
        r->last_words = xstrndup(text, (size_t)n);
    else if (r->last_words_from_log && r->exit_code)
        from_log(r);
}

char *termination_message(struct arena *a, struct container *c, const struct run *r)
{
    if (r->last_words)
        return arena_strdup(a, r->last_words);
    return r->message ? arena_strdup(a, r->message) : NULL;
}
