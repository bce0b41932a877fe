/* Tables, chains, sets and elements as batch messages. */
#include "net/nft_private.h"
#include <arpa/inet.h>
#include <assert.h>
#include <endian.h>

void nft_put_value(struct nlmsghdr *h, uint16_t type, const void *p, size_t n)
{
    struct nlattr *nest = mnl_attr_nest_start(h, type);

    mnl_attr_put(h, NFTA_DATA_VALUE, n, p);
    mnl_attr_nest_end(h, nest);
}

void nft_put_verdict(struct nlmsghdr *h, uint16_t type, int32_t code, const char *chain)
{
    struct nlattr *nest = mnl_attr_nest_start(h, type);
    struct nlattr *v = mnl_attr_nest_start(h, NFTA_DATA_VERDICT);

    mnl_attr_put_u32(h, NFTA_VERDICT_CODE, htonl((uint32_t)code));
    if (chain)
        mnl_attr_put_strz(h, NFTA_VERDICT_CHAIN, chain);
    mnl_attr_nest_end(h, v);
    mnl_attr_nest_end(h, nest);
}

/* ---- tables ---- */

void nft_table_add(struct nft_batch *b, struct str userdata)
{
    struct nlmsghdr *h = nft_message_begin(b, NFT_MSG_NEWTABLE, NLM_F_CREATE);

    mnl_attr_put_u32(h, NFTA_TABLE_FLAGS, 0);
    if (userdata.n)
        mnl_attr_put(h, NFTA_TABLE_USERDATA, userdata.n, userdata.p);
}

void nft_table_delete(struct nft_batch *b)
{
    (void)nft_message_begin(b, NFT_MSG_DELTABLE, 0);
}

void nft_table_remove(struct nft_batch *b)
{
    nft_table_add(b, STR_NULL);
    nft_table_delete(b);
}

/* ---- chains ---- */

void nft_chain_add(struct nft_batch *b, const char *chain)
{
    mnl_attr_put_strz(nft_message_begin(b, NFT_MSG_NEWCHAIN, NLM_F_CREATE), NFTA_CHAIN_NAME, chain);
}

void nft_chain_add_base(struct nft_batch *b, const char *chain, const char *type, uint32_t hook,
                        int32_t priority, uint32_t policy)
{
    struct nlmsghdr *h = nft_message_begin(b, NFT_MSG_NEWCHAIN, NLM_F_CREATE);
    struct nlattr *nest;

    mnl_attr_put_strz(h, NFTA_CHAIN_NAME, chain);
    nest = mnl_attr_nest_start(h, NFTA_CHAIN_HOOK);
    mnl_attr_put_u32(h, NFTA_HOOK_HOOKNUM, htonl(hook));
    mnl_attr_put_u32(h, NFTA_HOOK_PRIORITY, htonl((uint32_t)priority));
    mnl_attr_nest_end(h, nest);
    mnl_attr_put_u32(h, NFTA_CHAIN_POLICY, htonl(policy));
    mnl_attr_put_strz(h, NFTA_CHAIN_TYPE, type);
}

void nft_chain_flush(struct nft_batch *b, const char *chain)
{
    mnl_attr_put_strz(nft_message_begin(b, NFT_MSG_DELRULE, 0), NFTA_RULE_CHAIN, chain);
}

void nft_chain_delete(struct nft_batch *b, const char *chain)
{
    mnl_attr_put_strz(nft_message_begin(b, NFT_MSG_DELCHAIN, 0), NFTA_CHAIN_NAME, chain);
}

/* ---- sets ---- */

static void put_description(struct nlmsghdr *h, const struct nft_set_spec *s)
{
    struct nlattr *desc = mnl_attr_nest_start(h, NFTA_SET_DESC);

    if (s->size)
        mnl_attr_put_u32(h, NFTA_SET_DESC_SIZE, htonl(s->size));
    if (s->flags & NFT_SET_CONCAT) {
        struct nlattr *concat = mnl_attr_nest_start(h, NFTA_SET_DESC_CONCAT);
        for (size_t i = 0; i < NFT_SET_FIELDS_MAX && s->fields[i]; i++) {
            struct nlattr *f = mnl_attr_nest_start(h, NFTA_LIST_ELEM);
            mnl_attr_put_u32(h, NFTA_SET_FIELD_LEN, htonl(s->fields[i]));
            mnl_attr_nest_end(h, f);
        }
        mnl_attr_nest_end(h, concat);
    }
    mnl_attr_nest_end(h, desc);
}

