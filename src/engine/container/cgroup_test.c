#include "engine/container/cgroup.h"
#include "base/cleanup.h"
#include "base/test.h"

static void path_is(const char *parent, const char *want)
{
    cleanup_free char *got = cgroups_path(parent, "abc");

    assert_string_equal(got, want);
}

TEST(paths)
{
    path_is(NULL, "/skiff/abc");
    path_is("", "/skiff/abc");
    path_is("/", "/abc");
    path_is("/kubepods/pod1", "/kubepods/pod1/abc");
    path_is("kubepods", "/kubepods/abc");
    path_is(
        "kubepods-burstable-podx.slice",
        "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podx.slice/skiff-abc.scope");
    path_is("/kubepods.slice", "/kubepods.slice/skiff-abc.scope");
}

TEST(files)
{
    struct cgroups v1 = {0}, v2 = {.unified = true};
    cleanup_free char *a = cgroups_file(&v1, "memory", "/p", "memory.stat"),
                      *b = cgroups_file(&v2, "memory", "/p", "memory.stat");
    cleanup_free char *c = cgroups_oom_file(&v1, "/p"), *d = cgroups_oom_file(&v2, "/p");

    assert_string_equal(a, "/sys/fs/cgroup/memory/p/memory.stat");
    assert_string_equal(b, "/sys/fs/cgroup/p/memory.stat");
    assert_string_equal(c, "/sys/fs/cgroup/memory/p/memory.oom_control");
    assert_string_equal(d, "/sys/fs/cgroup/p/memory.events");
}

TEST(missing_group)
{
    struct cgroups c;
    struct cgroup_usage u;

    cgroups_detect(&c);
    assert_true(cgroups_read(&c, "/skiff-no-such-group", &u) < 0);
}
TEST_MAIN()
