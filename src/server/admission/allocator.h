/*
 * Service addresses and node ports: a bitmap each, filled from the Services that exist. A slot that
 * is taken in vain (an update gave it up, a creation failed) is found again by a recount when the
 * bitmap says no; the Services are the truth.
 */
#pragma once
#include "base/error.h"
#include "base/str.h"
#include <stdbool.h>
#include <stdint.h>

struct allocator {
    uint32_t base;      /* first value: an IPv4 address in host order, or a port */
    uint32_t n;         /* values base .. base + n - 1 */
    uint32_t low, high; /* dynamic choice: from base+high upward first, never below base+low */
    unsigned char *bits;
    uint32_t used;
};
/* "10.254.0.0/16": network and broadcast address are never given. */
int allocator_init_cidr(struct allocator *a, const char *cidr, struct error **err);
void allocator_init_range(struct allocator *a, uint32_t first, uint32_t last);
void allocator_fini(struct allocator *a);
void allocator_clear(struct allocator *a);
bool allocator_contains(const struct allocator *a, uint32_t value);
bool allocator_taken(const struct allocator *a, uint32_t value);
bool allocator_take(struct allocator *a, uint32_t value); /* false: taken already or outside */
void allocator_give(struct allocator *a, uint32_t value);
bool allocator_next(struct allocator *a, uint32_t *ret); /* takes a free one; false when full */
int ipv4_parse(const char *z, uint32_t *ret);            /* -EINVAL */
#define IPV4_TEXT 16
void ipv4_format(uint32_t ip, char out[static IPV4_TEXT]);
int cidr4_parse(const char *z, uint32_t *ret_base, unsigned *ret_prefix); /* -EINVAL */
