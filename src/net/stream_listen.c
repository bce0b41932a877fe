#include "net/stream_private.h"
#include "base/mem.h"
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define ACCEPTS_PER_TURN 32
#define EMFILE_PAUSE_MS 200

struct stream_listener {
    struct loop *loop;
    struct loop_io io;
    struct loop_timer pause; /* out of descriptors */
    stream_accept_fn fn;
    void *arg;
    char *unix_path;
    int fd;
    uint16_t port;
    bool paused, freed, busy;
};

static void on_acceptable(struct loop_io *io, unsigned events);

static void listen_start(struct stream_listener *sl)
{
    loop_io_start(sl->loop, &sl->io, sl->fd, LOOP_READ, on_acceptable);
}

static void on_pause_over(struct loop_timer *t)
{
    struct stream_listener *sl = container_of(t, struct stream_listener, pause);

    if (!sl->paused)
        listen_start(sl);
}

static void listener_destroy(struct stream_listener *sl)
{
    free(sl->unix_path);
    free(sl);
}

static void on_acceptable(struct loop_io *io, unsigned events)
{
    struct stream_listener *sl = container_of(io, struct stream_listener, io);

    (void)events;
    sl->busy = true;
    for (int i = 0; i < ACCEPTS_PER_TURN && !sl->paused && !sl->freed; i++) {
        int fd = accept4(sl->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        cleanup_free char *peer = NULL;

        if (fd < 0) {
            if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
                loop_io_stop(&sl->io);
                loop_timer_start(sl->loop, &sl->pause, EMFILE_PAUSE_MS, on_pause_over);
            }
            break;
        }
        if (!sl->unix_path)
            stream_tune_tcp(fd);
        peer = stream_address_text(fd, true);
        sl->fn(sl, fd, peer, sl->arg);
    }
    sl->busy = false;
    if (sl->freed)
        listener_destroy(sl);
}

static struct stream_listener *listener_new(struct loop *l, int fd, stream_accept_fn fn, void *arg)
{
    struct stream_listener *sl = xcalloc(1, sizeof *sl);

    sl->loop = l;
    sl->fd = fd;
    sl->fn = fn;
    sl->arg = arg;
    listen_start(sl);
    return sl;
}

static int bind_tcp(const char *address, uint16_t port, struct error **err)
{
    struct addrinfo hints = {.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE,
                             .ai_socktype = SOCK_STREAM};
    struct addrinfo *ai = NULL;
    const char *host = address && *address ? address : "::";
    char service[8];
    int fd, one = 1, zero = 0, code;

    (void)snprintf(service, sizeof service, "%u", port);
    if (getaddrinfo(host, service, &hints, &ai) != 0)
        return error_set(err, EINVAL, "listen tcp %s:%u: not an IP address", host, port);
    fd = socket(ai->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 && errno == EAFNOSUPPORT && !(address && *address)) {
        freeaddrinfo(ai);
        return bind_tcp("0.0.0.0", port, err);
    }
    if (fd < 0) {
        freeaddrinfo(ai);
        return error_set_errno(err, errno, "socket");
    }
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (ai->ai_family == AF_INET6)
        (void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &zero, sizeof zero);
    code = bind(fd, ai->ai_addr, ai->ai_addrlen) < 0 || listen(fd, 1024) < 0 ? errno : 0;
    freeaddrinfo(ai);
    if (!code)
        return fd;
    (void)close(fd);
    return error_set(err, code, "listen tcp %s:%u: %s", host, port,
                     code == EADDRINUSE      ? "address already in use"
                     : code == EADDRNOTAVAIL ? "no interface has this address"
                                             : strerror(code));
}

int stream_listen_tcp(struct loop *l, const char *address, uint16_t port, stream_accept_fn fn,
                      void *arg, struct stream_listener **ret, struct error **err)
{
    struct sockaddr_storage ss = {0};
    socklen_t n = sizeof ss;
    struct stream_listener *sl;
    int fd = bind_tcp(address, port, err);

    if (fd < 0)
        return fd;
    sl = listener_new(l, fd, fn, arg);
    (void)getsockname(fd, (struct sockaddr *)&ss, &n);
    sl->port = ss.ss_family == AF_INET ? ntohs(((struct sockaddr_in *)(void *)&ss)->sin_port)
                                       : ntohs(((struct sockaddr_in6 *)(void *)&ss)->sin6_port);
    *ret = sl;
    return 0;
}

/* Is somebody answering at this path? */
static bool unix_alive(const struct sockaddr_un *un)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    bool alive =
        fd >= 0 && (connect(fd, (const struct sockaddr *)un, sizeof *un) == 0 || errno == EAGAIN);

    if (fd >= 0)
        (void)close(fd);
    return alive;
}

static int bind_unix(int fd, const struct sockaddr_un *un, unsigned mode, struct error **err)
{
    struct stat st;

    if (lstat(un->sun_path, &st) == 0) {
        if (!S_ISSOCK(st.st_mode))
            return error_set(err, EEXIST, "listen unix %s: the path exists and is not a socket",
                             un->sun_path);
        if (unix_alive(un))
            return error_set(err, EADDRINUSE, "listen unix %s: another process is serving there",
                             un->sun_path);
        (void)unlink(un->sun_path);
    }
    /* The mode is in place before anybody can connect: listen comes last. */
    if (bind(fd, (const struct sockaddr *)un, sizeof *un) < 0 || chmod(un->sun_path, mode) < 0 ||
        listen(fd, 1024) < 0)
        return error_set_errno(err, errno, "listen unix %s", un->sun_path);
    return 0;
}

int stream_listen_unix(struct loop *l, const char *path, unsigned mode, stream_accept_fn fn,
                       void *arg, struct stream_listener **ret, struct error **err)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    cleanup_close int fd = -1;
    int r;

    if (strlen(path) >= sizeof un.sun_path)
        return error_set(err, ENAMETOOLONG, "listen unix %s: path is longer than %zu bytes", path,
                         sizeof un.sun_path - 1);
    memcpy(un.sun_path, path, strlen(path) + 1);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return error_set_errno(err, errno, "socket");
    r = bind_unix(fd, &un, mode, err);
    if (r < 0)
        return r;
    *ret = listener_new(l, TAKE_FD(fd), fn, arg);
    (*ret)->unix_path = xstrdup(path);
    return 0;
}

uint16_t stream_listener_port(const struct stream_listener *sl)
{
    return sl->port;
}

void stream_listener_pause(struct stream_listener *sl)
{
    sl->paused = true;
    loop_io_stop(&sl->io);
}

void stream_listener_resume(struct stream_listener *sl)
{
    if (!sl->paused)
        return;
    sl->paused = false;
    listen_start(sl);
}

void stream_listener_free(struct stream_listener *sl)
{
    if (!sl)
        return;
    loop_io_stop(&sl->io);
    loop_timer_stop(&sl->pause);
    (void)close(sl->fd);
    if (sl->unix_path)
        (void)unlink(sl->unix_path);
    sl->freed = true;
    if (!sl->busy)
        listener_destroy(sl);
}
