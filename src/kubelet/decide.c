#include "kubelet/decide.h"
#include "base/time.h"
#include "kubelet/pod.h"

#define CRASH_FIRST_NS (10 * NSEC_PER_SEC)

bool view_restarts(const struct pod_view *v, const struct container_view *c)
{
    switch (c->state) {
    case VIEW_NONE:
    case VIEW_CREATED:
    case VIEW_UNKNOWN:
        return true;
    case VIEW_RUNNING:
        return false;
    case VIEW_EXITED:
        break;
    }
    if (c->kind == VIEW_SIDECAR)
        return true;
    if (c->kind == VIEW_EPHEMERAL)
        return false;
    if (c->kind == VIEW_INIT) /* Always means on failure for what is to end */
        return c->exit_code != 0 && v->policy != VIEW_NEVER;
    return v->policy == VIEW_ALWAYS || (v->policy == VIEW_ON_FAILURE && c->exit_code != 0);
}

/* Main containers that ever ran in this sandbox prove that initialisation was over. */
static bool mains_began(const struct pod_view *v)
{
    for (size_t i = 0; i < v->n; i++)
        if (v->c[i].kind == VIEW_MAIN && v->c[i].in_sandbox && v->c[i].state != VIEW_NONE)
            return true;
    return false;
}

static bool init_passed(const struct container_view *c)
{
    if (!c->in_sandbox)
        return false;
    if (c->kind == VIEW_SIDECAR)
        return c->state == VIEW_RUNNING && c->started;
    return c->state == VIEW_EXITED && c->exit_code == 0;
}

bool view_initialized(const struct pod_view *v)
{
    if (mains_began(v))
        return true;
    for (size_t i = 0; i < v->n; i++)
        if ((v->c[i].kind == VIEW_INIT || v->c[i].kind == VIEW_SIDECAR) && !init_passed(&v->c[i]))
            return false;
    return true;
}

static void wake(struct decision *d, int64_t ns)
{
    if (!d->wake_ns || ns < d->wake_ns)
        d->wake_ns = ns;
}

/* Starting, killing or waiting for one container; true when d holds a step. */
static bool decide_one(const struct pod_view *v, size_t i, struct decision *d)
{
    const struct container_view *c = &v->c[i];

    if (c->being_killed)
        return false;
    if (c->state == VIEW_RUNNING && (!c->in_sandbox || c->unhealthy || c->changed)) {
        *d = (struct decision){.step = STEP_KILL, .i = i};
        return true;
    }
    /* an exit in an earlier sandbox decides nothing but whether the pod still needs one */
    if (c->in_sandbox && !view_restarts(v, c))
        return false;
    if (!c->in_sandbox && c->state == VIEW_EXITED && c->kind != VIEW_INIT && !view_restarts(v, c))
        return false;
    if (c->not_before_ns > v->now_ns) {
        wake(d, c->not_before_ns);
        return false;
    }
    *d = (struct decision){.step = STEP_START, .i = i};
    return true;
}

/* Nothing will ever run again: every main container ended and policy leaves it so, or an init
 * container failed for good. */
static bool finished(const struct pod_view *v)
{
    bool ended = true;

    for (size_t i = 0; i < v->n; i++) {
        const struct container_view *c = &v->c[i];

        if (c->kind == VIEW_INIT && c->state == VIEW_EXITED && c->exit_code != 0 &&
            !view_restarts(v, c))
            return true;
        if (c->kind == VIEW_MAIN && (c->state != VIEW_EXITED || view_restarts(v, c)))
            ended = false;
    }
    return ended;
}

static struct decision decide_sandbox(const struct pod_view *v)
{
    struct decision d = {0};
    bool busy = false;

    for (size_t i = 0; i < v->n; i++) {
        if (v->c[i].state != VIEW_RUNNING)
            continue;
        busy = true;
        if (!v->c[i].being_killed)
            return (struct decision){.step = STEP_KILL, .i = i};
    }
    if (busy)
        return d; /* until they have ended */
    if (v->sandbox_not_before_ns > v->now_ns) {
        wake(&d, v->sandbox_not_before_ns);
        return d;
    }
    return (struct decision){.step = STEP_SANDBOX_CREATE};
}

struct decision decide(const struct pod_view *v)
{
    struct decision d = {0};

    if (finished(v))
        return (struct decision){.step = STEP_FINISHED};
    if (!v->has_sandbox || !v->sandbox_ready)
        return decide_sandbox(v);
    for (size_t i = 0; i < v->n; i++)
        if (v->c[i].kind == VIEW_EPHEMERAL && v->c[i].state == VIEW_NONE && decide_one(v, i, &d))
            return d;
    bool began = mains_began(v);
    for (size_t i = 0; i < v->n; i++) {
        const struct container_view *c = &v->c[i];

        if (c->kind != VIEW_INIT && c->kind != VIEW_SIDECAR)
            continue;
        if (began && c->kind == VIEW_INIT)
            continue;
        if (decide_one(v, i, &d))
            return d;
        if (!began && !init_passed(c))
            return d; /* the others wait for this one */
    }
    for (size_t i = 0; i < v->n; i++)
        if (v->c[i].kind == VIEW_MAIN && decide_one(v, i, &d))
            return d;
    return d;
}

/* ---- back-off ---- */

int64_t crash_due_ns(const struct crash_backoff *b, int64_t finished_ns, int64_t now_ns,
                     int64_t max_ns)
{
    if (!b->delay_ns || finished_ns - b->updated_ns > 2 * max_ns)
        return -1;
    return now_ns - finished_ns >= b->delay_ns ? -1 : finished_ns + b->delay_ns;
}

void crash_next(struct crash_backoff *b, int64_t now_ns, int64_t max_ns)
{
    if (!b->delay_ns || now_ns - b->updated_ns > 2 * max_ns)
        b->delay_ns = CRASH_FIRST_NS < max_ns ? CRASH_FIRST_NS : max_ns;
    else
        b->delay_ns = b->delay_ns * 2 < max_ns ? b->delay_ns * 2 : max_ns;
    b->updated_ns = now_ns;
}
