/*
 * Links, addresses, routes, neighbours and forwarding entries by rtnetlink. Thin: one call is one
 * request to the kernel. n is a socket of netlink_open(NETLINK_ROUTE, netns); everything happens in
 * that socket's namespace. Calls that name a thing which is gone return -ENODEV / -ENOENT / -ESRCH,
 * adding what exists returns -EEXIST; err says it in words.
 */
#pragma once
#include "net/netlink.h"
#include "net/netlink_addr.h"
#include <net/if.h>

#define MAC_BYTES 6
#define MAC_TEXT 18
void mac_format(const uint8_t mac[static MAC_BYTES], char out[static MAC_TEXT]);
int mac_parse(struct str s, uint8_t ret[static MAC_BYTES]); /* -EINVAL */

/* ---- links ---- */
struct rtnl_vxlan {
    uint32_t vni;
    uint16_t port;   /* 0 when creating: the kernel's default, 8472 */
    struct ip local; /* source address; family 0: none */
    int parent;      /* ifindex; 0: none */
    bool learning;   /* off for a table written by hand */
    bool gbp;
};
struct rtnl_link {
    int index;
    char name[IFNAMSIZ];
    char kind[16];  /* "bridge", "veth", "vxlan", ""... */
    unsigned flags; /* IFF_UP and so on */
    uint32_t mtu;
    uint8_t mac[MAC_BYTES];
    int master; /* ifindex of the bridge, 0 none */
    int peer;   /* IFLA_LINK: the other end of a veth (index in its namespace), a vxlan's parent; 0
                   none */
    int peer_netnsid; /* namespace id of that, -1 ours */
    uint16_t type;    /* ARPHRD_* */
    struct rtnl_vxlan vxlan;
};
/* Where a link goes; fd > 0 wins over pid > 0; both 0: stays. */
struct rtnl_netns {
    int fd;
    int pid;
};
struct rtnl_link_spec {
    const char *kind; /* "bridge", "veth", "vxlan", "dummy", ... */
    const char *name;
    uint32_t mtu; /* 0: kernel's choice */
    const uint8_t
        *mac;   /* NULL: kernel's choice; set in the creating message, so nobody sees another */
    int master; /* enslave at once; 0: none */
    bool up;
    struct rtnl_netns netns; /* of this end */
    struct { /* veth; the kernel cannot raise this end in the same message: rtnl_link_set_up
                afterwards, over there */
        const char *name;
        const uint8_t *mac;
        uint32_t mtu;
        struct rtnl_netns netns;
    } peer;
    struct rtnl_vxlan vxlan;
};
int rtnl_link_create(struct netlink *n, const struct rtnl_link_spec *spec, struct error **err);
int rtnl_link_delete(struct netlink *n, int index, struct error **err);
/* By name; -ENODEV when there is none. A veth's other end goes with it. */
int rtnl_link_delete_name(struct netlink *n, const char *name, struct error **err);
int rtnl_link_get(struct netlink *n, const char *name, struct rtnl_link *ret,
                  struct error **err); /* -ENODEV */
int rtnl_link_get_index(struct netlink *n, int index, struct rtnl_link *ret, struct error **err);
typedef int (*rtnl_link_fn)(const struct rtnl_link *l, void *arg);
int rtnl_link_each(struct netlink *n, rtnl_link_fn fn, void *arg, struct error **err);
int rtnl_link_set_up(struct netlink *n, int index, bool up, struct error **err);
int rtnl_link_set_promisc(struct netlink *n, int index, bool on, struct error **err);
int rtnl_link_set_mtu(struct netlink *n, int index, uint32_t mtu, struct error **err);
int rtnl_link_set_mac(struct netlink *n, int index, const uint8_t mac[static MAC_BYTES],
                      struct error **err);
int rtnl_link_set_master(struct netlink *n, int index, int master,
                         struct error **err); /* 0 releases */
int rtnl_link_rename(struct netlink *n, int index, const char *name,
                     struct error **err); /* link must be down */
/* Moves to another namespace, under a new name when name is not NULL. */
int rtnl_link_move(struct netlink *n, int index, struct rtnl_netns to, const char *name,
                   struct error **err);
