#include "engine/image/unpack.h"
#include "base/file.h"
#include "base/mem.h"
#include "engine/image/store_private.h"
#include "engine/image/tar_path.h"
#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

#define OPAQUE_XATTR "trusted.overlay.opaque"
#define ENTRIES_MAX 20000000u

struct dir_time {
    char *path;
    struct timespec mtime;
};
struct unpack {
    int root, gone;
    unsigned gone_n;
    char parent[TAR_PATH_MAX]; /* what parent_fd is open at */
    int parent_fd;
    struct dir_time *dirs; /* times are set last: filling a directory changes them */
    size_t dirs_n, dirs_cap;
    struct unpack_result res;
};
struct member {
    struct archive *a;
    struct archive_entry *e;
    char path[TAR_PATH_MAX], parent[TAR_PATH_MAX];
    const char *base;
    int dir_fd; /* borrowed: the parent */
    mode_t mode;
    uid_t uid;
    gid_t gid;
    struct timespec times[2];
};

static int failed(const struct member *m, int code, const char *what, struct error **err)
{
    return error_set_errno(err, code, "unpack %s: %s", m->path, what);
}

/* ---- places ---- */
static bool is_whiteout(int dir_fd, const char *name)
{
    struct stat st;

    return fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISCHR(st.st_mode) &&
           st.st_rdev == 0;
}

static int set_opaque(int dir_fd, const char *name)
{
    cleanup_close int fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

    if (fd < 0 || fsetxattr(fd, OPAQUE_XATTR, "y", 1, 0) < 0)
        return -errno;
    return 0;
}

/* A directory in place of a whiteout hides what lower layers have there. */
static int whiteout_to_dir(int dir_fd, const char *name)
{
    if (unlinkat(dir_fd, name, 0) < 0 || mkdirat(dir_fd, name, 0755) < 0)
        return -errno;
    return set_opaque(dir_fd, name);
}

/* Makes the directories on the way that have no entry of their own; returns an O_PATH descriptor.
 */
static int make_parents(struct unpack *u, const char *path)
{
    char prefix[TAR_PATH_MAX];
    int dir = open_in_root(u->root, ".", O_PATH | O_DIRECTORY | O_CLOEXEC, 0);

    for (const char *p = path; dir >= 0 && *p;) {
        size_t len = strcspn(p, "/");
        char name[256];
        memcpy(name, p, len);
        name[len] = 0;
        memcpy(prefix, path, (size_t)(p + len - path));
        prefix[p + len - path] = 0;
        int next = open_in_root(u->root, prefix, O_PATH | O_DIRECTORY | O_CLOEXEC, 0), r = 0;
        if (next == -ENOENT) {
            r = mkdirat(dir, name, 0755) < 0 ? -errno : 0;
            if (r == 0)
                image_strings_add(&u->res.implicit, prefix);
        } else if (next == -ENOTDIR && is_whiteout(dir, name)) {
            r = whiteout_to_dir(dir, name);
        }
        if (r < 0 || (next < 0 && next != -ENOENT && next != -ENOTDIR)) {
            (void)close(dir);
            return r < 0 ? r : next;
        }
        if (next < 0)
            next = open_in_root(u->root, prefix, O_PATH | O_DIRECTORY | O_CLOEXEC, 0);
        (void)close(dir);
        dir = next;
        p += len + (p[len] == '/');
    }
    return dir;
}

static void parent_forget(struct unpack *u)
{
    if (u->parent_fd >= 0)
        (void)close(u->parent_fd);
    u->parent_fd = -1;
}

static int parent_open(struct unpack *u, const char *path)
{
    if (u->parent_fd >= 0 && streq(u->parent, path))
        return u->parent_fd;
    parent_forget(u);
    int fd = open_in_root(u->root, *path ? path : ".", O_PATH | O_DIRECTORY | O_CLOEXEC, 0);
    if (fd == -ENOENT || fd == -ENOTDIR)
        fd = make_parents(u, path);
    if (fd < 0)
        return fd;
    memcpy(u->parent, path, strlen(path) + 1);
    u->parent_fd = fd;
    return fd;
}

