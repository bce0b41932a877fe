#include "cli/supervise.h"
#include "base/backoff.h"
#include "base/cleanup.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/time.h"
#include "loop/loop.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define LOG_MAX_BYTES (8 << 20)
#define STABLE_MS 10000 /* a role that ran this long starts with a fresh back-off */
#define STOP_GRACE_MS 8000
#define CREDENTIALS_POLL_MS 10 /* only between the first start and the end of `up` */

struct role {
    struct loop_child child;
    struct loop_timer restart;
    struct backoff backoff;
    struct mono started;
    struct supervisor *s;
    enum role_id id;
    pid_t pid;
};

struct supervisor {
    struct loop *loop;
    struct node_config config;
    struct layout layout;
    struct role roles[ROLE_MAX];
    struct loop_signal term, interrupt;
    struct loop_timer stop_timer;
    char *program;
    bool stopping;
};

char *self_path(void)
{
    char path[4096];
    ssize_t n = readlink("/proc/self/exe", path, sizeof path - 1);

    if (n < 0)
        return xstrdup("skiff");
    path[n] = '\0';
    if (strends(path, " (deleted)")) /* replaced by a newer build while running */
        path[n - (ssize_t)strlen(" (deleted)")] = '\0';
    return xstrdup(path);
}

static char *pid_path(const struct layout *l, enum role_id id)
{
    return xasprintf("%s/%s.pid", l->run, role_names[id]);
}

/* "<pid> <start time> <boot id>": start time is field 22 of /proc/PID/stat (proc(5)). */
static bool describe_pid(pid_t pid, char *out, size_t n)
{
    char path[64];
    struct buf stat, boot;
    char *at;
    int field = 2;

    (void)snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    if (file_read(path, 4096, &stat, NULL) < 0)
        return false;
    at = strrchr(stat.p, ')');
    for (; at && field < 22; field++)
        at = strchr(at + 1, ' ');
    if (!at || file_read("/proc/sys/kernel/random/boot_id", 64, &boot, NULL) < 0) {
        buf_fini(&stat);
        return false;
    }
    (void)snprintf(out, n, "%d %.*s %.36s", (int)pid, (int)strcspn(at + 1, " "), at + 1, boot.p);
    buf_fini(&stat);
    buf_fini(&boot);
    return true;
}

pid_t supervise_role_pid(const struct layout *l, enum role_id id)
{
    cleanup_free char *path = pid_path(l, id);
    struct buf text;
    char now[128] = "";
    int64_t pid = 0;
    struct str rest, word;

    if (file_read(path, 256, &text, NULL) < 0)
        return 0;
    rest = str_trim(buf_str(&text));
    word = rest;
    word = str_split(&word, ' ');
    if (str_to_i64(word, 1, INT32_MAX, &pid) < 0 || !describe_pid((pid_t)pid, now, sizeof now) ||
        !str_eq_z(rest, now))
        pid = 0;
    buf_fini(&text);
    return (pid_t)pid;
}

pid_t supervise_running(const struct layout *l)
{
    cleanup_close int fd = open(l->node_lock, O_RDONLY | O_CLOEXEC);
    char text[24] = "";
    int64_t pid;
    ssize_t n;

    if (fd < 0 || flock(fd, LOCK_SH | LOCK_NB) == 0 || errno != EWOULDBLOCK)
        return 0;
    n = pread(fd, text, sizeof text - 1, 0);
    if (n <= 0 || str_to_i64(str_trim((struct str){text, (size_t)n}), 1, INT32_MAX, &pid) < 0)
        return 0;
    return (pid_t)pid;
}

/* The log file of a role: cut when it grew past the bound, the old one kept once. */
static int open_log(const struct layout *l, const char *name)
{
    cleanup_free char *path = xasprintf("%s/%s.log", l->log, name);
    cleanup_free char *old = xasprintf("%s.1", path);
    struct stat st;

    if (stat(path, &st) == 0 && st.st_size > LOG_MAX_BYTES)
        (void)rename(path, old);
    return open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);
}

static void role_start(struct role *r);

static void on_restart(struct loop_timer *t)
{
    role_start(container_of(t, struct role, restart));
}

static void maybe_exit(struct supervisor *s)
{
    for (int i = 0; i < ROLE_MAX; i++)
        if (s->roles[i].pid)
            return;
    loop_exit(s->loop, 0);
}

