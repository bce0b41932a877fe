/* Routes, neighbours and forwarding entries. */
#include "base/cleanup.h"
#include "base/log.h"
#include "base/mem.h"
#include "overlay/fabric.h"
#include <errno.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>

struct levelling {
    struct fabric *f;
    const struct lease *peers;
    size_t n;
    const struct ipnet *network;
    bool *seen;                /* per peer */
    struct rtnl_route *routes; /* to delete */
    size_t routes_n;
    struct rtnl_neighbour *neighbours;
    size_t neighbours_n;
    bool fdb;
};

static struct rtnl_route route_to(const struct fabric *f, const struct lease *p)
{
    if (p->backend == LEASE_HOST_GW)
        return (struct rtnl_route){
            .dst = p->subnet, .gateway = p->public_ip, .oif = f->parent.index};
    /* The gateway is the far end's own tunnel address, which no route leads to: on link. */
    return (struct rtnl_route){
        .dst = p->subnet, .gateway = p->subnet.ip, .oif = f->device, .onlink = true};
}

static struct rtnl_neighbour neighbour_of(const struct fabric *f, const struct lease *p, bool fdb)
{
    struct rtnl_neighbour b = {
        .index = f->device, .fdb = fdb, .ip = fdb ? p->public_ip : p->subnet.ip};

    memcpy(b.mac, p->mac, MAC_BYTES);
    return b;
}

static bool is_ours(const struct levelling *l, const struct rtnl_route *r)
{
    if (l->f->device && r->oif == l->f->device)
        return true;
    return r->oif == l->f->parent.index && r->gateway.family &&
           ipnet_contains(l->network, &r->dst.ip) && r->dst.bits >= l->network->bits;
}

static int on_route(const struct rtnl_route *r, void *arg)
{
    struct levelling *l = arg;

    if (!is_ours(l, r))
        return 0;
    for (size_t i = 0; i < l->n; i++) {
        struct rtnl_route want = route_to(l->f, &l->peers[i]);
        if (!ipnet_equal(&want.dst, &r->dst) || want.oif != r->oif ||
            !ip_equal(&want.gateway, &r->gateway))
            continue;
        l->seen[i] = true;
        return 0;
    }
    l->routes = xreallocarray(l->routes, l->routes_n + 1, sizeof(*l->routes));
    l->routes[l->routes_n++] = *r;
    return 0;
}

static int level_routes(struct levelling *l, size_t *changes, struct error **err)
{
    int r = rtnl_route_each(l->f->route, AF_INET, RTNL_PROTO_SKIFF, on_route, l, err);

    for (size_t i = 0; i < l->routes_n && r == 0; i++) {
        r = rtnl_route_delete(l->f->route, &l->routes[i], err);
        ++*changes;
    }
    for (size_t i = 0; i < l->n && r == 0; i++) {
        struct rtnl_route want = route_to(l->f, &l->peers[i]);
        if (l->seen[i])
            continue;
        r = rtnl_route_replace(l->f->route, &want, err);
        ++*changes;
    }
    return r;
}

static int on_neighbour(const struct rtnl_neighbour *b, void *arg)
{
    static const uint8_t none[MAC_BYTES];
    struct levelling *l = arg;

    if (!(b->state & NUD_PERMANENT) || b->ip.family != AF_INET ||
        memcmp(b->mac, none, MAC_BYTES) == 0)
        return 0;
    for (size_t i = 0; i < l->n; i++) {
        struct rtnl_neighbour want = neighbour_of(l->f, &l->peers[i], l->fdb);
        if (l->peers[i].backend == LEASE_VXLAN && ip_equal(&want.ip, &b->ip) &&
            memcmp(want.mac, b->mac, MAC_BYTES) == 0) {
            l->seen[i] = true;
            return 0;
        }
    }
    l->neighbours = xreallocarray(l->neighbours, l->neighbours_n + 1, sizeof(*b));
    l->neighbours[l->neighbours_n++] = *b;
    return 0;
}

