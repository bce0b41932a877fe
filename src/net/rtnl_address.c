#include "net/rtnl.h"
#include <errno.h>
#include <linux/rtnetlink.h>

static int address_request(struct netlink *n, uint16_t type, uint16_t flags,
                           const struct rtnl_address *a, struct error **err)
{
    struct ifaddrmsg *m;
    struct nlmsghdr *h = netlink_build(n, type, flags, sizeof(*m), &m);
    char text[IPNET_TEXT];

    m->ifa_family = a->net.ip.family;
    m->ifa_prefixlen = a->net.bits;
    m->ifa_scope = a->scope;
    m->ifa_index = (uint32_t)a->index;
    mnl_attr_put(h, IFA_LOCAL, ip_bytes(&a->net.ip), a->net.ip.bytes);
    mnl_attr_put(h, IFA_ADDRESS, ip_bytes(&a->net.ip),
                 a->peer.family ? a->peer.bytes : a->net.ip.bytes);
    if (a->net.ip.family == AF_INET && a->net.bits < 31 && !a->peer.family && type == RTM_NEWADDR) {
        struct ip broadcast = ipnet_host(&a->net, (uint32_t)((1ull << (32 - a->net.bits)) - 1));
        mnl_attr_put(h, IFA_BROADCAST, 4, broadcast.bytes);
    }
    if (a->flags)
        mnl_attr_put_u32(h, IFA_FLAGS, a->flags);
    ipnet_format(&a->net, text);
    return netlink_request(n, err, "%s address %s on link %d",
                           type == RTM_NEWADDR ? "add" : "delete", text, a->index);
}

int rtnl_address_add(struct netlink *n, const struct rtnl_address *a, struct error **err)
{
    return address_request(n, RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, a, err);
}

int rtnl_address_delete(struct netlink *n, const struct rtnl_address *a, struct error **err)
{
    return address_request(n, RTM_DELADDR, 0, a, err);
}

static bool attr_ip(const struct nlattr *a, uint8_t family, struct ip *ret)
{
    if (a && family == AF_INET && mnl_attr_get_payload_len(a) >= 4)
        *ret = ip_from_v4(mnl_attr_get_payload(a));
    else if (a && family == AF_INET6 && mnl_attr_get_payload_len(a) >= 16)
        *ret = ip_from_v6(mnl_attr_get_payload(a));
    else
        return false;
    return true;
}

int rtnl_address_parse(const struct nlmsghdr *h, struct rtnl_address *ret)
{
    const struct nlattr *t[IFA_MAX + 1];
    struct rtnl_address a = {0};
    struct ip peer;

    if (h->nlmsg_type != RTM_NEWADDR && h->nlmsg_type != RTM_DELADDR)
        return -EINVAL;
    if (netlink_parse(h, sizeof(struct ifaddrmsg), t, IFA_MAX) < 0)
        return -EINVAL;
    const struct ifaddrmsg *m = mnl_nlmsg_get_payload(h);
    a.index = (int)m->ifa_index;
    a.net.bits = m->ifa_prefixlen;
    a.scope = m->ifa_scope;
    a.flags = netlink_attr_u32(t[IFA_FLAGS], m->ifa_flags);
    if (!attr_ip(t[IFA_LOCAL] ? t[IFA_LOCAL] : t[IFA_ADDRESS], m->ifa_family, &a.net.ip) ||
        a.net.bits > ip_bytes(&a.net.ip) * 8)
        return -EINVAL;
    if (t[IFA_LOCAL] && attr_ip(t[IFA_ADDRESS], m->ifa_family, &peer) &&
        !ip_equal(&peer, &a.net.ip))
        a.peer = peer;
    *ret = a;
    return 0;
}

struct address_query {
    int index;
    rtnl_address_fn fn;
    void *arg;
};

static int on_address(const struct nlmsghdr *h, void *arg)
{
    struct address_query *q = arg;
    struct rtnl_address a;

    if (rtnl_address_parse(h, &a) < 0 || (q->index && a.index != q->index))
        return 0;
    return q->fn(&a, q->arg);
}

int rtnl_address_each(struct netlink *n, int index, int family, rtnl_address_fn fn, void *arg,
                      struct error **err)
{
    struct address_query q = {index, fn, arg};
    struct ifaddrmsg *m;

    (void)netlink_build(n, RTM_GETADDR, NLM_F_DUMP, sizeof(*m), &m);
    m->ifa_family = (uint8_t)family;
    m->ifa_index = (uint32_t)index;
    return netlink_query(n, on_address, &q, err, "list addresses");
}
