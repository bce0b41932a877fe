/* Volumes: what files they hold, how content changes, what a subPath can reach, what is left after
 * a pod. */
#include "kubelet/volume.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/test.h"
#include "kubelet/refs.h"
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>

/* ---- the rest of the kubelet ---- */

static K8s__ConfigMap *the_map;
static K8s__Secret *the_secret;
static enum ref_state map_state = REF_OK;
static char last_event[512];

enum ref_state refs_config_map(struct pod *p, const char *name, K8s__ConfigMap **ret,
                               const char **err_text)
{
    *ret = the_map;
    *err_text = "connection refused";
    return map_state == REF_OK && !streq(name, "settings") ? REF_MISSING : map_state;
}

enum ref_state refs_secret(struct pod *p, const char *name, K8s__Secret **ret,
                           const char **err_text)
{
    *ret = the_secret;
    return streq(name, "keys") ? REF_OK : REF_MISSING;
}

enum ref_state refs_token(struct pod *p, const char *audience, int64_t seconds, const char **ret,
                          const char **err_text)
{
    *ret = seconds == 3607 ? "token-3607" : "token";
    return REF_OK;
}

int64_t refs_next_ns(struct refs *r, const struct pod *p)
{
    return 0;
}

void pod_kick_at(struct pod *p, int64_t wall_ns)
{
}

const char *pod_ip(const struct pod *p)
{
    return "10.0.0.5";
}

bool pod_host_network(const struct pod *p)
{
    return false;
}

struct container *pod_container(struct pod *p, const char *name)
{
    return NULL;
}

void pod_event(struct pod *p, const struct container *c, const char *type, const char *reason,
               const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(last_event, sizeof(last_event), fmt, ap);
    va_end(ap);
}

/* ---- a pod in a directory of its own ---- */

struct world {
    struct arena a;
    struct kubelet_config cfg;
    struct kubelet k;
    struct pod p;
    char root[64];
};

static void *parse(struct world *w, const ProtobufCMessageDescriptor *d, const char *json)
{
    struct error *err = NULL;
    void *m = NULL;

    if (object_decode_json(d, str_of(json), OBJECT_STRICT, &w->a, &m, &err) < 0)
        fail_msg("%s", error_message(err));
    return m;
}

static void world_init(struct world *w, const char *spec)
{
    memset(w, 0, sizeof(*w));
    arena_init(&w->a, 0);
    (void)snprintf(w->root, sizeof(w->root), "/tmp/skiff-volume-test.XXXXXX");
    assert_non_null(mkdtemp(w->root));
    w->cfg.root_dir = w->root;
    w->k.cfg = &w->cfg;
    w->p.k = &w->k;
    w->p.uid = (char *)(uintptr_t) "u1";
    w->p.ns = (char *)(uintptr_t) "default";
    w->p.name = (char *)(uintptr_t) "web";
    w->p.text = (char *)(uintptr_t) "default/web";
    w->p.api = object_new(&w->a, &k8s__pod__descriptor);
    w->p.api->metadata =
        parse(w, &k8s__object_meta__descriptor, "{\"labels\":{\"b\":\"2\",\"a\":\"1\"}}");
    w->p.api->spec = parse(w, &k8s__pod_spec__descriptor, spec);
    the_map = parse(w, &k8s__config_map__descriptor,
                    "{\"data\":{\"one\":\"1\",\"two\":\"2\"},\"binaryData\":{\"raw\":\"AAE=\"}}");
    the_secret = parse(w, &k8s__secret__descriptor, "{\"data\":{\"password\":\"c2VjcmV0\"}}");
    map_state = REF_OK;
    last_event[0] = '\0';
}

static void world_fini(struct world *w)
{
    volumes_clean(w->root);
    assert_false(path_exists(w->root));
    free(w->p.volume_error);
    arena_fini(&w->a);
}

static void expect(struct world *w, const char *path, const char *content, unsigned mode)
{
    cleanup_free char *full = xasprintf("%s/pods/u1/volumes/%s", w->root, path);
    struct error *err = NULL;
    struct stat st;
    struct buf b;

    if (file_read(full, 1 << 20, &b, &err) < 0)
        fail_msg("%s", error_message(err));
    assert_int_equal(b.n, strlen(content));
    assert_memory_equal(b.p, content, b.n);
    buf_fini(&b);
    assert_int_equal(stat(full, &st), 0);
    assert_int_equal(st.st_mode & 07777, mode);
}

