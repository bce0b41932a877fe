/*
 * skiff-monitor run -p ENGINE -d DIR -e EXITFILE [-l LOG] [-o OOMFILE] [-t] [-i] [-1] -- RUNTIME
 * ARGS...
 *
 * Dies with the engine (process ENGINE) until DIR/control is there, by which the next engine finds
 * it: a container is never started behind the back of one that does not know. Detaches, runs the
 * runtime (which starts the container and leaves DIR/pid), and says on stdout "<init> <monitor>". A
 * runtime that refuses is exit status 1. Then serves DIR/control until the container's init has
 * ended and its output is written; EXITFILE "<code> <finish time in ns> <out of memory: 0 or 1>"
 * appears last, whole, by a rename.
 */
#include "monitor/monitor.h"
#include "monitor/control.h"
#include "monitor/log.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define CONNS 8
#define ATTACHES 8
#define REAPED 32
#define DRAIN_MS 1000       /* for output still held open by somebody after init ended */
#define SLOW_CLIENT_MS 2000 /* an attached client that does not read for so long is dropped */

struct attach {
    int in, out, err;
};

static struct {
    const char *dir, *exit_file, *log_path, *oom_file;
    char **runtime;
    bool tty, interactive, once;
    struct log log;
    struct log_stream stream[2];
    int fd[2];   /* container's stdout and stderr, or the terminal and -1 */
    int in;      /* container's stdin, or the terminal */
    int console; /* listening for the terminal */
    int control, signals;
    int conn[CONNS];
    struct attach attach[ATTACHES];
    char typed[4096]; /* for stdin, not yet taken */
    size_t typed_from, typed_to;
    bool closing_in;
    pid_t engine, runtime_pid, init_pid;
    int early_signal; /* asked for before there was an init */
    int runtime_status, init_status;
    bool runtime_done, init_done;
    struct {
        pid_t pid;
        int status;
    } reaped[REAPED];
    unsigned reaped_n;
} m;

static void drop(int *fd)
{
    if (*fd >= 0)
        (void)close(*fd);
    *fd = -1;
}

static int64_t now_ms(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* ---- attached clients ---- */
static void send_to(int *fd, const char *p, size_t n)
{
    int64_t until = now_ms() + SLOW_CLIENT_MS;

    while (*fd >= 0 && n > 0) {
        ssize_t r = write(*fd, p, n);
        struct pollfd f = {*fd, POLLOUT, 0};

        if (r > 0) {
            p += r;
            n -= (size_t)r;
        } else if (r < 0 && errno == EAGAIN && now_ms() < until) {
            (void)poll(&f, 1, SLOW_CLIENT_MS);
        } else if (r < 0 && errno != EINTR) {
            drop(fd);
        }
    }
}

static void output(int i)
{
    static char chunk[8192];
    ssize_t n = read(m.fd[i], chunk, sizeof chunk);

    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) { /* a terminal nobody holds any more is EIO */
        if (m.tty && m.in == m.fd[i])
            m.in = -1;
        drop(&m.fd[i]);
        log_end(&m.log, &m.stream[i]);
        for (int k = 0; k < ATTACHES; k++)
            drop(i ? &m.attach[k].err : &m.attach[k].out);
        return;
    }
    log_feed(&m.log, &m.stream[i], chunk, (size_t)n);
    for (int k = 0; k < ATTACHES; k++)
        send_to(i ? &m.attach[k].err : &m.attach[k].out, chunk, (size_t)n);
}

static void close_stdin(void)
{
    if (m.in >= 0 && !m.tty)
        drop(&m.in);
    m.closing_in = false;
}

static void type_pending(void)
{
    while (m.in >= 0 && m.typed_from < m.typed_to) {
        ssize_t r = write(m.in, m.typed + m.typed_from, m.typed_to - m.typed_from);

        if (r < 0 && errno == EAGAIN)
            return;
        if (r < 0 && errno != EINTR) {
            close_stdin();
            break;
        }
        if (r > 0)
            m.typed_from += (size_t)r;
    }
    m.typed_from = m.typed_to = 0;
    if (m.closing_in)
        close_stdin();
}

