/*
 * Probes: one prober per container and kind, on its own timer. The first goes off when the initial
 * delay is over, the next ones a period apart. Liveness and readiness wait for the startup probe.
 */
#include "base/log.h"
#include "base/mem.h"
#include "base/random.h"
#include "kubelet/hook.h"
#include "kubelet/pod.h"
#include "kubelet/probe_run.h"

struct prober {
    struct container *c;
    enum probe_kind kind;
    struct loop_timer timer;
    struct probe_run *run;
    int successes, failures;
    bool result;
};

static const char *const kind_names[] = {"Startup", "Liveness", "Readiness"};

static const K8s__Probe *probe_of(const struct container *c, enum probe_kind kind)
{
    switch (kind) {
    case PROBE_STARTUP:
        return c->spec->startupprobe;
    case PROBE_LIVENESS:
        return c->spec->livenessprobe;
    case PROBE_READINESS:
        return c->spec->readinessprobe;
    case PROBE_KINDS:
        break;
    }
    return NULL;
}

static int64_t period_ms(const K8s__Probe *s)
{
    return (s->periodseconds > 0 ? s->periodseconds : 10) * 1000;
}

static void on_timer(struct loop_timer *t);

static void verdict(struct prober *b, bool good)
{
    struct container *c = b->c;
    struct pod *p = c->pod;

    b->result = good;
    switch (b->kind) {
    case PROBE_STARTUP:
    case PROBE_LIVENESS:
        if (!good && !c->unhealthy) {
            c->unhealthy = true;
            c->unhealthy_by = b->kind;
        } else if (good && b->kind == PROBE_STARTUP) {
            c->started = true;
        }
        break;
    case PROBE_READINESS:
        c->ready = good;
        break;
    case PROBE_KINDS:
        break;
    }
    p->status_dirty = true;
    pod_kick(p);
}

static void count(struct prober *b, const K8s__Probe *s, bool good)
{
    int need = good ? (s->successthreshold > 0 ? s->successthreshold : 1)
                    : (s->failurethreshold > 0 ? s->failurethreshold : 3);
    int n = good ? ++b->successes : ++b->failures;

    if (good)
        b->failures = 0;
    else
        b->successes = 0;
    if (n < need)
        return;
    if (b->kind == PROBE_READINESS ? b->c->ready != good
                                   : !good || (b->kind == PROBE_STARTUP && !b->c->started))
        verdict(b, good);
}

static void on_run(enum probe_result result, const char *text, void *arg)
{
    struct prober *b = arg;
    struct container *c = b->c;
    const K8s__Probe *s = probe_of(c, b->kind);

    b->run = NULL;
    if (result == PROBE_BAD)
        pod_event(c->pod, c, "Warning", "Unhealthy", "%s probe failed: %s", kind_names[b->kind],
                  text);
    if (result == PROBE_UNKNOWN)
        pod_event(c->pod, c, "Warning", "Unhealthy",
                  "%s probe errored and resulted in unknown state: %s", kind_names[b->kind], text);
    else
        count(b, s, result == PROBE_GOOD);
    if (b->kind == PROBE_STARTUP && c->started)
        return; /* its work is done */
    loop_timer_start(c->pod->k->loop, &b->timer, period_ms(s), on_timer);
}

static void on_timer(struct loop_timer *t)
{
    struct prober *b = container_of(t, struct prober, timer);
    const K8s__Probe *s = probe_of(b->c, b->kind);

    if (b->kind != PROBE_STARTUP &&
        !b->c->started) { /* looked at again when the startup probe is through */
        loop_timer_start(b->c->pod->k->loop, &b->timer, 1000, on_timer);
        return;
    }
    b->run = probe_run(b->c, b->c->probed_id, s, on_run, b);
}

static void prober_start(struct container *c, enum probe_kind kind, const struct run *r)
{
    const K8s__Probe *s = probe_of(c, kind);
    struct prober *b;
    int64_t first;

    if (!s || !s->handler || (kind == PROBE_STARTUP && c->started))
        return;
    b = c->probers[kind] = xcalloc(1, sizeof(*b));
    b->c = c;
    b->kind = kind;
    first = (r->started_ns + s->initialdelayseconds * NSEC_PER_SEC - wall_now().ns) / NSEC_PER_MSEC;
    if (first < -period_ms(s)) /* it ran before this process did: spread out */
        first = (int64_t)random_below((uint64_t)period_ms(s));
    loop_timer_start(c->pod->k->loop, &b->timer, first < 0 ? 0 : first, on_timer);
}

void probers_stop(struct container *c)
{
    for (int i = 0; i < PROBE_KINDS; i++) {
        struct prober *b = TAKE(c->probers[i]);

        if (!b)
            continue;
        loop_timer_stop(&b->timer);
        probe_run_cancel(b->run);
        free(b);
    }
}

static void level(struct container *c)
{
    const struct run *r = container_running(c);
    bool known;

    if (!r || pod_kill_of(c->pod, r->id)) {
        probers_stop(c);
        return;
    }
    if (streq(c->probed_id, r->id))
        return;
    probers_stop(c);
    str_replace(&c->probed_id, r->id);
    c->unhealthy = false;
    known = streq(c->known_ready_id, r->id); /* ready as last told, until a probe says otherwise */
    c->started = !c->spec->startupprobe || known;
    c->ready = !c->spec->readinessprobe || known;
    c->pod->status_dirty = true;
    for (int i = 0; i < PROBE_KINDS; i++)
        prober_start(c, (enum probe_kind)i, r);
}

void probers_update(struct pod *p)
{
    for (size_t i = 0; i < p->n_containers; i++)
        level(p->containers[i]);
}
