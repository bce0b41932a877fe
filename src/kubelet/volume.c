#include "kubelet/volume.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/quantity.h"
#include "base/sha256.h"
#include "kubelet/field.h"
#include "kubelet/refs.h"
#include "kubelet/resources.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#define RETRY_NS (5 * NSEC_PER_SEC)          /* after a failure */
#define REFRESH_RETRY_NS (60 * NSEC_PER_SEC) /* of a volume that has content already */
#define REFRESH_MIN_NS NSEC_PER_SEC
#define NEVER INT64_MAX

static char *volume_dir(const struct pod *p, const K8s__Volume *v)
{
    return xasprintf("%s/pods/%s/volumes/%s/%s", p->k->cfg->root_dir, p->uid,
                     volume_plugin(v->volumesource), v->name);
}

static int64_t fs_group(const struct pod *p)
{
    const K8s__PodSecurityContext *sc = p->api->spec->securitycontext;

    return sc && sc->has_fsgroup ? sc->fsgroup : -1;
}

/* ---- making ---- */

/* How large a volume in memory may grow. */
static int64_t memory_size(const struct pod *p, const K8s__EmptyDirVolumeSource *e)
{
    int64_t size = node_memory_bytes(), limit = pod_limits(p->api->spec).memory;

    if (limit > 0 && limit < size)
        size = limit;
    limit = e && e->sizelimit ? quantity_value_or(e->sizelimit->string, 0) : 0;
    return limit > 0 && limit < size ? limit : size;
}