static void typed(struct attach *a)
{
    ssize_t n = read(a->in, m.typed, sizeof m.typed);

    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        drop(&a->in);
        if (m.once)
            close_stdin();
        return;
    }
    m.typed_from = 0;
    m.typed_to = (size_t)n;
    type_pending();
}

static int attach_add(unsigned flags, int *fds, int n)
{
    struct attach *a = NULL;
    int k = 0, need = !!(flags & CONTROL_IN) + !!(flags & CONTROL_OUT) + !!(flags & CONTROL_ERR);

    for (int i = 0; i < ATTACHES && !a; i++)
        if (m.attach[i].in < 0 && m.attach[i].out < 0 && m.attach[i].err < 0)
            a = &m.attach[i];
    if (!a)
        return EBUSY;
    if (n != need)
        return EINVAL;
    for (int i = 0; i < n; i++)
        (void)fcntl(fds[i], F_SETFL, fcntl(fds[i], F_GETFL) | O_NONBLOCK);
    if (flags & CONTROL_IN) {
        a->in = fds[k++];
        if (m.in < 0)
            drop(&a->in);
    }
    if (flags & CONTROL_OUT)
        a->out = fds[k++];
    if (flags & CONTROL_ERR)
        a->err = fds[k++];
    if (m.fd[0] < 0)
        drop(&a->out);
    if (m.fd[1] < 0)
        drop(&a->err);
    return 0;
}

/* ---- requests of the engine ---- */
static int request(const unsigned char *p, size_t n, int *fds, int fds_n)
{
    struct winsize w = {0};

    switch (n ? p[0] : 0) {
    case CONTROL_ATTACH:
        return n == 2 ? attach_add(p[1], fds, fds_n) : EINVAL;
    case CONTROL_RESIZE:
        if (n != 5 || !m.tty || m.fd[0] < 0)
            return EINVAL;
        w.ws_col = (unsigned short)(p[1] | p[2] << 8);
        w.ws_row = (unsigned short)(p[3] | p[4] << 8);
        return ioctl(m.fd[0], TIOCSWINSZ, &w) < 0 ? errno : 0;
    case CONTROL_REOPEN:
        return m.log_path ? log_open(&m.log, m.log_path) : EINVAL;
    case CONTROL_KILL:
        if (n != 2)
            return EINVAL;
        if (m.init_pid <= 0) {
            m.early_signal = p[1];
            return 0;
        }
        return m.init_done ? ESRCH : kill(m.init_pid, p[1]) < 0 ? errno : 0;
    }
    return EINVAL;
}

