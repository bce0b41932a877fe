/* Sets, hooks and the chains that do not depend on Services. */
#include "proxy/ruleset_private.h"
#include <arpa/inet.h>
#include <linux/rtnetlink.h>

#define STATE_NEW 8u        /* bit of "new" in ct state */
#define PRIORITY_EARLY -110 /* just before destination NAT */
#define PRIORITY_DNAT -100
#define PRIORITY_LATE -90
#define PRIORITY_SNAT 100

const char *const ruleset_static_chains[] = {"services",
                                             "no-endpoints-check",
                                             "cluster-ips-check",
                                             "firewall-check",
                                             "refuse",
                                             "nat-prerouting",
                                             "nat-output",
                                             "nat-postrouting",
                                             "filter-prerouting",
                                             "filter-input",
                                             "filter-forward",
                                             "filter-output",
                                             "filter-output-late",
                                             NULL};

static uint32_t types(const uint32_t *v, size_t n)
{
    uint32_t t = 0;
    for (size_t i = 0; i < n; i++)
        t = t << 6 | v[i];
    return t;
}

void ruleset_put_sets(struct ruleset *r, struct family *f)
{
    const uint32_t ip = f->v6 ? NFT_TYPE_IPV6 : NFT_TYPE_IPV4;
    const uint32_t address_first[] = {ip, NFT_TYPE_PROTO,  NFT_TYPE_SERVICE, NFT_TYPE_MARK,
                                      ip, NFT_TYPE_SERVICE};
    const uint32_t affinity[] = {ip, ip, NFT_TYPE_PROTO, NFT_TYPE_SERVICE};
    const uint32_t allowed[] = {ip, NFT_TYPE_PROTO, NFT_TYPE_SERVICE, ip};
    const uint32_t key3 = types(address_first, 3), target = NFT_TYPES(ip, NFT_TYPE_SERVICE);
    const uint32_t port = NFT_TYPES(NFT_TYPE_PROTO, NFT_TYPE_SERVICE);
    struct nft_set_spec specs[MAPS_N] = {
        [MAP_SERVICES] = {.flags = NFT_SET_MAP, .verdicts = true, .key_type = key3},
        [MAP_NODE_PORTS] = {.flags = NFT_SET_MAP, .verdicts = true, .key_type = port},
        [MAP_ENDPOINTS] = {.flags = NFT_SET_MAP,
                           .key_type = types(address_first, 4),
                           .data_type = target},
        [MAP_LIVE] = {.key_type = types(address_first, 6)},
        [MAP_NO_ENDPOINTS] = {.flags = NFT_SET_MAP, .verdicts = true, .key_type = key3},
        [MAP_NO_NODE_PORTS] = {.flags = NFT_SET_MAP, .verdicts = true, .key_type = port},
        [MAP_HAIRPIN] = {.key_type = NFT_TYPES(ip, ip)},
        [MAP_CLUSTER_IPS] = {.key_type = ip},
        [MAP_FIREWALLED] = {.key_type = key3},
        [MAP_ALLOWED] = {.flags = NFT_SET_INTERVAL | NFT_SET_CONCAT,
                         .key_type = types(allowed, 4),
                         .fields = {f->bytes, 1, 2, f->bytes}},
        [MAP_AFFINITY] = {.flags = NFT_SET_MAP | NFT_SET_TIMEOUT | NFT_SET_EVAL,
                          .key_type = types(affinity, 4),
                          .data_type = target,
                          .timeout_ms = 10800 * 1000,
                          .size = 262144},
    };

    (void)r;
    for (uint8_t m = 0; m < MAPS_N; m++) {
        specs[m].name = element_map_name(m);
        specs[m].key_bytes = (uint32_t)element_key_bytes(m, f->v6);
        specs[m].data_bytes = (uint32_t)element_data_bytes(m, f->v6);
        nft_set_add(f->batch, &specs[m]);
    }
}

static void load_key(struct family *f, unsigned reg)
{
    nft_expr_payload(f->batch, NFT_PAYLOAD_NETWORK_HEADER, f->daddr, f->bytes, reg);
    nft_expr_meta(f->batch, NFT_META_L4PROTO, reg + f->a);
    nft_expr_payload(f->batch, NFT_PAYLOAD_TRANSPORT_HEADER, 2, 2, reg + f->a + 1);
}

