/* HTTP/2 between our client and our server: one connection for everything, flow control,
 * cancelling, loss. */
#include "base/test.h"
#include "base/mem.h"
#include "net/http_client.h"
#include "net/http_server.h"
#include "net/x509.h"
#include <errno.h>
#include <stdio.h>

#define CALLS 40

struct call {
    struct fixture *f;
    struct http_call *c;
    bool done;
    int status, code;
    char *body;
    size_t in, peak;
    uint64_t to_send;
};
struct fixture {
    struct loop *l;
    struct http_server *s;
    struct http_client *c;
    struct tls_server *ts;
    struct tls_client *tc;
    struct http_exchange *held[CALLS];
    struct call calls[CALLS];
    size_t held_n, aborted, uploaded, peak;
    uint64_t to_send;
    bool pause_calls;
};

static void on_abort(struct http_exchange *x, void *arg)
{
    ((struct fixture *)arg)->aborted++;
}

static void on_body(struct http_exchange *x, struct str body, void *arg)
{
    http_respond(x, 200, "text/plain", body);
}

static void on_piece(struct http_exchange *x, struct str d, bool last, void *arg)
{
    struct fixture *f = arg;

    f->uploaded += d.n;
    if (last)
        http_respond_text(x, 200, "%zu", f->uploaded);
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
    if (!f->to_send)
        http_end(x);
}

static void on_request(struct http_exchange *x, void *arg)
{
    struct fixture *f = arg;
    struct str path = http_path(x);

    http_add_header(x, "X-Test", "yes");
    if (str_eq_z(path, "/watch")) {
        http_respond_begin(x, 200, "application/json");
        http_on_abort(x, on_abort, f);
        http_write(x, STR("first;"));
        f->held[f->held_n++] = x;
    } else if (str_eq_z(path, "/echo")) {
        http_read_body(x, 1000, on_body, f);
    } else if (str_eq_z(path, "/upload")) {
        http_stream_body(x, on_piece, f);
    } else if (str_eq_z(path, "/big")) {
        http_respond_begin(x, 200, NULL);
        http_on_drain(x, pump, f);
        pump(x, f);
    } else if (str_eq_z(path, "/never")) {
        http_on_abort(x, on_abort, f);
    } else if (str_eq_z(path, "/break")) {
        http_abort(x);
    } else {
        http_respond_text(x, str_eq_z(path, "/missing") ? 404 : 200, "%.*s?%.*s %s", STR_FMT(path),
                          STR_FMT(http_query(x)), http_tls_peer(x) ? http_tls_peer(x)->cn : "-");
    }
}

static void issue(struct buf *ca_key, struct buf *ca, const char *cn, unsigned usage, struct buf *k,
                  struct buf *c)
{
    static const char *const ips[] = {"127.0.0.1"};
    struct x509_sign sign = {.ca_cert_pem = buf_str(ca),
                             .ca_key_pem = buf_str(ca_key),
                             .usages = usage,
                             .validity_s = 3600};
    struct x509_names names = {.cn = cn, .ips = ips, .n_ips = 1};

    buf_init(k, 1 << 16);
    buf_init(c, 1 << 16);
    assert_int_equal(x509_key_generate(X509_KEY_ECDSA_P256, k, NULL), 0);
    assert_int_equal(x509_issue(&sign, buf_str(k), &names, c, NULL), 0);
}

static void setup(struct fixture *f, const char *server_alpn)
{
    struct http_server_config cfg = {.on_request = on_request, .arg = f};
    struct buf ca_key, ca, k, c, ck, cc;
    struct tls_server_config ts;
    struct tls_client_config tc;
    char url[64];

    *f = (struct fixture){.l = loop_new()};
    buf_init(&ca_key, 1 << 16);
    buf_init(&ca, 1 << 16);
    assert_int_equal(x509_key_generate(X509_KEY_ECDSA_P256, &ca_key, NULL), 0);
    assert_int_equal(x509_ca_create(buf_str(&ca_key), "ca", 3600, &ca, NULL), 0);
    issue(&ca_key, &ca, "server", X509_SERVER_AUTH, &k, &c);
    issue(&ca_key, &ca, "node", X509_CLIENT_AUTH, &ck, &cc);
    ts = (struct tls_server_config){.cert.data = buf_str(&c),
                                    .key.data = buf_str(&k),
                                    .client_ca.data = buf_str(&ca),
                                    .alpn = server_alpn};
    tc = (struct tls_client_config){
        .ca.data = buf_str(&ca), .cert.data = buf_str(&cc), .key.data = buf_str(&ck)};
    assert_int_equal(tls_server_new(&ts, &f->ts, NULL), 0);
    assert_int_equal(tls_client_new(&tc, &f->tc, NULL), 0);
    f->s = http_server_new(f->l, &cfg);
    assert_int_equal(http_server_listen_tcp(f->s, "127.0.0.1", 0, f->ts, NULL), 0);
    (void)snprintf(url, sizeof url, "https://127.0.0.1:%u", http_server_port(f->s));
    assert_int_equal(
        http_client_new(f->l,
                        &(struct http_client_config){.base_url = url, .tls = f->tc, .http2 = true},
                        &f->c, NULL),
        0);
    buf_fini(&ca_key);
    buf_fini(&ca);
    buf_fini(&k);
    buf_fini(&c);
    buf_fini(&ck);
    buf_fini(&cc);
}