static bool there(struct world *w, const char *path)
{
    cleanup_free char *full = xasprintf("%s/pods/u1/volumes/%s", w->root, path);
    struct stat st;

    return stat(full, &st) == 0;
}

/* Mounts of tests stay inside this process. */
static bool can_mount(void)
{
    static int known = -1;

    if (known < 0)
        known = unshare(CLONE_NEWNS) == 0 && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0;
    if (!known)
        print_message("mounts need privileges; this part is left out\n");
    return known > 0;
}

/* ---- payload ---- */

TEST(paths)
{
    static const char *const bad[] = {"", "/a", "..", "../a", "a/../b", "..data", "..2026", "a/.."};
    static const char *const good[] = {"a", "a/b", ".a", "a..b", "a/.b"};

    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_int_equal(payload_path_check(bad[i], NULL), -EINVAL);
    for (size_t i = 0; i < ARRAY_LEN(good); i++)
        assert_int_equal(payload_path_check(good[i], NULL), 0);
}

TEST(items_choose_keys)
{
    struct world w;
    struct payload l = {0};
    struct error *err = NULL;
    K8s__ConfigMapVolumeSource *s;

    world_init(&w, "{}");
    l.a = &w.a;
    assert_int_equal(payload_config_map(&l, the_map, NULL, 0, 0644, false, &err), 0);
    assert_int_equal(l.n, 3);
    assert_int_equal(l.v[2].data.n, 2);
    s = parse(&w, &k8s__config_map_volume_source__descriptor,
              "{\"items\":[{\"key\":\"one\",\"path\":\"x/./"
              "first\",\"mode\":256},{\"key\":\"none\",\"path\":\"y\"}]}");
    l.n = 0;
    assert_int_equal(payload_config_map(&l, the_map, s->items, s->n_items, 0644, false, &err),
                     -ENOENT);
    assert_string_equal(error_message(err), "configmap references non-existent config key: none");
    error_clear(&err);
    l.n = 0;
    assert_int_equal(payload_config_map(&l, the_map, s->items, s->n_items, 0644, true, &err), 0);
    assert_int_equal(l.n, 1);
    assert_string_equal(l.v[0].path, "x/first");
    assert_int_equal(l.v[0].mode, 0400);
    world_fini(&w);
}

TEST(content_changes_at_once)
{
    struct world w;
    struct payload l = {0};
    char first[128] = "", second[128] = "";
    cleanup_free char *dir = NULL;
    cleanup_free char *data = NULL;
    cleanup_free char *old = NULL;

    world_init(&w, "{}");
    dir = xasprintf("%s/pods/u1/volumes/v", w.root);
    data = path_join(dir, "..data");
    l.a = &w.a;
    assert_int_equal(dir_make(dir, 0755, NULL), 0);
    (void)payload_add(&l, "a/b", STR("one"), 0644, -1, NULL);
    (void)payload_add(&l, "c", STR(""), 0400, -1, NULL);
    assert_int_equal(payload_write(dir, &l, -1, NULL), 1);
    expect(&w, "v/a/b", "one", 0644);
    expect(&w, "v/c", "", 0400);
    assert_true(readlink(data, first, sizeof(first) - 1) > 0);
    assert_int_equal(payload_write(dir, &l, -1, NULL), 0); /* same again */
    assert_true(readlink(data, second, sizeof(second) - 1) > 0);
    assert_string_equal(first, second);
    l.n = 0;
    (void)payload_add(&l, "a/b", STR("two"), 0644, -1, NULL);
    (void)payload_add(&l, "a/d", STR("new"), 0640, -1, NULL);
    assert_int_equal(payload_write(dir, &l, -1, NULL), 1);
    expect(&w, "v/a/b", "two", 0644);
    expect(&w, "v/a/d", "new", 0640);
    assert_false(there(&w, "v/c"));
    old = path_join(dir, first);
    assert_false(path_exists(old)); /* and nothing of the old version stays */
    l.n = 0;
    assert_int_equal(payload_write(dir, &l, -1, NULL), 1);
    assert_false(there(&w, "v/a"));
    world_fini(&w);
}