static void match_net(struct family *f, uint8_t offset, const struct ipnet *n, bool inverted)
{
    static const uint8_t zero[16];
    struct ipnet masked = ipnet_masked(n);
    uint8_t mask[16];

    ipnet_mask_bytes(n, mask);
    nft_expr_payload(f->batch, NFT_PAYLOAD_NETWORK_HEADER, offset, f->bytes, 0);
    nft_expr_bitwise(f->batch, 0, mask, zero, f->bytes);
    nft_expr_compare(f->batch, inverted ? NFT_CMP_NEQ : NFT_CMP_EQ, 0, masked.ip.bytes, f->bytes);
}

/* Packets to a node's own address by protocol and port through the map, once for each address range
 * allowed. */
static void put_node_port_rules(struct ruleset *r, struct family *f, const char *chain,
                                const char *map)
{
    const struct ipnet loopback = {{AF_INET, {127}}, 8};
    const uint32_t local = RTN_LOCAL;

    for (size_t i = 0; i < (r->options.node_ports_n ? r->options.node_ports_n : 1); i++) {
        const struct ipnet *n = r->options.node_ports_n ? &r->options.node_ports[i] : NULL;
        if (n && (n->ip.family == AF_INET6) != f->v6)
            continue;
        nft_rule_begin(f->batch, chain);
        if (n)
            match_net(f, f->daddr, n, false);
        if (!f->v6) /* such a packet could not leave the machine with that source anyway */
            match_net(f, f->daddr, &loopback, true);
        nft_expr_fib(f->batch, NFT_FIB_RESULT_ADDRTYPE, NFTA_FIB_F_DADDR, 0);
        nft_expr_compare(f->batch, NFT_CMP_EQ, 0, &local, sizeof(local));
        nft_expr_meta(f->batch, NFT_META_L4PROTO, 0);
        nft_expr_payload(f->batch, NFT_PAYLOAD_TRANSPORT_HEADER, 2, 2, 1);
        nft_expr_vmap(f->batch, map, 0);
        nft_rule_end(f->batch);
    }
}

static void put_vmap_rule(struct family *f, const char *chain, const char *map)
{
    nft_rule_begin(f->batch, chain);
    load_key(f, 0);
    nft_expr_vmap(f->batch, map, 0);
    nft_rule_end(f->batch);
}

static void put_jump(struct family *f, const char *from, const char *to, bool only_new)
{
    const uint32_t state = STATE_NEW, zero = 0;

    nft_rule_begin(f->batch, from);
    if (only_new) {
        nft_expr_ct(f->batch, NFT_CT_STATE, 0);
        nft_expr_bitwise(f->batch, 0, &state, &zero, sizeof(state));
        nft_expr_compare(f->batch, NFT_CMP_NEQ, 0, &zero, sizeof(zero));
    }
    nft_expr_verdict(f->batch, NFT_JUMP, to);
    nft_rule_end(f->batch);
}

static void put_masquerade(struct ruleset *r, struct family *f)
{
    const uint32_t mark = r->options.mark, rest = ~mark, zero = 0;

    nft_rule_begin(f->batch, "nat-postrouting");
    nft_expr_meta(f->batch, NFT_META_MARK, 0);
    nft_expr_bitwise(f->batch, 0, &mark, &zero, 4);
    nft_expr_compare(f->batch, NFT_CMP_NEQ, 0, &zero, 4);
    /* Taken off, so that a packet that comes by again (through a tunnel) is not masqueraded twice.
     */
    nft_expr_meta(f->batch, NFT_META_MARK, 0);
    nft_expr_bitwise(f->batch, 0, &rest, &zero, 4);
    nft_expr_meta_set(f->batch, NFT_META_MARK, 0);
    nft_expr_masquerade(f->batch, true);
    nft_rule_end(f->batch);

    nft_rule_begin(f->batch, "nat-postrouting");
    nft_expr_payload(f->batch, NFT_PAYLOAD_NETWORK_HEADER, f->saddr, f->bytes, 0);
    nft_expr_payload(f->batch, NFT_PAYLOAD_NETWORK_HEADER, f->daddr, f->bytes, f->a);
    nft_expr_lookup(f->batch, "hairpin", 0, NFT_NO_REG, false);
    nft_expr_masquerade(f->batch, true);
    nft_rule_end(f->batch);
}

