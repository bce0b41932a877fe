#include "engine/container/container.h"
#include "engine/container/signal_name.h"
#include "engine/sandbox/sandbox.h"
#include "base/cleanup.h"
#include "base/file.h"
#include "base/log.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>

/* Without CAP_SYS_RESOURCE nobody may go below the value they have. */
static int64_t oom_floor(void)
{
    cleanup_buf struct buf status = {0}, own = {0};
    const char *p;
    int64_t v = -1000;

    if (file_read("/proc/self/status", 65536, &status, NULL) == 0 &&
        (p = strstr(status.p, "CapEff:")) && strtoull(p + 7, NULL, 16) & 1ull << 24)
        return -1000;
    if (file_read("/proc/self/oom_score_adj", 64, &own, NULL) == 0)
        (void)str_to_i64(str_trim(buf_str(&own)), -1000, 1000, &v);
    return v;
}

static const Runtime__V1__LinuxContainerSecurityContext *security(const struct container *c)
{
    return c->config->linux ? c->config->linux->security_context : NULL;
}

static int resolve_user(struct container *c, const struct image *image, const char *rootfs,
                        struct error **err)
{
    const Runtime__V1__LinuxContainerSecurityContext *s = security(c);
    cleanup_close int fd = open(rootfs, O_PATH | O_DIRECTORY | O_CLOEXEC);
    struct user_spec spec = {.user = image->config.user};

    if (fd < 0)
        return error_set_errno(err, errno, "open %s", rootfs);
    if (s) {
        if (s->run_as_username[0])
            spec.user = s->run_as_username;
        spec.has_uid = s->run_as_user != NULL;
        spec.uid = s->run_as_user ? s->run_as_user->value : 0;
        spec.has_gid = s->run_as_group != NULL;
        spec.gid = s->run_as_group ? s->run_as_group->value : 0;
        if (spec.has_gid && !spec.has_uid && !s->run_as_username[0])
            return error_set(err, EINVAL, "runAsGroup is given without runAsUser");
        spec.extra = s->supplemental_groups;
        spec.extra_n = s->n_supplemental_groups;
        spec.strict =
            s->supplemental_groups_policy == RUNTIME__V1__SUPPLEMENTAL_GROUPS_POLICY__Strict;
    }
    return user_resolve(fd, &spec, &c->user, err);
}

/* Mounts images that are volumes; paths[i] belongs to config->mounts[i]. */
static int mount_images(struct container *c, const char *run, char **paths, struct error **err)
{
    for (size_t i = 0; i < c->config->n_mounts; i++) {
        const Runtime__V1__Mount *m = c->config->mounts[i];
        cleanup_free char *target = NULL;
        const struct image *image;
        int r;

        if (!m->image || !m->image->image[0])
            continue;
        image = image_get(c->engine->images, m->image->image);
        if (!image)
            return error_set(err, ENOENT, "image \"%s\" of the volume at %s is not here",
                             m->image->image, m->container_path);
        target = xasprintf("%s/volumes/%zu", run, i);
        r = dir_make(target, 0700, err);
        if (r == 0)
            r = image_rootfs_mount_ro(c->engine->images, image->id, target, err);
        if (r < 0)
            return r;
        if (m->image_sub_path[0]) {
            cleanup_close int root = open(target, O_PATH | O_DIRECTORY | O_CLOEXEC);
            cleanup_close int sub = open_in_root(root, m->image_sub_path, O_PATH, 0);
            cleanup_free char *link = xasprintf("/proc/self/fd/%d", sub);

            if (sub < 0 || !(paths[i] = realpath(link, NULL)))
                return error_set(err, ENOENT, "image \"%s\" has no \"%s\"", m->image->image,
                                 m->image_sub_path);
            continue;
        }
        paths[i] = TAKE(target);
    }
    return 0;
}

static int target_pid_ns(struct container *c, char **ret, struct error **err)
{
    const Runtime__V1__LinuxContainerSecurityContext *s = security(c);
    const Runtime__V1__NamespaceOption *o = s ? s->namespace_options : NULL;
    void *found;
    struct container *target;

    *ret = NULL;
    if (!o || o->pid != RUNTIME__V1__NAMESPACE_MODE__TARGET)
        return 0;
    if (engine_find(&c->engine->containers, "container", o->target_id, &found, err) < 0)
        return -ENOENT;
    target = found;
    if (target->state != CONTAINER_RUNNING || target->sandbox != c->sandbox)
        return error_set(err, EINVAL, "target container %s does not run in this pod", o->target_id);
    *ret = xasprintf("/proc/%d/ns/pid", target->init);
    return 0;
}

