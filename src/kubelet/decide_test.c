#include "base/test.h"
#include "kubelet/decide.h"
#include "kubelet/pod.h"

#define N(v) (sizeof(v) / sizeof((v)[0]))
static struct pod_view view(const struct container_view *c, size_t n, bool sandbox)
{
    return (struct pod_view){
        .has_sandbox = sandbox, .sandbox_ready = sandbox, .now_ns = 1000, .c = c, .n = n};
}
static void expect(const struct pod_view *v, enum step step, size_t i)
{
    struct decision d = decide(v);

    assert_int_equal(d.step, step);
    if (step == STEP_START || step == STEP_KILL)
        assert_int_equal(d.i, i);
}

TEST(new_pod_wants_a_sandbox)
{
    struct container_view c[] = {{.kind = VIEW_MAIN}};
    struct pod_view v = view(c, 1, false);

    expect(&v, STEP_SANDBOX_CREATE, 0);
    v.sandbox_not_before_ns = 2000;
    expect(&v, STEP_NONE, 0);
    assert_int_equal(decide(&v).wake_ns, 2000);
}

TEST(init_containers_go_one_by_one)
{
    struct container_view c[] = {{.kind = VIEW_INIT}, {.kind = VIEW_INIT}, {.kind = VIEW_MAIN}};
    struct pod_view v = view(c, N(c), true);

    expect(&v, STEP_START, 0);
    c[0] = (struct container_view){
        .kind = VIEW_INIT, .state = VIEW_RUNNING, .in_sandbox = true, .started = true};
    expect(&v, STEP_NONE, 0);
    c[0].state = VIEW_EXITED;
    expect(&v, STEP_START, 1);
    c[1] = c[0];
    expect(&v, STEP_START, 2);
    assert_true(view_initialized(&v));
    c[1].exit_code = 1;
    expect(&v, STEP_START, 1);
    v.policy = VIEW_NEVER;
    expect(&v, STEP_FINISHED, 0);
}

TEST(sidecar_holds_the_next_until_started)
{
    struct container_view c[] = {{.kind = VIEW_SIDECAR, .state = VIEW_RUNNING, .in_sandbox = true},
                                 {.kind = VIEW_MAIN}};
    struct pod_view v = view(c, N(c), true);

    expect(&v, STEP_NONE, 0);
    c[0].started = true;
    expect(&v, STEP_START, 1);
    c[1] = (struct container_view){
        .kind = VIEW_MAIN, .state = VIEW_RUNNING, .in_sandbox = true, .started = true};
    c[0].state = VIEW_EXITED;
    expect(&v, STEP_START, 0); /* restarts while the pod runs */
}

TEST(exits_follow_the_policy)
{
    static const struct {
        enum view_policy policy;
        int code;
        enum step want;
    } t[] = {
        {VIEW_ALWAYS, 0, STEP_START},        {VIEW_ALWAYS, 1, STEP_START},
        {VIEW_ON_FAILURE, 0, STEP_FINISHED}, {VIEW_ON_FAILURE, 1, STEP_START},
        {VIEW_NEVER, 0, STEP_FINISHED},      {VIEW_NEVER, 1, STEP_FINISHED},
    };

    for (size_t i = 0; i < N(t); i++) {
        struct container_view c[] = {
            {.kind = VIEW_MAIN, .state = VIEW_EXITED, .in_sandbox = true, .exit_code = t[i].code}};
        struct pod_view v = view(c, 1, true);

        v.policy = t[i].policy;
        expect(&v, t[i].want, 0);
        c[0].not_before_ns = 5000;
        if (t[i].want == STEP_START)
            assert_int_equal(decide(&v).wake_ns, 5000);
    }
}

TEST(unhealthy_and_changed_are_killed_once)
{
    struct container_view c[] = {{.kind = VIEW_MAIN,
                                  .state = VIEW_RUNNING,
                                  .in_sandbox = true,
                                  .started = true,
                                  .unhealthy = true}};
    struct pod_view v = view(c, 1, true);

    expect(&v, STEP_KILL, 0);
    c[0].being_killed = true;
    expect(&v, STEP_NONE, 0);
    c[0] = (struct container_view){
        .kind = VIEW_MAIN, .state = VIEW_RUNNING, .in_sandbox = true, .changed = true};
    expect(&v, STEP_KILL, 0);
}

TEST(dead_sandbox_is_cleared_before_a_new_one)
{
    struct container_view c[] = {{.kind = VIEW_MAIN, .state = VIEW_RUNNING, .in_sandbox = true}};
    struct pod_view v = view(c, 1, true);

    v.sandbox_ready = false;
    expect(&v, STEP_KILL, 0);
    c[0].being_killed = true;
    expect(&v, STEP_NONE, 0);
    c[0] = (struct container_view){.kind = VIEW_MAIN, .state = VIEW_EXITED, .in_sandbox = true};
    expect(&v, STEP_SANDBOX_CREATE, 0);
    v.policy = VIEW_NEVER; /* a pod that has ended gets none */
    expect(&v, STEP_FINISHED, 0);
}

TEST(new_sandbox_runs_init_again)
{
    struct container_view c[] = {{.kind = VIEW_INIT, .state = VIEW_EXITED},
                                 {.kind = VIEW_MAIN, .state = VIEW_EXITED}};
    struct pod_view v = view(c, 2, true);

    expect(&v, STEP_START, 0);
    c[0].in_sandbox = true;
    expect(&v, STEP_START, 1);
}

TEST(crash_backoff_is_upstreams)
{
    struct crash_backoff b = {0};
    const int64_t s = 1000000000LL, max = 300 * s;
    int64_t t = 1000 * s;
    static const int want[] = {10, 20, 40, 80, 160, 300, 300};

    assert_true(crash_due_ns(&b, t, t, max) < 0); /* the first restart does not wait */
    for (size_t i = 0; i < N(want); i++) {
        crash_next(&b, t, max);
        t += s; /* ran a second */
        assert_int_equal(crash_due_ns(&b, t, t, max), t + want[i] * s);
        t += want[i] * s;
        assert_true(crash_due_ns(&b, t - want[i] * s, t, max) < 0);
    }
    t += 700 * s; /* ran longer than twice the cap: forgotten */
    assert_true(crash_due_ns(&b, t, t, max) < 0);
    crash_next(&b, t, max);
    assert_int_equal(b.delay_ns, 10 * s);
}

TEST_MAIN()
