/* Overlay mounts. The new mount API takes lower directories one by one, so that a hundred layers
 * fit; on kernels without "lowerdir+" the classic call gets descriptors, whose names are short. */
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "engine/image/store_private.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#define OVERLAY_MAGIC 0x794c7630

static bool is_overlay_mount(const char *path)
{
    struct statx sx;
    struct statfs fs;

    return statx(AT_FDCWD, path, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT, 0, &sx) == 0 &&
           (sx.stx_attributes & STATX_ATTR_MOUNT_ROOT) && statfs(path, &fs) == 0 &&
           fs.f_type == OVERLAY_MAGIC;
}

/* Topmost first, as overlayfs wants them. */
static void lower_dirs(struct image_store *s, const struct image *im, size_t at_least,
                       struct image_strings *ret)
{
    for (size_t i = im->layers.n; i-- > 0;) {
        cleanup_free char *path = xasprintf("%s/%s/fs", s->layers_dir, im->layers.v[i]);
        image_strings_add(ret, path);
    }
    while (ret->n < at_least) {
        cleanup_free char *path = path_join(s->layers_dir, "empty/fs");
        if (ret->n && streq(ret->v[ret->n - 1], path)) {
            free(path);
            path = path_join(s->layers_dir, "empty/fs2");
        }
        image_strings_add(ret, path);
    }
}

static int set(int fs, const char *key, const char *value)
{
    return fsconfig(fs, FSCONFIG_SET_STRING, key, value, 0) < 0 ? -errno : 0;
}

/* What the kernel says about a refused option or mount. */
static int fs_failed(int fs, int code, const char *target, struct error **err)
{
    char text[512];
    ssize_t n = read(fs, text, sizeof(text) - 1);

    if (n > 2) {
        text[n] = 0;
        text[strcspn(text, "\n")] = 0;
        return error_set(err, -code, "mount overlay at %s: %s (%s)", target, text + 2,
                         strerror(-code));
    }
    return error_set_errno(err, -code, "mount overlay at %s", target);
}

