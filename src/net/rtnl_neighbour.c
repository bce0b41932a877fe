#include "net/rtnl.h"
#include <errno.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>

static int neighbour_request(struct netlink *n, uint16_t type, uint16_t flags,
                             const struct rtnl_neighbour *b, struct error **err)
{
    struct ndmsg *m;
    struct nlmsghdr *h = netlink_build(n, type, flags, sizeof(*m), &m);
    const char *verb = type == RTM_NEWNEIGH ? "set" : "delete";
    char ip[IP_TEXT], mac[MAC_TEXT];

    m->ndm_family = b->fdb ? AF_BRIDGE : b->ip.family;
    m->ndm_ifindex = b->index;
    m->ndm_state = b->state ? b->state : NUD_PERMANENT;
    m->ndm_flags = (uint8_t)(b->flags | (b->fdb ? NTF_SELF : 0));
    mnl_attr_put(h, NDA_DST, ip_bytes(&b->ip), b->ip.bytes);
    if (b->fdb || type == RTM_NEWNEIGH)
        mnl_attr_put(h, NDA_LLADDR, MAC_BYTES, b->mac);
    ip_format(&b->ip, ip);
    mac_format(b->mac, mac);
    if (b->fdb)
        return netlink_request(n, err, "%s forwarding entry %s to %s on link %d", verb, mac, ip,
                               b->index);
    return netlink_request(n, err, "%s neighbour %s at %s on link %d", verb, ip, mac, b->index);
}

int rtnl_neighbour_replace(struct netlink *n, const struct rtnl_neighbour *b, struct error **err)
{
    return neighbour_request(n, RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, b, err);
}

int rtnl_neighbour_delete(struct netlink *n, const struct rtnl_neighbour *b, struct error **err)
{
    return neighbour_request(n, RTM_DELNEIGH, 0, b, err);
}

int rtnl_neighbour_parse(const struct nlmsghdr *h, struct rtnl_neighbour *ret)
{
    const struct nlattr *t[NDA_MAX + 1];
    struct rtnl_neighbour b = {0};

    if (h->nlmsg_type != RTM_NEWNEIGH && h->nlmsg_type != RTM_DELNEIGH)
        return -EINVAL;
    if (netlink_parse(h, sizeof(struct ndmsg), t, NDA_MAX) < 0)
        return -EINVAL;
    const struct ndmsg *m = mnl_nlmsg_get_payload(h);
    b.index = m->ndm_ifindex;
    b.fdb = m->ndm_family == AF_BRIDGE;
    b.state = m->ndm_state;
    b.flags = m->ndm_flags;
    if (t[NDA_LLADDR] && mnl_attr_get_payload_len(t[NDA_LLADDR]) == MAC_BYTES)
        memcpy(b.mac, mnl_attr_get_payload(t[NDA_LLADDR]), MAC_BYTES);
    if (t[NDA_DST] && mnl_attr_get_payload_len(t[NDA_DST]) == 4)
        b.ip = ip_from_v4(mnl_attr_get_payload(t[NDA_DST]));
    else if (t[NDA_DST] && mnl_attr_get_payload_len(t[NDA_DST]) == 16)
        b.ip = ip_from_v6(mnl_attr_get_payload(t[NDA_DST]));
    *ret = b;
    return 0;
}

struct neighbour_query {
    int index;
    bool fdb;
    rtnl_neighbour_fn fn;
    void *arg;
};

static int on_neighbour(const struct nlmsghdr *h, void *arg)
{
    struct neighbour_query *q = arg;
    struct rtnl_neighbour b;

    if (rtnl_neighbour_parse(h, &b) < 0 || b.index != q->index || b.fdb != q->fdb)
        return 0;
    return q->fn(&b, q->arg);
}

int rtnl_neighbour_each(struct netlink *n, int index, bool fdb, rtnl_neighbour_fn fn, void *arg,
                        struct error **err)
{
    struct neighbour_query q = {index, fdb, fn, arg};
    struct ndmsg *m;
    struct nlmsghdr *h = netlink_build(n, RTM_GETNEIGH, NLM_F_DUMP, sizeof(*m), &m);

    m->ndm_family = fdb ? AF_BRIDGE : AF_UNSPEC;
    if (fdb)
        m->ndm_ifindex = index; /* the strict form of a forwarding dump */
    else
        mnl_attr_put_u32(h, NDA_IFINDEX, (uint32_t)index);
    return netlink_query(n, on_neighbour, &q, err, "list %s of link %d",
                         fdb ? "forwarding entries" : "neighbours", index);
}
