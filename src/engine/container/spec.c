#include "engine/container/spec.h"
#include "base/cleanup.h"
#include "base/file.h"
#include "base/mem.h"
#include <errno.h>

#define NOFILE_SOFT 1024
#define NOFILE_HARD 1048576

static const Runtime__V1__LinuxContainerSecurityContext *security(const struct spec_input *in)
{
    return in->config->linux ? in->config->linux->security_context : NULL;
}

static json_t *strings(char *const *v, size_t n)
{
    json_t *a = json_array();

    for (size_t i = 0; i < n; i++)
        (void)json_array_append_new(a, json_string(v[i]));
    return a;
}

/* ---- process ---- */
static bool same_key(const char *env, const char *key, size_t n)
{
    return strncmp(env, key, n) == 0 && env[n] == '=';
}

/* NAME=value, taking the place of an earlier one of that name. */
static void env_set(json_t *env, const char *text)
{
    size_t n = strcspn(text, "=");
    json_t *v = json_string(text), *old;
    size_t i;

    if (!v)
        return; /* not UTF-8: no OCI runtime would take it */
    json_array_foreach(env, i, old)
    {
        if (same_key(json_string_value(old), text, n)) {
            (void)json_array_set_new(env, i, v);
            return;
        }
    }
    (void)json_array_append_new(env, v);
}

static bool env_has(const json_t *env, const char *key)
{
    size_t i;
    json_t *v;

    json_array_foreach(env, i, v) if (same_key(json_string_value(v), key, strlen(key))) return true;
    return false;
}

static json_t *environment(const struct spec_input *in)
{
    json_t *env = json_array();
    const Runtime__V1__ContainerConfig *c = in->config;

    env_set(env, "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    if (in->sandbox->hostname[0]) {
        cleanup_free char *host = xasprintf("HOSTNAME=%s", in->sandbox->hostname);

        env_set(env, host);
    }
    if (c->tty)
        env_set(env, "TERM=xterm");
    for (size_t i = 0; i < in->image->env.n; i++)
        if (strchr(in->image->env.v[i], '='))
            env_set(env, in->image->env.v[i]);
    for (size_t i = 0; i < c->n_envs; i++) {
        cleanup_free char *text = xasprintf("%s=%.*s", c->envs[i]->key, (int)c->envs[i]->value.len,
                                            (const char *)strna((char *)c->envs[i]->value.data));

        env_set(env, text);
    }
    if (!env_has(env, "HOME")) {
        cleanup_free char *home = xasprintf("HOME=%s", in->user->home  ? in->user->home
                                                       : in->user->uid ? "/"
                                                                       : "/root");

        env_set(env, home);
    }
    return env;
}

static int arguments(const struct spec_input *in, json_t **ret, struct error **err)
{
    const Runtime__V1__ContainerConfig *c = in->config;
    cleanup_json json_t *args = json_array();
    const struct image_strings *image_cmd = &in->image->cmd;

    if (c->n_command) {
        cleanup_json json_t *v = strings(c->command, c->n_command);

        (void)json_array_extend(args, v);
    } else {
        cleanup_json json_t *v = strings(in->image->entrypoint.v, in->image->entrypoint.n);

        (void)json_array_extend(args, v);
    }
    if (c->n_args || c->n_command) {
        cleanup_json json_t *v = strings(c->args, c->n_args);

        (void)json_array_extend(args, v);
    } else {
        cleanup_json json_t *v = strings(image_cmd->v, image_cmd->n);

        (void)json_array_extend(args, v);
    }
    if (!json_array_size(args))
        return error_set(err, EINVAL,
                         "no command specified: neither the container nor its image names one");
    *ret = TAKE(args);
    return 0;
}

static json_t *process_user(const struct user *u)
{
    json_t *groups = json_array();

    for (size_t i = 0; i < u->groups_n; i++)
        (void)json_array_append_new(groups, json_integer(u->groups[i]));
    return json_pack("{s:I, s:I, s:o}", "uid", (json_int_t)u->uid, "gid", (json_int_t)u->gid,
                     "additionalGids", groups);
}

static bool apparmor_enabled(void)
{
    return path_exists("/sys/kernel/security/apparmor/profiles");
}

static void add_apparmor(const Runtime__V1__LinuxContainerSecurityContext *s, json_t *process)
{
    if (!s || !s->apparmor || s->privileged || !apparmor_enabled())
        return;
    if (s->apparmor->profile_type == RUNTIME__V1__SECURITY_PROFILE__PROFILE_TYPE__Localhost)
        (void)json_object_set_new(process, "apparmorProfile",
                                  json_string(s->apparmor->localhost_ref));
}

static void add_selinux(const Runtime__V1__LinuxContainerSecurityContext *s, json_t *process)
{
    const Runtime__V1__SELinuxOption *o = s ? s->selinux_options : NULL;
    cleanup_free char *label = NULL;

    if (!o || !o->type[0] || !path_exists("/sys/fs/selinux/enforce"))
        return;
    label = xasprintf("%s:%s:%s:%s", o->user[0] ? o->user : "system_u",
                      o->role[0] ? o->role : "system_r", o->type, o->level[0] ? o->level : "s0");
    (void)json_object_set_new(process, "selinuxLabel", json_string(label));
}

