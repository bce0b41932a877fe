#include "kubelet/cgroup.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/quantity.h"
#include "kubelet/dns.h"
#include "kubelet/field.h"
#include "kubelet/resources.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sys/stat.h>

#define PERIOD_DEFAULT_US 100000
#define MOUNTINFO_BYTES_MAX (16u << 20)
#define SHARES_MIN 2

/* ---- numbers ---- */

struct cgroup_limits cgroup_pod_limits(const K8s__PodSpec *s, const struct kubelet_config *cfg)
{
    struct amounts request = pod_requests(s), limit = pod_limits(s);
    struct cgroup_limits l = {.shares = SHARES_MIN, .pids = cfg->pod_pids_limit};

    l.period_us = cfg->cpu_cfs_period_ns > 0 ? cfg->cpu_cfs_period_ns / 1000 : PERIOD_DEFAULT_US;
    if (pod_qos(s) == QOS_BEST_EFFORT)
        return l;
    l.shares = cpu_shares(request.cpu_milli);
    if (cfg->cpu_cfs_quota && limit.cpu_milli > 0)
        l.quota_us = cpu_quota_us(limit.cpu_milli, l.period_us);
    l.memory = limit.memory;
    return l;
}

/* ---- which hierarchies there are ---- */

static unsigned controllers_of(struct str options)
{
    static const struct {
        const char *name;
        unsigned bit;
    } known[] = {{"cpu", CGROUP_CPU},
                 {"memory", CGROUP_MEMORY},
                 {"pids", CGROUP_PIDS},
                 {"cpuacct", CGROUP_CPUACCT}};
    unsigned bits = 0;

    while (options.n) {
        struct str word = str_split(&options, ',');

        for (size_t i = 0; i < ARRAY_LEN(known); i++)
            if (str_eq_z(word, known[i].name))
                bits |= known[i].bit;
    }
    return bits;
}

void cgroup_mounts_parse(struct str text, struct cgroup_mounts *ret)
{
    *ret = (struct cgroup_mounts){0};
    while (text.n) {
        struct str line = str_split(&text, '\n'), point = STR_NULL, word, type;
        struct cgroup_mount m;

        for (int i = 0; i < 5; i++)
            point = str_split(&line, ' ');
        do
            word = str_split(&line, ' ');
        while (line.p && !str_eq_z(word, "-"));
        type = str_split(&line, ' ');
        if (!str_eq_z(type, "cgroup") && !str_eq_z(type, "cgroup2"))
            continue;
        (void)str_split(&line, ' '); /* source */
        m = (struct cgroup_mount){.v2 = str_eq_z(type, "cgroup2"),
                                  .controllers = controllers_of(line)};
        for (size_t i = 0; i < ret->n && m.controllers; i++)
            m.controllers &= ~ret->v[i].controllers; /* mounted a second time elsewhere */
        m.path = str_dup(point);
        ret->v = xreallocarray(ret->v, ret->n + 1, sizeof(m));
        ret->v[ret->n++] = m;
    }
}

void cgroup_mounts_fini(struct cgroup_mounts *m)
{
    for (size_t i = 0; i < m->n; i++)
        free(m->v[i].path);
    free(m->v);
    *m = (struct cgroup_mounts){0};
}

static int mounts_read(struct cgroup_mounts *ret, struct error **err)
{
    struct buf b;
    int r = file_read("/proc/self/mountinfo", MOUNTINFO_BYTES_MAX, &b, err);

    if (r < 0)
        return r;
    cgroup_mounts_parse(buf_str(&b), ret);
    buf_fini(&b);
    return 0;
}

/* ---- making ---- */

