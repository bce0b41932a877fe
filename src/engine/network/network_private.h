/* Shared by the files of this folder only. */
#pragma once
#include "base/list.h"
#include "base/map.h"
#include "engine/network/network.h"
#include "net/netlink.h"
#include <net/if.h>

struct lease {
    struct ip ip;
    struct network_port *ports; /* owned */
    size_t ports_n;
    bool kept;
    char id[];
};
struct network {
    char *bridge, *dir;
    struct ipnet subnet;  /* addr is the bridge's; bits 0: not known yet */
    struct ipnet range;   /* part of it that is given out */
    struct ipnet cluster; /* never masqueraded towards; ip.family 0: unknown */
    uint32_t mtu, next;   /* next: host number to try first */
    bool masquerade, rules, up;
    bool eager;        /* the bridge is there from the start: somebody named its address */
    struct map leases; /* sandbox id -> struct lease */
    struct netlink *rtnl;
};
/* leases.c: one file an address, named by it, holding the sandbox's id */
int leases_load(struct network *n, struct error **err);
int lease_take(struct network *n, const char *id, struct lease **ret, struct error **err);
void lease_drop(struct network *n, const char *id);
struct lease *lease_put(struct network *n, const char *id, const struct ip *ip);
/* rules.c: replaces our table by what the leases ask for, in one transaction */
int rules_apply(struct network *n, struct error **err);
void network_link_name(const char *id, char out[static IFNAMSIZ]);
