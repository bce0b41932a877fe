#include "engine/container/exec.h"
#include "base/cleanup.h"
#include "base/file.h"
#include "base/random.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/wait.h>

#define SPEC_MAX (4 << 20)

struct exec {
    struct loop *loop;
    struct loop_child child;
    char *process_file, *pid_file, *log_file;
    exec_done_fn done;
    void *arg;
    pid_t runtime;
};

static void exec_free(struct exec *x)
{
    (void)unlink(x->process_file);
    (void)unlink(x->pid_file);
    (void)unlink(x->log_file);
    free(x->process_file);
    free(x->pid_file);
    free(x->log_file);
    free(x);
}

static void on_ended(struct loop_child *k, int status)
{
    struct exec *x = container_of(k, struct exec, child);
    cleanup_free char *said = NULL;
    int code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);

    /* The runtime leaves the pid once the command runs. */
    if (!path_exists(x->pid_file)) {
        said = runtime_log_message(x->log_file);
        if (!said)
            said = xasprintf("the runtime ended with status %d", code);
    }
    x->done(x, code, said, x->arg);
    exec_free(x);
}

void exec_kill(struct exec *x)
{
    cleanup_buf struct buf text = {0};
    int64_t pid;

    if (file_read(x->pid_file, 64, &text, NULL) == 0 &&
        str_to_i64(str_trim(buf_str(&text)), 2, INT32_MAX, &pid) == 0)
        (void)kill((pid_t)pid, SIGKILL);
    else
        (void)kill(-x->runtime, SIGKILL);
}

static int write_process(struct container *c, char *const *cmd, size_t n, bool tty,
                         const char *path, struct error **err)
{
    cleanup_free char *run = container_run_dir(c), *config = path_join(run, "config.json");
    cleanup_buf struct buf text = {0}, out;
    cleanup_json json_t *spec = NULL, *process = NULL;
    int r = file_read(config, SPEC_MAX, &text, err);

    buf_init(&out, SPEC_MAX);
    if (r == 0)
        r = json_parse(buf_str(&text), SPEC_MAX, config, &spec, err);
    if (r < 0)
        return r;
    process = spec_process_for_exec(spec, cmd, n, tty);
    if (!process || json_write(process, &out) < 0)
        return error_set(err, EINVAL, "command is not valid UTF-8, or too long");
    return file_write_atomic_nosync(path, 0600, buf_str(&out), err);
}

/* In the child. */
static void become_runtime(char **argv, bool tty, const int fds[3])
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC), high[3];
    sigset_t none;

    (void)setsid();
    (void)sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
    (void)signal(SIGPIPE, SIG_DFL);
    for (int i = 0; i < 3; i++)
        high[i] = fcntl(fds[i] >= 0 ? fds[i] : null, F_DUPFD_CLOEXEC, 10);
    for (int i = 0; i < 3; i++)
        (void)dup2(high[i], i);
    if (tty)
        (void)ioctl(0, TIOCSCTTY, 0);
    (void)execv(argv[0], argv);
    _exit(127);
}

static void make_argv(const struct container *c, const struct exec *x, struct flag_list *v)
{
    const char *words[] = {"exec", "--process", x->process_file, "--pid-file", x->pid_file, c->id};

    runtime_argv(&c->engine->runtime, x->log_file, container_is_systemd(c), v);
    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        flag_list_add(v, words[i]);
    v->v = xreallocarray(v->v, v->n + 1, sizeof *v->v);
    v->v[v->n] = NULL;
}

int exec_start(struct container *c, char *const *cmd, size_t cmd_n, bool tty, const int fds[3],
               exec_done_fn done, void *arg, struct exec **ret, struct error **err)
{
    cleanup_free char *run = container_run_dir(c);
    struct flag_list argv = {0};
    struct exec *x;
    char suffix[11];
    int r;

    if (c->state != CONTAINER_RUNNING)
        return error_set(err, EINVAL, "container %s is not running", c->id);
    if (!cmd_n)
        return error_set(err, EINVAL, "no command was given");
    random_suffix(suffix, 10);
    x = xcalloc(1, sizeof *x);
    *x = (struct exec){.loop = c->engine->loop, .done = done, .arg = arg, .runtime = -1};
    x->process_file = xasprintf("%s/exec-%s.json", run, suffix);
    x->pid_file = xasprintf("%s/exec-%s.pid", run, suffix);
    x->log_file = xasprintf("%s/exec-%s.log", run, suffix);
    r = write_process(c, cmd, cmd_n, tty, x->process_file, err);
    if (r == 0) {
        make_argv(c, x, &argv);
        x->runtime = fork();
        if (x->runtime == 0)
            become_runtime(argv.v, tty, fds);
        if (x->runtime < 0)
            r = error_set_errno(err, errno, "fork");
    }
    flag_list_fini(&argv);
    if (r == 0) {
        r = loop_child_start(x->loop, &x->child, x->runtime, on_ended);
        if (r < 0) {
            (void)kill(-x->runtime, SIGKILL);
            (void)error_set_errno(err, -r, "watch the runtime");
        }
    }
    if (r < 0) {
        exec_free(x);
        return r;
    }
    *ret = x;
    return 0;
}
