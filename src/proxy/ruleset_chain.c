/* Rules of the chains that Services share. */
#include "proxy/ruleset_private.h"
#include <arpa/inet.h>
#include <linux/rtnetlink.h>

enum who { ANYONE, PODS, THIS_NODE };

/* Matches packets whose source is a pod (or is not). False: there is no way to know. */
static bool match_pod(struct ruleset *r, struct family *f, bool inverted)
{
    const struct ruleset_options *o = &r->options;
    uint32_t op = inverted ? NFT_CMP_NEQ : NFT_CMP_EQ;
    static const uint8_t zero[16];
    uint8_t mask[16], name[IFNAMSIZ] = {0};

    switch (o->detect_local) {
    case PROXY_LOCAL_CLUSTER_CIDR:
    case PROXY_LOCAL_NODE_CIDR: {
        struct ipnet masked = ipnet_masked(&o->pods[f->v6]);
        if (!o->pods[f->v6].ip.family)
            return false;
        ipnet_mask_bytes(&masked, mask);
        nft_expr_payload(f->batch, NFT_PAYLOAD_NETWORK_HEADER, f->saddr, f->bytes, 0);
        nft_expr_bitwise(f->batch, 0, mask, zero, f->bytes);
        nft_expr_compare(f->batch, op, 0, masked.ip.bytes, f->bytes);
        return true;
    }
    case PROXY_LOCAL_BRIDGE:
    case PROXY_LOCAL_PREFIX: {
        size_t n = strnlen(o->interface, IFNAMSIZ);
        if (n == 0)
            return false;
        memcpy(name, o->interface, n);
        nft_expr_meta(f->batch, NFT_META_IIFNAME, 0);
        nft_expr_compare(f->batch, op, 0, name,
                         o->detect_local == PROXY_LOCAL_BRIDGE ? IFNAMSIZ : n);
        return true;
    }
    }
    return false;
}

static void put_mark(struct ruleset *r, struct family *f)
{
    const uint32_t rest = ~r->options.mark, mark = r->options.mark;

    nft_expr_meta(f->batch, NFT_META_MARK, 0);
    nft_expr_bitwise(f->batch, 0, &rest, &mark, 4);
    nft_expr_meta_set(f->batch, NFT_META_MARK, 0);
}

static bool put_who(struct ruleset *r, struct family *f, enum who who)
{
    const uint32_t local = RTN_LOCAL;

    switch (who) {
    case ANYONE:
        return true;
    case PODS:
        return match_pod(r, f, false);
    case THIS_NODE:
        nft_expr_fib(f->batch, NFT_FIB_RESULT_ADDRTYPE, NFTA_FIB_F_SADDR, 0);
        nft_expr_compare(f->batch, NFT_CMP_EQ, 0, &local, sizeof(local));
        put_mark(r, f);
        return true;
    }
    return true;
}

static bool has_who(const struct ruleset *r, const struct family *f, enum who who)
{
    if (who != PODS)
        return true;
    if (r->options.detect_local == PROXY_LOCAL_BRIDGE ||
        r->options.detect_local == PROXY_LOCAL_PREFIX)
        return r->options.interface[0] != 0;
    return r->options.pods[f->v6].ip.family != 0;
}

static void load_key(struct family *f, const struct chain_spec *s)
{
    static const uint8_t zero[16];
    unsigned a = f->a;

    if (s->affinity_s)
        nft_expr_payload(f->batch, NFT_PAYLOAD_NETWORK_HEADER, f->saddr, f->bytes, 0);
    if (s->node_port)
        nft_expr_immediate(f->batch, a, zero, f->bytes);
    else
        nft_expr_payload(f->batch, NFT_PAYLOAD_NETWORK_HEADER, f->daddr, f->bytes, a);
    nft_expr_meta(f->batch, NFT_META_L4PROTO, 2 * a);
    nft_expr_payload(f->batch, NFT_PAYLOAD_TRANSPORT_HEADER, 2, 2, 2 * a + 1);
}

