#include "engine/container/spec.h"
#include "base/cleanup.h"
#include "base/file.h"
#include "base/mem.h"
#include <dirent.h>
#include <errno.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

static const struct {
    const char *destination, *type, *source;
    const char *options[7];
} standard[] = {
    {"/proc", "proc", "proc", {"nosuid", "noexec", "nodev"}},
    {"/dev", "tmpfs", "tmpfs", {"nosuid", "strictatime", "mode=755", "size=65536k"}},
    {"/dev/pts",
     "devpts",
     "devpts",
     {"nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"}},
    {"/dev/mqueue", "mqueue", "mqueue", {"nosuid", "noexec", "nodev"}},
    {"/sys", "sysfs", "sysfs", {"nosuid", "noexec", "nodev", "ro"}},
    {"/sys/fs/cgroup", "cgroup", "cgroup", {"nosuid", "noexec", "nodev", "relatime", "ro"}},
};

static bool asked_for(const Runtime__V1__ContainerConfig *c, const char *destination)
{
    for (size_t i = 0; i < c->n_mounts; i++)
        if (streq(c->mounts[i]->container_path, destination))
            return true;
    return false;
}

static bool is_privileged(const Runtime__V1__ContainerConfig *c)
{
    return c->linux && c->linux->security_context && c->linux->security_context->privileged;
}

static void add(json_t *list, const char *destination, const char *type, const char *source,
                json_t *options)
{
    (void)json_array_append_new(list,
                                json_pack("{s:s, s:s, s:s, s:o}", "destination", destination,
                                          "type", type, "source", source, "options", options));
}

static void add_standard(const struct spec_input *in, json_t *list)
{
    bool privileged = is_privileged(in->config);

    for (size_t i = 0; i < ARRAY_LEN(standard); i++) {
        json_t *options;

        if (asked_for(in->config, standard[i].destination))
            continue;
        options = json_array();
        for (size_t k = 0; k < ARRAY_LEN(standard[i].options) && standard[i].options[k]; k++) {
            const char *o = standard[i].options[k];

            (void)json_array_append_new(options,
                                        json_string(privileged && streq(o, "ro") ? "rw" : o));
        }
        add(list, standard[i].destination, standard[i].type, standard[i].source, options);
    }
}

static void add_sandbox_file(const struct spec_input *in, json_t *list, const char *dir,
                             const char *name, const char *destination)
{
    cleanup_free char *path = path_join(dir, name);
    const Runtime__V1__LinuxContainerSecurityContext *s =
        in->config->linux ? in->config->linux->security_context : NULL;

    if (asked_for(in->config, destination) || !path_exists(path))
        return;
    add(list, destination, "bind", path,
        json_pack("[s, s, s]", "rbind", "rprivate",
                  s && s->readonly_rootfs && !streq(name, "shm") ? "ro" : "rw"));
}

static const char *propagation(const Runtime__V1__Mount *m)
{
    switch (m->propagation) {
    case RUNTIME__V1__MOUNT_PROPAGATION__PROPAGATION_HOST_TO_CONTAINER:
        return "rslave";
    case RUNTIME__V1__MOUNT_PROPAGATION__PROPAGATION_BIDIRECTIONAL:
        return "rshared";
    default:
        return "rprivate";
    }
}

static int add_mount(const struct spec_input *in, size_t i, json_t *list, struct error **err)
{
    const Runtime__V1__Mount *m = in->config->mounts[i];
    const char *source =
        in->image_mounts && in->image_mounts[i] ? in->image_mounts[i] : m->host_path;
    cleanup_free char *real = NULL;
    json_t *options;
    bool ro = m->readonly || (m->image && m->image->image[0]);

    if (m->container_path[0] != '/')
        return error_set(err, EINVAL, "mount destination \"%s\" is not absolute",
                         m->container_path);
    if (!path_exists(source)) {
        /* As containerd: a host path that is not there becomes a directory. */
        if (dir_make(source, 0755, err) < 0)
            return error_wrap(err, "mount source for %s", m->container_path);
    }
    real = realpath(source, NULL);
    if (!real)
        return error_set_errno(err, errno, "mount source %s", source);
    if (m->recursive_read_only &&
        (!m->readonly || m->propagation != RUNTIME__V1__MOUNT_PROPAGATION__PROPAGATION_PRIVATE))
        return error_set(err, EINVAL,
                         "recursive read-only mount at %s must be read-only and private",
                         m->container_path);
    options = json_pack("[s, s, s]", "rbind", propagation(m),
                        m->recursive_read_only ? "rro"
                        : ro                   ? "ro"
                                               : "rw");
    for (size_t k = 0; k < m->n_mount_options; k++)
        (void)json_array_append_new(options, json_string(m->mount_options[k]));
    add(list, m->container_path, "bind", real, options);
    return 0;
}

static size_t depth(const Runtime__V1__Mount *m)
{
    size_t n = 0;

    for (const char *p = m->container_path; *p; p++)
        n += *p == '/' && p[1] && p[1] != '/';
    return n;
}

