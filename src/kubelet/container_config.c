/* What the engine is told about one container: image, command, environment, mounts, resources,
 * labels. */
#include "base/file.h"
#include "base/mem.h"
#include "base/quantity.h"
#include "base/random.h"
#include "kubelet/dns.h"
#include "kubelet/env.h"
#include "kubelet/field.h"
#include "kubelet/pod.h"
#include "kubelet/resources.h"
#include "kubelet/security.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

static void add_mount(struct arena *a, Runtime__V1__ContainerConfig *x, const char *host,
                      const char *inside, bool read_only, const char *propagation)
{
    Runtime__V1__Mount *m = object_new(a, &runtime__v1__mount__descriptor);

    m->host_path = arena_strdup(a, host);
    m->container_path = inside[0] == '/' ? arena_strdup(a, inside) : arena_printf(a, "/%s", inside);
    m->readonly = read_only;
    if (streq(propagation, "HostToContainer"))
        m->propagation = RUNTIME__V1__MOUNT_PROPAGATION__PROPAGATION_HOST_TO_CONTAINER;
    if (streq(propagation, "Bidirectional"))
        m->propagation = RUNTIME__V1__MOUNT_PROPAGATION__PROPAGATION_BIDIRECTIONAL;
    object_append(a, &x->mounts, &x->n_mounts, m);
}

/* ---- /etc/hosts ---- */

static void own_hosts(struct pod *p, const char *ip, struct arena *a, struct buf *b)
{
    const K8s__PodSpec *s = p->api->spec;
    const char *host = pod_hostname(a, p);
    struct str domain = str_of(p->k->cfg->cluster_domain);

    while (domain.n && domain.p[domain.n - 1] == '.')
        domain.n--;
    (void)buf_add_z(b, "# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n::1\tlocalhost "
                       "ip6-localhost ip6-loopback\n"
                       "fe00::0\tip6-localnet\nfe00::0\tip6-mcastprefix\nfe00::1\tip6-"
                       "allnodes\nfe00::2\tip6-allrouters\n");
    if (!*ip)
        return;
    if (s->subdomain && *s->subdomain)
        (void)buf_printf(b, "%s\t%s.%s.%s.svc.%.*s\t%s\n", ip, host, s->subdomain, p->ns,
                         STR_FMT(domain), host);
    else
        (void)buf_printf(b, "%s\t%s\n", ip, host);
}

static int hosts_file(struct arena *a, struct pod *p, const char *ip, char **ret,
                      struct error **err)
{
    cleanup_free char *dir = pod_dir(p);
    const K8s__PodSpec *s = p->api->spec;
    cleanup_buf struct buf b, host;
    int r;

    buf_init(&b, 1u << 20);
    buf_init(&host, 0);
    if (pod_host_network(p)) {
        (void)buf_add_z(&b, "# Kubernetes-managed hosts file (host network).\n");
        if (file_read("/etc/hosts", 1u << 18, &host, NULL) >= 0)
            (void)buf_add_str(&b, buf_str(&host));
    } else {
        own_hosts(p, ip, a, &b);
    }
    if (s->n_hostaliases)
        (void)buf_add_z(&b, "\n# Entries added by HostAliases.\n");
    for (size_t i = 0; i < s->n_hostaliases; i++) {
        (void)buf_printf(&b, "%s", strna(s->hostaliases[i]->ip));
        for (size_t k = 0; k < s->hostaliases[i]->n_hostnames; k++)
            (void)buf_printf(&b, "\t%s", s->hostaliases[i]->hostnames[k]);
        (void)buf_add_char(&b, '\n');
    }
    *ret = arena_printf(a, "%s/etc-hosts", dir);
    r = file_write_atomic_nosync(*ret, 0644, buf_str(&b), err);
    return r;
}

/* ---- mounts ---- */

