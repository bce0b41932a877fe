/* Reading the ruleset back, and notifications. */
#include "net/nft_private.h"
#include <arpa/inet.h>
#include <errno.h>
#include <linux/netfilter/nfnetlink.h>

#define NFT_TYPE(msg) ((uint16_t)(NFNL_SUBSYS_NFTABLES << 8 | (msg)))

static struct nlmsghdr *build(struct nft *n, uint8_t message, uint16_t flags, uint8_t family,
                              const char *table)
{
    struct nfgenmsg *g;
    struct nlmsghdr *h = netlink_build(n->query, NFT_TYPE(message), flags, sizeof(*g), &g);

    g->nfgen_family = family;
    g->version = NFNETLINK_V0;
    if (table)
        mnl_attr_put_strz(h, NFTA_TABLE_NAME, table);
    return h;
}

static uint32_t attr_be32(const struct nlattr *a, uint32_t fallback)
{
    return a ? ntohl(netlink_attr_u32(a, htonl(fallback))) : fallback;
}

static int on_generation(const struct nlmsghdr *h, void *arg)
{
    struct nft_event e;

    if (nft_event_parse(h, &e) < 0 || e.message != NFT_MSG_NEWGEN)
        return -EPROTO;
    *(uint32_t *)arg = e.generation;
    return 0;
}

int nft_generation(struct nft *n, uint32_t *ret, struct error **err)
{
    (void)build(n, NFT_MSG_GETGEN, 0, AF_UNSPEC, NULL);
    int r = netlink_query(n->query, on_generation, ret, err, "nf_tables: read the generation");
    return r == -EPROTO && !(err && *err) ? error_set(err, EPROTO, "nf_tables: torn answer") : r;
}

static int on_table(const struct nlmsghdr *h, void *arg)
{
    const struct nlattr *t[NFTA_TABLE_MAX + 1];
    struct buf *b = arg;

    if (netlink_parse(h, sizeof(struct nfgenmsg), t, NFTA_TABLE_MAX) == 0 &&
        t[NFTA_TABLE_USERDATA] && b)
        (void)buf_add(b, mnl_attr_get_payload(t[NFTA_TABLE_USERDATA]),
                      mnl_attr_get_payload_len(t[NFTA_TABLE_USERDATA]));
    return 0;
}

int nft_table_get(struct nft *n, uint8_t family, const char *table, struct buf *ret_userdata,
                  struct error **err)
{
    (void)build(n, NFT_MSG_GETTABLE, 0, family, table);
    return netlink_query(n->query, on_table, ret_userdata, err, "nf_tables: table %s", table);
}

struct name_query {
    const char *table;
    uint16_t table_attr, name_attr;
    nft_name_fn fn;
    void *arg;
};

static int on_name(const struct nlmsghdr *h, void *arg)
{
    const struct name_query *q = arg;
    const struct nlattr *t[4];
    char table[NFT_TABLE_MAXNAMELEN], name[NFT_CHAIN_MAXNAMELEN];

    if (netlink_parse(h, sizeof(struct nfgenmsg), t, 3) < 0)
        return 0;
    netlink_attr_text(t[q->table_attr], table, sizeof(table));
    netlink_attr_text(t[q->name_attr], name, sizeof(name));
    return streq(table, q->table) && name[0] ? q->fn(name, q->arg) : 0;
}

int nft_chain_each(struct nft *n, uint8_t family, const char *table, nft_name_fn fn, void *arg,
                   struct error **err)
{
    struct name_query q = {table, NFTA_CHAIN_TABLE, NFTA_CHAIN_NAME, fn, arg};

    (void)build(n, NFT_MSG_GETCHAIN, NLM_F_DUMP, family, NULL);
    return netlink_query(n->query, on_name, &q, err, "nf_tables: list chains of table %s", table);
}

int nft_set_each(struct nft *n, uint8_t family, const char *table, nft_name_fn fn, void *arg,
                 struct error **err)
{
    struct name_query q = {table, NFTA_SET_TABLE, NFTA_SET_NAME, fn, arg};

    (void)build(n, NFT_MSG_GETSET, NLM_F_DUMP, family, table);
    return netlink_query(n->query, on_name, &q, err, "nf_tables: list sets of table %s", table);
}

struct drop_query {
    uint32_t hook;
    struct nft_chain_found *found;
};

static int on_drop_chain(const struct nlmsghdr *h, void *arg)
{
    const struct drop_query *q = arg;
    const struct nlattr *t[NFTA_CHAIN_MAX + 1], *k[NFTA_HOOK_MAX + 1];

    if (netlink_parse(h, sizeof(struct nfgenmsg), t, NFTA_CHAIN_MAX) < 0 || !t[NFTA_CHAIN_HOOK] ||
        netlink_parse_nested(t[NFTA_CHAIN_HOOK], k, NFTA_HOOK_MAX) < 0)
        return 0;
    if (attr_be32(k[NFTA_HOOK_HOOKNUM], UINT32_MAX) != q->hook ||
        attr_be32(t[NFTA_CHAIN_POLICY], NF_ACCEPT) != NF_DROP)
        return 0;
    netlink_attr_text(t[NFTA_CHAIN_TABLE], q->found->table, sizeof(q->found->table));
    netlink_attr_text(t[NFTA_CHAIN_NAME], q->found->chain, sizeof(q->found->chain));
    return 1;
}

