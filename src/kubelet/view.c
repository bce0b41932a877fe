#include "kubelet/decide.h"
#include "kubelet/pod.h"

int64_t container_max_backoff_ns(const struct kubelet *k)
{
    return k->cfg->crash_loop_max_ns > 0 ? k->cfg->crash_loop_max_ns : 300 * NSEC_PER_SEC;
}

/* A container that keeps ending waits; the wait is announced once. */
static int64_t crash_wait(struct container *c, const struct run *r)
{
    struct pod *p = c->pod;
    int64_t due =
        crash_due_ns(&c->crash, r->finished_ns, wall_now().ns, container_max_backoff_ns(p->k));
    char delay[WALL_TEXT], message[512];

    if (due < 0) {
        if (streq(c->wait_reason, "CrashLoopBackOff"))
            container_wait(c, NULL, NULL);
        return 0;
    }
    duration_format(c->crash.delay_ns, delay);
    (void)snprintf(message, sizeof(message),
                   "back-off %s restarting failed container=%s pod=%s_%s(%s)", delay, c->spec->name,
                   p->name, p->ns, p->uid);
    if (!streq(c->wait_message, message))
        pod_event(p, c, "Warning", "BackOff",
                  "Back-off restarting failed container %s in pod %s_%s(%s)", c->spec->name,
                  p->name, p->ns, p->uid);
    container_wait(c, "CrashLoopBackOff", message);
    return due;
}

static void fill_one(struct container *c, const struct sandbox *s, struct container_view *w)
{
    static const enum view_state states[] = {VIEW_CREATED, VIEW_RUNNING, VIEW_EXITED, VIEW_UNKNOWN};
    const struct run *r = observed_run(&c->pod->obs, c->spec->name, NULL, 0);

    *w = (struct container_view){.kind = (enum view_kind)c->kind};
    if (r) {
        w->state = states[r->state];
        w->in_sandbox = s && streq(r->sandbox_id, s->id);
        w->exit_code = r->exit_code;
        w->changed = r->state == RUN_RUNNING && r->hash && !streq(r->hash, c->hash);
        w->being_killed = pod_kill_of(c->pod, r->id) != NULL;
        w->unhealthy = c->unhealthy && streq(c->probed_id, r->id);
        w->started = c->started && streq(c->probed_id, r->id);
    }
    if (!c->spec->startupprobe)
        w->started = true;
    w->not_before_ns = c->retry_ns;
}

void pod_view_fill(struct pod *p, struct pod_view *v, struct container_view *views)
{
    const struct sandbox *s = observed_sandbox(&p->obs);
    const char *policy = p->api->spec->restartpolicy;

    *v = (struct pod_view){.now_ns = wall_now().ns, .c = views, .n = p->n_containers};
    v->policy = streq(policy, "Never")       ? VIEW_NEVER
                : streq(policy, "OnFailure") ? VIEW_ON_FAILURE
                                             : VIEW_ALWAYS;
    v->has_sandbox = s != NULL;
    v->sandbox_ready =
        s && s->ready && s->host_network == pod_host_network(p) && (s->ip || s->host_network);
    v->sandbox_not_before_ns = p->sandbox_retry_ns;
    for (size_t i = 0; i < p->n_containers; i++)
        fill_one(p->containers[i], s, &views[i]);
    for (size_t i = 0; i < p->n_containers; i++) {
        const struct run *r = observed_run(&p->obs, p->containers[i]->spec->name, NULL, 0);

        if (r && r->state == RUN_EXITED && views[i].in_sandbox && view_restarts(v, &views[i])) {
            int64_t due = crash_wait(p->containers[i], r);

            if (due > views[i].not_before_ns)
                views[i].not_before_ns = due;
        }
    }
}