/* Stopped in the order agent, engine, server: each still finds what it needs while it ends. */
static void stop_next(struct supervisor *s)
{
    static const enum role_id order[] = {ROLE_AGENT, ROLE_ENGINE, ROLE_SERVER};

    for (size_t i = 0; i < ARRAY_LEN(order); i++) {
        if (!s->roles[order[i]].pid)
            continue;
        (void)kill(s->roles[order[i]].pid, SIGTERM);
        return;
    }
    maybe_exit(s);
}

static void on_role_exit(struct loop_child *c, int status)
{
    struct role *r = container_of(c, struct role, child);
    cleanup_free char *path = pid_path(&r->s->layout, r->id);
    char delay_text[24], how[64] = "ended";
    int64_t delay;

    r->pid = 0;
    (void)unlink(path);
    if (status != -1 && WIFSIGNALED(status))
        (void)snprintf(how, sizeof how, "killed by SIG%s", sigabbrev_np(WTERMSIG(status)));
    else if (status != -1)
        (void)snprintf(how, sizeof how, "exit status %d", WEXITSTATUS(status));
    if (r->s->stopping) {
        stop_next(r->s);
        return;
    }
    if (mono_ms_since(r->started) > STABLE_MS)
        backoff_reset(&r->backoff);
    delay = backoff_next_ms(&r->backoff);
    (void)snprintf(delay_text, sizeof delay_text, "%lldms", (long long)delay);
    log_warn("node", "role ended; starting it again", "role", role_names[r->id], "how", how, "in",
             delay_text, NULL);
    loop_timer_start(r->s->loop, &r->restart, delay, on_restart);
}

static void write_pid(struct role *r)
{
    cleanup_free char *path = pid_path(&r->s->layout, r->id);
    cleanup_error struct error *err = NULL;
    char text[128];

    if (!describe_pid(r->pid, text, sizeof text))
        return;
    if (file_write_atomic_nosync(path, 0644, str_of(text), &err) < 0)
        log_errorf("node", "%s", error_message(err));
}

static pid_t role_fork(struct role *r)
{
    struct flag_list argv = {0};
    int log_fd = getenv("JOURNAL_STREAM") ? -1 : open_log(&r->s->layout, role_names[r->id]);
    sigset_t none;
    pid_t pid;

    role_argv(&r->s->config, &r->s->layout, r->id, r->s->program, &argv);
    pid = fork();
    if (pid == 0) {
        (void)sigemptyset(&none);
        (void)sigprocmask(SIG_SETMASK, &none, NULL);
        (void)setsid();
        if (log_fd >= 0 && (dup2(log_fd, 1) < 0 || dup2(log_fd, 2) < 0))
            _exit(126);
        (void)execv(r->s->program, argv.v);
        _exit(127);
    }
    if (log_fd >= 0)
        (void)close(log_fd);
    flag_list_fini(&argv);
    return pid;
}

static void role_watch(struct role *r)
{
    if (loop_child_start(r->s->loop, &r->child, r->pid, on_role_exit) == 0)
        return;
    r->pid = 0;
    loop_timer_start(r->s->loop, &r->restart, backoff_next_ms(&r->backoff), on_restart);
}

/* The agent has nothing to say to anybody before it was given some credentials. */
static bool role_may_start(const struct role *r)
{
    const struct layout *l = &r->s->layout;

    return r->id != ROLE_AGENT || path_exists(l->kubelet_kubeconfig) ||
           path_exists(l->bootstrap_kubeconfig);
}

static void role_start(struct role *r)
{
    pid_t adopted = supervise_role_pid(&r->s->layout, r->id);

    r->started = mono_now();
    if (adopted) {
        r->pid = adopted;
        log_info("node", "adopted a running role", "role", role_names[r->id], NULL);
    } else if (!role_may_start(r)) {
        loop_timer_start(r->s->loop, &r->restart, CREDENTIALS_POLL_MS, on_restart);
        return;
    } else {
        r->pid = role_fork(r);
        if (r->pid < 0) {
            r->pid = 0;
            log_errorf("node", "fork for %s: %s", role_names[r->id], strerror(errno));
            loop_timer_start(r->s->loop, &r->restart, backoff_next_ms(&r->backoff), on_restart);
            return;
        }
        write_pid(r);
    }
    role_watch(r);
}