static int level_neighbours(struct levelling *l, bool fdb, size_t *changes, struct error **err)
{
    int r;

    l->fdb = fdb;
    l->neighbours_n = 0;
    memset(l->seen, 0, l->n * sizeof(*l->seen));
    r = rtnl_neighbour_each(l->f->route, l->f->device, fdb, on_neighbour, l, err);
    for (size_t i = 0; i < l->neighbours_n && r == 0; i++) {
        r = rtnl_neighbour_delete(l->f->route, &l->neighbours[i], err);
        ++*changes;
    }
    for (size_t i = 0; i < l->n && r == 0; i++) {
        struct rtnl_neighbour want = neighbour_of(l->f, &l->peers[i], fdb);
        if (l->seen[i] || l->peers[i].backend != LEASE_VXLAN)
            continue;
        r = rtnl_neighbour_replace(l->f->route, &want, err);
        ++*changes;
    }
    return r;
}

int fabric_peers(struct fabric *f, const struct lease *peers, size_t n, const struct ipnet *network,
                 size_t *ret_changes, struct error **err)
{
    struct levelling l = {.f = f,
                          .peers = peers,
                          .n = n,
                          .network = network,
                          .seen = xcalloc(n ? n : 1, sizeof(bool))};
    size_t changes = 0;
    int r = 0;

    /* Entries first: a route without them would lose the first packets. */
    if (f->device)
        r = level_neighbours(&l, true, &changes, err);
    if (r == 0 && f->device)
        r = level_neighbours(&l, false, &changes, err);
    memset(l.seen, 0, n * sizeof(bool));
    if (r == 0)
        r = level_routes(&l, &changes, err);
    free(l.seen);
    free(l.routes);
    free(l.neighbours);
    if (ret_changes)
        *ret_changes = changes;
    return r;
}

/* ---- rules ---- */

static void match(struct nft_batch *b, uint32_t offset, const struct ipnet *n, bool not_)
{
    static const uint8_t zero[16];
    struct ipnet m = ipnet_masked(n);
    uint8_t mask[16];

    ipnet_mask_bytes(n, mask);
    nft_expr_payload(b, NFT_PAYLOAD_NETWORK_HEADER, offset, 4, 0);
    nft_expr_bitwise(b, 0, mask, zero, 4);
    nft_expr_compare(b, not_ ? NFT_CMP_NEQ : NFT_CMP_EQ, 0, m.ip.bytes, 4);
}

#define SADDR 12
#define DADDR 16
struct rule {
    const struct ipnet *source, *destination;
    bool not_source, not_destination, masquerade;
};

static void put_rule(struct nft_batch *b, const char *chain, const struct rule *r)
{
    nft_rule_begin(b, chain);
    if (r->source)
        match(b, SADDR, r->source, r->not_source);
    if (r->destination)
        match(b, DADDR, r->destination, r->not_destination);
    if (r->masquerade)
        nft_expr_masquerade(b, true);
    else
        nft_expr_verdict(b, NF_ACCEPT, NULL);
    nft_rule_end(b);
}

int fabric_rules(struct fabric *f, const struct ipnet *network, const struct ipnet *subnet,
                 bool masquerade, struct error **err)
{
    const struct ipnet multicast = {{AF_INET, {224}}, 4};
    const struct rule post[] = {
        {.source = network, .destination = network},
        {.source = network, .destination = &multicast, .not_destination = true, .masquerade = true},
        {.source = network, .not_source = true, .destination = subnet},
        {.source = network, .not_source = true, .destination = network, .masquerade = true},
    };
    const struct rule forward[] = {{.source = network}, {.destination = network}};
    struct nft_batch *b;

    if (f->rules_done && ipnet_equal(network, &f->rules_network) &&
        ipnet_equal(subnet, &f->rules_subnet) &&
        nft_table_get(f->nft, NFPROTO_IPV4, FABRIC_TABLE, NULL, NULL) == 0)
        return 0;
    b = nft_batch_new(f->nft, NFPROTO_IPV4, FABRIC_TABLE);
    nft_table_add(b, STR_NULL);
    nft_chain_add_base(b, "postrouting", "nat", NF_INET_POST_ROUTING, 100, NF_ACCEPT);
    nft_chain_add_base(b, "forward", "filter", NF_INET_FORWARD, 0, NF_ACCEPT);
    nft_chain_flush(b, "postrouting");
    nft_chain_flush(b, "forward");
    for (size_t i = 0; masquerade && i < ARRAY_LEN(post); i++)
        put_rule(b, "postrouting", &post[i]);
    for (size_t i = 0; i < ARRAY_LEN(forward); i++)
        put_rule(b, "forward", &forward[i]);
    int r = nft_batch_commit(b, err);
    nft_batch_free(b);
    f->rules_done = r == 0;
    f->rules_network = *network;
    f->rules_subnet = *subnet;
    return r;
}
