/* Rules as batch messages, expression by expression. */
#include "net/nft_private.h"
#include <arpa/inet.h>
#include <endian.h>
#include <linux/netfilter/nf_nat.h>

static void put(struct nft_batch *b, uint16_t type, uint32_t v)
{
    mnl_attr_put_u32(b->open, type, htonl(v));
}

static uint32_t reg32(unsigned reg)
{
    return NFT_REG32_00 + reg;
}

void nft_rule_begin(struct nft_batch *b, const char *chain)
{
    struct nlmsghdr *h = nft_message_begin(b, NFT_MSG_NEWRULE, NLM_F_CREATE | NLM_F_APPEND);

    mnl_attr_put_strz(h, NFTA_RULE_CHAIN, chain);
    b->list = mnl_attr_nest_start(h, NFTA_RULE_EXPRESSIONS);
}

void nft_rule_end(struct nft_batch *b)
{
    nft_message_end(b);
}

struct nft_expr nft_expr_begin(struct nft_batch *b, const char *name)
{
    struct nft_expr e;

    e.element = mnl_attr_nest_start(b->open, NFTA_LIST_ELEM);
    mnl_attr_put_strz(b->open, NFTA_EXPR_NAME, name);
    e.data = mnl_attr_nest_start(b->open, NFTA_EXPR_DATA);
    return e;
}

void nft_expr_end(struct nft_batch *b, struct nft_expr e)
{
    mnl_attr_nest_end(b->open, e.data);
    mnl_attr_nest_end(b->open, e.element);
}

void nft_expr_payload(struct nft_batch *b, uint32_t base, uint32_t offset, uint32_t bytes,
                      unsigned reg)
{
    struct nft_expr e = nft_expr_begin(b, "payload");

    put(b, NFTA_PAYLOAD_DREG, reg32(reg));
    put(b, NFTA_PAYLOAD_BASE, base);
    put(b, NFTA_PAYLOAD_OFFSET, offset);
    put(b, NFTA_PAYLOAD_LEN, bytes);
    nft_expr_end(b, e);
}

void nft_expr_meta(struct nft_batch *b, uint32_t key, unsigned reg)
{
    struct nft_expr e = nft_expr_begin(b, "meta");

    put(b, NFTA_META_KEY, key);
    put(b, NFTA_META_DREG, reg32(reg));
    nft_expr_end(b, e);
}

void nft_expr_meta_set(struct nft_batch *b, uint32_t key, unsigned reg)
{
    struct nft_expr e = nft_expr_begin(b, "meta");

    put(b, NFTA_META_KEY, key);
    put(b, NFTA_META_SREG, reg32(reg));
    nft_expr_end(b, e);
}

void nft_expr_ct(struct nft_batch *b, uint32_t key, unsigned reg)
{
    struct nft_expr e = nft_expr_begin(b, "ct");

    put(b, NFTA_CT_KEY, key);
    put(b, NFTA_CT_DREG, reg32(reg));
    nft_expr_end(b, e);
}

void nft_expr_immediate(struct nft_batch *b, unsigned reg, const void *p, size_t n)
{
    struct nft_expr e = nft_expr_begin(b, "immediate");

    put(b, NFTA_IMMEDIATE_DREG, reg32(reg));
    nft_put_value(b->open, NFTA_IMMEDIATE_DATA, p, n);
    nft_expr_end(b, e);
}

void nft_expr_verdict(struct nft_batch *b, int32_t code, const char *chain)
{
    struct nft_expr e = nft_expr_begin(b, "immediate");

    put(b, NFTA_IMMEDIATE_DREG, NFT_REG_VERDICT);
    nft_put_verdict(b->open, NFTA_IMMEDIATE_DATA, code, chain);
    nft_expr_end(b, e);
}

void nft_expr_compare(struct nft_batch *b, uint32_t op, unsigned reg, const void *p, size_t n)
{
    struct nft_expr e = nft_expr_begin(b, "cmp");

    put(b, NFTA_CMP_SREG, reg32(reg));
    put(b, NFTA_CMP_OP, op);
    nft_put_value(b->open, NFTA_CMP_DATA, p, n);
    nft_expr_end(b, e);
}

