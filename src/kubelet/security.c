#include "kubelet/security.h"
#include <errno.h>

static Runtime__V1__Int64Value *number(struct arena *a, int64_t v)
{
    Runtime__V1__Int64Value *n = object_new(a, &runtime__v1__int64_value__descriptor);

    n->value = v;
    return n;
}

static Runtime__V1__NamespaceOption *namespaces(struct arena *a, struct pod *p)
{
    Runtime__V1__NamespaceOption *n = object_new(a, &runtime__v1__namespace_option__descriptor);
    const K8s__PodSpec *s = p->api->spec;

    n->network =
        s->hostnetwork ? RUNTIME__V1__NAMESPACE_MODE__NODE : RUNTIME__V1__NAMESPACE_MODE__POD;
    n->ipc = s->hostipc ? RUNTIME__V1__NAMESPACE_MODE__NODE : RUNTIME__V1__NAMESPACE_MODE__POD;
    n->pid = s->hostpid                 ? RUNTIME__V1__NAMESPACE_MODE__NODE
             : s->shareprocessnamespace ? RUNTIME__V1__NAMESPACE_MODE__POD
                                        : RUNTIME__V1__NAMESPACE_MODE__CONTAINER;
    return n;
}

static Runtime__V1__SecurityProfile *profile(struct arena *a, const char *type, const char *local,
                                             const char *base)
{
    Runtime__V1__SecurityProfile *x = object_new(a, &runtime__v1__security_profile__descriptor);

    x->profile_type = RUNTIME__V1__SECURITY_PROFILE__PROFILE_TYPE__Unconfined;
    if (streq(type, "RuntimeDefault"))
        x->profile_type = RUNTIME__V1__SECURITY_PROFILE__PROFILE_TYPE__RuntimeDefault;
    if (streq(type, "Localhost")) {
        x->profile_type = RUNTIME__V1__SECURITY_PROFILE__PROFILE_TYPE__Localhost;
        x->localhost_ref =
            base ? arena_printf(a, "%s/%s", base, strna(local)) : arena_strdup(a, strna(local));
    }
    return x;
}

static Runtime__V1__SecurityProfile *seccomp(struct arena *a, struct pod *p,
                                             const K8s__SeccompProfile *s)
{
    return profile(a, s ? s->type : NULL, s ? s->localhostprofile : NULL,
                   arena_printf(a, "%s/seccomp", p->k->cfg->root_dir));
}

static Runtime__V1__SELinuxOption *selinux(struct arena *a, const K8s__SELinuxOptions *s)
{
    Runtime__V1__SELinuxOption *x = object_new(a, &runtime__v1__selinux_option__descriptor);

    x->user = arena_strdup(a, strna(s->user));
    x->role = arena_strdup(a, strna(s->role));
    x->type = arena_strdup(a, strna(s->type));
    x->level = arena_strdup(a, strna(s->level));
    return x;
}

static void groups(struct arena *a, const K8s__PodSecurityContext *s, int64_t **ret, size_t *n)
{
    if (!s)
        return;
    *ret = arena_alloc(a, (s->n_supplementalgroups + 1) * sizeof(int64_t));
    for (size_t i = 0; i < s->n_supplementalgroups; i++)
        (*ret)[(*n)++] = s->supplementalgroups[i];
    if (s->has_fsgroup)
        (*ret)[(*n)++] = s->fsgroup;
}

static bool any_privileged(const K8s__PodSpec *s)
{
    for (size_t i = 0; i < s->n_containers; i++)
        if (s->containers[i]->securitycontext && s->containers[i]->securitycontext->privileged)
            return true;
    for (size_t i = 0; i < s->n_initcontainers; i++)
        if (s->initcontainers[i]->securitycontext &&
            s->initcontainers[i]->securitycontext->privileged)
            return true;
    return false;
}

Runtime__V1__LinuxSandboxSecurityContext *security_sandbox(struct arena *a, struct pod *p)
{
    Runtime__V1__LinuxSandboxSecurityContext *x =
        object_new(a, &runtime__v1__linux_sandbox_security_context__descriptor);
    K8s__PodSecurityContext *s = p->api->spec->securitycontext;

    x->namespace_options = namespaces(a, p);
    x->privileged = any_privileged(p->api->spec);
    x->seccomp = profile(a, "RuntimeDefault", NULL, NULL);
    groups(a, s, &x->supplemental_groups, &x->n_supplemental_groups);
    if (s && s->has_runasuser)
        x->run_as_user = number(a, s->runasuser);
    if (s && s->has_runasgroup && s->has_runasuser)
        x->run_as_group = number(a, s->runasgroup);
    if (s && s->selinuxoptions)
        x->selinux_options = selinux(a, s->selinuxoptions);
    if (s && streq(s->supplementalgroupspolicy, "Strict"))
        x->supplemental_groups_policy = RUNTIME__V1__SUPPLEMENTAL_GROUPS_POLICY__Strict;
    return x;
}