int spec_mounts(const struct spec_input *in, json_t **ret, struct error **err)
{
    cleanup_json json_t *list = json_array();
    size_t n = in->config->n_mounts, deepest = 0;
    const Runtime__V1__LinuxContainerSecurityContext *s =
        in->config->linux ? in->config->linux->security_context : NULL;
    bool host_ipc =
        s && s->namespace_options && s->namespace_options->ipc == RUNTIME__V1__NAMESPACE_MODE__NODE;

    add_standard(in, list);
    if (host_ipc && !asked_for(in->config, "/dev/shm"))
        add(list, "/dev/shm", "bind", "/dev/shm", json_pack("[s, s]", "rbind", "rw"));
    else
        add_sandbox_file(in, list, in->sandbox_run, "shm", "/dev/shm");
    add_sandbox_file(in, list, in->sandbox_data, "resolv.conf", "/etc/resolv.conf");
    add_sandbox_file(in, list, in->sandbox_data, "hostname", "/etc/hostname");
    add_sandbox_file(in, list, in->sandbox_data, "hosts", "/etc/hosts");
    for (size_t i = 0; i < n; i++)
        deepest = depth(in->config->mounts[i]) > deepest ? depth(in->config->mounts[i]) : deepest;
    /* Parents before what lies in them, whatever the order they came in. */
    for (size_t d = 0; d <= deepest; d++)
        for (size_t i = 0; i < n; i++)
            if (depth(in->config->mounts[i]) == d) {
                int r = add_mount(in, i, list, err);

                if (r < 0)
                    return r;
            }
    *ret = TAKE(list);
    return 0;
}

/* ---- devices ---- */
static int add_device(const char *host, const char *destination, const char *permissions,
                      json_t *devices, json_t *rules, struct error **err)
{
    struct stat st;
    const char *type;

    if (stat(host, &st) < 0)
        return error_set_errno(err, errno, "device %s", host);
    if (!S_ISCHR(st.st_mode) && !S_ISBLK(st.st_mode))
        return error_set(err, EINVAL, "%s is not a device", host);
    type = S_ISCHR(st.st_mode) ? "c" : "b";
    (void)json_array_append_new(
        devices,
        json_pack("{s:s, s:s, s:I, s:I, s:I, s:I, s:I}", "path", destination, "type", type, "major",
                  (json_int_t)major(st.st_rdev), "minor", (json_int_t)minor(st.st_rdev), "fileMode",
                  (json_int_t)(st.st_mode & 07777), "uid", (json_int_t)st.st_uid, "gid",
                  (json_int_t)st.st_gid));
    (void)json_array_append_new(
        rules, json_pack("{s:b, s:s, s:I, s:I, s:s}", "allow", 1, "type", type, "major",
                         (json_int_t)major(st.st_rdev), "minor", (json_int_t)minor(st.st_rdev),
                         "access", permissions && permissions[0] ? permissions : "rwm"));
    return 0;
}

struct walk {
    const char *host, *destination;
    json_t *devices, *rules;
};

static int on_device(int dirfd, const char *name, unsigned char type, void *arg)
{
    static const char *const skipped[] = {"pts",         "shm",   "fd",      "mqueue", ".lxc",
                                          ".lxd-mounts", ".udev", "console", "ptmx"};
    struct walk *w = arg;
    cleanup_free char *host = path_join(w->host, name),
                      *destination = path_join(w->destination, name);

    (void)dirfd;
    for (size_t i = 0; i < ARRAY_LEN(skipped); i++)
        if (streq(name, skipped[i]))
            return 0;
    if (type == DT_DIR) {
        struct walk below = {host, destination, w->devices, w->rules};

        (void)dir_each(host, on_device, &below, NULL);
        return 0;
    }
    if (type == DT_CHR || type == DT_BLK)
        (void)add_device(host, destination, "rwm", w->devices, w->rules, NULL);
    return 0;
}

int spec_devices(const struct spec_input *in, json_t *linux_object, json_t *resources,
                 struct error **err)
{
    cleanup_json json_t *devices = json_array(), *rules = json_array();
    bool privileged = is_privileged(in->config);
    int r = 0;

    if (privileged) {
        struct walk w = {"/dev", "/dev", devices, rules};

        (void)json_array_append_new(rules, json_pack("{s:b, s:s}", "allow", 1, "access", "rwm"));
        r = dir_each("/dev", on_device, &w, err);
    } else {
        (void)json_array_append_new(rules, json_pack("{s:b, s:s}", "allow", 0, "access", "rwm"));
    }
    for (size_t i = 0; r >= 0 && i < in->config->n_devices; i++) {
        const Runtime__V1__Device *d = in->config->devices[i];
        struct stat st;

        if (stat(d->host_path, &st) == 0 && S_ISDIR(st.st_mode)) {
            struct walk w = {d->host_path, d->container_path, devices, rules};

            r = dir_each(d->host_path, on_device, &w, err);
        } else if (!privileged || !strstarts(d->host_path, "/dev/") ||
                   !streq(d->host_path, d->container_path)) {
            r = add_device(d->host_path, d->container_path, d->permissions, devices, rules, err);
        }
    }
    if (r < 0)
        return r;
    (void)json_object_set(linux_object, "devices", devices);
    (void)json_object_set(resources, "devices", rules);
    return 0;
}
