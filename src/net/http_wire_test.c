/* HTTP server and client against hand-written bytes: protocol errors, slow and vanishing peers,
 * back pressure, upgrades. */
#include "base/test.h"
#include "base/mem.h"
#include "net/http_client.h"
#include "net/http_server.h"
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

/* a peer made of bytes */

struct raw {
    struct stream *s;
    struct buf got;
    bool closed, hold;
    size_t in;
};

static size_t on_raw_data(struct stream *s, struct str d, void *arg)
{
    struct raw *r = arg;

    r->in += d.n;
    (void)buf_add_str(&r->got, d);
    return d.n;
}

static void on_raw_close(struct stream *s, const struct error *err, void *arg)
{
    ((struct raw *)arg)->closed = true;
}

static const struct stream_events raw_events = {.on_data = on_raw_data, .on_close = on_raw_close};

struct fixture {
    struct loop *l;
    struct http_server *s;
    struct raw raw;
    struct http_exchange *held;
    struct stream *upgraded;
    struct buf early;
    size_t aborted, requests, pieces_bytes, drains, peak;
    uint64_t to_send;
    bool done;
};

static void connect_raw(struct fixture *f)
{
    struct stream_target t = {.host = "127.0.0.1", .port = http_server_port(f->s)};

    stream_free(f->raw.s);
    buf_fini(&f->raw.got);
    f->raw = (struct raw){0};
    buf_init(&f->raw.got, 1 << 16);
    assert_int_equal(stream_connect(f->l, &t, &raw_events, &f->raw, &f->raw.s, NULL), 0);
}

static void spin(struct fixture *f, int ms)
{
    struct mono start = mono_now();

    while (mono_ms_since(start) < ms)
        loop_run_once(f->l, 5);
}

/* Sends bytes; returns the answer once the server closed or was silent for a while. */
static const char *say(struct fixture *f, const char *text)
{
    size_t seen = 0;
    int quiet = 0;

    connect_raw(f);
    stream_write_str(f->raw.s, str_of(text));
    for (int i = 0; i < 400 && !f->raw.closed && quiet < 20; i++) {
        loop_run_once(f->l, 5);
        quiet = f->raw.in && f->raw.in == seen ? quiet + 1 : 0;
        seen = f->raw.in;
    }
    return f->raw.got.p ? f->raw.got.p : "";
}

static void on_abort(struct http_exchange *x, void *arg)
{
    struct fixture *f = arg;

    f->aborted++;
    f->held = NULL;
}

static void on_body(struct http_exchange *x, struct str body, void *arg)
{
    http_respond(x, 200, "text/plain", body);
}

static void on_piece(struct http_exchange *x, struct str d, bool last, void *arg)
{
    struct fixture *f = arg;

    f->pieces_bytes += d.n;
    if (last)
        http_respond_text(x, 200, "%zu", f->pieces_bytes);
}

static size_t on_early(struct stream *s, struct str d, void *arg)
{
    struct fixture *f = arg;

    (void)buf_add_str(&f->early, d);
    stream_write_str(s, d);
    return d.n;
}

static void pump(struct http_exchange *x, void *arg)
{
    static char block[16384];
    struct fixture *f = arg;

    while (f->to_send && http_write_pending(x) < STREAM_HIGH) {
        http_write(x, (struct str){block, sizeof block});
        f->to_send -= sizeof block;
        if (http_write_pending(x) > f->peak)
            f->peak = http_write_pending(x);
    }
    f->drains++;
    if (!f->to_send)
        http_end(x);
}

static void on_request(struct http_exchange *x, void *arg)
{
    static const struct stream_events early = {.on_data = on_early};
    struct fixture *f = arg;

    f->requests++;
    if (str_eq_z(http_path(x), "/hold")) {
        f->held = x;
        http_on_abort(x, on_abort, f);
    } else if (str_eq_z(http_path(x), "/body")) {
        http_read_body(x, 100, on_body, f);
    } else if (str_eq_z(http_path(x), "/pieces")) {
        http_stream_body(x, on_piece, f);
    } else if (str_eq_z(http_path(x), "/upgrade") && http_wants_upgrade(x, "echo")) {
        f->upgraded = http_upgrade(x, "echo", &early, f);
    } else if (str_eq_z(http_path(x), "/big")) {
        http_respond_begin(x, 200, NULL);
        http_on_drain(x, pump, f);
        pump(x, f);
    } else {
        http_respond(x, 200, "text/plain", http_path(x));
    }
}

static void setup(struct fixture *f, struct http_server_config cfg)
{
    *f = (struct fixture){.l = loop_new()};
    cfg.on_request = on_request;
    cfg.arg = f;
    f->s = http_server_new(f->l, &cfg);
    buf_init(&f->early, 1 << 16);
    assert_int_equal(http_server_listen_tcp(f->s, "127.0.0.1", 0, NULL, NULL), 0);
}

