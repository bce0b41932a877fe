#include "loop/loop.h"
#include "base/mem.h"
#include <assert.h>
#include <errno.h>
#include <event2/event.h>
#include <event2/event_struct.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* Jobs that defer more jobs run in the same turn up to this many, the rest in the next one. */
#define DEFER_PER_TURN 1024

struct loop {
    struct event_base *base;
    struct list signals, defers, posts, post_cursor;
    struct loop_io signal_io;
    sigset_t mask;
    int signal_fd, code;
    bool exiting;
};

struct loop *loop_new(void)
{
    struct loop *l = xcalloc(1, sizeof *l);
    struct event_config *cfg = event_config_new();

    assert(cfg);
    (void)event_config_set_flag(cfg, EVENT_BASE_FLAG_NOLOCK | EVENT_BASE_FLAG_EPOLL_USE_CHANGELIST);
    l->base = event_base_new_with_config(cfg);
    event_config_free(cfg);
    assert(l->base);
    list_init(&l->signals);
    list_init(&l->defers);
    list_init(&l->posts);
    (void)sigemptyset(&l->mask);
    l->signal_fd = -1;
    (void)signal(SIGPIPE, SIG_IGN);
    return l;
}

void loop_free(struct loop *l)
{
    if (!l)
        return;
    loop_io_stop(&l->signal_io);
    if (l->signal_fd >= 0)
        (void)close(l->signal_fd);
    event_base_free(l->base);
    free(l);
}

struct event_base *loop_event_base(struct loop *l)
{
    return l->base;
}

static void run_defers(struct loop *l)
{
    for (int i = 0; i < DEFER_PER_TURN && !list_empty(&l->defers); i++) {
        struct loop_defer *d = container_of(l->defers.next, struct loop_defer, link);

        list_remove(&d->link);
        d->fn(d);
    }
}

/* The cursor is a node of our own, so a hook may remove itself or any other hook. */
static void run_posts(struct loop *l)
{
    struct list *cursor = &l->post_cursor;

    list_add_head(&l->posts, cursor);
    while (cursor->next != &l->posts) {
        struct list *n = cursor->next;
        struct loop_post *p = container_of(n, struct loop_post, link);

        list_remove(cursor);
        list_add_head(n, cursor);
        p->fn(p);
    }
    list_remove(cursor);
}

static void turn(struct loop *l, int flags)
{
    if (!list_empty(&l->defers))
        flags |= EVLOOP_NONBLOCK;
    (void)event_base_loop(l->base, EVLOOP_ONCE | EVLOOP_NO_EXIT_ON_EMPTY | flags);
    run_defers(l);
    run_posts(l);
}

int loop_run(struct loop *l)
{
    l->exiting = false;
    while (!l->exiting)
        turn(l, 0);
    return l->code;
}

void loop_exit(struct loop *l, int code)
{
    l->code = code;
    l->exiting = true;
    (void)event_base_loopbreak(l->base);
}

static void on_once_timer(struct loop_timer *t)
{
    (void)t;
}

void loop_run_once(struct loop *l, int timeout_ms)
{
    struct loop_timer t = {0};

    if (timeout_ms == 0) {
        turn(l, EVLOOP_NONBLOCK);
        return;
    }
    if (timeout_ms > 0)
        loop_timer_start(l, &t, timeout_ms, on_once_timer);
    turn(l, 0);
    loop_timer_stop(&t);
}

/* descriptors */

static void io_cb(evutil_socket_t fd, short what, void *arg)
{
    struct loop_io *io = arg;
    unsigned events = 0;

    (void)fd;
    if (what & EV_READ)
        events |= LOOP_READ;
    if (what & EV_WRITE)
        events |= LOOP_WRITE;
    io->fn(io, events);
}

void loop_io_start(struct loop *l, struct loop_io *io, int fd, unsigned events, loop_io_fn fn)
{
    short what = EV_PERSIST;

    if (events & LOOP_READ)
        what |= EV_READ;
    if (events & LOOP_WRITE)
        what |= EV_WRITE;
    loop_io_stop(io);
    io->loop = l;
    io->fd = fd;
    io->fn = fn;
    io->ev = event_new(l->base, fd, what, io_cb, io);
    assert(io->ev);
    (void)event_add(io->ev, NULL);
}

void loop_io_stop(struct loop_io *io)
{
    if (!io->ev)
        return;
    event_free(io->ev);
    io->ev = NULL;
}

