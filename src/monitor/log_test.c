#include "monitor/log.h"
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/test.h"
#include <stdlib.h>
#include <unistd.h>

static struct log_stream out; /* large */

/* Feeds the pieces, returns the log with the times cut off. */
static char *logged(const char *const *pieces, size_t n)
{
    char path[] = "/tmp/skiff-log.XXXXXX";
    struct log l = {.fd = -1};
    cleanup_buf struct buf text = {0}, cut;
    struct str rest;
    int fd = mkstemp(path);

    assert_true(fd >= 0);
    (void)close(fd);
    out = (struct log_stream){.name = "stdout "};
    assert_int_equal(log_open(&l, path), 0);
    for (size_t i = 0; i < n; i++)
        log_feed(&l, &out, pieces[i], strlen(pieces[i]));
    log_end(&l, &out);
    (void)close(l.fd);
    assert_int_equal(file_read(path, 1 << 20, &text, NULL), 0);
    (void)unlink(path);
    buf_init(&cut, 1 << 20);
    for (rest = buf_str(&text); rest.n;) {
        struct str line = str_split(&rest, '\n'), time = str_split(&line, ' ');

        assert_int_equal(time.n, 30);
        (void)buf_printf(&cut, "%.*s\n", STR_FMT(line));
    }
    return buf_take(&cut);
}

TEST(lines)
{
    static const char *const pieces[] = {"a\nb", "c\n\nd"};
    cleanup_free char *got = logged(pieces, 2);

    assert_string_equal(got, "stdout F a\nstdout F bc\nstdout F \nstdout P d\n");
}

TEST(long_lines)
{
    cleanup_free char *line = xmalloc(LOG_LINE_MAX + 3), *got = NULL, *want = NULL;
    const char *pieces[1] = {line};

    memset(line, 'x', LOG_LINE_MAX + 1);
    memcpy(line + LOG_LINE_MAX + 1, "\n", 2);
    got = logged(pieces, 1);
    want = xasprintf("stdout P %.*s\nstdout F x\n", LOG_LINE_MAX, line);
    assert_string_equal(got, want);
    line[LOG_LINE_MAX] = '\n'; /* exactly full */
    line[LOG_LINE_MAX + 1] = 0;
    free(got);
    free(want);
    got = logged(pieces, 1);
    want = xasprintf("stdout F %.*s\n", LOG_LINE_MAX, line);
    assert_string_equal(got, want);
}
TEST_MAIN()
