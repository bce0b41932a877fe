#include "base/file.h"
#include "kubelet/volume.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

static const struct host_type {
    const char *name;
    mode_t format;  /* of st_mode */
    mode_t make;    /* permissions when it may be made */
    const char *is; /* for messages */
} types[] = {
    {"DirectoryOrCreate", S_IFDIR, 0755, "directory"},
    {"Directory", S_IFDIR, 0, "directory"},
    {"FileOrCreate", S_IFREG, 0644, "file"},
    {"File", S_IFREG, 0, "file"},
    {"Socket", S_IFSOCK, 0, "socket file"},
    {"CharDevice", S_IFCHR, 0, "character device"},
    {"BlockDevice", S_IFBLK, 0, "block device"},
};

static int make(const char *path, const struct host_type *t, struct error **err)
{
    cleanup_close int fd = -1;

    if (t->format == S_IFDIR)
        return dir_make(path, t->make, err);
    fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, t->make);
    return fd < 0 && errno != EEXIST ? error_set_errno(err, errno, "create %s", path) : 0;
}

int host_path_check(const char *path, const char *type, struct error **err)
{
    const struct host_type *t = NULL;
    struct stat st;

    if (!path || *path != '/')
        return error_set(err, EINVAL, "hostPath \"%s\" is not absolute", strna(path));
    if (!type || !*type)
        return 0;
    for (size_t i = 0; i < ARRAY_LEN(types) && !t; i++)
        if (streq(type, types[i].name))
            t = &types[i];
    if (!t)
        return error_set(err, EINVAL, "%s is an invalid volume type", type);
    if (stat(path, &st) < 0) {
        if (errno == ENOENT && t->make)
            return make(path, t, err);
        return error_set(err, errno, "hostPath type check failed: %s is not a %s", path, t->is);
    }
    if ((st.st_mode & S_IFMT) != t->format)
        return error_set(err, ENOTDIR, "hostPath type check failed: %s is not a %s", path, t->is);
    return 0;
}