static void put_checks(struct ruleset *r, struct family *f)
{
    const uint8_t tcp = IPPROTO_TCP;

    put_vmap_rule(f, "no-endpoints-check", "no-endpoints");
    put_node_port_rules(r, f, "no-endpoints-check", "no-node-ports");

    nft_rule_begin(f->batch, "cluster-ips-check");
    nft_expr_payload(f->batch, NFT_PAYLOAD_NETWORK_HEADER, f->daddr, f->bytes, 0);
    nft_expr_lookup(f->batch, "cluster-ips", 0, NFT_NO_REG, false);
    nft_expr_verdict(f->batch, NFT_GOTO, "refuse");
    nft_rule_end(f->batch);

    nft_rule_begin(f->batch, "firewall-check");
    load_key(f, 0);
    nft_expr_lookup(f->batch, "firewalled", 0, NFT_NO_REG, false);
    nft_expr_payload(f->batch, NFT_PAYLOAD_NETWORK_HEADER, f->saddr, f->bytes, f->a + 2u);
    nft_expr_lookup(f->batch, "allowed", 0, NFT_NO_REG, true);
    nft_expr_verdict(f->batch, NF_DROP, NULL);
    nft_rule_end(f->batch);

    nft_rule_begin(f->batch, "refuse");
    nft_expr_meta(f->batch, NFT_META_L4PROTO, 0);
    nft_expr_compare(f->batch, NFT_CMP_EQ, 0, &tcp, 1);
    nft_expr_reject(f->batch, NFT_REJECT_TCP_RST, 0);
    nft_rule_end(f->batch);

    nft_rule_begin(f->batch, "refuse");
    nft_expr_reject(f->batch, NFT_REJECT_ICMP_UNREACH, f->v6 ? 4 : 3);
    nft_rule_end(f->batch);
}

static void put_hooks(struct family *f)
{
    static const struct {
        const char *chain, *type;
        uint32_t hook;
        int32_t priority;
    } hooks[] = {
        {"nat-prerouting", "nat", NF_INET_PRE_ROUTING, PRIORITY_DNAT},
        {"nat-output", "nat", NF_INET_LOCAL_OUT, PRIORITY_DNAT},
        {"nat-postrouting", "nat", NF_INET_POST_ROUTING, PRIORITY_SNAT},
        {"filter-prerouting", "filter", NF_INET_PRE_ROUTING, PRIORITY_EARLY},
        {"filter-input", "filter", NF_INET_LOCAL_IN, PRIORITY_EARLY},
        {"filter-forward", "filter", NF_INET_FORWARD, PRIORITY_EARLY},
        {"filter-output", "filter", NF_INET_LOCAL_OUT, PRIORITY_EARLY},
        {"filter-output-late", "filter", NF_INET_LOCAL_OUT, PRIORITY_LATE},
    };

    for (size_t i = 0; i < sizeof(hooks) / sizeof(hooks[0]); i++)
        nft_chain_add_base(f->batch, hooks[i].chain, hooks[i].type, hooks[i].hook,
                           hooks[i].priority, NF_ACCEPT);
}

void ruleset_put_static_chains(struct ruleset *r, struct family *f)
{
    for (size_t i = 0; i < 5; i++)
        nft_chain_add(f->batch, ruleset_static_chains[i]);
    put_hooks(f);
    for (size_t i = 0; ruleset_static_chains[i]; i++)
        nft_chain_flush(f->batch, ruleset_static_chains[i]);
    put_vmap_rule(f, "services", "services");
    put_node_port_rules(r, f, "services", "node-ports");
    put_jump(f, "nat-prerouting", "services", false);
    put_jump(f, "nat-output", "services", false);
    put_masquerade(r, f);
    put_checks(r, f);
    put_jump(f, "filter-prerouting", "firewall-check", true);
    put_jump(f, "filter-input", "no-endpoints-check", true);
    put_jump(f, "filter-forward", "no-endpoints-check", true);
    put_jump(f, "filter-forward", "cluster-ips-check", true);
    put_jump(f, "filter-output", "firewall-check", true);
    put_jump(f, "filter-output", "no-endpoints-check", true);
    put_jump(f, "filter-output-late", "cluster-ips-check", true);
}
