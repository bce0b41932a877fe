#include "base/cleanup.h"
#include "base/log.h"
#include "net/netlink.h"
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <string.h>
#include <sys/socket.h>

int netns_enter(int netns_fd, int *ret_back, struct error **err)
{
    cleanup_close int back = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);

    if (back < 0)
        return error_set_errno(err, errno, "open /proc/self/ns/net");
    if (setns(netns_fd, CLONE_NEWNET) < 0)
        return error_set_errno(err, errno, "enter the network namespace");
    *ret_back = TAKE_FD(back);
    return 0;
}

void netns_leave(int back)
{
    if (setns(back, CLONE_NEWNET) < 0) {
        log_errorf("net", "cannot return to my network namespace: %s", strerror(errno));
        abort();
    }
    (void)close(back);
}

int netns_run(int netns_fd, int (*fn)(void *arg, struct error **err), void *arg, struct error **err)
{
    int back, r = netns_enter(netns_fd, &back, err);

    if (r < 0)
        return r;
    r = fn(arg, err);
    netns_leave(back);
    return r;
}

int netns_socket(int netns_fd, int domain, int type, int protocol, struct error **err)
{
    int back = -1, fd, saved;

    if (netns_fd >= 0) {
        int r = netns_enter(netns_fd, &back, err);
        if (r < 0)
            return r;
    }
    fd = socket(domain, type, protocol);
    saved = errno;
    if (back >= 0)
        netns_leave(back);
    return fd < 0 ? error_set_errno(err, saved, "socket") : fd;
}
