/*
 * What the engine has, read again whenever something may have changed. One pod is read by its
 * label: sandboxes, containers, then the details of those whose state is new. All pods are compared
 * by a relist: every second when the engine offers no event stream (as upstream does), every minute
 * when it does.
 */
#include "base/backoff.h"
#include "base/log.h"
#include "base/mem.h"
#include "kubelet/pod.h"
#include "kubelet/termination.h"

#define RELIST_EVENTS_MS 60000
#define RELIST_POLL_MS 1000
#define OBSERVE_DEADLINE_MS 30000

struct observer {
    struct kubelet *k;
    struct grpc_call *events, *sandboxes, *containers;
    struct loop_timer relist, reconnect;
    struct backoff backoff;
    bool events_work, events_missing, unreachable;
    struct map
        seen; /* container or sandbox id -> (state + 1) as a number; what the last relist saw */
    struct map next;    /* being built by the relist under way */
    struct map touched; /* UIDs of pods to read again */
};
struct observation {
    struct pod *pod;
    struct observed now;
    struct list calls;
    size_t pending;
    bool failed;
};
struct detail { /* one status call */
    struct list link;
    struct observation *o;
    struct grpc_call *call;
    size_t i; /* index of run or sandbox */
};

static void observe_start(struct pod *p);

/* ---- one pod ---- */

static char *dup_or_null(const char *z)
{
    return z && *z ? xstrdup(z) : NULL;
}

static void observation_free(struct observation *o)
{
    list_for_safe(l, &o->calls)
    {
        struct detail *d = container_of(l, struct detail, link);

        grpc_call_cancel(d->call);
        list_remove(&d->link);
        free(d);
    }
    observed_fini(&o->now);
    free(o);
}

void observation_cancel(struct pod *p)
{
    if (p->observation)
        observation_free(TAKE(p->observation));
}

static int by_age_run(const void *a, const void *b)
{
    const struct run *x = a, *y = b;

    if (x->attempt != y->attempt && streq(x->name, y->name))
        return x->attempt < y->attempt ? 1 : -1;
    return x->created_ns < y->created_ns ? 1 : x->created_ns > y->created_ns ? -1 : 0;
}

static int by_age_sandbox(const void *a, const void *b)
{
    const struct sandbox *x = a, *y = b;

    if (x->attempt != y->attempt)
        return x->attempt < y->attempt ? 1 : -1;
    return x->created_ns < y->created_ns ? 1 : x->created_ns > y->created_ns ? -1 : 0;
}

static void observe_end(struct observation *o)
{
    struct pod *p = o->pod;

    p->observation = NULL;
    if (p->observe_again || o->failed) {
        bool again = p->observe_again;

        p->observe_again = false;
        observation_free(o);
        if (again)
            observe_start(p);
        else
            pod_kick_at(p, wall_now().ns + NSEC_PER_SEC); /* stale still: the step observes again */
        return;
    }
    if (o->now.n_runs)
        qsort(o->now.runs, o->now.n_runs, sizeof(*o->now.runs), by_age_run);
    if (o->now.n_sandboxes)
        qsort(o->now.sandboxes, o->now.n_sandboxes, sizeof(*o->now.sandboxes), by_age_sandbox);
    observed_fini(&p->obs);
    p->obs = o->now;
    o->now = (struct observed){0};
    observation_free(o);
    p->observed_once = true;
    p->stale = false;
    pod_kick(p);
}

static struct detail *detail_new(struct observation *o, size_t i)
{
    struct detail *d = xcalloc(1, sizeof(*d));

    d->o = o;
    d->i = i;
    list_add_tail(&o->calls, &d->link);
    o->pending++;
    return d;
}

/* Frees d; the observation ends with its last call. */
static void detail_done(struct detail *d)
{
    struct observation *o = d->o;

    list_remove(&d->link);
    free(d);
    if (--o->pending == 0)
        observe_end(o);
}

/* What vanished between two calls is no failure: the next observation will not list it. */
static void detail_failed(struct observation *o, int code)
{
    if (code != GRPC_OK && code != GRPC_NOT_FOUND)
        o->failed = true;
    if (code == GRPC_NOT_FOUND)
        o->pod->observe_again = true;
}

