#include "cli/sweep.h"
#include "base/cleanup.h"
#include "base/file.h"
#include "base/flags.h"
#include "base/mem.h"
#include "cli/found.h"
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/syscall.h>

#define END_MS 3000

void sweep_freeze(pid_t supervisor)
{
    (void)kill(supervisor, SIGSTOP);
}

void sweep_end(pid_t pid)
{
    cleanup_close int fd = (int)syscall(SYS_pidfd_open, pid, 0);
    struct pollfd p = {.fd = fd, .events = POLLIN};

    if (fd < 0)
        return;
    (void)syscall(SYS_pidfd_send_signal, fd, SIGTERM, NULL, 0);
    if (poll(&p, 1, END_MS) == 1)
        return;
    (void)syscall(SYS_pidfd_send_signal, fd, SIGKILL, NULL, 0);
    (void)poll(&p, 1, END_MS);
}

/* processes */

struct process_search {
    const struct layout *l;
    struct flag_list pids;
};

/* Ours: a monitor (by its binary's name and our directories in its arguments). */
static bool is_monitor(const struct layout *l, const char *pid)
{
    cleanup_free char *exe = xasprintf("/proc/%s/exe", pid),
                      *cmdline = xasprintf("/proc/%s/cmdline", pid);
    char target[4096];
    ssize_t n = readlink(exe, target, sizeof target - 1);
    struct buf words;
    bool ours;

    if (n <= 0)
        return false;
    target[n] = '\0';
    if (!strstr(target, "/skiff-monitor") || file_read(cmdline, 1 << 16, &words, NULL) < 0)
        return false;
    ours = words.n && (memmem(words.p, words.n, l->run, strlen(l->run)) ||
                       memmem(words.p, words.n, l->data, strlen(l->data)));
    buf_fini(&words);
    return ours;
}

static int find_monitor(int dirfd, const char *name, unsigned char type, void *arg)
{
    struct process_search *s = arg;

    (void)dirfd;
    (void)type;
    if (name[0] >= '1' && name[0] <= '9' && is_monitor(s->l, name))
        flag_list_add(&s->pids, name);
    return 0;
}

/* All processes of a cgroup tree of ours. */
static int kill_tree(int dirfd, const char *name, unsigned char type, void *arg)
{
    cleanup_free char *procs = NULL, *dir = NULL;
    struct buf text;
    struct str rest;

    (void)dirfd;
    if (type != 4 /* DT_DIR */)
        return 0;
    dir = path_join(arg, name);
    procs = path_join(dir, "cgroup.procs");
    if (file_read(procs, 1 << 20, &text, NULL) == 0) {
        rest = buf_str(&text);
        while (rest.p) {
            int64_t pid;

            if (str_to_i64(str_split(&rest, '\n'), 2, INT32_MAX, &pid) == 0)
                (void)kill((pid_t)pid, SIGKILL);
        }
        buf_fini(&text);
    }
    return dir_each(dir, kill_tree, dir, NULL) < 0 ? 0 : 0;
}

static const char *const cgroup_roots[] = {"/sys/fs/cgroup",
                                           "/sys/fs/cgroup/unified",
                                           "/sys/fs/cgroup/cpu",
                                           "/sys/fs/cgroup/cpuacct",
                                           "/sys/fs/cgroup/cpu,cpuacct",
                                           "/sys/fs/cgroup/cpuset",
                                           "/sys/fs/cgroup/memory",
                                           "/sys/fs/cgroup/devices",
                                           "/sys/fs/cgroup/freezer",
                                           "/sys/fs/cgroup/blkio",
                                           "/sys/fs/cgroup/pids",
                                           "/sys/fs/cgroup/systemd",
                                           "/sys/fs/cgroup/hugetlb",
                                           "/sys/fs/cgroup/net_cls",
                                           "/sys/fs/cgroup/net_prio",
                                           "/sys/fs/cgroup/perf_event",
                                           "/sys/fs/cgroup/net_cls,net_prio",
                                           "/sys/fs/cgroup/rdma",
                                           "/sys/fs/cgroup/misc"};
static const char *const cgroup_names[] = {"kubepods", "kubepods.slice", "skiff"};

int sweep_processes(const struct layout *l, struct error **err)
{
    struct process_search s = {.l = l};
    int r = dir_each("/proc", find_monitor, &s, err);

    for (size_t i = 0; i < s.pids.n; i++) {
        int64_t pid;

        if (str_to_i64(str_of(s.pids.v[i]), 2, INT32_MAX, &pid) == 0)
            sweep_end((pid_t)pid);
    }
    flag_list_fini(&s.pids);
    for (size_t i = 0; i < ARRAY_LEN(cgroup_roots); i++) {
        for (size_t k = 0; k < ARRAY_LEN(cgroup_names); k++) {
            cleanup_free char *dir = path_join(cgroup_roots[i], cgroup_names[k]);

            if (path_exists(dir))
                (void)dir_each(dir, kill_tree, dir, NULL);
        }
    }
    return r;
}

