#include "loop/process.h"
#include "base/cleanup.h"
#include "base/mem.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define DEFAULT_OUT_MAX (64 * 1024)
#define DEFAULT_TIMEOUT_MS 60000
#define STDERR_MAX (16 * 1024)
/* After the child has ended, output still in its pipes is read this long; a grandchild that keeps
 * the pipe open must not keep us. */
#define DRAIN_MS 200

struct pipe_end {
    struct loop_io io;
    struct buf buf;
    struct process *p;
    int fd;
};

struct process {
    struct loop *loop;
    struct loop_child child;
    struct loop_timer timer;
    struct pipe_end in, out, err;
    size_t written;
    process_done_fn done;
    void *arg;
    pid_t pid;
    int status;
    bool exited, timed_out;
};

static int write_cgroup(const char *path)
{
    cleanup_close int fd = open(path, O_WRONLY | O_CLOEXEC);

    return fd < 0 || write(fd, "0", 1) != 1 ? -errno : 0;
}

/* In the child between fork and exec: async-signal-safe calls only. Reports errno through the pipe.
 */
static void child_exec(const struct process_spec *s, int in, int out, int err, int report)
{
    sigset_t none;
    int saved;

    (void)setpgid(0, 0);
    (void)sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
    (void)signal(SIGPIPE, SIG_DFL);
    if (s->cgroup_procs && write_cgroup(s->cgroup_procs) < 0)
        goto fail;
    if (s->netns_fd > 0 && setns(s->netns_fd, CLONE_NEWNET) < 0)
        goto fail;
    if (s->cwd && chdir(s->cwd) < 0)
        goto fail;
    if (dup2(in, 0) < 0 || dup2(out, 1) < 0 || dup2(err, 2) < 0)
        goto fail;
    if (s->keep_fd > 0) {
        int flags;

        if (s->keep_fd != 3 && dup2(s->keep_fd, 3) < 0)
            goto fail;
        flags = fcntl(3, F_GETFD);
        if (flags < 0 || fcntl(3, F_SETFD, flags & ~FD_CLOEXEC) < 0)
            goto fail;
    }
    if (s->env)
        (void)execvpe(s->argv[0], (char *const *)s->argv, (char *const *)s->env);
    else
        (void)execvp(s->argv[0], (char *const *)s->argv);
fail:
    saved = errno;
    ssize_t w = write(report, &saved, sizeof saved);
    (void)w;
    _exit(127);
}

/* Descriptors handed to the child are moved above 3, so that dup2 onto 0..3 never tramples one. */
static int high_fd(int fd)
{
    int high = fcntl(fd, F_DUPFD_CLOEXEC, 10);

    (void)close(fd);
    return high;
}

static int make_pipe(int ends[2], int child_end)
{
    if (pipe2(ends, O_CLOEXEC) < 0)
        return -errno;
    ends[child_end] = high_fd(ends[child_end]);
    (void)fcntl(ends[1 - child_end], F_SETFL, O_NONBLOCK);
    return ends[child_end] < 0 ? -errno : 0;
}

static void close_pair(int ends[2])
{
    for (int i = 0; i < 2; i++)
        if (ends[i] >= 0)
            (void)close(ends[i]);
}

struct spawn {
    int in[2], out[2], err[2], report[2];
    pid_t pid;
};

static int spawn_open(const struct process_spec *spec, struct spawn *s)
{
    int r = 0;

    if (spec->input.n) {
        r = make_pipe(s->in, 0);
    } else {
        int null = open("/dev/null", O_RDONLY | O_CLOEXEC);

        s->in[0] = null < 0 ? -1 : high_fd(null);
    }
    if (r == 0)
        r = make_pipe(s->out, 1);
    if (r == 0)
        r = make_pipe(s->err, 1);
    if (r == 0)
        r = make_pipe(s->report, 1);
    return r;
}

