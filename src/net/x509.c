#include "net/x509.h"
#include "base/cleanup.h"
#include "base/mem.h"
#include "net/x509_key.h"
#include <arpa/inet.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>

#define SKEW_S 300

/* ---- building ---- */

static int name_fill(X509_NAME *n, const struct x509_names *names, struct error **err)
{
    bool ok = true;
    for (size_t i = 0; i < names->n_orgs; i++)
        ok = ok && X509_NAME_add_entry_by_NID(n, NID_organizationName, MBSTRING_UTF8,
                                              (const unsigned char *)names->orgs[i], -1, -1, 0);
    if (names->cn && *names->cn)
        ok = ok && X509_NAME_add_entry_by_NID(n, NID_commonName, MBSTRING_UTF8,
                                              (const unsigned char *)names->cn, -1, -1, 0);
    return ok ? 0 : x509_ssl_error(err, EINVAL, "subject name");
}

static int san_ip(GENERAL_NAMES *list, const char *text, struct error **err)
{
    unsigned char addr[16];
    int n = inet_pton(AF_INET, text, addr) == 1 ? 4 : inet_pton(AF_INET6, text, addr) == 1 ? 16 : 0;
    if (!n)
        return error_set(err, EINVAL, "\"%s\" is not an IP address", text);
    GENERAL_NAME *g = GENERAL_NAME_new();
    ASN1_OCTET_STRING *s = ASN1_OCTET_STRING_new();
    (void)ASN1_OCTET_STRING_set(s, addr, n);
    GENERAL_NAME_set0_value(g, GEN_IPADD, s);
    (void)sk_GENERAL_NAME_push(list, g);
    return 0;
}

static void san_dns(GENERAL_NAMES *list, const char *text)
{
    GENERAL_NAME *g = GENERAL_NAME_new();
    ASN1_IA5STRING *s = ASN1_IA5STRING_new();
    (void)ASN1_STRING_set(s, text, -1);
    GENERAL_NAME_set0_value(g, GEN_DNS, s);
    (void)sk_GENERAL_NAME_push(list, g);
}

/* *ret is NULL when there are no alternative names. */
static int san_make(const struct x509_names *names, GENERAL_NAMES **ret, struct error **err)
{
    *ret = NULL;
    if (!names->n_dns && !names->n_ips)
        return 0;
    GENERAL_NAMES *list = sk_GENERAL_NAME_new_null();
    for (size_t i = 0; i < names->n_dns; i++)
        san_dns(list, names->dns[i]);
    for (size_t i = 0; i < names->n_ips; i++) {
        int r = san_ip(list, names->ips[i], err);
        if (r) {
            GENERAL_NAMES_free(list);
            return r;
        }
    }
    *ret = list;
    return 0;
}

int x509_csr_create(struct str key_pem, const struct x509_names *names, struct buf *ret_pem,
                    struct error **err)
{
    cleanup_pkey EVP_PKEY *k = x509_read_key(key_pem, err);
    if (!k)
        return -EINVAL;
    X509_REQ *q = X509_REQ_new();
    GENERAL_NAMES *san = NULL;
    int r = name_fill(X509_REQ_get_subject_name(q), names, err);
    if (!r)
        r = san_make(names, &san, err);
    if (!r && san) {
        STACK_OF(X509_EXTENSION) *exts = NULL;
        (void)X509V3_add1_i2d(&exts, NID_subject_alt_name, san, 0, X509V3_ADD_DEFAULT);
        (void)X509_REQ_add_extensions(q, exts);
        sk_X509_EXTENSION_pop_free(exts, X509_EXTENSION_free);
    }
    GENERAL_NAMES_free(san);
    if (!r && (!X509_REQ_set_pubkey(q, k) || !X509_REQ_sign(q, k, EVP_sha256())))
        r = x509_ssl_error(err, EIO, "signing the request");
    if (!r) {
        BIO *bio = BIO_new(BIO_s_mem());
        (void)PEM_write_bio_X509_REQ(bio, q);
        r = x509_bio_take(bio, ret_pem);
    }
    X509_REQ_free(q);
    return r;
}

