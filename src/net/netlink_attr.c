#include "net/netlink.h"
#include <errno.h>
#include <string.h>

static int parse_list(const char *p, size_t n, const struct nlattr **table, uint16_t max)
{
    memset(table, 0, ((size_t)max + 1) * sizeof(*table));
    while (n >= sizeof(struct nlattr)) {
        const struct nlattr *a = (const void *)p;
        if (a->nla_len < sizeof(*a) || a->nla_len > n)
            return -EINVAL;
        uint16_t type = a->nla_type & NLA_TYPE_MASK;
        if (type <= max)
            table[type] = a;
        size_t step = MNL_ALIGN(a->nla_len);
        if (step >= n)
            return 0;
        p += step;
        n -= step;
    }
    return n ? -EINVAL : 0;
}

int netlink_parse(const struct nlmsghdr *h, size_t extra, const struct nlattr **table, uint16_t max)
{
    size_t n = mnl_nlmsg_get_payload_len(h), skip = MNL_ALIGN(extra);

    if (h->nlmsg_len < MNL_NLMSG_HDRLEN || n < extra) {
        memset(table, 0, ((size_t)max + 1) * sizeof(*table));
        return -EINVAL;
    }
    return parse_list((const char *)mnl_nlmsg_get_payload(h) + skip, n > skip ? n - skip : 0, table,
                      max);
}

int netlink_parse_nested(const struct nlattr *nest, const struct nlattr **table, uint16_t max)
{
    if (!nest) {
        memset(table, 0, ((size_t)max + 1) * sizeof(*table));
        return 0;
    }
    return parse_list(mnl_attr_get_payload(nest), mnl_attr_get_payload_len(nest), table, max);
}

static bool attr_value(const struct nlattr *a, void *out, size_t n)
{
    if (!a || mnl_attr_get_payload_len(a) < n)
        return false;
    memcpy(out, mnl_attr_get_payload(a), n);
    return true;
}

uint8_t netlink_attr_u8(const struct nlattr *a, uint8_t fallback)
{
    uint8_t v;
    return attr_value(a, &v, sizeof(v)) ? v : fallback;
}

uint16_t netlink_attr_u16(const struct nlattr *a, uint16_t fallback)
{
    uint16_t v;
    return attr_value(a, &v, sizeof(v)) ? v : fallback;
}

uint32_t netlink_attr_u32(const struct nlattr *a, uint32_t fallback)
{
    uint32_t v;
    return attr_value(a, &v, sizeof(v)) ? v : fallback;
}

uint64_t netlink_attr_u64(const struct nlattr *a, uint64_t fallback)
{
    uint64_t v;
    return attr_value(a, &v, sizeof(v)) ? v : fallback;
}

void netlink_attr_text(const struct nlattr *a, char *out, size_t size)
{
    size_t n = a ? mnl_attr_get_payload_len(a) : 0;

    if (n >= size)
        n = size - 1;
    if (n) {
        n = strnlen(mnl_attr_get_payload(a), n);
        memcpy(out, mnl_attr_get_payload(a), n);
    }
    out[n] = 0;
}
