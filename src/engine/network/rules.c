/* What we ask of netfilter stands in one table of our own, rewritten as a whole: host ports are
 * few. */
#include "base/cleanup.h"
#include "base/log.h"
#include "engine/network/network_private.h"
#include "net/nft.h"
#include <linux/rtnetlink.h>

#define TABLE "skiff-engine"
#define FORWARD_CHAIN "SKIFF-FORWARD" /* in iptables' filter table */
#define PORT_MARK 0x00800000u         /* of packets that a host port redirected, until they leave */
#define SADDR 12
#define DADDR 16

static void match_net(struct nft_batch *b, uint32_t offset, const struct ipnet *net, bool inside)
{
    struct ipnet masked = ipnet_masked(net);
    uint8_t mask[16], zero[4] = {0};

    ipnet_mask_bytes(net, mask);
    nft_expr_payload(b, NFT_PAYLOAD_NETWORK_HEADER, offset, 4, 0);
    nft_expr_bitwise(b, 0, mask, zero, 4);
    nft_expr_compare(b, inside ? NFT_CMP_EQ : NFT_CMP_NEQ, 0, masked.ip.bytes, 4);
}

static void match_link(struct nft_batch *b, uint32_t key, const char *name)
{
    char text[IFNAMSIZ] = "";

    memcpy(text, name, strlen(name) < sizeof text ? strlen(name) : sizeof text - 1);
    nft_expr_meta(b, key, 0);
    nft_expr_compare(b, NFT_CMP_EQ, 0, text, sizeof text);
}

static void match_mark(struct nft_batch *b)
{
    uint32_t mask = PORT_MARK, zero = 0;

    nft_expr_meta(b, NFT_META_MARK, 0);
    nft_expr_bitwise(b, 0, &mask, &zero, sizeof mask);
    nft_expr_compare(b, NFT_CMP_NEQ, 0, &zero, sizeof zero);
}

static void add_masquerade(struct network *n, struct nft_batch *b)
{
    static const struct ipnet loopback = {{AF_INET, {127}}, 8}, multicast = {{AF_INET, {224}}, 4};

    nft_chain_add_base(b, "postrouting", "nat", NF_INET_POST_ROUTING, 100, NF_ACCEPT);
    /* A pod that comes back through a host port must not see its own address, nor loopback's. */
    nft_rule_begin(b, "postrouting");
    match_mark(b);
    match_net(b, SADDR, &n->subnet, true);
    nft_expr_masquerade(b, false);
    nft_rule_end(b);
    nft_rule_begin(b, "postrouting");
    match_mark(b);
    match_net(b, SADDR, &loopback, true);
    nft_expr_masquerade(b, false);
    nft_rule_end(b);
    if (!n->masquerade)
        return;
    nft_rule_begin(b, "postrouting");
    match_net(b, SADDR, &n->subnet, true);
    match_net(b, DADDR, &n->subnet, false);
    if (n->cluster.ip.family)
        match_net(b, DADDR, &n->cluster, false);
    match_net(b, DADDR, &multicast, false);
    nft_expr_masquerade(b, true);
    nft_rule_end(b);
}

static void accept_bridge(const struct network *n, struct nft_batch *b, const char *chain)
{
    nft_rule_begin(b, chain);
    match_link(b, NFT_META_IIFNAME, n->bridge);
    nft_expr_verdict(b, NF_ACCEPT, NULL);
    nft_rule_end(b);
    nft_rule_begin(b, chain);
    match_link(b, NFT_META_OIFNAME, n->bridge);
    nft_expr_verdict(b, NF_ACCEPT, NULL);
    nft_rule_end(b);
}

static void add_forward(struct network *n, struct nft_batch *b)
{
    nft_chain_add_base(b, "forward", "filter", NF_INET_FORWARD, 0, NF_ACCEPT);
    accept_bridge(n, b, "forward");
}

static void jump_if_local(struct nft_batch *b, const char *chain)
{
    uint32_t local = RTN_LOCAL;

    nft_rule_begin(b, chain);
    nft_expr_fib(b, NFT_FIB_RESULT_ADDRTYPE, NFTA_FIB_F_DADDR, 0);
    nft_expr_compare(b, NFT_CMP_EQ, 0, &local, sizeof local);
    nft_expr_verdict(b, NFT_JUMP, "hostports");
    nft_rule_end(b);
}

