#include "loop/loop.h"
#include "base/test.h"
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

static int order[8], order_n;
static void note(int v)
{
    order[order_n++] = v;
}
struct fixture {
    struct loop *l;
    struct loop_timer t1, t2;
    struct loop_defer d;
    struct loop_post p;
    struct loop_signal s;
    struct loop_child c;
    int status;
};
static void on_t2(struct loop_timer *t)
{
    struct fixture *f = container_of(t, struct fixture, t2);
    note(2);
    loop_exit(f->l, 7);
}
static void on_defer(struct loop_defer *d)
{
    (void)d;
    note(9);
}
static void on_t1(struct loop_timer *t)
{
    struct fixture *f = container_of(t, struct fixture, t1);
    note(1);
    loop_defer_start(f->l, &f->d, on_defer);
    loop_defer_start(f->l, &f->d, on_defer);
    loop_timer_start(f->l, &f->t2, 5, on_t2);
}
TEST(timers_and_defers)
{
    struct fixture f = {.l = loop_new()};
    order_n = 0;
    loop_timer_start(f.l, &f.t1, 1, on_t1);
    assert_true(loop_timer_pending(&f.t1));
    assert_int_equal(loop_run(f.l), 7);
    assert_int_equal(order_n, 3);
    assert_int_equal(order[0], 1);
    assert_int_equal(order[1], 9);
    assert_int_equal(order[2], 2);
    loop_timer_stop(&f.t1);
    loop_timer_stop(&f.t2);
    loop_free(f.l);
}
static int posts;
static void on_post(struct loop_post *p)
{
    posts++;
    loop_post_stop(p);
}
TEST(post_hook_may_remove_itself)
{
    struct fixture f = {.l = loop_new()};
    struct loop_post a = {0}, b = {0};
    posts = 0;
    loop_post_start(f.l, &a, on_post);
    loop_post_start(f.l, &b, on_post);
    loop_run_once(f.l, 0);
    loop_run_once(f.l, 0);
    assert_int_equal(posts, 2);
    loop_free(f.l);
}
static void on_signal(struct loop_signal *s, int signo)
{
    assert_int_equal(signo, SIGUSR1);
    loop_exit(s->loop, 3);
}
TEST(signals)
{
    struct fixture f = {.l = loop_new()};
    loop_signal_start(f.l, &f.s, SIGUSR1, on_signal);
    assert_int_equal(kill(getpid(), SIGUSR1), 0);
    assert_int_equal(loop_run(f.l), 3);
    loop_signal_stop(&f.s);
    loop_free(f.l);
}
static void on_child(struct loop_child *c, int status)
{
    struct fixture *f = container_of(c, struct fixture, c);
    f->status = status;
    loop_exit(f->l, 0);
}
TEST(children)
{
    struct fixture f = {.l = loop_new()};
    pid_t pid = fork();
    if (pid == 0)
        _exit(42);
    assert_int_equal(loop_child_start(f.l, &f.c, pid, on_child), 0);
    (void)loop_run(f.l);
    assert_true(WIFEXITED(f.status));
    assert_int_equal(WEXITSTATUS(f.status), 42);
    loop_free(f.l);
}
TEST_MAIN()
