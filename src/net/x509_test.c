#include "net/x509.h"
#include "base/cleanup.h"
#include "base/test.h"
#include "net/jwt.h"
#include <errno.h>

static void key(enum x509_key_type t, struct buf *b)
{
    buf_init(b, 1 << 16);
    assert_int_equal(x509_key_generate(t, b, NULL), 0);
}

TEST(request_signed_and_checked)
{
    cleanup_buf struct buf ca_key, ca, k, csr, cert, other;
    key(X509_KEY_ECDSA_P256, &ca_key);
    key(X509_KEY_RSA_2048, &k);
    key(X509_KEY_ECDSA_P256, &other);
    buf_init(&ca, 1 << 16);
    buf_init(&csr, 1 << 16);
    buf_init(&cert, 1 << 16);
    assert_int_equal(x509_ca_create(buf_str(&ca_key), "test-ca", 86400, &ca, NULL), 0);
    const char *orgs[] = {"system:nodes"}, *dns[] = {"n1"}, *ips[] = {"10.0.0.1", "::1"};
    struct x509_names names = {.cn = "system:node:n1",
                               .orgs = orgs,
                               .n_orgs = 1,
                               .dns = dns,
                               .n_dns = 1,
                               .ips = ips,
                               .n_ips = 2};
    assert_int_equal(x509_csr_create(buf_str(&k), &names, &csr, NULL), 0);
    struct x509_subject s;
    assert_int_equal(x509_csr_parse(buf_str(&csr), &s, NULL), 0);
    assert_string_equal(s.cn, "system:node:n1");
    assert_int_equal(s.n_orgs, 1);
    assert_int_equal(s.n_ips, 2);
    assert_int_equal(s.n_other_names, 0);
    x509_subject_fini(&s);
    struct x509_sign sign = {.ca_cert_pem = buf_str(&ca),
                             .ca_key_pem = buf_str(&ca_key),
                             .usages = X509_CLIENT_AUTH,
                             .validity_s = 1000000};
    assert_int_equal(x509_sign_csr(&sign, buf_str(&csr), &cert, NULL), 0);
    struct x509_cert c, a;
    assert_int_equal(x509_cert_parse(buf_str(&cert), &c, NULL), 0);
    assert_int_equal(x509_cert_parse(buf_str(&ca), &a, NULL), 0);
    assert_string_equal(c.issuer_cn, "test-ca");
    assert_string_equal(c.subject.ips[1], "::1");
    assert_int_equal(c.usages, X509_CLIENT_AUTH);
    assert_false(c.is_ca);
    assert_true(a.is_ca);
    assert_int_equal(c.not_after.ns, a.not_after.ns); /* never outlives its CA */
    x509_cert_fini(&c);
    x509_cert_fini(&a);
    assert_int_equal(x509_cert_verify(buf_str(&cert), buf_str(&ca), NULL), 0);
    assert_int_equal(x509_key_matches(buf_str(&cert), buf_str(&k), NULL), 0);
    cleanup_error struct error *err = NULL;
    assert_int_equal(x509_key_matches(buf_str(&cert), buf_str(&other), &err), -EKEYREJECTED);
    cleanup_buf struct buf self;
    buf_init(&self, 1 << 16);
    assert_int_equal(x509_self_signed(buf_str(&k), &names, 86400, &self, NULL), 0);
    assert_true(x509_cert_verify(buf_str(&self), buf_str(&ca), &err) < 0);
}

TEST(refuses_nonsense)
{
    struct x509_subject s;
    struct x509_cert c;
    cleanup_error struct error *err = NULL;
    assert_true(x509_csr_parse(STR("-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n"), &s, &err) < 0);
    assert_true(x509_cert_parse(STR(""), &c, &err) < 0);
    assert_non_null(err);
}

static void jwt_with(enum x509_key_type t)
{
    cleanup_buf struct buf k, pub, token, payload, wrong;
    key(t, &k);
    key(t, &wrong);
    buf_init(&pub, 1 << 16);
    buf_init(&token, 1 << 16);
    buf_init(&payload, 1 << 16);
    assert_int_equal(x509_public_key(buf_str(&k), &pub, NULL), 0);
    assert_int_equal(jwt_sign(buf_str(&k), STR("{\"sub\":\"a\"}"), &token, NULL), 0);
    assert_int_equal(jwt_verify(buf_str(&pub), buf_str(&token), &payload, NULL), 0);
    assert_string_equal(payload.p, "{\"sub\":\"a\"}");
    cleanup_error struct error *err = NULL;
    buf_clear(&payload);
    assert_int_equal(jwt_verify(buf_str(&wrong), buf_str(&token), &payload, &err), -EACCES);
    /* the very last character also holds bits that mean nothing */
    for (size_t i = 0; i + 1 < token.n; i += 7) {
        char old = token.p[i];
        token.p[i] = old == 'A' ? 'B' : 'A';
        assert_true(jwt_verify(buf_str(&pub), buf_str(&token), &payload, &err) < 0);
        token.p[i] = old;
    }
    assert_true(jwt_verify(buf_str(&pub), STR("a.b"), &payload, &err) < 0);
    assert_true(jwt_verify(buf_str(&pub), STR(""), &payload, &err) < 0);
}

TEST(jwt_es256)
{
    jwt_with(X509_KEY_ECDSA_P256);
}
TEST(jwt_rs256)
{
    jwt_with(X509_KEY_RSA_2048);
}

TEST_MAIN()
