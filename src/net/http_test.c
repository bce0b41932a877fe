/* HTTP server and client against one another, plain, TLS and unix; certificates come from net/x509.
 */
#include "base/test.h"
#include "base/file.h"
#include "base/mem.h"
#include "net/http_client.h"
#include "net/http_server.h"
#include "net/x509.h"
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

struct fixture {
    struct loop *l;
    struct http_server *s;
    struct http_client *c;
    struct tls_server *ts;
    struct tls_client *tc;
    struct buf ca_key, ca, key, cert, client_key, client_cert;
};

struct outcome {
    bool done, cancel_in_response;
    int status, code;
    char *error, *body, *header;
    size_t bytes, responses;
    struct http_call *call;
};

static void on_response(struct http_call *c, const struct http_response *r, void *arg)
{
    struct outcome *o = arg;

    o->responses++;
    o->header = str_dup(http_headers_get(r->headers, "X-Test"));
}

static void on_done(struct http_call *c, const struct http_result *r, void *arg)
{
    struct outcome *o = arg;

    o->done = true;
    o->status = r->status;
    if (r->error) {
        o->code = r->error->code;
        o->error = xstrdup(error_message(r->error));
    }
    o->body = str_dup(r->body);
}

static void outcome_fini(struct outcome *o)
{
    free(o->error);
    free(o->body);
    free(o->header);
    *o = (struct outcome){0};
}

static void wait_for(struct loop *l, const bool *flag)
{
    struct mono start = mono_now();

    while (!*flag && mono_ms_since(start) < 10000)
        loop_run_once(l, 50);
    assert_true(*flag);
}

static void get(struct fixture *f, const char *method, const char *path, struct str body,
                struct outcome *o)
{
    struct http_call_spec spec = {.method = method,
                                  .path = path,
                                  .body = body,
                                  .collect_max = 1 << 20,
                                  .on_response = on_response,
                                  .on_done = on_done,
                                  .timeout_ms = 5000,
                                  .arg = o};

    assert_int_equal(http_call_start(f->c, &spec, NULL, NULL), 0);
    wait_for(f->l, &o->done);
}

static void on_echo_body(struct http_exchange *x, struct str body, void *arg)
{
    http_respond(x, 200, "text/plain", body);
}

static void on_route(struct http_exchange *x, void *arg)
{
    size_t n;
    const struct str *seg = http_segments(x, &n);

    http_add_header(x, "X-Test", "yes");
    if (n == 1 && str_eq_z(seg[0], "hello"))
        http_respond(x, 200, "text/plain", STR("hello"));
    else if (n == 1 && str_eq_z(seg[0], "echo"))
        http_read_body(x, 1024, on_echo_body, NULL);
    else if (n == 2 && str_eq_z(seg[0], "seg"))
        http_respond(x, 200, NULL, seg[1]);
    else if (n == 1 && str_eq_z(seg[0], "query"))
        http_respond(x, 200, NULL, http_query_get_nth(x, "a b", 1));
    else if (n == 1 && str_eq_z(seg[0], "who"))
        http_respond_text(x, 200, "%s %d", http_tls_peer(x) ? http_tls_peer(x)->cn : "-",
                          http_tls_peer(x) && http_tls_peer(x)->verified);
    else if (n == 1 && str_eq_z(seg[0], "chunks")) {
        http_respond_begin(x, 200, "text/plain");
        http_write(x, STR("one "));
        http_write(x, STR("two"));
        http_end(x);
    } else if (n == 1 && str_eq_z(seg[0], "never"))
        return;
    else
        http_respond_text(x, 404, "no such path");
}

static void setup_plain(struct fixture *f)
{
    char url[64];
    struct http_server_config cfg = {.on_request = on_route};

    f->l = loop_new();
    f->s = http_server_new(f->l, &cfg);
    assert_int_equal(http_server_listen_tcp(f->s, "127.0.0.1", 0, NULL, NULL), 0);
    (void)snprintf(url, sizeof url, "http://127.0.0.1:%u", http_server_port(f->s));
    assert_int_equal(
        http_client_new(f->l, &(struct http_client_config){.base_url = url}, &f->c, NULL), 0);
}

static void issue(struct fixture *f, const char *cn, unsigned usage, struct buf *key,
                  struct buf *cert)
{
    static const char *const ips[] = {"127.0.0.1"};
    static const char *const orgs[] = {"system:nodes"};
    struct x509_sign sign = {.ca_cert_pem = buf_str(&f->ca),
                             .ca_key_pem = buf_str(&f->ca_key),
                             .usages = usage,
                             .validity_s = 3600};
    struct x509_names names = {.cn = cn, .orgs = orgs, .n_orgs = 1, .ips = ips, .n_ips = 1};

    buf_fini(key);
    buf_fini(cert);
    buf_init(key, 1 << 16);
    buf_init(cert, 1 << 16);
    assert_int_equal(x509_key_generate(X509_KEY_ECDSA_P256, key, NULL), 0);
    assert_int_equal(x509_issue(&sign, buf_str(key), &names, cert, NULL), 0);
}

static struct tls_server_config server_tls(struct fixture *f)
{
    return (struct tls_server_config){.cert.data = buf_str(&f->cert),
                                      .key.data = buf_str(&f->key),
                                      .client_ca.data = buf_str(&f->ca)};
}

static void new_client(struct fixture *f, const char *server_name)
{
    char url[64];

    http_client_free(f->c);
    (void)snprintf(url, sizeof url, "https://127.0.0.1:%u", http_server_port(f->s));
    assert_int_equal(http_client_new(f->l,
                                     &(struct http_client_config){
                                         .base_url = url, .tls = f->tc, .server_name = server_name},
                                     &f->c, NULL),
                     0);
}

