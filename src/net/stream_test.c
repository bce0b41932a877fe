/* Streams: connect, half close, splice, TLS with rotation and client certificates. */
#include "base/test.h"
#include "base/file.h"
#include "base/mem.h"
#include "net/stream.h"
#include "net/tls.h"
#include "net/x509.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

struct end {
    struct stream *s;
    struct buf got;
    size_t in, limit;
    bool open, eof, closed, echo;
    int code;
    char *error;
};

static void on_open(struct stream *s, void *arg)
{
    ((struct end *)arg)->open = true;
}

static size_t on_data(struct stream *s, struct str d, void *arg)
{
    struct end *e = arg;

    if (e->limit && d.n > e->limit)
        d.n = e->limit;
    e->in += d.n;
    (void)buf_add_str(&e->got, d);
    if (e->echo)
        stream_write_str(s, d);
    return d.n;
}

static void on_eof(struct stream *s, void *arg)
{
    struct end *e = arg;

    e->eof = true;
    if (e->echo)
        stream_shutdown_write(s);
}

static void on_close(struct stream *s, const struct error *err, void *arg)
{
    struct end *e = arg;

    e->closed = true;
    e->code = err ? err->code : 0;
    e->error = err ? xstrdup(error_message(err)) : NULL;
}

static const struct stream_events events = {
    .on_open = on_open, .on_data = on_data, .on_eof = on_eof, .on_close = on_close};

static void end_init(struct end *e)
{
    *e = (struct end){0};
    buf_init(&e->got, 1 << 20);
}

static void end_fini(struct end *e)
{
    stream_free(e->s);
    buf_fini(&e->got);
    free(e->error);
}

static void spin(struct loop *l, int ms)
{
    struct mono start = mono_now();

    while (mono_ms_since(start) < ms)
        loop_run_once(l, 5);
}

static void until(struct loop *l, const bool *flag)
{
    struct mono start = mono_now();

    while (!*flag && mono_ms_since(start) < 5000)
        loop_run_once(l, 20);
    assert_true(*flag);
}

