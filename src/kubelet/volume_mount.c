#include "base/file.h"
#include "base/mem.h"
#include "kubelet/volume.h"
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/openat2.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#define MOUNTINFO_BYTES_MAX (16u << 20)

bool mount_is_point(const char *path)
{
    struct statx sx;

    return statx(AT_FDCWD, path, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT, STATX_TYPE, &sx) == 0 &&
           (sx.stx_attributes_mask & STATX_ATTR_MOUNT_ROOT) &&
           (sx.stx_attributes & STATX_ATTR_MOUNT_ROOT);
}

int mount_tmpfs(const char *path, int64_t size_bytes, mode_t mode, struct error **err)
{
    cleanup_free char *with_swap = NULL;
    cleanup_free char *options = NULL;

    if (mount_is_point(path))
        return 0;
    with_swap = size_bytes > 0 ? xasprintf("mode=%04o,size=%" PRId64, (unsigned)mode, size_bytes)
                               : xasprintf("mode=%04o", (unsigned)mode);
    options = xasprintf("%s,noswap", with_swap); /* since Linux 6.4 */
    if (mount("tmpfs", path, "tmpfs", MS_NOSUID | MS_NODEV, options) == 0)
        return 0;
    if (errno == EINVAL && mount("tmpfs", path, "tmpfs", MS_NOSUID | MS_NODEV, with_swap) == 0)
        return 0;
    return error_set_errno(err, errno, "mount tmpfs on %s", path);
}

/* ---- what is mounted below ---- */

/* mountinfo writes space, tab, newline and backslash as three octal digits. */
static char *unescape(struct str s)
{
    char *out = xmalloc(s.n + 1);
    size_t n = 0;

    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] == '\\' && i + 3 < s.n) {
            out[n++] =
                (char)((s.p[i + 1] - '0') << 6 | (s.p[i + 2] - '0') << 3 | (s.p[i + 3] - '0'));
            i += 3;
        } else {
            out[n++] = s.p[i];
        }
    }
    out[n] = '\0';
    return out;
}

struct points {
    char **v;
    size_t n;
};

static int read_points(const char *below, struct points *ret, struct error **err)
{
    struct buf b;
    struct str rest;
    size_t len = strlen(below);
    int r = file_read("/proc/self/mountinfo", MOUNTINFO_BYTES_MAX, &b, err);

    if (r < 0)
        return r;
    rest = buf_str(&b);
    while (rest.n) {
        struct str line = str_split(&rest, '\n'), word = STR_NULL;
        char *path;

        for (int i = 0; i < 5; i++)
            word = str_split(&line, ' ');
        if (!word.n)
            continue;
        path = unescape(word);
        if (!strncmp(path, below, len) && path[len] == '/') {
            ret->v = xreallocarray(ret->v, ret->n + 1, sizeof(char *));
            ret->v[ret->n++] = path;
        } else {
            free(path);
        }
    }
    buf_fini(&b);
    return 0;
}

static void points_fini(struct points *s)
{
    for (size_t i = 0; i < s->n; i++)
        free(s->v[i]);
    free(s->v);
}

static int deeper_first(const void *a, const void *b)
{
    size_t x = strlen(*(char *const *)a), y = strlen(*(char *const *)b);

    return x < y ? 1 : x > y ? -1 : 0;
}

int mount_clear_below(const char *path, struct error **err)
{
    cleanup_free char *real = realpath(path, NULL);
    struct points s = {0}, left = {0};
    int r;

    if (!real)
        return errno == ENOENT ? 0 : error_set_errno(err, errno, "resolve %s", path);
    r = read_points(real, &s, err);
    if (r < 0)
        return r;
    if (s.n)
        qsort(s.v, s.n, sizeof(char *), deeper_first); /* what lies inside has a longer name */
    for (size_t i = 0; i < s.n; i++)
        if (umount2(s.v[i], UMOUNT_NOFOLLOW) < 0 && errno == EBUSY)
            (void)umount2(s.v[i], UMOUNT_NOFOLLOW | MNT_DETACH);
    points_fini(&s);
    r = read_points(real, &left, err);
    if (r >= 0 && left.n)
        r = error_set(err, EBUSY, "%s is still mounted", left.v[0]);
    points_fini(&left);
    return r;
}

/* ---- subPath ---- */

static int open_beneath(int root, const char *path, uint64_t flags)
{
    struct open_how how = {.flags = flags | O_CLOEXEC,
                           .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS};
    long fd;

    do
        fd = syscall(SYS_openat2, root, path, &how, sizeof(how));
    while (fd < 0 && errno == EAGAIN); /* something was renamed meanwhile */
    return fd < 0 ? -errno : (int)fd;
}