static int add_ext(X509 *c, const X509 *issuer, int nid, const char *value)
{
    X509V3_CTX ctx;
    X509V3_set_ctx(&ctx, (X509 *)(uintptr_t)issuer, c, NULL, NULL, 0);
    X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    if (!e)
        return -EINVAL;
    int ok = X509_add_ext(c, e, -1);
    X509_EXTENSION_free(e);
    return ok ? 0 : -EINVAL;
}

static int set_serial(X509 *c)
{
    unsigned char raw[16];
    if (RAND_bytes(raw, sizeof(raw)) != 1)
        return -EIO;
    raw[0] &= 0x7F;
    raw[0] |= 0x01;
    BIGNUM *bn = BN_bin2bn(raw, sizeof(raw), NULL);
    bool ok = bn && BN_to_ASN1_INTEGER(bn, X509_get_serialNumber(c));
    BN_free(bn);
    return ok ? 0 : -EIO;
}

/* Version, serial, validity, subject's key; never outlives the CA. */
static int cert_begin(X509 *c, const X509 *ca, EVP_PKEY *key, int64_t validity_s,
                      struct error **err)
{
    time_t now = (time_t)(wall_now().ns / NSEC_PER_SEC);
    if (validity_s > (int64_t)100 * 365 * 86400)
        validity_s = (int64_t)100 * 365 * 86400;
    bool ok = X509_set_version(c, X509_VERSION_3) && set_serial(c) == 0 &&
              ASN1_TIME_set(X509_getm_notBefore(c), now - SKEW_S) &&
              ASN1_TIME_set(X509_getm_notAfter(c), now + (time_t)validity_s) &&
              X509_set_pubkey(c, key);
    if (ok && ca && ASN1_TIME_compare(X509_get0_notAfter(c), X509_get0_notAfter(ca)) > 0)
        ok = X509_set1_notAfter(c, X509_get0_notAfter(ca));
    return ok ? 0 : x509_ssl_error(err, EIO, "certificate");
}

static int cert_finish(X509 *c, EVP_PKEY *signer, struct buf *ret, struct error **err)
{
    const EVP_MD *md = EVP_PKEY_is_a(signer, "ED25519") ? NULL : EVP_sha256();
    if (!X509_sign(c, signer, md))
        return x509_ssl_error(err, EIO, "signing the certificate");
    BIO *bio = BIO_new(BIO_s_mem());
    (void)PEM_write_bio_X509(bio, c);
    return x509_bio_take(bio, ret);
}

int x509_ca_create(struct str key_pem, const char *cn, int64_t validity_s, struct buf *ret_pem,
                   struct error **err)
{
    cleanup_pkey EVP_PKEY *k = x509_read_key(key_pem, err);
    if (!k)
        return -EINVAL;
    cleanup_x509 X509 *c = X509_new();
    struct x509_names names = {.cn = cn};
    int r = cert_begin(c, NULL, k, validity_s, err);
    if (!r)
        r = name_fill(X509_get_subject_name(c), &names, err);
    if (r)
        return r;
    if (!X509_set_issuer_name(c, X509_get_subject_name(c)) ||
        add_ext(c, c, NID_basic_constraints, "critical,CA:TRUE") ||
        add_ext(c, c, NID_key_usage, "critical,digitalSignature,keyEncipherment,keyCertSign") ||
        add_ext(c, c, NID_subject_key_identifier, "hash"))
        return x509_ssl_error(err, EIO, "CA extensions");
    return cert_finish(c, k, ret_pem, err);
}