static void on_run_status(int code, const char *message, const ProtobufCMessage *reply, void *arg)
{
    struct detail *d = arg;
    struct run *r = &d->o->now.runs[d->i];
    const Runtime__V1__ContainerStatus *s =
        reply ? ((const Runtime__V1__ContainerStatusResponse *)reply)->status : NULL;
    const char *grace, *path, *policy;

    if (!s) {
        detail_failed(d->o, code == GRPC_OK ? GRPC_INTERNAL : code);
        detail_done(d);
        return;
    }
    r->state = (enum run_state)s->state;
    r->detailed = true;
    r->created_ns = s->created_at;
    r->started_ns = s->started_at;
    r->finished_ns = s->finished_at;
    r->exit_code = s->exit_code;
    str_replace(&r->reason, s->reason && *s->reason ? s->reason : NULL);
    str_replace(&r->message, s->message && *s->message ? s->message : NULL);
    if (s->image && s->image->image && *s->image->image)
        str_replace(&r->image, s->image->image);
    if (s->image_ref && *s->image_ref)
        str_replace(&r->image_ref, s->image_ref);
    str_replace(&r->log_path, s->log_path);
    path = cri_entry_get(s->annotations, s->n_annotations, ANNOTATION_TERMINATION_PATH);
    policy = cri_entry_get(s->annotations, s->n_annotations, ANNOTATION_TERMINATION_POLICY);
    for (size_t i = 0; path && i < s->n_mounts; i++)
        if (streq(s->mounts[i]->container_path, path))
            str_replace(&r->last_words_file, s->mounts[i]->host_path);
    r->last_words_from_log = streq(policy, "FallbackToLogsOnError");
    if (r->state == RUN_EXITED)
        termination_read(r);
    grace = cri_entry_get(s->annotations, s->n_annotations, ANNOTATION_GRACE);
    r->grace_s = -1;
    if (grace)
        (void)str_to_i64(str_of(grace), 0, INT32_MAX, &r->grace_s);
    detail_done(d);
}

static void on_sandbox_status(int code, const char *message, const ProtobufCMessage *reply,
                              void *arg)
{
    struct detail *d = arg;
    struct sandbox *s = &d->o->now.sandboxes[d->i];
    const Runtime__V1__PodSandboxStatus *st =
        reply ? ((const Runtime__V1__PodSandboxStatusResponse *)reply)->status : NULL;

    if (!st) {
        detail_failed(d->o, code == GRPC_OK ? GRPC_INTERNAL : code);
        detail_done(d);
        return;
    }
    s->detailed = true;
    s->ready = st->state == RUNTIME__V1__POD_SANDBOX_STATE__SANDBOX_READY;
    if (st->linux && st->linux->namespaces && st->linux->namespaces->options)
        s->host_network =
            st->linux->namespaces->options->network == RUNTIME__V1__NAMESPACE_MODE__NODE;
    if (st->network) {
        str_replace(&s->ip, st->network->ip && *st->network->ip ? st->network->ip : NULL);
        str_replace(&s->ip2,
                    st->network->n_additional_ips ? st->network->additional_ips[0]->ip : NULL);
    }
    detail_done(d);
}

static void ask_run(struct observation *o, size_t i)
{
    Runtime__V1__ContainerStatusRequest q = RUNTIME__V1__CONTAINER_STATUS_REQUEST__INIT;
    struct detail *d = detail_new(o, i);

    q.container_id = o->now.runs[i].id;
    d->call = grpc_call_start(o->pod->k->cri, CRI_RUNTIME("ContainerStatus"), &q.base,
                              &runtime__v1__container_status_response__descriptor,
                              OBSERVE_DEADLINE_MS, on_run_status, d);
}

static void ask_sandbox(struct observation *o, size_t i)
{
    Runtime__V1__PodSandboxStatusRequest q = RUNTIME__V1__POD_SANDBOX_STATUS_REQUEST__INIT;
    struct detail *d = detail_new(o, i);

    q.pod_sandbox_id = o->now.sandboxes[i].id;
    d->call = grpc_call_start(o->pod->k->cri, CRI_RUNTIME("PodSandboxStatus"), &q.base,
                              &runtime__v1__pod_sandbox_status_response__descriptor,
                              OBSERVE_DEADLINE_MS, on_sandbox_status, d);
}

/* Details read before hold as long as the state is the same. */
static bool known_run(const struct observed *old, struct run *r)
{
    for (size_t i = 0; i < old->n_runs; i++) {
        const struct run *w = &old->runs[i];

        if (!w->detailed || w->state != r->state || !streq(w->id, r->id))
            continue;
        r->detailed = true;
        r->created_ns = w->created_ns;
        r->started_ns = w->started_ns;
        r->finished_ns = w->finished_ns;
        r->exit_code = w->exit_code;
        r->grace_s = w->grace_s;
        r->reason = xstrdup_null(w->reason);
        r->message = xstrdup_null(w->message);
        r->log_path = xstrdup_null(w->log_path);
        r->last_words_file = xstrdup_null(w->last_words_file);
        r->last_words = xstrdup_null(w->last_words);
        r->last_words_from_log = w->last_words_from_log;
        str_replace(&r->image, w->image);
        str_replace(&r->image_ref, w->image_ref);
        return true;
    }
    return false;
}

