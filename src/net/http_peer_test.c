/* The HTTP server against curl and openssl s_client, the client against openssl s_server. Skipped
 * without those programs. */
#include "base/test.h"
#include "base/file.h"
#include "base/mem.h"
#include "loop/process.h"
#include "net/http_client.h"
#include "net/http_server.h"
#include "net/x509.h"
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

static struct loop *l;
static struct http_server *s;
static struct tls_server *ts;
static char dir[] = "/tmp/net-peer-XXXXXX";
static char plain[64], tls[64];
static size_t streamed;

static void on_piece(struct http_exchange *x, struct str d, bool last, void *arg)
{
    streamed += d.n;
    if (last)
        http_respond_text(x, 200, "%zu", streamed);
}

static void on_request(struct http_exchange *x, void *arg)
{
    const struct tls_peer *p = http_tls_peer(x);

    if (str_eq_z(http_path(x), "/upload")) {
        streamed = 0;
        http_stream_body(x, on_piece, NULL);
    } else if (str_eq_z(http_path(x), "/stream")) {
        http_respond_begin(x, 200, "text/plain");
        for (int i = 0; i < 1000; i++)
            http_write(x, STR("0123456789\n"));
        http_end(x);
    } else if (str_eq_z(http_path(x), "/who")) {
        http_respond_text(x, 200, "%s %s", p ? p->cn : "nobody",
                          p && p->verified ? "verified" : "unverified");
    } else {
        http_add_header(x, "X-Path", "yes");
        http_respond_text(x, 200, "hello from %.*s", STR_FMT(http_path(x)));
    }
}

struct run {
    bool done;
    int status;
    char *out, *err;
};

static void on_exit_(struct process *p, const struct process_result *r, void *arg)
{
    struct run *run = arg;

    run->done = true;
    run->status = r->timed_out ? -1 : r->wait_status;
    run->out = str_dup(r->out);
    run->err = str_dup(r->err);
}

static const char *run(struct run *r, const char *const *argv)
{
    struct process_spec spec = {.argv = argv, .timeout_ms = 20000, .out_max = 1 << 20};
    struct process *p;

    free(r->out);
    free(r->err);
    *r = (struct run){0};
    assert_int_equal(process_start(l, &spec, on_exit_, r, &p, NULL), 0);
    while (!r->done)
        loop_run_once(l, 100);
    return r->out;
}

#define CURL(...)                                                                                  \
    run(&r, (const char *const[]){"curl", "-sS", "--noproxy", "*", "--cacert", ca, version,        \
                                  __VA_ARGS__, NULL})

static char ca[64], cert[64], key[64];

static void issue(struct buf *ca_key, struct buf *ca_cert, const char *cn, unsigned usage,
                  struct buf *k, struct buf *c)
{
    static const char *const ips[] = {"127.0.0.1"}, *const dns[] = {"localhost"};
    struct x509_sign sign = {.ca_cert_pem = buf_str(ca_cert),
                             .ca_key_pem = buf_str(ca_key),
                             .usages = usage,
                             .validity_s = 3600};
    struct x509_names names = {.cn = cn, .ips = ips, .n_ips = 1, .dns = dns, .n_dns = 1};

    buf_init(k, 1 << 16);
    buf_init(c, 1 << 16);
    assert_int_equal(x509_key_generate(X509_KEY_ECDSA_P256, k, NULL), 0);
    assert_int_equal(x509_issue(&sign, buf_str(k), &names, c, NULL), 0);
}

static void write_file(const char *name, struct buf *b, char path[64])
{
    (void)snprintf(path, 64, "%s/%s", dir, name);
    assert_int_equal(file_write_atomic_nosync(path, 0600, buf_str(b), NULL), 0);
}

static void begin(void)
{
    struct http_server_config cfg = {.on_request = on_request};
    struct buf ca_key, ca_cert, k, c, ck, cc;
    struct tls_server_config tcfg;
    char path[64];

    l = loop_new();
    s = http_server_new(l, &cfg);
    buf_init(&ca_key, 1 << 16);
    buf_init(&ca_cert, 1 << 16);
    assert_int_equal(x509_key_generate(X509_KEY_ECDSA_P256, &ca_key, NULL), 0);
    assert_int_equal(x509_ca_create(buf_str(&ca_key), "peer-ca", 3600, &ca_cert, NULL), 0);
    issue(&ca_key, &ca_cert, "server", X509_SERVER_AUTH, &k, &c);
    issue(&ca_key, &ca_cert, "alice", X509_CLIENT_AUTH, &ck, &cc);
    write_file("ca.pem", &ca_cert, ca);
    write_file("cert.pem", &cc, cert);
    write_file("key.pem", &ck, key);
    write_file("server.pem", &c, path);
    write_file("server.key", &k, path);
    tcfg = (struct tls_server_config){
        .cert.data = buf_str(&c), .key.data = buf_str(&k), .client_ca.data = buf_str(&ca_cert)};
    assert_int_equal(tls_server_new(&tcfg, &ts, NULL), 0);
    assert_int_equal(http_server_listen_tcp(s, "127.0.0.1", 0, NULL, NULL), 0);
    (void)snprintf(plain, sizeof plain, "http://127.0.0.1:%u", http_server_port(s));
    http_server_free(s);
    s = http_server_new(l, &cfg);
    assert_int_equal(http_server_listen_tcp(s, "127.0.0.1", 0, ts, NULL), 0);
    (void)snprintf(tls, sizeof tls, "https://127.0.0.1:%u/", http_server_port(s));
    (void)snprintf(path, sizeof path, "%s/sock", dir);
    assert_int_equal(http_server_listen_unix(s, path, 0600, NULL), 0);
    buf_fini(&ca_key);
    buf_fini(&ca_cert);
    buf_fini(&k);
    buf_fini(&c);
    buf_fini(&ck);
    buf_fini(&cc);
}

