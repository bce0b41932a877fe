/* All layers of an image: chains, locks, children, and the renames that make them visible. */
#include "base/file.h"
#include "base/mem.h"
#include "base/sha256.h"
#include "engine/image/worker.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sys/xattr.h>

#define LOCK_POLL_MS 100

enum layer_state { LAYER_TODO, LAYER_RUNNING, LAYER_UNPACKED, LAYER_PRESENT };
struct layer_slot {
    enum layer_state state;
    int lock_fd, pipe_fd;
    pid_t pid;
    char *dir; /* where it is made */
};
struct layer_work {
    const struct worker_request *q;
    const struct layer_task *tasks;
    struct layer_slot *slots;
    size_t n, running, committed;
    layer_open_fn open_layer;
    void *arg;
};

void layer_chains(const struct image_strings *diff_ids, struct image_strings *ret)
{
    char hex[SHA256_HEX];

    for (size_t i = 0; i < diff_ids->n; i++) {
        if (i == 0) {
            image_strings_add(ret, diff_ids->v[0] + strlen("sha256:"));
            continue;
        }
        cleanup_free char *text = xasprintf("sha256:%s %s", ret->v[i - 1], diff_ids->v[i]);
        sha256_hex(text, strlen(text), hex);
        image_strings_add(ret, hex);
    }
}

static char *final_dir(const struct layer_work *w, size_t i)
{
    return xasprintf("%s/layers/%s", w->q->root, w->tasks[i].chain);
}

static char *lock_path(const struct layer_work *w, size_t i)
{
    return xasprintf("%s/tmp/lock-%s", w->q->root, w->tasks[i].chain);
}

/* 1 when another worker holds it. */
static int slot_lock(struct layer_work *w, size_t i, struct error **err)
{
    cleanup_free char *path = lock_path(w, i);
    struct stat a, b;

    for (;;) {
        cleanup_close int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        if (fd < 0)
            return error_set_errno(err, errno, "open %s", path);
        if (flock(fd, LOCK_EX | LOCK_NB) < 0)
            return errno == EWOULDBLOCK ? 1 : error_set_errno(err, errno, "lock %s", path);
        /* the last holder removes the file: only the one that still has the name counts */
        if (fstat(fd, &a) == 0 && stat(path, &b) == 0 && a.st_ino == b.st_ino) {
            w->slots[i].lock_fd = TAKE_FD(fd);
            return 0;
        }
    }
}

static void slot_unlock(struct layer_work *w, size_t i)
{
    cleanup_free char *path = lock_path(w, i);

    if (w->slots[i].lock_fd < 0)
        return;
    (void)unlink(path);
    (void)close(w->slots[i].lock_fd);
    w->slots[i].lock_fd = -1;
}

__attribute__((noreturn)) static void slot_child(struct layer_work *w, size_t i, int result_fd,
                                                 pid_t parent)
{
    struct error *err = NULL;
    struct source *src;
    int r;

    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(1);
    r = w->open_layer(w->arg, i, &src, &err);
    if (r == 0)
        r = layer_unpack(w->q, &w->tasks[i], src, w->slots[i].dir, &err);
    if (r == 0)
        _exit(0);
    char text[4096];
    int n = snprintf(text, sizeof(text), "%d\n%s", err ? err->code : EIO, error_message(err));
    if (n >= (int)sizeof(text))
        n = (int)sizeof(text) - 1;
    if (write(result_fd, text, (size_t)n) != n)
        _exit(2);
    _exit(1);
}

static int slot_start(struct layer_work *w, size_t i, struct error **err)
{
    struct layer_slot *s = &w->slots[i];
    int fds[2], r;
    pid_t parent = getpid();

    s->dir = xasprintf("%s/layer-%zu", w->q->tmp, i);
    if ((r = dir_make(s->dir, 0700, err)) < 0)
        return r;
    if (pipe2(fds, O_CLOEXEC) < 0)
        return error_set_errno(err, errno, "pipe");
    worker_progress(w->tasks[i].label, "Pulling fs layer", 0, 0);
    s->pid = fork();
    if (s->pid < 0)
        return error_set_errno(err, errno, "fork");
    if (s->pid == 0)
        slot_child(w, i, fds[1], parent);
    (void)close(fds[1]);
    s->pipe_fd = fds[0];
    s->state = LAYER_RUNNING;
    w->running++;
    return 0;
}

