#include "kubelet/log_rotate.h"
#include "base/cleanup.h"
#include "base/file.h"
#include "base/test.h"
#include <stdlib.h>
static void touch(const char *dir, const char *name)
{
    cleanup_free char *path = path_join(dir, name);
    assert_int_equal(file_write_atomic_nosync(path, 0600, STR("x"), NULL), 0);
}
static bool there(const char *dir, const char *name)
{
    cleanup_free char *path = path_join(dir, name);
    return path_exists(path);
}
TEST(oldest_go_and_others_stay)
{
    char t[] = "/tmp/skiff-logs-XXXXXX";
    const char *dir = mkdtemp(t);
    cleanup_free char *log = path_join(dir, "0.log");
    touch(dir, "0.log");
    touch(dir, "0.log.20260101-000000");
    touch(dir, "0.log.20260103-000000");
    touch(dir, "0.log.20260102-000000");
    touch(dir, "1.log.20250101-000000");
    log_rotate_trim(log, 3);
    assert_true(there(dir, "0.log"));
    assert_false(there(dir, "0.log.20260101-000000"));
    assert_true(there(dir, "0.log.20260102-000000"));
    assert_true(there(dir, "0.log.20260103-000000"));
    assert_true(there(dir, "1.log.20250101-000000"));
    log_rotate_trim(log, 2);
    assert_false(there(dir, "0.log.20260102-000000"));
    assert_int_equal(dir_remove_tree(dir, NULL), 0);
}
TEST_MAIN()