static void spin(struct fixture *f, int ms)
{
    struct mono start = mono_now();

    while (mono_ms_since(start) < ms)
        loop_run_once(f->l, 5);
}

static void teardown(struct fixture *f)
{
    http_client_free(f->c);
    http_server_free(f->s);
    for (size_t i = 0; i < CALLS; i++)
        free(f->calls[i].body);
    tls_server_unref(f->ts);
    tls_client_unref(f->tc);
    spin(f, 10);
    loop_free(f->l);
}

static void on_done(struct http_call *c, const struct http_result *r, void *arg)
{
    struct call *k = arg;

    k->done = true;
    k->status = r->status;
    k->code = r->error ? r->error->code : 0;
    free(k->body);
    k->body = str_dup(r->error ? str_of(error_message(r->error)) : r->body);
    k->c = NULL;
}

static void on_data(struct http_call *c, struct str d, void *arg)
{
    struct call *k = arg;

    k->in += d.n;
    if (k->f->pause_calls)
        http_call_pause(c);
}

static void on_upload(struct http_call *c, void *arg)
{
    static char block[16384];
    struct call *k = arg;

    while (k->to_send && http_call_write_pending(c) < STREAM_HIGH) {
        http_call_write(c, (struct str){block, sizeof block});
        k->to_send -= sizeof block;
        if (http_call_write_pending(c) > k->peak)
            k->peak = http_call_write_pending(c);
    }
    if (!k->to_send)
        http_call_write_end(c);
}

static struct call *start(struct fixture *f, size_t i, const char *method, const char *path,
                          struct str body, bool collect)
{
    struct call *k = &f->calls[i];
    struct http_call_spec spec = {.method = method,
                                  .path = path,
                                  .body = body,
                                  .collect_max = collect ? 4096 : 0,
                                  .on_data = on_data,
                                  .on_done = on_done,
                                  .arg = k,
                                  .timeout_ms = 8000};

    free(k->body);
    *k = (struct call){.f = f};
    assert_int_equal(http_call_start(f->c, &spec, &k->c, NULL), 0);
    return k;
}

static void wait_call(struct fixture *f, struct call *k)
{
    struct mono t = mono_now();

    while (!k->done && mono_ms_since(t) < 9000)
        loop_run_once(f->l, 20);
    assert_true(k->done);
}

TEST(requests_share_one_connection)
{
    struct fixture f;

    setup(&f, NULL);
    for (size_t i = 0; i < CALLS; i++)
        (void)start(&f, i, i % 2 ? "POST" : "GET", i % 2 ? "/echo" : "/path?q=1",
                    i % 2 ? STR("abc") : STR_NULL, true);
    for (size_t i = 0; i < CALLS; i++) {
        wait_call(&f, &f.calls[i]);
        assert_int_equal(f.calls[i].status, 200);
        assert_string_equal(f.calls[i].body, i % 2 ? "abc" : "/path?q=1 node\n");
    }
    assert_int_equal(http_server_connections(f.s), 1);
    wait_call(&f, start(&f, 0, "HEAD", "/x", STR_NULL, true));
    assert_int_equal(f.calls[0].status, 200);
    assert_string_equal(f.calls[0].body, "");
    wait_call(&f, start(&f, 0, "GET", "/missing", STR_NULL, true));
    assert_int_equal(f.calls[0].status, 404);
    wait_call(&f, start(&f, 0, "GET", "/a/../b", STR_NULL, true));
    assert_int_equal(f.calls[0].status, 400);
    wait_call(&f, start(&f, 0, "GET", "/break", STR_NULL, true));
    assert_int_equal(f.calls[0].code, ECONNRESET);
    assert_int_equal(http_server_connections(f.s), 1);
    teardown(&f);
}

