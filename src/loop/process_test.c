#include "loop/process.h"
#include "base/test.h"
#include "base/time.h"
#include <errno.h>
#include <unistd.h>

TEST(runs_and_captures)
{
    const char *argv[] = {"cat", NULL};
    struct error *err = NULL;
    struct buf out;
    buf_init(&out, 1000);
    assert_int_equal(process_run(argv, STR("hello"), 5000, &out, &err), 0);
    assert_string_equal(out.p, "hello");
    buf_fini(&out);
}
TEST(failure_names_program_and_last_line)
{
    const char *argv[] = {"sh", "-c", "echo one >&2; echo two >&2; exit 3", NULL};
    struct error *err = NULL;
    assert_int_equal(process_run(argv, STR_NULL, 5000, NULL, &err), -ECHILD);
    assert_string_equal(error_message(err), "sh: exit status 3: two");
    error_clear(&err);
}
TEST(missing_program)
{
    const char *argv[] = {"/no/such/program", NULL};
    struct error *err = NULL;
    assert_int_equal(process_run(argv, STR_NULL, 5000, NULL, &err), -ENOENT);
    assert_string_equal(error_message(err), "run /no/such/program: No such file or directory");
    error_clear(&err);
}
TEST(deadline_kills_the_group)
{
    const char *argv[] = {"sh", "-c", "sleep 100 & sleep 100", NULL};
    struct error *err = NULL;
    struct mono t = mono_now();
    assert_int_equal(process_run(argv, STR_NULL, 50, NULL, &err), -ETIMEDOUT);
    assert_true(mono_ms_since(t) < 5000);
    error_clear(&err);
}
TEST(output_is_bounded)
{
    const char *argv[] = {"head", "-c", "100000", "/dev/zero", NULL};
    struct error *err = NULL;
    struct buf out;
    buf_init(&out, 1000);
    assert_int_equal(process_run(argv, STR_NULL, 5000, &out, &err), 0);
    assert_int_equal(out.n, 1000);
    buf_fini(&out);
}
TEST(grandchild_holding_the_pipe_does_not_hold_us)
{
    const char *argv[] = {"sh", "-c", "sleep 5 & echo done", NULL};
    struct error *err = NULL;
    struct mono t = mono_now();
    struct buf out;
    buf_init(&out, 1000);
    assert_int_equal(process_run(argv, STR_NULL, 4000, &out, &err), 0);
    assert_string_equal(out.p, "done\n");
    assert_true(mono_ms_since(t) < 3000);
    buf_fini(&out);
}
TEST_MAIN()
