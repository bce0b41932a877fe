#include "base/test.h"
#include "codec/http1.h"
#include "codec/url.h"

#define REQ(line) line "\r\nHost: a\r\n"

static int parse(const char *text, struct http1_head *h)
{
    size_t scanned = 0;
    size_t n = http1_head_end(str_of(text), &scanned);

    assert_true(n > 0);
    return http1_parse_request((struct str){text, n}, h);
}

TEST(request)
{
    struct http1_head h;

    assert_int_equal(parse("GET /a?b=c HTTP/1.1\r\nHost: x\r\nA: \t b c \r\nConnection: "
                           "keep-alive, Upgrade\r\nUpgrade: spdy\r\n\r\n",
                           &h),
                     0);
    assert_true(str_eq_z(h.method, "GET") && str_eq_z(h.target, "/a?b=c"));
    assert_true(str_eq_z(http1_get(&h, "a"), "b c"));
    assert_true(h.upgrade && h.keep_alive);
    assert_int_equal(parse("\r\nPOST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello", &h),
                     0);
    assert_int_equal(h.framing, HTTP1_LENGTH);
    assert_int_equal(h.length, 5);
    assert_int_equal(parse("GET / HTTP/1.0\r\n\r\n", &h), 0);
    assert_false(h.keep_alive);
}

TEST(ambiguous_requests_are_refused)
{
    static const struct {
        const char *text;
        int status;
    } rows[] = {
        {REQ("POST / HTTP/1.1") "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
        {REQ("POST / HTTP/1.1") "Content-Length: 1\r\nContent-Length: 1\r\n\r\n", 400},
        {REQ("POST / HTTP/1.1") "Content-Length: 1, 1\r\n\r\n", 400},
        {REQ("POST / HTTP/1.1") "Content-Length: +1\r\n\r\n", 400},
        {REQ("POST / HTTP/1.1") "Content-Length: 0x1\r\n\r\n", 400},
        {REQ("POST / HTTP/1.1") "Content-Length: \r\n\r\n", 400},
        {REQ("POST / HTTP/1.1") "Content-Length: 99999999999999999999\r\n\r\n", 400},
        {REQ("POST / HTTP/1.1") "Content-Length : 1\r\n\r\n", 400},
        {REQ("POST / HTTP/1.1") "Transfer-Encoding: gzip, chunked\r\n\r\n", 501},
        {REQ("POST / HTTP/1.1") "Transfer-Encoding: xchunked\r\n\r\n", 501},
        {REQ("POST / HTTP/1.1") "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
         400},
        {"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
        {REQ("GET / HTTP/1.1") "A: b\r\n c\r\n\r\n", 400},
        {REQ("GET / HTTP/1.1") " A: b\r\n\r\n", 400},
        {REQ("GET / HTTP/1.1") "A: b\rc\r\n\r\n", 400},
        {REQ("GET / HTTP/1.1") "A: b\nC: d\r\n\r\n", 400},
        {"GET / HTTP/1.1\nHost: a\n\n", 400},
        {REQ("GET / HTTP/1.1") "A\0: b\r\n\r\n", 400},
        {REQ("GET / HTTP/1.1") "A: b\x01\r\n\r\n", 400},
        {REQ("GET / HTTP/1.1") ": b\r\n\r\n", 400},
        {REQ("GET / HTTP/1.1") "Host: b\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\n\r\n", 400},
        {REQ("GET  / HTTP/1.1") "\r\n", 400},
        {REQ("GET /a b HTTP/1.1") "\r\n", 400},
        {REQ("GET / HTTP/2.0") "\r\n", 505},
        {REQ("GET / http/1.1") "\r\n", 400},
        {REQ("GET /") "\r\n", 400},
        {REQ("G(T / HTTP/1.1") "\r\n", 400},
    };
    struct http1_head h;

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (strlen(rows[i].text) < 20)
            continue;
        if (i == 17) { /* the NUL */
            static const char nul[] = "GET / HTTP/1.1\r\nHost: a\r\nA\0: b\r\n\r\n";

            assert_int_equal(http1_parse_request((struct str){nul, sizeof nul - 1}, &h), -400);
            continue;
        }
        if (parse(rows[i].text, &h) != -rows[i].status)
            fail_msg("row %zu: %s", i, rows[i].text);
    }
}

TEST(head_end_bytewise)
{
    static const char text[] = "GET / HTTP/1.1\r\nHost: a\r\n\r\nrest";
    size_t scanned = 0, n = 0, i;

    for (i = 1; i < sizeof text && !n; i++)
        n = http1_head_end((struct str){text, i}, &scanned);
    assert_int_equal(n, sizeof text - 1 - 4);
    assert_int_equal(i - 1, n);
}

static int decode(struct http1_body *b, const char *text, size_t step, struct buf *out)
{
    size_t at = 0, total = strlen(text);

    while (at < total && !b->done) {
        size_t used, n = total - at < step ? total - at : step;
        struct str data;
        int r = http1_body_next(b, (struct str){text + at, n}, &used, &data);

        if (r < 0)
            return r;
        (void)buf_add_str(out, data);
        at += used;
    }
    return (int)at;
}

TEST(chunked)
{
    static const char text[] = "4\r\nWiki\r\n6;ext=\"1\"\r\npedia \r\n0\r\nTrailer: x\r\n\r\nNEXT";

    for (size_t step = 1; step < 12; step++) {
        struct http1_body b = {.framing = HTTP1_CHUNKED};
        cleanup_buf struct buf out;

        buf_init(&out, 100);
        assert_int_equal(decode(&b, text, step, &out), sizeof text - 1 - 4);
        assert_true(b.done);
        assert_string_equal(out.p, "Wikipedia ");
    }
}

TEST(bad_chunks)
{
    static const char *const rows[] = {"\r\n",
                                       "g\r\n",
                                       "-1\r\n",
                                       "1\nx",
                                       "1\r\nxy",
                                       "1\r\nx\n0",
                                       "0x1\r\nx",
                                       "ffffffffffffffffff\r\n",
                                       "0\r\n bad\r\n\r\n",
                                       "0\r\n\rx",
                                       "1 \nx"};

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct http1_body b = {.framing = HTTP1_CHUNKED};
        cleanup_buf struct buf out;

        buf_init(&out, 100);
        if (decode(&b, rows[i], 100, &out) >= 0)
            fail_msg("row %zu", i);
    }
}

