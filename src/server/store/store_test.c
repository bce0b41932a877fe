#include "server/store/store.h"
#include "base/mem.h"
#include "base/test.h"
#include <unistd.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
static char seen[4096];
static void note(struct store_watch *w, const struct store_event *e)
{
    size_t n = strlen(seen);
    (void)w;
    (void)snprintf(seen + n, sizeof seen - n, "%c %s %.*s<%.*s @%d;", "AMD"[e->change], e -> key,
                   STR_FMT(e->value), STR_FMT(e->previous), (int)e -> revision);
}
static void replayed(const struct store_event *e, void *arg)
{
    (void)arg;
    note(NULL, e);
}
TEST(put_get_delete_watch_replay)
{
    struct store *s;
    struct store_watch w = {.fn = note};
    struct buf b;
    uint64_t rev;
    seen[0] = '\0';
    assert_int_equal(store_open(":memory:", &s, NULL), 0);
    assert_int_equal(store_revision(s), 1);
    store_watch_start(s, &w);
    assert_int_equal(store_put(s, "/a/1", STR("x"), STORE_MUST_NOT_EXIST, NULL), 0);
    assert_int_equal(store_put(s, "/a/1", STR("y"), STORE_MUST_NOT_EXIST, NULL), -EEXIST);
    assert_int_equal(store_put(s, "/a/1", STR("y"), 7, NULL), -ESTALE);
    assert_int_equal(store_put(s, "/a/1", STR("y"), 2, NULL), 0);
    assert_int_equal(store_put(s, "/a/2", STR("z"), 5, NULL), -ENOENT);
    buf_init(&b, 100);
    assert_int_equal(store_get(s, "/a/1", &b, &rev, NULL), 0);
    assert_string_equal(b.p, "y");
    assert_int_equal(rev, 3);
    assert_int_equal(store_delete(s, "/a/1", STR("y'"), STORE_ANY, NULL), 0);
    assert_int_equal(store_delete(s, "/a/1", STR("y'"), STORE_ANY, NULL), -ENOENT);
    assert_string_equal(seen, "A /a/1 x< @2;M /a/1 y<x @3;D /a/1 y'<y @4;");
    seen[0] = '\0';
    assert_int_equal(store_replay(s, 2, replayed, NULL), 0);
    assert_string_equal(seen, "M /a/1 y<x @3;D /a/1 y'<y @4;");
    assert_int_equal(store_replay(s, 0, replayed, NULL), -ESTALE);
    store_watch_stop(&w);
    buf_fini(&b);
    store_close(s);
}
static int collect(const char *key, struct str value, uint64_t revision, void *arg)
{
    (void)value;
    (void)revision;
    (void)buf_add_z(arg, key);
    return 0;
}
TEST(lists_page_by_prefix)
{
    struct store *s;
    struct buf b;
    uint64_t n;
    const char *keys[] = {"/pods/a/1", "/pods/a/2", "/pods/b/1", "/podsx/1", "/nodes/1"};
    buf_init(&b, 1000);
    assert_int_equal(store_open(":memory:", &s, NULL), 0);
    for (size_t i = 0; i < 5; i++)
        assert_int_equal(store_put(s, keys[i], STR("v"), STORE_ANY, NULL), 0);
    assert_int_equal(store_list(s, "/pods/", NULL, 2, collect, &b, NULL), 0);
    assert_string_equal(b.p, "/pods/a/1/pods/a/2");
    buf_clear(&b);
    assert_int_equal(store_list(s, "/pods/", "/pods/a/2", 0, collect, &b, NULL), 0);
    assert_string_equal(b.p, "/pods/b/1");
    assert_int_equal(store_count(s, "/pods/", "/pods/a/1", &n, NULL), 0);
    assert_int_equal(n, 2);
    buf_fini(&b);
    store_close(s);
}
TEST(history_is_bounded)
{
    struct store *s;
    char *big = xcalloc(1, 100001);
    memset(big, 'x', 100000);
    assert_int_equal(store_open(":memory:", &s, NULL), 0);
    for (int i = 0; i < 100; i++)
        assert_int_equal(store_put(s, "/k", (struct str){big, 100000}, STORE_ANY, NULL), 0);
    assert_int_equal(store_replay(s, 50, replayed, NULL), -ESTALE);
    assert_int_equal(store_replay(s, 101, replayed, NULL), 0);
    free(big);
    store_close(s);
}
TEST(revision_survives_reopen)
{
    char path[] = "/tmp/skiff-store-XXXXXX";
    struct store *s;
    (void)close(mkstemp(path));
    assert_int_equal(store_open(path, &s, NULL), 0);
    assert_int_equal(store_put(s, "/k", STR("v"), STORE_ANY, NULL), 0);
    store_close(s);
    assert_int_equal(store_open(path, &s, NULL), 0);
    assert_int_equal(store_revision(s), 2);
    assert_int_equal(store_replay(s, 1, replayed, NULL), -ESTALE);
    assert_int_equal(store_replay(s, 2, replayed, NULL), 0);
    store_close(s);
    (void)unlink(path);
    char *wal = xasprintf("%s-wal", path), *shm = xasprintf("%s-shm", path);
    (void)unlink(wal);
    (void)unlink(shm);
    free(wal);
    free(shm);
}
TEST_MAIN()