static int write_spec(struct container *c, const struct image *image, const char *run,
                      struct error **err)
{
    cleanup_free char *sandbox_run = sandbox_run_dir(c->sandbox),
                      *sandbox_data = sandbox_dir(c->sandbox);
    cleanup_free char *path = path_join(run, "config.json"), *target = NULL;
    cleanup_free char **images = xcalloc(c->config->n_mounts + 1, sizeof *images);
    cleanup_buf struct buf text;
    struct rlimit nofile = {1024, 1024};
    struct spec_input in = {.id = c->id,
                            .config = c->config,
                            .sandbox = c->sandbox->config,
                            .image = &image->config,
                            .user = &c->user,
                            .sandbox_run = sandbox_run,
                            .sandbox_data = sandbox_data,
                            .cgroup = c->cgroup,
                            .cgroup_v2 = c->engine->cgroups.unified,
                            .swap = c->engine->cgroups.has_swap,
                            .oom_floor = oom_floor(),
                            .image_mounts = images};
    int r;

    (void)getrlimit(RLIMIT_NOFILE, &nofile);
    in.nofile_max = nofile.rlim_max;
    buf_init(&text, 4 << 20);
    r = target_pid_ns(c, &target, err);
    in.target_pid_ns = target;
    if (r == 0)
        r = mount_images(c, run, images, err);
    if (r == 0)
        r = spec_make(&in, &text, err);
    if (r == 0)
        r = file_write_atomic_nosync(path, 0600, buf_str(&text), err);
    for (size_t i = 0; i < c->config->n_mounts; i++)
        free(images[i]);
    return r;
}

static int build(struct container *c, const struct image *image, struct error **err)
{
    cleanup_free char *dir = container_dir(c), *run = container_run_dir(c);
    cleanup_free char *rw = path_join(dir, "rw"), *rootfs = path_join(run, "rootfs");
    int r = dir_make(dir, 0710, err);

    if (r == 0)
        r = dir_make(rootfs, 0755, err);
    if (r == 0)
        r = image_rootfs_mount(c->engine->images, image->id, rw, rootfs, err);
    if (r == 0)
        r = resolve_user(c, image, rootfs, err);
    if (r == 0)
        r = write_spec(c, image, run, err);
    if (r == 0 && c->log_path)
        r = dir_make_parent(c->log_path, 0755, err);
    return r == 0 ? container_save(c, err) : r;
}

static Runtime__V1__ContainerConfig *copy_config(const Runtime__V1__ContainerConfig *config)
{
    size_t n = protobuf_c_message_get_packed_size(&config->base);
    cleanup_free uint8_t *wire = xmalloc(n + 1);

    (void)protobuf_c_message_pack(&config->base, wire);
    return runtime__v1__container_config__unpack(NULL, n, wire);
}

static int stop_signal(const Runtime__V1__ContainerConfig *config, const struct image *image)
{
    const ProtobufCEnumValue *v =
        protobuf_c_enum_descriptor_get_value(&runtime__v1__signal__descriptor, config->stop_signal);

    if (v && config->stop_signal)
        return signal_number(v->name + strlen("SIGNAL_"), SIGTERM);
    return signal_number(image->config.stop_signal, SIGTERM);
}

/* "slice:skiff:id" for systemd's slices, a path otherwise. */
static char *cgroup_name(const char *parent, const char *id)
{
    if (strends(parent, ".slice"))
        return xasprintf("%s:skiff:%s", path_basename(parent), id);
    return cgroups_path(parent, id);
}

char *container_cgroup_path(const struct container *c)
{
    struct str rest = str_of(c->cgroup), slice;
    cleanup_free char *parent = NULL;

    if (!container_is_systemd(c))
        return xstrdup(c->cgroup);
    slice = str_split(&rest, ':');
    parent = str_dup(slice);
    return cgroups_path(parent, c->id);
}

/* Undoes build, as far as it got. */
static void unbuild(struct container *c)
{
    cleanup_free char *dir = container_dir(c), *run = container_run_dir(c);

    (void)image_rootfs_sweep(run, NULL, NULL, NULL);
    (void)dir_remove_tree(run, NULL);
    (void)dir_remove_tree(dir, NULL);
}

int container_create(struct engine *e, struct sandbox *s,
                     const Runtime__V1__ContainerConfig *config, const struct image *image,
                     struct container **ret, struct error **err)
{
    struct container *c;
    int r;

    if (e->containers.n >= OBJECTS_MAX)
        return error_set(err, EAGAIN, "there are %d containers already", OBJECTS_MAX);
    c = xcalloc(1, sizeof *c);
    c->engine = e;
    engine_new_id(c->id);
    list_init(&c->waiters);
    c->sandbox = s;
    c->sandbox_id = xstrdup(s->id);
    c->config = copy_config(config);
    c->image_id = xstrdup(image->id);
    c->image_ref = xstrdup(image->id);
    c->created_at = wall_now().ns;
    c->stop_signal = stop_signal(c->config, image);
    c->cgroup = cgroup_name(sandbox_cgroup_parent(s), c->id);
    if (config->log_path[0] && s->config->log_directory[0])
        c->log_path = path_join(s->config->log_directory, config->log_path);
    r = build(c, image, err);
    if (r < 0) {
        unbuild(c);
        container_free(c);
        return r;
    }
    (void)map_set(&e->containers, c->id, c);
    engine_emit(e, EVENT_CREATED, c, s);
    *ret = c;
    return 0;
}
