/*
 * nf_tables by netlink: batches of changes that the kernel applies all or not at all, read-back of
 * what is there, and notifications. A batch works on one table. Messages are written straight in
 * wire form; nothing is sent before nft_batch_commit. Register numbers are 32-bit registers counted
 * from 0 (16 of them), as rules here use no others.
 */
#pragma once
#include "net/netlink.h"
#include <netinet/in.h> /* before the kernel headers, which then leave its names alone */
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>

struct nft;
struct nft_batch;

/* lifecycle */
int nft_open(int netns_fd, struct nft **ret, struct error **err); /* netns_fd -1: ours */
void nft_close(struct nft *n);                                    /* NULL accepted */
uint32_t nft_portid(const struct nft *n); /* notifications of our own changes carry it */

/* ---- batches ---- */
/* family: NFPROTO_IPV4, NFPROTO_IPV6, NFPROTO_INET, NFPROTO_BRIDGE. Table name is copied. */
struct nft_batch *nft_batch_new(struct nft *n, uint8_t family, const char *table);
void nft_batch_free(struct nft_batch *b);
bool nft_batch_is_empty(const struct nft_batch *b);
size_t nft_batch_bytes(const struct nft_batch *b);
/* Sends everything as one transaction and empties the batch, whatever comes of it. An empty one is
 * success. The error names the message the kernel refused: "add rule to chain x of table ip y:
 * ...". */
int nft_batch_commit(struct nft_batch *b, struct error **err);
void nft_batch_clear(struct nft_batch *b);

/* Existing objects of the same definition are no error, save where said. */
void nft_table_add(struct nft_batch *b, struct str userdata);
void nft_table_delete(struct nft_batch *b); /* must exist */
/* Removes it if it exists (by adding it first, in the same transaction). */
void nft_table_remove(struct nft_batch *b);
void nft_chain_add(struct nft_batch *b, const char *chain);
/* type "filter" or "nat"; hook NF_INET_*; policy NF_ACCEPT or NF_DROP. */
void nft_chain_add_base(struct nft_batch *b, const char *chain, const char *type, uint32_t hook,
                        int32_t priority, uint32_t policy);
void nft_chain_flush(struct nft_batch *b, const char *chain); /* must exist (in the batch counts) */
void nft_chain_delete(struct nft_batch *b, const char *chain); /* must exist, without users */

/* Types of keys and data are the nft program's numbers, for its listing only; a concatenation is
 * made by NFT_TYPES. */
enum {
    NFT_TYPE_INTEGER = 4,
    NFT_TYPE_IPV4 = 7,
    NFT_TYPE_IPV6 = 8,
    NFT_TYPE_PROTO = 12,
    NFT_TYPE_SERVICE = 13,
    NFT_TYPE_MARK = 19,
    NFT_TYPE_IFNAME = 41,
};
#define NFT_TYPES(a, b) ((uint32_t)(a) << 6 | (uint32_t)(b)) /* nests to the left */
#define NFT_SET_FIELDS_MAX 8
struct nft_set_spec {
    const char *name;
    uint32_t
        flags; /* NFT_SET_MAP, NFT_SET_INTERVAL, NFT_SET_TIMEOUT, NFT_SET_EVAL, NFT_SET_CONCAT */
    uint32_t key_type, key_bytes;
    bool verdicts; /* a verdict map (with NFT_SET_MAP) */
    uint32_t data_type, data_bytes;
    uint64_t timeout_ms;                /* default for elements */
    uint32_t size;                      /* 0 none; needed for NFT_SET_EVAL */
    uint8_t fields[NFT_SET_FIELDS_MAX]; /* with NFT_SET_CONCAT: bytes of each field */
};
void nft_set_add(struct nft_batch *b, const struct nft_set_spec *s);
void nft_set_flush(struct nft_batch *b, const char *set);
void nft_set_delete(struct nft_batch *b, const char *set);

/* Elements. Runs of the same kind on the same set share a message. */
struct nft_element {
    const char *set;
    const void *key;
    size_t key_bytes;
    const void *key_end; /* of ranges in NFT_SET_CONCAT sets; NULL none */
    bool interval_end;   /* of ranges in plain NFT_SET_INTERVAL sets */
    const void *data;    /* maps */
    size_t data_bytes;
    const char *chain; /* verdict maps: goto this chain; or */
    int32_t verdict;   /* NF_DROP, NF_ACCEPT, NFT_RETURN when chain is NULL and data too */
    bool has_verdict;
};
void nft_element_add(struct nft_batch *b,
                     const struct nft_element *e); /* same key with other data: refused */
