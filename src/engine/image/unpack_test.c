/* Needs root: owners, devices and trusted xattrs. */
#include "engine/image/unpack.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/test.h"
#include "engine/image/tar_path.h"
#include "engine/image/tar_write_test.h"
#include <archive.h>
#include <errno.h>
#include <fcntl.h>
#include <locale.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

static char top[64];
static struct error *last_error;

__attribute__((constructor)) static void set_locale(void)
{
    (void)setlocale(LC_CTYPE, "C.UTF-8"); /* as the worker does */
}

static int unpack(struct buf *b)
{
    char path[128];
    struct archive *a = archive_read_new();
    struct unpack_result res = {0};

    error_clear(&last_error);
    (void)dir_remove_tree(top, NULL);
    (void)snprintf(path, sizeof(path), "%s/fs", top);
    assert_int_equal(dir_make(path, 0755, NULL), 0);
    int root = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    (void)snprintf(path, sizeof(path), "%s/gone", top);
    assert_int_equal(dir_make(path, 0755, NULL), 0);
    int gone = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    archive_read_support_format_tar(a);
    archive_read_support_format_empty(a);
    int r = archive_read_open_memory(a, b->p, b->n) == ARCHIVE_OK
                ? unpack_tar(a, root, gone, &res, &last_error)
                : -EBADMSG;
    (void)archive_read_free(a);
    (void)close(root);
    (void)close(gone);
    image_strings_fini(&res.implicit);
    buf_fini(b);
    return r;
}

static const char *at(const char *name)
{
    static char path[8192];

    (void)snprintf(path, sizeof(path), "%s/fs/%s", top, name);
    return path;
}

static struct stat look(const char *name)
{
    struct stat st;

    if (lstat(at(name), &st) < 0)
        fail_msg("%s is not there", name);
    return st;
}

static void has_text(const char *name, const char *text)
{
    struct buf b;

    assert_int_equal(file_read(at(name), 4096, &b, NULL), 0);
    assert_string_equal(b.p ? b.p : "", text);
    buf_fini(&b);
}

#define START()                                                                                    \
    struct buf b;                                                                                  \
    if (geteuid() != 0)                                                                            \
        skip();                                                                                    \
    (void)snprintf(top, sizeof(top), "/tmp/img-unpack-%d", (int)getpid());                         \
    buf_init(&b, 1u << 24)
#define ADD(...) tar_add(&b, &(struct tar_entry){__VA_ARGS__})
#define FINISH(expected)                                                                           \
    tar_end(&b);                                                                                   \
    int r_ = unpack(&b);                                                                           \
    if (r_ != (expected))                                                                          \
    fail_msg("got %d: %s", r_, error_message(last_error))
#define CLEAN()                                                                                    \
    error_clear(&last_error);                                                                      \
    (void)dir_remove_tree(top, NULL)

TEST(keeps_attributes)
{
    START();
    ADD("./", .type = '5', .mode = 0711, .mtime = 1000);
    ADD("bin/", .type = '5', .mode = 0750, .uid = 3, .gid = 4, .mtime = 12345);
    ADD("bin/su", .mode = 04755, .uid = 7, .gid = 8, .data = "x", .mtime = 99);
    ADD("bin/su2", .type = '1', .link = "bin/su");
    ADD("bin/l", .type = '2', .link = "/etc/passwd", .uid = 5, .mtime = 77);
    ADD("pipe", .type = '6', .mode = 0600);
    ADD("null", .type = '3', .mode = 0666, .major = 1, .minor = 3);
    ADD("disk", .type = '4', .mode = 0660, .major = 8, .minor = 1);
    ADD("tmp/", .type = '5', .mode = 01777);
    ADD("tmp/a", .data = "hello");
    FINISH(0);
    struct stat st = look("bin/su");
    assert_int_equal(st.st_mode & 07777, 04755);
    assert_int_equal(st.st_uid, 7);
    assert_int_equal(st.st_gid, 8);
    assert_int_equal(st.st_mtime, 99);
    assert_int_equal(look("bin/su2").st_ino, st.st_ino);
    assert_int_equal(look("bin").st_mtime, 12345);
    assert_int_equal(look("bin").st_uid, 3);
    assert_int_equal(look("bin/l").st_uid, 5);
    assert_int_equal(look("bin/l").st_mtime, 77);
    assert_true(S_ISFIFO(look("pipe").st_mode));
    assert_true(S_ISCHR(look("null").st_mode) && look("null").st_rdev == makedev(1, 3));
    assert_true(S_ISBLK(look("disk").st_mode));
    assert_int_equal(look("tmp").st_mode & 07777, 01777);
    assert_int_equal(look("").st_mtime, 1000);
    has_text("tmp/a", "hello");
    CLEAN();
}