int nft_find_drop_policy(struct nft *n, uint8_t family, uint32_t hook, struct nft_chain_found *ret,
                         struct error **err)
{
    struct drop_query q = {hook, ret};

    (void)build(n, NFT_MSG_GETCHAIN, NLM_F_DUMP, family, NULL);
    return netlink_query(n->query, on_drop_chain, &q, err, "nf_tables: list chains");
}

/* ---- elements ---- */

static int value_of(const struct nlattr *nest, struct str *ret, struct nft_element_view *e)
{
    const struct nlattr *t[NFTA_DATA_MAX + 1], *v[NFTA_VERDICT_MAX + 1];

    if (netlink_parse_nested(nest, t, NFTA_DATA_MAX) < 0)
        return -EINVAL;
    if (t[NFTA_DATA_VALUE])
        *ret = (struct str){mnl_attr_get_payload(t[NFTA_DATA_VALUE]),
                            mnl_attr_get_payload_len(t[NFTA_DATA_VALUE])};
    if (!t[NFTA_DATA_VERDICT] || !e)
        return 0;
    if (netlink_parse_nested(t[NFTA_DATA_VERDICT], v, NFTA_VERDICT_MAX) < 0)
        return -EINVAL;
    e->has_verdict = true;
    e->verdict = (int32_t)attr_be32(v[NFTA_VERDICT_CODE], 0);
    netlink_attr_text(v[NFTA_VERDICT_CHAIN], e->chain, sizeof(e->chain));
    return 0;
}

int nft_element_parse(const struct nlmsghdr *h, nft_element_fn fn, void *arg)
{
    const struct nlattr *t[NFTA_SET_ELEM_LIST_MAX + 1], *x[NFTA_SET_ELEM_MAX + 1], *a;

    if (netlink_parse(h, sizeof(struct nfgenmsg), t, NFTA_SET_ELEM_LIST_MAX) < 0)
        return -EINVAL;
    if (!t[NFTA_SET_ELEM_LIST_ELEMENTS])
        return 0;
    mnl_attr_for_each_nested(a, t[NFTA_SET_ELEM_LIST_ELEMENTS])
    {
        struct nft_element_view e = {0};
        if (netlink_parse_nested(a, x, NFTA_SET_ELEM_MAX) < 0 ||
            value_of(x[NFTA_SET_ELEM_KEY], &e.key, NULL) < 0 ||
            value_of(x[NFTA_SET_ELEM_KEY_END], &e.key_end, NULL) < 0 ||
            value_of(x[NFTA_SET_ELEM_DATA], &e.data, &e) < 0)
            return -EINVAL;
        e.interval_end = attr_be32(x[NFTA_SET_ELEM_FLAGS], 0) & NFT_SET_ELEM_INTERVAL_END;
        int r = fn(&e, arg);
        if (r)
            return r;
    }
    return 0;
}

struct element_query {
    nft_element_fn fn;
    void *arg;
};

static int on_elements(const struct nlmsghdr *h, void *arg)
{
    const struct element_query *q = arg;

    return nft_element_parse(h, q->fn, q->arg);
}

int nft_element_each(struct nft *n, uint8_t family, const char *table, const char *set,
                     nft_element_fn fn, void *arg, struct error **err)
{
    struct element_query q = {fn, arg};
    struct nlmsghdr *h = build(n, NFT_MSG_GETSETELEM, NLM_F_DUMP, family, table);

    mnl_attr_put_strz(h, NFTA_SET_ELEM_LIST_SET, set);
    return netlink_query(n->query, on_elements, &q, err, "nf_tables: list set %s of table %s", set,
                         table);
}

/* ---- notifications ---- */

int nft_event_parse(const struct nlmsghdr *h, struct nft_event *ret)
{
    const struct nlattr *t[NFTA_GEN_MAX + 1];
    struct nft_event e = {0};

    if (h->nlmsg_type >> 8 != NFNL_SUBSYS_NFTABLES ||
        netlink_parse(h, sizeof(struct nfgenmsg), t, NFTA_GEN_MAX) < 0)
        return -EINVAL;
    e.message = h->nlmsg_type & 0xff;
    e.family = ((const struct nfgenmsg *)mnl_nlmsg_get_payload(h))->nfgen_family;
    e.portid = h->nlmsg_pid;
    if (e.message == NFT_MSG_NEWGEN) {
        e.generation = attr_be32(t[NFTA_GEN_ID], 0);
        e.process_id = attr_be32(t[NFTA_GEN_PROC_PID], 0);
        netlink_attr_text(t[NFTA_GEN_PROC_NAME], e.process, sizeof(e.process));
    } else {
        netlink_attr_text(t[NFTA_TABLE_NAME], e.table, sizeof(e.table));
    }
    *ret = e;
    return 0;
}
