/* IP addresses and prefixes in binary: parse, print, mask, compare. No I/O. */
#pragma once
#include "base/str.h"
#include <netinet/in.h>

struct ip {
    uint8_t family;    /* AF_INET, AF_INET6, or 0: none */
    uint8_t bytes[16]; /* network order; the first 4 for AF_INET, the rest zero */
};
struct ipnet {
    struct ip ip;
    uint8_t bits;
};
#define IP_TEXT 48
#define IPNET_TEXT 52
static inline size_t ip_bytes(const struct ip *a)
{
    return a->family == AF_INET6 ? 16 : 4;
}
static inline bool ip_equal(const struct ip *a, const struct ip *b)
{
    return a->family == b->family && memcmp(a->bytes, b->bytes, 16) == 0;
}
struct ip ip_from_v4(const void *four_bytes);
struct ip ip_from_v6(const void *sixteen_bytes);
int ip_parse(struct str s, struct ip *ret); /* -EINVAL; no zone, no leading zeros */
void ip_format(const struct ip *a, char out[static IP_TEXT]);
/* "172.30.0.0/16"; host bits are kept (ipnet_masked clears them). A bare address is refused. */
int ipnet_parse(struct str s, struct ipnet *ret);
void ipnet_format(const struct ipnet *n, char out[static IPNET_TEXT]);
struct ipnet ipnet_masked(const struct ipnet *n);
bool ipnet_contains(const struct ipnet *n, const struct ip *a);
bool ipnet_equal(const struct ipnet *a, const struct ipnet *b);
void ipnet_mask_bytes(const struct ipnet *n, uint8_t out[static 16]);
/* The n-th address of the prefix (0: the network itself); n up to 2^32. */
struct ip ipnet_host(const struct ipnet *n, uint32_t i);
