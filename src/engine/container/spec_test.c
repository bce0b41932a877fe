#include "engine/container/spec.h"
#include "base/cleanup.h"
#include "base/mem.h"
#include "base/test.h"
#include <errno.h>

struct fixture {
    Runtime__V1__ContainerConfig config;
    Runtime__V1__PodSandboxConfig sandbox;
    Runtime__V1__LinuxContainerConfig lin;
    Runtime__V1__LinuxContainerSecurityContext security;
    Runtime__V1__NamespaceOption namespaces;
    struct image_config_data image;
    struct user user;
    struct spec_input in;
};

static void setup(struct fixture *f)
{
    static char *entrypoint[] = {(char *)"/entry"}, *cmd[] = {(char *)"cmd"},
                *env[] = {(char *)"A=1", (char *)"PATH=/x"};

    *f = (struct fixture){0};
    runtime__v1__container_config__init(&f->config);
    runtime__v1__pod_sandbox_config__init(&f->sandbox);
    runtime__v1__linux_container_config__init(&f->lin);
    runtime__v1__linux_container_security_context__init(&f->security);
    runtime__v1__namespace_option__init(&f->namespaces);
    f->namespaces.pid = RUNTIME__V1__NAMESPACE_MODE__CONTAINER;
    f->security.namespace_options = &f->namespaces;
    f->lin.security_context = &f->security;
    f->config.linux = &f->lin;
    f->image = (struct image_config_data){.user = "",
                                          .workdir = "/w",
                                          .stop_signal = "",
                                          .env = {env, 2},
                                          .entrypoint = {entrypoint, 1},
                                          .cmd = {cmd, 1}};
    f->in = (struct spec_input){.id = "id",
                                .config = &f->config,
                                .sandbox = &f->sandbox,
                                .image = &f->image,
                                .user = &f->user,
                                .sandbox_run = "/none/run",
                                .sandbox_data = "/none/data",
                                .cgroup = "/c/id",
                                .oom_floor = -1000,
                                .nofile_max = UINT64_MAX};
}

static json_t *make(struct fixture *f)
{
    cleanup_buf struct buf text;
    json_t *v = NULL;

    buf_init(&text, 1 << 20);
    assert_int_equal(spec_make(&f->in, &text, NULL), 0);
    assert_int_equal(json_parse(buf_str(&text), 1 << 20, "spec", &v, NULL), 0);
    return v;
}

static void args_are(struct fixture *f, const char *want)
{
    cleanup_json json_t *v = make(f);
    cleanup_free char *got = json_dumps(json_at(v, "process", "args", NULL), JSON_COMPACT);

    assert_string_equal(got, want);
}

TEST(command_and_arguments)
{
    struct fixture f;
    char *command[] = {(char *)"c"}, *args[] = {(char *)"a", (char *)"b"};

    setup(&f);
    args_are(&f, "[\"/entry\",\"cmd\"]");
    f.config.args = args;
    f.config.n_args = 2;
    args_are(&f, "[\"/entry\",\"a\",\"b\"]");
    f.config.command = command;
    f.config.n_command = 1;
    args_are(&f, "[\"c\",\"a\",\"b\"]");
    f.config.n_args = 0;
    args_are(&f, "[\"c\"]");
}

TEST(no_command)
{
    struct fixture f;
    cleanup_buf struct buf text;

    setup(&f);
    buf_init(&text, 1 << 20);
    f.image.entrypoint.n = f.image.cmd.n = 0;
    assert_int_equal(spec_make(&f.in, &text, NULL), -EINVAL);
}

TEST(environment)
{
    struct fixture f;
    Runtime__V1__KeyValue kv = RUNTIME__V1__KEY_VALUE__INIT, *list[] = {&kv};
    cleanup_json json_t *v = NULL;
    cleanup_free char *got = NULL;

    setup(&f);
    kv.key = (char *)"A";
    kv.value = (ProtobufCBinaryData){1, (uint8_t *)(char *)"2"};
    f.config.envs = list;
    f.config.n_envs = 1;
    v = make(&f);
    got = json_dumps(json_at(v, "process", "env", NULL), JSON_COMPACT);
    assert_string_equal(got, "[\"PATH=/x\",\"A=2\",\"HOME=/root\"]");
}

TEST(limits_are_sane)
{
    struct fixture f;
    cleanup_json json_t *v = NULL;
    const json_t *l;

    setup(&f);
    v = make(&f);
    l = json_array_get(json_at(v, "process", "rlimits", NULL), 0);
    assert_int_equal(json_int_or(l, "soft", 0), 1024);
    assert_int_equal(json_int_or(l, "hard", 0), 1048576);
}

