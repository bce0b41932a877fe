/* OpenSSL objects behind x509.h; private to src/net. */
#pragma once
#include "net/x509.h"
#include <openssl/evp.h>
#include <openssl/x509.h>

/* Reads a private key from PEM; NULL and *err on failure. */
EVP_PKEY *x509_read_key(struct str pem, struct error **err);
X509 *x509_read_cert(struct str pem, struct error **err);
/* "what: <OpenSSL's reason>"; clears the error queue. */
int x509_ssl_error(struct error **err, int code, const char *what);
int x509_bio_take(BIO *bio, struct buf *ret); /* appends what the memory BIO holds; frees it */
BIO *x509_bio_of(struct str pem);

static inline void cleanup_pkeyp(EVP_PKEY **k)
{
    EVP_PKEY_free(*k);
}
static inline void cleanup_x509p(X509 **c)
{
    X509_free(*c);
}
#define cleanup_pkey __attribute__((cleanup(cleanup_pkeyp)))
#define cleanup_x509 __attribute__((cleanup(cleanup_x509p)))
