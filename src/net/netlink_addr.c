#include "net/netlink_addr.h"
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>

struct ip ip_from_v4(const void *four_bytes)
{
    struct ip a = {.family = AF_INET};
    memcpy(a.bytes, four_bytes, 4);
    return a;
}

struct ip ip_from_v6(const void *sixteen_bytes)
{
    struct ip a = {.family = AF_INET6};
    memcpy(a.bytes, sixteen_bytes, 16);
    return a;
}

int ip_parse(struct str s, struct ip *ret)
{
    char z[IP_TEXT];
    struct ip a = {0};

    if (s.n == 0 || s.n >= sizeof(z) || memchr(s.p, 0, s.n))
        return -EINVAL;
    memcpy(z, s.p, s.n);
    z[s.n] = 0;
    a.family = memchr(z, ':', s.n) ? AF_INET6 : AF_INET;
    if (inet_pton(a.family, z, a.bytes) != 1)
        return -EINVAL;
    *ret = a;
    return 0;
}

void ip_format(const struct ip *a, char out[static IP_TEXT])
{
    if (!a->family || !inet_ntop(a->family, a->bytes, out, IP_TEXT))
        out[0] = 0;
}

int ipnet_parse(struct str s, struct ipnet *ret)
{
    struct str bits = s;
    struct str address = str_split(&bits, '/');
    struct ipnet n = {0};
    int64_t v;

    if (!bits.p || ip_parse(address, &n.ip) < 0 ||
        str_to_i64(bits, 0, (int64_t)ip_bytes(&n.ip) * 8, &v) < 0 ||
        (bits.n > 1 && bits.p[0] == '0'))
        return -EINVAL;
    n.bits = (uint8_t)v;
    *ret = n;
    return 0;
}

void ipnet_format(const struct ipnet *n, char out[static IPNET_TEXT])
{
    char a[IP_TEXT];

    ip_format(&n->ip, a);
    (void)snprintf(out, IPNET_TEXT, "%.46s/%u", a, (unsigned)n->bits % 1000u);
}

void ipnet_mask_bytes(const struct ipnet *n, uint8_t out[static 16])
{
    memset(out, 0, 16);
    for (unsigned i = 0; i < n->bits && i < 128; i++)
        out[i / 8] |= (uint8_t)(0x80u >> (i % 8));
}

struct ipnet ipnet_masked(const struct ipnet *n)
{
    struct ipnet r = *n;
    uint8_t mask[16];

    ipnet_mask_bytes(n, mask);
    for (size_t i = 0; i < 16; i++)
        r.ip.bytes[i] &= mask[i];
    return r;
}

bool ipnet_contains(const struct ipnet *n, const struct ip *a)
{
    struct ipnet x = {*a, n->bits};
    struct ipnet m = ipnet_masked(&x), w = ipnet_masked(n);

    return n->ip.family == a->family && memcmp(m.ip.bytes, w.ip.bytes, 16) == 0;
}

bool ipnet_equal(const struct ipnet *a, const struct ipnet *b)
{
    return a->bits == b->bits && ip_equal(&a->ip, &b->ip);
}

struct ip ipnet_host(const struct ipnet *n, uint32_t i)
{
    struct ip a = ipnet_masked(n).ip;
    size_t last = ip_bytes(&a);
    uint64_t carry = i;

    for (size_t k = 0; k < 4; k++) {
        carry += a.bytes[last - 1 - k];
        a.bytes[last - 1 - k] = (uint8_t)carry;
        carry >>= 8;
    }
    return a;
}
