#include "server/admission/allocator.h"
#include "base/mem.h"
#include "base/random.h"
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

int ipv4_parse(const char *z, uint32_t *ret)
{
    struct in_addr a;

    if (inet_pton(AF_INET, z, &a) != 1)
        return -EINVAL;
    *ret = ntohl(a.s_addr);
    return 0;
}

void ipv4_format(uint32_t ip, char out[static IPV4_TEXT])
{
    (void)snprintf(out, IPV4_TEXT, "%u.%u.%u.%u", ip >> 24, ip >> 16 & 255, ip >> 8 & 255,
                   ip & 255);
}

int cidr4_parse(const char *z, uint32_t *ret_base, unsigned *ret_prefix)
{
    struct str rest = str_of(z), ip = str_split(&rest, '/');
    char text[IPV4_TEXT];
    uint64_t prefix;
    uint32_t base;

    if (!rest.p || ip.n >= sizeof(text) || str_to_u64(rest, 32, &prefix) < 0)
        return -EINVAL;
    memcpy(text, ip.p, ip.n);
    text[ip.n] = '\0';
    if (ipv4_parse(text, &base) < 0)
        return -EINVAL;
    *ret_base = prefix ? base & (uint32_t)(~0ULL << (32 - prefix)) : 0;
    *ret_prefix = (unsigned)prefix;
    return 0;
}

static void setup(struct allocator *a, uint32_t base, uint32_t n)
{
    uint32_t band = n / 16;

    if (band < 16)
        band = 16;
    if (band > 256)
        band = 256;
    *a = (struct allocator){.base = base, .n = n, .high = band < n ? band : 0};
    a->bits = xcalloc(n / 8 + 1, 1);
}

int allocator_init_cidr(struct allocator *a, const char *cidr, struct error **err)
{
    unsigned prefix;
    uint32_t base;

    if (cidr4_parse(cidr, &base, &prefix) < 0 || prefix < 12 || prefix > 30)
        return error_set(err, EINVAL, "service CIDR %s: an IPv4 network from /12 to /30 is wanted",
                         cidr);
    setup(a, base, (1u << (32 - prefix)) - 1);
    a->bits[0] |= 1; /* the network address */
    a->used = 1;
    a->low = 1;
    return 0;
}

void allocator_init_range(struct allocator *a, uint32_t first, uint32_t last)
{
    setup(a, first, last - first + 1);
}

void allocator_fini(struct allocator *a)
{
    free(a->bits);
    *a = (struct allocator){0};
}

void allocator_clear(struct allocator *a)
{
    memset(a->bits, 0, a->n / 8 + 1);
    a->used = a->low;
    if (a->low)
        a->bits[0] |= 1;
}

bool allocator_contains(const struct allocator *a, uint32_t value)
{
    return value >= a->base + a->low && value - a->base < a->n;
}

bool allocator_taken(const struct allocator *a, uint32_t value)
{
    uint32_t i = value - a->base;

    return allocator_contains(a, value) && (a->bits[i / 8] >> (i % 8) & 1);
}

bool allocator_take(struct allocator *a, uint32_t value)
{
    uint32_t i = value - a->base;

    if (!allocator_contains(a, value) || allocator_taken(a, value))
        return false;
    a->bits[i / 8] |= (unsigned char)(1u << (i % 8));
    a->used++;
    return true;
}

void allocator_give(struct allocator *a, uint32_t value)
{
    uint32_t i = value - a->base;

    if (!allocator_taken(a, value))
        return;
    a->bits[i / 8] &= (unsigned char)~(1u << (i % 8));
    a->used--;
}

static bool next_between(struct allocator *a, uint32_t from, uint32_t to, uint32_t *ret)
{
    uint32_t n = to - from, start;

    if (n == 0)
        return false;
    start = (uint32_t)random_below(n);
    for (uint32_t k = 0; k < n; k++) {
        uint32_t value = a->base + from + (start + k) % n;

        if (!allocator_take(a, value))
            continue;
        *ret = value;
        return true;
    }
    return false;
}

bool allocator_next(struct allocator *a, uint32_t *ret)
{
    return a->used < a->n &&
           (next_between(a, a->high, a->n, ret) || next_between(a, 0, a->high, ret));
}
