/*
 * Removing connection tracking entries by a filter the kernel applies: the table is never dumped.
 * Needs Linux 6.10 or so; older kernels answer EOPNOTSUPP, and nothing is removed.
 */
#pragma once
#include "net/netlink.h"
#include "net/netlink_addr.h"
struct conntrack_filter { /* zero fields do not filter; protocol must be set */
    uint8_t family;       /* AF_INET or AF_INET6 */
    uint8_t protocol;     /* IPPROTO_* */
    struct ip orig_dst;
    uint16_t orig_dst_port;
    struct ip reply_src;
    uint16_t reply_src_port;
};
/* n is a socket of netlink_open(NETLINK_NETFILTER). Nothing matching is success. */
int conntrack_delete(struct netlink *n, const struct conntrack_filter *f, struct error **err);
