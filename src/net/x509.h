/*
 * Keys, certificate requests and certificates (OpenSSL): what TLS bootstrap, the signer and the PKI
 * commands need. PEM text in, PEM text out; private keys are wiped when freed. Nothing here touches
 * files or the clock behind the caller's back: validity is counted from `wall_now()` unless said.
 */
#pragma once
#include "base/buf.h"
#include "base/error.h"
#include "base/time.h"

enum x509_key_type { X509_KEY_ECDSA_P256, X509_KEY_RSA_2048 };
struct x509_names { /* arrays are borrowed */
    const char *cn;
    const char *const *orgs;
    size_t n_orgs;
    const char *const *dns;
    size_t n_dns;
    const char *const *ips; /* textual, IPv4 or IPv6 */
    size_t n_ips;
};
/* owned counterpart, what a parse gives */
struct x509_subject {
    char *cn;
    char **orgs, **dns, **ips;
    size_t n_orgs, n_dns, n_ips;
    size_t n_other_names; /* e-mail and URI SANs, which signers must refuse */
};
enum x509_usage { X509_CLIENT_AUTH = 1u << 0, X509_SERVER_AUTH = 1u << 1 };

/* keys: PKCS#8 (EC: SEC 1 accepted on input) */
int x509_key_generate(enum x509_key_type type, struct buf *ret_pem, struct error **err);
/* Public half as PEM SubjectPublicKeyInfo, from a private key or a certificate. */
int x509_public_key(struct str pem, struct buf *ret_pem, struct error **err);

/* authority */
int x509_ca_create(struct str key_pem, const char *cn, int64_t validity_s, struct buf *ret_pem,
                   struct error **err);

/* requests */
int x509_csr_create(struct str key_pem, const struct x509_names *names, struct buf *ret_pem,
                    struct error **err);
/* Parses and checks the self-signature. */
int x509_csr_parse(struct str csr_pem, struct x509_subject *ret, struct error **err);

/* certificates */
struct x509_sign {
    struct str ca_cert_pem, ca_key_pem;
    unsigned usages;    /* enum x509_usage */
    int64_t validity_s; /* notBefore is 5 minutes ago; never past the CA's end */
};
int x509_sign_csr(const struct x509_sign *s, struct str csr_pem, struct buf *ret_pem,
                  struct error **err);
/* Key and names straight to a certificate. */
int x509_issue(const struct x509_sign *s, struct str key_pem, const struct x509_names *names,
               struct buf *ret_pem, struct error **err);
int x509_self_signed(struct str key_pem, const struct x509_names *names, int64_t validity_s,
                     struct buf *ret_pem, struct error **err);
struct x509_cert {
    struct x509_subject subject;
    char *issuer_cn;
    char *serial_hex;
    struct wall not_before, not_after;
    bool is_ca;
    unsigned usages;
};
int x509_cert_parse(struct str pem, struct x509_cert *ret,
                    struct error **err); /* the first in pem */
/* 0 when cert was issued by one of the CAs in ca_pem and is valid now. */
int x509_cert_verify(struct str cert_pem, struct str ca_pem, struct error **err);
int x509_key_matches(struct str cert_pem, struct str key_pem, struct error **err); /* 0: yes */
/* "sha256:<hex>" of the SubjectPublicKeyInfo of the first certificate: the discovery token hash. */
int x509_spki_hash(struct str cert_pem, struct buf *ret, struct error **err);

void x509_subject_fini(struct x509_subject *s);
void x509_cert_fini(struct x509_cert *c);
