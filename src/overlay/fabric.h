/*
 * The kernel side: the tunnel device, what leads to each peer, and the rules. Each call compares
 * with what the kernel has and changes only the difference; what is not ours (routes of other
 * protocols or other links) is left alone.
 */
#pragma once
#include "net/nft.h"
#include "overlay/lease.h"

struct fabric {
    struct netlink *route;
    struct nft *nft;
    int netns_fd;
    struct rtnl_link parent; /* to the other nodes */
    struct ip address;       /* ours there */
    int device;              /* ifindex of the tunnel, 0 none */
    bool rules_done; /* written for the two below, and nobody has touched them: the owner resets it
                        on a notification */
    struct ipnet rules_network, rules_subnet;
};
int fabric_open(struct fabric *f, int netns_fd, struct error **err);
void fabric_close(struct fabric *f);
/* Finds the interface: by name, by one of its addresses, by public_ip, or that of the default
 * route. */
int fabric_choose(struct fabric *f, const char *interface, const char *public_ip,
                  struct error **err);
#define FABRIC_OVERHEAD 50 /* outer IPv4, UDP, VXLAN and inner Ethernet headers */
void fabric_device_name(uint32_t vni, char out[static IFNAMSIZ]);
/* MAC that is the same after every start: from the node's name and the VNI, locally administered.
 */
void fabric_mac(const char *node_name, uint32_t vni, uint8_t ret[static MAC_BYTES]);
int fabric_device(struct fabric *f, uint32_t vni, uint16_t port,
                  const uint8_t mac[static MAC_BYTES], const struct ipnet *subnet,
                  struct error **err);
/* Routes, neighbours and forwarding entries for exactly these peers. *ret_changes counts what was
 * done. */
int fabric_peers(struct fabric *f, const struct lease *peers, size_t n, const struct ipnet *network,
                 size_t *ret_changes, struct error **err);
#define FABRIC_TABLE "skiff-overlay"
int fabric_rules(struct fabric *f, const struct ipnet *network, const struct ipnet *subnet,
                 bool masquerade, struct error **err);
int fabric_remove(int netns_fd, uint32_t vni, struct error **err);