/* Hairpin mode of a bridge's port: frames may leave by the port they came in. */
int rtnl_bridge_port_set_hairpin(struct netlink *n, int index, bool on, struct error **err);
/* Decodes RTM_NEWLINK and RTM_DELLINK; -EINVAL for anything else or torn. */
int rtnl_link_parse(const struct nlmsghdr *h, struct rtnl_link *ret);

/* ---- addresses ---- */
struct rtnl_address {
    int index;
    struct ipnet net; /* local address with its prefix */
    struct ip peer;   /* IFA_ADDRESS when it differs */
    uint8_t scope;    /* RT_SCOPE_UNIVERSE, ... */
    uint32_t flags;   /* IFA_F_* */
};
int rtnl_address_add(struct netlink *n, const struct rtnl_address *a, struct error **err);
int rtnl_address_delete(struct netlink *n, const struct rtnl_address *a, struct error **err);
typedef int (*rtnl_address_fn)(const struct rtnl_address *a, void *arg);
/* index 0: of all links; family AF_UNSPEC: both. */
int rtnl_address_each(struct netlink *n, int index, int family, rtnl_address_fn fn, void *arg,
                      struct error **err);
int rtnl_address_parse(const struct nlmsghdr *h, struct rtnl_address *ret);

/* ---- routes ---- */
/* Number in rtm_protocol that marks routes as ours ("ip route" shows "proto 83"). */
#define RTNL_PROTO_SKIFF 83
struct rtnl_route {
    struct ipnet dst;  /* bits 0: default; family must be set */
    struct ip gateway; /* family 0: none */
    struct ip source;  /* preferred source; family 0: none */
    int oif;           /* 0 none */
    bool onlink;
    uint8_t protocol; /* 0 when adding: RTNL_PROTO_SKIFF */
    uint8_t scope;    /* when adding without gateway: link scope is chosen when 0 */
    uint8_t type;     /* RTN_*; 0: RTN_UNICAST */
    uint32_t table;   /* 0: main */
    uint32_t metric;
};
int rtnl_route_add(struct netlink *n, const struct rtnl_route *r, struct error **err);
int rtnl_route_replace(struct netlink *n, const struct rtnl_route *r, struct error **err);
int rtnl_route_delete(struct netlink *n, const struct rtnl_route *r, struct error **err);
typedef int (*rtnl_route_fn)(const struct rtnl_route *r, void *arg);
/* Main table; protocol 0: all, else only those. */
int rtnl_route_each(struct netlink *n, int family, uint8_t protocol, rtnl_route_fn fn, void *arg,
                    struct error **err);
/* What the kernel would do with a packet to dst now: oif, gateway and source are filled. */
int rtnl_route_lookup(struct netlink *n, const struct ip *dst, struct rtnl_route *ret,
                      struct error **err);
int rtnl_route_parse(const struct nlmsghdr *h, struct rtnl_route *ret);

/* ---- neighbours and bridge/vxlan forwarding entries ---- */
struct rtnl_neighbour {
    int index;
    bool fdb; /* AF_BRIDGE entry of the device itself: ip is the remote tunnel end */
    struct ip ip;
    uint8_t mac[MAC_BYTES];
    uint16_t state; /* NUD_*; 0 when adding: NUD_PERMANENT */
    uint8_t flags;  /* NTF_*; NTF_SELF is added for fdb */
};
int rtnl_neighbour_replace(struct netlink *n, const struct rtnl_neighbour *b, struct error **err);
int rtnl_neighbour_delete(struct netlink *n, const struct rtnl_neighbour *b, struct error **err);
typedef int (*rtnl_neighbour_fn)(const struct rtnl_neighbour *b, void *arg);
/* Of one link: its FDB or its neighbours of both families. */
int rtnl_neighbour_each(struct netlink *n, int index, bool fdb, rtnl_neighbour_fn fn, void *arg,
                        struct error **err);
int rtnl_neighbour_parse(const struct nlmsghdr *h, struct rtnl_neighbour *ret);