TEST(response)
{
    struct http1_head h;

    assert_int_equal(http1_parse_response(STR("HTTP/1.1 200 OK\r\n\r\n"), false, &h), 0);
    assert_int_equal(h.framing, HTTP1_CLOSE);
    assert_int_equal(
        http1_parse_response(STR("HTTP/1.1 200\r\nContent-Length: 3\r\n\r\n"), true, &h), 0);
    assert_int_equal(h.framing, HTTP1_NONE);
    assert_int_equal(http1_parse_response(STR("HTTP/1.1 204 No Content\r\n\r\n"), false, &h), 0);
    assert_int_equal(h.framing, HTTP1_NONE);
    assert_int_equal(http1_parse_response(STR("SSH-2.0-x\r\n\r\n"), false, &h), -400);
}

TEST(urls)
{
    struct arena a;
    struct url u;
    struct str seg[4];
    size_t n;

    arena_init(&a, 0);
    assert_int_equal(url_parse(STR("https://[::1]:6443/x/y?q=1"), &u), 0);
    assert_true(str_eq_z(u.host, "::1") && u.port == 6443 && str_eq_z(u.path, "/x/y") &&
                str_eq_z(u.query, "q=1"));
    assert_int_equal(url_parse(STR("http://h"), &u), 0);
    assert_int_equal(u.port, 80);
    assert_int_equal(url_parse(STR("unix:///run/x.sock"), &u), 0);
    assert_true(str_eq_z(u.path, "/run/x.sock"));
    assert_true(url_parse(STR("http://user@h"), &u) < 0);
    assert_true(url_parse(STR("http://h:99999"), &u) < 0);
    assert_true(url_parse(STR("ftp://h"), &u) < 0);
    assert_int_equal(url_segments(&a, STR("/a%2Fb//c/"), seg, 4, &n), 0);
    assert_int_equal(n, 2);
    assert_true(str_eq_z(seg[0], "a/b") && str_eq_z(seg[1], "c"));
    assert_true(url_segments(&a, STR("/a/%2e%2E/c"), seg, 4, &n) < 0);
    assert_true(url_segments(&a, STR("/a%"), seg, 4, &n) < 0);
    assert_true(url_segments(&a, STR("/a%00"), seg, 4, &n) < 0);
    assert_true(url_segments(&a, STR("/1/2/3/4/5"), seg, 4, &n) < 0);
    arena_fini(&a);
}
TEST_MAIN()
