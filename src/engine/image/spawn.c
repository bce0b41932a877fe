/* Starting the worker: closed descriptors, no new privileges, no core, dies with us. */
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "engine/image/store_private.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>

char *image_worker_path(const struct image_config *cfg)
{
    /* installed beside the binary; in the build tree below it */
    static const char *const places[] = {"skiff-worker", "engine/image/skiff-worker",
                                         "../libexec/skiff/skiff-worker"};
    const char *env = getenv("SKIFF_WORKER");
    char self[4096];

    if (cfg->worker_path)
        return xstrdup(cfg->worker_path);
    if (env && *env)
        return xstrdup(env);
    ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
    if (n <= 0)
        return NULL;
    self[n] = 0;
    char *slash = strrchr(self, '/');
    if (slash)
        *slash = 0;
    for (size_t i = 0; i < ARRAY_LEN(places); i++) {
        char *path = path_join(self, places[i]);
        if (access(path, X_OK) == 0)
            return path;
        free(path);
    }
    return NULL;
}

__attribute__((noreturn)) static void child(const char *path, const char *op, int in_fd, int msg_fd,
                                            pid_t parent)
{
    char *argv[] = {(char *)"skiff-worker", (char *)op, NULL};
    struct rlimit none = {0, 0};
    sigset_t all;

    (void)setpgid(0, 0);
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(127);
    (void)prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    (void)setrlimit(RLIMIT_CORE, &none);
    for (int sig = 1; sig < 32; sig++)
        (void)signal(sig, SIG_DFL);
    (void)signal(SIGPIPE, SIG_IGN);
    sigemptyset(&all);
    (void)sigprocmask(SIG_SETMASK, &all, NULL);
    int msg = msg_fd >= 0 ? fcntl(msg_fd, F_DUPFD, 10) : -1;
    if (dup2(in_fd, 0) < 0 || dup2(2, 1) < 0)
        _exit(126);
    if (msg >= 0 && dup2(msg, 3) < 0)
        _exit(126);
    (void)close_range(msg >= 0 ? 4 : 3, ~0u, 0);
    (void)umask(022);
    execv(path, argv);
    _exit(127);
}

int image_worker_spawn(const struct image_config *cfg, const char *op, int in_fd, int msg_fd,
                       pid_t *ret, struct error **err)
{
    cleanup_free char *path = image_worker_path(cfg);
    cleanup_close int null_fd = -1;
    pid_t parent = getpid();

    if (!path || access(path, X_OK) < 0)
        return error_set(err, ENOENT,
                         "skiff-worker not found%s%s; it belongs beside the skiff binary "
                         "(SKIFF_WORKER names another place)",
                         path ? " at " : "", strna(path));
    if (in_fd < 0) {
        null_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
        in_fd = null_fd;
    }
    pid_t pid = fork();
    if (pid < 0)
        return error_set_errno(err, errno, "fork");
    if (pid == 0)
        child(path, op, in_fd, msg_fd, parent);
    *ret = pid;
    return 0;
}
