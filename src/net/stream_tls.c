#include "net/stream_private.h"
#include "base/mem.h"
#include "net/tls.h"
#include <arpa/inet.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdlib.h>

static struct error *verify_error(struct stream *s, long code)
{
    struct error *err = NULL;
    const char *why = X509_verify_cert_error_string(code);

    switch (code) {
    case X509_V_ERR_HOSTNAME_MISMATCH:
    case X509_V_ERR_IP_ADDRESS_MISMATCH:
        (void)error_set(&err, EKEYREJECTED, "%s: tls: certificate is valid for %s, not %s", s->what,
                        tls_refused_names(s->ssl), s->server_name);
        return err;
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    case X509_V_ERR_CERT_SIGNATURE_FAILURE:
        why = "certificate signed by unknown authority";
        break;
    case X509_V_ERR_CERT_HAS_EXPIRED:
        why = "certificate has expired (or the clock of this machine is ahead)";
        break;
    case X509_V_ERR_CERT_NOT_YET_VALID:
        why = "certificate is not yet valid (or the clock of this machine is behind)";
        break;
    default:
        break;
    }
    (void)error_set(&err, EKEYREJECTED, "%s: tls: %s", s->what, why);
    return err;
}

struct error *stream_tls_error(struct stream *s, int ssl_error, const char *what)
{
    struct error *err = NULL;
    unsigned long e = ERR_peek_error();
    int saved = errno, reason = ERR_GET_REASON(e);
    long verify = SSL_get_verify_result(s->ssl);
    bool unexpected_eof = reason == SSL_R_UNEXPECTED_EOF_WHILE_READING;
    const char *name = s->what ? s->what : what;

    ERR_clear_error();
    if (s->tls_client && s->state == STREAM_HANDSHAKE && verify != X509_V_OK &&
        reason == SSL_R_CERTIFICATE_VERIFY_FAILED)
        return verify_error(s, verify);
    if (unexpected_eof || (ssl_error == SSL_ERROR_SYSCALL && !e && !saved))
        (void)error_set(&err, ECONNRESET, "%s: connection closed by the peer%s", name,
                        s->state == STREAM_HANDSHAKE ? " during the TLS handshake" : "");
    else if (ssl_error == SSL_ERROR_SYSCALL && saved)
        (void)error_set_errno(&err, saved, "%s", name);
    else if (reason == SSL_R_WRONG_VERSION_NUMBER || reason == SSL_R_HTTP_REQUEST)
        (void)error_set(&err, EPROTO, "%s: tls: the peer does not speak TLS", name);
    else if (reason > SSL_AD_REASON_OFFSET)
        (void)error_set(&err, EPROTO, "%s: remote error: tls: %s", name,
                        ERR_reason_error_string(e));
    else
        (void)error_set(&err, EPROTO, "%s: tls: %s", name,
                        e && ERR_reason_error_string(e) ? ERR_reason_error_string(e)
                                                        : "protocol error");
    return err;
}

static int expect_name(struct stream *s)
{
    unsigned char ip[16];

    if (inet_pton(AF_INET, s->server_name, ip) == 1 || inet_pton(AF_INET6, s->server_name, ip) == 1)
        return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(s->ssl), s->server_name);
    if (!SSL_set_tlsext_host_name(s->ssl, s->server_name))
        return 0;
    return SSL_set1_host(s->ssl, s->server_name);
}

int stream_start_tls(struct stream *s)
{
    SSL_CTX *ctx = s->tls_client ? tls_client_ctx(s->tls_client) : tls_server_ctx(s->tls_server);

    s->ssl = SSL_new(ctx);
    if (!s->ssl)
        return -ENOMEM;
    (void)SSL_set_fd(s->ssl, s->read_fd);
    s->state = STREAM_HANDSHAKE;
    if (!s->tls_client) {
        SSL_set_accept_state(s->ssl);
        return 0;
    }
    SSL_set_connect_state(s->ssl);
    if (s->alpn_n)
        (void)SSL_set_alpn_protos(s->ssl, s->alpn, (unsigned)s->alpn_n);
    if (s->server_name && !tls_client_insecure(s->tls_client) && !expect_name(s))
        return -EINVAL;
    return 0;
}

void stream_handshake(struct stream *s)
{
    int r, e;

    ERR_clear_error();
    errno = 0;
    r = SSL_do_handshake(s->ssl);
    if (r == 1) {
        stream_opened(s);
        return;
    }
    e = SSL_get_error(s->ssl, r);
    if (e == SSL_ERROR_WANT_READ || e == SSL_ERROR_WANT_WRITE)
        return;
    stream_die(s, stream_tls_error(s, e, "tls handshake"));
}

static void on_handshake_timeout(struct loop_timer *t)
{
    struct stream *s = container_of(t, struct stream, timer);
    struct error *err = NULL;

    (void)error_set(&err, ETIMEDOUT, "tls handshake: timed out");
    stream_die(s, err);
}

struct stream *stream_new_tls(struct loop *l, int fd, struct tls_server *tls, int64_t timeout_ms,
                              const struct stream_events *ev, void *arg)
{
    struct stream *s = stream_alloc(l, ev, arg);

    s->tls_server = tls_server_ref(tls);
    stream_attach_fds(s, fd, fd);
    if (stream_start_tls(s) < 0) {
        struct error *err = NULL;

        (void)error_set(&err, ENOMEM, "tls: cannot start");
        stream_die(s, err);
        return s;
    }
    loop_timer_start(l, &s->timer, timeout_ms > 0 ? timeout_ms : 10000, on_handshake_timeout);
    stream_update_events(s);
    return s;
}

const char *stream_alpn(const struct stream *s)
{
    static char text[32];
    const unsigned char *p = NULL;
    unsigned n = 0;

    if (!s->ssl)
        return "";
    SSL_get0_alpn_selected(s->ssl, &p, &n);
    if (!n || n >= sizeof text)
        return "";
    memcpy(text, p, n);
    text[n] = 0;
    return text;
}
