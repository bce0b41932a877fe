#include "base/cleanup.h"
#include "base/mem.h"
#include "net/nft_private.h"
#include <arpa/inet.h>
#include <errno.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <poll.h>
#include <sys/socket.h>

int nft_open(int netns_fd, struct nft **ret, struct error **err)
{
    struct sockaddr_nl a = {.nl_family = AF_NETLINK};
    socklen_t an = sizeof(a);
    int one = 1, size = 1 << 20;
    struct netlink *query;
    cleanup_close int fd =
        netns_socket(netns_fd, AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER, err);

    if (fd < 0)
        return error_wrap(err, "nf_tables");
    (void)setsockopt(fd, SOL_NETLINK, NETLINK_EXT_ACK, &one, sizeof(one));
    (void)setsockopt(fd, SOL_NETLINK, NETLINK_CAP_ACK, &one, sizeof(one));
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size));
    if (bind(fd, (struct sockaddr *)&a, sizeof(a)) < 0 ||
        getsockname(fd, (struct sockaddr *)&a, &an) < 0)
        return error_set_errno(err, errno, "nf_tables: bind netlink socket");
    int r = netlink_open(NETLINK_NETFILTER, netns_fd, &query, err);
    if (r < 0)
        return error_wrap(err, "nf_tables");
    struct nft *n = xcalloc(1, sizeof(*n));
    n->fd = TAKE_FD(fd);
    n->portid = a.nl_pid;
    n->query = query;
    *ret = n;
    return 0;
}

void nft_close(struct nft *n)
{
    if (!n)
        return;
    (void)close(n->fd);
    netlink_close(n->query);
    free(n);
}

uint32_t nft_portid(const struct nft *n)
{
    return n->portid;
}

struct nft_batch *nft_batch_new(struct nft *n, uint8_t family, const char *table)
{
    struct nft_batch *b = xcalloc(1, sizeof(*b));

    b->nft = n;
    b->family = family;
    b->table = xstrdup(table);
    b->seq = 1;
    return b;
}

void nft_batch_free(struct nft_batch *b)
{
    if (!b)
        return;
    free(b->p);
    free(b->table);
    free(b);
}

bool nft_batch_is_empty(const struct nft_batch *b)
{
    return b->messages == 0;
}

size_t nft_batch_bytes(const struct nft_batch *b)
{
    return b->n + (b->open ? b->open->nlmsg_len : 0);
}

void nft_batch_clear(struct nft_batch *b)
{
    b->n = 0;
    b->messages = 0;
    b->open = NULL;
    b->list = NULL;
    b->element_message = 0;
    if (b->cap > 1u << 20) { /* a first load is large, changes are not */
        free(b->p);
        b->p = NULL;
        b->cap = 0;
    }
}

/* ---- messages ---- */

static void batch_room(struct nft_batch *b, size_t n)
{
    if (b->cap - b->n >= n)
        return;
    while (b->cap - b->n < n)
        b->cap = b->cap ? b->cap * 2 : 2 * NFT_MESSAGE_MAX;
    b->p = xrealloc(b->p, b->cap);
}

static struct nlmsghdr *header(struct nft_batch *b, uint16_t type, uint16_t flags, uint8_t family,
                               uint16_t resource)
{
    struct nlmsghdr *h;
    struct nfgenmsg *g;

    batch_room(b, 2 * NFT_MESSAGE_MAX);
    h = mnl_nlmsg_put_header(b->p + b->n);
    h->nlmsg_type = type;
    h->nlmsg_flags = NLM_F_REQUEST | flags;
    h->nlmsg_seq = b->seq++;
    g = mnl_nlmsg_put_extra_header(h, sizeof(*g));
    g->nfgen_family = family;
    g->version = NFNETLINK_V0;
    g->res_id = htons(resource);
    return h;
}

static void batch_mark(struct nft_batch *b, uint16_t type, uint16_t flags)
{
    b->n += header(b, type, flags, AF_UNSPEC, NFNL_SUBSYS_NFTABLES)->nlmsg_len;
}

struct nlmsghdr *nft_message_begin(struct nft_batch *b, uint8_t type, uint16_t flags)
{
    nft_message_end(b);
    if (b->messages == 0)
        batch_mark(b, NFNL_MSG_BATCH_BEGIN, 0);
    b->open = header(b, (uint16_t)(NFNL_SUBSYS_NFTABLES << 8 | type), flags, b->family, 0);
    b->messages++;
    /* Every kind of message names its table in attribute 1. */
    mnl_attr_put_strz(b->open, NFTA_TABLE_NAME, b->table);
    return b->open;
}

