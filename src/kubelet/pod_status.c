/* Status of a pod out of its spec, what was observed and what probes said. */
#include "base/file.h"
#include "base/mem.h"
#include "kubelet/decide.h"
#include "kubelet/pod.h"
#include "kubelet/resources.h"
#include "kubelet/termination.h"

#define RUNTIME_NAME "containerd"

static char *container_id(struct arena *a, struct pod *p, const char *id)
{
    return arena_printf(a, "%s://%s", p->k->runtime_name[0] ? p->k->runtime_name : RUNTIME_NAME,
                        id);
}

static K8s__Time *time_at(struct arena *a, int64_t ns)
{
    return ns > 0 ? object_time(a, (struct wall){ns}) : NULL;
}

static K8s__ContainerState *state_of(struct arena *a, struct container *c, const struct run *r)
{
    K8s__ContainerState *s = object_new(a, &k8s__container_state__descriptor);

    if (r->state == RUN_RUNNING) {
        s->running = object_new(a, &k8s__container_state_running__descriptor);
        s->running->startedat = time_at(a, r->started_ns);
    } else if (r->state == RUN_EXITED) {
        K8s__ContainerStateTerminated *t =
            object_new(a, &k8s__container_state_terminated__descriptor);

        s->terminated = t;
        t->has_exitcode = 1;
        t->exitcode = r->exit_code;
        t->reason = arena_strdup(a, r->reason ? r->reason : r->exit_code ? "Error" : "Completed");
        t->message = termination_message(a, c, r);
        t->startedat = time_at(a, r->started_ns);
        t->finishedat = time_at(a, r->finished_ns);
        t->containerid = container_id(a, c->pod, r->id);
    } else {
        s->waiting = object_new(a, &k8s__container_state_waiting__descriptor);
        s->waiting->reason = arena_strdup(a, c->wait_reason ? c->wait_reason : "ContainerCreating");
        if (c->wait_message)
            s->waiting->message = arena_strdup(a, c->wait_message);
    }
    return s;
}

static K8s__ContainerState *waiting(struct arena *a, struct container *c, bool initialized)
{
    K8s__ContainerState *s = object_new(a, &k8s__container_state__descriptor);
    const char *reason = c->wait_reason;

    if (!reason)
        reason =
            c->kind == CONTAINER_MAIN && !initialized ? "PodInitializing" : "ContainerCreating";
    if (!c->wait_reason && c->kind != CONTAINER_MAIN && c->pod->api->spec->n_initcontainers)
        reason = "PodInitializing";
    s->waiting = object_new(a, &k8s__container_state_waiting__descriptor);
    s->waiting->reason = arena_strdup(a, reason);
    if (c->wait_message)
        s->waiting->message = arena_strdup(a, c->wait_message);
    return s;
}

static bool is_ready(const struct container *c, const struct run *r)
{
    if (c->kind == CONTAINER_INIT)
        return r->state == RUN_EXITED && r->exit_code == 0;
    return r->state == RUN_RUNNING && streq(c->probed_id, r->id) && c->ready && c->started &&
           !c->pod->terminating;
}

static K8s__ContainerStatus *container_status(struct arena *a, struct container *c,
                                              const struct pod_view *v,
                                              const struct container_view *w)
{
    K8s__ContainerStatus *s = object_new(a, &k8s__container_status__descriptor);
    struct pod *p = c->pod;
    const struct run *r = observed_run(&p->obs, c->spec->name, NULL, 0);
    const struct run *before = observed_run(&p->obs, c->spec->name, NULL, 1);
    bool ends = p->terminating || p->terminal;

    s->name = arena_strdup(a, c->spec->name);
    s->image = arena_strdup(a, strna(c->spec->image));
    s->imageid = arena_strdup(a, "");
    s->has_ready = s->has_restartcount = s->has_started = 1;
    s->restartcount = c->known_restarts;
    s->laststate = object_new(a, &k8s__container_state__descriptor);
    if (!r) {
        s->state = waiting(a, c, view_initialized(v));
        return s;
    }
    s->restartcount = (int32_t)r->attempt;
    s->containerid = container_id(a, p, r->id);
    if (r->image && strncmp(r->image, "sha256:", 7) != 0)
        s->image = arena_strdup(a, r->image);
    if (r->image_ref)
        s->imageid = arena_strdup(a, r->image_ref);
    s->ready = is_ready(c, r);
    s->started = r->state == RUN_RUNNING && w->started;
    if (r->state != RUN_RUNNING && c->wait_reason && !ends && view_restarts(v, w)) {
        s->state = waiting(a, c, true); /* between two runs */
        s->laststate = state_of(a, c, r);
        return s;
    }
    s->state = state_of(a, c, r);
    if (before)
        s->laststate = state_of(a, c, before);
    return s;
}

