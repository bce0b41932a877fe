#include "engine/container/cgroup.h"
#include "base/cleanup.h"
#include "base/file.h"
#include "base/mem.h"
#include <errno.h>
#include <linux/magic.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#define CGROUP_ROOT "/sys/fs/cgroup"
#define KNOB_MAX 65536
#define NO_LIMIT (1ull << 62) /* v1 says "none" by a number near 2^63 */

static const char *const v1_controllers[] = {
    "cpu",     "cpuacct", "cpuset",   "memory",     "devices", "freezer", "blkio",   "pids",
    "hugetlb", "net_cls", "net_prio", "perf_event", "rdma",    "misc",    "systemd", "unified"};

void cgroups_detect(struct cgroups *ret)
{
    struct statfs fs;

    *ret = (struct cgroups){0};
    ret->unified = statfs(CGROUP_ROOT, &fs) == 0 && fs.f_type == CGROUP2_SUPER_MAGIC;
    ret->hybrid = !ret->unified && statfs(CGROUP_ROOT "/unified", &fs) == 0 &&
                  fs.f_type == CGROUP2_SUPER_MAGIC;
    ret->has_swap = ret->unified || path_exists(CGROUP_ROOT "/memory/memory.memsw.limit_in_bytes");
}

char *cgroups_file(const struct cgroups *c, const char *controller, const char *group,
                   const char *file)
{
    if (c->unified)
        return xasprintf(CGROUP_ROOT "%s/%s", group, file);
    return xasprintf(CGROUP_ROOT "/%s%s/%s", controller, group, file);
}

char *cgroups_oom_file(const struct cgroups *c, const char *group)
{
    return cgroups_file(c, "memory", group, c->unified ? "memory.events" : "memory.oom_control");
}

/* "a-b-c.slice" lives at a.slice/a-b.slice/a-b-c.slice. */
static char *slice_path(const char *slice, const char *id)
{
    struct buf b;

    buf_init(&b, BUF_UNBOUNDED);
    for (const char *p = strchr(slice, '-'); p; p = strchr(p + 1, '-'))
        (void)buf_printf(&b, "/%.*s.slice", (int)(p - slice), slice);
    (void)buf_printf(&b, "/%s/skiff-%s.scope", slice, id);
    return buf_take(&b);
}

char *cgroups_path(const char *parent, const char *id)
{
    const char *base = parent && parent[0] ? path_basename(parent) : "";

    if (strends(base, ".slice"))
        return slice_path(base, id);
    if (!parent || !parent[0])
        return xasprintf("/skiff/%s", id);
    return xasprintf("%s%s/%s", parent[0] == '/' ? "" : "/", streq(parent, "/") ? "" : parent, id);
}

static int read_number(const struct cgroups *c, const char *controller, const char *group,
                       const char *file, uint64_t *ret)
{
    cleanup_free char *path = cgroups_file(c, controller, group, file);
    cleanup_buf struct buf text = {0};
    int r = file_read(path, KNOB_MAX, &text, NULL);

    if (r < 0)
        return r;
    return str_to_u64(str_trim(buf_str(&text)), UINT64_MAX, ret); /* "max" leaves it as it was */
}

struct field {
    const char *key;
    uint64_t *to;
};

static int read_table(const struct cgroups *c, const char *controller, const char *group,
                      const char *file, const struct field *fields, size_t n)
{
    cleanup_free char *path = cgroups_file(c, controller, group, file);
    cleanup_buf struct buf text = {0};
    int r = file_read(path, KNOB_MAX, &text, NULL);
    struct str rest;

    if (r < 0)
        return r;
    for (rest = buf_str(&text); rest.p;) {
        struct str line = str_split(&rest, '\n'), key = str_split(&line, ' ');

        for (size_t i = 0; i < n; i++)
            if (line.p && str_eq_z(key, fields[i].key))
                (void)str_to_u64(str_trim(line), UINT64_MAX, fields[i].to);
    }
    return 0;
}

static int read_v2(const struct cgroups *c, const char *group, struct cgroup_usage *u)
{
    uint64_t usec = 0, inactive = 0;
    struct field cpu[] = {{"usage_usec", &usec}};
    struct field memory[] = {{"inactive_file", &inactive},
                             {"anon", &u->memory_rss_bytes},
                             {"pgfault", &u->page_faults},
                             {"pgmajfault", &u->major_page_faults}};
    int r = read_table(c, "", group, "cpu.stat", cpu, ARRAY_LEN(cpu));

    if (r < 0)
        return r;
    u->cpu_ns = usec * 1000;
    (void)read_number(c, "", group, "memory.current", &u->memory_bytes);
    (void)read_number(c, "", group, "memory.max", &u->memory_limit_bytes);
    (void)read_number(c, "", group, "memory.swap.current", &u->swap_bytes);
    (void)read_table(c, "", group, "memory.stat", memory, ARRAY_LEN(memory));
    u->memory_working_set_bytes = u->memory_bytes > inactive ? u->memory_bytes - inactive : 0;
    return 0;
}

static int read_v1(const struct cgroups *c, const char *group, struct cgroup_usage *u)
{
    uint64_t inactive = 0;
    struct field memory[] = {{"total_inactive_file", &inactive},
                             {"total_rss", &u->memory_rss_bytes},
                             {"total_pgfault", &u->page_faults},
                             {"total_pgmajfault", &u->major_page_faults},
                             {"total_swap", &u->swap_bytes}};
    int r = read_number(c, "cpuacct", group, "cpuacct.usage", &u->cpu_ns);

    if (r < 0)
        return r;
    (void)read_number(c, "memory", group, "memory.usage_in_bytes", &u->memory_bytes);
    (void)read_number(c, "memory", group, "memory.limit_in_bytes", &u->memory_limit_bytes);
    (void)read_table(c, "memory", group, "memory.stat", memory, ARRAY_LEN(memory));
    u->memory_working_set_bytes = u->memory_bytes > inactive ? u->memory_bytes - inactive : 0;
    if (u->memory_limit_bytes >= NO_LIMIT)
        u->memory_limit_bytes = 0;
    return 0;
}

int cgroups_read(const struct cgroups *c, const char *group, struct cgroup_usage *ret)
{
    struct cgroup_usage u = {0};
    int r = c->unified ? read_v2(c, group, &u) : read_v1(c, group, &u);

    if (r < 0)
        return r;
    (void)read_number(c, "pids", group, "pids.current", &u.pids);
    *ret = u;
    return 0;
}

void cgroups_remove(const struct cgroups *c, const char *group)
{
    if (!group || !group[0] || streq(group, "/"))
        return;
    for (size_t i = 0; i < ARRAY_LEN(v1_controllers); i++) {
        cleanup_free char *path = cgroups_file(c, v1_controllers[i], group, "");

        path[strlen(path) - 1] = 0; /* the slash */
        (void)rmdir(path);
        if (c->unified)
            return;
    }
}
