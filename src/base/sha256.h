/* SHA-256 for code that must not pull in OpenSSL; FIPS 180-4. */
#pragma once
#include <stddef.h>
#include <stdint.h>
#define SHA256_BYTES 32
#define SHA256_HEX 65
struct sha256 {
    uint32_t h[8];
    uint64_t total;
    unsigned char block[64];
};
void sha256_init(struct sha256 *s);
void sha256_update(struct sha256 *s, const void *p, size_t n);
void sha256_final(struct sha256 *s, unsigned char out[static SHA256_BYTES]);
void sha256_hex(const void *p, size_t n, char out[static SHA256_HEX]);