TEST(watches_and_cancel)
{
    struct fixture f;

    setup(&f, NULL);
    for (size_t i = 0; i < CALLS; i++)
        (void)start(&f, i, "GET", "/watch", STR_NULL, false);
    spin(&f, 100);
    assert_int_equal(f.held_n, CALLS);
    for (size_t i = 0; i < CALLS; i++)
        assert_int_equal(f.calls[i].in, 6);
    http_call_cancel(f.calls[3].c);
    spin(&f, 50);
    assert_int_equal(f.aborted, 1);
    assert_int_equal(http_server_connections(f.s), 1);
    http_write(f.held[5], STR("more"));
    http_end(f.held[5]);
    spin(&f, 50);
    assert_int_equal(f.calls[5].in, 10);
    assert_true(f.calls[5].done && !f.calls[5].code);
    http_server_free(f.s); /* the rest: aborted here, an error there */
    f.s = NULL;
    assert_int_equal(f.aborted, CALLS - 1);
    wait_call(&f, &f.calls[7]);
    assert_int_not_equal(f.calls[7].code, 0);
    teardown(&f);
}

TEST(flow_control_of_a_paused_call)
{
    struct fixture f;
    struct call *big, *small;

    setup(&f, NULL);
    f.to_send = 8 << 20;
    f.pause_calls = true;
    big = start(&f, 0, "GET", "/big", STR_NULL, false);
    spin(&f, 200);
    assert_true(big->in < 1 << 20);
    assert_true(f.to_send > 0);
    assert_true(f.peak < STREAM_HIGH + 3 * 16384);
    small = start(&f, 1, "GET", "/other", STR_NULL, true); /* is not held up by it */
    wait_call(&f, small);
    for (int i = 0; i < 20000 && !big->done; i++) {
        http_call_resume(big->c);
        loop_run_once(f.l, 1);
    }
    assert_true(big->done);
    assert_int_equal(big->in, 8 << 20);
    teardown(&f);
}

TEST(upload_with_back_pressure)
{
    struct fixture f;
    struct call *k;

    setup(&f, NULL);
    k = &f.calls[0];
    *k = (struct call){.f = &f, .to_send = 16 << 20};
    assert_int_equal(http_call_start(f.c,
                                     &(struct http_call_spec){.method = "PUT",
                                                              .path = "/upload",
                                                              .stream_body = true,
                                                              .on_drain = on_upload,
                                                              .on_done = on_done,
                                                              .collect_max = 100,
                                                              .arg = k},
                                     &k->c, NULL),
                     0);
    on_upload(k->c, k);
    wait_call(&f, k);
    assert_string_equal(k->body, "16777216\n");
    assert_true(k->peak < STREAM_HIGH + 3 * 16384);
    teardown(&f);
}

TEST(body_too_large)
{
    static char big[5000];
    struct fixture f;

    setup(&f, NULL);
    wait_call(&f, start(&f, 0, "POST", "/echo", (struct str){big, sizeof big}, true));
    assert_int_equal(f.calls[0].status, 413);
    teardown(&f);
}

TEST(falls_back_to_http1)
{
    struct fixture f;

    setup(&f, "http/1.1");
    for (size_t i = 0; i < 5; i++)
        (void)start(&f, i, "GET", "/watch", STR_NULL, false);
    spin(&f, 150);
    assert_int_equal(f.held_n, 5);
    assert_int_equal(http_server_connections(f.s), 5);
    teardown(&f);
}

TEST(reload_moves_new_calls)
{
    struct fixture f;

    setup(&f, NULL);
    (void)start(&f, 0, "GET", "/watch", STR_NULL, false);
    spin(&f, 100);
    assert_int_equal(tls_client_reload_files(f.tc, NULL), 0);
    wait_call(&f, start(&f, 1, "GET", "/x", STR_NULL, true));
    assert_int_equal(http_server_connections(f.s), 2);
    http_end(f.held[0]); /* the old connection ends with its last call */
    wait_call(&f, &f.calls[0]);
    spin(&f, 50);
    assert_int_equal(http_server_connections(f.s), 1);
    teardown(&f);
}

TEST(timeout_frees_the_stream)
{
    struct fixture f;
    struct call *k;

    setup(&f, NULL);
    k = &f.calls[0];
    *k = (struct call){.f = &f};
    assert_int_equal(
        http_call_start(f.c,
                        &(struct http_call_spec){
                            .path = "/never", .on_done = on_done, .timeout_ms = 80, .arg = k},
                        NULL, NULL),
        0);
    wait_call(&f, k);
    assert_int_equal(k->code, ETIMEDOUT);
    spin(&f, 50);
    assert_int_equal(f.aborted, 1);
    teardown(&f);
}
TEST_MAIN()
