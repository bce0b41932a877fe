/* Files, directories and paths. All descriptors are O_CLOEXEC. */
#pragma once
#include "base/buf.h"
#include "base/error.h"
#include <sys/types.h>
/* Reads a whole file of at most max bytes into b (initialised by this call). -EFBIG over max. */
int file_read(const char *path, size_t max, struct buf *ret, struct error **err);
int file_read_at(int dirfd, const char *path, size_t max, struct buf *ret, struct error **err);
/* Writes to a temporary name beside path, fsyncs, renames, fsyncs the directory. Old or new, never
 * half. */
int file_write_atomic(const char *path, mode_t mode, struct str data, struct error **err);
/* As above without the syncs, for what is worthless after a power loss (under /run). */
int file_write_atomic_nosync(const char *path, mode_t mode, struct str data, struct error **err);
/* One write() to an existing file (sysctl, cgroup knobs). */
int file_write_knob(const char *path, const char *value, struct error **err);
int dir_make(const char *path, mode_t mode,
             struct error **err); /* like mkdir -p; existing is fine */
int dir_make_parent(const char *path, mode_t mode,
                    struct error **err); /* for the file's directory */
/* Removes a tree without following symlinks and without crossing into another mount
 * (ENOTEMPTY/EXDEV with the path named). Missing is success. */
int dir_remove_tree(const char *path, struct error **err);
/* openat2(RESOLVE_IN_ROOT|NO_MAGICLINKS) below rootfd; returns fd or -errno. */
int open_in_root(int rootfd, const char *path, int flags, mode_t mode);
bool path_exists(const char *path);
/* Joins with one '/'; owned. */
char *path_join(const char *a, const char *b);
const char *path_basename(const char *path); /* borrows */
/* Runs fn(name) for each entry except . and ..; stops on non-zero and returns it. */
typedef int (*dir_entry_fn)(int dirfd, const char *name, unsigned char d_type, void *arg);
int dir_each(const char *path, dir_entry_fn fn, void *arg, struct error **err);
/* Exclusive lock file holding our pid; fd to keep, or -EWOULDBLOCK with the holder's pid in the
 * message. */
int file_lock_pid(const char *path, int *ret_fd, struct error **err);
