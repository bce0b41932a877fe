/*
 * The built-in pod network: one bridge, a veth pair for each sandbox, addresses leased on disk, one
 * nf_tables table of our own for masquerading, host ports and accept rules. Everything is
 * synchronous netlink: well under a millisecond.
 */
#pragma once
#include "base/error.h"
#include "net/netlink_addr.h"
#include <stdbool.h>

struct network;
struct network_config {
    const char *bridge, *dir;                    /* dir: for leases */
    const char *bip, *fixed_cidr, *cluster_cidr; /* each may be NULL */
    int64_t mtu;
    bool masquerade, rules;
};
struct network_port {
    uint8_t protocol; /* IPPROTO_TCP, IPPROTO_UDP, IPPROTO_SCTP */
    uint16_t host, container;
    struct ip host_ip; /* family 0: any */
};
/* Reads leases; makes nothing in the kernel before network_sweep or the first attach. */
int network_open(const struct network_config *cfg, struct network **ret, struct error **err);
void network_close(struct network *n);
/* Subnet that pods of this node get; the bridge takes its first address. -EBUSY when it differs
 * from what pods have. */
int network_set_pod_cidr(struct network *n, const char *cidr, struct error **err);
/* /run/flannel/subnet.env: the subnet when nothing else told us, the pods' MTU, what is not to be
 * masqueraded. -ENOENT until the overlay has written it. May be read again at any time. */
int network_read_subnet_env(struct network *n, const char *path);
bool network_ready(const struct network *n, const char **ret_reason);
int network_attach(struct network *n, const char *id, const char *netns,
                   const struct network_port *ports, size_t ports_n, char ret_ip[static IP_TEXT],
                   struct error **err);
/* Idempotent. */
void network_detach(struct network *n, const char *id);
/* At start: sandboxes that keep their address (with their ports), everything else goes. */
void network_keep(struct network *n, const char *id, const char *ip,
                  const struct network_port *ports, size_t ports_n);
int network_sweep(struct network *n, struct error **err);
struct network_usage {
    uint64_t rx_bytes, rx_errors, tx_bytes, tx_errors;
};
int network_read_usage(const struct network *n, const char *id, struct network_usage *ret);
