#include "base/file.h"
#include "base/test.h"
#include "base/cleanup.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
static char *make_tmp(char *t)
{
    char *d = mkdtemp(t);
    assert_non_null(d);
    return d;
}
TEST(atomic_write_and_read)
{
    char t[] = "/tmp/skiff-file-XXXXXX";
    char *d = make_tmp(t);
    cleanup_free char *f = path_join(d, "a/b/c");
    struct error *err = NULL;
    struct buf b;
    struct stat st;
    assert_int_equal(dir_make_parent(f, 0755, &err), 0);
    assert_int_equal(file_write_atomic(f, 0600, STR("data"), &err), 0);
    assert_int_equal(stat(f, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(file_read(f, 4, &b, &err), 0);
    assert_string_equal(b.p, "data");
    buf_fini(&b);
    assert_int_equal(file_read(f, 3, &b, &err), -EFBIG);
    error_clear(&err);
    assert_int_equal(dir_remove_tree(d, &err), 0);
    assert_false(path_exists(d));
    assert_int_equal(dir_remove_tree(d, &err), 0);
}
TEST(remove_does_not_follow_links)
{
    char t[] = "/tmp/skiff-file-XXXXXX", k[] = "/tmp/skiff-keep-XXXXXX";
    char *d = make_tmp(t), *keep = make_tmp(k);
    cleanup_free char *link = path_join(d, "link"), *file = path_join(keep, "file");
    struct error *err = NULL;
    assert_int_equal(file_write_atomic(file, 0600, STR("x"), &err), 0);
    assert_int_equal(symlink(keep, link), 0);
    assert_int_equal(dir_remove_tree(d, &err), 0);
    assert_true(path_exists(file));
    assert_int_equal(dir_remove_tree(keep, &err), 0);
}
TEST(open_in_root_cannot_escape)
{
    char t[] = "/tmp/skiff-file-XXXXXX";
    char *d = make_tmp(t);
    cleanup_free char *link = path_join(d, "link");
    int root = open(d, O_PATH | O_DIRECTORY | O_CLOEXEC);
    struct error *err = NULL;
    assert_int_equal(symlink("/etc", link), 0);
    assert_int_equal(open_in_root(root, "link/passwd", O_RDONLY, 0), -ENOENT);
    assert_int_equal(open_in_root(root, "../../../etc/passwd", O_RDONLY, 0), -ENOENT);
    (void)close(root);
    assert_int_equal(dir_remove_tree(d, &err), 0);
}
TEST(lock_names_holder)
{
    char t[] = "/tmp/skiff-file-XXXXXX";
    char *d = make_tmp(t);
    cleanup_free char *f = path_join(d, "lock");
    struct error *err = NULL;
    int a, b;
    assert_int_equal(file_lock_pid(f, &a, &err), 0);
    assert_int_equal(file_lock_pid(f, &b, &err), -EWOULDBLOCK);
    assert_non_null(strstr(error_message(err), "held by process"));
    error_clear(&err);
    (void)close(a);
    assert_int_equal(dir_remove_tree(d, &err), 0);
}
TEST_MAIN()