static int add_volume_mounts(struct arena *a, struct container *c, struct env *e,
                             Runtime__V1__ContainerConfig *x, struct error **err)
{
    for (size_t i = 0; i < c->spec->n_volumemounts; i++) {
        const K8s__VolumeMount *m = c->spec->volumemounts[i];
        cleanup_free char *path = NULL;
        const char *sub = m->subpath;
        bool read_only = false;
        int r;

        if (m->subpathexpr && *m->subpathexpr) {
            sub = env_expand(a, m->subpathexpr, env_lookup, e);
            if (strstr(sub, "$("))
                return error_set(err, EINVAL, "missing value for %s", m->subpathexpr);
        }
        r = volume_mount_path(c->pod, m, sub, &path, &read_only, err);
        if (r < 0)
            return r;
        add_mount(a, x, path, strna(m->mountpath), m->readonly || read_only, m->mountpropagation);
    }
    return 0;
}

static bool mounts_path(const struct container *c, const char *path)
{
    for (size_t i = 0; i < c->spec->n_volumemounts; i++)
        if (streq(c->spec->volumemounts[i]->mountpath, path))
            return true;
    return false;
}

static int add_termination_log(struct arena *a, struct container *c,
                               Runtime__V1__ContainerConfig *x, struct error **err)
{
    const char *inside = c->spec->terminationmessagepath && *c->spec->terminationmessagepath
                             ? c->spec->terminationmessagepath
                             : "/dev/termination-log";
    cleanup_free char *dir = pod_dir(c->pod);
    char suffix[9];
    char *path;
    int r, fd;

    random_suffix(suffix, 8);
    path = arena_printf(a, "%s/containers/%s/%s", dir, c->spec->name, suffix);
    r = dir_make_parent(path, 0755, err);
    if (r < 0)
        return r;
    fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
    if (fd < 0)
        return error_set_errno(err, errno, "create %s", path);
    (void)fchmod(fd, 0666);
    (void)close(fd);
    add_mount(a, x, path, inside, false, NULL);
    return 0;
}

/* ---- the rest ---- */

static Runtime__V1__LinuxContainerResources *resources(struct arena *a, struct container *c)
{
    Runtime__V1__LinuxContainerResources *x =
        object_new(a, &runtime__v1__linux_container_resources__descriptor);
    const struct kubelet_config *cfg = c->pod->k->cfg;
    struct amounts q = container_requests(c->spec), l = container_limits(c->spec);
    int64_t period = cfg->cpu_cfs_period_ns / 1000;

    x->cpu_shares = cpu_shares(q.cpu_milli);
    if (cfg->cpu_cfs_quota && l.cpu_milli > 0) {
        x->cpu_period = period > 0 ? period : 100000;
        x->cpu_quota = cpu_quota_us(l.cpu_milli, x->cpu_period);
    }
    x->memory_limit_in_bytes = l.memory > 0 ? l.memory : 0;
    x->oom_score_adj =
        oom_score_adjust(c->pod->api->spec, c->spec, pod_is_static(c->pod), node_memory_bytes());
    for (size_t i = 0; c->spec->resources && i < c->spec->resources->n_limits; i++) {
        const K8s__QuantityPair *lim = c->spec->resources->limits[i];

        if (strstarts(lim->key, "hugepages-")) {
            Runtime__V1__HugepageLimit *h = object_new(a, &runtime__v1__hugepage_limit__descriptor);
            size_t n = strlen(lim->key + 10);

            h->page_size = arena_printf(
                a, "%.*sB", (int)(n && lim->key[10 + n - 1] == 'i' ? n - 1 : n), lim->key + 10);
            h->limit = (uint64_t)quantity_value_or(lim->value ? lim->value->string : NULL, 0);
            object_append(a, &x->hugepage_limits, &x->n_hugepage_limits, h);
        }
    }
    return x;
}

