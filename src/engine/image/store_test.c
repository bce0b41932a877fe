/* The store over a data root written by hand: look-up, names, removal, leftovers. Root is not
 * needed. */
#include "base/file.h"
#include "base/mem.h"
#include "base/sha256.h"
#include "base/test.h"
#include "engine/image/store_private.h"
#include <errno.h>
#include <sys/stat.h>

static char root[64];
static struct loop *loop;
static struct image_store *store;

static void put(const char *dir, const char *name, const char *text)
{
    cleanup_free char *path = xasprintf("%s/%s/%s", root, dir, name);

    assert_int_equal(dir_make_parent(path, 0755, NULL), 0);
    assert_int_equal(file_write_atomic_nosync(path, 0600, str_of(text), NULL), 0);
}

/* An image of one layer; tag and config make it differ. Returns the hex of its ID, owned. */
static char *put_image(const char *names, const char *label, char layer_digit, const char *loaded)
{
    char diff[65], hex[SHA256_HEX];

    memset(diff, layer_digit, 64);
    diff[64] = 0;
    cleanup_free char *config = xasprintf(
        "{\"config\":{\"Labels\":{\"l\":\"%s\"}},\"rootfs\":{\"diff_ids\":[\"sha256:%s\"]}}", label,
        diff);
    sha256_hex(config, strlen(config), hex);
    put("images/blobs", hex, config);
    cleanup_free char *layer = xasprintf("layers/%s", diff), *file = xasprintf("%s.json", hex);
    cleanup_free char *boot = image_boot_id(),
                      *lj = xasprintf("{\"size\":100,\"inodes\":3,\"boot\":\"%s\"}", boot);
    put(layer, "layer.json", lj);
    cleanup_free char *rec =
        xasprintf("{\"id\":\"sha256:%s\",\"names\":[%s],\"digests\":[],\"layers\":[\"%s\"],"
                  "\"diffIDs\":[\"sha256:%s\"],\"loadedAt\":\"%s\"}",
                  hex, names, diff, diff, loaded);
    put("images", file, rec);
    return xstrdup(hex);
}

static void begin(void)
{
    (void)snprintf(root, sizeof(root), "/tmp/skiff-store-test-%d", (int)getpid());
    (void)dir_remove_tree(root, NULL);
    loop = loop_new();
}

static void open_store(void)
{
    struct image_config cfg = {.data_root = root, .worker_path = (char *)"/nonexistent"};
    struct error *err = NULL;

    if (image_store_open(loop, &cfg, &store, &err) < 0)
        fail_msg("%s", error_message(err));
}

static void end(void)
{
    image_store_close(store);
    loop_free(loop);
    store = NULL;
    (void)dir_remove_tree(root, NULL);
}

static bool has(const char *dir, const char *name)
{
    cleanup_free char *path = xasprintf("%s/%s/%s", root, dir, name);

    return path_exists(path);
}

TEST(look_up)
{
    begin();
    cleanup_free char *a =
        put_image("\"docker.io/library/nginx:1.7.9\",\"docker.io/library/nginx:latest\"", "a", 'a',
                  "2026-01-01T00:00:00Z");
    open_store();
    const struct image *im = image_get(store, "nginx");
    assert_non_null(im);
    assert_string_equal(im->id + 7, a);
    assert_ptr_equal(image_get(store, "nginx:1.7.9"), im);
    assert_ptr_equal(image_get(store, "docker.io/library/nginx:1.7.9"), im);
    assert_ptr_equal(image_get(store, im->id), im);
    assert_ptr_equal(image_get(store, a), im);
    char prefix[13];
    (void)snprintf(prefix, sizeof(prefix), "%s", a);
    assert_ptr_equal(image_get(store, prefix), im);
    assert_null(image_get(store, "nginx:1.8"));
    assert_null(image_get(store, ""));
    assert_null(image_get(store, "sha256:"));
    assert_null(image_get(store, "abc"));
    assert_int_equal(im->size_bytes, 100);
    end();
}

TEST(names_move_and_images_go)
{
    struct image_strings untagged = {0}, deleted = {0};
    begin();
    cleanup_free char *a = put_image("\"docker.io/library/x:1\"", "a", 'a', "2026-01-01T00:00:00Z");
    cleanup_free char *b = put_image("\"docker.io/library/x:2\"", "b", 'a', "2026-02-01T00:00:00Z");
    cleanup_free char *hex = xasprintf("%064d", 0), *layer = NULL;
    open_store();
    assert_string_equal(image_at(store, 0)->id + 7, b); /* newest first */
    assert_int_equal(image_tag(store, "x:2", "x:1", NULL), 0);
    assert_string_equal(image_get(store, "x:1")->id + 7, b);
    assert_int_equal(image_get(store, a)->repo_tags.n, 0);
    assert_int_equal(image_tag(store, "x:2", "UPPER", NULL), -EINVAL);
    assert_int_equal(image_tag(store, "nope", "y", NULL), -ENOENT);
    assert_int_equal(image_remove(store, b, IMAGE_REMOVE_UNTAG, NULL, NULL, NULL),
                     -EBUSY); /* two names */
    assert_int_equal(image_remove(store, "x:1", IMAGE_REMOVE_UNTAG, &untagged, &deleted, NULL), 0);
    assert_int_equal(untagged.n, 1);
    assert_int_equal(deleted.n, 0);
    layer = xasprintf("%s", hex);
    memset(layer, 'a', 64);
    assert_int_equal(image_remove(store, "x:2", 0, &untagged, &deleted, NULL), 0);
    assert_true(has("layers", layer)); /* the other image has it too */
    assert_false(has("images/blobs", b));
    image_strings_fini(&deleted);
    assert_int_equal(image_remove(store, a, 0, NULL, &deleted, NULL), 0);
    assert_int_equal(deleted.n, 2);
    assert_false(has("layers", layer));
    assert_null(image_at(store, 0));
    assert_int_equal(image_remove(store, a, 0, NULL, NULL, NULL), -ENOENT);
    image_strings_fini(&untagged);
    image_strings_fini(&deleted);
    end();
}