static int make_process(const struct spec_input *in, json_t **ret, json_t **ret_caps,
                        struct error **err)
{
    const Runtime__V1__LinuxContainerSecurityContext *s = security(in);
    const Runtime__V1__LinuxContainerResources *res =
        in->config->linux ? in->config->linux->resources : NULL;
    cleanup_json json_t *args = NULL, *caps = NULL;
    json_int_t hard = (json_int_t)(in->nofile_max < NOFILE_HARD ? in->nofile_max : NOFILE_HARD);
    json_int_t oom = res ? (json_int_t)res->oom_score_adj : 0;
    const char *cwd = in->config->working_dir[0] ? in->config->working_dir : in->image->workdir;
    int r = arguments(in, &args, err);

    if (r == 0)
        r = spec_capabilities(s, &caps, ret_caps, err);
    if (r < 0)
        return r;
    if (oom < in->oom_floor)
        oom = (json_int_t)in->oom_floor;
    *ret = json_pack("{s:b, s:o, s:O, s:o, s:s, s:O, s:b, s:I, s:[{s:s, s:I, s:I}]}", "terminal",
                     in->config->tty, "user", process_user(in->user), "args", args, "env",
                     environment(in), "cwd", cwd && cwd[0] ? cwd : "/", "capabilities", caps,
                     "noNewPrivileges", s && s->no_new_privs, "oomScoreAdj", oom, "rlimits", "type",
                     "RLIMIT_NOFILE", "soft", (json_int_t)(hard < NOFILE_SOFT ? hard : NOFILE_SOFT),
                     "hard", hard);
    if (!*ret)
        return error_set(err, EINVAL,
                         "the container's command, environment or directory is not valid UTF-8");
    add_apparmor(s, *ret);
    add_selinux(s, *ret);
    return 0;
}

/* ---- linux ---- */
static void add_namespace(json_t *list, const char *type, const char *dir, const char *file)
{
    cleanup_free char *path = dir ? path_join(dir, file) : NULL;

    if (path)
        (void)json_array_append_new(list, json_pack("{s:s, s:s}", "type", type, "path", path));
    else
        (void)json_array_append_new(list, json_pack("{s:s}", "type", type));
}

static json_t *namespaces(const struct spec_input *in)
{
    const Runtime__V1__LinuxContainerSecurityContext *s = security(in);
    const Runtime__V1__NamespaceOption *o = s ? s->namespace_options : NULL;
    json_t *list = json_array();
    bool host_net = o && o->network == RUNTIME__V1__NAMESPACE_MODE__NODE;

    add_namespace(list, "mount", NULL, NULL);
    if (!host_net) {
        add_namespace(list, "network", in->sandbox_run, "net");
        add_namespace(list, "uts", in->sandbox_run, "uts");
    }
    if (!o || o->ipc != RUNTIME__V1__NAMESPACE_MODE__NODE)
        add_namespace(list, "ipc", in->sandbox_run, "ipc");
    if (in->target_pid_ns)
        (void)json_array_append_new(
            list, json_pack("{s:s, s:s}", "type", "pid", "path", in->target_pid_ns));
    else if (!o || o->pid == RUNTIME__V1__NAMESPACE_MODE__CONTAINER)
        add_namespace(list, "pid", NULL, NULL);
    else if (o->pid == RUNTIME__V1__NAMESPACE_MODE__POD)
        add_namespace(list, "pid", in->sandbox_run, "pid");
    if (in->cgroup_v2 && !(s && s->privileged))
        add_namespace(list, "cgroup", NULL, NULL);
    return list;
}

static void set_positive(json_t *o, const char *key, int64_t v)
{
    if (v > 0)
        (void)json_object_set_new(o, key, json_integer(v));
}

json_t *spec_resources(const Runtime__V1__LinuxContainerResources *r, bool cgroup_v2, bool swap)
{
    json_t *o = json_object(), *cpu = json_object(), *memory = json_object();

    if (r) {
        set_positive(cpu, "shares", r->cpu_shares);
        set_positive(cpu, "period", r->cpu_period);
        if (r->cpu_quota)
            (void)json_object_set_new(cpu, "quota", json_integer(r->cpu_quota));
        if (r->cpuset_cpus[0])
            (void)json_object_set_new(cpu, "cpus", json_string(r->cpuset_cpus));
        if (r->cpuset_mems[0])
            (void)json_object_set_new(cpu, "mems", json_string(r->cpuset_mems));
        set_positive(memory, "limit", r->memory_limit_in_bytes);
        if (swap && r->memory_limit_in_bytes > 0)
            (void)json_object_set_new(memory, "swap",
                                      json_integer(r->memory_swap_limit_in_bytes > 0
                                                       ? r->memory_swap_limit_in_bytes
                                                       : r->memory_limit_in_bytes));
        if (r->n_hugepage_limits) {
            json_t *list = json_array();

            for (size_t i = 0; i < r->n_hugepage_limits; i++)
                (void)json_array_append_new(
                    list, json_pack("{s:s, s:I}", "pageSize", r->hugepage_limits[i]->page_size,
                                    "limit", (json_int_t)r->hugepage_limits[i]->limit));
            (void)json_object_set_new(o, "hugepageLimits", list);
        }
        if (cgroup_v2 && r->n_unified) {
            json_t *u = json_object();

            for (size_t i = 0; i < r->n_unified; i++)
                (void)json_object_set_new(u, r->unified[i]->key, json_string(r->unified[i]->value));
            (void)json_object_set_new(o, "unified", u);
        }
    }
    (void)json_object_set_new(o, "cpu", cpu);
    (void)json_object_set_new(o, "memory", memory);
    return o;
}