static bool known_sandbox(const struct observed *old, struct sandbox *s)
{
    for (size_t i = 0; i < old->n_sandboxes; i++) {
        const struct sandbox *w = &old->sandboxes[i];

        if (!w->detailed || w->ready != s->ready || !streq(w->id, s->id))
            continue;
        s->detailed = true;
        s->host_network = w->host_network;
        s->ip = xstrdup_null(w->ip);
        s->ip2 = xstrdup_null(w->ip2);
        return true;
    }
    return false;
}

static void take_run(struct observation *o, const Runtime__V1__Container *c)
{
    struct run *r;
    const char *name = cri_entry_get(c->labels, c->n_labels, LABEL_CONTAINER_NAME);

    if (!name)
        return;
    o->now.runs = xreallocarray(o->now.runs, o->now.n_runs + 1, sizeof(*r));
    r = &o->now.runs[o->now.n_runs++];
    *r = (struct run){.grace_s = -1};
    r->id = xstrdup(c->id);
    r->sandbox_id = xstrdup(c->pod_sandbox_id);
    r->name = xstrdup(name);
    r->hash = xstrdup_null(cri_entry_get(c->annotations, c->n_annotations, ANNOTATION_HASH));
    r->attempt = c->metadata ? c->metadata->attempt : 0;
    r->state = (enum run_state)c->state;
    r->created_ns = c->created_at;
    r->image = dup_or_null(c->image ? c->image->image : NULL);
    r->image_ref = dup_or_null(c->image_ref);
}

static void on_runs(int code, const char *message, const ProtobufCMessage *reply, void *arg)
{
    struct detail *d = arg;
    struct observation *o = d->o;
    const Runtime__V1__ListContainersResponse *l = (const void *)reply;

    if (!l) {
        o->failed = true;
        detail_done(d);
        return;
    }
    for (size_t i = 0; i < l->n_containers; i++)
        take_run(o, l->containers[i]);
    for (size_t i = 0; i < o->now.n_runs; i++)
        if (!known_run(&o->pod->obs, &o->now.runs[i]))
            ask_run(o, i);
    detail_done(d);
}

static void on_sandboxes(int code, const char *message, const ProtobufCMessage *reply, void *arg)
{
    struct detail *d = arg;
    struct observation *o = d->o;
    const Runtime__V1__ListPodSandboxResponse *l = (const void *)reply;

    if (!l) {
        o->failed = true;
        detail_done(d);
        return;
    }
    for (size_t i = 0; i < l->n_items; i++) {
        struct sandbox *s;

        o->now.sandboxes = xreallocarray(o->now.sandboxes, o->now.n_sandboxes + 1, sizeof(*s));
        s = &o->now.sandboxes[o->now.n_sandboxes++];
        *s = (struct sandbox){0};
        s->id = xstrdup(l->items[i]->id);
        s->attempt = l->items[i]->metadata ? l->items[i]->metadata->attempt : 0;
        s->ready = l->items[i]->state == RUNTIME__V1__POD_SANDBOX_STATE__SANDBOX_READY;
        s->created_ns = l->items[i]->created_at;
    }
    for (size_t i = 0; i < o->now.n_sandboxes; i++)
        if (!known_sandbox(&o->pod->obs, &o->now.sandboxes[i]))
            ask_sandbox(o, i);
    detail_done(d);
}