/* Starts what can be started; what another worker makes stays TODO. */
static int work_start(struct layer_work *w, struct error **err)
{
    for (size_t i = 0; i < w->n && (int64_t)w->running < w->q->parallel; i++) {
        struct layer_slot *s = &w->slots[i];
        if (s->state != LAYER_TODO)
            continue;
        int r = slot_lock(w, i, err);
        if (r < 0)
            return r;
        if (r == 1)
            continue;
        cleanup_free char *dir = final_dir(w, i);
        if (path_exists(dir)) {
            slot_unlock(w, i);
            s->state = LAYER_PRESENT;
            worker_progress(w->tasks[i].label, "Already exists", 0, 0);
        } else if ((r = slot_start(w, i, err)) < 0) {
            return r;
        }
    }
    return 0;
}

/* Renames finished layers into place, lowest first. */
static int work_commit(struct layer_work *w, struct error **err)
{
    for (; w->committed < w->n; w->committed++) {
        size_t i = w->committed;
        struct layer_slot *s = &w->slots[i];
        if (s->state != LAYER_UNPACKED && s->state != LAYER_PRESENT)
            return 0;
        if (s->state == LAYER_UNPACKED) {
            cleanup_free char *dir = final_dir(w, i);
            int r = layer_fix_implicit(w->q, w->tasks, i, s->dir, err);
            if (r < 0)
                return r;
            if (rename(s->dir, dir) < 0)
                return error_set_errno(err, errno, "rename %s", dir);
            slot_unlock(w, i);
            s->state = LAYER_PRESENT;
            worker_progress(w->tasks[i].label, "Pull complete", 0, 0);
        }
    }
    return 0;
}

static int slot_reap(struct layer_work *w, size_t i, struct error **err)
{
    struct layer_slot *s = &w->slots[i];
    char text[4096];
    int status;
    ssize_t n = read(s->pipe_fd, text, sizeof(text) - 1);

    if (n < 0 && errno == EINTR)
        return 0;
    (void)waitpid(s->pid, &status, 0);
    (void)close(s->pipe_fd);
    s->pipe_fd = -1;
    s->pid = 0;
    w->running--;
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
        s->state = LAYER_UNPACKED;
        return 0;
    }
    text[n > 0 ? n : 0] = 0;
    char *newline = strchr(text, '\n');
    uint64_t code = EIO;
    if (!newline)
        return error_set(err, EIO, "layer %s: its process ended early (status %#x)",
                         w->tasks[i].label, (unsigned)status);
    (void)str_to_u64((struct str){text, (size_t)(newline - text)}, 4095, &code);
    return error_set(err, (int)code, "%s", newline + 1);
}

static int work_wait(struct layer_work *w, struct error **err)
{
    struct pollfd p[64];
    size_t which[64], n = 0;
    bool waiting = false;

    for (size_t i = 0; i < w->n && n < ARRAY_LEN(p); i++) {
        waiting |= w->slots[i].state == LAYER_TODO;
        if (w->slots[i].state == LAYER_RUNNING) {
            which[n] = i;
            p[n++] = (struct pollfd){w->slots[i].pipe_fd, POLLIN, 0};
        }
    }
    if (poll(p, n, waiting ? LOCK_POLL_MS : -1) < 0 && errno != EINTR)
        return error_set_errno(err, errno, "poll");
    for (size_t k = 0; k < n; k++)
        if (p[k].revents) {
            int r = slot_reap(w, which[k], err);
            if (r < 0)
                return r;
        }
    return 0;
}