void nft_set_add(struct nft_batch *b, const struct nft_set_spec *s)
{
    struct nlmsghdr *h = nft_message_begin(b, NFT_MSG_NEWSET, NLM_F_CREATE);

    mnl_attr_put_strz(h, NFTA_SET_NAME, s->name);
    mnl_attr_put_u32(h, NFTA_SET_FLAGS, htonl(s->flags));
    mnl_attr_put_u32(h, NFTA_SET_KEY_TYPE, htonl(s->key_type));
    mnl_attr_put_u32(h, NFTA_SET_KEY_LEN, htonl(s->key_bytes));
    if (s->flags & NFT_SET_MAP) {
        mnl_attr_put_u32(h, NFTA_SET_DATA_TYPE,
                         htonl(s->verdicts ? NFT_DATA_VERDICT : s->data_type));
        mnl_attr_put_u32(h, NFTA_SET_DATA_LEN,
                         htonl(s->verdicts ? sizeof(uint32_t) : s->data_bytes));
    }
    if (s->timeout_ms)
        mnl_attr_put_u64(h, NFTA_SET_TIMEOUT, htobe64(s->timeout_ms));
    mnl_attr_put_u32(h, NFTA_SET_ID, htonl(++b->set_id));
    if (s->size || s->flags & NFT_SET_CONCAT)
        put_description(h, s);
}

void nft_set_delete(struct nft_batch *b, const char *set)
{
    mnl_attr_put_strz(nft_message_begin(b, NFT_MSG_DELSET, 0), NFTA_SET_NAME, set);
}

void nft_set_flush(struct nft_batch *b, const char *set)
{
    mnl_attr_put_strz(nft_message_begin(b, NFT_MSG_DELSETELEM, 0), NFTA_SET_ELEM_LIST_SET, set);
}

/* ---- elements ---- */

static void element_begin(struct nft_batch *b, uint8_t type, const char *set)
{
    size_t room = 1024;

    if (b->element_message == type && streq(b->element_set, set) &&
        b->open->nlmsg_len + room < 60000)
        return;
    nft_message_begin(b, type, type == NFT_MSG_NEWSETELEM ? NLM_F_CREATE : 0);
    mnl_attr_put_strz(b->open, NFTA_SET_ELEM_LIST_SET, set);
    b->list = mnl_attr_nest_start(b->open, NFTA_SET_ELEM_LIST_ELEMENTS);
    b->element_message = type;
    assert(strlen(set) < sizeof(b->element_set));
    memcpy(b->element_set, set, strlen(set) + 1);
}

static void element_put(struct nft_batch *b, const struct nft_element *e, bool with_data)
{
    struct nlmsghdr *h = b->open;
    struct nlattr *nest = mnl_attr_nest_start(h, NFTA_LIST_ELEM);

    assert(e->key_bytes <= 64 && e->data_bytes <= 64);
    nft_put_value(h, NFTA_SET_ELEM_KEY, e->key, e->key_bytes);
    if (e->key_end)
        nft_put_value(h, NFTA_SET_ELEM_KEY_END, e->key_end, e->key_bytes);
    if (e->interval_end)
        mnl_attr_put_u32(h, NFTA_SET_ELEM_FLAGS, htonl(NFT_SET_ELEM_INTERVAL_END));
    if (with_data && e->data)
        nft_put_value(h, NFTA_SET_ELEM_DATA, e->data, e->data_bytes);
    else if (with_data && e->chain)
        nft_put_verdict(h, NFTA_SET_ELEM_DATA, NFT_GOTO, e->chain);
    else if (with_data && e->has_verdict)
        nft_put_verdict(h, NFTA_SET_ELEM_DATA, e->verdict, NULL);
    mnl_attr_nest_end(h, nest);
}

void nft_element_add(struct nft_batch *b, const struct nft_element *e)
{
    element_begin(b, NFT_MSG_NEWSETELEM, e->set);
    element_put(b, e, true);
}

void nft_element_delete(struct nft_batch *b, const struct nft_element *e)
{
    element_begin(b, NFT_MSG_DELSETELEM, e->set);
    element_put(b, e, false);
}
