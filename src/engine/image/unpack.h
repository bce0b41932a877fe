/*
 * Unpacks one layer's tar stream into a directory. No entry can leave the directory, whatever its
 * name, link or order: parents are opened with openat2(RESOLVE_IN_ROOT), the last component is
 * never followed. Owners, modes, times, extended attributes, hard links and devices are kept; OCI
 * whiteouts become overlayfs'. Runs in the worker, as root.
 */
#pragma once
#include "base/error.h"
#include "engine/image/image.h"

struct archive;
struct unpack_result {
    uint64_t size_bytes, inodes;
    struct image_strings
        implicit; /* directories made though the layer had no entry for them; parents first */
};
/* root_fd: the empty directory; gone_fd: a directory on the same file system that takes what later
 * entries replace. */
int unpack_tar(struct archive *a, int root_fd, int gone_fd, struct unpack_result *ret,
               struct error **err);