static void on_stop_timeout(struct loop_timer *t)
{
    struct supervisor *s = container_of(t, struct supervisor, stop_timer);

    for (int i = 0; i < ROLE_MAX; i++) {
        if (!s->roles[i].pid)
            continue;
        log_warn("node", "role does not end; killing it", "role", role_names[i], NULL);
        (void)kill(s->roles[i].pid, SIGKILL);
    }
}

static void on_stop_signal(struct loop_signal *sig, int signo)
{
    struct supervisor *s = signo == SIGTERM ? container_of(sig, struct supervisor, term)
                                            : container_of(sig, struct supervisor, interrupt);

    if (s->stopping)
        return;
    s->stopping = true;
    for (int i = 0; i < ROLE_MAX; i++)
        loop_timer_stop(&s->roles[i].restart);
    loop_timer_start(s->loop, &s->stop_timer, STOP_GRACE_MS, on_stop_timeout);
    stop_next(s);
}

static int supervise_run(struct supervisor *s)
{
    int code;

    s->loop = loop_new();
    s->program = self_path();
    loop_signal_start(s->loop, &s->term, SIGTERM, on_stop_signal);
    loop_signal_start(s->loop, &s->interrupt, SIGINT, on_stop_signal);
    for (int i = 0; i < ROLE_MAX; i++) {
        s->roles[i] = (struct role){.s = s, .id = i, .backoff = {.first_ms = 100, .max_ms = 10000}};
        if (i != ROLE_SERVER || s->config.with_server)
            role_start(&s->roles[i]);
    }
    code = loop_run(s->loop);
    for (int i = 0; i < ROLE_MAX; i++) {
        loop_child_stop(&s->roles[i].child);
        loop_timer_stop(&s->roles[i].restart);
    }
    loop_timer_stop(&s->stop_timer);
    loop_signal_stop(&s->term);
    loop_signal_stop(&s->interrupt);
    loop_free(s->loop);
    free(s->program);
    return code;
}

int supervise_main(int argc, char **argv)
{
    cleanup_error struct error *err = NULL;
    cleanup_free char *data = NULL, *config_path = NULL;
    struct flag flags[] = {
        {.name = "data-dir",
         .type = FLAG_STRING,
         .target = &data,
         .help = "where `skiff up` or `skiff join` left the node's configuration"},
    };
    struct supervisor s = {0};
    int lock = -1, r = flags_parse("skiff node", flags, ARRAY_LEN(flags), argc, argv, NULL, &err);

    if (r == FLAGS_HELP)
        return 0;
    config_path = node_config_path(data ? data : LAYOUT_DATA);
    if (r == 0 && !path_exists(config_path))
        r = error_set(&err, ENOENT, "%s is not there; run `skiff up` first, it writes it",
                      config_path);
    if (r == 0)
        r = node_config_load(config_path, &s.config, &err);
    if (r == 0) {
        layout_init(&s.layout, s.config.data, s.config.run);
        r = dir_make(s.layout.run, 0755, &err);
    }
    if (r == 0)
        r = dir_make(s.layout.log, 0750, &err);
    if (r == 0)
        r = file_lock_pid(s.layout.node_lock, &lock, &err);
    if (r < 0)
        log_errorf("node", "%s", error_message(err));
    else
        r = supervise_run(&s);
    if (lock >= 0) {
        (void)unlink(s.layout.node_lock);
        (void)close(lock);
    }
    layout_fini(&s.layout);
    node_config_fini(&s.config);
    return r < 0 ? 1 : r;
}

int supervise_spawn(const struct layout *l, struct error **err)
{
    cleanup_free char *program = self_path();
    cleanup_close int log_fd = open_log(l, "node"), null = open("/dev/null", O_RDWR | O_CLOEXEC);
    pid_t pid;
    int status;

    if (log_fd < 0 || null < 0)
        return error_set_errno(err, errno, "open the log in %s", l->log);
    pid = fork();
    if (pid < 0)
        return error_set_errno(err, errno, "fork");
    if (pid == 0) { /* twice, so that the supervisor is nobody's child */
        if (setsid() < 0 || fork() != 0)
            _exit(0);
        (void)chdir("/");
        (void)dup2(null, 0);
        (void)dup2(log_fd, 1);
        (void)dup2(log_fd, 2);
        (void)execl(program, "skiff", "node", "--data-dir", l->data, (char *)NULL);
        _exit(127);
    }
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    return 0;
}
