#include "net/netlink.h"
#include "base/cleanup.h"
#include "base/mem.h"
#include <errno.h>
#include <linux/netlink.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

struct netlink {
    int fd;
    uint32_t portid, seq;
    struct nlmsghdr *built;
    char out[NETLINK_REQUEST_MAX] __attribute__((aligned(8)));
    char in[32768] __attribute__((aligned(8)));
};

int netlink_open(int protocol, int netns_fd, struct netlink **ret, struct error **err)
{
    struct sockaddr_nl a = {.nl_family = AF_NETLINK};
    socklen_t an = sizeof(a);
    int one = 1, size = 1 << 20;
    cleanup_close int fd =
        netns_socket(netns_fd, AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol, err);

    if (fd < 0)
        return fd;
    /* Short acknowledgements, with the kernel's own explanation where it has one. */
    (void)setsockopt(fd, SOL_NETLINK, NETLINK_EXT_ACK, &one, sizeof(one));
    (void)setsockopt(fd, SOL_NETLINK, NETLINK_CAP_ACK, &one, sizeof(one));
    (void)setsockopt(fd, SOL_NETLINK, NETLINK_GET_STRICT_CHK, &one, sizeof(one));
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size));
    if (bind(fd, (struct sockaddr *)&a, sizeof(a)) < 0 ||
        getsockname(fd, (struct sockaddr *)&a, &an) < 0)
        return error_set_errno(err, errno, "bind netlink socket");
    struct netlink *n = xcalloc(1, sizeof(*n));
    n->fd = TAKE_FD(fd);
    n->portid = a.nl_pid;
    n->seq = 1;
    *ret = n;
    return 0;
}

void netlink_close(struct netlink *n)
{
    if (!n)
        return;
    (void)close(n->fd);
    free(n);
}

uint32_t netlink_portid(const struct netlink *n)
{
    return n->portid;
}

int netlink_fd(const struct netlink *n)
{
    return n->fd;
}

struct nlmsghdr *netlink_build(struct netlink *n, uint16_t type, uint16_t flags, size_t extra,
                               void *ret_extra)
{
    struct nlmsghdr *h = mnl_nlmsg_put_header(n->out);

    h->nlmsg_type = type;
    h->nlmsg_flags = NLM_F_REQUEST | flags;
    h->nlmsg_seq = n->seq++;
    *(void **)ret_extra = mnl_nlmsg_put_extra_header(h, extra);
    n->built = h;
    return h;
}

static int netlink_send(struct netlink *n, struct error **err, const char *what)
{
    struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
    ssize_t sent;

    do
        sent = sendto(n->fd, n->built, n->built->nlmsg_len, 0, (struct sockaddr *)&kernel,
                      sizeof(kernel));
    while (sent < 0 && errno == EINTR);
    return sent < 0 ? error_set_errno(err, errno, "%s", what) : 0;
}

static int netlink_receive(struct netlink *n, size_t *ret, struct error **err, const char *what)
{
    struct sockaddr_nl from;

    for (;;) {
        struct iovec iov = {n->in, sizeof(n->in)};
        struct msghdr m = {
            .msg_name = &from, .msg_namelen = sizeof(from), .msg_iov = &iov, .msg_iovlen = 1};
        struct pollfd p = {.fd = n->fd, .events = POLLIN};
        int r = poll(&p, 1, NETLINK_TIMEOUT_MS);
        if (r == 0)
            return error_set(err, ETIMEDOUT, "%s: the kernel did not answer within %d s", what,
                             NETLINK_TIMEOUT_MS / 1000);
        ssize_t got = r < 0 ? -1 : recvmsg(n->fd, &m, 0);
        if (got < 0) {
            if (errno == EINTR)
                continue;
            return error_set_errno(err, errno, "%s", what);
        }
        if (from.nl_pid != 0)
            continue; /* another program, not the kernel */
        if (m.msg_flags & MSG_TRUNC)
            return error_set(err, EMSGSIZE, "%s: the kernel's answer is too long", what);
        *ret = (size_t)got;
        return 0;
    }
}