static void observe_start(struct pod *p)
{
    struct observation *o = xcalloc(1, sizeof(*o));
    Runtime__V1__PodSandboxFilter__LabelSelectorEntry se =
        RUNTIME__V1__POD_SANDBOX_FILTER__LABEL_SELECTOR_ENTRY__INIT;
    Runtime__V1__ContainerFilter__LabelSelectorEntry ce =
        RUNTIME__V1__CONTAINER_FILTER__LABEL_SELECTOR_ENTRY__INIT;
    Runtime__V1__PodSandboxFilter sf = RUNTIME__V1__POD_SANDBOX_FILTER__INIT;
    Runtime__V1__ContainerFilter cf = RUNTIME__V1__CONTAINER_FILTER__INIT;
    Runtime__V1__ListPodSandboxRequest sq = RUNTIME__V1__LIST_POD_SANDBOX_REQUEST__INIT;
    Runtime__V1__ListContainersRequest cq = RUNTIME__V1__LIST_CONTAINERS_REQUEST__INIT;
    Runtime__V1__PodSandboxFilter__LabelSelectorEntry *sv[1] = {&se};
    Runtime__V1__ContainerFilter__LabelSelectorEntry *cv[1] = {&ce};
    struct detail *sd, *cd;

    list_init(&o->calls);
    o->pod = p;
    p->observation = o;
    se.key = ce.key = (char *)(uintptr_t)LABEL_POD_UID;
    se.value = ce.value = p->uid;
    sf.label_selector = sv;
    cf.label_selector = cv;
    sf.n_label_selector = cf.n_label_selector = 1;
    sq.filter = &sf;
    cq.filter = &cf;
    sd = detail_new(o, 0);
    cd = detail_new(o, 0);
    sd->call = grpc_call_start(p->k->cri, CRI_RUNTIME("ListPodSandbox"), &sq.base,
                               &runtime__v1__list_pod_sandbox_response__descriptor,
                               OBSERVE_DEADLINE_MS, on_sandboxes, sd);
    cd->call = grpc_call_start(p->k->cri, CRI_RUNTIME("ListContainers"), &cq.base,
                               &runtime__v1__list_containers_response__descriptor,
                               OBSERVE_DEADLINE_MS, on_runs, cd);
}

void pod_observe(struct pod *p)
{
    p->stale = true;
    if (p->observation)
        p->observe_again = true;
    else
        observe_start(p);
}

/* ---- all pods ---- */

static void relist_arm(struct observer *o);

/* What is new or different since the last relist belongs to a pod to be read again. */
static void saw(struct observer *o, const char *id, int state, const char *uid, const char *ns,
                const char *name)
{
    void *was = map_get(&o->seen, id), *is = (void *)(intptr_t)(state + 1);
    struct pod *p;

    if (!uid || !ns || !name)
        return; /* not of a kubelet's making */
    (void)map_set(&o->next, id, is);
    p = pod_find(o->k, uid);
    if (!p) {
        if (!sources_synced(o->k))
            return; /* its source may still name it */
        p = pod_new(o->k, uid, ns, name, POD_SOURCE_RUNTIME);
        log_info("kubelet", "found a pod that no source wants", "pod", p->text, "uid", p->uid,
                 NULL);
        was = NULL;
    }
    if (was != is || !p->observed_once)
        (void)map_set(&o->touched, uid, o);
}

static void relist_finish(struct observer *o)
{
    struct map_entry *e;
    size_t it = 0;

    while ((e = map_next(&o->seen, &it)))
        if (!map_has(&o->next, e->key)) { /* gone: whose it was is not remembered, look at all */
            struct map_entry *pe;
            size_t pit = 0;

            while ((pe = map_next(&o->k->pods, &pit)))
                (void)map_set(&o->touched, pe->key, o);
            break;
        }
    it = 0;
    while ((e = map_next(&o->touched, &it)))
        if (pod_find(o->k, e->key))
            pod_observe(pod_find(o->k, e->key));
    map_clear(&o->touched, NULL);
    map_clear(&o->seen, NULL);
    struct map t = o->seen;
    o->seen = o->next;
    o->next = t;
    if (o->unreachable) {
        o->unreachable = false;
        log_infof("kubelet", "the container engine answers again");
        pods_kick_all(o->k);
    }
    backoff_reset(&o->backoff);
    relist_arm(o);
}

static void relist_failed(struct observer *o, const char *message)
{
    if (!o->unreachable)
        log_warn("kubelet", "the container engine does not answer", "endpoint",
                 o->k->cfg->runtime_endpoint, "error", message, NULL);
    o->unreachable = true;
    map_clear(&o->next, NULL);
    map_clear(&o->touched, NULL);
    relist_arm(o);
}

static void on_all_containers(int code, const char *message, const ProtobufCMessage *reply,
                              void *arg)
{
    struct observer *o = arg;
    const Runtime__V1__ListContainersResponse *l = (const void *)reply;

    o->containers = NULL;
    if (!l) {
        relist_failed(o, message);
        return;
    }
    for (size_t i = 0; i < l->n_containers; i++) {
        Runtime__V1__Container *c = l->containers[i];

        saw(o, c->id, (int)c->state, cri_entry_get(c->labels, c->n_labels, LABEL_POD_UID),
            cri_entry_get(c->labels, c->n_labels, LABEL_POD_NAMESPACE),
            cri_entry_get(c->labels, c->n_labels, LABEL_POD_NAME));
    }
    relist_finish(o);
}

