/* SHA-1 (FIPS 180-4), for the WebSocket handshake only, which asks for it by name. */
#pragma once
#include <stddef.h>
#define SHA1_BYTES 20
void sha1(const void *p, size_t n, unsigned char out[static SHA1_BYTES]);