TEST(climbing_names_are_refused)
{
    const char *const names[] = {"../x", "a/../../x", "/../x", "..", "./../x"};

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        START();
        ADD(names[i], .data = "evil");
        FINISH(-EBADMSG);
        assert_non_null(strstr(error_message(last_error), "outside"));
        CLEAN();
    }
}

TEST(absolute_names_stay_inside)
{
    START();
    ADD("/img-abs/file", .data = "in");
    FINISH(0);
    has_text("img-abs/file", "in");
    assert_int_equal(access("/img-abs", F_OK), -1);
    CLEAN();
}

TEST(symbolic_links_do_not_lead_out)
{
    char outside[128];
    START();
    (void)snprintf(outside, sizeof(outside), "/tmp/img-outside-%d", (int)getpid());
    assert_int_equal(dir_make(outside, 0755, NULL), 0);
    ADD("out", .type = '2', .link = outside);
    ADD("up", .type = '2', .link = "../../../../..");
    ADD("out/evil", .data = "x");
    FINISH(-EEXIST); /* the link's target does not exist below the root, and the link is no
                        directory */
    char evil[192];
    (void)snprintf(evil, sizeof(evil), "%s/evil", outside);
    assert_int_equal(access(evil, F_OK), -1);
    (void)rmdir(outside);
    CLEAN();
}

TEST(parent_links_resolve_at_the_root)
{
    START();
    ADD("usr/", .type = '5');
    ADD("usr/lib/", .type = '5');
    ADD("lib", .type = '2', .link = "/usr/lib");
    ADD("up", .type = '2', .link = "../../../..");
    ADD("lib/a.so", .data = "1");
    ADD("up/b", .data = "2");
    FINISH(0);
    has_text("usr/lib/a.so", "1");
    has_text("b", "2");
    CLEAN();
}

TEST(file_over_link_replaces_the_link)
{
    char outside[128];
    START();
    (void)snprintf(outside, sizeof(outside), "/tmp/img-victim-%d", (int)getpid());
    assert_int_equal(file_write_atomic_nosync(outside, 0644, STR("mine"), NULL), 0);
    ADD("f", .type = '2', .link = outside);
    ADD("f", .data = "theirs");
    FINISH(0);
    has_text("f", "theirs");
    struct buf v;
    assert_int_equal(file_read(outside, 100, &v, NULL), 0);
    assert_string_equal(v.p, "mine");
    buf_fini(&v);
    (void)unlink(outside);
    CLEAN();
}

TEST(hard_links_do_not_lead_out)
{
    START();
    ADD("shadow", .type = '1', .link = "../../../../../etc/shadow");
    FINISH(-EBADMSG);
    buf_init(&b, 1u << 20);
    ADD("shadow", .type = '1', .link = "/etc/shadow");
    tar_end(&b);
    assert_int_equal(unpack(&b), -ENOENT);
    buf_init(&b, 1u << 20);
    ADD("e", .type = '2', .link = "/etc");
    ADD("shadow", .type = '1', .link = "e/shadow");
    tar_end(&b);
    assert_int_equal(unpack(&b), -ENOENT);
    CLEAN();
}