void nft_message_end(struct nft_batch *b)
{
    if (!b->open)
        return;
    if (b->list)
        mnl_attr_nest_end(b->open, b->list);
    b->n += MNL_ALIGN(b->open->nlmsg_len);
    b->open = NULL;
    b->list = NULL;
    b->element_message = 0;
}

/* ---- sending ---- */

struct refusal {
    int code;
    uint32_t seq, offset;
    char text[160];
    bool done;
};

static void read_extended(const struct nlmsghdr *h, struct refusal *r)
{
    const struct nlmsgerr *e = mnl_nlmsg_get_payload(h);
    const struct nlattr *a;
    size_t skip = sizeof(*e);

    if (!(h->nlmsg_flags & NLM_F_ACK_TLVS))
        return;
    if (!(h->nlmsg_flags & NLM_F_CAPPED))
        skip += MNL_ALIGN(e->msg.nlmsg_len) - sizeof(struct nlmsghdr);
    if (skip > mnl_nlmsg_get_payload_len(h))
        return;
    mnl_attr_for_each(a, h, skip)
    {
        if (mnl_attr_get_type(a) == NLMSGERR_ATTR_MSG)
            netlink_attr_text(a, r->text, sizeof(r->text));
        else if (mnl_attr_get_type(a) == NLMSGERR_ATTR_OFFS)
            r->offset = netlink_attr_u32(a, 0);
    }
}

static void read_answers(const char *p, size_t n, uint32_t last, struct refusal *r)
{
    int left = (int)n;

    for (const struct nlmsghdr *h = (const void *)p; mnl_nlmsg_ok(h, left);
         h = mnl_nlmsg_next(h, &left)) {
        const struct nlmsgerr *e = mnl_nlmsg_get_payload(h);
        if (h->nlmsg_type != NLMSG_ERROR || mnl_nlmsg_get_payload_len(h) < sizeof(*e))
            continue;
        if (e->error && !r->code) {
            r->code = -e->error;
            r->seq = e->msg.nlmsg_seq;
            read_extended(h, r);
        }
        if (e->msg.nlmsg_seq >= last)
            r->done = true;
    }
}

/* The kernel works within sendmsg; all answers are queued when it returns. The answer to the last
 * message comes whether the batch was taken or not; older kernels do not acknowledge the end mark.
 */
static int batch_exchange(struct nft_batch *b, uint32_t last, struct refusal *r, struct error **err)
{
    struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
    char in[16384] __attribute__((aligned(8)));
    int size = b->n < 1u << 28 ? (int)(b->n * 2 + 65536) : 1 << 30;

    if (b->n > 64 * 1024)
        (void)setsockopt(b->nft->fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size));
    if (sendto(b->nft->fd, b->p, b->n, 0, (struct sockaddr *)&kernel, sizeof(kernel)) < 0)
        return error_set_errno(err, errno, "nf_tables: send %zu bytes", b->n);
    for (;;) {
        ssize_t got = recv(b->nft->fd, in, sizeof(in), MSG_DONTWAIT);
        if (got >= 0) {
            read_answers(in, (size_t)got, last, r);
            continue;
        }
        if (errno == EINTR ||
            errno == ENOBUFS) /* errors beyond the first ones are of no interest */
            continue;
        if (errno != EAGAIN)
            return error_set_errno(err, errno, "nf_tables: read the answer");
        if (r->done || r->code)
            return 0;
        struct pollfd p = {.fd = b->nft->fd, .events = POLLIN};
        if (poll(&p, 1, NETLINK_TIMEOUT_MS) == 0)
            return error_set(err, ETIMEDOUT, "nf_tables: the kernel did not answer");
    }
}

/* ---- what was refused, in words ---- */

static const char *const verb_of[NFT_MSG_MAX] = {
    [NFT_MSG_NEWTABLE] = "add table",
    [NFT_MSG_DELTABLE] = "delete table",
    [NFT_MSG_NEWCHAIN] = "add chain",
    [NFT_MSG_DELCHAIN] = "delete chain",
    [NFT_MSG_NEWRULE] = "add rule to chain",
    [NFT_MSG_DELRULE] = "flush chain",
    [NFT_MSG_NEWSET] = "add set",
    [NFT_MSG_DELSET] = "delete set",
    [NFT_MSG_NEWSETELEM] = "add element to set",
    [NFT_MSG_DELSETELEM] = "delete element of set",
};

