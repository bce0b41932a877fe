#include "engine/container/control.h"
#include "base/cleanup.h"
#include "base/mem.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

struct pending {
    struct list link;
    control_answer_fn fn;
    void *arg;
};
struct control {
    struct loop *loop;
    struct loop_io io;
    struct list pending; /* answers come in the order of the questions */
    control_gone_fn gone;
    void *arg;
    int fd;
};

static void answer(struct control *c, int code)
{
    struct pending *p;

    if (list_empty(&c->pending))
        return;
    p = container_of(c->pending.next, struct pending, link);
    list_remove(&p->link);
    if (p->fn)
        p->fn(code, p->arg);
    free(p);
}

static void on_readable(struct loop_io *io, unsigned events)
{
    struct control *c = container_of(io, struct control, io);
    unsigned char code;
    ssize_t n = recv(c->fd, &code, 1, MSG_DONTWAIT);

    (void)events;
    if (n == 1) {
        answer(c, code);
        return;
    }
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    loop_io_stop(&c->io);
    while (!list_empty(&c->pending))
        answer(c, ECONNRESET);
    c->gone(c->arg);
}

/* Socket names are short, directories may not be: through the directory's descriptor. */
static int connect_in(const char *dir, int fd)
{
    cleanup_close int at = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    struct sockaddr_un a = {.sun_family = AF_UNIX};

    if (at < 0)
        return -errno;
    (void)snprintf(a.sun_path, sizeof a.sun_path, "/proc/self/fd/%d/control", at);
    return connect(fd, (struct sockaddr *)&a, sizeof a) < 0 ? -errno : 0;
}

int control_connect(struct loop *l, const char *dir, control_gone_fn gone, void *arg,
                    struct control **ret, struct error **err)
{
    cleanup_close int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    struct control *c;
    int r = fd < 0 ? -errno : connect_in(dir, fd);

    if (r < 0)
        return error_set_errno(err, -r, "connect to the monitor at %s", dir);
    c = xcalloc(1, sizeof *c);
    c->loop = l;
    c->gone = gone;
    c->arg = arg;
    c->fd = TAKE_FD(fd);
    list_init(&c->pending);
    loop_io_start(l, &c->io, c->fd, LOOP_READ, on_readable);
    *ret = c;
    return 0;
}

void control_free(struct control *c)
{
    if (!c)
        return;
    loop_io_stop(&c->io);
    (void)close(c->fd);
    list_for_safe(p, &c->pending)
    {
        list_remove(p);
        free(container_of(p, struct pending, link));
    }
    free(c);
}

static void ask(struct control *c, const unsigned char *p, size_t n, const int *fds, size_t fds_n,
                control_answer_fn fn, void *arg)
{
    union {
        struct cmsghdr h;
        char space[CMSG_SPACE(3 * sizeof(int))];
    } m = {0};
    struct iovec v = {(void *)p, n};
    struct msghdr h = {.msg_iov = &v, .msg_iovlen = 1};
    struct pending *q;

    if (fds_n) {
        h.msg_control = &m;
        h.msg_controllen = CMSG_SPACE(fds_n * sizeof(int));
        m.h = (struct cmsghdr){.cmsg_level = SOL_SOCKET,
                               .cmsg_type = SCM_RIGHTS,
                               .cmsg_len = CMSG_LEN(fds_n * sizeof(int))};
        memcpy(CMSG_DATA(&m.h), fds, fds_n * sizeof(int));
    }
    if (sendmsg(c->fd, &h, MSG_NOSIGNAL | MSG_DONTWAIT) < 0) {
        if (fn)
            fn(errno, arg);
        return;
    }
    q = xcalloc(1, sizeof *q);
    q->fn = fn;
    q->arg = arg;
    list_add_tail(&c->pending, &q->link);
}

void control_kill(struct control *c, int signal, control_answer_fn fn, void *arg)
{
    unsigned char p[] = {CONTROL_KILL, (unsigned char)signal};

    ask(c, p, sizeof p, NULL, 0, fn, arg);
}

void control_reopen_log(struct control *c, control_answer_fn fn, void *arg)
{
    unsigned char p[] = {CONTROL_REOPEN};

    ask(c, p, sizeof p, NULL, 0, fn, arg);
}

void control_resize(struct control *c, unsigned width, unsigned height)
{
    unsigned char p[] = {CONTROL_RESIZE, (unsigned char)width, (unsigned char)(width >> 8),
                         (unsigned char)height, (unsigned char)(height >> 8)};

    ask(c, p, sizeof p, NULL, 0, NULL, NULL);
}

void control_attach(struct control *c, int in, int out, int err, control_answer_fn fn, void *arg)
{
    int fds[3];
    size_t n = 0;
    unsigned char p[] = {CONTROL_ATTACH, 0};

    if (in >= 0) {
        fds[n++] = in;
        p[1] |= CONTROL_IN;
    }
    if (out >= 0) {
        fds[n++] = out;
        p[1] |= CONTROL_OUT;
    }
    if (err >= 0) {
        fds[n++] = err;
        p[1] |= CONTROL_ERR;
    }
    ask(c, p, sizeof p, fds, n, fn, arg);
}