static void teardown(struct fixture *f)
{
    stream_free(f->raw.s);
    stream_free(f->upgraded);
    buf_fini(&f->raw.got);
    buf_fini(&f->early);
    http_server_free(f->s);
    spin(f, 20);
    loop_free(f->l);
}

#define GET(path) "GET " path " HTTP/1.1\r\nHost: x\r\n"

TEST(errors_by_itself)
{
    static const struct {
        const char *say, *answer;
    } rows[] = {
        {"nonsense\r\n\r\n", "HTTP/1.1 400"},
        {"GET / HTTP/1.1\r\n\r\n", "HTTP/1.1 400"},
        {GET("/") "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", "HTTP/1.1 400"},
        {GET("/") "A: b\r\n c: d\r\n\r\n", "HTTP/1.1 400"},
        {GET("/") "Transfer-Encoding: gzip\r\n\r\n", "HTTP/1.1 501"},
        {"GET / HTTP/2.0\r\nHost: x\r\n\r\n", "HTTP/1.1 505"},
        {GET("/") "Expect: miracles\r\n\r\n", "HTTP/1.1 417"},
        {GET("/%zz") "\r\n", "HTTP/1.1 400"},
        {GET("/body") "Content-Length: 101\r\n\r\n", "HTTP/1.1 413"},
        {GET("/body") "Transfer-Encoding: chunked\r\n\r\nzz\r\n", "HTTP/1.1 400"},
        {GET("/body") "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", "HTTP/1.1 200"},
    };
    struct fixture f;

    setup(&f, (struct http_server_config){0});
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const char *got = say(&f, rows[i].say);

        if (strncmp(got, rows[i].answer, strlen(rows[i].answer)) != 0)
            fail_msg("row %zu: %s", i, got);
    }
    teardown(&f);
}

TEST(head_too_large)
{
    struct fixture f;
    struct buf b;

    setup(&f, (struct http_server_config){.head_max_bytes = 1000});
    buf_init(&b, 1 << 16);
    (void)buf_add_z(&b, GET("/"));
    while (b.n < 1200)
        (void)buf_add_z(&b, "A: bbbbbbbbbbbbbbbbbbbbbbbbb\r\n");
    assert_non_null(strstr(say(&f, b.p), "HTTP/1.1 431"));
    buf_fini(&b);
    teardown(&f);
}

TEST(pipelined_in_order)
{
    struct fixture f;
    const char *got;

    setup(&f, (struct http_server_config){0});
    got = say(&f, GET("/one") "\r\n" GET(
                      "/body") "Content-Length: 4\r\n\r\nbodyPOST /two HTTP/1.1\r\nHost: "
                               "x\r\nContent-Length: 3"
                               "\r\n\r\nxyz" GET("/three") "Connection: close\r\n\r\n" GET(
                                   "/never") "\r\n");
    assert_int_equal(f.requests, 4);
    assert_non_null(strstr(got, "/three"));
    assert_true(strstr(got, "/one") < strstr(got, "\r\n\r\nbody") &&
                strstr(got, "\r\n\r\nbody") < strstr(got, "/two"));
    assert_null(strstr(got, "/never"));
    assert_true(f.raw.closed);
    teardown(&f);
}

TEST(http_1_0_and_continue)
{
    struct fixture f;

    setup(&f, (struct http_server_config){0});
    assert_non_null(strstr(say(&f, "GET /x HTTP/1.0\r\n\r\n"), "Connection: close"));
    assert_true(f.raw.closed);
    assert_non_null(
        strstr(say(&f, GET("/body") "Content-Length: 2\r\nExpect: 100-continue\r\n\r\n"),
               "HTTP/1.1 100 Continue"));
    stream_write_str(f.raw.s, STR("ok"));
    spin(&f, 50);
    assert_non_null(strstr(f.raw.got.p, "\r\n\r\nok"));
    teardown(&f);
}

TEST(slow_head_gets_408)
{
    struct fixture f;

    setup(&f, (struct http_server_config){.head_timeout_ms = 60});
    assert_non_null(strstr(say(&f, "GET / HT"), "HTTP/1.1 408"));
    teardown(&f);
}

TEST(slow_body_gets_408)
{
    struct fixture f;

    setup(&f, (struct http_server_config){.body_timeout_ms = 60});
    assert_non_null(strstr(say(&f, GET("/body") "Content-Length: 10\r\n\r\nabc"), "HTTP/1.1 408"));
    teardown(&f);
}

