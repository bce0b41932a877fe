/* What the files of nft share. */
#pragma once
#include "net/nft.h"
struct nft {
    int fd;
    uint32_t portid;
    struct netlink *query; /* for reading back */
};
struct nft_batch {
    struct nft *nft;
    uint8_t family;
    char *table;
    uint32_t seq;
    char *p;
    size_t n, cap;
    struct nlmsghdr *open;   /* message being written, at p + n */
    struct nlattr *list;     /* its list of elements or expressions */
    uint8_t element_message; /* NFT_MSG_* of the open run of elements, 0 none */
    char element_set[NFT_SET_MAXNAMELEN];
    uint32_t messages;
    uint32_t set_id;
};
#define NFT_MESSAGE_MAX 65536u /* an attribute's length is 16 bits */
/* Opens a message after the last; room for NFT_MESSAGE_MAX bytes is there. Names the table. */
struct nlmsghdr *nft_message_begin(struct nft_batch *b, uint8_t type, uint16_t flags);
void nft_message_end(struct nft_batch *b);
/* Expression framing: name, nested data. */
struct nft_expr {
    struct nlattr *element, *data;
};
struct nft_expr nft_expr_begin(struct nft_batch *b, const char *name);
void nft_expr_end(struct nft_batch *b, struct nft_expr e);
void nft_put_value(struct nlmsghdr *h, uint16_t type, const void *p, size_t n);
void nft_put_verdict(struct nlmsghdr *h, uint16_t type, int32_t code, const char *chain);