TEST(whiteouts_become_overlays)
{
    char value[8];
    START();
    ADD("a/", .type = '5');
    ADD("a/.wh.gone", .data = "");
    ADD("o/", .type = '5');
    ADD("o/.wh..wh..opq", .data = "");
    ADD("o/new", .data = "n");
    ADD(".wh..wh.plnk/", .type = '5');
    ADD(".wh.d", .data = "");
    ADD("d/", .type = '5');
    ADD("d/inner", .data = "i");
    ADD("kept/", .type = '5');
    ADD(".wh.kept", .data = "");
    ADD(".wh.e", .data = "");
    ADD("e/sub/file", .data = "s");
    FINISH(0);
    struct stat st = look("a/gone");
    assert_true(S_ISCHR(st.st_mode) && st.st_rdev == 0);
    const char *const opaque[] = {"o", "d", "kept", "e"};
    for (size_t i = 0; i < 4; i++)
        if (getxattr(at(opaque[i]), "trusted.overlay.opaque", value, sizeof(value)) != 1 ||
            value[0] != 'y')
            fail_msg("%s is not opaque", opaque[i]);
    has_text("d/inner", "i");
    has_text("e/sub/file", "s");
    assert_int_equal(access(at(".wh..wh.plnk"), F_OK), -1);
    CLEAN();
}

TEST(hostile_whiteout_names)
{
    START();
    ADD(".wh.", .data = "");
    ADD(".wh..", .data = "");
    ADD(".wh...", .data = "");
    ADD("x/.wh...", .data = "");
    FINISH(0);
    CLEAN();
}

TEST(extended_attributes)
{
    char value[64];
    START();
    tar_pax(&b, "SCHILY.xattr.user.colour", "blue");
    ADD("f", .data = "x");
    tar_pax(&b, "SCHILY.xattr.trusted.overlay.redirect", "/etc");
    ADD("dir/", .type = '5');
    FINISH(0);
    assert_int_equal(getxattr(at("f"), "user.colour", value, sizeof(value)), 4);
    assert_int_equal(getxattr(at("dir"), "trusted.overlay.redirect", value, sizeof(value)), -1);
    CLEAN();
}

TEST(replacing_and_repeating)
{
    START();
    ADD("d/", .type = '5');
    ADD("d/x", .data = "1");
    ADD("d", .data = "now a file");
    ADD("e", .data = "a file");
    ADD("e/", .type = '5');
    ADD("e/y", .data = "2");
    ADD("f", .data = "first");
    ADD("f", .data = "second");
    ADD("self", .data = "z");
    ADD("self", .type = '1', .link = "self");
    FINISH(0);
    has_text("d", "now a file");
    has_text("e/y", "2");
    has_text("f", "second");
    has_text("self", "z");
    CLEAN();
}

TEST(long_and_odd_names)
{
    char longname[3000];
    START();
    memset(longname, 0, sizeof(longname));
    for (size_t i = 0; i < 2790; i++)
        longname[i] = i % 200 == 199 ? '/' : 'n';
    tar_pax(&b, "path", longname);
    ADD("short", .data = "deep");
    tar_pax(&b, "path", "umlaut-\xc3\xa4");
    ADD("short2", .data = "u");
    ADD("bytes-\xff\xfe", .data = "v");
    FINISH(0);
    has_text("umlaut-\xc3\xa4", "u");
    has_text("bytes-\xff\xfe", "v");
    CLEAN();
}

TEST(truncated_and_garbage)
{
    START();
    ADD("f", .data = "some text that is cut off");
    b.n -= 500;
    assert_int_equal(unpack(&b), -EBADMSG);
    buf_init(&b, 1u << 20);
    for (int i = 0; i < 2000; i++)
        (void)buf_add_char(&b, (char)(i * 7 + 1));
    assert_int_equal(unpack(&b), -EBADMSG);
    buf_init(&b, 1u << 20);
    tar_end(&b);
    assert_int_equal(unpack(&b), 0);
    CLEAN();
}

TEST(names_are_cleaned)
{
    const struct {
        const char *in, *out;
    } good[] = {{"./a", "a"}, {"/a//b/", "a/b"}, {"a/./b/../c", "a/c"}, {"", ""},
                {"./", ""},   {"a/..", ""},      {"a/b/../../c", "c"}};
    char out[TAR_PATH_MAX], big[5000];

    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        assert_int_equal(tar_path_clean(good[i].in, out), 0);
        assert_string_equal(out, good[i].out);
    }
    memset(big, 'a', sizeof(big));
    big[300] = 0;
    assert_int_equal(tar_path_clean(big, out), -ENAMETOOLONG);
    for (size_t i = 0; i < sizeof(big); i++)
        big[i] = i % 2 ? '/' : 'a';
    big[sizeof(big) - 1] = 0;
    assert_int_equal(tar_path_clean(big, out), -ENAMETOOLONG);
}

TEST_MAIN()
