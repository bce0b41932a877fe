#include "codec/ws.h"
#include "base/test.h"
#include <errno.h>
#include <stdlib.h>
struct seen {
    char last[256];
    int messages, closes;
};
static void on_message(struct ws *w, struct str data, bool binary, void *arg)
{
    struct seen *s = arg;
    (void)w;
    assert_true(binary);
    assert_true(data.n < sizeof s->last);
    memcpy(s->last, data.p, data.n);
    s->last[data.n] = '\0';
    s->messages++;
}
static void on_close(struct ws *w, void *arg)
{
    (void)w;
    ((struct seen *)arg)->closes++;
}
static const struct ws_events events = {on_message, on_close};
/* The handshake example and a masked frame of RFC 6455, sections 1.3 and 5.7 (binary instead of
 * text). */
TEST(accept_of_the_rfc)
{
    char *a = ws_accept(STR("dGhlIHNhbXBsZSBub25jZQ=="));
    assert_string_equal(a, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    free(a);
}
TEST(masked_message_byte_by_byte)
{
    static const char frame[] = "\x82\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58";
    struct seen s = {0};
    struct ws *w = ws_new(&events, &s);
    for (size_t i = 0; i < sizeof frame - 1; i++)
        assert_int_equal(ws_feed(w, (struct str){frame + i, 1}, NULL), 0);
    assert_int_equal(s.messages, 1);
    assert_string_equal(s.last, "Hello");
    assert_int_equal(ws_send(w, STR("\x01"), STR("hi")), 0);
    assert_int_equal(ws_out(w)->n, 5);
    assert_memory_equal(ws_out(w)->p, "\x82\x03\x01hi", 5);
    ws_free(w);
}
TEST(ping_close_and_garbage)
{
    static const char ping[] = "\x89\x80\x01\x02\x03\x04",
                      close_[] = "\x88\x82\x00\x00\x00\x00\x03\xe8";
    struct seen s = {0};
    struct ws *w = ws_new(&events, &s);
    struct error *err = NULL;
    assert_int_equal(ws_feed(w, (struct str){ping, sizeof ping - 1}, NULL), 0);
    assert_memory_equal(ws_out(w)->p, "\x8a\x00", 2);
    buf_clear(ws_out(w));
    assert_int_equal(ws_feed(w, (struct str){close_, sizeof close_ - 1}, NULL), 0);
    assert_int_equal(s.closes, 1);
    assert_memory_equal(ws_out(w)->p, "\x88\x02\x03\xe8", 4);
    ws_free(w);
    w = ws_new(&events, &s);
    assert_int_equal(ws_feed(w, STR("\xff\xff\xff\xff\xff\xff\xff\xff"), &err), -EPROTO);
    error_clear(&err);
    ws_free(w);
}
TEST_MAIN()