static const struct nlmsghdr *message_of(const struct nft_batch *b, uint32_t seq)
{
    int left = (int)b->n;

    for (const struct nlmsghdr *h = (const void *)b->p; mnl_nlmsg_ok(h, left);
         h = mnl_nlmsg_next(h, &left))
        if (h->nlmsg_seq == seq)
            return h;
    return NULL;
}

/* Name of the expression or hex of the element's key that the offset points into. */
static void part_of(const struct nlmsghdr *h, uint32_t offset, char *out, size_t size)
{
    const struct nlattr *t[8], *e;
    uint8_t type = h->nlmsg_type & 0xff;

    out[0] = 0;
    if (!offset || netlink_parse(h, sizeof(struct nfgenmsg), t, 7) < 0)
        return;
    const struct nlattr *list =
        type == NFT_MSG_NEWRULE ? t[NFTA_RULE_EXPRESSIONS] : t[NFTA_SET_ELEM_LIST_ELEMENTS];
    if (!list ||
        (type != NFT_MSG_NEWRULE && type != NFT_MSG_NEWSETELEM && type != NFT_MSG_DELSETELEM))
        return;
    mnl_attr_for_each_nested(e, list)
    {
        size_t at = (size_t)((const char *)e - (const char *)h);
        const struct nlattr *x[4], *v[2];
        if (offset < at || offset >= at + e->nla_len || netlink_parse_nested(e, x, 3) < 0)
            continue;
        if (type == NFT_MSG_NEWRULE) {
            (void)snprintf(out, size, " (%s)",
                           x[NFTA_EXPR_NAME] ? mnl_attr_get_str(x[NFTA_EXPR_NAME]) : "?");
        } else if (netlink_parse_nested(x[NFTA_SET_ELEM_KEY], v, 1) == 0 && v[1]) {
            size_t used = (size_t)snprintf(out, size, " key ");
            const uint8_t *k = mnl_attr_get_payload(v[1]);
            for (size_t i = 0; i < mnl_attr_get_payload_len(v[1]) && used + 3 < size; i++)
                used += (size_t)snprintf(out + used, size - used, "%02x", k[i]);
        }
        return;
    }
}

static int refused(const struct nft_batch *b, const struct refusal *r, struct error **err)
{
    const struct nlmsghdr *h = message_of(b, r->seq);
    const struct nlattr *t[4];
    const char *family = b->family == NFPROTO_IPV4   ? "ip"
                         : b->family == NFPROTO_IPV6 ? "ip6"
                                                     : "inet";
    char part[128] = "", what[128] = "change";
    uint8_t type = h ? h->nlmsg_type & 0xff : 0;

    if (h && h->nlmsg_type >> 8 == NFNL_SUBSYS_NFTABLES && type < NFT_MSG_MAX && verb_of[type]) {
        bool named =
            netlink_parse(h, sizeof(struct nfgenmsg), t, 3) == 0 && type > NFT_MSG_DELTABLE;
        const struct nlattr *name =
            named ? t[type == NFT_MSG_NEWCHAIN || type == NFT_MSG_DELCHAIN ? 3 : 2] : NULL;
        (void)snprintf(what, sizeof(what), "%s%s%.60s%s", verb_of[type], name ? " " : "",
                       name ? mnl_attr_get_str(name) : "",
                       type > NFT_MSG_DELTABLE ? " of table" : "");
        part_of(h, r->offset, part, sizeof(part));
    }
    if (r->code == EPERM && !h)
        return error_set(err, EPERM, "nf_tables: changing rules needs root (CAP_NET_ADMIN)");
    if (r->text[0])
        return error_set_errno(err, r->code, "nf_tables: %s %s %s%s: %s", what, family, b->table,
                               part, r->text);
    return error_set_errno(err, r->code, "nf_tables: %s %s %s%s", what, family, b->table, part);
}

int nft_batch_commit(struct nft_batch *b, struct error **err)
{
    struct refusal refusal = {0};
    struct nlmsghdr *last;

    if (b->messages == 0)
        return 0;
    last = b->open;
    if (!last) { /* the last message was closed already: find it */
        int left = (int)b->n;
        for (struct nlmsghdr *h = (void *)b->p; mnl_nlmsg_ok(h, left); h = mnl_nlmsg_next(h, &left))
            last = h;
    }
    last->nlmsg_flags |= NLM_F_ACK;
    uint32_t seq = last->nlmsg_seq;
    nft_message_end(b);
    batch_mark(b, NFNL_MSG_BATCH_END, 0);
    int r = batch_exchange(b, seq, &refusal, err);
    if (r == 0 && refusal.code)
        r = refused(b, &refusal, err);
    nft_batch_clear(b);
    return r;
}