static void on_all_sandboxes(int code, const char *message, const ProtobufCMessage *reply,
                             void *arg)
{
    struct observer *o = arg;
    const Runtime__V1__ListPodSandboxResponse *l = (const void *)reply;
    Runtime__V1__ListContainersRequest q = RUNTIME__V1__LIST_CONTAINERS_REQUEST__INIT;

    o->sandboxes = NULL;
    if (!l) {
        relist_failed(o, message);
        return;
    }
    for (size_t i = 0; i < l->n_items; i++) {
        Runtime__V1__PodSandbox *s = l->items[i];

        saw(o, s->id, (int)s->state, cri_entry_get(s->labels, s->n_labels, LABEL_POD_UID),
            cri_entry_get(s->labels, s->n_labels, LABEL_POD_NAMESPACE),
            cri_entry_get(s->labels, s->n_labels, LABEL_POD_NAME));
    }
    o->containers = grpc_call_start(o->k->cri, CRI_RUNTIME("ListContainers"), &q.base,
                                    &runtime__v1__list_containers_response__descriptor,
                                    OBSERVE_DEADLINE_MS, on_all_containers, o);
}

void observer_relist(struct kubelet *k)
{
    struct observer *o = k->observer;
    Runtime__V1__ListPodSandboxRequest q = RUNTIME__V1__LIST_POD_SANDBOX_REQUEST__INIT;

    if (!o || o->sandboxes || o->containers)
        return;
    map_clear(&o->next, NULL);
    map_clear(&o->touched, NULL);
    o->sandboxes = grpc_call_start(k->cri, CRI_RUNTIME("ListPodSandbox"), &q.base,
                                   &runtime__v1__list_pod_sandbox_response__descriptor,
                                   OBSERVE_DEADLINE_MS, on_all_sandboxes, o);
}

static void on_relist_timer(struct loop_timer *t)
{
    observer_relist(container_of(t, struct observer, relist)->k);
}

static void relist_arm(struct observer *o)
{
    int64_t ms = o->events_work ? RELIST_EVENTS_MS : RELIST_POLL_MS;

    if (o->unreachable)
        ms = backoff_next_ms(&o->backoff);
    loop_timer_start(o->k->loop, &o->relist, ms, on_relist_timer);
}

/* ---- events ---- */

static void events_open(struct observer *o);

static void on_event(const ProtobufCMessage *message, void *arg)
{
    struct observer *o = arg;
    const Runtime__V1__ContainerEventResponse *e = (const void *)message;
    struct pod *p = NULL;

    if (e->pod_sandbox_status && e->pod_sandbox_status->metadata)
        p = pod_find(o->k, e->pod_sandbox_status->metadata->uid);
    if (p)
        pod_observe(p);
    else
        observer_relist(o->k);
}

static void on_reconnect(struct loop_timer *t)
{
    struct observer *o = container_of(t, struct observer, reconnect);

    events_open(o);
    observer_relist(o->k);
}

static void on_events_end(int code, const char *message, void *arg)
{
    struct observer *o = arg;

    o->events = NULL;
    o->events_work = false;
    if (code == GRPC_UNIMPLEMENTED) {
        if (!o->events_missing)
            log_infof(
                "kubelet",
                "the engine has no event stream; its containers are listed every second instead");
        o->events_missing = true;
        relist_arm(o);
        return;
    }
    relist_arm(o);
    loop_timer_start(o->k->loop, &o->reconnect, backoff_next_ms(&o->backoff), on_reconnect);
}

static void events_open(struct observer *o)
{
    Runtime__V1__GetEventsRequest q = RUNTIME__V1__GET_EVENTS_REQUEST__INIT;

    o->events_work = true; /* until told otherwise */
    o->events = grpc_stream_start(o->k->cri, CRI_RUNTIME("GetContainerEvents"), &q.base,
                                  &runtime__v1__container_event_response__descriptor, on_event,
                                  on_events_end, o);
}

int observer_start(struct kubelet *k)
{
    struct observer *o = xcalloc(1, sizeof(*o));

    o->k = k;
    o->backoff = (struct backoff){.first_ms = 100, .max_ms = 5000};
    map_init(&o->seen);
    map_init(&o->next);
    map_init(&o->touched);
    k->observer = o;
    events_open(o);
    observer_relist(k);
    return 0;
}

void observer_stop(struct kubelet *k)
{
    struct observer *o = TAKE(k->observer);

    if (!o)
        return;
    grpc_call_cancel(o->events);
    grpc_call_cancel(o->sandboxes);
    grpc_call_cancel(o->containers);
    loop_timer_stop(&o->relist);
    loop_timer_stop(&o->reconnect);
    map_fini(&o->seen, NULL);
    map_fini(&o->next, NULL);
    map_fini(&o->touched, NULL);
    free(o);
}