/* The kernel's own words from the extended acknowledgement, or "". */
static void extended_text(const struct nlmsghdr *h, char *out, size_t size)
{
    const struct nlattr *a;
    const struct nlmsgerr *e = mnl_nlmsg_get_payload(h);
    size_t skip = sizeof(*e);

    out[0] = 0;
    if (!(h->nlmsg_flags & NLM_F_ACK_TLVS))
        return;
    if (!(h->nlmsg_flags & NLM_F_CAPPED)) {
        if (e->msg.nlmsg_len < sizeof(struct nlmsghdr) ||
            e->msg.nlmsg_len > mnl_nlmsg_get_payload_len(h))
            return;
        skip += MNL_ALIGN(e->msg.nlmsg_len) - sizeof(struct nlmsghdr);
    }
    if (skip > mnl_nlmsg_get_payload_len(h))
        return;
    mnl_attr_for_each(a, h, skip)
    {
        if (mnl_attr_get_type(a) == NLMSGERR_ATTR_MSG)
            netlink_attr_text(a, out, size);
    }
}

static int acknowledged(const struct nlmsghdr *h, struct error **err, const char *what)
{
    const struct nlmsgerr *e = mnl_nlmsg_get_payload(h);
    char text[256];

    if (mnl_nlmsg_get_payload_len(h) < sizeof(*e))
        return error_set(err, EPROTO, "%s: torn netlink answer", what);
    if (e->error == 0)
        return 0;
    extended_text(h, text, sizeof(text));
    if (text[0])
        return error_set_errno(err, -e->error, "%s: %s", what, text);
    return error_set_errno(err, -e->error, "%s", what);
}

/* Walks answers until the acknowledgement, the end of the dump or fn's non-zero. */
static int netlink_answers(struct netlink *n, bool query, netlink_message_fn fn, void *arg,
                           struct error **err, const char *what)
{
    uint32_t seq = n->built->nlmsg_seq;
    bool dump = (n->built->nlmsg_flags & NLM_F_DUMP) == NLM_F_DUMP, interrupted = false;
    int stopped = 0;

    for (;;) {
        size_t got = 0;
        int r = netlink_receive(n, &got, err, what), left;
        if (r < 0)
            return r;
        left = (int)got;
        for (struct nlmsghdr *h = (void *)n->in; mnl_nlmsg_ok(h, left);
             h = mnl_nlmsg_next(h, &left)) {
            if (h->nlmsg_seq != seq)
                continue;
            interrupted |= (h->nlmsg_flags & NLM_F_DUMP_INTR) != 0;
            if (h->nlmsg_type == NLMSG_ERROR) {
                r = acknowledged(h, err, what);
                return r < 0 ? r : stopped;
            }
            if (h->nlmsg_type == NLMSG_DONE) {
                if (stopped || !interrupted)
                    return stopped;
                return error_set(err, EINTR, "%s: changed while it was read", what);
            }
            if (query && !stopped && fn)
                stopped = fn(h, arg);
            if (!dump)
                return stopped;
        }
    }
}

int netlink_request(struct netlink *n, struct error **err, const char *what, ...)
{
    cleanup_free char *text = NULL;
    va_list ap;

    va_start(ap, what);
    if (vasprintf(&text, what, ap) < 0)
        text = NULL;
    va_end(ap);
    n->built->nlmsg_flags |= NLM_F_ACK;
    int r = netlink_send(n, err, strna(text));
    return r < 0 ? r : netlink_answers(n, false, NULL, NULL, err, strna(text));
}

int netlink_query(struct netlink *n, netlink_message_fn fn, void *arg, struct error **err,
                  const char *what, ...)
{
    cleanup_free char *text = NULL;
    va_list ap;

    va_start(ap, what);
    if (vasprintf(&text, what, ap) < 0)
        text = NULL;
    va_end(ap);
    int r = netlink_send(n, err, strna(text));
    return r < 0 ? r : netlink_answers(n, true, fn, arg, err, strna(text));
}
