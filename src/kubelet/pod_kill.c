/* Killing: preStop, then the engine's stop with what is left of the grace period. Containers in
 * parallel; sidecars after the others, in reverse order. */
#include "base/log.h"
#include "base/mem.h"
#include "kubelet/hook.h"
#include "kubelet/pod.h"

#define STOP_MIN_S 2 /* upstream's least grace for what was given any */
#define STOP_RETRY_MS 2000

static void kill_free(struct kill *x)
{
    list_remove(&x->link);
    loop_timer_stop(&x->timer);
    grpc_call_cancel(x->call);
    hook_cancel(x->hook);
    free(x->id);
    free(x->name);
    free(x);
}

void pod_kills_cancel(struct pod *p)
{
    list_for_safe(l, &p->kills)
    {
        kill_free(container_of(l, struct kill, link));
    }
}

struct kill *pod_kill_of(const struct pod *p, const char *id)
{
    list_for(l, &p->kills)
    {
        struct kill *x = container_of(l, struct kill, link);

        if (streq(x->id, id))
            return x;
    }
    return NULL;
}

static void stop_now(struct kill *x);

static void on_retry(struct loop_timer *t)
{
    struct kill *x = container_of(t, struct kill, timer);

    hook_cancel(TAKE(x->hook));
    if (!x->call)
        stop_now(x);
}

static void on_stopped(int code, const char *message, const ProtobufCMessage *reply, void *arg)
{
    struct kill *x = arg;
    struct pod *p = x->pod;

    x->call = NULL;
    if (code != GRPC_OK && code != GRPC_NOT_FOUND) {
        log_warn("kubelet", "stopping a container", "pod", p->text, "container", x->name, "error",
                 message, NULL);
        loop_timer_start(p->k->loop, &x->timer, STOP_RETRY_MS, on_retry);
        return;
    }
    kill_free(x);
    pod_observe(p);
}

static int64_t left_s(const struct kill *x)
{
    int64_t left = (x->deadline_ns - mono_now().ns + NSEC_PER_SEC - 1) / NSEC_PER_SEC;

    return left < 0 ? 0 : left;
}

static void stop_now(struct kill *x)
{
    Runtime__V1__StopContainerRequest q = RUNTIME__V1__STOP_CONTAINER_REQUEST__INIT;
    int64_t s = left_s(x);

    loop_timer_stop(&x->timer);
    if (s < STOP_MIN_S && x->pod->grace_s != 0)
        s = STOP_MIN_S;
    q.container_id = x->id;
    q.timeout = s;
    x->call = grpc_call_start(x->pod->k->cri, CRI_RUNTIME("StopContainer"), &q.base,
                              &runtime__v1__stop_container_response__descriptor, (s + 120) * 1000,
                              on_stopped, x);
}

static void on_hook(const char *failure, void *arg)
{
    struct kill *x = arg;
    struct container *c = pod_container(x->pod, x->name);

    x->hook = NULL;
    if (failure)
        pod_event(x->pod, c, "Warning", "FailedPreStopHook", "PreStopHook failed");
    stop_now(x);
}

void pod_kill_container(struct pod *p, const struct run *r, int64_t grace_s, const char *message)
{
    struct container *c = p->api ? pod_container(p, r->name) : NULL;
    struct kill *x;

    if (pod_kill_of(p, r->id))
        return;
    x = xcalloc(1, sizeof(*x));
    x->pod = p;
    x->id = xstrdup(r->id);
    x->name = xstrdup(r->name);
    x->deadline_ns = mono_now().ns + grace_s * NSEC_PER_SEC;
    list_add_tail(&p->kills, &x->link);
    if (c)
        probers_stop(c);
    pod_event(p, c, "Normal", "Killing", message ? "%s" : "Stopping container %s",
              message ? message : r->name);
    if (c && c->spec->lifecycle && c->spec->lifecycle->prestop && grace_s > 0) {
        x->hook = hook_start(c, x->id, c->spec->lifecycle->prestop, on_hook, x);
        loop_timer_start(p->k->loop, &x->timer, grace_s * 1000, on_retry);
        return;
    }
    stop_now(x);
}

/* Later sidecars and all that is no sidecar go first. */
static bool may_go(struct pod *p, const struct run *r)
{
    struct container *c = p->api ? pod_container(p, r->name) : NULL;
    bool passed = false;

    if (!c || c->kind != CONTAINER_SIDECAR || mono_now().ns >= p->term_deadline_ns)
        return true;
    for (size_t i = 0; i < p->n_containers; i++) {
        struct container *other = p->containers[i];

        if (other == c)
            passed = true;
        else if ((passed || other->kind != CONTAINER_SIDECAR) && container_running(other))
            return false;
    }
    return true;
}

/* A shorter grace period than the one under way: kubectl delete --now. */
static void hurry(struct pod *p)
{
    int64_t end = mono_now().ns + pod_grace_s(p) * NSEC_PER_SEC;

    if (end + NSEC_PER_SEC / 2 > p->term_deadline_ns)
        return;
    p->term_deadline_ns = end;
    list_for(l, &p->kills)
    {
        struct kill *x = container_of(l, struct kill, link);

        if (x->deadline_ns <= end)
            continue;
        x->deadline_ns = end;
        if (x->call) { /* a second stop with less time cuts the first one short */
            grpc_call_cancel(TAKE(x->call));
            stop_now(x);
        }
    }
}

bool pod_end_step(struct pod *p)
{
    bool running = false;
    int64_t now = mono_now().ns;

    if (!p->term_deadline_ns)
        p->term_deadline_ns = now + pod_grace_s(p) * NSEC_PER_SEC;
    hurry(p);
    for (size_t i = 0; i < p->obs.n_runs; i++) {
        const struct run *r = &p->obs.runs[i];
        int64_t left = (p->term_deadline_ns - now) / NSEC_PER_SEC;

        if (r->state != RUN_RUNNING && r->state != RUN_UNKNOWN)
            continue;
        running = true;
        if (pod_kill_of(p, r->id))
            continue;
        if (may_go(p, r))
            pod_kill_container(p, r, left > 0 ? left : 0, NULL);
        else
            pod_kick_at(p, wall_now().ns + (p->term_deadline_ns - now));
    }
    if (running || !list_empty(&p->kills))
        return false;
    for (size_t i = 0; i < p->obs.n_sandboxes; i++)
        if (p->obs.sandboxes[i].ready) {
            pod_stop_sandbox(p, p->obs.sandboxes[i].id);
            return false;
        }
    return true;
}