static void work_stop(struct layer_work *w)
{
    for (size_t i = 0; i < w->n; i++) {
        struct layer_slot *s = &w->slots[i];
        if (s->pid > 0) {
            (void)kill(s->pid, SIGKILL);
            (void)waitpid(s->pid, NULL, 0);
        }
        if (s->pipe_fd >= 0)
            (void)close(s->pipe_fd);
        slot_unlock(w, i);
        free(s->dir);
    }
    free(w->slots);
}

int layers_make(const struct worker_request *q, const struct layer_task *tasks, size_t n,
                layer_open_fn open_layer, void *arg, struct error **err)
{
    struct layer_work w = {.q = q,
                           .tasks = tasks,
                           .n = n,
                           .open_layer = open_layer,
                           .arg = arg,
                           .slots = xcalloc(n + 1, sizeof(*w.slots))};
    int r = 0;

    for (size_t i = 0; i < n; i++)
        w.slots[i].lock_fd = w.slots[i].pipe_fd = -1;
    while (r == 0) {
        if ((r = work_start(&w, err)) < 0 || (r = work_commit(&w, err)) < 0 || w.committed == n)
            break;
        r = work_wait(&w, err);
        if (r == 0)
            r = work_commit(&w, err);
    }
    work_stop(&w);
    if (r == 0) { /* contents on disk before an image names them */
        cleanup_free char *layers = path_join(q->root, "layers");
        cleanup_close int fd = open(layers, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0 || syncfs(fd) < 0)
            r = error_set_errno(err, errno, "sync %s", layers);
    }
    return r;
}

/* ---- directories without an entry ---- */
static void copy_xattrs(int from, int to)
{
    char names[4096], value[4096];
    ssize_t n = flistxattr(from, names, sizeof(names));

    for (char *p = names; n > 0 && p < names + n; p += strlen(p) + 1) {
        ssize_t len =
            strstarts(p, "trusted.overlay.") ? -1 : fgetxattr(from, p, value, sizeof(value));
        if (len >= 0)
            (void)fsetxattr(to, p, value, (size_t)len, 0);
    }
}

static int copy_attributes(const struct worker_request *q, const struct layer_task *tasks, size_t i,
                           int root, const char *path, struct error **err)
{
    cleanup_close int to = open_in_root(root, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0);
    struct stat st;

    for (size_t below = i; to >= 0 && below-- > 0;) {
        cleanup_free char *fs = xasprintf("%s/layers/%s/fs", q->root, tasks[below].chain);
        cleanup_close int lower = open(fs, O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (lower < 0)
            continue;
        cleanup_close int from = open_in_root(lower, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0);
        if (from < 0 || fstat(from, &st) < 0)
            continue;
        struct timespec times[2] = {st.st_mtim, st.st_mtim};
        if (fchown(to, st.st_uid, st.st_gid) < 0 || fchmod(to, st.st_mode & 07777) < 0)
            return error_set_errno(err, errno, "attributes of %s", path);
        copy_xattrs(from, to);
        return futimens(to, times) < 0 ? error_set_errno(err, errno, "attributes of %s", path) : 0;
    }
    return 0;
}

int layer_fix_implicit(const struct worker_request *q, const struct layer_task *tasks, size_t i,
                       const char *dir, struct error **err)
{
    cleanup_free char *list = path_join(dir, "implicit"), *fs = path_join(dir, "fs");
    cleanup_close int root = -1;
    struct buf b;
    int r;

    if (!path_exists(list))
        return 0;
    if ((r = file_read(list, 1u << 30, &b, err)) < 0)
        return r;
    root = open(fs, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (root < 0)
        r = error_set_errno(err, errno, "open %s", fs);
    for (size_t at = 0; r == 0 && at < b.n; at += strlen(b.p + at) + 1)
        r = copy_attributes(q, tasks, i, root, b.p + at, err);
    buf_fini(&b);
    (void)unlink(list);
    return r;
}