static void setup_tls(struct fixture *f)
{
    struct http_server_config cfg = {.on_request = on_route};
    struct tls_server_config ts;
    struct tls_client_config tc;

    f->l = loop_new();
    f->s = http_server_new(f->l, &cfg);
    buf_init(&f->ca_key, 1 << 16);
    buf_init(&f->ca, 1 << 16);
    assert_int_equal(x509_key_generate(X509_KEY_ECDSA_P256, &f->ca_key, NULL), 0);
    assert_int_equal(x509_ca_create(buf_str(&f->ca_key), "test-ca", 3600, &f->ca, NULL), 0);
    issue(f, "first", X509_SERVER_AUTH, &f->key, &f->cert);
    issue(f, "system:node:a", X509_CLIENT_AUTH, &f->client_key, &f->client_cert);
    ts = server_tls(f);
    assert_int_equal(tls_server_new(&ts, &f->ts, NULL), 0);
    tc = (struct tls_client_config){.ca.data = buf_str(&f->ca),
                                    .cert.data = buf_str(&f->client_cert),
                                    .key.data = buf_str(&f->client_key)};
    assert_int_equal(tls_client_new(&tc, &f->tc, NULL), 0);
    assert_int_equal(http_server_listen_tcp(f->s, "127.0.0.1", 0, f->ts, NULL), 0);
    new_client(f, NULL);
}

static void teardown(struct fixture *f)
{
    http_client_free(f->c);
    http_server_free(f->s);
    for (int i = 0; i < 5; i++)
        loop_run_once(f->l, 0);
    tls_server_unref(f->ts);
    tls_client_unref(f->tc);
    loop_free(f->l);
    buf_fini(&f->ca_key);
    buf_fini(&f->ca);
    buf_fini(&f->key);
    buf_fini(&f->cert);
    buf_fini(&f->client_key);
    buf_fini(&f->client_cert);
}

static void expect(struct fixture *f, const char *method, const char *path, struct str body,
                   int status, const char *text)
{
    struct outcome o = {0};

    get(f, method, path, body, &o);
    assert_null(o.error);
    assert_int_equal(o.status, status);
    if (text)
        assert_string_equal(o.body, text);
    outcome_fini(&o);
}

TEST(plain)
{
    struct fixture f = {0};
    static char big[4096];

    setup_plain(&f);
    memset(big, 'x', sizeof big);
    expect(&f, "GET", "/hello", STR_NULL, 200, "hello");
    expect(&f, "HEAD", "/hello", STR_NULL, 200, "");
    expect(&f, "GET", "/chunks", STR_NULL, 200, "one two");
    expect(&f, "POST", "/echo", STR("body"), 200, "body");
    expect(&f, "POST", "/echo", STR_NULL, 200, "");
    expect(&f, "POST", "/hello", (struct str){big, sizeof big}, 200, "hello");
    expect(&f, "GET", "/seg/a%2Fb", STR_NULL, 200, "a/b");
    expect(&f, "GET", "/query?a+b=1&x=3&a%20b=%26", STR_NULL, 200, "&");
    expect(&f, "GET", "/nothing", STR_NULL, 404, "no such path\n");
    assert_int_equal(http_server_connections(f.s), 1); /* one kept connection did it all */
    expect(&f, "POST", "/echo", (struct str){big, sizeof big}, 413, NULL);
    expect(&f, "GET", "/a/../b", STR_NULL, 400, NULL);
    teardown(&f);
}

TEST(refused)
{
    struct fixture f = {0};
    struct outcome o = {0};

    setup_plain(&f);
    http_server_free(f.s);
    f.s = NULL;
    get(&f, "GET", "/hello", STR_NULL, &o);
    assert_int_equal(o.code, ECONNREFUSED);
    assert_non_null(strstr(o.error, "connection refused"));
    outcome_fini(&o);
    teardown(&f);
}

TEST(timeout)
{
    struct fixture f = {0};
    struct outcome o = {0};
    struct http_call_spec spec = {
        .path = "/never", .on_done = on_done, .timeout_ms = 50, .arg = &o};

    setup_plain(&f);
    assert_int_equal(http_call_start(f.c, &spec, NULL, NULL), 0);
    wait_for(f.l, &o.done);
    assert_int_equal(o.code, ETIMEDOUT);
    outcome_fini(&o);
    teardown(&f);
}

TEST(tls_identity)
{
    struct fixture f = {0};

    setup_tls(&f);
    expect(&f, "GET", "/who", STR_NULL, 200, "system:node:a 1\n");
    expect(&f, "POST", "/echo", STR("over tls"), 200, "over tls");
    teardown(&f);
}

TEST(tls_wrong_name_and_authority)
{
    struct fixture f = {0};
    struct outcome o = {0};
    struct tls_client_config tc = {0};

    setup_tls(&f);
    new_client(&f, "example.org");
    get(&f, "GET", "/who", STR_NULL, &o);
    assert_int_equal(o.code, EKEYREJECTED);
    assert_non_null(strstr(o.error, "certificate is valid for 127.0.0.1, not example.org"));
    outcome_fini(&o);
    issue(&f, "other", X509_SERVER_AUTH, &f.client_key, &f.client_cert);
    tls_client_unref(f.tc);
    tc.ca.data = buf_str(&f.client_cert);
    assert_int_equal(tls_client_new(&tc, &f.tc, NULL), 0);
    new_client(&f, NULL);
    get(&f, "GET", "/who", STR_NULL, &o);
    assert_int_equal(o.code, EKEYREJECTED);
    assert_non_null(strstr(o.error, "unknown authority"));
    outcome_fini(&o);
    teardown(&f);
}
TEST_MAIN()