static void end(struct run *r)
{
    free(r->out);
    free(r->err);
    http_server_free(s);
    tls_server_unref(ts);
    for (int i = 0; i < 10; i++)
        loop_run_once(l, 5);
    loop_free(l);
}

static void with_curl(const char *version)
{
    char url[128], file[64], sock[64];
    struct run r = {0};
    struct buf big;

    begin();
    (void)snprintf(sock, sizeof sock, "%s/sock", dir);
    assert_string_equal(CURL(tls), "hello from /\n");
    assert_non_null(strcasestr(CURL("-I", tls), "X-Path: yes"));
    assert_string_equal(CURL("--unix-socket", sock, "http://x/a"), "hello from /a\n");
    (void)snprintf(url, sizeof url, "%swho", tls);
    assert_string_equal(CURL(url), "nobody unverified\n");
    assert_string_equal(CURL("--cert", cert, "--key", key, url), "alice verified\n");
    (void)snprintf(url, sizeof url, "%sstream", tls);
    assert_int_equal(strlen(CURL(url)), 11000);
    buf_init(&big, 64 << 20);
    assert_non_null(buf_reserve(&big, 20 << 20));
    buf_commit(&big, 20 << 20);
    memset(big.p, 'x', big.n);
    write_file("big", &big, file);
    buf_fini(&big);
    (void)snprintf(url, sizeof url, "%supload", tls);
    assert_string_equal(CURL("-T", file, url), "20971520\n");
    assert_string_equal(CURL("-T", file, "-H", "Transfer-Encoding: chunked", url), "20971520\n");
    assert_string_equal(CURL("--unix-socket", sock, "-T", file, "http://x/upload"), "20971520\n");
    end(&r);
}

TEST(curl_http1)
{
    with_curl("--http1.1");
}

TEST(curl_http2)
{
    with_curl("--http2");
}

TEST(s_client)
{
    struct run r = {0};
    char addr[64];

    begin();
    (void)snprintf(addr, sizeof addr, "127.0.0.1:%u", http_server_port(s));
    run(&r, (const char *const[]){"openssl", "s_client", "-connect", addr, "-tls1_2", "-brief",
                                  "-CAfile", ca, NULL});
    assert_non_null(strstr(r.err, "TLSv1.2"));
    assert_non_null(strstr(r.err, "Verification: OK"));
    run(&r, (const char *const[]){"openssl", "s_client", "-connect", addr, "-tls1_1", "-cipher",
                                  "ALL@SECLEVEL=0", NULL});
    assert_int_not_equal(r.status, 0);
    end(&r);
}

static void on_done(struct http_call *c, const struct http_result *res, void *arg)
{
    struct run *r = arg;

    r->done = true;
    r->status = res->status;
    r->out = str_dup(res->body);
    r->err = res->error ? xstrdup(error_message(res->error)) : NULL;
}

/* HTTP/1.0 without a length: the body ends with the connection. */
TEST(client_against_s_server)
{
    char port[16], url[64], server_cert[64], server_key[64];
    struct tls_client_config tc = {.ca.path = ca};
    struct tls_client *tcl;
    struct http_client *c;
    struct run r = {0};
    pid_t pid;

    begin();
    (void)snprintf(port, sizeof port, "%u", 20000 + (unsigned)getpid() % 20000);
    (void)snprintf(server_cert, sizeof server_cert, "%s/server.pem", dir);
    (void)snprintf(server_key, sizeof server_key, "%s/server.key", dir);
    pid = fork();
    if (pid == 0) {
        (void)freopen("/dev/null", "w", stdout);
        (void)freopen("/dev/null", "w", stderr);
        execlp("openssl", "openssl", "s_server", "-www", "-accept", port, "-cert", server_cert,
               "-key", server_key, NULL);
        _exit(127);
    }
    (void)snprintf(url, sizeof url, "https://127.0.0.1:%s", port);
    assert_int_equal(tls_client_new(&tc, &tcl, NULL), 0);
    assert_int_equal(
        http_client_new(l, &(struct http_client_config){.base_url = url, .tls = tcl}, &c, NULL), 0);
    for (int i = 0; i < 100 && r.status != 200; i++) {
        free(r.out);
        free(r.err);
        r = (struct run){0};
        assert_int_equal(
            http_call_start(c,
                            &(struct http_call_spec){
                                .path = "/", .collect_max = 1 << 20, .on_done = on_done, .arg = &r},
                            NULL, NULL),
            0);
        while (!r.done)
            loop_run_once(l, 50);
        if (r.err)
            (void)usleep(20000);
    }
    assert_int_equal(r.status, 200);
    assert_null(r.err);
    assert_non_null(strstr(r.out, "</BODY></HTML>"));
    (void)kill(pid, SIGKILL);
    (void)waitpid(pid, NULL, 0);
    http_client_free(c);
    tls_client_unref(tcl);
    end(&r);
}

struct CMUnitTest test_registry[TEST_MAX];
size_t test_registry_n;

int main(void)
{
    int r;

    if (access("/usr/bin/curl", X_OK) < 0 || access("/usr/bin/openssl", X_OK) < 0) {
        (void)printf("skipped: needs curl and openssl\n");
        return 77;
    }
    if (!mkdtemp(dir))
        return 1;
    r = _cmocka_run_group_tests(__FILE__, test_registry, test_registry_n, NULL, NULL);
    (void)dir_remove_tree(dir, NULL);
    return r;
}