/* ---- whole volumes ---- */

TEST(volumes_of_a_pod)
{
    struct world w;

    if (!can_mount())
        return;
    world_init(
        &w,
        "{\"securityContext\":{\"fsGroup\":1234},\"containers\":[{\"name\":\"c\"}],\"volumes\":["
        "{\"name\":\"e\",\"emptyDir\":{}},{\"name\":\"m\",\"emptyDir\":{\"medium\":\"Memory\","
        "\"sizeLimit\":\"1Mi\"}},"
        "{\"name\":\"c\",\"configMap\":{\"name\":\"settings\",\"defaultMode\":256}},"
        "{\"name\":\"s\",\"secret\":{\"secretName\":\"keys\"}},"
        "{\"name\":\"d\",\"downwardAPI\":{\"items\":[{\"path\":\"labels\",\"fieldRef\":{"
        "\"fieldPath\":\"metadata.labels\"}}]}},"
        "{\"name\":\"p\",\"projected\":{\"sources\":["
        "{\"serviceAccountToken\":{\"path\":\"token\",\"expirationSeconds\":3607}},"
        "{\"configMap\":{\"name\":\"absent\",\"optional\":true}},"
        "{\"downwardAPI\":{\"items\":[{\"path\":\"namespace\",\"fieldRef\":{\"fieldPath\":"
        "\"metadata.namespace\"}}]}}]}}]}");
    assert_int_equal(volumes_step(&w.p), VOLUMES_READY);
    expect(&w, "kubernetes.io~configmap/c/one", "1", 0440);
    expect(&w, "kubernetes.io~secret/s/password", "secret", 0644);
    expect(&w, "kubernetes.io~downward-api/d/labels", "a=\"1\"\nb=\"2\"", 0644);
    expect(&w, "kubernetes.io~projected/p/token", "token-3607", 0640);
    expect(&w, "kubernetes.io~projected/p/namespace", "default", 0644);
    {
        cleanup_free char *memory =
            xasprintf("%s/pods/u1/volumes/kubernetes.io~empty-dir/m", w.root);
        cleanup_free char *secret = xasprintf("%s/pods/u1/volumes/kubernetes.io~secret/s", w.root);
        struct stat st;

        assert_true(mount_is_point(memory));
        assert_true(mount_is_point(secret));
        assert_int_equal(stat(memory, &st), 0);
        assert_int_equal(st.st_mode & 07777, 02777);
        assert_int_equal(st.st_gid, 1234);
    }
    w.p.volumes_next_ns = 1;
    the_map->data[0]->value = (char *)(uintptr_t) "changed";
    volumes_refresh(&w.p);
    expect(&w, "kubernetes.io~configmap/c/one", "changed", 0440);
    world_fini(&w);
}

TEST(what_is_missing_is_told_once)
{
    struct world w;

    world_init(&w, "{\"containers\":[{\"name\":\"c\"}],\"volumes\":[{\"name\":\"c\",\"configMap\":{"
                   "\"name\":\"absent\"}}]}");
    assert_int_equal(volumes_step(&w.p), VOLUMES_WAIT);
    assert_string_equal(
        last_event, "MountVolume.SetUp failed for volume \"c\" : configmap \"absent\" not found");
    last_event[0] = '\0';
    assert_int_equal(volumes_step(&w.p), VOLUMES_WAIT);
    assert_string_equal(last_event, "");
    map_state = REF_PENDING;
    assert_int_equal(volumes_step(&w.p), VOLUMES_WAIT);
    assert_string_equal(last_event, "");
    world_fini(&w);
    world_init(&w, "{\"containers\":[{\"name\":\"c\"}],\"volumes\":[{\"name\":\"n\",\"nfs\":{"
                   "\"server\":\"s\",\"path\":\"/\"}}]}");
    assert_int_equal(volumes_step(&w.p), VOLUMES_WAIT);
    assert_non_null(strstr(last_event, "volumes nfs are not served by this node"));
    world_fini(&w);
}