/* Hugepage limits need the hugetlb controller; without it runtimes refuse the container. */
static void drop_hugepages(json_t *resources, bool cgroup_v2)
{
    if (!cgroup_v2 && !path_exists("/sys/fs/cgroup/hugetlb"))
        (void)json_object_del(resources, "hugepageLimits");
}

static void add_paths(const Runtime__V1__LinuxContainerSecurityContext *s, json_t *o)
{
    if (!s || s->privileged)
        return;
    if (s->n_masked_paths)
        (void)json_object_set_new(o, "maskedPaths", strings(s->masked_paths, s->n_masked_paths));
    if (s->n_readonly_paths)
        (void)json_object_set_new(o, "readonlyPaths",
                                  strings(s->readonly_paths, s->n_readonly_paths));
}

/* The root's propagation must let through what the widest mount asks for. */
static const char *root_propagation(const Runtime__V1__ContainerConfig *c)
{
    const char *widest = NULL;

    for (size_t i = 0; i < c->n_mounts; i++) {
        if (c->mounts[i]->propagation == RUNTIME__V1__MOUNT_PROPAGATION__PROPAGATION_BIDIRECTIONAL)
            return "rshared";
        if (c->mounts[i]->propagation ==
            RUNTIME__V1__MOUNT_PROPAGATION__PROPAGATION_HOST_TO_CONTAINER)
            widest = "rslave";
    }
    return widest;
}

static int make_linux(const struct spec_input *in, json_t *caps, json_t **ret, struct error **err)
{
    const Runtime__V1__LinuxContainerSecurityContext *s = security(in);
    cleanup_json json_t *resources = spec_resources(
        in->config->linux ? in->config->linux->resources : NULL, in->cgroup_v2, in->swap);
    cleanup_json json_t *o =
        json_pack("{s:o, s:s}", "namespaces", namespaces(in), "cgroupsPath", in->cgroup);
    json_t *seccomp = NULL;
    const char *propagation = root_propagation(in->config);
    int r;

    drop_hugepages(resources, in->cgroup_v2);
    r = spec_devices(in, o, resources, err);
    if (r == 0)
        r = spec_seccomp(s, caps, &seccomp, err);
    if (r < 0)
        return r;
    (void)json_object_set(o, "resources", resources);
    if (seccomp)
        (void)json_object_set_new(o, "seccomp", seccomp);
    if (propagation)
        (void)json_object_set_new(o, "rootfsPropagation", json_string(propagation));
    add_paths(s, o);
    *ret = TAKE(o);
    return 0;
}

int spec_make(const struct spec_input *in, struct buf *ret, struct error **err)
{
    const Runtime__V1__LinuxContainerSecurityContext *s = security(in);
    cleanup_json json_t *process = NULL, *caps = NULL, *mounts = NULL, *lin = NULL, *root = NULL;
    int r = make_process(in, &process, &caps, err);

    if (r == 0)
        r = spec_mounts(in, &mounts, err);
    if (r == 0)
        r = make_linux(in, caps, &lin, err);
    if (r < 0)
        return r;
    root = json_pack("{s:s, s:O, s:{s:s, s:b}, s:O, s:O}", "ociVersion", "1.0.2", "process",
                     process, "root", "path", "rootfs", "readonly", s && s->readonly_rootfs,
                     "mounts", mounts, "linux", lin);
    if (!root)
        return error_set(err, EINVAL, "container configuration is not valid UTF-8");
    r = json_write(root, ret);
    return r < 0 ? error_set(err, EMSGSIZE, "container configuration is too large") : 0;
}

json_t *spec_process_for_exec(const json_t *spec, char *const *cmd, size_t cmd_n, bool tty)
{
    json_t *p = json_deep_copy(json_object_get(spec, "process"));

    if (!p)
        return NULL;
    (void)json_object_set_new(p, "args", strings(cmd, cmd_n));
    (void)json_object_set_new(p, "terminal", json_boolean(tty));
    if (tty && !env_has(json_object_get(p, "env"), "TERM"))
        (void)json_array_append_new(json_object_get(p, "env"), json_string("TERM=xterm"));
    return p;
}
