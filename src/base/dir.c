/* Walking and removing directory trees by descriptor, never by pasted paths. */
#include "base/cleanup.h"
#include "base/file.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

static bool is_dot(const char *name)
{
    return name[0] == '.' && (!name[1] || (name[1] == '.' && !name[2]));
}

static int each_fd(int fd, const char *path, dir_entry_fn fn, void *arg, struct error **err)
{
    DIR *dir = fdopendir(fd);
    struct dirent *e;
    int r = 0;

    if (!dir) {
        int saved = errno;

        (void)close(fd);
        return error_set_errno(err, saved, "open directory %s", path);
    }
    while (r == 0 && (errno = 0, e = readdir(dir)))
        if (!is_dot(e->d_name))
            r = fn(dirfd(dir), e->d_name, e->d_type, arg);
    if (r == 0 && errno)
        r = error_set_errno(err, errno, "read directory %s", path);
    (void)closedir(dir);
    return r;
}

int dir_each(const char *path, dir_entry_fn fn, void *arg, struct error **err)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0)
        return error_set_errno(err, errno, "open directory %s", path);
    return each_fd(fd, path, fn, arg, err);
}

struct remove_state {
    dev_t dev;
    struct error **err;
    const char *root;
};

static int remove_entry(int dirfd, const char *name, unsigned char d_type, void *arg);

static int remove_dir(int dirfd, const char *name, struct remove_state *s)
{
    int fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    struct stat st;
    int r;

    if (fd < 0)
        return errno == ENOENT ? 0 : error_set_errno(s->err, errno, "open %s in %s", name, s->root);
    if (fstat(fd, &st) < 0 || st.st_dev != s->dev) {
        (void)close(fd);
        return error_set(
            s->err, EXDEV,
            "%s below %s is another mount; unmount it first, nothing in it was removed", name,
            s->root);
    }
    r = each_fd(fd, name, remove_entry, s, s->err);
    if (r)
        return r;
    if (unlinkat(dirfd, name, AT_REMOVEDIR) < 0 && errno != ENOENT)
        return error_set_errno(s->err, errno, "remove directory %s below %s", name, s->root);
    return 0;
}

static int remove_entry(int dirfd, const char *name, unsigned char d_type, void *arg)
{
    struct remove_state *s = arg;

    if (d_type != DT_DIR) {
        if (unlinkat(dirfd, name, 0) == 0 || errno == ENOENT)
            return 0;
        if (errno != EISDIR)
            return error_set_errno(s->err, errno, "remove %s below %s", name, s->root);
    }
    return remove_dir(dirfd, name, s);
}

int dir_remove_tree(const char *path, struct error **err)
{
    struct remove_state s = {.err = err, .root = path};
    struct stat st;

    if (lstat(path, &st) < 0)
        return errno == ENOENT ? 0 : error_set_errno(err, errno, "stat %s", path);
    s.dev = st.st_dev;
    return remove_entry(AT_FDCWD, path, S_ISDIR(st.st_mode) ? DT_DIR : DT_REG, &s);
}