TEST(idle_connection_is_closed)
{
    struct fixture f;

    setup(&f, (struct http_server_config){.idle_timeout_ms = 50});
    (void)say(&f, GET("/x") "\r\n");
    spin(&f, 150);
    assert_true(f.raw.closed);
    teardown(&f);
}

TEST(abort_when_client_goes)
{
    struct fixture f;

    setup(&f, (struct http_server_config){0});
    connect_raw(&f);
    stream_write_str(f.raw.s, STR(GET("/hold") "\r\n"));
    spin(&f, 30);
    assert_non_null(f.held);
    stream_free(f.raw.s);
    f.raw.s = NULL;
    spin(&f, 30);
    assert_int_equal(f.aborted, 1);
    assert_int_equal(http_server_connections(f.s), 0);
    teardown(&f);
}

TEST(abort_when_server_is_freed)
{
    struct fixture f;

    setup(&f, (struct http_server_config){0});
    connect_raw(&f);
    stream_write_str(f.raw.s, STR(GET("/hold") "\r\n"));
    spin(&f, 30);
    http_server_free(f.s);
    f.s = NULL;
    assert_int_equal(f.aborted, 1);
    teardown(&f);
}

TEST(upgrade_keeps_early_bytes)
{
    struct fixture f;
    const char *got;

    setup(&f, (struct http_server_config){0});
    got = say(&f, GET("/upgrade") "Connection: Upgrade\r\nUpgrade: echo\r\n\r\nearly");
    assert_non_null(strstr(got, "HTTP/1.1 101 Switching Protocols"));
    assert_string_equal(f.early.p, "early");
    assert_non_null(strstr(got, "\r\n\r\nearly"));
    stream_write_str(f.raw.s, STR("+late"));
    spin(&f, 30);
    assert_string_equal(f.early.p, "early+late");
    assert_int_equal(http_server_connections(f.s), 0);
    teardown(&f);
}

TEST(slow_reader_bounds_memory)
{
    struct fixture f;

    setup(&f, (struct http_server_config){.write_timeout_ms = 300});
    f.to_send = 64 << 20;
    connect_raw(&f);
    stream_write_str(f.raw.s, STR(GET("/big") "\r\n"));
    spin(&f, 20);
    stream_pause(f.raw.s);
    spin(&f, 100);
    assert_true(f.to_send > 0);
    assert_true(f.peak < STREAM_HIGH + 3 * 16384);
    buf_fini(&f.raw.got);
    buf_init(&f.raw.got, 1024); /* contents do not matter from here on */
    spin(&f, 500);
    assert_int_equal(http_server_connections(f.s), 0); /* nothing taken for too long */
    teardown(&f);
}

TEST(large_download_completes)
{
    struct fixture f;

    setup(&f, (struct http_server_config){0});
    f.to_send = 16 << 20;
    connect_raw(&f);
    stream_write_str(f.raw.s, STR(GET("/big") "Connection: close\r\n\r\n"));
    for (int i = 0; i < 5000 && !f.raw.closed; i++)
        loop_run_once(f.l, 5);
    assert_true(f.raw.closed);
    assert_true(f.raw.in > 16 << 20);
    assert_true(f.drains > 4);
    assert_true(f.peak < STREAM_HIGH + 3 * 16384);
    teardown(&f);
}

TEST(connections_wait_at_the_limit)
{
    struct fixture f;
    struct raw more = {0};
    struct stream_target t = {.host = "127.0.0.1"};

    setup(&f, (struct http_server_config){.connections_max = 1});
    connect_raw(&f);
    spin(&f, 20);
    t.port = http_server_port(f.s);
    buf_init(&more.got, 4096);
    assert_int_equal(stream_connect(f.l, &t, &raw_events, &more, &more.s, NULL), 0);
    stream_write_str(more.s, STR(GET("/x") "\r\n"));
    spin(&f, 50);
    assert_int_equal(more.in, 0);
    assert_int_equal(http_server_connections(f.s), 1);
    stream_free(f.raw.s);
    f.raw.s = NULL;
    spin(&f, 50);
    assert_true(more.in > 0);
    stream_free(more.s);
    buf_fini(&more.got);
    teardown(&f);
}

/* client against the same server: uploads, pauses, upgrade, retry */

struct outcome {
    bool done, upgraded;
    int status, code;
    char *body;
    size_t in;
    struct http_call *call;
    struct stream *s;
    struct buf got;
    uint64_t to_send;
    size_t peak;
};

static void on_done(struct http_call *c, const struct http_result *r, void *arg)
{
    struct outcome *o = arg;

    o->done = true;
    o->status = r->status;
    o->code = r->error ? r->error->code : 0;
    o->body = str_dup(r->body);
    o->call = NULL;
}

static void on_call_data(struct http_call *c, struct str d, void *arg)
{
    struct outcome *o = arg;

    o->in += d.n;
    http_call_pause(c);
}