static void serve(int *conn)
{
    unsigned char p[16], answer;
    union {
        struct cmsghdr h;
        char space[CMSG_SPACE(3 * sizeof(int))];
    } c;
    struct iovec v = {p, sizeof p};
    struct msghdr h = {
        .msg_iov = &v, .msg_iovlen = 1, .msg_control = &c, .msg_controllen = sizeof c};
    ssize_t n = recvmsg(*conn, &h, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
    int fds[3] = {-1, -1, -1}, fds_n = 0;
    struct cmsghdr *q;

    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        drop(conn);
        return;
    }
    q = CMSG_FIRSTHDR(&h);
    if (q && q->cmsg_level == SOL_SOCKET && q->cmsg_type == SCM_RIGHTS) {
        fds_n = (int)((q->cmsg_len - CMSG_LEN(0)) / sizeof(int));
        memcpy(fds, CMSG_DATA(q), (size_t)fds_n * sizeof(int));
    }
    answer = (unsigned char)request(p, (size_t)n, fds, fds_n);
    if (answer)
        for (int i = 0; i < fds_n; i++)
            drop(&fds[i]);
    (void)send(*conn, &answer, 1, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static void accept_conn(void)
{
    int fd = accept4(m.control, NULL, NULL, SOCK_CLOEXEC);

    for (int i = 0; i < CONNS && fd >= 0; i++)
        if (m.conn[i] < 0) {
            m.conn[i] = fd;
            fd = -1;
        }
    drop(&fd);
}

static void accept_console(void)
{
    int fd = accept4(m.console, NULL, NULL, SOCK_CLOEXEC), master = -1;
    char text[256];
    union {
        struct cmsghdr h;
        char space[CMSG_SPACE(sizeof(int))];
    } c;
    struct iovec v = {text, sizeof text};
    struct msghdr h = {
        .msg_iov = &v, .msg_iovlen = 1, .msg_control = &c, .msg_controllen = sizeof c};
    struct cmsghdr *q;

    if (fd < 0)
        return;
    if (recvmsg(fd, &h, MSG_CMSG_CLOEXEC) > 0 && (q = CMSG_FIRSTHDR(&h)) &&
        q->cmsg_type == SCM_RIGHTS)
        memcpy(&master, CMSG_DATA(q), sizeof master);
    drop(&fd);
    if (master < 0)
        return;
    (void)fcntl(master, F_SETFL, O_NONBLOCK);
    m.fd[0] = master;
    m.in = m.interactive ? master : -1;
    drop(&m.console);
    (void)unlink("console");
}

/* ---- children ---- */
static void match_init(void)
{
    for (unsigned i = 0; i < m.reaped_n; i++)
        if (m.init_pid > 0 && m.reaped[i].pid == m.init_pid && !m.init_done) {
            m.init_done = true;
            m.init_status = m.reaped[i].status;
        }
    if (m.init_pid > 0)
        m.reaped_n = 0;
}

static void reap(void)
{
    struct signalfd_siginfo s;
    int status;
    pid_t pid;

    while (read(m.signals, &s, sizeof s) > 0)
        ;
    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        if (pid == m.runtime_pid) {
            m.runtime_done = true;
            m.runtime_status = status;
            continue;
        }
        m.reaped[m.reaped_n % REAPED].pid = pid;
        m.reaped[m.reaped_n % REAPED].status = status;
        if (m.reaped_n < REAPED - 1)
            m.reaped_n++;
        match_init();
    }
}

static pid_t read_pid(void)
{
    char text[16] = "";
    int fd = open("pid", O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);

    drop(&fd);
    return n > 0 ? (pid_t)strtol(text, NULL, 10) : -1;
}

/* ---- the end ---- */
static int out_of_memory(void)
{
    char text[2048], *at;
    int fd = m.oom_file ? open(m.oom_file, O_RDONLY | O_CLOEXEC) : -1;
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);

    drop(&fd);
    if (n <= 0)
        return 0;
    text[n] = 0;
    /* "oom_kill 1" both in v1's memory.oom_control and v2's memory.events */
    at = strstr(text, "oom_kill ");
    return at && strtol(at + 9, NULL, 10) > 0;
}

/* Decimal text and one character behind it; returns the end, which is terminated. */
static char *number(char *out, uint64_t v, char after)
{
    int n = 1;

    for (uint64_t w = v; w >= 10; w /= 10)
        n++;
    log_digits(out, v, n);
    out[n] = after;
    out[n + 1] = 0;
    return out + n + 1;
}