TEST(host_paths)
{
    struct world w;
    cleanup_free char *file = NULL;
    cleanup_free char *dir = NULL;
    struct error *err = NULL;

    world_init(&w, "{}");
    file = path_join(w.root, "f");
    dir = path_join(w.root, "a/b");
    assert_int_equal(host_path_check(file, "", NULL), 0);
    assert_int_equal(host_path_check(file, "File", &err), -ENOENT);
    assert_non_null(strstr(error_message(err), "hostPath type check failed"));
    error_clear(&err);
    assert_int_equal(host_path_check(file, "FileOrCreate", NULL), 0);
    assert_int_equal(host_path_check(file, "File", NULL), 0);
    assert_int_equal(host_path_check(file, "Directory", NULL), -ENOTDIR);
    assert_int_equal(host_path_check(dir, "DirectoryOrCreate", NULL), 0);
    assert_int_equal(host_path_check(dir, "Directory", NULL), 0);
    assert_int_equal(host_path_check(dir, "Socket", NULL), -ENOTDIR);
    assert_int_equal(host_path_check("/dev/null", "CharDevice", NULL), 0);
    assert_int_equal(host_path_check("relative", "", NULL), -EINVAL);
    assert_int_equal(host_path_check(dir, "Folder", NULL), -EINVAL);
    world_fini(&w);
}

/* ---- subPath ---- */

static int sub(struct world *w, const char *path)
{
    cleanup_free char *root = path_join(w->root, "vol");
    int fd = -1, r = subpath_open(root, path, &fd, NULL);

    if (fd >= 0)
        (void)close(fd);
    return r;
}

TEST(subpath_stays_inside)
{
    struct world w;
    cleanup_free char *vol = NULL;
    cleanup_free char *made = NULL;
    int dir;
    struct stat st;

    world_init(&w, "{}");
    vol = path_join(w.root, "vol");
    made = path_join(vol, "new/deep");
    assert_int_equal(dir_make(vol, 0755, NULL), 0);
    dir = open(vol, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_int_equal(symlinkat("/etc", dir, "absolute"), 0);
    assert_int_equal(symlinkat("../..", dir, "up"), 0);
    assert_int_equal(symlinkat("new", dir, "inside"), 0);
    assert_int_equal(symlinkat("nowhere", dir, "dangling"), 0);
    (void)close(dir);
    assert_int_equal(sub(&w, "new/deep"), 0);
    assert_int_equal(stat(made, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0755);
    assert_int_equal(sub(&w, "inside/deep"), 0);
    assert_int_equal(sub(&w, "absolute"), -EXDEV);
    assert_int_equal(sub(&w, "absolute/passwd"), -EXDEV);
    assert_int_equal(sub(&w, "up"), -EXDEV);
    assert_int_equal(sub(&w, "up/new"), -EXDEV);
    assert_int_equal(sub(&w, "dangling"), -EEXIST);
    assert_int_equal(sub(&w, "../vol"), -EINVAL);
    assert_int_equal(sub(&w, "/new"), -EINVAL);
    world_fini(&w);
}

TEST(subpath_mounts_follow_and_leave)
{
    struct world w;
    K8s__VolumeMount m = K8S__VOLUME_MOUNT__INIT;
    cleanup_free char *first = NULL;
    cleanup_free char *again = NULL;
    cleanup_free char *kept = NULL;
    bool read_only = true;

    if (!can_mount())
        return;
    world_init(
        &w, "{\"containers\":[{\"name\":\"c\"}],\"volumes\":[{\"name\":\"e\",\"emptyDir\":{}}]}");
    assert_int_equal(volumes_step(&w.p), VOLUMES_READY);
    m.name = (char *)(uintptr_t) "e";
    assert_int_equal(volume_mount_path(&w.p, &m, "logs", &first, &read_only, NULL), 0);
    assert_false(read_only);
    assert_true(mount_is_point(first));
    assert_int_equal(volume_mount_path(&w.p, &m, "logs", &again, &read_only, NULL), 0);
    assert_string_equal(first, again);
    /* a bind mount of a volume that has to survive the pod is unmounted, never emptied */
    kept = path_join(w.root, "pods/u1/volumes/kubernetes.io~empty-dir/e/logs/file");
    assert_int_equal(file_write_atomic_nosync(kept, 0644, STR("x"), NULL), 0);
    assert_int_equal(mount_clear_below(w.root, NULL), 0);
    assert_false(mount_is_point(first));
    assert_true(path_exists(kept));
    world_fini(&w);
}

TEST_MAIN()
