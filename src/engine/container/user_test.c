#include "engine/container/user.h"
#include "base/cleanup.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/test.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

static int root_with(const char *passwd, const char *group, char dir[static 64])
{
    cleanup_free char *etc = NULL, *p = NULL, *g = NULL;

    (void)snprintf(dir, 64, "/tmp/skiff-user.XXXXXX");
    assert_non_null(mkdtemp(dir));
    etc = path_join(dir, "etc");
    p = path_join(etc, "passwd");
    g = path_join(etc, "group");
    assert_int_equal(dir_make(etc, 0755, NULL), 0);
    if (passwd)
        assert_int_equal(file_write_atomic_nosync(p, 0644, str_of(passwd), NULL), 0);
    if (group)
        assert_int_equal(file_write_atomic_nosync(g, 0644, str_of(group), NULL), 0);
    return open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
}

static const char PASSWD[] =
    "root:x:0:0:root:/root:/bin/sh\nbroken\nweb:x:33:44:www:/var/www:/bin/false\n";
static const char GROUP[] = "root:x:0:\nweb:x:44:\nextra:x:50:other,web\nnone:x:51:\n";

static int resolve(const struct user_spec *spec, struct user *ret)
{
    char dir[64];
    cleanup_close int fd = root_with(PASSWD, GROUP, dir);
    int r = user_resolve(fd, spec, ret, NULL);

    (void)dir_remove_tree(dir, NULL);
    return r;
}

TEST(name_brings_groups_and_home)
{
    struct user u = {0};

    assert_int_equal(resolve(&(struct user_spec){.user = "web"}, &u), 0);
    assert_int_equal(u.uid, 33);
    assert_int_equal(u.gid, 44);
    assert_string_equal(u.home, "/var/www");
    assert_int_equal(u.groups_n, 2);
    assert_int_equal(u.groups[0], 44);
    assert_int_equal(u.groups[1], 50);
    user_fini(&u);
}

TEST(number_of_a_known_user)
{
    struct user u = {0};

    assert_int_equal(resolve(&(struct user_spec){.has_uid = true, .uid = 33}, &u), 0);
    assert_int_equal(u.gid, 44);
    assert_int_equal(u.groups_n, 2);
    user_fini(&u);
}

TEST(number_nobody_has)
{
    struct user u = {0};

    assert_int_equal(resolve(&(struct user_spec){.user = "4711:815"}, &u), 0);
    assert_int_equal(u.uid, 4711);
    assert_int_equal(u.gid, 815);
    assert_null(u.home);
    user_fini(&u);
}

TEST(group_by_name)
{
    struct user u = {0};

    assert_int_equal(resolve(&(struct user_spec){.user = "0:extra"}, &u), 0);
    assert_int_equal(u.uid, 0);
    assert_int_equal(u.gid, 50);
    user_fini(&u);
}

TEST(strict_policy)
{
    int64_t extra[] = {7, 3, 7};
    struct user u = {0};

    assert_int_equal(
        resolve(&(struct user_spec){.user = "web", .extra = extra, .extra_n = 3, .strict = true},
                &u),
        0);
    assert_int_equal(u.groups_n, 3);
    assert_int_equal(u.groups[0], 3);
    assert_int_equal(u.groups[1], 7);
    assert_int_equal(u.groups[2], 44);
    user_fini(&u);
}

TEST(unknown_names)
{
    struct user u = {0};

    assert_int_equal(resolve(&(struct user_spec){.user = "nobody"}, &u), -EINVAL);
    assert_int_equal(resolve(&(struct user_spec){.user = "0:nobody"}, &u), -EINVAL);
}

TEST(no_tables)
{
    char dir[64];
    cleanup_close int fd = root_with(NULL, NULL, dir);
    struct user u = {0};

    assert_int_equal(user_resolve(fd, &(struct user_spec){.user = ""}, &u, NULL), 0);
    assert_int_equal(u.uid, 0);
    (void)dir_remove_tree(dir, NULL);
    user_fini(&u);
}

TEST(link_out_of_the_root)
{
    char dir[64];
    cleanup_close int fd = root_with(NULL, NULL, dir);
    cleanup_free char *link = path_join(dir, "etc/passwd");
    struct user u = {0};

    assert_int_equal(symlink("../../../../../../etc/passwd", link), 0);
    assert_int_equal(user_resolve(fd, &(struct user_spec){.user = "daemon"}, &u, NULL), -EINVAL);
    (void)dir_remove_tree(dir, NULL);
}
TEST_MAIN()