static void write_exit(int oom)
{
    char text[64], tmp[4096], *at;
    struct timespec t;
    size_t n = strlen(m.exit_file);
    int code =
            WIFEXITED(m.init_status) ? WEXITSTATUS(m.init_status) : 128 + WTERMSIG(m.init_status),
        fd;

    if (n + 5 > sizeof tmp)
        return;
    (void)clock_gettime(CLOCK_REALTIME, &t);
    at = number(text, (uint64_t)code, ' ');
    at = number(at, (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec, ' ');
    (void)number(at, (uint64_t)oom, '\n');
    memcpy(tmp, m.exit_file, n);
    memcpy(tmp + n, ".tmp", 5);
    fd = open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        return;
    if (write(fd, text, strlen(text)) == (ssize_t)strlen(text))
        (void)rename(tmp, m.exit_file);
    drop(&fd);
}

/* ---- turning ---- */
struct turn {
    struct pollfd f[4 + 2 + CONNS + ATTACHES];
    int n;
};

static int watch(struct turn *t, int fd, short events)
{
    t->f[t->n].fd = fd;
    t->f[t->n].events = events;
    t->f[t->n].revents = 0;
    return t->n++;
}

static void turn(int timeout_ms)
{
    static struct turn t;
    bool streams = m.runtime_done;
    int in, first_conn, first_attach;

    t.n = 0;
    (void)watch(&t, m.signals, POLLIN);
    (void)watch(&t, m.control, POLLIN);
    (void)watch(&t, m.console, POLLIN);
    (void)watch(&t, streams ? m.fd[0] : -1, POLLIN);
    (void)watch(&t, streams ? m.fd[1] : -1, POLLIN);
    in = watch(&t, m.typed_to ? m.in : -1, POLLOUT);
    first_conn = t.n;
    for (int i = 0; i < CONNS; i++)
        (void)watch(&t, m.conn[i], POLLIN);
    first_attach = t.n;
    for (int i = 0; i < ATTACHES; i++)
        (void)watch(&t, m.typed_to ? -1 : m.attach[i].in, POLLIN);
    if (poll(t.f, (nfds_t)t.n, timeout_ms) <= 0)
        return;
    if (t.f[0].revents)
        reap();
    if (t.f[1].revents)
        accept_conn();
    if (t.f[2].revents)
        accept_console();
    for (int i = 0; i < 2; i++)
        if (t.f[3 + i].revents && m.fd[i] >= 0)
            output(i);
    if (t.f[in].revents)
        type_pending();
    for (int i = 0; i < CONNS; i++)
        if (t.f[first_conn + i].revents && m.conn[i] >= 0)
            serve(&m.conn[i]);
    for (int i = 0; i < ATTACHES; i++)
        if (t.f[first_attach + i].revents && m.attach[i].in >= 0 && !m.typed_to)
            typed(&m.attach[i]);
}

static void supervise(void)
{
    int64_t until;
    int oom;

    while (!m.init_done)
        turn(-1);
    oom = out_of_memory(); /* before anybody removes the cgroup */
    until = now_ms() + DRAIN_MS;
    while ((m.fd[0] >= 0 || m.fd[1] >= 0) && now_ms() < until)
        turn((int)(until - now_ms()) + 1);
    log_end(&m.log, &m.stream[0]);
    log_end(&m.log, &m.stream[1]);
    (void)unlink("control");
    write_exit(oom);
}

/* ---- the beginning ---- */
static int listen_at(const char *name, int type)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);

    memcpy(a.sun_path, name, strlen(name) + 1);
    (void)unlink(name);
    if (fd >= 0 && (bind(fd, (struct sockaddr *)&a, sizeof a) < 0 || listen(fd, 8) < 0))
        drop(&fd);
    return fd;
}

static void exec_runtime(const int child[3])
{
    sigset_t none;

    (void)sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
    (void)signal(SIGPIPE, SIG_DFL);
    for (int i = 0; i < 3; i++)
        if (child[i] >= 0)
            (void)dup2(child[i], i);
    (void)execvp(m.runtime[0], m.runtime);
    _exit(127);
}

static int start_runtime(void)
{
    int in[2] = {-1, -1}, out[2] = {-1, -1}, err[2] = {-1, -1};

    if (!m.tty) {
        if ((m.interactive && pipe2(in, O_CLOEXEC) < 0) || pipe2(out, O_CLOEXEC) < 0 ||
            pipe2(err, O_CLOEXEC) < 0)
            return errno;
        m.in = in[1];
        m.fd[0] = out[0];
        m.fd[1] = err[0];
        (void)fcntl(out[0], F_SETFL, O_NONBLOCK);
        (void)fcntl(err[0], F_SETFL, O_NONBLOCK);
        if (m.in >= 0)
            (void)fcntl(m.in, F_SETFL, O_NONBLOCK);
    }
    m.runtime_pid = fork();
    if (m.runtime_pid < 0)
        return errno;
    if (m.runtime_pid == 0) {
        int child[3] = {in[0], out[1], err[1]};

        exec_runtime(child);
    }
    drop(&in[0]);
    drop(&out[1]);
    drop(&err[1]);
    return 0;
}