static bool always(const char *id, void *arg)
{
    return true;
}

TEST(in_use_and_pinned)
{
    begin();
    cleanup_free char *a = put_image("\"docker.io/library/x:1\"", "a", 'a', "2026-01-01T00:00:00Z");
    open_store();
    image_store_set_in_use(store, always, NULL);
    assert_int_equal(image_remove(store, "x:1", IMAGE_REMOVE_FORCE, NULL, NULL, NULL), -EBUSY);
    image_store_set_in_use(store, NULL, NULL);
    assert_int_equal(image_pin(store, "x:1", true, NULL), 0);
    assert_int_equal(image_remove(store, "x:1", 0, NULL, NULL, NULL), -EBUSY);
    image_store_close(store);
    open_store();
    assert_true(image_get(store, a)->pinned);
    end();
}

TEST(leftovers_and_damage)
{
    begin();
    cleanup_free char *a = put_image("\"docker.io/library/x:1\"", "a", 'a', "2026-01-01T00:00:00Z");
    cleanup_free char *b = put_image("\"docker.io/library/x:1\"", "b", 'b', "2026-02-01T00:00:00Z");
    cleanup_free char *c = put_image("\"docker.io/library/y:1\"", "c", 'c', "2026-02-01T00:00:00Z");
    char layer[65];
    assert_non_null(c);
    memset(layer, 'c', 64);
    layer[64] = 0;
    cleanup_free char *gone = xasprintf("%s/layers/%s/layer.json", root, layer);
    assert_int_equal(unlink(gone), 0); /* y lost its layer */
    put("tmp/half", "file", "x");
    put("images/blobs", "0123", "nobody's");
    put("images", "cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc.json",
        "{\"id\":");
    memset(layer, 'd', 64);
    cleanup_free char *orphan = xasprintf("layers/%s", layer);
    put(orphan, "layer.json", "{\"size\":1,\"boot\":\"another\"}");
    open_store();
    assert_string_equal(image_get(store, "x:1")->id + 7,
                        b); /* of two that claim a name the newer has it */
    assert_null(image_get(store, "y:1"));
    assert_false(has("tmp", "half"));
    assert_false(has("images/blobs", "0123"));
    assert_false(has("layers", layer));
    assert_int_equal(image_get(store, a)->repo_tags.n, 0);
    struct image_store *second;
    struct image_config cfg = {.data_root = root};
    assert_int_equal(image_store_open(loop, &cfg, &second, NULL), -EWOULDBLOCK);
    end();
}

TEST(no_worker_is_one_sentence)
{
    struct error *err = NULL;
    begin();
    open_store();
    assert_int_equal(image_pull(store, "nginx", NULL, NULL, NULL, NULL, NULL, &err), -ENOENT);
    assert_non_null(strstr(error_message(err), "skiff-worker not found"));
    error_clear(&err);
    assert_int_equal(image_pull(store, "a//b", NULL, NULL, NULL, NULL, NULL, &err), -EINVAL);
    error_clear(&err);
    assert_int_equal(
        image_pull(store, "a", &(struct image_auth){.auth = "!!"}, NULL, NULL, NULL, NULL, &err),
        -EINVAL);
    error_clear(&err);
    end();
}

TEST(daemon_json)
{
    struct image_config c = {0};
    struct error *err = NULL;
    begin();
    put("etc", "daemon.json",
        "{\"registry-mirrors\":[\"https://a.example/\",\"b.example\",\"ftp://"
        "c\"],\"insecure-registries\":[\"d:5000\"],"
        "\"max-concurrent-downloads\":10,\"exec-opts\":[\"x\"]}");
    put("etc", "bad.json", "{\"registry-mirrors\":7}");
    cleanup_free char *good = path_join(root, "etc/daemon.json"),
                      *bad = path_join(root, "etc/bad.json");
    assert_int_equal(image_config_read_daemon_json(&c, "/nonexistent/x", &err), 0);
    assert_int_equal(image_config_read_daemon_json(&c, good, &err), 0);
    assert_int_equal(c.mirrors.n, 1);
    assert_string_equal(c.insecure.v[0], "d:5000");
    assert_int_equal(c.downloads_max, 10);
    assert_int_equal(image_config_read_daemon_json(&c, bad, &err), -EINVAL);
    error_clear(&err);
    image_config_fini(&c);
    end();
}

TEST_MAIN()