/* The longest beginning of path that exists; *ret_rest is what is left of it. */
static int open_existing(int root, const char *path, int *ret_fd, struct str *ret_rest)
{
    cleanup_close int at = dup(root);
    struct str rest = str_of(path);

    if (at < 0)
        return -errno;
    *ret_rest = STR_NULL;
    for (size_t n = 0; rest.p;) {
        struct str part = str_split(&rest, '/');
        cleanup_free char *prefix = NULL;
        int fd;

        n = (size_t)(part.p - path) + part.n;
        prefix = xstrndup(path, n);
        if (!part.n)
            continue;
        fd = open_beneath(root, prefix, O_PATH);
        if (fd == -ENOENT) {
            *ret_rest = str_of(part.p);
            break;
        }
        if (fd < 0)
            return fd;
        (void)close(at);
        at = fd;
    }
    *ret_fd = TAKE_FD(at);
    return 0;
}

static int make_rest(int *fd, struct str rest, mode_t mode)
{
    while (rest.p) {
        struct str part = str_split(&rest, '/');
        cleanup_free char *name = NULL;
        cleanup_close int dir = -1;
        int next;

        if (!part.n || str_eq_z(part, "."))
            continue;
        name = str_dup(part);
        if (mkdirat(*fd, name, 0700) < 0)
            return -errno; /* EEXIST: a dangling symlink, or somebody is quicker than we are */
        dir = openat(*fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (dir < 0 || fchmod(dir, mode) < 0)
            return -errno;
        next = open_beneath(*fd, name, O_PATH | O_NOFOLLOW);
        if (next < 0)
            return next;
        (void)close(*fd);
        *fd = next;
    }
    return 0;
}

int subpath_open(const char *root, const char *sub_path, int *ret_fd, struct error **err)
{
    cleanup_close int rootfd = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
    cleanup_close int fd = -1;
    struct str rest, check = str_of(sub_path);
    struct stat st;
    int r;

    if (rootfd < 0 || fstat(rootfd, &st) < 0)
        return error_set_errno(err, errno, "open volume %s", root);
    while (check.p)
        if (str_eq_z(str_split(&check, '/'), ".."))
            return error_set(err, EINVAL, "subPath \"%s\" must not contain '..'", sub_path);
    if (*sub_path == '/')
        return error_set(err, EINVAL, "subPath \"%s\" must be a relative path", sub_path);
    r = open_existing(rootfd, sub_path, &fd, &rest);
    if (r >= 0)
        r = make_rest(&fd, rest, st.st_mode & 07777);
    if (r == -EXDEV)
        return error_set(err, EXDEV, "subPath \"%s\" is not within volume path \"%s\"", sub_path,
                         root);
    if (r < 0)
        return error_set_errno(err, -r, "subPath \"%s\" of %s", sub_path, root);
    *ret_fd = TAKE_FD(fd);
    return 0;
}

static bool same_file(const struct stat *a, const struct stat *b)
{
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

int subpath_bind(int fd, const char *target, struct error **err)
{
    cleanup_free char *source = xasprintf("/proc/self/fd/%d", fd);
    cleanup_close int file = -1;
    struct stat st, there;

    if (fstat(fd, &st) < 0)
        return error_set_errno(err, errno, "stat");
    if (mount_is_point(target)) {
        if (stat(target, &there) == 0 && same_file(&st, &there))
            return 0;
        if (umount2(target, UMOUNT_NOFOLLOW | MNT_DETACH) < 0)
            return error_set_errno(err, errno, "unmount %s", target);
    }
    if (lstat(target, &there) == 0 && S_ISDIR(there.st_mode) != S_ISDIR(st.st_mode) &&
        remove(target) < 0)
        return error_set_errno(err, errno, "remove %s", target);
    if (dir_make_parent(target, 0750, err) < 0)
        return -EIO;
    if (S_ISDIR(st.st_mode)) {
        if (mkdir(target, 0750) < 0 && errno != EEXIST)
            return error_set_errno(err, errno, "create %s", target);
    } else {
        file = open(target, O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0640);
        if (file < 0)
            return error_set_errno(err, errno, "create %s", target);
    }
    if (mount(source, target, NULL, MS_BIND, NULL) < 0)
        return error_set_errno(err, errno, "bind on %s", target);
    return 0;
}