static int prepare(void)
{
    sigset_t set;
    int null = open("/dev/null", O_RDWR | O_CLOEXEC), r;

    if (chdir(m.dir) < 0)
        return errno;
    for (int i = 0; i < 3 && null >= 0; i++)
        (void)dup2(null, i);
    if (null > 2)
        drop(&null);
    (void)prctl(PR_SET_CHILD_SUBREAPER, 1);
    (void)signal(SIGPIPE, SIG_IGN);
    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGCHLD);
    (void)sigprocmask(SIG_BLOCK, &set, NULL);
    m.signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (m.log_path && (r = log_open(&m.log, m.log_path)) != 0)
        return r;
    m.control = listen_at("control", SOCK_SEQPACKET);
    if (m.tty)
        m.console = listen_at("console", SOCK_STREAM);
    if (m.control < 0 || m.signals < 0 || (m.tty && m.console < 0))
        return errno;
    (void)prctl(PR_SET_PDEATHSIG, 0);
    return 0;
}

/* Not after the process that started us; parent is who it was then. */
static void die_with(pid_t parent)
{
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(1);
}

/* In the detached process; what goes to `report` is the front's answer. */
static int detached(int report)
{
    struct {
        int code;
        pid_t init;
    } answer = {0, -1};

    answer.code = prepare();
    if (!answer.code)
        answer.code = start_runtime();
    while (!answer.code && !m.runtime_done)
        turn(-1);
    if (!answer.code && (!WIFEXITED(m.runtime_status) || WEXITSTATUS(m.runtime_status)))
        answer.code = -1;
    if (!answer.code) {
        m.init_pid = answer.init = read_pid();
        match_init();
        if (m.init_pid <= 0)
            answer.code = ENOENT;
        else if (m.early_signal && !m.init_done)
            (void)kill(m.init_pid, m.early_signal);
    }
    ssize_t w = write(report, &answer, sizeof answer);
    (void)w;
    drop(&report);
    if (answer.code)
        return 1;
    supervise();
    return 0;
}

static int front(int report, pid_t monitor)
{
    struct {
        int code;
        pid_t init;
    } answer = {EPIPE, -1};
    char text[48];
    ssize_t n;

    do
        n = read(report, &answer, sizeof answer);
    while (n < 0 && errno == EINTR);
    if (n != (ssize_t)sizeof answer)
        return monitor_fail("ended before the container started", 0);
    if (answer.code == -1)
        return monitor_fail("the runtime refused", 0);
    if (answer.code)
        return monitor_fail("start", answer.code);
    (void)number(number(text, (uint64_t)answer.init, ' '), (uint64_t)monitor, '\n');
    return write(1, text, strlen(text)) == (ssize_t)strlen(text) ? 0 : 1;
}

static int options(int argc, char **argv)
{
    int c;

    while ((c = getopt(argc, argv, "+p:d:e:l:o:ti1")) != -1) {
        switch (c) {
        case 'p':
            m.engine = (pid_t)strtol(optarg, NULL, 10);
            break;
        case 'd':
            m.dir = optarg;
            break;
        case 'e':
            m.exit_file = optarg;
            break;
        case 'l':
            m.log_path = optarg;
            break;
        case 'o':
            m.oom_file = optarg;
            break;
        case 't':
            m.tty = true;
            break;
        case 'i':
            m.interactive = true;
            break;
        case '1':
            m.once = true;
            break;
        default:
            return 1;
        }
    }
    m.runtime = argv + optind;
    return !m.dir || !m.exit_file || !m.runtime[0];
}

int run_main(int argc, char **argv)
{
    int report[2];
    pid_t pid, self = getpid();

    if (options(argc, argv))
        return monitor_fail("usage", 0);
    if (m.engine > 0)
        die_with(m.engine);
    m.log.fd = m.fd[0] = m.fd[1] = m.in = m.console = m.control = -1;
    for (int i = 0; i < CONNS; i++)
        m.conn[i] = -1;
    for (int i = 0; i < ATTACHES; i++)
        m.attach[i] = (struct attach){-1, -1, -1};
    m.stream[0].name = "stdout ";
    m.stream[1].name = "stderr ";
    if (pipe2(report, O_CLOEXEC) < 0 || (pid = fork()) < 0)
        return monitor_fail("fork", errno);
    if (pid == 0) {
        die_with(self);
        (void)close(report[0]);
        (void)setsid();
        return detached(report[1]);
    }
    (void)close(report[1]);
    return front(report[0], pid);
}