/* 1: this kernel does not know lowerdir+. */
static int mount_new_api(const struct image_strings *lower, const char *upper, const char *work,
                         const char *target, struct error **err)
{
    cleanup_close int fs = fsopen("overlay", FSOPEN_CLOEXEC), mnt = -1;
    int r = 0;

    if (fs < 0)
        return errno == ENOSYS ? 1 : error_set_errno(err, errno, "overlay file system");
    (void)set(fs, "source", "skiff");
    for (size_t i = 0; i < lower->n; i++) {
        r = set(fs, "lowerdir+", lower->v[i]);
        if (r == -EINVAL && i == 0)
            return 1;
        if (r < 0)
            return fs_failed(fs, r, target, err);
    }
    if (upper && ((r = set(fs, "upperdir", upper)) < 0 || (r = set(fs, "workdir", work)) < 0))
        return fs_failed(fs, r, target, err);
    if (fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
        return fs_failed(fs, -errno, target, err);
    mnt = fsmount(fs, FSMOUNT_CLOEXEC, upper ? 0 : MOUNT_ATTR_RDONLY);
    if (mnt < 0)
        return fs_failed(fs, -errno, target, err);
    if (move_mount(mnt, "", AT_FDCWD, target, MOVE_MOUNT_F_EMPTY_PATH) < 0)
        return error_set_errno(err, errno, "mount overlay at %s", target);
    return 0;
}

static int mount_classic(const struct image_strings *lower, const char *upper, const char *work,
                         const char *target, struct error **err)
{
    int fds[IMAGE_LAYERS_MAX + 2], r = 0;
    cleanup_buf struct buf options = {0};
    size_t n = 0;

    buf_init(&options, 4096 - 1);
    (void)buf_add_z(&options, "lowerdir=");
    for (; n < lower->n && n < ARRAY_LEN(fds); n++) {
        fds[n] = open(lower->v[n], O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (fds[n] < 0) {
            r = error_set_errno(err, errno, "open %s", lower->v[n]);
            break;
        }
        (void)buf_printf(&options, "%s/proc/self/fd/%d", n ? ":" : "", fds[n]);
    }
    if (upper)
        (void)buf_printf(&options, ",upperdir=%s,workdir=%s", upper, work);
    if (r == 0 && options.overflowed)
        r = error_set(err, E2BIG, "mount overlay at %s: %zu layers are too many for this kernel",
                      target, lower->n);
    if (r == 0 && mount("skiff", target, "overlay", upper ? 0 : MS_RDONLY, options.p) < 0)
        r = error_set_errno(err, errno, "mount overlay at %s", target);
    while (n-- > 0)
        (void)close(fds[n]);
    return r;
}

static int mount_image(struct image_store *s, const char *image_id, const char *rw_dir,
                       const char *target, struct error **err)
{
    const struct image *im = image_get(s, image_id);
    struct image_strings lower = {0};
    cleanup_free char *upper = NULL, *work = NULL;
    int r;

    if (!im)
        return error_set(err, ENOENT, "No such image: %s", image_id);
    if ((r = dir_make(target, 0755, err)) < 0)
        return r;
    if (is_overlay_mount(target))
        return 0;
    if (rw_dir) {
        upper = path_join(rw_dir, "upper");
        work = path_join(rw_dir, "work");
        if ((r = dir_make(rw_dir, 0700, err)) < 0 || (r = dir_make(upper, 0755, err)) < 0 ||
            (r = dir_make(work, 0700, err)) < 0)
            return r;
    }
    lower_dirs(s, im, rw_dir ? 1 : 2, &lower);
    r = mount_new_api(&lower, upper, work, target, err);
    if (r == 1)
        r = mount_classic(&lower, upper, work, target, err);
    image_strings_fini(&lower);
    return r;
}

int image_rootfs_mount(struct image_store *s, const char *image_id, const char *rw_dir,
                       const char *target, struct error **err)
{
    return mount_image(s, image_id, rw_dir, target, err);
}

int image_rootfs_mount_ro(struct image_store *s, const char *image_id, const char *target,
                          struct error **err)
{
    return mount_image(s, image_id, NULL, target, err);
}

int image_rootfs_unmount(const char *target, struct error **err)
{
    if (umount2(target, UMOUNT_NOFOLLOW) == 0 || errno == EINVAL || errno == ENOENT)
        return 0;
    if (errno == EBUSY && (umount2(target, UMOUNT_NOFOLLOW | MNT_DETACH) == 0 || errno == EINVAL))
        return 0;
    return error_set_errno(err, errno, "unmount %s", target);
}

/* mountinfo writes blanks and backslashes as three octal digits. */
static void unescape(char *p)
{
    char *out = p;

    while (*p) {
        if (p[0] == '\\' && p[1] >= '0' && p[1] <= '3' && p[2] && p[3]) {
            *out++ = (char)((p[1] - '0') * 64 + (p[2] - '0') * 8 + (p[3] - '0'));
            p += 4;
        } else {
            *out++ = *p++;
        }
    }
    *out = 0;
}

static void overlays_below(const char *dir, struct image_strings *ret)
{
    cleanup_file FILE *f = fopen("/proc/self/mountinfo", "re");
    cleanup_free char *line = NULL;
    size_t cap = 0, dir_n = strlen(dir);

    while (f && getline(&line, &cap, f) > 0) {
        char *dash = strstr(line, " - "), *at = line;
        if (!dash || strncmp(dash + 3, "overlay ", 8) != 0)
            continue;
        for (int i = 0; i < 4 && at; i++) { /* id, parent, device, root; then the mount point */
            at = strchr(at, ' ');
            at = at ? at + 1 : NULL;
        }
        if (!at)
            continue;
        at[strcspn(at, " ")] = 0;
        unescape(at);
        if (strncmp(at, dir, dir_n) == 0 && at[dir_n] == '/')
            image_strings_add(ret, at);
    }
}

int image_rootfs_sweep(const char *dir, image_keep_fn keep, void *arg, struct error **err)
{
    struct image_strings found = {0};
    int r = 0;

    overlays_below(dir, &found);
    for (size_t i = found.n; i-- > 0;)
        if (!keep || !keep(found.v[i] + strlen(dir) + 1, arg)) {
            int e = image_rootfs_unmount(found.v[i], r == 0 ? err : NULL);
            if (r == 0)
                r = e;
        }
    image_strings_fini(&found);
    return r;
}