/* ---- phase ---- */

static const char *phase_of(struct pod *p, const struct pod_view *v)
{
    size_t running = 0, waiting_n = 0, failed = 0, succeeded = 0, restarting = 0;

    if (p->reason)
        return "Failed";
    if (!view_initialized(v)) {
        for (size_t i = 0; i < v->n; i++)
            if (v->c[i].kind == VIEW_INIT && v->c[i].state == VIEW_EXITED && v->c[i].exit_code &&
                !view_restarts(v, &v->c[i]))
                return "Failed";
        if (!p->terminal)
            return "Pending";
    }
    for (size_t i = 0; i < v->n; i++) {
        if (v->c[i].kind != VIEW_MAIN)
            continue;
        if (v->c[i].state == VIEW_RUNNING)
            running++;
        else if (v->c[i].state != VIEW_EXITED)
            waiting_n++;
        else if (view_restarts(v, &v->c[i]) && !p->terminating)
            restarting++;
        else if (v->c[i].exit_code)
            failed++;
        else
            succeeded++;
    }
    if (waiting_n)
        return p->terminating && !p->obs.n_runs && p->started_ns ? "Failed" : "Pending";
    if (running || restarting)
        return "Running";
    return failed ? "Failed" : "Succeeded";
}

const char *pod_phase(struct pod *p)
{
    cleanup_free struct container_view *views = xcalloc(p->n_containers + 1, sizeof(*views));
    struct pod_view v;

    pod_view_fill(p, &v, views);
    return phase_of(p, &v);
}

/* ---- conditions ---- */

static void add_condition(struct arena *a, struct pod *p, K8s__PodStatus *s, int which,
                          const char *type, bool yes, const char *reason, const char *message)
{
    K8s__PodCondition *c = object_new(a, &k8s__pod_condition__descriptor);
    struct pod_condition_memory *m = &p->conditions[which];
    const char *status = yes ? "True" : "False";

    if (!streq(m->status, status)) {
        (void)snprintf(m->status, sizeof(m->status), "%s", status);
        m->changed_ns = wall_now().ns;
    }
    c->type = arena_strdup(a, type);
    c->status = arena_strdup(a, status);
    c->lasttransitiontime = time_at(a, m->changed_ns);
    if (p->api->metadata->has_generation) {
        c->has_observedgeneration = 1;
        c->observedgeneration = p->api->metadata->generation;
    }
    if (reason)
        c->reason = arena_strdup(a, reason);
    if (message)
        c->message = arena_strdup(a, message);
    object_append(a, &s->conditions, &s->n_conditions, c);
}

static bool gates_open(struct arena *a, struct pod *p, char **message)
{
    K8s__PodStatus *s = p->api->status;

    for (size_t i = 0; i < p->api->spec->n_readinessgates; i++) {
        const char *type = strna(p->api->spec->readinessgates[i]->conditiontype);
        const char *status = NULL;

        for (size_t k = 0; s && k < s->n_conditions; k++)
            if (streq(s->conditions[k]->type, type))
                status = s->conditions[k]->status;
        if (streq(status, "True"))
            continue;
        *message =
            status
                ? arena_printf(a, "the status of pod readiness gate \"%s\" is not \"True\", but %s",
                               type, status)
                : arena_printf(
                      a, "corresponding condition of pod readiness gate \"%s\" does not exist.",
                      type);
        return false;
    }
    return true;
}

static char *unready(struct arena *a, K8s__ContainerStatus *const *v, size_t n, char *list)
{
    for (size_t i = 0; i < n; i++)
        if (!v[i]->ready)
            list = list ? arena_printf(a, "%s %s", list, v[i]->name) : arena_strdup(a, v[i]->name);
    return list;
}