/* What this client used before and may still use. */
static void put_sticky_known(struct ruleset *r, struct family *f, const struct chain_spec *s,
                             enum who who, uint32_t list)
{
    unsigned a = f->a, slot = 2 * a + 2, address = 2 * a + 3, port = 3 * a + 3;

    (void)put_who(r, f, who);
    load_key(f, s);
    nft_expr_immediate(f->batch, slot, &list, sizeof(list));
    nft_expr_lookup(f->batch, "affinity", 0, address, false);
    nft_expr_lookup(f->batch, "live", a, NFT_NO_REG, false);
    nft_expr_dynset(f->batch, "affinity", NFT_DYNSET_OP_UPDATE, 0, address,
                    (uint64_t)s->affinity_s * 1000);
    nft_expr_dnat(f->batch, f->nfproto, address, port);
}

static void put_random(struct ruleset *r, struct family *f, const struct chain_spec *s,
                       enum who who, uint32_t list, uint32_t count, bool remember)
{
    unsigned a = f->a, slot = 2 * a + 2, address = 2 * a + 3, port = 3 * a + 3;

    (void)put_who(r, f, who);
    load_key(f, s);
    nft_expr_random(f->batch, count, list, slot);
    nft_expr_lookup(f->batch, "endpoints", a, address, false);
    if (remember) {
        /* An update renews the time but keeps the old target, so a stale entry goes first. */
        nft_expr_dynset(f->batch, "affinity", NFT_DYNSET_OP_DELETE, 0, address, 0);
        nft_expr_dynset(f->batch, "affinity", NFT_DYNSET_OP_UPDATE, 0, address,
                        (uint64_t)s->affinity_s * 1000);
    }
    nft_expr_dnat(f->batch, f->nfproto, address, port);
}

static void put_dnat(struct ruleset *r, struct family *f, const struct chain *c, enum who who,
                     uint32_t list, uint32_t count)
{
    if (count == 0 || !has_who(r, f, who))
        return;
    if (c->spec.affinity_s) {
        nft_rule_begin(f->batch, c->name);
        put_sticky_known(r, f, &c->spec, who, list);
        nft_rule_end(f->batch);
        nft_rule_begin(f->batch, c->name);
        put_random(r, f, &c->spec, who, list, count, true);
        nft_rule_end(f->batch);
    }
    nft_rule_begin(f->batch, c->name); /* with affinity: when its table is full */
    put_random(r, f, &c->spec, who, list, count, false);
    nft_rule_end(f->batch);
}

/* A rule that marks for masquerading and goes on. */
static void put_mark_rule(struct ruleset *r, struct family *f, const struct chain *c,
                          bool unless_pod)
{
    nft_rule_begin(f->batch, c->name);
    if (unless_pod)
        (void)match_pod(r, f, true);
    put_mark(r, f);
    nft_rule_end(f->batch);
}

void ruleset_put_chain_rules(struct ruleset *r, struct family *f, const struct chain *c)
{
    const struct chain_spec *s = &c->spec;

    switch ((enum chain_kind)s->kind) {
    case CHAIN_CLUSTER:
        if (r->options.masquerade_all)
            put_mark_rule(r, f, c, false);
        else if (has_who(r, f, PODS))
            put_mark_rule(r, f, c, true);
        put_dnat(r, f, c, ANYONE, 0, s->n);
        break;
    case CHAIN_EXTERNAL:
        put_mark_rule(r, f, c, false);
        put_dnat(r, f, c, ANYONE, 0, s->n);
        break;
    case CHAIN_LOCAL:
        put_dnat(r, f, c, PODS, 0, s->n);
        put_dnat(r, f, c, THIS_NODE, 0, s->n);
        put_dnat(r, f, c, ANYONE, ELEMENT_LOCAL_LIST, s->m);
        if (s->m == 0) {
            nft_rule_begin(f->batch, c->name);
            nft_expr_verdict(f->batch, NF_DROP, NULL);
            nft_rule_end(f->batch);
        }
        break;
    }
}
