#include "base/file.h"
#include "base/cleanup.h"
#include "base/mem.h"
#include "base/random.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>

static int read_fd(int fd, const char *path, size_t max, struct buf *b, struct error **err)
{
    for (;;) {
        size_t room = max - b->n;
        char *to = buf_reserve(b, room < 4096 ? room : 4096);
        ssize_t got;

        if (!to || room == 0) {
            char extra;

            got = read(fd, &extra, 1);
            if (got == 0)
                return 0;
            if (got < 0)
                return error_set_errno(err, errno, "read %s", path);
            return error_set(err, EFBIG, "%s is larger than the limit of %zu bytes", path, max);
        }
        got = read(fd, to, room < 4096 ? room : 4096);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return error_set_errno(err, errno, "read %s", path);
        if (got == 0)
            return 0;
        buf_commit(b, (size_t)got);
    }
}

int file_read_at(int dirfd, const char *path, size_t max, struct buf *ret, struct error **err)
{
    cleanup_close int fd = openat(dirfd, path, O_RDONLY | O_CLOEXEC);
    int r;

    buf_init(ret, max);
    if (fd < 0)
        return error_set_errno(err, errno, "open %s", path);
    r = read_fd(fd, path, max, ret, err);
    if (r < 0)
        buf_fini(ret);
    else if (!ret->p)
        (void)buf_add(ret, "", 0);
    return r;
}

int file_read(const char *path, size_t max, struct buf *ret, struct error **err)
{
    return file_read_at(AT_FDCWD, path, max, ret, err);
}

static int write_all(int fd, struct str data)
{
    while (data.n) {
        ssize_t w = write(fd, data.p, data.n);

        if (w < 0 && errno == EINTR)
            continue;
        if (w < 0)
            return -errno;
        data.p += w;
        data.n -= (size_t)w;
    }
    return 0;
}

static int sync_parent(const char *path)
{
    cleanup_free char *dir = xstrdup(path);
    char *slash = strrchr(dir, '/');
    cleanup_close int fd = -1;

    if (slash)
        slash[slash == dir ? 1 : 0] = '\0';
    fd = open(slash ? dir : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || fsync(fd) < 0)
        return -errno;
    return 0;
}

static int write_atomic(const char *path, mode_t mode, struct str data, bool sync,
                        struct error **err)
{
    char suffix[9];
    cleanup_free char *tmp = NULL;
    cleanup_close int fd = -1;
    int r;

    random_suffix(suffix, 8);
    tmp = xasprintf("%s.tmp-%s", path, suffix);
    fd = open(tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
    if (fd < 0)
        return error_set_errno(err, errno, "create %s", tmp);
    r = write_all(fd, data);
    if (r == 0 && fchmod(fd, mode) < 0)
        r = -errno;
    if (r == 0 && sync && fsync(fd) < 0)
        r = -errno;
    if (r == 0 && rename(tmp, path) < 0)
        r = -errno;
    if (r < 0) {
        (void)unlink(tmp);
        return error_set_errno(err, -r, "write %s", path);
    }
    if (sync)
        r = sync_parent(path);
    return r < 0 ? error_set_errno(err, -r, "sync the directory of %s", path) : 0;
}

int file_write_atomic(const char *path, mode_t mode, struct str data, struct error **err)
{
    return write_atomic(path, mode, data, true, err);
}

int file_write_atomic_nosync(const char *path, mode_t mode, struct str data, struct error **err)
{
    return write_atomic(path, mode, data, false, err);
}

int file_write_knob(const char *path, const char *value, struct error **err)
{
    cleanup_close int fd = open(path, O_WRONLY | O_CLOEXEC);

    if (fd < 0)
        return error_set_errno(err, errno, "open %s", path);
    if (write(fd, value, strlen(value)) < 0)
        return error_set_errno(err, errno, "write \"%s\" to %s", value, path);
    return 0;
}

int dir_make(const char *path, mode_t mode, struct error **err)
{
    cleanup_free char *copy = xstrdup(path);
    struct stat st;

    for (char *p = copy + 1;; p++) {
        char c = *p;

        if (c != '/' && c != '\0')
            continue;
        *p = '\0';
        if (copy[0] && mkdir(copy, mode) < 0 && errno != EEXIST)
            return error_set_errno(err, errno, "create directory %s", copy);
        *p = c;
        if (c == '\0')
            break;
    }
    if (stat(path, &st) < 0)
        return error_set_errno(err, errno, "stat %s", path);
    if (!S_ISDIR(st.st_mode))
        return error_set(err, ENOTDIR, "%s exists and is not a directory", path);
    return 0;
}

int dir_make_parent(const char *path, mode_t mode, struct error **err)
{
    cleanup_free char *dir = xstrdup(path);
    char *slash = strrchr(dir, '/');

    if (!slash || slash == dir)
        return 0;
    *slash = '\0';
    return dir_make(dir, mode, err);
}

int open_in_root(int rootfd, const char *path, int flags, mode_t mode)
{
    struct open_how how = {
        .flags = (uint64_t)(flags | O_CLOEXEC),
        .mode = flags & (O_CREAT | O_TMPFILE) ? mode : 0,
        .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS,
    };
    long fd = syscall(SYS_openat2, rootfd, path, &how, sizeof how);

    return fd < 0 ? -errno : (int)fd;
}

bool path_exists(const char *path)
{
    struct stat st;

    return lstat(path, &st) == 0;
}

char *path_join(const char *a, const char *b)
{
    size_t n = strlen(a);

    while (n > 1 && a[n - 1] == '/')
        n--;
    while (*b == '/')
        b++;
    return xasprintf("%.*s%s%s", (int)n, a, n && a[n - 1] == '/' ? "" : "/", b);
}

const char *path_basename(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash ? slash + 1 : path;
}

int file_lock_pid(const char *path, int *ret_fd, struct error **err)
{
    cleanup_close int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    char pid[24] = "";

    if (fd < 0)
        return error_set_errno(err, errno, "open lock %s", path);
    if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
        ssize_t n = pread(fd, pid, sizeof pid - 1, 0);

        pid[n > 0 ? n : 0] = '\0';
        pid[strcspn(pid, "\n")] = '\0';
        return error_set(err, EWOULDBLOCK, "%s is held by process %s; stop it first", path,
                         pid[0] ? pid : "(unknown)");
    }
    (void)snprintf(pid, sizeof pid, "%d\n", (int)getpid());
    if (ftruncate(fd, 0) < 0 || pwrite(fd, pid, strlen(pid), 0) < 0)
        return error_set_errno(err, errno, "write lock %s", path);
    *ret_fd = TAKE_FD(fd);
    return 0;
}
