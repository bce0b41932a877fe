/*
 * One daemon, one thread, one loop (on libevent's core). Per turn: signals, children, I/O, due
 * timers, then deferred jobs, then `post` hooks, where reconcilers and batched writes run. Nothing
 * is freed inside its own callback; removing a source from its own or another callback is fine and
 * final: no callback after *_stop. Sources are embedded in their owner and must be stopped before
 * memory goes.
 */
#pragma once
#include "base/list.h"
#include "base/time.h"
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
struct event;
struct event_base;
struct loop;
/* lifecycle */
struct loop *loop_new(void);
void loop_free(struct loop *l); /* accepts NULL; all sources must be stopped */
int loop_run(struct loop *l);   /* until loop_exit; returns its code */
void loop_exit(struct loop *l, int code);
/* One pass, waiting at most timeout_ms (-1 for ever); for tests. */
void loop_run_once(struct loop *l, int timeout_ms);
struct event_base *loop_event_base(struct loop *l); /* borrows; for bufferevents in net/ */

/* file descriptors: level triggered */
enum { LOOP_READ = 1u << 0, LOOP_WRITE = 1u << 1 };
struct loop_io;
typedef void (*loop_io_fn)(struct loop_io *io, unsigned events);
struct loop_io {
    struct event *ev;
    loop_io_fn fn;
    int fd;
    struct loop *loop;
};
void loop_io_start(struct loop *l, struct loop_io *io, int fd, unsigned events, loop_io_fn fn);
void loop_io_stop(struct loop_io *io); /* before closing the descriptor; idempotent */

/* timers: one shot, monotonic */
struct loop_timer;
typedef void (*loop_timer_fn)(struct loop_timer *t);
struct loop_timer {
    struct event *ev;
    loop_timer_fn fn;
    struct loop *loop;
};
void loop_timer_start(struct loop *l, struct loop_timer *t, int64_t delay_ms,
                      loop_timer_fn fn); /* re-arms */
void loop_timer_stop(struct loop_timer *t);
bool loop_timer_pending(const struct loop_timer *t);

/* signals: blocked for the process and read from a signalfd */
struct loop_signal;
typedef void (*loop_signal_fn)(struct loop_signal *s, int signo);
struct loop_signal {
    struct list link;
    loop_signal_fn fn;
    int signo;
    struct loop *loop;
};
void loop_signal_start(struct loop *l, struct loop_signal *s, int signo, loop_signal_fn fn);
void loop_signal_stop(struct loop_signal *s);

/* children by pidfd: fn gets the wait status once, after which the source is stopped. A pid that is
 * not our child reports status -1 when it ends. */
struct loop_child;
typedef void (*loop_child_fn)(struct loop_child *c, int wait_status);
struct loop_child {
    struct loop_io io;
    loop_child_fn fn;
    pid_t pid;
    int pidfd;
};
int loop_child_start(struct loop *l, struct loop_child *c, pid_t pid,
                     loop_child_fn fn); /* -errno */
void loop_child_stop(struct loop_child *c);

/* deferred job: runs once at the end of this turn; starting twice is one run */
struct loop_defer;
typedef void (*loop_defer_fn)(struct loop_defer *d);
struct loop_defer {
    struct list link;
    loop_defer_fn fn;
    struct loop *loop;
};
void loop_defer_start(struct loop *l, struct loop_defer *d, loop_defer_fn fn);
void loop_defer_stop(struct loop_defer *d);

/* post hook: runs at the end of every turn in which anything happened */
struct loop_post;
typedef void (*loop_post_fn)(struct loop_post *p);
struct loop_post {
    struct list link;
    loop_post_fn fn;
};
void loop_post_start(struct loop *l, struct loop_post *p, loop_post_fn fn);
void loop_post_stop(struct loop_post *p);