static int spawn(const struct process_spec *spec, struct spawn *s, struct error **err)
{
    int code = 0, r;
    ssize_t got;

    *s = (struct spawn){{-1, -1}, {-1, -1}, {-1, -1}, {-1, -1}, -1};
    r = spawn_open(spec, s);
    if (r < 0) {
        close_pair(s->in);
        close_pair(s->out);
        close_pair(s->err);
        close_pair(s->report);
        return error_set_errno(err, -r, "pipes for %s", spec->argv[0]);
    }
    s->pid = fork();
    if (s->pid == 0)
        child_exec(spec, s->in[0], s->out[1], s->err[1], s->report[1]);
    code = s->pid < 0 ? errno : 0;
    (void)close(TAKE_FD(s->in[0]));
    (void)close(TAKE_FD(s->out[1]));
    (void)close(TAKE_FD(s->err[1]));
    (void)close(TAKE_FD(s->report[1]));
    if (!code) {
        (void)fcntl(s->report[0], F_SETFL, 0);
        do
            got = read(s->report[0], &code, sizeof code);
        while (got < 0 && errno == EINTR);
        if (got != (ssize_t)sizeof code)
            code = 0;
        else
            (void)waitpid(s->pid, NULL, 0);
    }
    (void)close(TAKE_FD(s->report[0]));
    if (!code)
        return 0;
    close_pair(s->in);
    close_pair(s->out);
    close_pair(s->err);
    return error_set_errno(err, code, "run %s", spec->argv[0]);
}

static void end_close(struct pipe_end *e)
{
    loop_io_stop(&e->io);
    if (e->fd >= 0)
        (void)close(TAKE_FD(e->fd));
}

static void process_free(struct process *p)
{
    loop_child_stop(&p->child);
    loop_timer_stop(&p->timer);
    end_close(&p->in);
    end_close(&p->out);
    end_close(&p->err);
    buf_fini(&p->in.buf);
    buf_fini(&p->out.buf);
    buf_fini(&p->err.buf);
    free(p);
}

static void finish(struct process *p)
{
    struct process_result r = {.wait_status = p->status, .timed_out = p->timed_out};

    r.out = buf_str(&p->out.buf);
    r.err = buf_str(&p->err.buf);
    p->done(p, &r, p->arg);
    process_free(p);
}

static void maybe_finish(struct process *p)
{
    if (p->exited && p->out.fd < 0 && p->err.fd < 0)
        finish(p);
}

static void on_drain_timeout(struct loop_timer *t)
{
    struct process *p = container_of(t, struct process, timer);

    end_close(&p->out);
    end_close(&p->err);
    maybe_finish(p);
}

static void on_timeout(struct loop_timer *t)
{
    struct process *p = container_of(t, struct process, timer);

    p->timed_out = true;
    (void)kill(-p->pid, SIGKILL);
}

static void on_exit_status(struct loop_child *c, int status)
{
    struct process *p = container_of(c, struct process, child);

    p->exited = true;
    p->status = status;
    end_close(&p->in);
    loop_timer_start(p->loop, &p->timer, DRAIN_MS, on_drain_timeout);
    maybe_finish(p);
}

static void on_output(struct loop_io *io, unsigned events)
{
    struct pipe_end *e = container_of(io, struct pipe_end, io);
    char chunk[8192];
    ssize_t n = read(e->fd, chunk, sizeof chunk);

    (void)events;
    if (n > 0) {
        size_t room = e->buf.max - e->buf.n;

        (void)buf_add(&e->buf, chunk, (size_t)n < room ? (size_t)n : room);
        return;
    }
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    end_close(e);
    maybe_finish(e->p);
}

static void on_input(struct loop_io *io, unsigned events)
{
    struct pipe_end *e = container_of(io, struct pipe_end, io);
    struct process *p = e->p;
    ssize_t n = write(e->fd, e->buf.p + p->written, e->buf.n - p->written);

    (void)events;
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n > 0)
        p->written += (size_t)n;
    if (n < 0 || p->written == e->buf.n)
        end_close(e);
}

static void end_open(struct process *p, struct pipe_end *e, int fd, size_t max)
{
    e->p = p;
    e->fd = fd;
    buf_init(&e->buf, max);
}