static int leaf_extensions(X509 *c, const X509 *ca, EVP_PKEY *key, unsigned usages)
{
    const char *eku = usages == (X509_CLIENT_AUTH | X509_SERVER_AUTH) ? "clientAuth,serverAuth"
                      : usages == X509_SERVER_AUTH                    ? "serverAuth"
                      : usages == X509_CLIENT_AUTH                    ? "clientAuth"
                                                                      : NULL;
    bool rsa = EVP_PKEY_is_a(key, "RSA");
    int r =
        add_ext(c, ca, NID_key_usage,
                rsa ? "critical,digitalSignature,keyEncipherment" : "critical,digitalSignature");
    if (!r && eku)
        r = add_ext(c, ca, NID_ext_key_usage, eku);
    if (!r)
        r = add_ext(c, ca, NID_basic_constraints, "critical,CA:FALSE");
    if (!r && ca != c)
        r = add_ext(c, ca, NID_authority_key_identifier, "keyid");
    return r;
}

/* Issues for a public key, subject and alternative names already at hand. */
static int issue(const struct x509_sign *s, EVP_PKEY *key, const X509_NAME *subject,
                 GENERAL_NAMES *san, struct buf *ret, struct error **err)
{
    cleanup_x509 X509 *ca = x509_read_cert(s->ca_cert_pem, err);
    if (!ca)
        return error_wrap(err, "CA");
    cleanup_pkey EVP_PKEY *ca_key = x509_read_key(s->ca_key_pem, err);
    if (!ca_key)
        return error_wrap(err, "CA");
    if (X509_check_private_key(ca, ca_key) != 1) {
        ERR_clear_error();
        return error_set(err, EKEYREJECTED, "the CA's key does not belong to the CA's certificate");
    }
    cleanup_x509 X509 *c = X509_new();
    int r = cert_begin(c, ca, key, s->validity_s, err);
    if (r)
        return r;
    if (!X509_set_subject_name(c, (X509_NAME *)(uintptr_t)subject) ||
        !X509_set_issuer_name(c, X509_get_subject_name(ca)) ||
        leaf_extensions(c, ca, key, s->usages) ||
        (san && X509_add1_ext_i2d(c, NID_subject_alt_name, san, 0, X509V3_ADD_DEFAULT) != 1))
        return x509_ssl_error(err, EIO, "certificate extensions");
    return cert_finish(c, ca_key, ret, err);
}

static int issue_names(const struct x509_sign *s, EVP_PKEY *key, const struct x509_names *names,
                       struct buf *ret, struct error **err)
{
    X509_NAME *subject = X509_NAME_new();
    GENERAL_NAMES *san = NULL;
    int r = name_fill(subject, names, err);
    if (!r)
        r = san_make(names, &san, err);
    if (!r)
        r = issue(s, key, subject, san, ret, err);
    GENERAL_NAMES_free(san);
    X509_NAME_free(subject);
    return r;
}

int x509_issue(const struct x509_sign *s, struct str key_pem, const struct x509_names *names,
               struct buf *ret_pem, struct error **err)
{
    cleanup_pkey EVP_PKEY *k = x509_read_key(key_pem, err);
    return k ? issue_names(s, k, names, ret_pem, err) : -EINVAL;
}

int x509_self_signed(struct str key_pem, const struct x509_names *names, int64_t validity_s,
                     struct buf *ret_pem, struct error **err)
{
    cleanup_pkey EVP_PKEY *k = x509_read_key(key_pem, err);
    if (!k)
        return -EINVAL;
    cleanup_x509 X509 *c = X509_new();
    GENERAL_NAMES *san = NULL;
    int r = cert_begin(c, NULL, k, validity_s, err);
    if (!r)
        r = name_fill(X509_get_subject_name(c), names, err);
    if (!r)
        r = san_make(names, &san, err);
    if (r)
        return r;
    bool ok = X509_set_issuer_name(c, X509_get_subject_name(c)) &&
              leaf_extensions(c, c, k, X509_SERVER_AUTH) == 0 &&
              (!san || X509_add1_ext_i2d(c, NID_subject_alt_name, san, 0, X509V3_ADD_DEFAULT) == 1);
    GENERAL_NAMES_free(san);
    return ok ? cert_finish(c, k, ret_pem, err)
              : x509_ssl_error(err, EIO, "certificate extensions");
}

/* ---- requests from others ---- */

