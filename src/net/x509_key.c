#include "net/x509_key.h"
#include "base/sha256.h"
#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>

int x509_ssl_error(struct error **err, int code, const char *what)
{
    unsigned long e = ERR_peek_last_error();
    const char *reason = e ? ERR_reason_error_string(e) : NULL;
    ERR_clear_error();
    return error_set(err, code, "%s%s%s", what, reason ? ": " : "", reason ? reason : "");
}

int x509_bio_take(BIO *bio, struct buf *ret)
{
    char *p;
    long n = BIO_get_mem_data(bio, &p);
    int r = n > 0 ? buf_add(ret, p, (size_t)n) : -EIO;
    BIO_free(bio);
    return r;
}

BIO *x509_bio_of(struct str pem)
{
    return BIO_new_mem_buf(pem.n ? pem.p : "", pem.n > INT32_MAX ? 0 : (int)pem.n);
}

/* A key that wants a pass phrase is refused instead of asking on the terminal. */
static int no_passphrase(char *p, int n, int rw, void *arg)
{
    (void)p;
    (void)n;
    (void)rw;
    (void)arg;
    return -1;
}

EVP_PKEY *x509_read_key(struct str pem, struct error **err)
{
    BIO *bio = x509_bio_of(pem);
    EVP_PKEY *k = PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, NULL);
    BIO_free(bio);
    if (!k)
        (void)x509_ssl_error(err, EINVAL, "private key cannot be read");
    ERR_clear_error();
    return k;
}

X509 *x509_read_cert(struct str pem, struct error **err)
{
    BIO *bio = x509_bio_of(pem);
    X509 *c = PEM_read_bio_X509(bio, NULL, no_passphrase, NULL);
    BIO_free(bio);
    if (!c)
        (void)x509_ssl_error(err, EINVAL, "certificate cannot be read");
    ERR_clear_error();
    return c;
}

int x509_key_generate(enum x509_key_type type, struct buf *ret_pem, struct error **err)
{
    cleanup_pkey EVP_PKEY *k = NULL;
    switch (type) {
    case X509_KEY_ECDSA_P256:
        k = EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-256");
        break;
    case X509_KEY_RSA_2048:
        k = EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t)2048);
        break;
    }
    if (!k)
        return x509_ssl_error(err, EIO, "key generation");
    BIO *bio = BIO_new(BIO_s_secmem());
    if (!PEM_write_bio_PrivateKey(bio, k, NULL, NULL, 0, NULL, NULL)) {
        BIO_free(bio);
        return x509_ssl_error(err, EIO, "key encoding");
    }
    return x509_bio_take(bio, ret_pem);
}

/* The public key of whatever the PEM holds; owned. */
static EVP_PKEY *public_of(struct str pem, struct error **err)
{
    static const struct str marks[] = {STR("BEGIN CERTIFICATE-"), STR("PRIVATE KEY-")};
    if (pem.n && memmem(pem.p, pem.n, marks[0].p, marks[0].n)) {
        cleanup_x509 X509 *c = x509_read_cert(pem, err);
        return c ? X509_get_pubkey(c) : NULL;
    }
    if (pem.n && memmem(pem.p, pem.n, marks[1].p, marks[1].n))
        return x509_read_key(pem, err);
    BIO *bio = x509_bio_of(pem);
    EVP_PKEY *k = PEM_read_bio_PUBKEY(bio, NULL, no_passphrase, NULL);
    BIO_free(bio);
    if (!k)
        (void)x509_ssl_error(err, EINVAL, "public key cannot be read");
    ERR_clear_error();
    return k;
}

int x509_public_key(struct str pem, struct buf *ret_pem, struct error **err)
{
    cleanup_pkey EVP_PKEY *k = public_of(pem, err);
    if (!k)
        return err && *err ? -(*err)->code : -EINVAL;
    BIO *bio = BIO_new(BIO_s_mem());
    if (!PEM_write_bio_PUBKEY(bio, k)) {
        BIO_free(bio);
        return x509_ssl_error(err, EIO, "public key encoding");
    }
    return x509_bio_take(bio, ret_pem);
}

int x509_key_matches(struct str cert_pem, struct str key_pem, struct error **err)
{
    cleanup_x509 X509 *c = x509_read_cert(cert_pem, err);
    if (!c)
        return -EINVAL;
    cleanup_pkey EVP_PKEY *k = x509_read_key(key_pem, err);
    if (!k)
        return -EINVAL;
    if (X509_check_private_key(c, k) == 1)
        return 0;
    ERR_clear_error();
    return error_set(err, EKEYREJECTED, "the private key does not belong to the certificate");
}

int x509_spki_hash(struct str cert_pem, struct buf *ret, struct error **err)
{
    cleanup_pkey EVP_PKEY *k = public_of(cert_pem, err);
    if (!k)
        return -EINVAL;
    unsigned char *der = NULL;
    int n = i2d_PUBKEY(k, &der);
    if (n <= 0)
        return x509_ssl_error(err, EIO, "public key encoding");
    char hex[SHA256_HEX];
    sha256_hex(der, (size_t)n, hex);
    OPENSSL_free(der);
    return buf_printf(ret, "sha256:%s", hex);
}
