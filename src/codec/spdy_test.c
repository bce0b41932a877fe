#include "codec/spdy.h"
#include "base/test.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
struct seen {
    char log[4096];
    size_t n;
};
static void note(struct seen *s, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    s->n += (size_t)vsnprintf(s->log + s->n, sizeof s->log - s->n, fmt, ap);
    va_end(ap);
}
static void on_stream(struct spdy *s, uint32_t id, const struct spdy_header *h, size_t n, bool fin,
                      void *arg)
{
    (void)s;
    note(arg, "stream %u fin=%d", id, fin);
    for (size_t i = 0; i < n; i++)
        note(arg, " %.*s=%.*s", STR_FMT(h[i].name), STR_FMT(h[i].value));
    note(arg, ";");
}
static void on_reply(struct spdy *s, uint32_t id, const struct spdy_header *h, size_t n, bool fin,
                     void *arg)
{
    (void)s;
    (void)h;
    note(arg, "reply %u n=%zu fin=%d;", id, n, fin);
}
static void on_data(struct spdy *s, uint32_t id, struct str data, bool fin, void *arg)
{
    (void)s;
    note(arg, "data %u \"%.*s\" fin=%d;", id, STR_FMT(data), fin);
}
static void on_reset(struct spdy *s, uint32_t id, uint32_t status, void *arg)
{
    (void)s;
    note(arg, "reset %u %u;", id, status);
}
static void on_goaway(struct spdy *s, void *arg)
{
    (void)s;
    note(arg, "goaway;");
}
static const struct spdy_events events = {on_stream, on_reply, on_data, on_reset, on_goaway};
static void pump(struct spdy *from, struct spdy *to, size_t step)
{
    struct buf *b = spdy_out(from);
    for (size_t i = 0; i < b->n; i += step)
        assert_int_equal(
            spdy_feed(to, (struct str){b->p + i, b->n - i < step ? b->n - i : step}, NULL), 0);
    buf_clear(b);
}
TEST(two_sides_in_pieces)
{
    for (size_t step = 1; step < 40; step += 7) {
        struct seen c = {0}, v = {0};
        struct spdy *client = spdy_new(false, &events, &c), *server = spdy_new(true, &events, &v);
        struct spdy_header h[] = {{STR("streamtype"), STR("stdout")}, {STR("port"), STR("80")}};
        assert_int_equal(spdy_open(client, h, 2, false), 1);
        assert_int_equal(spdy_open(client, h, 1, true), 3);
        pump(client, server, step);
        assert_int_equal(spdy_reply(server, 1, NULL, 0, false), 0);
        assert_int_equal(spdy_data(server, 1, STR("hello"), false), 0);
        assert_int_equal(spdy_data(server, 1, STR_NULL, true), 0);
        assert_int_equal(spdy_reset(server, 3, SPDY_RST_CANCEL), 0);
        assert_int_equal(spdy_ping(server), 0);
        assert_int_equal(spdy_goaway(server), 0);
        pump(server, client, step);
        pump(client, server, step);
        assert_string_equal(
            v.log, "stream 1 fin=0 streamtype=stdout port=80;stream 3 fin=1 streamtype=stdout;");
        assert_string_equal(
            c.log, "reply 1 n=0 fin=0;data 1 \"hello\" fin=0;data 1 \"\" fin=1;reset 3 5;goaway;");
        spdy_free(client);
        spdy_free(server);
    }
}
TEST(garbage_is_refused_and_stays_refused)
{
    static const char bad_version[] = "\x80\x02\x00\x01\x00\x00\x00\x00";
    static const char huge[] = "\x00\x00\x00\x01\x00\xff\xff\xff";
    static const char bad_block[] = "\x80\x03\x00\x02\x00\x00\x00\x08\x00\x00\x00\x01zzzz";
    const struct str cases[] = {STR(bad_version), STR(huge), STR(bad_block)};
    for (size_t i = 0; i < 3; i++) {
        struct seen v = {0};
        struct spdy *s = spdy_new(true, &events, &v);
        struct error *err = NULL;
        int r = spdy_feed(s, cases[i], &err);
        if (r == 0) /* the length is judged when the next byte comes */
            r = spdy_feed(s, STR("x"), &err);
        assert_int_equal(r, -EPROTO);
        error_clear(&err);
        assert_int_equal(spdy_feed(s, STR("x"), &err), -EPROTO);
        error_clear(&err);
        assert_string_equal(v.log, "");
        spdy_free(s);
    }
}
TEST(queue_is_bounded)
{
    struct seen v = {0};
    struct spdy *s = spdy_new(true, &events, &v);
    char *big = calloc(1, 1 << 20);
    int r = 0;
    for (int i = 0; i < 20 && r == 0; i++)
        r = spdy_data(s, 1, (struct str){big, 1 << 20}, false);
    assert_int_equal(r, -EMSGSIZE);
    free(big);
    spdy_free(s);
}
TEST_MAIN()