static void paths(struct arena *a, Runtime__V1__LinuxContainerSecurityContext *x)
{
    static const char *const masked[] = {
        "/proc/asound",     "/proc/acpi",        "/proc/interrupts",
        "/proc/kcore",      "/proc/keys",        "/proc/latency_stats",
        "/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug",
        "/proc/scsi",       "/sys/firmware",     "/sys/devices/virtual/powercap",
    };
    static const char *const read_only[] = {"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys",
                                            "/proc/sysrq-trigger"};

    for (size_t i = 0; i < ARRAY_LEN(masked); i++)
        object_append(a, &x->masked_paths, &x->n_masked_paths, arena_strdup(a, masked[i]));
    for (size_t i = 0; i < ARRAY_LEN(read_only); i++)
        object_append(a, &x->readonly_paths, &x->n_readonly_paths, arena_strdup(a, read_only[i]));
}

static int non_root(struct container *c, const K8s__SecurityContext *s,
                    const K8s__PodSecurityContext *ps,
                    const Runtime__V1__LinuxContainerSecurityContext *x, struct error **err)
{
    bool wanted =
        s && s->has_runasnonroot ? s->runasnonroot : ps && ps->has_runasnonroot && ps->runasnonroot;

    if (!wanted)
        return 0;
    if (x->run_as_user)
        return x->run_as_user->value == 0
                   ? error_set(err, EINVAL,
                               "container's runAsUser breaks non-root policy (pod: \"%s_%s(%s)\", "
                               "container: %s)",
                               c->pod->name, c->pod->ns, c->pod->uid, c->spec->name)
                   : 0;
    if (c->image_user && *c->image_user)
        return error_set(
            err, EINVAL,
            "container has runAsNonRoot and image has non-numeric user (%s), cannot verify user is "
            "non-root (pod: \"%s_%s(%s)\", container: %s)",
            c->image_user, c->pod->name, c->pod->ns, c->pod->uid, c->spec->name);
    if (c->image_uid <= 0)
        return error_set(err, EINVAL,
                         "container has runAsNonRoot and image will run as root (pod: "
                         "\"%s_%s(%s)\", container: %s)",
                         c->pod->name, c->pod->ns, c->pod->uid, c->spec->name);
    return 0;
}

static void capabilities(struct arena *a, const K8s__Capabilities *s,
                         Runtime__V1__LinuxContainerSecurityContext *x)
{
    x->capabilities = object_new(a, &runtime__v1__capability__descriptor);
    for (size_t i = 0; i < s->n_add; i++)
        object_append(a, &x->capabilities->add_capabilities, &x->capabilities->n_add_capabilities,
                      arena_strdup(a, s->add[i]));
    for (size_t i = 0; i < s->n_drop; i++)
        object_append(a, &x->capabilities->drop_capabilities, &x->capabilities->n_drop_capabilities,
                      arena_strdup(a, s->drop[i]));
}

/* Container's own words; the pod's stand in for what it leaves out. */
static void own(struct arena *a, const K8s__SecurityContext *s, const K8s__PodSecurityContext *ps,
                Runtime__V1__LinuxContainerSecurityContext *x)
{
    if (s && s->has_runasuser)
        x->run_as_user = number(a, s->runasuser);
    else if (ps && ps->has_runasuser)
        x->run_as_user = number(a, ps->runasuser);
    if (s && s->has_runasgroup)
        x->run_as_group = number(a, s->runasgroup);
    else if (ps && ps->has_runasgroup)
        x->run_as_group = number(a, ps->runasgroup);
    if (s && s->selinuxoptions)
        x->selinux_options = selinux(a, s->selinuxoptions);
    else if (ps && ps->selinuxoptions)
        x->selinux_options = selinux(a, ps->selinuxoptions);
    if (!s)
        return;
    x->privileged = s->privileged;
    x->readonly_rootfs = s->readonlyrootfilesystem;
    if (s->capabilities)
        capabilities(a, s->capabilities, x);
    x->no_new_privs =
        s->has_allowprivilegeescalation && !s->allowprivilegeescalation && !s->privileged;
}

int security_container(struct arena *a, struct container *c,
                       Runtime__V1__LinuxContainerSecurityContext **ret, struct error **err)
{
    Runtime__V1__LinuxContainerSecurityContext *x =
        object_new(a, &runtime__v1__linux_container_security_context__descriptor);
    struct pod *p = c->pod;
    K8s__SecurityContext *s = c->spec->securitycontext;
    K8s__PodSecurityContext *ps = p->api->spec->securitycontext;
    const K8s__AppArmorProfile *aa = s && s->apparmorprofile ? s->apparmorprofile
                                     : ps                    ? ps->apparmorprofile
                                                             : NULL;
    int r;

    x->namespace_options = namespaces(a, p);
    groups(a, ps, &x->supplemental_groups, &x->n_supplemental_groups);
    if (ps && streq(ps->supplementalgroupspolicy, "Strict"))
        x->supplemental_groups_policy = RUNTIME__V1__SUPPLEMENTAL_GROUPS_POLICY__Strict;
    own(a, s, ps, x);
    x->seccomp = seccomp(a, p,
                         x->privileged            ? NULL
                         : s && s->seccompprofile ? s->seccompprofile
                         : ps                     ? ps->seccompprofile
                                                  : NULL);
    if (aa)
        x->apparmor = profile(a, aa->type, aa->localhostprofile, NULL);
    if (!(s && streq(s->procmount, "Unmasked")))
        paths(a, x);
    r = non_root(c, s, ps, x, err);
    if (r >= 0)
        *ret = x;
    return r;
}