TEST(oom_score_is_clamped)
{
    struct fixture f;
    Runtime__V1__LinuxContainerResources r = RUNTIME__V1__LINUX_CONTAINER_RESOURCES__INIT;
    cleanup_json json_t *v = NULL;

    setup(&f);
    r.oom_score_adj = -997;
    f.lin.resources = &r;
    f.in.oom_floor = 0;
    v = make(&f);
    assert_int_equal(json_int_or(json_object_get(v, "process"), "oomScoreAdj", 1), 0);
}

static bool has_namespace(const json_t *v, const char *type, const char *path)
{
    size_t i;
    json_t *n;

    json_array_foreach(json_at(v, "linux", "namespaces", NULL), i,
                       n) if (streq(json_text_or(n, "type", ""),
                                    type)) return streq(json_text_or(n, "path", NULL), path);
    return false;
}

TEST(namespaces)
{
    struct fixture f;
    cleanup_json json_t *own = NULL, *host = NULL;

    setup(&f);
    own = make(&f);
    assert_true(has_namespace(own, "pid", NULL));
    assert_true(has_namespace(own, "network", "/none/run/net"));
    assert_true(has_namespace(own, "ipc", "/none/run/ipc"));
    f.namespaces.network = f.namespaces.pid = f.namespaces.ipc = RUNTIME__V1__NAMESPACE_MODE__NODE;
    host = make(&f);
    assert_false(has_namespace(host, "network", "/none/run/net"));
    assert_int_equal(json_array_size(json_at(host, "linux", "namespaces", NULL)), 1); /* mount */
}

TEST(capabilities)
{
    struct fixture f;
    Runtime__V1__Capability c = RUNTIME__V1__CAPABILITY__INIT;
    char *drop[] = {(char *)"ALL"}, *add[] = {(char *)"net_bind_service"},
         *bad[] = {(char *)"NONSENSE"};
    cleanup_json json_t *v = NULL;
    cleanup_buf struct buf text;

    setup(&f);
    buf_init(&text, 1 << 20);
    c.drop_capabilities = drop;
    c.n_drop_capabilities = 1;
    c.add_capabilities = add;
    c.n_add_capabilities = 1;
    f.security.capabilities = &c;
    v = make(&f);
    assert_int_equal(json_array_size(json_at(v, "process", "capabilities", "bounding", NULL)), 1);
    c.add_capabilities = bad;
    assert_int_equal(spec_make(&f.in, &text, NULL), -EINVAL);
}

TEST(seccomp)
{
    struct fixture f;
    Runtime__V1__SecurityProfile p = RUNTIME__V1__SECURITY_PROFILE__INIT;
    cleanup_json json_t *with = NULL, *without = NULL;

    setup(&f);
    f.security.seccomp = &p;
    with = make(&f);
    assert_string_equal(json_text_at(with, "linux", "seccomp", "defaultAction", NULL),
                        "SCMP_ACT_ERRNO");
    p.profile_type = RUNTIME__V1__SECURITY_PROFILE__PROFILE_TYPE__Unconfined;
    without = make(&f);
    assert_null(json_at(without, "linux", "seccomp", NULL));
}

TEST(mounts_parents_first)
{
    struct fixture f;
    Runtime__V1__Mount deep = RUNTIME__V1__MOUNT__INIT, shallow = RUNTIME__V1__MOUNT__INIT,
                       *list[] = {&deep, &shallow};
    cleanup_json json_t *v = NULL;
    const json_t *mounts;
    size_t n;

    setup(&f);
    deep.container_path = (char *)"/a/b";
    deep.host_path = (char *)"/tmp";
    deep.readonly = true;
    shallow.container_path = (char *)"/a";
    shallow.host_path = (char *)"/";
    f.config.mounts = list;
    f.config.n_mounts = 2;
    v = make(&f);
    mounts = json_object_get(v, "mounts");
    n = json_array_size(mounts);
    assert_string_equal(json_text_or(json_array_get(mounts, n - 2), "destination", ""), "/a");
    assert_string_equal(json_text_or(json_array_get(mounts, n - 1), "destination", ""), "/a/b");
    assert_string_equal(json_string_value(json_array_get(
                            json_object_get(json_array_get(mounts, n - 1), "options"), 2)),
                        "ro");
}
TEST_MAIN()