static X509_REQ *read_request(struct str pem, struct error **err)
{
    BIO *bio = x509_bio_of(pem);
    X509_REQ *q = PEM_read_bio_X509_REQ(bio, NULL, NULL, NULL);
    BIO_free(bio);
    if (!q) {
        (void)x509_ssl_error(err, EINVAL, "certificate request cannot be read");
        return NULL;
    }
    EVP_PKEY *k = X509_REQ_get0_pubkey(q);
    if (!k || X509_REQ_verify(q, k) != 1) {
        (void)x509_ssl_error(err, EINVAL, "certificate request is not signed by its own key");
    } else if (EVP_PKEY_get_security_bits(k) < 112) {
        (void)error_set(err, EINVAL, "the request's key is too weak (%d bits)",
                        EVP_PKEY_get_bits(k));
    } else {
        return q;
    }
    X509_REQ_free(q);
    return NULL;
}

static GENERAL_NAMES *request_names(X509_REQ *q)
{
    STACK_OF(X509_EXTENSION) *exts = X509_REQ_get_extensions(q);
    GENERAL_NAMES *san = exts ? X509V3_get_d2i(exts, NID_subject_alt_name, NULL, NULL) : NULL;
    sk_X509_EXTENSION_pop_free(exts, X509_EXTENSION_free);
    ERR_clear_error();
    return san;
}

int x509_sign_csr(const struct x509_sign *s, struct str csr_pem, struct buf *ret_pem,
                  struct error **err)
{
    X509_REQ *q = read_request(csr_pem, err);
    if (!q)
        return -EINVAL;
    GENERAL_NAMES *san = request_names(q);
    int r = issue(s, X509_REQ_get0_pubkey(q), X509_REQ_get_subject_name(q), san, ret_pem, err);
    GENERAL_NAMES_free(san);
    X509_REQ_free(q);
    return r;
}

/* ---- parsing ---- */

static void add_text(char ***v, size_t *n, char *text)
{
    *v = xreallocarray(*v, *n + 1, sizeof(char *));
    (*v)[(*n)++] = text;
}

/* Text of an ASN.1 string; NULL when it holds a NUL, which no name may. */
static char *asn1_text(const ASN1_STRING *s)
{
    unsigned char *u = NULL;
    int n = ASN1_STRING_to_UTF8(&u, s);
    char *r = n >= 0 && !memchr(u, 0, (size_t)n) ? xstrndup((char *)u, (size_t)n) : NULL;
    OPENSSL_free(u);
    ERR_clear_error();
    return r;
}

static void read_name(const X509_NAME *n, struct x509_subject *s)
{
    for (int i = 0; i < X509_NAME_entry_count(n); i++) {
        const X509_NAME_ENTRY *e = X509_NAME_get_entry(n, i);
        int nid = OBJ_obj2nid(X509_NAME_ENTRY_get_object(e));
        char *text = asn1_text(X509_NAME_ENTRY_get_data(e));
        if (text && nid == NID_organizationName) {
            add_text(&s->orgs, &s->n_orgs, TAKE(text));
        } else if (text && nid == NID_commonName) {
            free(s->cn);
            s->cn = TAKE(text);
        }
        free(text);
    }
    if (!s->cn)
        s->cn = xstrdup("");
}

static void read_names(const GENERAL_NAMES *san, struct x509_subject *s)
{
    for (int i = 0; san && i < sk_GENERAL_NAME_num(san); i++) {
        const GENERAL_NAME *g = sk_GENERAL_NAME_value(san, i);
        if (g->type == GEN_DNS) {
            char *t = asn1_text(g->d.dNSName);
            if (t)
                add_text(&s->dns, &s->n_dns, t);
            else
                s->n_other_names++;
        } else if (g->type == GEN_IPADD &&
                   (g->d.iPAddress->length == 4 || g->d.iPAddress->length == 16)) {
            char t[INET6_ADDRSTRLEN];
            int family = g->d.iPAddress->length == 4 ? AF_INET : AF_INET6;
            (void)inet_ntop(family, g->d.iPAddress->data, t, sizeof(t));
            add_text(&s->ips, &s->n_ips, xstrdup(t));
        } else {
            s->n_other_names++;
        }
    }
}