static void on_upload(struct http_call *c, void *arg)
{
    static char block[16384];
    struct outcome *o = arg;

    while (o->to_send && http_call_write_pending(c) < STREAM_HIGH) {
        http_call_write(c, (struct str){block, sizeof block});
        o->to_send -= sizeof block;
        if (http_call_write_pending(c) > o->peak)
            o->peak = http_call_write_pending(c);
    }
    if (!o->to_send)
        http_call_write_end(c);
}

static void on_upgrade(struct http_call *c, struct stream *s, const struct http_response *r,
                       void *arg)
{
    struct outcome *o = arg;

    o->upgraded = true;
    o->status = r->status;
    o->s = s;
}

static size_t on_echoed(struct stream *s, struct str d, void *arg)
{
    (void)buf_add_str(&((struct outcome *)arg)->got, d);
    return d.n;
}

static struct http_client *client(struct fixture *f)
{
    struct http_client *c;
    char url[64];

    (void)snprintf(url, sizeof url, "http://127.0.0.1:%u", http_server_port(f->s));
    assert_int_equal(http_client_new(f->l, &(struct http_client_config){.base_url = url}, &c, NULL),
                     0);
    return c;
}

static void finish(struct fixture *f, struct http_client *c, struct outcome *o)
{
    http_client_free(c);
    stream_free(o->s);
    buf_fini(&o->got);
    free(o->body);
    teardown(f);
}

TEST(upload_with_back_pressure)
{
    struct fixture f;
    struct outcome o = {.to_send = 32 << 20};
    struct http_client *c;

    setup(&f, (struct http_server_config){0});
    c = client(&f);
    assert_int_equal(http_call_start(c,
                                     &(struct http_call_spec){.method = "POST",
                                                              .path = "/pieces",
                                                              .stream_body = true,
                                                              .on_drain = on_upload,
                                                              .on_done = on_done,
                                                              .collect_max = 100,
                                                              .arg = &o},
                                     &o.call, NULL),
                     0);
    on_upload(o.call, &o);
    for (int i = 0; i < 5000 && !o.done; i++)
        loop_run_once(f.l, 5);
    assert_true(o.done);
    assert_string_equal(o.body, "33554432\n");
    assert_true(o.peak < STREAM_HIGH + 3 * 16384);
    finish(&f, c, &o);
}

TEST(paused_call_stops_the_peer)
{
    struct fixture f;
    struct outcome o = {0};
    struct http_client *c;

    setup(&f, (struct http_server_config){0});
    f.to_send = 32 << 20;
    c = client(&f);
    assert_int_equal(
        http_call_start(c,
                        &(struct http_call_spec){
                            .path = "/big", .on_data = on_call_data, .on_done = on_done, .arg = &o},
                        &o.call, NULL),
        0);
    spin(&f, 200);
    assert_true(o.in > 0 && o.in < 1 << 20);
    assert_true(f.to_send > 0);
    for (int i = 0; i < 100000 && !o.done; i++) {
        http_call_resume(o.call);
        loop_run_once(f.l, 1);
    }
    assert_true(o.done);
    assert_int_equal(o.in, 32 << 20);
    finish(&f, c, &o);
}

TEST(client_upgrade)
{
    static const struct stream_events ev = {.on_data = on_echoed};
    struct fixture f;
    struct outcome o = {0};
    struct http_client *c;

    setup(&f, (struct http_server_config){0});
    c = client(&f);
    buf_init(&o.got, 100);
    assert_int_equal(http_call_start(c,
                                     &(struct http_call_spec){.path = "/upgrade",
                                                              .upgrade = "echo",
                                                              .on_upgrade = on_upgrade,
                                                              .on_done = on_done,
                                                              .arg = &o},
                                     NULL, NULL),
                     0);
    spin(&f, 50);
    assert_true(o.upgraded);
    stream_set_events(o.s, &ev, &o);
    stream_write_str(o.s, STR("ping"));
    spin(&f, 50);
    assert_string_equal(o.got.p, "ping");
    finish(&f, c, &o);
}

TEST(cancel_aborts_the_exchange)
{
    struct fixture f;
    struct outcome o = {0};
    struct http_client *c;

    setup(&f, (struct http_server_config){0});
    c = client(&f);
    assert_int_equal(
        http_call_start(c, &(struct http_call_spec){.path = "/hold", .on_done = on_done, .arg = &o},
                        &o.call, NULL),
        0);
    spin(&f, 50);
    assert_non_null(f.held);
    http_call_cancel(o.call);
    spin(&f, 50);
    assert_int_equal(f.aborted, 1);
    assert_false(o.done);
    finish(&f, c, &o);
}
TEST_MAIN()
