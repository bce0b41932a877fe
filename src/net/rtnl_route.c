#include "net/rtnl.h"
#include <errno.h>
#include <linux/rtnetlink.h>

static void put_ip(struct nlmsghdr *h, uint16_t type, const struct ip *a)
{
    if (a->family)
        mnl_attr_put(h, type, ip_bytes(a), a->bytes);
}

static int route_request(struct netlink *n, uint16_t type, uint16_t flags,
                         const struct rtnl_route *r, const char *verb, struct error **err)
{
    struct rtmsg *m;
    struct nlmsghdr *h = netlink_build(n, type, flags, sizeof(*m), &m);
    bool deleting = type == RTM_DELROUTE;
    char text[IPNET_TEXT];

    m->rtm_family = r->dst.ip.family;
    m->rtm_dst_len = r->dst.bits;
    m->rtm_protocol = r->protocol ? r->protocol : (deleting ? 0 : RTNL_PROTO_SKIFF);
    m->rtm_type = r->type ? r->type : (deleting ? 0 : RTN_UNICAST);
    m->rtm_scope = r->scope;
    if (!r->scope && deleting)
        m->rtm_scope = RT_SCOPE_NOWHERE;
    else if (!r->scope && !r->gateway.family && r->dst.ip.family == AF_INET &&
             m->rtm_type == RTN_UNICAST)
        m->rtm_scope = RT_SCOPE_LINK;
    m->rtm_table =
        r->table ? (r->table < 256 ? (unsigned char)r->table : RT_TABLE_UNSPEC) : RT_TABLE_MAIN;
    if (r->table >= 256)
        mnl_attr_put_u32(h, RTA_TABLE, r->table);
    if (r->onlink)
        m->rtm_flags |= RTNH_F_ONLINK;
    if (r->dst.bits)
        put_ip(h, RTA_DST, &r->dst.ip);
    put_ip(h, RTA_GATEWAY, &r->gateway);
    put_ip(h, RTA_PREFSRC, &r->source);
    if (r->oif)
        mnl_attr_put_u32(h, RTA_OIF, (uint32_t)r->oif);
    if (r->metric)
        mnl_attr_put_u32(h, RTA_PRIORITY, r->metric);
    ipnet_format(&r->dst, text);
    return netlink_request(n, err, "%s route to %s", verb, text);
}

int rtnl_route_add(struct netlink *n, const struct rtnl_route *r, struct error **err)
{
    return route_request(n, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, r, "add", err);
}

int rtnl_route_replace(struct netlink *n, const struct rtnl_route *r, struct error **err)
{
    return route_request(n, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, r, "set", err);
}

int rtnl_route_delete(struct netlink *n, const struct rtnl_route *r, struct error **err)
{
    return route_request(n, RTM_DELROUTE, 0, r, "delete", err);
}

static struct ip attr_ip(const struct nlattr *a, uint8_t family)
{
    if (a && family == AF_INET && mnl_attr_get_payload_len(a) >= 4)
        return ip_from_v4(mnl_attr_get_payload(a));
    if (a && family == AF_INET6 && mnl_attr_get_payload_len(a) >= 16)
        return ip_from_v6(mnl_attr_get_payload(a));
    return (struct ip){0};
}

int rtnl_route_parse(const struct nlmsghdr *h, struct rtnl_route *ret)
{
    const struct nlattr *t[RTA_MAX + 1];
    struct rtnl_route r = {0};

    if (h->nlmsg_type != RTM_NEWROUTE && h->nlmsg_type != RTM_DELROUTE)
        return -EINVAL;
    if (netlink_parse(h, sizeof(struct rtmsg), t, RTA_MAX) < 0)
        return -EINVAL;
    const struct rtmsg *m = mnl_nlmsg_get_payload(h);
    if (m->rtm_family != AF_INET && m->rtm_family != AF_INET6)
        return -EINVAL;
    r.dst.ip = attr_ip(t[RTA_DST], m->rtm_family);
    r.dst.ip.family = m->rtm_family;
    r.dst.bits = m->rtm_dst_len;
    if (r.dst.bits > ip_bytes(&r.dst.ip) * 8)
        return -EINVAL;
    r.gateway = attr_ip(t[RTA_GATEWAY], m->rtm_family);
    r.source = attr_ip(t[RTA_PREFSRC], m->rtm_family);
    r.oif = (int)netlink_attr_u32(t[RTA_OIF], 0);
    r.metric = netlink_attr_u32(t[RTA_PRIORITY], 0);
    r.table = netlink_attr_u32(t[RTA_TABLE], m->rtm_table);
    r.protocol = m->rtm_protocol;
    r.scope = m->rtm_scope;
    r.type = m->rtm_type;
    r.onlink = m->rtm_flags & RTNH_F_ONLINK;
    *ret = r;
    return 0;
}

struct route_query {
    struct rtnl_route *one;
    uint8_t protocol;
    rtnl_route_fn fn;
    void *arg;
};

static int on_route(const struct nlmsghdr *h, void *arg)
{
    struct route_query *q = arg;
    struct rtnl_route r;

    if (rtnl_route_parse(h, &r) < 0)
        return 0;
    if (q->one) {
        *q->one = r;
        return 1;
    }
    if (r.table != RT_TABLE_MAIN || (q->protocol && r.protocol != q->protocol))
        return 0;
    return q->fn(&r, q->arg);
}

int rtnl_route_each(struct netlink *n, int family, uint8_t protocol, rtnl_route_fn fn, void *arg,
                    struct error **err)
{
    struct route_query q = {.protocol = protocol, .fn = fn, .arg = arg};
    struct rtmsg *m;

    struct nlmsghdr *h = netlink_build(n, RTM_GETROUTE, NLM_F_DUMP, sizeof(*m), &m);
    m->rtm_family = (uint8_t)family;
    mnl_attr_put_u32(h, RTA_TABLE, RT_TABLE_MAIN);
    m->rtm_protocol = protocol;
    return netlink_query(n, on_route, &q, err, "list routes");
}

int rtnl_route_lookup(struct netlink *n, const struct ip *dst, struct rtnl_route *ret,
                      struct error **err)
{
    struct rtnl_route r = {0};
    struct route_query q = {.one = &r};
    struct rtmsg *m;
    struct nlmsghdr *h = netlink_build(n, RTM_GETROUTE, 0, sizeof(*m), &m);
    char text[IP_TEXT];

    m->rtm_family = dst->family;
    m->rtm_dst_len = (unsigned char)(ip_bytes(dst) * 8);
    put_ip(h, RTA_DST, dst);
    ip_format(dst, text);
    int e = netlink_query(n, on_route, &q, err, "route to %s", text);
    if (e < 0)
        return e;
    if (e == 0)
        return error_set(err, EPROTO, "route to %s: torn answer", text);
    *ret = r;
    return 0;
}
