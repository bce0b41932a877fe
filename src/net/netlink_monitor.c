#include "base/cleanup.h"
#include "base/mem.h"
#include "net/netlink.h"
#include <errno.h>
#include <linux/netlink.h>
#include <sys/socket.h>

struct netlink_monitor {
    struct loop_io io;
    int fd;
    netlink_event_fn fn;
    void *arg;
    char in[16384] __attribute__((aligned(8)));
};
#define MONITOR_TURN 64 /* datagrams a turn, so that a storm does not starve the rest */

static void on_monitor_readable(struct loop_io *io, unsigned events)
{
    struct netlink_monitor *m = container_of(io, struct netlink_monitor, io);

    for (int i = 0; i < MONITOR_TURN; i++) {
        struct sockaddr_nl from = {0};
        socklen_t fn = sizeof(from);
        ssize_t got =
            recvfrom(m->fd, m->in, sizeof(m->in), MSG_DONTWAIT, (struct sockaddr *)&from, &fn);
        if (got < 0 && errno == ENOBUFS) {
            m->fn(NULL, m->arg);
            continue;
        }
        if (got < 0)
            return;
        if (from.nl_pid != 0)
            continue;
        int left = (int)got;
        for (struct nlmsghdr *h = (void *)m->in; mnl_nlmsg_ok(h, left);
             h = mnl_nlmsg_next(h, &left))
            m->fn(h, m->arg);
    }
}

int netlink_monitor_start(struct loop *l, int protocol, int netns_fd, const unsigned *groups,
                          size_t groups_n, netlink_event_fn fn, void *arg,
                          struct netlink_monitor **ret, struct error **err)
{
    struct sockaddr_nl a = {.nl_family = AF_NETLINK};
    int size = 1 << 20;
    cleanup_close int fd =
        netns_socket(netns_fd, AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, protocol, err);

    if (fd < 0)
        return fd;
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size));
    if (bind(fd, (struct sockaddr *)&a, sizeof(a)) < 0)
        return error_set_errno(err, errno, "bind netlink monitor");
    for (size_t i = 0; i < groups_n; i++)
        if (setsockopt(fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &groups[i], sizeof(groups[i])) < 0)
            return error_set_errno(err, errno, "subscribe to netlink group %u", groups[i]);
    struct netlink_monitor *m = xcalloc(1, sizeof(*m));
    m->fd = TAKE_FD(fd);
    m->fn = fn;
    m->arg = arg;
    loop_io_start(l, &m->io, m->fd, LOOP_READ, on_monitor_readable);
    *ret = m;
    return 0;
}

void netlink_monitor_stop(struct netlink_monitor *m)
{
    if (!m)
        return;
    loop_io_stop(&m->io);
    (void)close(m->fd);
    free(m);
}