static void add_labels(struct arena *a, struct container *c, uint32_t attempt,
                       Runtime__V1__ContainerConfig *x)
{
    const ProtobufCMessageDescriptor *l = &runtime__v1__container_config__labels_entry__descriptor;
    const ProtobufCMessageDescriptor *n =
        &runtime__v1__container_config__annotations_entry__descriptor;
    struct pod *p = c->pod;
    const char *path = c->spec->terminationmessagepath, *policy = c->spec->terminationmessagepolicy;
    int64_t grace = p->api->spec->has_terminationgraceperiodseconds
                        ? p->api->spec->terminationgraceperiodseconds
                        : 30;

    cri_entry_add(a, &x->labels, &x->n_labels, l, LABEL_CONTAINER_NAME, c->spec->name);
    cri_entry_add(a, &x->labels, &x->n_labels, l, LABEL_POD_NAME, p->name);
    cri_entry_add(a, &x->labels, &x->n_labels, l, LABEL_POD_NAMESPACE, p->ns);
    cri_entry_add(a, &x->labels, &x->n_labels, l, LABEL_POD_UID, p->uid);
    cri_entry_add(a, &x->annotations, &x->n_annotations, n, ANNOTATION_HASH, c->hash);
    cri_entry_add(a, &x->annotations, &x->n_annotations, n, ANNOTATION_RESTART_COUNT,
                  arena_printf(a, "%u", attempt));
    cri_entry_add(a, &x->annotations, &x->n_annotations, n, ANNOTATION_TERMINATION_PATH,
                  path && *path ? path : "/dev/termination-log");
    cri_entry_add(a, &x->annotations, &x->n_annotations, n, ANNOTATION_TERMINATION_POLICY,
                  policy && *policy ? policy : "File");
    cri_entry_add(a, &x->annotations, &x->n_annotations, n, ANNOTATION_GRACE,
                  arena_printf(a, "%lld", (long long)grace));
}

static void add_words(struct arena *a, char **from, size_t n, struct env *e, char ***to,
                      size_t *to_n)
{
    for (size_t i = 0; i < n; i++)
        object_append(a, to, to_n, env_expand(a, from[i], env_lookup, e));
}

static Runtime__V1__Signal stop_signal(const struct container *c)
{
    const ProtobufCEnumValue *v = NULL;

    if (c->spec->lifecycle && c->spec->lifecycle->stopsignal) {
        cleanup_free char *name = xasprintf("SIGNAL_%s", c->spec->lifecycle->stopsignal);
        v = protobuf_c_enum_descriptor_get_value_by_name(&runtime__v1__signal__descriptor, name);
    }
    return v ? (Runtime__V1__Signal)v->value : RUNTIME__V1__SIGNAL__SIGNAL_RUNTIME_DEFAULT;
}

int container_config(struct arena *a, struct container *c, uint32_t attempt, const char *sandbox_ip,
                     Runtime__V1__ContainerConfig **ret, struct error **err)
{
    Runtime__V1__ContainerConfig *x = object_new(a, &runtime__v1__container_config__descriptor);
    struct env e;
    char *hosts = NULL;
    cleanup_free char *logs = pod_log_dir(c->pod);
    int r = env_build(a, c, sandbox_ip, &e, err);

    if (r < 0)
        return r;
    x->metadata = object_new(a, &runtime__v1__container_metadata__descriptor);
    x->metadata->name = arena_strdup(a, c->spec->name);
    x->metadata->attempt = attempt;
    x->image = object_new(a, &runtime__v1__image_spec__descriptor);
    add_words(a, c->spec->command, c->spec->n_command, &e, &x->command, &x->n_command);
    add_words(a, c->spec->args, c->spec->n_args, &e, &x->args, &x->n_args);
    x->working_dir = arena_strdup(a, strna(c->spec->workingdir));
    x->envs = e.v;
    x->n_envs = e.n;
    x->log_path = arena_printf(a, "%s/%u.log", c->spec->name, attempt);
    x->stdin = c->spec->stdin;
    x->stdin_once = c->spec->stdinonce;
    x->tty = c->spec->tty;
    x->stop_signal = stop_signal(c);
    add_labels(a, c, attempt, x);
    r = add_volume_mounts(a, c, &e, x, err);
    if (r >= 0 && !mounts_path(c, "/etc/hosts")) {
        r = hosts_file(a, c->pod, strna(sandbox_ip), &hosts, err);
        if (r >= 0)
            add_mount(a, x, hosts, "/etc/hosts", false, NULL);
    }
    if (r >= 0)
        r = add_termination_log(a, c, x, err);
    if (r >= 0)
        r = dir_make(arena_printf(a, "%s/%s", logs, c->spec->name), 0755, err);
    if (r < 0)
        return r;
    x->linux = object_new(a, &runtime__v1__linux_container_config__descriptor);
    x->linux->resources = resources(a, c);
    r = security_container(a, c, &x->linux->security_context, err);
    if (r >= 0)
        *ret = x;
    return r;
}