static void add_conditions(struct arena *a, struct pod *p, K8s__PodStatus *s,
                           const struct pod_view *v)
{
    const struct sandbox *box = observed_sandbox(&p->obs);
    bool over = streq(s->phase, "Succeeded"), failed = streq(s->phase, "Failed");
    bool initialized = view_initialized(v) || over;
    char *list = unready(a, s->containerstatuses, s->n_containerstatuses, NULL), *gate = NULL,
         *text = NULL, *missing = NULL;
    const char *reason = "ContainersNotReady";

    for (size_t i = 0; i < p->n_containers; i++)
        if (p->containers[i]->kind == CONTAINER_SIDECAR)
            for (size_t k = 0; k < s->n_initcontainerstatuses; k++)
                if (streq(s->initcontainerstatuses[k]->name, p->containers[i]->spec->name))
                    list = unready(a, &s->initcontainerstatuses[k], 1, list);
    for (size_t i = 0; i < s->n_initcontainerstatuses; i++)
        if (!s->initcontainerstatuses[i]->ready)
            missing = missing ? arena_printf(a, "%s %s", missing, s->initcontainerstatuses[i]->name)
                              : arena_strdup(a, s->initcontainerstatuses[i]->name);
    if (list)
        text = arena_printf(a, "containers with unready status: [%s]", list);
    if (over)
        reason = "PodCompleted", text = NULL;
    else if (failed)
        reason = "PodFailed", text = NULL;
    bool ready = !list && !over && !failed && v->n;
    add_condition(a, p, s, POD_CONDITION_SANDBOX, "PodReadyToStartContainers",
                  box && box->ready && !over && !failed, NULL, NULL);
    add_condition(a, p, s, POD_CONDITION_INITIALIZED, "Initialized", initialized,
                  initialized ? (over ? "PodCompleted" : NULL) : "ContainersNotInitialized",
                  initialized || !missing
                      ? NULL
                      : arena_printf(a, "containers with incomplete status: [%s]", missing));
    add_condition(a, p, s, POD_CONDITION_CONTAINERS_READY, "ContainersReady", ready,
                  ready ? NULL : reason, ready ? NULL : text);
    if (ready && !gates_open(a, p, &gate)) {
        ready = false;
        reason = "ReadinessGatesNotReady";
        text = gate;
    }
    add_condition(a, p, s, POD_CONDITION_READY, "Ready", ready, ready ? NULL : reason,
                  ready ? NULL : text);
    add_condition(a, p, s, POD_CONDITION_SCHEDULED, "PodScheduled", true, NULL, NULL);
}

/* ---- all ---- */

static void add_addresses(struct arena *a, struct pod *p, K8s__PodStatus *s)
{
    const struct sandbox *box = observed_sandbox(&p->obs);
    const char *ips[2] = {box && !pod_host_network(p) ? box->ip : NULL,
                          box && !pod_host_network(p) ? box->ip2 : NULL};

    if (pod_host_network(p) && box && *p->k->node_ip)
        ips[0] = p->k->node_ip;
    if (*p->k->node_ip) {
        K8s__HostIP *h = object_new(a, &k8s__host_ip__descriptor);

        s->hostip = arena_strdup(a, p->k->node_ip);
        h->ip = s->hostip;
        object_append(a, &s->hostips, &s->n_hostips, h);
    }
    for (size_t i = 0; i < 2; i++)
        if (ips[i] && *ips[i]) {
            K8s__PodIP *x = object_new(a, &k8s__pod_ip__descriptor);

            x->ip = arena_strdup(a, ips[i]);
            if (!s->podip)
                s->podip = x->ip;
            object_append(a, &s->podips, &s->n_podips, x);
        }
}

K8s__PodStatus *pod_status(struct arena *a, struct pod *p)
{
    K8s__PodStatus *s = object_new(a, &k8s__pod_status__descriptor);
    cleanup_free struct container_view *views = xcalloc(p->n_containers + 1, sizeof(*views));
    struct pod_view v;

    pod_view_fill(p, &v, views);
    if (!p->started_ns)
        p->started_ns = wall_now().ns;
    s->phase = arena_strdup(a, phase_of(p, &v));
    if (p->reason)
        s->reason = arena_strdup(a, p->reason);
    if (p->message)
        s->message = arena_strdup(a, p->message);
    s->starttime = time_at(a, p->started_ns);
    s->qosclass = arena_strdup(a, qos_name(pod_qos(p->api->spec)));
    if (p->api->metadata->has_generation) {
        s->has_observedgeneration = 1;
        s->observedgeneration = p->api->metadata->generation;
    }
    for (size_t i = 0; i < p->n_containers; i++) {
        struct container *c = p->containers[i];
        K8s__ContainerStatus *cs = container_status(a, c, &v, &views[i]);

        if (c->kind == CONTAINER_MAIN)
            object_append(a, &s->containerstatuses, &s->n_containerstatuses, cs);
        else if (c->kind == CONTAINER_EPHEMERAL)
            object_append(a, &s->ephemeralcontainerstatuses, &s->n_ephemeralcontainerstatuses, cs);
        else
            object_append(a, &s->initcontainerstatuses, &s->n_initcontainerstatuses, cs);
    }
    add_addresses(a, p, s);
    add_conditions(a, p, s, &v);
    return s;
}