static void add_port(struct nft_batch *b, const struct lease *l, const struct network_port *p)
{
    uint32_t mark = PORT_MARK;
    uint16_t host = htons(p->host), port = htons(p->container);

    nft_rule_begin(b, "hostports");
    nft_expr_meta(b, NFT_META_L4PROTO, 0);
    nft_expr_compare(b, NFT_CMP_EQ, 0, &p->protocol, 1);
    if (p->host_ip.family == AF_INET) {
        nft_expr_payload(b, NFT_PAYLOAD_NETWORK_HEADER, DADDR, 4, 0);
        nft_expr_compare(b, NFT_CMP_EQ, 0, p->host_ip.bytes, 4);
    }
    nft_expr_payload(b, NFT_PAYLOAD_TRANSPORT_HEADER, 2, 2, 0);
    nft_expr_compare(b, NFT_CMP_EQ, 0, &host, sizeof host);
    nft_expr_immediate(b, 0, &mark, sizeof mark);
    nft_expr_meta_set(b, NFT_META_MARK, 0);
    nft_expr_immediate(b, 0, l->ip.bytes, 4);
    nft_expr_immediate(b, 1, &port, sizeof port);
    nft_expr_dnat(b, NFPROTO_IPV4, 0, 1);
    nft_rule_end(b);
}

static void add_ports(struct network *n, struct nft_batch *b)
{
    struct map_entry *e;
    size_t it = 0;

    nft_chain_add(b, "hostports");
    nft_chain_add_base(b, "prerouting", "nat", NF_INET_PRE_ROUTING, -100, NF_ACCEPT);
    nft_chain_add_base(b, "output", "nat", NF_INET_LOCAL_OUT, -100, NF_ACCEPT);
    jump_if_local(b, "prerouting");
    jump_if_local(b, "output");
    while ((e = map_next(&n->leases, &it))) {
        const struct lease *l = e->value;

        for (size_t i = 0; i < l->ports_n; i++)
            add_port(b, l, &l->ports[i]);
    }
}

/* ---- iptables' own table ---- */
struct chains {
    bool forward, ours;
};

static int on_chain(const char *name, void *arg)
{
    struct chains *c = arg;

    c->forward = c->forward || streq(name, "FORWARD");
    c->ours = c->ours || streq(name, FORWARD_CHAIN);
    return 0;
}

/*
 * What one base chain accepts another's policy still drops: where iptables' FORWARD chain exists,
 * the accept has to stand in it. Its rules cannot be asked for, so our chain's presence tells that
 * the jump to it was made already.
 */
static void accept_in_iptables(struct network *n, struct nft *nft)
{
    struct chains c = {0};
    struct nft_batch *b;
    cleanup_error struct error *err = NULL;

    if (nft_chain_each(nft, NFPROTO_IPV4, "filter", on_chain, &c, NULL) < 0 || !c.forward)
        return;
    b = nft_batch_new(nft, NFPROTO_IPV4, "filter");
    nft_chain_add(b, FORWARD_CHAIN);
    nft_chain_flush(b, FORWARD_CHAIN);
    accept_bridge(n, b, FORWARD_CHAIN);
    if (!c.ours) {
        nft_rule_begin(b, "FORWARD");
        nft_expr_verdict(b, NFT_JUMP, FORWARD_CHAIN);
        nft_rule_end(b);
    }
    if (nft_batch_commit(b, &err) < 0)
        log_warn("network", "iptables' FORWARD chain may cut pods off", "reason",
                 error_message(err), NULL);
    nft_batch_free(b);
}

int rules_apply(struct network *n, struct error **err)
{
    struct nft *nft;
    struct nft_batch *b;
    int r;

    if (!n->rules)
        return 0;
    r = nft_open(-1, &nft, err);
    if (r < 0)
        return r;
    b = nft_batch_new(nft, NFPROTO_IPV4, TABLE);
    nft_table_remove(b);
    nft_table_add(b, STR_NULL);
    add_masquerade(n, b);
    add_forward(n, b);
    add_ports(n, b);
    r = nft_batch_commit(b, err);
    nft_batch_free(b);
    if (r == 0)
        accept_in_iptables(n, nft);
    nft_close(nft);
    return r;
}
