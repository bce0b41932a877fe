/*
 * Inside of volumes: what files a volume holds (payload, pure), how they get into a directory at
 * one blow (atomic), and which mounts lie below a pod's directory.
 *
 *   <root>/pods/UID/volumes/PLUGIN/NAME          the volume
 *   <root>/pods/UID/volume-subpaths/NAME/HASH    bind mount of one subPath of it
 *
 * A directory of files looks like this, and only `..data` changes afterwards:
 *   key -> ..data/key      ..data -> ..2026_11_23_23_14_15.4bx9k ..2026_11_23_23_14_15.4bx9k/key
 */
#pragma once
#include "kubelet/pod.h"

/* ---- volume_payload.c ---- */
struct payload_file {
    char *path; /* relative, checked */
    struct str data;
    uint32_t mode;
    int64_t user; /* owner; negative: root */
};
struct payload { /* all in the arena */
    struct arena *a;
    struct payload_file *v;
    size_t n;
};
/* Relative, without "..", not beginning with "..": -EINVAL. */
int payload_path_check(const char *path, struct error **err);
/* Copies. A path that is there already gets the new content. */
int payload_add(struct payload *l, const char *path, struct str data, uint32_t mode, int64_t user,
                struct error **err);
/* No items: every key. A key that is missing is an error unless optional. */
int payload_config_map(struct payload *l, const K8s__ConfigMap *m, K8s__KeyToPath *const *items,
                       size_t n_items, uint32_t mode, bool optional, struct error **err);
int payload_secret(struct payload *l, const K8s__Secret *s, K8s__KeyToPath *const *items,
                   size_t n_items, uint32_t mode, bool optional, struct error **err);

/* ---- volume_files.c ---- */
/* Makes the directory hold exactly the payload. Positive: something changed. group negative: none;
 * else files belong to it and are readable for it. */
int payload_write(const char *dir, const struct payload *l, int64_t group, struct error **err);

/* ---- volume_mount.c ---- */
bool mount_is_point(const char *path);
int mount_tmpfs(const char *path, int64_t size_bytes, mode_t mode, struct error **err);
/* Everything mounted strictly below path, deepest first. -EBUSY when something is left. */
int mount_clear_below(const char *path, struct error **err);
/* Below root, symlinks followed but never out of it; what is missing becomes directories. O_PATH
 * descriptor. */
int subpath_open(const char *root, const char *sub_path, int *ret_fd, struct error **err);
/* Makes target show what fd refers to. */
int subpath_bind(int fd, const char *target, struct error **err);

/* ---- volume_host.c ---- */
int host_path_check(const char *path, const char *type, struct error **err);

/* ---- volume_source.c ---- */
/* "kubernetes.io~configmap"; NULL: not a kind of volume this node serves. */
const char *volume_plugin(const K8s__VolumeSource *s);
bool volume_has_payload(const K8s__VolumeSource *s);
/* Files of a configMap, secret, downwardAPI or projected volume. -EAGAIN: something is being
 * fetched. */
int volume_payload(struct pod *p, const K8s__VolumeSource *s, struct payload *l,
                   struct error **err);