static int own_root(const char *dir, mode_t mode, int64_t group, struct error **err)
{
    cleanup_close int fd = open(dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

    if (fd < 0)
        return error_set_errno(err, errno, "open %s", dir);
    if (group >= 0 && fchown(fd, (uid_t)-1, (gid_t)group) < 0)
        return error_set_errno(err, errno, "change the group of %s", dir);
    return fchmod(fd, group >= 0 ? mode | 02770 : mode) < 0
               ? error_set_errno(err, errno, "change the mode of %s", dir)
               : 0;
}

static int make_empty(struct pod *p, const K8s__EmptyDirVolumeSource *e, const char *dir,
                      struct error **err)
{
    const char *medium = e ? strna(e->medium) : "";
    bool fresh = !path_exists(dir);
    int r;

    if (*medium && !streq(medium, "Memory"))
        return error_set(err, ENOTSUP, "unknown storage medium \"%s\"", medium);
    r = dir_make(dir, 0755, err);
    if (r >= 0 && *medium && !mount_is_point(dir)) {
        r = mount_tmpfs(dir, memory_size(p, e), 0777, err);
        fresh = true;
    }
    /* what containers did to a volume that is in use stays */
    return r >= 0 && fresh ? own_root(dir, 0777, fs_group(p), err) : r;
}

static int make_payload(struct pod *p, const K8s__VolumeSource *s, const char *dir,
                        struct error **err)
{
    struct arena a;
    struct payload l = {.a = &a};
    int r;

    arena_init(&a, 0);
    r = volume_payload(p, s, &l, err);
    if (r >= 0 && !path_exists(dir)) {
        r = dir_make(dir, 0755, err);
    }
    if (r >= 0 && !s->configmap && !mount_is_point(dir))
        r = mount_tmpfs(dir, memory_size(p, NULL), 0755, err); /* secrets never reach a disk */
    if (r >= 0)
        r = own_root(dir, fs_group(p) >= 0 ? 0755 : 0777, fs_group(p), err);
    if (r >= 0)
        r = payload_write(dir, &l, fs_group(p), err);
    arena_fini(&a);
    return r;
}

/* Nodes know many more kinds than this one serves. */
static int not_served(const K8s__Volume *v, struct error **err)
{
    const K8s__VolumeSource *s = v->volumesource;
    const char *kind = s->persistentvolumeclaim ? "persistentVolumeClaim"
                       : s->nfs                 ? "nfs"
                       : s->csi                 ? "csi"
                       : s->image               ? "image"
                                                : "of this kind";

    return error_set(err, ENOTSUP, "volumes %s are not served by this node", kind);
}

static int make_volume(struct pod *p, const K8s__Volume *v, struct error **err)
{
    const K8s__VolumeSource *s = v->volumesource;
    cleanup_free char *dir = NULL;

    if (!volume_plugin(s))
        return not_served(v, err);
    if (s && s->hostpath)
        return host_path_check(s->hostpath->path, s->hostpath->type, err);
    dir = volume_dir(p, v);
    return volume_has_payload(s) ? make_payload(p, s, dir, err)
                                 : make_empty(p, s ? s->emptydir : NULL, dir, err);
}

/* ---- steps ---- */

static void failed(struct pod *p, const K8s__Volume *v, const struct error *err)
{
    cleanup_free char *text =
        xasprintf("MountVolume.SetUp failed for volume \"%s\" : %s", v->name, error_message(err));

    if (streq(p->volume_error, text))
        return;
    str_replace(&p->volume_error, text);
    pod_event(p, NULL, "Warning", "FailedMount", "%s", text);
}

static void schedule(struct pod *p)
{
    int64_t now = mono_now().ns, next = refs_next_ns(p->k->refs, p);

    if (next && next < now + REFRESH_MIN_NS)
        next = now + REFRESH_MIN_NS;
    p->volumes_next_ns = next ? next : NEVER;
    if (next)
        pod_kick_at(p, wall_now().ns + (next - now));
}

enum volume_state volumes_step(struct pod *p)
{
    const K8s__PodSpec *s = p->api->spec;
    bool pending = false, bad = false;

    for (size_t i = 0; i < s->n_volumes; i++) { /* all of them, so that fetches run side by side */
        cleanup_error struct error *err = NULL;
        int r = make_volume(p, s->volumes[i], &err);

        if (r == -EAGAIN) {
            pending = true;
        } else if (r < 0 && !bad) { /* the first one is told */
            bad = true;
            failed(p, s->volumes[i], err);
        }
    }
    if (!bad && !pending)
        str_replace(&p->volume_error, NULL);
    p->volumes = bad || pending ? VOLUMES_WAIT : VOLUMES_READY;
    if (bad || pending)
        pod_kick_at(p, wall_now().ns + RETRY_NS);
    else
        schedule(p);
    return p->volumes;
}

void volumes_refresh(struct pod *p)
{
    const K8s__PodSpec *s = p->api->spec;
    int64_t now = mono_now().ns;
    bool again = false, pending = false;

    if (p->volumes_next_ns > now)
        return;
    for (size_t i = 0; i < s->n_volumes; i++) {
        cleanup_error struct error *err = NULL;
        int r = volume_has_payload(s->volumes[i]->volumesource)
                    ? make_volume(p, s->volumes[i], &err)
                    : 0;

        if (r == 1)
            log_info("kubelet", "volume has new content", "pod", p->text, "volume",
                     s->volumes[i]->name, NULL);
        if (r < 0 && r != -EAGAIN)
            log_warn("kubelet", "content of a volume stays old", "pod", p->text, "volume",
                     s->volumes[i]->name, "error", error_message(err), NULL);
        pending |= r == -EAGAIN;
        again |= r < 0;
    }
    if (!again) {
        schedule(p);
        return;
    }
    p->volumes_next_ns =
        pending ? 1 : now + REFRESH_RETRY_NS; /* the pod is stepped when what is missing came */
    pod_kick_at(p, wall_now().ns + REFRESH_RETRY_NS);
}

void volumes_clean(const char *pod_directory)
{
    cleanup_error struct error *err = NULL;

    if (mount_clear_below(pod_directory, &err) < 0 || dir_remove_tree(pod_directory, &err) < 0)
        log_warn("kubelet", "directory of a pod stays", "directory", pod_directory, "error",
                 error_message(err), NULL);
}

/* ---- mounts of containers ---- */

/* A name of fixed length for any subPath. */
static char *subpath_target(const struct pod *p, const char *volume, const char *sub_path)
{
    char hex[SHA256_HEX];

    sha256_hex(sub_path, strlen(sub_path), hex);
    return xasprintf("%s/pods/%s/volume-subpaths/%s/%.16s", p->k->cfg->root_dir, p->uid, volume,
                     hex);
}

int volume_mount_path(struct pod *p, const K8s__VolumeMount *m, const char *sub_path, char **ret,
                      bool *ret_read_only, struct error **err)
{
    const K8s__PodSpec *s = p->api->spec;
    const K8s__Volume *v = NULL;
    cleanup_free char *root = NULL;
    cleanup_free char *target = NULL;
    cleanup_close int fd = -1;
    int r;

    for (size_t i = 0; i < s->n_volumes && !v; i++)
        if (streq(s->volumes[i]->name, m->name))
            v = s->volumes[i];
    if (!v)
        return error_set(err, ENOENT, "volume \"%s\" of the mount at %s is not in the pod",
                         strna(m->name), strna(m->mountpath));
    if (!volume_plugin(v->volumesource))
        return not_served(v, err);
    root = v->volumesource && v->volumesource->hostpath ? xstrdup(v->volumesource->hostpath->path)
                                                        : volume_dir(p, v);
    *ret_read_only = m->readonly || volume_has_payload(v->volumesource);
    if (!sub_path || !*sub_path) {
        *ret = TAKE(root);
        return 0;
    }
    target = subpath_target(p, v->name, sub_path);
    r = subpath_open(root, sub_path, &fd, err);
    if (r >= 0)
        r = subpath_bind(fd, target, err);
    if (r < 0)
        return error_wrap(err, "failed to prepare subPath for volumeMount \"%s\"", v->name);
    *ret = TAKE(target);
    return 0;
}