/* mounts */

static bool below(const char *path, const char *dir)
{
    size_t n = strlen(dir);

    return strncmp(path, dir, n) == 0 && (path[n] == '/' || path[n] == '\0');
}

/* /proc/self/mountinfo field 5, with \040 and the like undone (proc(5)). */
static char *mount_point(struct str line)
{
    struct str field = STR_NULL;
    char *out, *to;

    for (int i = 0; i < 5 && line.p; i++)
        field = str_split(&line, ' ');
    out = to = xmalloc(field.n + 1);
    for (size_t i = 0; i < field.n; i++) {
        if (field.p[i] == '\\' && i + 3 < field.n) {
            *to++ = (char)((field.p[i + 1] - '0') << 6 | (field.p[i + 2] - '0') << 3 |
                           (field.p[i + 3] - '0'));
            i += 3;
        } else {
            *to++ = field.p[i];
        }
    }
    *to = '\0';
    return out;
}

int sweep_mounts(const struct layout *l, struct error **err)
{
    struct flag_list points = {0};
    struct buf text;
    struct str rest;
    int r = file_read("/proc/self/mountinfo", 16 << 20, &text, err);

    if (r < 0)
        return r;
    rest = buf_str(&text);
    while (rest.p) {
        cleanup_free char *at = mount_point(str_split(&rest, '\n'));

        if (below(at, l->data) || below(at, l->run))
            flag_list_add(&points, at);
    }
    buf_fini(&text);
    /* later mounts lie on top of or inside earlier ones */
    for (size_t i = points.n; i > 0; i--) {
        const char *at = points.v[i - 1];

        if (umount2(at, UMOUNT_NOFOLLOW) < 0 && umount2(at, MNT_DETACH | UMOUNT_NOFOLLOW) < 0 &&
            errno != EINVAL && errno != ENOENT)
            r = error_set_errno(err, errno, "unmount %s", at);
    }
    flag_list_fini(&points);
    return r;
}

/* cgroups */

static int remove_group(int dirfd, const char *name, unsigned char type, void *arg)
{
    cleanup_free char *dir = NULL;

    (void)dirfd;
    if (type != 4 /* DT_DIR */)
        return 0;
    dir = path_join(arg, name);
    (void)dir_each(dir, remove_group, dir, NULL);
    (void)rmdir(dir);
    return 0;
}

static int remove_root(const char *dir, struct error **err)
{
    for (int i = 0; i < 50; i++) { /* killed processes leave their cgroup a moment later */
        (void)dir_each(dir, remove_group, (void *)(uintptr_t)dir, NULL);
        if (rmdir(dir) == 0 || errno == ENOENT)
            return 0;
        (void)poll(NULL, 0, 20);
    }
    return error_set_errno(err, errno, "remove cgroup %s", dir);
}

int sweep_cgroups(const struct layout *l, struct error **err)
{
    int r = 0;

    (void)l;
    for (size_t i = 0; i < ARRAY_LEN(cgroup_roots); i++) {
        for (size_t k = 0; k < ARRAY_LEN(cgroup_names); k++) {
            cleanup_free char *dir = path_join(cgroup_roots[i], cgroup_names[k]);

            if (path_exists(dir) && remove_root(dir, err) < 0)
                r = -EBUSY;
        }
    }
    return r;
}

/* files */

static int unlink_dangling(int dirfd, const char *name, unsigned char type, void *arg)
{
    (void)arg;
    if (type == 10 /* DT_LNK */ && faccessat(dirfd, name, F_OK, 0) < 0)
        (void)unlinkat(dirfd, name, 0);
    return 0;
}

/* Directories outside ours: removed whole when they were not there before us, else only what is
 * ours in them. */
static int sweep_shared(const struct layout *l, struct error **err)
{
    static const char *const whole[] = {"/var/log/pods", "/var/log/containers", "/run/flannel",
                                        "/var/lib/kubelet", "/var/lib/kube-proxy"};
    int r = 0;

    for (size_t i = 0; i < ARRAY_LEN(whole) && r == 0; i++)
        if (!found_had(l, whole[i]))
            r = dir_remove_tree(whole[i], err);
    if (r == 0 && path_exists("/var/log/containers"))
        r = dir_each("/var/log/containers", unlink_dangling, NULL, err);
    return r;
}

int sweep_files(const struct layout *l, struct error **err)
{
    int r = sweep_shared(l, err);

    if (r == 0)
        r = dir_remove_tree(l->run, err);
    return r < 0 ? r : dir_remove_tree(l->data, err);
}
