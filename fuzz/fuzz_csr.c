#include "net/jwt.h"
#include "net/x509.h"
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct str text = {(const char *)data, n};
    struct x509_subject s;
    if (x509_csr_parse(text, &s, NULL) == 0)
        x509_subject_fini(&s);
    struct x509_cert c;
    if (x509_cert_parse(text, &c, NULL) == 0)
        x509_cert_fini(&c);
    struct buf payload;
    buf_init(&payload, JWT_BYTES_MAX);
    static const char key[] = "-----BEGIN PUBLIC KEY-----\n"
                              "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEDNL+whdUZmg/Kct1pK2hK+YKUr5Y\n"
                              "LgsJj/jZw2pOXnGSltxzbNaalyk4RNX2CHYJuMTm/VAX7Y+2GSDUIsyFQQ==\n"
                              "-----END PUBLIC KEY-----\n";
    (void)jwt_verify(STR(key), text, &payload, NULL);
    buf_fini(&payload);
    return 0;
}
