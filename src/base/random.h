/* Randomness from getrandom(2). */
#pragma once
#include <stddef.h>
#include <stdint.h>
void random_bytes(void *p, size_t n);
uint64_t random_u64(void);
uint64_t random_below(uint64_t n); /* uniform in [0,n); n > 0 */
/* Kubernetes' name suffix alphabet (no vowels); out gets n characters and NUL. */
void random_suffix(char *out, size_t n);
#define UUID_TEXT 37
void random_uuid(char out[static UUID_TEXT]); /* version 4 */
