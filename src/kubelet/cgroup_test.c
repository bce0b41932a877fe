/* cgroups: which hierarchies there are, what a pod gets, and making one on this machine. */
#include "kubelet/cgroup.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/test.h"
#include "kubelet/dns.h"
#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- the rest of the kubelet ---- */

void pod_event(struct pod *p, const struct container *c, const char *type, const char *reason,
               const char *fmt, ...)
{
}

bool pod_host_network(const struct pod *p)
{
    return false;
}

struct container *pod_container(struct pod *p, const char *name)
{
    return NULL;
}

char *pod_cgroup_parent(struct arena *a, struct pod *p)
{
    return arena_strdup(a, "");
}

/* ---- numbers ---- */

static struct cgroup_limits limits_of(const char *containers, const struct kubelet_config *cfg)
{
    cleanup_free char *json = xasprintf("{\"containers\":[%s]}", containers);
    struct error *err = NULL;
    struct cgroup_limits l;
    struct arena a;
    void *spec = NULL;

    arena_init(&a, 0);
    if (object_decode_json(&k8s__pod_spec__descriptor, str_of(json), OBJECT_STRICT, &a, &spec,
                           &err) < 0)
        fail_msg("%s", error_message(err));
    l = cgroup_pod_limits(spec, cfg);
    arena_fini(&a);
    return l;
}

TEST(what_a_pod_gets)
{
    struct kubelet_config cfg = {
        .cpu_cfs_quota = true, .cpu_cfs_period_ns = 100 * NSEC_PER_MSEC, .pod_pids_limit = 1000};
    struct cgroup_limits l = limits_of("{\"name\":\"a\"}", &cfg);

    assert_int_equal(l.shares, 2);
    assert_true(l.quota_us <= 0 && l.memory <= 0);
    assert_int_equal(l.pids, 1000);
    l = limits_of(
        "{\"name\":\"a\",\"resources\":{\"limits\":{\"cpu\":\"500m\",\"memory\":\"64Mi\"}}}", &cfg);
    assert_int_equal(l.shares, 512);
    assert_int_equal(l.quota_us, 50000);
    assert_int_equal(l.period_us, 100000);
    assert_int_equal(l.memory, 64 << 20);
    /* one container without a limit: the pod has none */
    l = limits_of("{\"name\":\"a\",\"resources\":{\"requests\":{\"cpu\":\"250m\"}}},"
                  "{\"name\":\"b\",\"resources\":{\"limits\":{\"cpu\":\"1\",\"memory\":\"1Gi\"}}}",
                  &cfg);
    assert_int_equal(l.shares, 1280);
    assert_true(l.quota_us <= 0 && l.memory <= 0);
    cfg.cpu_cfs_quota = false;
    l = limits_of(
        "{\"name\":\"a\",\"resources\":{\"limits\":{\"cpu\":\"500m\",\"memory\":\"64Mi\"}}}", &cfg);
    assert_true(l.quota_us <= 0);
}

/* ---- hierarchies ---- */

TEST(both_versions_side_by_side)
{
    static const char text[] =
        "22 1 8:1 / / rw - ext4 /dev/sda1 rw\n"
        "30 22 0:26 / /sys/fs/cgroup rw shared:4 - tmpfs tmpfs rw,mode=755\n"
        "31 30 0:27 / /sys/fs/cgroup/unified rw shared:5 - cgroup2 cgroup2 rw\n"
        "32 30 0:28 / /sys/fs/cgroup/cpu,cpuacct rw shared:6 - cgroup cgroup rw,cpu,cpuacct\n"
        "33 30 0:29 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
        "34 30 0:30 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd\n"
        "35 30 0:29 / /mnt/memory rw - cgroup cgroup rw,memory\n";
    struct cgroup_mounts m;

    cgroup_mounts_parse(STR(text), &m);
    assert_int_equal(m.n, 5);
    assert_true(m.v[0].v2);
    assert_string_equal(m.v[1].path, "/sys/fs/cgroup/cpu,cpuacct");
    assert_int_equal(m.v[1].controllers, CGROUP_CPU | CGROUP_CPUACCT);
    assert_int_equal(m.v[2].controllers, CGROUP_MEMORY);
    assert_int_equal(m.v[3].controllers, 0);
    assert_int_equal(m.v[4].controllers, 0);
    cgroup_mounts_fini(&m);
    cgroup_mounts_parse(STR("31 30 0:27 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate\n"),
                        &m);
    assert_int_equal(m.n, 1);
    assert_true(m.v[0].v2);
    cgroup_mounts_fini(&m);
    cgroup_mounts_parse(STR("garbage\n\n - cgroup\n"), &m);
    cgroup_mounts_fini(&m);
}

static void expect(const struct cgroup_mounts *m, unsigned controller, const char *cgroup,
                   const char *knob, const char *value)
{
    for (size_t i = 0; i < m->n; i++) {
        cleanup_free char *path = xasprintf("%s%s/%s", m->v[i].path, cgroup, knob);
        struct buf b;

        if (!(m->v[i].controllers & controller))
            continue;
        assert_int_equal(file_read(path, 4096, &b, NULL), 0);
        assert_true(str_eq_z(str_trim(buf_str(&b)), value));
        buf_fini(&b);
    }
}

TEST(made_and_removed_on_this_machine)
{
    cleanup_free char *top = xasprintf("/skiff-cgroup-test-%d", (int)getpid());
    cleanup_free char *pod = path_join(top, "burstable/podx");
    struct cgroup_limits l = {
        .shares = 512, .quota_us = 50000, .period_us = 100000, .memory = 64 << 20, .pids = 100};
    struct cgroup_mounts m;
    struct error *err = NULL;
    struct buf b;

    assert_int_equal(file_read("/proc/self/mountinfo", 1 << 24, &b, NULL), 0);
    cgroup_mounts_parse(buf_str(&b), &m);
    buf_fini(&b);
    if (!m.n || cgroup_make(&m, pod, &l, &err) < 0) {
        print_message("no cgroups can be made here: %s\n", error_message(err));
    } else {
        expect(&m, CGROUP_CPU, pod, "cpu.shares", "512");
        expect(&m, CGROUP_CPU, pod, "cpu.cfs_quota_us", "50000");
        expect(&m, CGROUP_MEMORY, pod, "memory.limit_in_bytes", "67108864");
        expect(&m, CGROUP_PIDS, pod, "pids.max", "100");
        assert_int_equal(cgroup_make(&m, pod, &l, NULL), 0); /* again */
    }
    error_clear(&err);
    assert_int_equal(cgroup_dirs_remove(&m, top, &err), 0);
    for (size_t i = 0; i < m.n; i++) {
        cleanup_free char *dir = path_join(m.v[i].path, top);

        assert_false(path_exists(dir));
    }
    cgroup_mounts_fini(&m);
}

TEST_MAIN()