void nft_element_delete(struct nft_batch *b, const struct nft_element *e); /* must exist */

/* ---- rules: nft_rule_begin, expressions, nft_rule_end ---- */
void nft_rule_begin(struct nft_batch *b, const char *chain); /* appended */
void nft_rule_end(struct nft_batch *b);
void nft_expr_payload(struct nft_batch *b, uint32_t base, uint32_t offset, uint32_t bytes,
                      unsigned reg);
void nft_expr_meta(struct nft_batch *b, uint32_t key, unsigned reg);
void nft_expr_meta_set(struct nft_batch *b, uint32_t key, unsigned reg);
void nft_expr_ct(struct nft_batch *b, uint32_t key, unsigned reg);
void nft_expr_immediate(struct nft_batch *b, unsigned reg, const void *p, size_t n);
void nft_expr_verdict(struct nft_batch *b, int32_t code,
                      const char *chain); /* NFT_JUMP, NFT_GOTO, NF_DROP, ... */
void nft_expr_compare(struct nft_batch *b, uint32_t op, unsigned reg, const void *p, size_t n);
/* reg = reg & mask ^ xor */
void nft_expr_bitwise(struct nft_batch *b, unsigned reg, const void *mask, const void * xor,
                      size_t n);
#define NFT_NO_REG 255u
/* dest NFT_NO_REG: membership only; NFT_REG_VERDICT through nft_expr_vmap. */
void nft_expr_lookup(struct nft_batch *b, const char *set, unsigned reg, unsigned dest,
                     bool inverted);
void nft_expr_vmap(struct nft_batch *b, const char *map, unsigned reg);
void nft_expr_fib(struct nft_batch *b, uint32_t result, uint32_t flags, unsigned reg);
void nft_expr_random(struct nft_batch *b, uint32_t modulus, uint32_t offset, unsigned reg);
void nft_expr_dynset(struct nft_batch *b, const char *set, uint32_t op, unsigned key_reg,
                     unsigned data_reg, uint64_t timeout_ms);
void nft_expr_dnat(struct nft_batch *b, uint8_t family, unsigned address_reg, unsigned port_reg);
void nft_expr_masquerade(struct nft_batch *b, bool fully_random);
void nft_expr_reject(struct nft_batch *b, uint32_t type, uint8_t code);
void nft_expr_counter(struct nft_batch *b);

/* ---- reading back ---- */
/* Generation of the whole ruleset: changes with every transaction of anybody. */
int nft_generation(struct nft *n, uint32_t *ret, struct error **err);
/* -ENOENT when there is no such table. Userdata (may be NULL) is appended to a buffer the caller
 * initialised. */
int nft_table_get(struct nft *n, uint8_t family, const char *table, struct buf *ret_userdata,
                  struct error **err);
typedef int (*nft_name_fn)(const char *name, void *arg);
int nft_chain_each(struct nft *n, uint8_t family, const char *table, nft_name_fn fn, void *arg,
                   struct error **err);
int nft_set_each(struct nft *n, uint8_t family, const char *table, nft_name_fn fn, void *arg,
                 struct error **err);
/* First base chain at the hook whose policy is drop. 1 found, 0 none. */
struct nft_chain_found {
    char table[NFT_TABLE_MAXNAMELEN], chain[NFT_CHAIN_MAXNAMELEN];
};
int nft_find_drop_policy(struct nft *n, uint8_t family, uint32_t hook, struct nft_chain_found *ret,
                         struct error **err);
struct nft_element_view {
    struct str key, key_end, data;
    bool interval_end;
    bool has_verdict;
    int32_t verdict;
    char chain[NFT_CHAIN_MAXNAMELEN];
};
typedef int (*nft_element_fn)(const struct nft_element_view *e, void *arg);
int nft_element_each(struct nft *n, uint8_t family, const char *table, const char *set,
                     nft_element_fn fn, void *arg, struct error **err);
/* Decodes the elements of one NFT_MSG_NEWSETELEM message; non-zero of fn stops; -EINVAL when torn.
 */
int nft_element_parse(const struct nlmsghdr *h, nft_element_fn fn, void *arg);
/* What a notification is about; *ret_table is "" for NEWGEN. -EINVAL when torn. */
struct nft_event {
    uint8_t message; /* NFT_MSG_* */
    uint8_t family;
    uint32_t portid; /* who did it */
    char table[NFT_TABLE_MAXNAMELEN];
    char process[32]; /* NEWGEN: name of the program */
    uint32_t process_id;
    uint32_t generation;
};
int nft_event_parse(const struct nlmsghdr *h, struct nft_event *ret);