/* timers */

static void timer_cb(evutil_socket_t fd, short what, void *arg)
{
    struct loop_timer *t = arg;

    (void)fd;
    (void)what;
    t->fn(t);
}

void loop_timer_start(struct loop *l, struct loop_timer *t, int64_t delay_ms, loop_timer_fn fn)
{
    struct timeval tv;

    if (delay_ms < 0)
        delay_ms = 0;
    tv.tv_sec = (time_t)(delay_ms / 1000);
    tv.tv_usec = (suseconds_t)(delay_ms % 1000 * 1000);
    t->fn = fn;
    t->loop = l;
    if (!t->ev) {
        t->ev = event_new(l->base, -1, 0, timer_cb, t);
        assert(t->ev);
    }
    (void)event_add(t->ev, &tv);
}

void loop_timer_stop(struct loop_timer *t)
{
    if (!t->ev)
        return;
    event_free(t->ev);
    t->ev = NULL;
}

bool loop_timer_pending(const struct loop_timer *t)
{
    return t->ev && event_pending(t->ev, EV_TIMEOUT, NULL);
}

/* signals */

static void dispatch_signal(struct loop *l, int signo)
{
    list_for_safe(n, &l->signals)
    {
        struct loop_signal *s = container_of(n, struct loop_signal, link);

        if (s->signo == signo)
            s->fn(s, signo);
    }
}

static void on_signal_fd(struct loop_io *io, unsigned events)
{
    struct loop *l = container_of(io, struct loop, signal_io);
    struct signalfd_siginfo info;

    (void)events;
    while (read(l->signal_fd, &info, sizeof info) == (ssize_t)sizeof info)
        dispatch_signal(l, (int)info.ssi_signo);
}

static void refresh_signals(struct loop *l)
{
    l->signal_fd = signalfd(l->signal_fd, &l->mask, SFD_NONBLOCK | SFD_CLOEXEC);
    assert(l->signal_fd >= 0);
    if (!l->signal_io.ev)
        loop_io_start(l, &l->signal_io, l->signal_fd, LOOP_READ, on_signal_fd);
}

void loop_signal_start(struct loop *l, struct loop_signal *s, int signo, loop_signal_fn fn)
{
    sigset_t one;

    loop_signal_stop(s);
    s->loop = l;
    s->signo = signo;
    s->fn = fn;
    list_add_tail(&l->signals, &s->link);
    (void)sigemptyset(&one);
    (void)sigaddset(&one, signo);
    (void)sigprocmask(SIG_BLOCK, &one, NULL);
    (void)sigaddset(&l->mask, signo);
    refresh_signals(l);
}

void loop_signal_stop(struct loop_signal *s)
{
    list_remove(&s->link);
}

/* children */

static void on_pidfd(struct loop_io *io, unsigned events)
{
    struct loop_child *c = container_of(io, struct loop_child, io);
    pid_t pid = c->pid;
    int status = -1;

    (void)events;
    if (waitpid(pid, &status, WNOHANG) == 0)
        return;
    loop_child_stop(c);
    c->fn(c, status);
}

int loop_child_start(struct loop *l, struct loop_child *c, pid_t pid, loop_child_fn fn)
{
    int fd = (int)syscall(SYS_pidfd_open, pid, 0);

    if (fd < 0)
        return -errno;
    c->pid = pid;
    c->pidfd = fd;
    c->fn = fn;
    loop_io_start(l, &c->io, fd, LOOP_READ, on_pidfd);
    return 0;
}

void loop_child_stop(struct loop_child *c)
{
    if (!c->io.ev)
        return;
    loop_io_stop(&c->io);
    (void)close(c->pidfd);
    c->pidfd = -1;
}

/* deferred jobs and post hooks */

void loop_defer_start(struct loop *l, struct loop_defer *d, loop_defer_fn fn)
{
    d->fn = fn;
    d->loop = l;
    if (list_linked(&d->link))
        return;
    list_add_tail(&l->defers, &d->link);
}

void loop_defer_stop(struct loop_defer *d)
{
    list_remove(&d->link);
}

void loop_post_start(struct loop *l, struct loop_post *p, loop_post_fn fn)
{
    p->fn = fn;
    if (!list_linked(&p->link))
        list_add_tail(&l->posts, &p->link);
}

void loop_post_stop(struct loop_post *p)
{
    list_remove(&p->link);
}