int process_start(struct loop *l, const struct process_spec *spec, process_done_fn done, void *arg,
                  struct process **ret, struct error **err)
{
    int64_t timeout = spec->timeout_ms ? spec->timeout_ms : DEFAULT_TIMEOUT_MS;
    struct process *p;
    struct spawn s;
    int r = spawn(spec, &s, err);

    if (r < 0)
        return r;
    p = xcalloc(1, sizeof *p);
    p->loop = l;
    p->pid = s.pid;
    p->done = done;
    p->arg = arg;
    end_open(p, &p->in, s.in[1], spec->input.n);
    end_open(p, &p->out, s.out[0], spec->out_max ? spec->out_max : DEFAULT_OUT_MAX);
    end_open(p, &p->err, s.err[0], STDERR_MAX);
    r = loop_child_start(l, &p->child, s.pid, on_exit_status);
    if (r < 0) {
        (void)kill(-s.pid, SIGKILL);
        (void)waitpid(s.pid, NULL, 0);
        process_free(p);
        return error_set_errno(err, -r, "watch %s", spec->argv[0]);
    }
    loop_io_start(l, &p->out.io, p->out.fd, LOOP_READ, on_output);
    loop_io_start(l, &p->err.io, p->err.fd, LOOP_READ, on_output);
    if (spec->input.n) {
        (void)buf_add_str(&p->in.buf, spec->input);
        loop_io_start(l, &p->in.io, p->in.fd, LOOP_WRITE, on_input);
    }
    if (timeout > 0)
        loop_timer_start(l, &p->timer, timeout, on_timeout);
    if (ret)
        *ret = p;
    return 0;
}

void process_cancel(struct process *p)
{
    if (!p)
        return;
    if (!p->exited) {
        (void)kill(-p->pid, SIGKILL);
        (void)waitpid(p->pid, NULL, 0);
    }
    process_free(p);
}

pid_t process_pid(const struct process *p)
{
    return p->pid;
}

void process_status_text(int status, char *out, size_t n)
{
    if (WIFSIGNALED(status))
        (void)snprintf(out, n, "killed by SIG%s", sigabbrev_np(WTERMSIG(status)));
    else
        (void)snprintf(out, n, "exit status %d", WEXITSTATUS(status));
}

struct run_state {
    struct loop *loop;
    struct buf *out;
    struct error **err;
    const char *name;
    int64_t timeout_ms;
    int result;
};

static void on_run_done(struct process *p, const struct process_result *r, void *arg)
{
    struct run_state *s = arg;
    char status[64];
    struct str text = str_trim(r->err), line = text;

    (void)p;
    for (size_t i = text.n; i > 0; i--) {
        if (text.p[i - 1] != '\n')
            continue;
        line = (struct str){text.p + i, text.n - i};
        break;
    }
    process_status_text(r->wait_status, status, sizeof status);
    if (s->out)
        (void)buf_add_str(s->out, r->out);
    if (r->timed_out)
        s->result = error_set(s->err, ETIMEDOUT, "%s did not finish within %lld ms", s->name,
                              (long long)s->timeout_ms);
    else if (r->wait_status != 0)
        s->result = error_set(s->err, ECHILD, "%s: %s%s%.*s", s->name, status, line.n ? ": " : "",
                              STR_FMT(line));
    loop_exit(s->loop, 0);
}

int process_run(const char *const *argv, struct str input, int64_t timeout_ms, struct buf *out,
                struct error **err)
{
    struct process_spec spec = {.argv = argv, .input = input, .timeout_ms = timeout_ms};
    struct run_state s = {.out = out, .err = err, .name = argv[0], .timeout_ms = timeout_ms};
    int r;

    if (out)
        spec.out_max = out->max;
    s.loop = loop_new();
    r = process_start(s.loop, &spec, on_run_done, &s, NULL, err);
    if (r == 0) {
        (void)loop_run(s.loop);
        r = s.result;
    }
    loop_free(s.loop);
    return r;
}