void nft_expr_bitwise(struct nft_batch *b, unsigned reg, const void *mask, const void * xor,
                      size_t n)
{
    struct nft_expr e = nft_expr_begin(b, "bitwise");

    put(b, NFTA_BITWISE_SREG, reg32(reg));
    put(b, NFTA_BITWISE_DREG, reg32(reg));
    put(b, NFTA_BITWISE_LEN, (uint32_t)n);
    nft_put_value(b->open, NFTA_BITWISE_MASK, mask, n);
    nft_put_value(b->open, NFTA_BITWISE_XOR, xor, n);
    nft_expr_end(b, e);
}

static void lookup(struct nft_batch *b, const char *set, unsigned reg, uint32_t dreg, bool has_dest,
                   bool inverted)
{
    struct nft_expr e = nft_expr_begin(b, "lookup");

    mnl_attr_put_strz(b->open, NFTA_LOOKUP_SET, set);
    put(b, NFTA_LOOKUP_SREG, reg32(reg));
    if (has_dest)
        put(b, NFTA_LOOKUP_DREG, dreg);
    if (inverted)
        put(b, NFTA_LOOKUP_FLAGS, NFT_LOOKUP_F_INV);
    nft_expr_end(b, e);
}

void nft_expr_lookup(struct nft_batch *b, const char *set, unsigned reg, unsigned dest,
                     bool inverted)
{
    lookup(b, set, reg, dest == NFT_NO_REG ? 0 : reg32(dest), dest != NFT_NO_REG, inverted);
}

void nft_expr_vmap(struct nft_batch *b, const char *map, unsigned reg)
{
    lookup(b, map, reg, NFT_REG_VERDICT, true, false);
}

void nft_expr_fib(struct nft_batch *b, uint32_t result, uint32_t flags, unsigned reg)
{
    struct nft_expr e = nft_expr_begin(b, "fib");

    put(b, NFTA_FIB_DREG, reg32(reg));
    put(b, NFTA_FIB_RESULT, result);
    put(b, NFTA_FIB_FLAGS, flags);
    nft_expr_end(b, e);
}

void nft_expr_random(struct nft_batch *b, uint32_t modulus, uint32_t offset, unsigned reg)
{
    struct nft_expr e = nft_expr_begin(b, "numgen");

    put(b, NFTA_NG_DREG, reg32(reg));
    put(b, NFTA_NG_MODULUS, modulus);
    put(b, NFTA_NG_TYPE, NFT_NG_RANDOM);
    put(b, NFTA_NG_OFFSET, offset);
    nft_expr_end(b, e);
}

void nft_expr_dynset(struct nft_batch *b, const char *set, uint32_t op, unsigned key_reg,
                     unsigned data_reg, uint64_t timeout_ms)
{
    struct nft_expr e = nft_expr_begin(b, "dynset");

    mnl_attr_put_strz(b->open, NFTA_DYNSET_SET_NAME, set);
    put(b, NFTA_DYNSET_OP, op);
    put(b, NFTA_DYNSET_SREG_KEY, reg32(key_reg));
    if (data_reg != NFT_NO_REG)
        put(b, NFTA_DYNSET_SREG_DATA, reg32(data_reg));
    if (timeout_ms)
        mnl_attr_put_u64(b->open, NFTA_DYNSET_TIMEOUT, htobe64(timeout_ms));
    nft_expr_end(b, e);
}

void nft_expr_dnat(struct nft_batch *b, uint8_t family, unsigned address_reg, unsigned port_reg)
{
    struct nft_expr e = nft_expr_begin(b, "nat");

    put(b, NFTA_NAT_TYPE, NFT_NAT_DNAT);
    put(b, NFTA_NAT_FAMILY, family);
    put(b, NFTA_NAT_REG_ADDR_MIN, reg32(address_reg));
    put(b, NFTA_NAT_REG_PROTO_MIN, reg32(port_reg));
    nft_expr_end(b, e);
}

void nft_expr_masquerade(struct nft_batch *b, bool fully_random)
{
    struct nft_expr e = nft_expr_begin(b, "masq");

    if (fully_random)
        put(b, NFTA_MASQ_FLAGS, NF_NAT_RANGE_PROTO_RANDOM_FULLY);
    nft_expr_end(b, e);
}

void nft_expr_reject(struct nft_batch *b, uint32_t type, uint8_t code)
{
    struct nft_expr e = nft_expr_begin(b, "reject");

    put(b, NFTA_REJECT_TYPE, type);
    mnl_attr_put_u8(b->open, NFTA_REJECT_ICMP_CODE, code);
    nft_expr_end(b, e);
}

void nft_expr_counter(struct nft_batch *b)
{
    nft_expr_end(b, nft_expr_begin(b, "counter"));
}
