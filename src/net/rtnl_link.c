#include "base/cleanup.h"
#include "net/rtnl.h"
#include <errno.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <stdio.h>
#include <string.h>

void mac_format(const uint8_t mac[static MAC_BYTES], char out[static MAC_TEXT])
{
    (void)snprintf(out, MAC_TEXT, "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2], mac[3],
                   mac[4], mac[5]);
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int mac_parse(struct str s, uint8_t ret[static MAC_BYTES])
{
    uint8_t mac[MAC_BYTES];

    if (s.n != MAC_TEXT - 1)
        return -EINVAL;
    for (size_t i = 0; i < MAC_BYTES; i++) {
        int high = hex_digit(s.p[3 * i]), low = hex_digit(s.p[3 * i + 1]);
        if (high < 0 || low < 0 || (i + 1 < MAC_BYTES && s.p[3 * i + 2] != ':'))
            return -EINVAL;
        mac[i] = (uint8_t)(high << 4 | low);
    }
    memcpy(ret, mac, sizeof(mac));
    return 0;
}

/* ---- creating ---- */

static void put_netns(struct nlmsghdr *h, const struct rtnl_netns *ns)
{
    if (ns->fd > 0)
        mnl_attr_put_u32(h, IFLA_NET_NS_FD, (uint32_t)ns->fd);
    else if (ns->pid > 0)
        mnl_attr_put_u32(h, IFLA_NET_NS_PID, (uint32_t)ns->pid);
}

static void put_common(struct nlmsghdr *h, const char *name, uint32_t mtu, const uint8_t *mac)
{
    if (name)
        mnl_attr_put_strz(h, IFLA_IFNAME, name);
    if (mtu)
        mnl_attr_put_u32(h, IFLA_MTU, mtu);
    if (mac)
        mnl_attr_put(h, IFLA_ADDRESS, MAC_BYTES, mac);
}

static void put_veth(struct nlmsghdr *h, const struct rtnl_link_spec *spec)
{
    struct nlattr *data = mnl_attr_nest_start(h, IFLA_INFO_DATA);
    struct nlattr *peer = mnl_attr_nest_start(h, VETH_INFO_PEER);

    (void)mnl_nlmsg_put_extra_header(h, sizeof(struct ifinfomsg));
    put_common(h, spec->peer.name, spec->peer.mtu, spec->peer.mac);
    put_netns(h, &spec->peer.netns);
    mnl_attr_nest_end(h, peer);
    mnl_attr_nest_end(h, data);
}

static void put_vxlan(struct nlmsghdr *h, const struct rtnl_vxlan *v)
{
    struct nlattr *data = mnl_attr_nest_start(h, IFLA_INFO_DATA);
    uint16_t port = v->port ? v->port : 8472;

    mnl_attr_put_u32(h, IFLA_VXLAN_ID, v->vni);
    mnl_attr_put_u16(h, IFLA_VXLAN_PORT, htons(port));
    if (v->parent)
        mnl_attr_put_u32(h, IFLA_VXLAN_LINK, (uint32_t)v->parent);
    if (v->local.family == AF_INET)
        mnl_attr_put(h, IFLA_VXLAN_LOCAL, 4, v->local.bytes);
    else if (v->local.family == AF_INET6)
        mnl_attr_put(h, IFLA_VXLAN_LOCAL6, 16, v->local.bytes);
    mnl_attr_put_u8(h, IFLA_VXLAN_LEARNING, v->learning);
    if (v->gbp)
        mnl_attr_put(h, IFLA_VXLAN_GBP, 0, NULL);
    mnl_attr_nest_end(h, data);
}

int rtnl_link_create(struct netlink *n, const struct rtnl_link_spec *spec, struct error **err)
{
    struct ifinfomsg *i;
    struct nlmsghdr *h = netlink_build(n, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, sizeof(*i), &i);
    struct nlattr *info;

    if (strlen(spec->name) >= IFNAMSIZ || (spec->peer.name && strlen(spec->peer.name) >= IFNAMSIZ))
        return error_set(err, ENAMETOOLONG, "link name \"%s\" is too long", spec->name);
    if (spec->up)
        i->ifi_flags = i->ifi_change = IFF_UP;
    put_common(h, spec->name, spec->mtu, spec->mac);
    if (spec->master)
        mnl_attr_put_u32(h, IFLA_MASTER, (uint32_t)spec->master);
    put_netns(h, &spec->netns);
    info = mnl_attr_nest_start(h, IFLA_LINKINFO);
    mnl_attr_put_strz(h, IFLA_INFO_KIND, spec->kind);
    if (streq(spec->kind, "veth") && spec->peer.name)
        put_veth(h, spec);
    else if (streq(spec->kind, "vxlan"))
        put_vxlan(h, &spec->vxlan);
    mnl_attr_nest_end(h, info);
    return netlink_request(n, err, "create %s link %s", spec->kind, spec->name);
}

int rtnl_link_delete(struct netlink *n, int index, struct error **err)
{
    struct ifinfomsg *i;

    (void)netlink_build(n, RTM_DELLINK, 0, sizeof(*i), &i);
    i->ifi_index = index;
    return netlink_request(n, err, "delete link %d", index);
}

int rtnl_link_delete_name(struct netlink *n, const char *name, struct error **err)
{
    struct ifinfomsg *i;
    struct nlmsghdr *h = netlink_build(n, RTM_DELLINK, 0, sizeof(*i), &i);

    mnl_attr_put_strz(h, IFLA_IFNAME, name);
    return netlink_request(n, err, "delete link %s", name);
}

/* ---- reading ---- */

static struct ip attr_ip(const struct nlattr *v4, const struct nlattr *v6)
{
    if (v4 && mnl_attr_get_payload_len(v4) >= 4)
        return ip_from_v4(mnl_attr_get_payload(v4));
    if (v6 && mnl_attr_get_payload_len(v6) >= 16)
        return ip_from_v6(mnl_attr_get_payload(v6));
    return (struct ip){0};
}

static int parse_info(const struct nlattr *info, struct rtnl_link *l)
{
    const struct nlattr *t[IFLA_INFO_MAX + 1], *v[IFLA_VXLAN_MAX + 1];

    if (netlink_parse_nested(info, t, IFLA_INFO_MAX) < 0)
        return -EINVAL;
    netlink_attr_text(t[IFLA_INFO_KIND], l->kind, sizeof(l->kind));
    if (!streq(l->kind, "vxlan"))
        return 0;
    if (netlink_parse_nested(t[IFLA_INFO_DATA], v, IFLA_VXLAN_MAX) < 0)
        return -EINVAL;
    l->vxlan.vni = netlink_attr_u32(v[IFLA_VXLAN_ID], 0);
    l->vxlan.port = ntohs(netlink_attr_u16(v[IFLA_VXLAN_PORT], 0));
    l->vxlan.parent = (int)netlink_attr_u32(v[IFLA_VXLAN_LINK], 0);
    l->vxlan.learning = netlink_attr_u8(v[IFLA_VXLAN_LEARNING], 0);
    l->vxlan.gbp = v[IFLA_VXLAN_GBP] != NULL;
    l->vxlan.local = attr_ip(v[IFLA_VXLAN_LOCAL], v[IFLA_VXLAN_LOCAL6]);
    return 0;
}

int rtnl_link_parse(const struct nlmsghdr *h, struct rtnl_link *ret)
{
    const struct nlattr *t[IFLA_MAX + 1];
    struct rtnl_link l = {.peer_netnsid = -1};

    if (h->nlmsg_type != RTM_NEWLINK && h->nlmsg_type != RTM_DELLINK)
        return -EINVAL;
    if (netlink_parse(h, sizeof(struct ifinfomsg), t, IFLA_MAX) < 0)
        return -EINVAL;
    const struct ifinfomsg *i = mnl_nlmsg_get_payload(h);
    l.index = i->ifi_index;
    l.flags = i->ifi_flags;
    l.type = i->ifi_type;
    netlink_attr_text(t[IFLA_IFNAME], l.name, sizeof(l.name));
    l.mtu = netlink_attr_u32(t[IFLA_MTU], 0);
    l.master = (int)netlink_attr_u32(t[IFLA_MASTER], 0);
    l.peer = (int)netlink_attr_u32(t[IFLA_LINK], 0);
    l.peer_netnsid = (int)netlink_attr_u32(t[IFLA_LINK_NETNSID], (uint32_t)-1);
    if (t[IFLA_ADDRESS] && mnl_attr_get_payload_len(t[IFLA_ADDRESS]) == MAC_BYTES)
        memcpy(l.mac, mnl_attr_get_payload(t[IFLA_ADDRESS]), MAC_BYTES);
    if (parse_info(t[IFLA_LINKINFO], &l) < 0)
        return -EINVAL;
    *ret = l;
    return 0;
}

struct link_query {
    struct rtnl_link *one;
    rtnl_link_fn fn;
    void *arg;
};

static int on_link(const struct nlmsghdr *h, void *arg)
{
    struct link_query *q = arg;
    struct rtnl_link l;

    if (rtnl_link_parse(h, &l) < 0)
        return 0;
    if (q->one) {
        *q->one = l;
        return 1;
    }
    return q->fn(&l, q->arg);
}

static int one_link(struct netlink *n, struct rtnl_link *ret, struct error **err, const char *what)
{
    struct rtnl_link l = {0};
    struct link_query q = {.one = &l};
    int r = netlink_query(n, on_link, &q, err, "%s", what);

    if (r < 0)
        return r;
    if (r == 0)
        return error_set(err, EPROTO, "%s: torn answer", what);
    *ret = l;
    return 0;
}

int rtnl_link_get(struct netlink *n, const char *name, struct rtnl_link *ret, struct error **err)
{
    struct ifinfomsg *i;
    struct nlmsghdr *h = netlink_build(n, RTM_GETLINK, 0, sizeof(*i), &i);
    char what[64];

    if (strlen(name) >= IFNAMSIZ)
        return error_set(err, ENODEV, "link %.32s: no such device", name);
    mnl_attr_put_strz(h, IFLA_IFNAME, name);
    (void)snprintf(what, sizeof(what), "link %s", name);
    return one_link(n, ret, err, what);
}

int rtnl_link_get_index(struct netlink *n, int index, struct rtnl_link *ret, struct error **err)
{
    struct ifinfomsg *i;
    char what[64];

    (void)netlink_build(n, RTM_GETLINK, 0, sizeof(*i), &i);
    i->ifi_index = index;
    (void)snprintf(what, sizeof(what), "link %d", index);
    return one_link(n, ret, err, what);
}

int rtnl_link_each(struct netlink *n, rtnl_link_fn fn, void *arg, struct error **err)
{
    struct ifinfomsg *i;
    struct link_query q = {.fn = fn, .arg = arg};

    (void)netlink_build(n, RTM_GETLINK, NLM_F_DUMP, sizeof(*i), &i);
    return netlink_query(n, on_link, &q, err, "list links");
}

/* ---- changing ---- */

static struct nlmsghdr *build_set(struct netlink *n, int index, struct ifinfomsg **ret_i)
{
    struct ifinfomsg *i;
    struct nlmsghdr *h = netlink_build(n, RTM_NEWLINK, 0, sizeof(*i), &i);

    i->ifi_index = index;
    *ret_i = i;
    return h;
}

static int set_flag(struct netlink *n, int index, unsigned flag, bool on, struct error **err)
{
    struct ifinfomsg *i;

    (void)build_set(n, index, &i);
    i->ifi_change = flag;
    i->ifi_flags = on ? flag : 0;
    return netlink_request(n, err, "change flags of link %d", index);
}

int rtnl_link_set_up(struct netlink *n, int index, bool up, struct error **err)
{
    return set_flag(n, index, IFF_UP, up, err);
}

int rtnl_link_set_promisc(struct netlink *n, int index, bool on, struct error **err)
{
    return set_flag(n, index, IFF_PROMISC, on, err);
}

int rtnl_link_set_mtu(struct netlink *n, int index, uint32_t mtu, struct error **err)
{
    struct ifinfomsg *i;

    mnl_attr_put_u32(build_set(n, index, &i), IFLA_MTU, mtu);
    return netlink_request(n, err, "set MTU %u on link %d", mtu, index);
}

int rtnl_link_set_mac(struct netlink *n, int index, const uint8_t mac[static MAC_BYTES],
                      struct error **err)
{
    struct ifinfomsg *i;

    mnl_attr_put(build_set(n, index, &i), IFLA_ADDRESS, MAC_BYTES, mac);
    return netlink_request(n, err, "set the MAC address of link %d", index);
}

int rtnl_link_set_master(struct netlink *n, int index, int master, struct error **err)
{
    struct ifinfomsg *i;

    mnl_attr_put_u32(build_set(n, index, &i), IFLA_MASTER, (uint32_t)master);
    return netlink_request(n, err, "put link %d under bridge %d", index, master);
}

int rtnl_link_rename(struct netlink *n, int index, const char *name, struct error **err)
{
    struct ifinfomsg *i;

    mnl_attr_put_strz(build_set(n, index, &i), IFLA_IFNAME, name);
    return netlink_request(n, err, "rename link %d to %s", index, name);
}

int rtnl_link_move(struct netlink *n, int index, struct rtnl_netns to, const char *name,
                   struct error **err)
{
    struct ifinfomsg *i;
    struct nlmsghdr *h = build_set(n, index, &i);

    put_netns(h, &to);
    if (name)
        mnl_attr_put_strz(h, IFLA_IFNAME, name);
    return netlink_request(n, err, "move link %d to another network namespace", index);
}

int rtnl_bridge_port_set_hairpin(struct netlink *n, int index, bool on, struct error **err)
{
    struct ifinfomsg *i;
    struct nlmsghdr *h = netlink_build(n, RTM_SETLINK, 0, sizeof(*i), &i);
    struct nlattr *port;

    i->ifi_family = AF_BRIDGE;
    i->ifi_index = index;
    port = mnl_attr_nest_start(h, IFLA_PROTINFO | NLA_F_NESTED);
    mnl_attr_put_u8(h, IFLA_BRPORT_MODE, on);
    mnl_attr_nest_end(h, port);
    return netlink_request(n, err, "set hairpin mode on link %d", index);
}
