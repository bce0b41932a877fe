#include "net/conntrack.h"
#include <arpa/inet.h>
#include <errno.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>

/* Bits of CTA_FILTER_*_FLAGS, which the kernel's public header leaves out. */
enum {
    FILTER_IP_SRC = 1u << 0,
    FILTER_IP_DST = 1u << 1,
    FILTER_PROTO = 1u << 3,
    FILTER_SRC_PORT = 1u << 4,
    FILTER_DST_PORT = 1u << 5
};

static void put_address(struct nlmsghdr *h, uint16_t v4, uint16_t v6, const struct ip *a)
{
    if (a->family)
        mnl_attr_put(h, a->family == AF_INET6 ? v6 : v4, ip_bytes(a), a->bytes);
}

static uint32_t put_tuple(struct nlmsghdr *h, uint16_t type, const struct conntrack_filter *f,
                          bool reply)
{
    struct nlattr *tuple = mnl_attr_nest_start(h, type), *nest;
    uint32_t flags = FILTER_PROTO;

    nest = mnl_attr_nest_start(h, CTA_TUPLE_IP);
    put_address(h, CTA_IP_V4_SRC, CTA_IP_V6_SRC, reply ? &f->reply_src : &(struct ip){0});
    put_address(h, CTA_IP_V4_DST, CTA_IP_V6_DST, reply ? &(struct ip){0} : &f->orig_dst);
    mnl_attr_nest_end(h, nest);
    nest = mnl_attr_nest_start(h, CTA_TUPLE_PROTO);
    mnl_attr_put_u8(h, CTA_PROTO_NUM, f->protocol);
    if (reply && f->reply_src_port)
        mnl_attr_put_u16(h, CTA_PROTO_SRC_PORT, htons(f->reply_src_port));
    if (!reply && f->orig_dst_port)
        mnl_attr_put_u16(h, CTA_PROTO_DST_PORT, htons(f->orig_dst_port));
    mnl_attr_nest_end(h, nest);
    mnl_attr_nest_end(h, tuple);
    if (reply)
        flags |=
            (f->reply_src.family ? FILTER_IP_SRC : 0) | (f->reply_src_port ? FILTER_SRC_PORT : 0);
    else
        flags |=
            (f->orig_dst.family ? FILTER_IP_DST : 0) | (f->orig_dst_port ? FILTER_DST_PORT : 0);
    return flags;
}

int conntrack_delete(struct netlink *n, const struct conntrack_filter *f, struct error **err)
{
    struct nfgenmsg *g;
    struct nlmsghdr *h =
        netlink_build(n, NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_DELETE, 0, sizeof(*g), &g);
    struct nlattr *nest;
    uint32_t orig, reply;
    char text[IP_TEXT];

    g->nfgen_family = f->family;
    g->version = NFNETLINK_V0;
    orig = put_tuple(h, CTA_TUPLE_ORIG, f, false);
    reply = put_tuple(h, CTA_TUPLE_REPLY, f, true);
    nest = mnl_attr_nest_start(h, CTA_FILTER);
    mnl_attr_put_u32(h, CTA_FILTER_ORIG_FLAGS, orig);
    mnl_attr_put_u32(h, CTA_FILTER_REPLY_FLAGS, reply);
    mnl_attr_nest_end(h, nest);
    ip_format(&f->orig_dst, text);
    int r = netlink_request(n, NULL, "delete");
    if (r == 0 || r == -ENOENT)
        return 0;
    return error_set_errno(err, -r, "delete connection tracking entries to %s port %u", text,
                           f->orig_dst_port);
}
