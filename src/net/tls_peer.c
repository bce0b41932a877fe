#include "net/tls.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/mem.h"
#include <arpa/inet.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdlib.h>

/* The identity and its strings share one arena, which follows it. */
struct peer_box {
    struct tls_peer peer;
    struct arena arena;
};

/* Text of a name entry; a NUL inside makes it unusable, so it becomes "". */
static const char *entry_text(struct arena *a, const X509_NAME_ENTRY *e)
{
    unsigned char *utf8 = NULL;
    int n = ASN1_STRING_to_UTF8(&utf8, X509_NAME_ENTRY_get_data(e));
    const char *ret = "";

    if (n > 0 && !memchr(utf8, 0, (size_t)n))
        ret = arena_strndup(a, (const char *)utf8, (size_t)n);
    OPENSSL_free(utf8);
    return ret;
}

static const char *name_cn(struct arena *a, const X509_NAME *name)
{
    int i = X509_NAME_get_index_by_NID(name, NID_commonName, -1);

    return i < 0 ? "" : entry_text(a, X509_NAME_get_entry(name, i));
}

static void read_orgs(struct peer_box *b, const X509_NAME *name)
{
    int count = X509_NAME_entry_count(name);
    const char **orgs = arena_zalloc(&b->arena, sizeof *orgs * (size_t)(count + 1));

    for (int i = -1; (i = X509_NAME_get_index_by_NID(name, NID_organizationName, i)) >= 0;)
        orgs[b->peer.orgs_n++] = entry_text(&b->arena, X509_NAME_get_entry(name, i));
    b->peer.orgs = orgs;
}

static const char *ip_text(struct arena *a, const ASN1_OCTET_STRING *ip)
{
    char text[INET6_ADDRSTRLEN];
    int n = ASN1_STRING_length(ip), family = n == 4 ? AF_INET : AF_INET6;

    if ((n != 4 && n != 16) || !inet_ntop(family, ASN1_STRING_get0_data(ip), text, sizeof text))
        return NULL;
    return arena_strdup(a, text);
}

static void read_sans(struct peer_box *b, X509 *cert)
{
    GENERAL_NAMES *names = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
    int n = names ? sk_GENERAL_NAME_num(names) : 0;
    const char **dns = arena_zalloc(&b->arena, sizeof *dns * (size_t)(n + 1));
    const char **ips = arena_zalloc(&b->arena, sizeof *ips * (size_t)(n + 1));

    for (int i = 0; i < n; i++) {
        const GENERAL_NAME *g = sk_GENERAL_NAME_value(names, i);

        if (g->type == GEN_DNS) {
            const char *p = (const char *)ASN1_STRING_get0_data(g->d.dNSName);
            size_t len = (size_t)ASN1_STRING_length(g->d.dNSName);

            if (!memchr(p, 0, len))
                dns[b->peer.dns_names_n++] = arena_strndup(&b->arena, p, len);
        } else if (g->type == GEN_IPADD) {
            const char *text = ip_text(&b->arena, g->d.iPAddress);

            if (text)
                ips[b->peer.ips_n++] = text;
        }
    }
    b->peer.dns_names = dns;
    b->peer.ips = ips;
    GENERAL_NAMES_free(names);
}

static struct wall asn1_wall(const ASN1_TIME *t)
{
    struct tm tm;

    if (!t || !ASN1_TIME_to_tm(t, &tm))
        return (struct wall){0};
    return (struct wall){(int64_t)timegm(&tm) * NSEC_PER_SEC};
}

static void read_der(struct peer_box *b, X509 *cert)
{
    unsigned char digest[EVP_MAX_MD_SIZE], *p;
    unsigned n = 0;
    int len = i2d_X509(cert, NULL);

    if (len <= 0)
        return;
    p = arena_alloc(&b->arena, (size_t)len);
    b->peer.der = (struct str){(const char *)p, (size_t)len};
    (void)i2d_X509(cert, &p);
    if (X509_digest(cert, EVP_sha256(), digest, &n) == 1)
        for (unsigned i = 0; i < n && i < 32; i++) {
            b->peer.sha256[2 * i] = "0123456789abcdef"[digest[i] >> 4];
            b->peer.sha256[2 * i + 1] = "0123456789abcdef"[digest[i] & 15];
        }
}

struct tls_peer *tls_peer_from_x509(X509 *cert)
{
    struct peer_box *b = xcalloc(1, sizeof *b);
    const X509_NAME *subject = X509_get_subject_name(cert);
    BIGNUM *bn = ASN1_INTEGER_to_BN(X509_get0_serialNumber(cert), NULL);
    char *hex = bn ? BN_bn2hex(bn) : NULL;

    arena_init(&b->arena, 2048);
    b->peer.cn = name_cn(&b->arena, subject);
    b->peer.issuer_cn = name_cn(&b->arena, X509_get_issuer_name(cert));
    b->peer.serial = arena_strdup(&b->arena, strna(hex));
    b->peer.not_before = asn1_wall(X509_get0_notBefore(cert));
    b->peer.not_after = asn1_wall(X509_get0_notAfter(cert));
    read_orgs(b, subject);
    read_sans(b, cert);
    read_der(b, cert);
    OPENSSL_free(hex);
    BN_free(bn);
    ERR_clear_error();
    return &b->peer;
}

int tls_peer_from_pem(struct str pem, struct tls_peer **ret, struct error **err)
{
    BIO *bio = BIO_new_mem_buf(pem.p ? pem.p : "", (int)pem.n);
    X509 *cert = bio ? PEM_read_bio_X509(bio, NULL, NULL, NULL) : NULL;

    BIO_free(bio);
    ERR_clear_error();
    if (!cert)
        return error_set(err, EINVAL, "not a PEM certificate");
    *ret = tls_peer_from_x509(cert);
    X509_free(cert);
    return 0;
}

void tls_peer_free(struct tls_peer *p)
{
    struct peer_box *b;

    if (!p)
        return;
    b = container_of(p, struct peer_box, peer);
    arena_fini(&b->arena);
    free(b);
}

char *tls_peer_pem(const struct tls_peer *p)
{
    struct buf b64, out;

    buf_init(&b64, BUF_UNBOUNDED);
    buf_init(&out, BUF_UNBOUNDED);
    (void)buf_add_base64(&b64, p->der.p, p->der.n);
    (void)buf_add_z(&out, "-----BEGIN CERTIFICATE-----\n");
    for (size_t i = 0; i < b64.n; i += 64) {
        (void)buf_add(&out, b64.p + i, b64.n - i < 64 ? b64.n - i : 64);
        (void)buf_add_char(&out, '\n');
    }
    (void)buf_add_z(&out, "-----END CERTIFICATE-----\n");
    buf_fini(&b64);
    return buf_take(&out);
}