static void pair(struct loop *l, struct end *a, struct end *b)
{
    int fds[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    end_init(a);
    end_init(b);
    a->s = stream_new_fd(l, fds[0], &events, a);
    b->s = stream_new_fd(l, fds[1], &events, b);
}

TEST(half_close)
{
    struct loop *l = loop_new();
    struct end a, b;

    pair(l, &a, &b);
    b.echo = true;
    stream_write_str(a.s, STR("hello"));
    stream_shutdown_write(a.s);
    until(l, &a.eof);
    assert_true(b.eof);
    assert_string_equal(a.got.p, "hello");
    spin(l, 10);
    assert_true(a.closed && b.closed && !a.code && !b.code);
    end_fini(&a);
    end_fini(&b);
    loop_free(l);
}

TEST(untaken_bytes_come_again)
{
    struct loop *l = loop_new();
    struct end a, b;

    pair(l, &a, &b);
    b.limit = 2;
    stream_write_str(a.s, STR("abcdef"));
    spin(l, 20);
    assert_string_equal(b.got.p, "ab");
    stream_resume(b.s);
    spin(l, 20);
    assert_string_equal(b.got.p, "abcd");
    stream_write_str(a.s, STR("gh"));
    b.limit = 0;
    spin(l, 20);
    assert_string_equal(b.got.p, "abcdefgh");
    end_fini(&a);
    end_fini(&b);
    loop_free(l);
}

TEST(close_flushes)
{
    struct loop *l = loop_new();
    struct end a, b;
    static char big[4 << 20];

    pair(l, &a, &b);
    stream_write(a.s, big, sizeof big);
    stream_close(a.s);
    a.s = NULL;
    until(l, &b.eof);
    assert_int_equal(b.in, sizeof big);
    end_fini(&a);
    end_fini(&b);
    loop_free(l);
}

TEST(child_like_pipes)
{
    struct loop *l = loop_new();
    struct end a;
    int in[2], out[2];

    assert_int_equal(pipe2(in, O_CLOEXEC), 0);
    assert_int_equal(pipe2(out, O_CLOEXEC), 0);
    end_init(&a);
    a.s = stream_new_fds(l, out[0], in[1], &events, &a);
    (void)close(in[0]); /* the child closed its standard input */
    stream_write_str(a.s, STR("lost"));
    spin(l, 20);
    assert_false(a.closed);
    assert_int_equal(write(out[1], "still here", 10), 10);
    (void)close(out[1]);
    until(l, &a.eof);
    assert_string_equal(a.got.p, "still here");
    end_fini(&a);
    loop_free(l);
}

TEST(connect_errors)
{
    struct loop *l = loop_new();
    struct error *err = NULL;
    struct end a;

    end_init(&a);
    assert_int_equal(stream_connect(l, &(struct stream_target){.unix_path = "/nonexistent/x.sock"},
                                    &events, &a, &a.s, NULL),
                     0);
    until(l, &a.closed);
    assert_int_equal(a.code, ENOENT);
    assert_string_equal(a.error, "dial unix /nonexistent/x.sock: no such socket");
    assert_int_equal(
        stream_connect(l, &(struct stream_target){.host = "no.such.host.invalid", .port = 1},
                       &events, &a, &a.s, &err),
        -ENOENT);
    assert_non_null(strstr(error_message(err), "no such host"));
    error_free(err);
    end_fini(&a);
    loop_free(l);
}

static void on_splice_done(struct splice *sp, const struct error *err, void *arg)
{
    *(bool *)arg = true;
}

TEST(splice)
{
    struct loop *l = loop_new();
    struct end client, front, back, server;
    static char big[4 << 20];
    bool done = false;

    pair(l, &client, &front);
    pair(l, &back, &server);
    server.echo = true;
    client.got.max = server.got.max = 8 << 20;
    stream_write(client.s, big, sizeof big);
    (void)stream_splice(TAKE(front.s), TAKE(back.s), on_splice_done, &done);
    stream_shutdown_write(client.s);
    until(l, &client.eof);
    assert_int_equal(server.in, sizeof big);
    assert_int_equal(client.in, sizeof big);
    spin(l, 10);
    assert_true(done);
    end_fini(&client);
    end_fini(&front);
    end_fini(&back);
    end_fini(&server);
    loop_free(l);
}

/* TLS */

struct pki {
    struct buf ca_key, ca, key, cert;
};

static void buf_renew(struct buf *b)
{
    buf_fini(b);
    buf_init(b, 1 << 16);
}

static void pki_ca(struct pki *p)
{
    *p = (struct pki){0};
    buf_renew(&p->ca_key);
    buf_renew(&p->ca);
    assert_int_equal(x509_key_generate(X509_KEY_ECDSA_P256, &p->ca_key, NULL), 0);
    assert_int_equal(x509_ca_create(buf_str(&p->ca_key), "ca", 3600, &p->ca, NULL), 0);
}

static void pki_issue(struct pki *p, const char *cn, unsigned usage)
{
    static const char *const ips[] = {"127.0.0.1"};
    static const char *const orgs[] = {"one", "two"};
    struct x509_sign sign = {.ca_cert_pem = buf_str(&p->ca),
                             .ca_key_pem = buf_str(&p->ca_key),
                             .usages = usage,
                             .validity_s = 3600};
    struct x509_names names = {.cn = cn, .orgs = orgs, .n_orgs = 2, .ips = ips, .n_ips = 1};

    buf_renew(&p->key);
    buf_renew(&p->cert);
    assert_int_equal(x509_key_generate(X509_KEY_ECDSA_P256, &p->key, NULL), 0);
    assert_int_equal(x509_issue(&sign, buf_str(&p->key), &names, &p->cert, NULL), 0);
}

static void pki_fini(struct pki *p)
{
    buf_fini(&p->ca_key);
    buf_fini(&p->ca);
    buf_fini(&p->key);
    buf_fini(&p->cert);
}

struct tls_fixture {
    struct loop *l;
    struct stream_listener *sl;
    struct tls_server *ts;
    struct end served;
};

static void on_accept(struct stream_listener *sl, int fd, const char *peer, void *arg)
{
    struct tls_fixture *f = arg;

    end_fini(&f->served);
    end_init(&f->served);
    f->served.echo = true;
    f->served.s = stream_new_tls(f->l, fd, f->ts, 1000, &events, &f->served);
}

static void dial(struct tls_fixture *f, struct tls_client *tc, struct end *e)
{
    struct stream_target t = {.host = "127.0.0.1", .port = stream_listener_port(f->sl), .tls = tc};

    end_init(e);
    assert_int_equal(stream_connect(f->l, &t, &events, e, &e->s, NULL), 0);
}

static void tls_setup(struct tls_fixture *f, struct pki *p)
{
    struct tls_server_config cfg = {.cert.data = buf_str(&p->cert),
                                    .key.data = buf_str(&p->key),
                                    .client_ca.data = buf_str(&p->ca)};

    *f = (struct tls_fixture){.l = loop_new()};
    end_init(&f->served);
    assert_int_equal(tls_server_new(&cfg, &f->ts, NULL), 0);
    assert_int_equal(stream_listen_tcp(f->l, "127.0.0.1", 0, on_accept, f, &f->sl, NULL), 0);
}

static void tls_teardown(struct tls_fixture *f)
{
    end_fini(&f->served);
    stream_listener_free(f->sl);
    tls_server_unref(f->ts);
    loop_free(f->l);
}

static struct tls_client *client_of(struct pki *ca, struct pki *own)
{
    struct tls_client_config cfg = {.ca.data = buf_str(&ca->ca)};
    struct tls_client *tc;

    if (own) {
        cfg.cert.data = buf_str(&own->cert);
        cfg.key.data = buf_str(&own->key);
    }
    assert_int_equal(tls_client_new(&cfg, &tc, NULL), 0);
    return tc;
}

TEST(rotation_serves_the_new_and_keeps_the_old)
{
    struct tls_server_config cfg;
    struct tls_fixture f;
    struct tls_client *tc;
    struct pki p;
    struct end old, fresh;
    struct end kept;

    pki_ca(&p);
    pki_issue(&p, "first", X509_SERVER_AUTH);
    tls_setup(&f, &p);
    tc = client_of(&p, NULL);
    dial(&f, tc, &old);
    until(f.l, &old.open);
    assert_string_equal(stream_tls_peer(old.s)->cn, "first");
    assert_true(stream_tls_peer(old.s)->verified);
    kept = f.served; /* both old ends live on */
    stream_set_events(kept.s, &events, &kept);
    end_init(&f.served);
    pki_issue(&p, "second", X509_SERVER_AUTH);
    cfg = (struct tls_server_config){.cert.data = buf_str(&p.cert), .key.data = buf_str(&p.key)};
    assert_int_equal(tls_server_reload(f.ts, &cfg, NULL), 0);
    dial(&f, tc, &fresh);
    until(f.l, &fresh.open);
    assert_string_equal(stream_tls_peer(fresh.s)->cn, "second");
    stream_write_str(old.s, STR("alive"));
    spin(f.l, 50);
    assert_string_equal(old.got.p, "alive");
    cfg.key.data = STR("nonsense");
    assert_true(tls_server_reload(f.ts, &cfg, NULL) < 0); /* and the old one stays */
    end_fini(&fresh);
    dial(&f, tc, &fresh);
    until(f.l, &fresh.open);
    assert_string_equal(stream_tls_peer(fresh.s)->cn, "second");
    end_fini(&fresh);
    end_fini(&old);
    end_fini(&kept);
    tls_client_unref(tc);
    tls_teardown(&f);
    pki_fini(&p);
}

TEST(client_certificates)
{
    struct tls_fixture f;
    struct pki p, good, other;
    struct tls_client *tc;
    struct end e;
    const struct tls_peer *peer;

    pki_ca(&p);
    pki_ca(&other);
    pki_issue(&p, "srv", X509_SERVER_AUTH);
    tls_setup(&f, &p);
    good = p;
    good.key = good.cert = (struct buf){0};
    pki_issue(&good, "system:node:a", X509_CLIENT_AUTH);
    pki_issue(&other, "system:masters", X509_CLIENT_AUTH);
    tc = client_of(&p, &good);
    dial(&f, tc, &e);
    until(f.l, &f.served.open);
    peer = stream_tls_peer(f.served.s);
    assert_non_null(peer);
    assert_true(peer->verified);
    assert_string_equal(peer->cn, "system:node:a");
    assert_int_equal(peer->orgs_n, 2);
    assert_string_equal(peer->orgs[1], "two");
    assert_string_equal(peer->ips[0], "127.0.0.1");
    assert_true(peer->not_after.ns > wall_now().ns);
    end_fini(&e);
    tls_client_unref(tc);
    tc = client_of(&p, &other); /* a stranger is let in, but known as one */
    f.served.open = false;
    dial(&f, tc, &e);
    until(f.l, &e.open);
    spin(f.l, 20);
    peer = stream_tls_peer(f.served.s);
    assert_non_null(peer);
    assert_false(peer->verified);
    assert_non_null(peer->verify_error);
    end_fini(&e);
    tls_client_unref(tc);
    tc = client_of(&p, NULL);
    dial(&f, tc, &e);
    until(f.l, &e.open);
    spin(f.l, 20);
    assert_null(stream_tls_peer(f.served.s));
    end_fini(&e);
    tls_client_unref(tc);
    tls_teardown(&f);
    buf_fini(&good.key);
    buf_fini(&good.cert);
    pki_fini(&other);
    pki_fini(&p);
}

TEST(tls_bulk_and_half_close)
{
    static char big[3 << 20];
    struct tls_fixture f;
    struct tls_client *tc;
    struct pki p;
    struct end e;

    pki_ca(&p);
    pki_issue(&p, "srv", X509_SERVER_AUTH);
    tls_setup(&f, &p);
    tc = client_of(&p, NULL);
    dial(&f, tc, &e);
    e.got.max = 8 << 20;
    stream_write(e.s, big, sizeof big); /* before it is open */
    stream_shutdown_write(e.s);
    until(f.l, &e.eof);
    assert_int_equal(e.in, sizeof big);
    end_fini(&e);
    tls_client_unref(tc);
    tls_teardown(&f);
    pki_fini(&p);
}

TEST(tls_against_plain_and_silence)
{
    struct tls_fixture f;
    struct tls_client *tc;
    struct stream_target t = {.host = "127.0.0.1"};
    struct pki p;
    struct end e;

    pki_ca(&p);
    pki_issue(&p, "srv", X509_SERVER_AUTH);
    tls_setup(&f, &p);
    end_init(&e);
    t.port = stream_listener_port(f.sl);
    assert_int_equal(stream_connect(f.l, &t, &events, &e, &e.s, NULL), 0);
    stream_write_str(e.s, STR("GET / HTTP/1.0\r\n\r\n"));
    until(f.l, &f.served.closed);
    assert_int_equal(f.served.code, EPROTO);
    assert_non_null(strstr(f.served.error, "does not speak TLS"));
    end_fini(&e);
    end_init(&e);
    tc = client_of(&p, NULL);
    assert_int_equal(stream_connect(f.l, &t, &events, &e, &e.s, NULL),
                     0); /* says nothing: handshake deadline */
    spin(f.l, 30);
    until(f.l, &f.served.closed);
    assert_int_equal(f.served.code, ETIMEDOUT);
    end_fini(&e);
    tls_client_unref(tc);
    tls_teardown(&f);
    pki_fini(&p);
}

TEST(files_changed)
{
    char dir[] = "/tmp/net-tls-XXXXXX", cert[64], key[64];
    struct tls_server_config cfg = {.cert.path = cert, .key.path = key};
    struct tls_server *ts;
    struct pki p;

    assert_non_null(mkdtemp(dir));
    (void)snprintf(cert, sizeof cert, "%s/c.pem", dir);
    (void)snprintf(key, sizeof key, "%s/k.pem", dir);
    pki_ca(&p);
    pki_issue(&p, "a", X509_SERVER_AUTH);
    assert_int_equal(file_write_atomic_nosync(cert, 0600, buf_str(&p.cert), NULL), 0);
    assert_int_equal(file_write_atomic_nosync(key, 0600, buf_str(&p.key), NULL), 0);
    assert_int_equal(tls_server_new(&cfg, &ts, NULL), 0);
    assert_false(tls_server_files_changed(ts));
    pki_issue(&p, "b", X509_SERVER_AUTH);
    assert_int_equal(file_write_atomic_nosync(cert, 0600, buf_str(&p.cert), NULL), 0);
    assert_true(tls_server_files_changed(ts));
    assert_true(tls_server_reload_files(ts, NULL) < 0); /* key does not match yet */
    assert_int_equal(file_write_atomic_nosync(key, 0600, buf_str(&p.key), NULL), 0);
    assert_int_equal(tls_server_reload_files(ts, NULL), 0);
    assert_false(tls_server_files_changed(ts));
    tls_server_unref(ts);
    pki_fini(&p);
    assert_int_equal(dir_remove_tree(dir, NULL), 0);
}
TEST_MAIN()