/* What stands at the name goes aside; trees are deleted later, with the work directory. */
static int make_room(struct unpack *u, const struct member *m, struct error **err)
{
    struct stat st;
    char name[16];

    if (fstatat(m->dir_fd, m->base, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return errno == ENOENT ? 0 : failed(m, errno, "stat", err);
    if (!S_ISDIR(st.st_mode)) {
        if (unlinkat(m->dir_fd, m->base, 0) < 0)
            return failed(m, errno, "replace", err);
        return 0;
    }
    (void)snprintf(name, sizeof(name), "%u", u->gone_n++);
    if (renameat(m->dir_fd, m->base, u->gone, name) < 0)
        return failed(m, errno, "replace", err);
    return 0;
}

/* ---- attributes ---- */
static bool xattr_wanted(const char *name)
{
    return strstarts(name, "user.") ? !strstarts(name, "user.overlay.")
           : strstarts(name, "trusted.")
               ? !strstarts(name, "trusted.overlay.") /* would steer the overlay mount */
               : streq(name, "security.capability") || strstarts(name, "system.posix_acl_");
}

/* by fd, or by path without following when fd < 0 */
static int set_xattrs(const struct member *m, int fd, struct error **err)
{
    const char *name;
    const void *value;
    size_t n;

    archive_entry_xattr_reset(m->e);
    while (archive_entry_xattr_next(m->e, &name, &value, &n) == ARCHIVE_OK) {
        int r;
        if (!name || !xattr_wanted(name))
            continue;
        if (fd >= 0) {
            r = fsetxattr(fd, name, value, n, 0);
        } else {
            cleanup_free char *path = xasprintf("/proc/self/fd/%d/%s", m->dir_fd, m->base);
            r = lsetxattr(path, name, value, n, 0);
        }
        if (r < 0 && ((errno != ENOTSUP && errno != EPERM) || streq(name, "security.capability")))
            return failed(m, errno, name, err);
    }
    return 0;
}

static int finish_fd(const struct member *m, int fd, bool with_time, struct error **err)
{
    /* owner first: it clears setuid bits and capabilities */
    if (fchown(fd, m->uid, m->gid) < 0)
        return failed(m, errno, "owner", err);
    if (fchmod(fd, m->mode) < 0)
        return failed(m, errno, "mode", err);
    int r = set_xattrs(m, fd, err);
    if (r == 0 && with_time && futimens(fd, m->times) < 0)
        return failed(m, errno, "times", err);
    return r;
}

static int finish_path(const struct member *m, bool with_mode, struct error **err)
{
    if (fchownat(m->dir_fd, m->base, m->uid, m->gid, AT_SYMLINK_NOFOLLOW) < 0)
        return failed(m, errno, "owner", err);
    if (with_mode && fchmodat(m->dir_fd, m->base, m->mode, 0) < 0)
        return failed(m, errno, "mode", err);
    int r = set_xattrs(m, -1, err);
    if (r == 0 && utimensat(m->dir_fd, m->base, m->times, AT_SYMLINK_NOFOLLOW) < 0)
        return failed(m, errno, "times", err);
    return r;
}

/* ---- kinds ---- */
static int write_data(const struct member *m, int fd, struct error **err)
{
    const void *p;
    size_t n;
    la_int64_t at = 0;

    for (;;) {
        int r = archive_read_data_block(m->a, &p, &n, &at);
        if (r == ARCHIVE_EOF)
            break;
        if (r != ARCHIVE_OK)
            return error_set(err, EBADMSG, "unpack %s: %s", m->path,
                             strna(archive_error_string(m->a)));
        for (size_t done = 0; done < n;) {
            ssize_t w = pwrite(fd, (const char *)p + done, n - done, at + (off_t)done);
            if (w < 0 && errno == EINTR)
                continue;
            if (w < 0)
                return failed(m, errno, "write", err);
            done += (size_t)w;
        }
    }
    if (archive_entry_size_is_set(m->e) &&
        ftruncate(fd, archive_entry_size(m->e)) < 0) /* a hole at the end */
        return failed(m, errno, "write", err);
    return 0;
}

static int add_file(struct unpack *u, struct member *m, struct error **err)
{
    const int flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
    struct stat st;
    cleanup_close int fd = openat(m->dir_fd, m->base, flags, 0600);
    int r;

    if (fd < 0 && errno == EEXIST) {
        if ((r = make_room(u, m, err)) < 0)
            return r;
        fd = openat(m->dir_fd, m->base, flags, 0600);
    }
    if (fd < 0)
        return failed(m, errno, "create", err);
    if ((r = write_data(m, fd, err)) < 0 || (r = finish_fd(m, fd, true, err)) < 0)
        return r;
    if (fstat(fd, &st) == 0)
        u->res.size_bytes += (uint64_t)st.st_blocks * 512;
    return 0;
}

static int add_dir(struct unpack *u, struct member *m, struct error **err)
{
    bool root = !*m->path;
    struct stat st;
    int r = 0;

    if (!root && mkdirat(m->dir_fd, m->base, 0700) < 0) {
        if (errno != EEXIST)
            return failed(m, errno, "create", err);
        if (is_whiteout(m->dir_fd, m->base))
            r = whiteout_to_dir(m->dir_fd, m->base);
        else if (fstatat(m->dir_fd, m->base, &st, AT_SYMLINK_NOFOLLOW) == 0 && !S_ISDIR(st.st_mode))
            r = make_room(u, m, err) < 0                ? -EEXIST
                : mkdirat(m->dir_fd, m->base, 0700) < 0 ? -errno
                                                        : 0;
        if (r < 0)
            return failed(m, -r, "create", err);
    }
    cleanup_close int fd =
        openat(m->dir_fd, root ? "." : m->base, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return failed(m, errno, "open", err);
    if ((r = finish_fd(m, fd, false, err)) < 0)
        return r;
    (void)image_strings_remove(&u->res.implicit, m->path);
    if (u->dirs_n == u->dirs_cap) {
        u->dirs_cap = u->dirs_cap ? u->dirs_cap * 2 : 64;
        u->dirs = xreallocarray(u->dirs, u->dirs_cap, sizeof(*u->dirs));
    }
    u->dirs[u->dirs_n++] = (struct dir_time){xstrdup(m->path), m->times[1]};
    return 0;
}

static int add_symlink(struct unpack *u, struct member *m, struct error **err)
{
    const char *to = archive_entry_symlink(m->e);
    int r;

    if (!to || !*to)
        return error_set(err, EBADMSG, "unpack %s: symbolic link to nothing", m->path);
    if ((r = make_room(u, m, err)) < 0)
        return r;
    if (symlinkat(to, m->dir_fd, m->base) < 0)
        return failed(m, errno, "symbolic link", err);
    return finish_path(m, false, err);
}

static int add_hardlink(struct unpack *u, struct member *m, struct error **err)
{
    char target[TAR_PATH_MAX], parent[TAR_PATH_MAX];
    const char *base, *link = archive_entry_hardlink(m->e);
    int r;

    if (tar_path_clean(link, target) < 0 || !*target)
        return error_set(err, EBADMSG,
                         "unpack %s: hard link to \"%s\", which is outside of the layer", m->path,
                         link);
    if (streq(target, m->path))
        return 0;
    tar_path_split(target, parent, &base);
    cleanup_close int from =
        open_in_root(u->root, *parent ? parent : ".", O_PATH | O_DIRECTORY | O_CLOEXEC, 0);
    if (from < 0)
        return failed(m, -from, target, err);
    if ((r = make_room(u, m, err)) < 0)
        return r;
    if (linkat(from, base, m->dir_fd, m->base, 0) < 0)
        return error_set_errno(err, errno, "unpack %s: hard link to %s", m->path, target);
    u->res.inodes--; /* no new one */
    return 0;
}

static int add_node(struct unpack *u, struct member *m, mode_t type, struct error **err)
{
    dev_t dev = type == S_IFIFO ? 0
                                : makedev((unsigned)archive_entry_rdevmajor(m->e),
                                          (unsigned)archive_entry_rdevminor(m->e));
    int r = make_room(u, m, err);

    if (r < 0)
        return r;
    if (mknodat(m->dir_fd, m->base, type | 0600, dev) < 0)
        return failed(m, errno, "device or pipe", err);
    return finish_path(m, true, err);
}

/* Hides a name of lower layers; what this layer itself has there stays, and hides as a whole. */
static int add_whiteout(struct unpack *u, struct member *m, const char *name, struct error **err)
{
    if (mknodat(m->dir_fd, name, S_IFCHR, 0) == 0)
        return 0;
    if (errno != EEXIST)
        return failed(m, errno, "whiteout", err);
    struct stat st;
    u->res.inodes--;
    if (fstatat(m->dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode)) {
        int r = set_opaque(m->dir_fd, name);
        return r < 0 ? failed(m, -r, "opaque directory", err) : 0;
    }
    return 0;
}

static int add_opaque(struct unpack *u, struct member *m, struct error **err)
{
    char self[32];

    u->res.inodes--;
    /* the parent is open with O_PATH; its magic link reaches the directory itself */
    (void)snprintf(self, sizeof(self), "/proc/self/fd/%d", m->dir_fd);
    if (setxattr(self, OPAQUE_XATTR, "y", 1, 0) < 0)
        return failed(m, errno, "opaque directory", err);
    return 0;
}

/* ---- entries ---- */
static int member_read(struct unpack *u, struct member *m, struct error **err)
{
    const char *name = archive_entry_pathname(m->e);
    la_int64_t uid = archive_entry_uid(m->e), gid = archive_entry_gid(m->e);
    int r;

    if (!name)
        return error_set(err, EBADMSG, "unpack: an entry's name cannot be read");
    if ((r = tar_path_clean(name, m->path)) < 0)
        return error_set(err, EBADMSG, "unpack: entry \"%.200s\" %s", name,
                         r == -EINVAL ? "is outside of the layer" : "has too long a name");
    if (uid < 0 || gid < 0 || uid >= UINT32_MAX || gid >= UINT32_MAX)
        return error_set(err, EBADMSG, "unpack %s: owner out of range", m->path);
    tar_path_split(m->path, m->parent, &m->base);
    m->uid = (uid_t)uid;
    m->gid = (gid_t)gid;
    m->mode = archive_entry_perm(m->e) & 07777;
    m->times[0] = m->times[1] =
        (struct timespec){archive_entry_mtime(m->e), archive_entry_mtime_nsec(m->e)};
    if (m->times[0].tv_nsec < 0 || m->times[0].tv_nsec > 999999999)
        m->times[0].tv_nsec = m->times[1].tv_nsec = 0;
    m->dir_fd = parent_open(u, m->parent);
    if (m->dir_fd < 0)
        return failed(m, -m->dir_fd, "parent directory", err);
    return 0;
}

static int member_add(struct unpack *u, struct member *m, struct error **err)
{
    const char *hidden = NULL;

    switch (tar_whiteout(m->base, &hidden)) {
    case TAR_WHITEOUT:
        return add_whiteout(u, m, hidden, err);
    case TAR_OPAQUE:
        return add_opaque(u, m, err);
    case TAR_RESERVED:
        return 0;
    case TAR_PLAIN:
        break;
    }
    mode_t type = archive_entry_filetype(m->e);
    if (!*m->path)
        return type == AE_IFDIR ? add_dir(u, m, err)
                                : error_set(err, EBADMSG, "unpack: the root is not a directory");
    if (archive_entry_hardlink(m->e))
        return add_hardlink(u, m, err);
    switch (type) {
    case AE_IFREG:
        return add_file(u, m, err);
    case AE_IFDIR:
        return add_dir(u, m, err);
    case AE_IFLNK:
        return add_symlink(u, m, err);
    case AE_IFCHR:
        return add_node(u, m, S_IFCHR, err);
    case AE_IFBLK:
        return add_node(u, m, S_IFBLK, err);
    case AE_IFIFO:
        return add_node(u, m, S_IFIFO, err);
    }
    return error_set(err, EBADMSG, "unpack %s: entry of a kind that layers do not have", m->path);
}

static int set_dir_times(struct unpack *u, struct error **err)
{
    for (size_t i = u->dirs_n; i-- > 0;) {
        const struct dir_time *d = &u->dirs[i];
        struct timespec times[2] = {d->mtime, d->mtime};
        struct stat st;
        cleanup_close int fd = open_in_root(u->root, *d->path ? d->path : ".",
                                            O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0);
        if (fd < 0) /* replaced by a later entry */
            continue;
        if (futimens(fd, times) < 0)
            return error_set_errno(err, errno, "unpack %s: times", d->path);
        if (fstat(fd, &st) == 0)
            u->res.size_bytes += (uint64_t)st.st_blocks * 512;
    }
    return 0;
}

static int unpack_all(struct unpack *u, struct archive *a, struct error **err)
{
    for (;;) {
        struct member m = {.a = a};
        int r = archive_read_next_header(a, &m.e);
        if (r == ARCHIVE_EOF)
            return set_dir_times(u, err);
        if (r != ARCHIVE_OK && r != ARCHIVE_WARN)
            return error_set(err, EBADMSG, "unpack: %s", strna(archive_error_string(a)));
        if (++u->res.inodes > ENTRIES_MAX)
            return error_set(err, EBADMSG, "unpack: more than %u entries", ENTRIES_MAX);
        if ((r = member_read(u, &m, err)) < 0 || (r = member_add(u, &m, err)) < 0)
            return r;
        /* A name may have been a directory that the cached parent was in. */
        if (archive_entry_filetype(m.e) != AE_IFREG)
            parent_forget(u);
    }
}

int unpack_tar(struct archive *a, int root_fd, int gone_fd, struct unpack_result *ret,
               struct error **err)
{
    struct unpack u = {.root = root_fd, .gone = gone_fd, .parent_fd = -1};
    int r = unpack_all(&u, a, err);

    parent_forget(&u);
    for (size_t i = 0; i < u.dirs_n; i++)
        free(u.dirs[i].path);
    free(u.dirs);
    if (r < 0)
        image_strings_fini(&u.res.implicit);
    else
        *ret = u.res;
    return r;
}