int x509_csr_parse(struct str csr_pem, struct x509_subject *ret, struct error **err)
{
    X509_REQ *q = read_request(csr_pem, err);
    if (!q)
        return -EINVAL;
    *ret = (struct x509_subject){0};
    read_name(X509_REQ_get_subject_name(q), ret);
    GENERAL_NAMES *san = request_names(q);
    read_names(san, ret);
    GENERAL_NAMES_free(san);
    X509_REQ_free(q);
    return 0;
}

static struct wall read_time(const ASN1_TIME *t)
{
    struct tm tm;
    return (struct wall){ASN1_TIME_to_tm(t, &tm) ? timegm(&tm) * NSEC_PER_SEC : 0};
}

int x509_cert_parse(struct str pem, struct x509_cert *ret, struct error **err)
{
    cleanup_x509 X509 *c = x509_read_cert(pem, err);
    if (!c)
        return -EINVAL;
    *ret = (struct x509_cert){0};
    read_name(X509_get_subject_name(c), &ret->subject);
    GENERAL_NAMES *san = X509_get_ext_d2i(c, NID_subject_alt_name, NULL, NULL);
    read_names(san, &ret->subject);
    GENERAL_NAMES_free(san);
    struct x509_subject issuer = {0};
    read_name(X509_get_issuer_name(c), &issuer);
    ret->issuer_cn = TAKE(issuer.cn);
    x509_subject_fini(&issuer);
    BIGNUM *bn = ASN1_INTEGER_to_BN(X509_get0_serialNumber(c), NULL);
    char *hex = bn ? BN_bn2hex(bn) : NULL;
    ret->serial_hex = xstrdup(hex ? hex : "");
    OPENSSL_free(hex);
    BN_free(bn);
    ret->not_before = read_time(X509_get0_notBefore(c));
    ret->not_after = read_time(X509_get0_notAfter(c));
    ret->is_ca = X509_check_ca(c) == 1;
    uint32_t xku =
        X509_get_extension_flags(c) & EXFLAG_XKUSAGE ? X509_get_extended_key_usage(c) : 0;
    ret->usages = (xku & XKU_SSL_CLIENT ? X509_CLIENT_AUTH : 0) |
                  (xku & XKU_SSL_SERVER ? X509_SERVER_AUTH : 0);
    ERR_clear_error();
    return 0;
}

int x509_cert_verify(struct str cert_pem, struct str ca_pem, struct error **err)
{
    cleanup_x509 X509 *c = x509_read_cert(cert_pem, err);
    if (!c)
        return -EINVAL;
    X509_STORE *store = X509_STORE_new();
    BIO *bio = x509_bio_of(ca_pem);
    X509 *ca;
    while ((ca = PEM_read_bio_X509(bio, NULL, NULL, NULL))) {
        (void)X509_STORE_add_cert(store, ca);
        X509_free(ca);
    }
    BIO_free(bio);
    X509_STORE_CTX *ctx = X509_STORE_CTX_new();
    int r = 0;
    if (!X509_STORE_CTX_init(ctx, store, c, NULL) || X509_verify_cert(ctx) != 1)
        r = error_set(err, EKEYREJECTED, "certificate: %s",
                      X509_verify_cert_error_string(X509_STORE_CTX_get_error(ctx)));
    X509_STORE_CTX_free(ctx);
    X509_STORE_free(store);
    ERR_clear_error();
    return r;
}

/* ---- ends ---- */

static void free_texts(char **v, size_t n)
{
    for (size_t i = 0; i < n; i++)
        free(v[i]);
    free(v);
}

void x509_subject_fini(struct x509_subject *s)
{
    free(s->cn);
    free_texts(s->orgs, s->n_orgs);
    free_texts(s->dns, s->n_dns);
    free_texts(s->ips, s->n_ips);
    *s = (struct x509_subject){0};
}

void x509_cert_fini(struct x509_cert *c)
{
    x509_subject_fini(&c->subject);
    free(c->issuer_cn);
    free(c->serial_hex);
    *c = (struct x509_cert){0};
}
