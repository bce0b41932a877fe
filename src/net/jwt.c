#include "net/jwt.h"
#include "base/cleanup.h"
#include "base/mem.h"
#include "base/sha256.h"
#include "net/x509_key.h"
#include <errno.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/pem.h>

#define ES256_BYTES 64

static EVP_PKEY *read_public(struct str pem, struct error **err)
{
    cleanup_buf struct buf b;
    buf_init(&b, JWT_BYTES_MAX);
    if (x509_public_key(pem, &b, err))
        return NULL;
    BIO *bio = x509_bio_of(buf_str(&b));
    EVP_PKEY *k = PEM_read_bio_PUBKEY(bio, NULL, NULL, NULL);
    BIO_free(bio);
    return k;
}

static const char *algorithm(const EVP_PKEY *k)
{
    if (EVP_PKEY_is_a(k, "RSA"))
        return "RS256";
    return EVP_PKEY_is_a(k, "EC") && EVP_PKEY_get_bits(k) == 256 ? "ES256" : NULL;
}

int jwt_key_id(struct str key_pem, struct buf *ret, struct error **err)
{
    cleanup_pkey EVP_PKEY *k = read_public(key_pem, err);
    if (!k)
        return -EINVAL;
    unsigned char *der = NULL, hash[SHA256_BYTES];
    int n = i2d_PUBKEY(k, &der);
    if (n <= 0)
        return x509_ssl_error(err, EIO, "public key encoding");
    struct sha256 s;
    sha256_init(&s);
    sha256_update(&s, der, (size_t)n);
    sha256_final(&s, hash);
    OPENSSL_free(der);
    return buf_add_base64url(ret, hash, sizeof(hash));
}

/* JWS wants r and s side by side, OpenSSL speaks DER. */
static int ecdsa_to_raw(const unsigned char *der, size_t n, unsigned char raw[static ES256_BYTES])
{
    ECDSA_SIG *sig = d2i_ECDSA_SIG(NULL, &der, (long)n);
    if (!sig)
        return -EINVAL;
    int ok = BN_bn2binpad(ECDSA_SIG_get0_r(sig), raw, 32) == 32 &&
             BN_bn2binpad(ECDSA_SIG_get0_s(sig), raw + 32, 32) == 32;
    ECDSA_SIG_free(sig);
    return ok ? 0 : -EINVAL;
}

static int ecdsa_to_der(const unsigned char raw[static ES256_BYTES], unsigned char **ret)
{
    ECDSA_SIG *sig = ECDSA_SIG_new();
    (void)ECDSA_SIG_set0(sig, BN_bin2bn(raw, 32, NULL), BN_bin2bn(raw + 32, 32, NULL));
    int n = i2d_ECDSA_SIG(sig, ret);
    ECDSA_SIG_free(sig);
    return n;
}

static int sign(EVP_PKEY *k, struct str text, struct buf *ret)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    size_t n = 0;
    int r = -EIO;
    if (EVP_DigestSignInit(ctx, NULL, EVP_sha256(), NULL, k) == 1 &&
        EVP_DigestSign(ctx, NULL, &n, (const unsigned char *)text.p, text.n) == 1) {
        cleanup_free unsigned char *sig = xmalloc(n);
        unsigned char raw[ES256_BYTES];
        if (EVP_DigestSign(ctx, sig, &n, (const unsigned char *)text.p, text.n) == 1) {
            if (EVP_PKEY_is_a(k, "RSA"))
                r = buf_add_base64url(ret, sig, n);
            else if (ecdsa_to_raw(sig, n, raw) == 0)
                r = buf_add_base64url(ret, raw, sizeof(raw));
        }
    }
    EVP_MD_CTX_free(ctx);
    return r;
}

int jwt_sign(struct str private_key_pem, struct str payload_json, struct buf *ret_token,
             struct error **err)
{
    cleanup_pkey EVP_PKEY *k = x509_read_key(private_key_pem, err);
    if (!k)
        return -EINVAL;
    const char *alg = algorithm(k);
    if (!alg)
        return error_set(err, ENOTSUP, "token key is neither RSA nor ECDSA P-256");
    cleanup_buf struct buf kid, header, text;
    buf_init(&kid, 256);
    buf_init(&header, 1024);
    buf_init(&text, JWT_BYTES_MAX);
    int r = jwt_key_id(private_key_pem, &kid, err);
    if (r)
        return r;
    (void)buf_printf(&header, "{\"alg\":\"%s\",\"kid\":\"%s\"}", alg, kid.p);
    (void)buf_add_base64url(&text, header.p, header.n);
    (void)buf_add_char(&text, '.');
    (void)buf_add_base64url(&text, payload_json.p, payload_json.n);
    if (text.overflowed)
        return error_set(err, EMSGSIZE, "token is too large");
    (void)buf_add_str(ret_token, buf_str(&text));
    (void)buf_add_char(ret_token, '.');
    r = sign(k, buf_str(&text), ret_token);
    return r ? x509_ssl_error(err, EIO, "signing the token") : 0;
}

static bool signature_ok(EVP_PKEY *k, struct str text, struct str sig)
{
    unsigned char *der = NULL;
    const unsigned char *p = (const unsigned char *)sig.p;
    size_t n = sig.n;
    if (!EVP_PKEY_is_a(k, "RSA")) {
        if (sig.n != ES256_BYTES)
            return false;
        int len = ecdsa_to_der(p, &der);
        if (len <= 0)
            return false;
        p = der;
        n = (size_t)len;
    }
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool ok = EVP_DigestVerifyInit(ctx, NULL, EVP_sha256(), NULL, k) == 1 &&
              EVP_DigestVerify(ctx, p, n, (const unsigned char *)text.p, text.n) == 1;
    EVP_MD_CTX_free(ctx);
    OPENSSL_free(der);
    ERR_clear_error();
    return ok;
}

int jwt_verify(struct str public_key_pem, struct str token, struct buf *ret_payload,
               struct error **err)
{
    struct str rest = token;
    struct str header = str_split(&rest, '.'), payload = str_split(&rest, '.'), sig = rest;
    if (token.n > JWT_BYTES_MAX || !header.n || !payload.n || !sig.n || memchr(sig.p, '.', sig.n))
        return error_set(err, EINVAL, "not a token");
    cleanup_pkey EVP_PKEY *k = read_public(public_key_pem, err);
    if (!k)
        return -EINVAL;
    const char *alg = algorithm(k);
    cleanup_buf struct buf head, raw;
    buf_init(&head, JWT_BYTES_MAX);
    buf_init(&raw, JWT_BYTES_MAX);
    if (!alg || buf_add_base64_decoded(&head, header) < 0 || buf_add_base64_decoded(&raw, sig) < 0)
        return error_set(err, EINVAL, "not a token");
    cleanup_free char *want = xasprintf("\"%s\"", alg);
    if (!head.n || !memmem(head.p, head.n, want, strlen(want)))
        return error_set(err, EACCES, "token is signed with another algorithm");
    struct str text = {token.p, (size_t)(payload.p + payload.n - token.p)};
    if (!signature_ok(k, text, buf_str(&raw)))
        return error_set(err, EACCES, "token's signature does not match");
    return buf_add_base64_decoded(ret_payload, payload) < 0 ? error_set(err, EINVAL, "not a token")
                                                            : 0;
}
