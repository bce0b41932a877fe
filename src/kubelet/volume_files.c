#include "base/file.h"
#include "base/mem.h"
#include "base/random.h"
#include "kubelet/volume.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>

#define DATA "..data"
#define DATA_NEW "..data_tmp"
#define GROUP_READ 0440
#define GROUP_DIRECTORY (02000 | 0550)

/* ---- is what is there what is wanted? ---- */

static bool file_same(int dirfd, const struct payload_file *f, uint32_t mode)
{
    struct stat st;
    struct buf b;
    bool same;

    if (fstatat(dirfd, f->path, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISREG(st.st_mode) ||
        (size_t)st.st_size != f->data.n || (st.st_mode & 07777) != mode ||
        (f->user >= 0 && st.st_uid != (uid_t)f->user))
        return false;
    if (file_read_at(dirfd, f->path, f->data.n + 1, &b, NULL) < 0)
        return false;
    same = b.n == f->data.n && (!b.n || !memcmp(b.p, f->data.p, b.n));
    buf_fini(&b);
    return same;
}

static size_t count_files(int dirfd, const char *name)
{
    int fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *d = fd < 0 ? NULL : fdopendir(fd);
    struct dirent *e;
    size_t n = 0;

    if (!d) {
        if (fd >= 0)
            (void)close(fd);
        return 0;
    }
    while ((e = readdir(d))) {
        if (streq(e->d_name, ".") || streq(e->d_name, ".."))
            continue;
        n += e->d_type == DT_DIR ? count_files(fd, e->d_name) : 1;
    }
    (void)closedir(d);
    return n;
}

static bool all_same(int dirfd, const struct payload *l, int64_t group)
{
    cleanup_close int data = openat(dirfd, DATA, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (data < 0 || count_files(data, ".") != l->n)
        return false;
    for (size_t i = 0; i < l->n; i++)
        if (!file_same(data, &l->v[i], l->v[i].mode | (group >= 0 ? GROUP_READ : 0)))
            return false;
    return true;
}

/* ---- writing ---- */

static int own(int fd, const char *what, uint32_t mode, int64_t user, int64_t group,
               struct error **err)
{
    if ((user >= 0 || group >= 0) &&
        fchown(fd, user >= 0 ? (uid_t)user : (uid_t)-1, group >= 0 ? (gid_t)group : (gid_t)-1) < 0)
        return error_set_errno(err, errno, "change the owner of %s", what);
    if (fchmod(fd, mode) < 0)
        return error_set_errno(err, errno, "change the mode of %s", what);
    return 0;
}

/* Opens or makes one directory. */
static int enter(int dirfd, const char *name, int64_t group, int *ret, struct error **err)
{
    bool fresh = mkdirat(dirfd, name, 0755) == 0;
    int fd, r = 0;

    if (!fresh && errno != EEXIST)
        return error_set_errno(err, errno, "create directory %s", name);
    fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return error_set_errno(err, errno, "open directory %s", name);
    if (fresh)
        r = own(fd, name, 0755 | (group >= 0 ? GROUP_DIRECTORY : 0), -1, group, err);
    if (r < 0) {
        (void)close(fd);
        return r;
    }
    *ret = fd;
    return 0;
}

static int write_file(int dirfd, const struct payload_file *f, int64_t group, struct error **err)
{
    cleanup_close int parent = -1;
    cleanup_close int fd = -1;
    struct str rest = str_of(f->path), part = str_split(&rest, '/'), left = f->data;
    int r;

    for (; rest.p; part = str_split(&rest, '/')) {
        cleanup_free char *name = str_dup(part);
        int next;

        r = enter(parent < 0 ? dirfd : parent, name, group, &next, err);
        if (r < 0)
            return r;
        if (parent >= 0)
            (void)close(parent);
        parent = next;
    }
    fd = openat(parent < 0 ? dirfd : parent, part.p,
                O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return error_set_errno(err, errno, "create %s", f->path);
    while (left.n) {
        ssize_t n = write(fd, left.p, left.n);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return error_set_errno(err, errno, "write %s", f->path);
        left.p += n;
        left.n -= (size_t)n;
    }
    return own(fd, f->path, f->mode | (group >= 0 ? GROUP_READ : 0), f->user, group, err);
}

static void version_name(char *out, size_t n)
{
    time_t now = (time_t)(wall_now().ns / NSEC_PER_SEC);
    struct tm tm;
    char suffix[9];
    size_t at;

    (void)gmtime_r(&now, &tm);
    at = strftime(out, n, "..%Y_%m_%d_%H_%M_%S.", &tm);
    random_suffix(suffix, 8);
    (void)snprintf(out + at, n - at, "%s", suffix);
}

static int swap(int dirfd, const char *version, struct error **err)
{
    (void)unlinkat(dirfd, DATA_NEW, 0);
    if (symlinkat(version, dirfd, DATA_NEW) < 0)
        return error_set_errno(err, errno, "link %s", DATA_NEW);
    if (renameat(dirfd, DATA_NEW, dirfd, DATA) < 0)
        return error_set_errno(err, errno, "rename %s to %s", DATA_NEW, DATA);
    return 0;
}

/* ---- names the user sees ---- */

static struct str first_part(const char *path)
{
    struct str rest = str_of(path);

    return str_split(&rest, '/');
}

static int add_links(int dirfd, const struct payload *l, struct error **err)
{
    for (size_t i = 0; i < l->n; i++) {
        cleanup_free char *name = str_dup(first_part(l->v[i].path));
        cleanup_free char *to = xasprintf(DATA "/%s", name);

        if (symlinkat(to, dirfd, name) < 0 && errno != EEXIST)
            return error_set_errno(err, errno, "link %s", name);
    }
    return 0;
}

struct sweep {
    const struct payload *l;
    const char *dir, *current;
};

static int sweep_one(int dirfd, const char *name, unsigned char type, void *arg)
{
    struct sweep *s = arg;

    if (type == DT_LNK && !strstarts(name, "..")) {
        for (size_t i = 0; i < s->l->n; i++)
            if (str_eq_z(first_part(s->l->v[i].path), name))
                return 0;
        (void)unlinkat(dirfd, name, 0);
    } else if (type == DT_DIR && strstarts(name, "..") && !streq(name, s->current)) {
        cleanup_free char *path = path_join(s->dir, name);

        (void)dir_remove_tree(path, NULL);
    }
    return 0;
}

int payload_write(const char *dir, const struct payload *l, int64_t group, struct error **err)
{
    cleanup_close int dirfd = open(dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    cleanup_close int to = -1;
    char version[64];
    struct sweep s = {l, dir, version};
    int r = 0;

    if (dirfd < 0)
        return error_set_errno(err, errno, "open directory %s", dir);
    if (all_same(dirfd, l, group))
        return add_links(dirfd, l, err);
    version_name(version, sizeof(version));
    r = enter(dirfd, version, group, &to, err);
    for (size_t i = 0; i < l->n && r >= 0; i++)
        r = write_file(to, &l->v[i], group, err);
    if (r >= 0)
        r = swap(dirfd, version, err);
    if (r < 0) {
        cleanup_free char *path = path_join(dir, version);

        (void)dir_remove_tree(path, NULL);
        return r;
    }
    r = add_links(dirfd, l, err);
    if (r >= 0)
        r = dir_each(dir, sweep_one, &s, err);
    return r < 0 ? r : 1;
}