static int knob(const char *dir, const char *name, struct error **err, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
static int knob(const char *dir, const char *name, struct error **err, const char *fmt, ...)
{
    cleanup_free char *path = path_join(dir, name);
    cleanup_free char *value = NULL;
    va_list ap;
    int n;

    va_start(ap, fmt);
    n = vasprintf(&value, fmt, ap);
    va_end(ap);
    if (n < 0) {
        value = NULL;
        return error_set(err, ENOMEM, "out of memory");
    }
    return file_write_knob(path, value, err);
}

static int set_v1(const char *dir, unsigned controllers, const struct cgroup_limits *l,
                  struct error **err)
{
    int r = 0;

    if ((controllers & CGROUP_CPU) && l->shares > 0)
        r = knob(dir, "cpu.shares", err, "%" PRId64, l->shares);
    if (r >= 0 && (controllers & CGROUP_CPU) && l->quota_us > 0) {
        r = knob(dir, "cpu.cfs_period_us", err, "%" PRId64, l->period_us);
        if (r >= 0)
            r = knob(dir, "cpu.cfs_quota_us", err, "%" PRId64, l->quota_us);
    }
    if (r >= 0 && (controllers & CGROUP_MEMORY) && l->memory > 0)
        r = knob(dir, "memory.limit_in_bytes", err, "%" PRId64, l->memory);
    if (r >= 0 && (controllers & CGROUP_PIDS) && l->pids > 0)
        r = knob(dir, "pids.max", err, "%" PRId64, l->pids);
    return r;
}

static bool has_file(const char *dir, const char *name)
{
    cleanup_free char *path = path_join(dir, name);

    return path_exists(path);
}

/* On a system with both versions most controllers are with version 1 and their files are missing
 * here. */
static int set_v2(const char *dir, const struct cgroup_limits *l, struct error **err)
{
    int r = 0;

    if (l->shares > 0 && has_file(dir, "cpu.weight"))
        r = knob(dir, "cpu.weight", err, "%" PRId64, cpu_weight(l->shares));
    if (r >= 0 && l->quota_us > 0 && has_file(dir, "cpu.max"))
        r = knob(dir, "cpu.max", err, "%" PRId64 " %" PRId64, l->quota_us, l->period_us);
    if (r >= 0 && l->memory > 0 && has_file(dir, "memory.max"))
        r = knob(dir, "memory.max", err, "%" PRId64, l->memory);
    if (r >= 0 && l->pids > 0 && has_file(dir, "pids.max"))
        r = knob(dir, "pids.max", err, "%" PRId64, l->pids);
    return r;
}

/* Children of dir may use what dir has. What cannot be passed on is left out: limits that need it
 * fail by name. */
static void pass_controllers(const char *dir)
{
    cleanup_free char *path = path_join(dir, "cgroup.controllers");
    struct buf b;
    struct str rest;

    if (file_read(path, 4096, &b, NULL) < 0)
        return;
    rest = str_trim(buf_str(&b));
    while (rest.n) {
        struct str word = str_split(&rest, ' ');

        if (word.n)
            (void)knob(dir, "cgroup.subtree_control", NULL, "+%.*s", STR_FMT(word));
    }
    buf_fini(&b);
}

static int make_in(const struct cgroup_mount *m, const char *cgroup, const struct cgroup_limits *l,
                   struct error **err)
{
    struct str rest = str_of(cgroup);
    cleanup_free char *dir = xstrdup(m->path);

    while (rest.p) {
        struct str part = str_split(&rest, '/');
        cleanup_free char *name = str_dup(part);
        char *next;

        if (!part.n)
            continue;
        if (m->v2)
            pass_controllers(dir);
        next = path_join(dir, name);
        free(dir);
        dir = next;
        if (mkdir(dir, 0755) < 0 && errno != EEXIST)
            return error_set_errno(err, errno, "create cgroup %s", dir);
    }
    return m->v2 ? set_v2(dir, l, err) : set_v1(dir, m->controllers, l, err);
}

static bool only_v2(const struct cgroup_mounts *m)
{
    for (size_t i = 0; i < m->n; i++)
        if (!m->v[i].v2 && m->v[i].controllers)
            return false;
    return true;
}

int cgroup_make(const struct cgroup_mounts *m, const char *cgroup, const struct cgroup_limits *l,
                struct error **err)
{
    bool v2 = only_v2(m);

    for (size_t i = 0; i < m->n; i++) {
        int r =
            m->v[i].v2 == v2 && (v2 || m->v[i].controllers) ? make_in(&m->v[i], cgroup, l, err) : 0;

        if (r < 0)
            return r;
    }
    return 0;
}

/* ---- removing ---- */

static int remove_one(int dirfd, const char *name)
{
    int fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *d = fd < 0 ? NULL : fdopendir(fd);
    struct dirent *e;

    if (!d) {
        int saved = errno;

        if (fd >= 0)
            (void)close(fd);
        return saved == ENOENT ? 0 : -saved;
    }
    while ((e = readdir(d)))
        if (e->d_type == DT_DIR && !streq(e->d_name, ".") && !streq(e->d_name, ".."))
            (void)remove_one(fd, e->d_name); /* the cgroup above tells when one stays */
    (void)closedir(d);
    return unlinkat(dirfd, name, AT_REMOVEDIR) < 0 && errno != ENOENT ? -errno : 0;
}

int cgroup_dirs_remove(const struct cgroup_mounts *m, const char *cgroup, struct error **err)
{
    int r = 0;

    for (size_t i = 0; i < m->n;
         i++) { /* all of them: the engine uses more controllers than we do */
        cleanup_free char *dir = path_join(m->v[i].path, cgroup);
        int one = remove_one(AT_FDCWD, dir);

        if (one < 0)
            r = error_set_errno(err, -one, "remove cgroup %s", dir);
    }
    return r;
}

/* ---- pods ---- */

static const char *root_of(const struct kubelet_config *cfg)
{
    return cfg->cgroup_root && !streq(cfg->cgroup_root, "/") ? cfg->cgroup_root : "";
}

/* The classes: what their pods ask for together. */
static int make_classes(struct kubelet *k, const struct cgroup_mounts *m, struct error **err)
{
    const struct kubelet_config *cfg = k->cfg;
    cleanup_free char *all = xasprintf("%s/kubepods", root_of(cfg));
    cleanup_free char *burstable = path_join(all, "burstable");
    cleanup_free char *best_effort = path_join(all, "besteffort");
    struct cgroup_limits l = {
        .shares = cpu_shares(node_cpu_milli() - quantity_milli_or(cfg->reserved_cpu, 0)),
        .memory = node_memory_bytes() - quantity_value_or(cfg->reserved_memory, 0)};
    struct cgroup_limits least = {.shares = SHARES_MIN};
    struct map_entry *e;
    size_t it = 0;
    int64_t milli = 0;
    int r = cgroup_make(m, all, &l, err);

    while ((e = map_next(&k->pods, &it))) {
        const struct pod *p = e->value;

        if (p->api && p->cgroup_made && pod_qos(p->api->spec) == QOS_BURSTABLE &&
            pod_requests(p->api->spec).cpu_milli > 0)
            milli += pod_requests(p->api->spec).cpu_milli;
    }
    l = (struct cgroup_limits){.shares = cpu_shares(milli)};
    if (r >= 0)
        r = cgroup_make(m, burstable, &l, err);
    return r >= 0 ? cgroup_make(m, best_effort, &least, err) : r;
}

void cgroup_pod_make(struct pod *p)
{
    cleanup_error struct error *err = NULL;
    struct cgroup_mounts m = {0};
    struct cgroup_limits l;
    struct arena a;
    int r;

    p->cgroup_made = true; /* when it fails the pod runs with its containers' limits alone */
    if (!p->k->cfg->cgroups_per_qos)
        return;
    arena_init(&a, 256);
    l = cgroup_pod_limits(p->api->spec, p->k->cfg);
    r = mounts_read(&m, &err);
    if (r >= 0)
        r = make_classes(p->k, &m, &err);
    if (r >= 0)
        r = cgroup_make(&m, pod_cgroup_parent(&a, p), &l, &err);
    if (r < 0)
        pod_event(p, NULL, "Warning", "FailedCreatePodContainer",
                  "unable to ensure pod container exists: %s", error_message(err));
    cgroup_mounts_fini(&m);
    arena_fini(&a);
}

void cgroup_pod_remove(struct pod *p)
{
    static const char *const classes[] = {
        "", "/burstable", "/besteffort"}; /* of a pod without a spec it is not known */
    cleanup_error struct error *err = NULL;
    struct cgroup_mounts m = {0};
    int r;

    if (!p->k->cfg->cgroups_per_qos)
        return;
    r = mounts_read(&m, &err);
    for (size_t i = 0; i < ARRAY_LEN(classes) && r >= 0; i++) {
        cleanup_free char *cgroup =
            xasprintf("%s/kubepods%s/pod%s", root_of(p->k->cfg), classes[i], p->uid);

        r = cgroup_dirs_remove(&m, cgroup, &err);
    }
    p->cgroup_made = false;
    if (r >= 0)
        r = make_classes(p->k, &m, &err);
    if (r < 0)
        log_warn("kubelet", "cgroup of a pod", "pod", p->text, "error", error_message(err), NULL);
    cgroup_mounts_fini(&m);
}
