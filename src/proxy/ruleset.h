/*
 * Our tables in the kernel. No chain belongs to a Service: packets go through one look-up by
 * (address, protocol, port) to a chain shared by all Services that have the same kind and number of
 * endpoints, and through a second one, by a random slot, to the endpoint.
 *
 *   nat prerouting/output -> services: daddr . proto . dport vmap @services
 *                                      local daddr: proto . dport vmap @node-ports
 *   cluster-N            mark unless from a pod;  dnat to daddr . proto . dport . random N :
 * @endpoints external-N           mark always;             the same local-N-M            from a
 * pod: N, unmarked; from this node: N, marked; else the M local ones, unmarked, or drop
 *   ...-sticky-T         as above, but first what saddr used before, from @affinity, if still in
 * @live node-port-...        as above, for keys of address 0 nat postrouting      masquerade what
 * is marked, and what a pod sends to itself filter ...           refuse or drop what is in
 * @no-endpoints, other ports of @cluster-ips, sources not in @allowed
 *
 * Registers of the shared chains, with a = 1 for IPv4 and 4 for IPv6: saddr 0, daddr a, proto 2a,
 * dport 2a+1, slot 2a+2, address 2a+3, port 3a+3.
 */
#pragma once
#include "net/netlink_addr.h"
#include "net/nft.h"
#include "proxy/element.h"
#include "proxy/proxy.h"
#include <net/if.h>

#define RULESET_TABLE "skiff-proxy"
struct ruleset_options {
    enum proxy_detect_local detect_local;
    struct ipnet pods[2]; /* by v6; family 0: none */
    char interface[IFNAMSIZ];
    struct ipnet *node_ports; /* owned; none: every local address */
    size_t node_ports_n;
    bool masquerade_all;
    uint32_t mark;
};
enum chain_kind { CHAIN_CLUSTER, CHAIN_EXTERNAL, CHAIN_LOCAL };
struct chain_spec {
    uint8_t v6;
    uint8_t kind;
    bool node_port;
    uint32_t n, m; /* endpoints in the first and second list */
    uint32_t affinity_s;
};
struct chain {
    struct chain_spec spec;
    char name[64];
    size_t refs;
    bool installed;
};
struct ruleset;

/* lifecycle. Options are moved in. */
int ruleset_new(struct ruleset_options *o, int netns_fd, struct ruleset **ret, struct error **err);
void ruleset_free(struct ruleset *r);
uint32_t ruleset_portid(const struct ruleset *r);

/* Number of the shared chain, for element_set_chain; stays valid. */
uint32_t ruleset_chain(struct ruleset *r, const struct chain_spec *s);

/* changes: collected, then one transaction a family */
void ruleset_add(struct ruleset *r, const struct element *e);
void ruleset_delete(struct ruleset *r, const struct element *e);
int ruleset_commit(struct ruleset *r, struct error **err);
/* Changes were collected for a table that is not there yet (the first IPv6 Service): reconcile
 * instead of commit. */
bool ruleset_lacks_table(const struct ruleset *r);

/* Brings the kernel level with all of `want` (packed lists), whatever it holds now; replaces what
 * ruleset_add and _delete collected. Adopts elements that are right already. */
struct ruleset_tally {
    size_t kept, added, removed;
};
int ruleset_reconcile(struct ruleset *r, const struct packed *const *want, size_t want_n,
                      struct ruleset_tally *ret, struct error **err);
/* Options changed: takes effect with the next reconcile. Moved in. */
void ruleset_set_options(struct ruleset *r, struct ruleset_options *o);
void ruleset_options_fini(struct ruleset_options *o);
/* The tables we made are there: a cheap look. */
bool ruleset_present(const struct ruleset *r);
int ruleset_remove(int netns_fd, struct error **err);
