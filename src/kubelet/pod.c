#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/sha256.h"
#include "kubelet/decide.h"
#include "kubelet/pod.h"
#include "kubelet/refs.h"
#include <stdarg.h>

static void step(struct pod *p);

/* ---- lifecycle ---- */

static void on_defer(struct loop_defer *d)
{
    step(container_of(d, struct pod, defer));
}

static void on_timer(struct loop_timer *t)
{
    struct pod *p = container_of(t, struct pod, timer);

    p->wake_ns = 0;
    pod_kick(p);
}

struct pod *pod_new(struct kubelet *k, const char *uid, const char *ns, const char *name,
                    enum pod_source source)
{
    struct pod *p = xcalloc(1, sizeof(*p));

    p->k = k;
    p->uid = xstrdup(uid);
    p->ns = xstrdup(ns);
    p->name = xstrdup(name);
    p->text = xasprintf("%s/%s", ns, name);
    p->source = source;
    p->grace_s = -1;
    list_init(&p->kills);
    (void)map_set(&k->pods, uid, p);
    return p;
}

static void container_free(struct container *c)
{
    probers_stop(c);
    free(c->wait_reason);
    free(c->wait_message);
    free(c->image_ref);
    free(c->image_user);
    free(c->probed_id);
    free(c->known_ready_id);
    free(c);
}

void pod_free(struct pod *p)
{
    if (!p)
        return;
    if (pod_find(p->k, p->uid) == p)
        (void)map_remove(&p->k->pods, p->uid);
    list_remove(&p->link);
    loop_defer_stop(&p->defer);
    loop_timer_stop(&p->timer);
    operation_cancel(p);
    observation_cancel(p);
    pod_kills_cancel(p);
    status_send_stop(p);
    kube_call_cancel(p->delete_call);
    kube_call_cancel(p->mirror_call);
    refs_forget_pod(p->k->refs, p);
    for (size_t i = 0; i < p->n_containers; i++)
        container_free(p->containers[i]);
    free(p->containers);
    observed_fini(&p->obs);
    object_free(p->api);
    free(p->mirror_uid);
    free(p->mirror_hash);
    free(p->reason);
    free(p->message);
    free(p->volume_error);
    free(p->sent);
    free(p->uid);
    free(p->ns);
    free(p->name);
    free(p->text);
    free(p);
}

static void on_reap(struct loop_defer *d)
{
    struct kubelet *k = container_of(d, struct kubelet, reap);

    list_for_safe(l, &k->dead)
    {
        pod_free(container_of(l, struct pod, link));
    }
}

static void pod_bury(struct pod *p)
{
    if (list_linked(&p->link))
        return;
    log_info("kubelet", "pod is gone", "pod", p->text, "uid", p->uid, NULL);
    (void)map_remove(&p->k->pods, p->uid);
    list_add_tail(&p->k->dead, &p->link);
    loop_defer_start(p->k->loop, &p->k->reap, on_reap);
}

struct pod *pod_find(struct kubelet *k, const char *uid)
{
    return map_get(&k->pods, uid);
}

void pods_kick_all(struct kubelet *k)
{
    struct map_entry *e;
    size_t it = 0;

    while ((e = map_next(&k->pods, &it)))
        pod_kick(e->value);
}

void pod_kick(struct pod *p)
{
    if (!p->k->stopping && !list_linked(&p->link))
        loop_defer_start(p->k->loop, &p->defer, on_defer);
}

void pod_kick_at(struct pod *p, int64_t wall_ns)
{
    int64_t ms = (wall_ns - wall_now().ns) / NSEC_PER_MSEC + 1;

    if (p->wake_ns && p->wake_ns <= wall_ns && loop_timer_pending(&p->timer))
        return;
    p->wake_ns = wall_ns;
    loop_timer_start(p->k->loop, &p->timer, ms < 1 ? 1 : ms, on_timer);
}

/* ---- what the spec says ---- */

bool pod_is_static(const struct pod *p)
{
    return p->source == POD_SOURCE_FILE;
}

bool pod_host_network(const struct pod *p)
{
    return p->api && p->api->spec && p->api->spec->hostnetwork;
}

int64_t pod_grace_s(const struct pod *p)
{
    if (p->grace_s >= 0)
        return p->grace_s;
    if (p->api && p->api->metadata && p->api->metadata->has_deletiongraceperiodseconds)
        return p->api->metadata->deletiongraceperiodseconds;
    if (p->api && p->api->spec && p->api->spec->has_terminationgraceperiodseconds)
        return p->api->spec->terminationgraceperiodseconds;
    for (size_t i = 0; i < p->obs.n_runs; i++)
        if (p->obs.runs[i].grace_s >= 0)
            return p->obs.runs[i].grace_s;
    return 30;
}

char *pod_dir(const struct pod *p)
{
    return xasprintf("%s/pods/%s", p->k->cfg->root_dir, p->uid);
}

char *pod_log_dir(const struct pod *p)
{
    return xasprintf("%s/%s_%s_%s", p->k->cfg->pod_log_dir, p->ns, p->name, p->uid);
}

struct container *pod_container(struct pod *p, const char *name)
{
    for (size_t i = 0; i < p->n_containers; i++)
        if (streq(p->containers[i]->spec->name, name))
            return p->containers[i];
    return NULL;
}

/* What a change of restarts a container: its image. */
static void container_hash(struct container *c)
{
    char hex[SHA256_HEX];
    cleanup_free char *text = xasprintf("%s\n%s", c->spec->name, strna(c->spec->image));

    sha256_hex(text, strlen(text), hex);
    memcpy(c->hash, hex, 16);
    c->hash[16] = '\0';
}

static void container_learn(struct container *c, K8s__ContainerStatus *const *v, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const char *id;

        if (!streq(v[i]->name, c->spec->name))
            continue;
        c->known_restarts = v[i]->restartcount;
        id = v[i]->containerid ? strstr(v[i]->containerid, "://") : NULL;
        if (v[i]->ready && id)
            str_replace(&c->known_ready_id, id + 3);
    }
}

static void bind(struct pod *p, K8s__Container *spec, enum container_kind kind)
{
    struct container *c = NULL;

    if (!spec->name)
        return;
    for (size_t i = 0; i < p->n_containers; i++)
        if (streq(p->containers[i]->spec->name, spec->name))
            c = p->containers[i];
    if (!c) {
        c = xcalloc(1, sizeof(*c));
        c->pod = p;
        c->kind = kind;
        p->containers = xreallocarray(p->containers, p->n_containers + 1, sizeof(c));
        p->containers[p->n_containers++] = c;
        c->spec = spec;
        if (p->api->status) {
            container_learn(c, p->api->status->containerstatuses,
                            p->api->status->n_containerstatuses);
            container_learn(c, p->api->status->initcontainerstatuses,
                            p->api->status->n_initcontainerstatuses);
        }
    }
    c->spec = spec;
    container_hash(c);
}

static void conditions_learn(struct pod *p)
{
    static const char *const names[] = {"PodScheduled", "PodReadyToStartContainers", "Initialized",
                                        "ContainersReady", "Ready"};
    K8s__PodStatus *s = p->api->status;

    if (!s)
        return;
    for (size_t i = 0; i < s->n_conditions; i++)
        for (size_t k = 0; k < ARRAY_LEN(names); k++)
            if (streq(s->conditions[i]->type, names[k]) && s->conditions[i]->status) {
                (void)snprintf(p->conditions[k].status, sizeof(p->conditions[k].status), "%s",
                               s->conditions[i]->status);
                p->conditions[k].changed_ns = object_wall(s->conditions[i]->lasttransitiontime).ns;
            }
    if (s->starttime)
        p->started_ns = object_wall(s->starttime).ns;
    if (streq(s->phase, "Failed") || streq(s->phase, "Succeeded")) {
        p->terminal = true;
        if (streq(s->phase, "Failed") && s->reason && *s->reason)
            pod_fail(p, s->reason, strna(s->message));
    }
}

/* An ephemeral container has the fields of a container, in its order. */
_Static_assert(sizeof(K8s__EphemeralContainerCommon) == sizeof(K8s__Container), "same fields");

void pod_set_spec(struct pod *p, K8s__Pod *api)
{
    K8s__Pod *old = p->api;
    K8s__PodSpec *s = api->spec;

    p->api = api;
    p->wanted = true;
    for (size_t i = 0; i < s->n_initcontainers; i++)
        bind(p, s->initcontainers[i],
             streq(s->initcontainers[i]->restartpolicy, "Always") ? CONTAINER_SIDECAR
                                                                  : CONTAINER_INIT);
    for (size_t i = 0; i < s->n_containers; i++)
        bind(p, s->containers[i], CONTAINER_MAIN);
    for (size_t i = 0; i < s->n_ephemeralcontainers; i++)
        if (s->ephemeralcontainers[i]->ephemeralcontainercommon)
            bind(p, (K8s__Container *)s->ephemeralcontainers[i]->ephemeralcontainercommon,
                 CONTAINER_EPHEMERAL);
    if (!old)
        conditions_learn(p);
    p->volumes_next_ns = p->volumes_next_ns ? 1 : 0; /* labels and annotations may have changed */
    p->status_dirty = true;
    object_free(old);
    pod_kick(p);
}

void pod_unwant(struct pod *p)
{
    p->wanted = false;
    pod_kick(p);
}

void pod_fail(struct pod *p, const char *reason, const char *message)
{
    p->terminal = true;
    str_replace(&p->reason, reason);
    str_replace(&p->message, message);
}

const struct run *container_running(const struct container *c)
{
    const struct run *r = observed_run(&c->pod->obs, c->spec->name, NULL, 0);

    return r && r->state == RUN_RUNNING ? r : NULL;
}

const char *pod_ip(const struct pod *p)
{
    const struct sandbox *s = observed_sandbox(&p->obs);

    if (pod_host_network(p))
        return p->k->node_ip;
    return s && s->ip ? s->ip : "";
}

void container_wait(struct container *c, const char *reason, const char *message)
{
    if (streq(c->wait_reason, reason) && streq(c->wait_message, message))
        return;
    str_replace(&c->wait_reason, reason);
    str_replace(&c->wait_message, message);
    c->pod->status_dirty = true;
}

void pod_event(struct pod *p, const struct container *c, const char *type, const char *reason,
               const char *fmt, ...)
{
    struct recorder_object o = {
        .api_version = "v1", .kind = "Pod", .namespace_ = p->ns, .name = p->name};
    cleanup_free char *path = NULL;
    cleanup_free char *text = NULL;
    va_list ap;

    va_start(ap, fmt);
    if (vasprintf(&text, fmt, ap) < 0)
        text = NULL;
    va_end(ap);
    log_kv(streq(type, "Warning") ? LOG_LEVEL_WARN : LOG_LEVEL_INFO, "kubelet", text, "pod",
           p->text, "reason", reason, "container", c ? c->spec->name : "", NULL);
    if (!p->k->recorder || p->source == POD_SOURCE_RUNTIME)
        return;
    o.uid = pod_is_static(p) && p->mirror_uid ? p->mirror_uid : p->uid;
    if (p->api)
        o.resource_version = p->api->metadata->resourceversion;
    if (c)
        o.field_path = path = xasprintf("spec.%s{%s}",
                                        c->kind == CONTAINER_MAIN        ? "containers"
                                        : c->kind == CONTAINER_EPHEMERAL ? "ephemeralContainers"
                                                                         : "initContainers",
                                        c->spec->name);
    recorder_event(p->k->recorder, &o, type, reason, "%s", text);
}

bool sources_synced(const struct kubelet *k)
{
    return k->file_synced && (k->api_synced || !k->api_wanted);
}

/* ---- steps ---- */

static bool make_dirs(struct pod *p)
{
    cleanup_error struct error *err = NULL;
    cleanup_free char *dir = pod_dir(p);
    cleanup_free char *logs = pod_log_dir(p);
    cleanup_free char *containers = path_join(dir, "containers");
    cleanup_free char *volumes = path_join(dir, "volumes");

    if (p->dirs_made)
        return true;
    if (dir_make(containers, 0750, &err) < 0 || dir_make(volumes, 0750, &err) < 0 ||
        dir_make(logs, 0755, &err) < 0) {
        pod_event(p, NULL, "Warning", "FailedCreatePodContainer",
                  "error making pod data directories: %s", error_message(err));
        pod_kick_at(p, wall_now().ns + 10 * NSEC_PER_SEC);
        return false;
    }
    p->dirs_made = true;
    return true;
}

static void overdue(struct pod *p)
{
    int64_t end;

    if (!p->api->spec->has_activedeadlineseconds || p->terminal || !p->started_ns)
        return;
    end = p->started_ns + p->api->spec->activedeadlineseconds * NSEC_PER_SEC;
    if (wall_now().ns >= end) {
        pod_event(p, NULL, "Normal", "DeadlineExceeded",
                  "Pod was active on the node longer than the specified deadline");
        pod_fail(p, "DeadlineExceeded",
                 "Pod was active on the node longer than the specified deadline");
    } else {
        pod_kick_at(p, end);
    }
}

static void do_kill(struct pod *p, struct container *c)
{
    const struct run *r = container_running(c);
    const struct sandbox *s = observed_sandbox(&p->obs);
    int64_t grace_s = pod_grace_s(p);
    cleanup_free char *message = NULL;

    if (!r)
        return;
    if (c->unhealthy && streq(c->probed_id, r->id)) {
        const K8s__Probe *probe =
            c->unhealthy_by == PROBE_STARTUP ? c->spec->startupprobe : c->spec->livenessprobe;

        if (probe && probe->has_terminationgraceperiodseconds)
            grace_s = probe->terminationgraceperiodseconds;
        message = xasprintf("Container %s failed %s probe, will be restarted", c->spec->name,
                            c->unhealthy_by == PROBE_STARTUP ? "startup" : "liveness");
    } else if (s && streq(r->sandbox_id, s->id) && !streq(r->hash, c->hash))
        message = xasprintf("Container %s definition changed, will be restarted", c->spec->name);
    pod_kill_container(p, r, grace_s, message);
}

static void run_step(struct pod *p)
{
    cleanup_free struct container_view *views = xcalloc(p->n_containers + 1, sizeof(*views));
    struct pod_view v;
    struct decision d;

    if (!p->admitted && !pod_admission_check(p)) {
        pod_kick(p);
        return;
    }
    p->admitted = true;
    if (!make_dirs(p))
        return;
    if (!p->cgroup_made)
        cgroup_pod_make(p);
    pod_view_fill(p, &v, views);
    d = decide(&v);
    if (d.wake_ns)
        pod_kick_at(p, d.wake_ns);
    if ((d.step == STEP_SANDBOX_CREATE || d.step == STEP_START) && volumes_step(p) != VOLUMES_READY)
        return;
    switch (d.step) {
    case STEP_NONE:
        volumes_refresh(p);
        (void)pod_collect(p);
        break;
    case STEP_FINISHED:
        p->terminal = true;
        pod_kick(p);
        break;
    case STEP_SANDBOX_CREATE:
    case STEP_SANDBOX_STOP:
        pod_start_sandbox(p);
        break;
    case STEP_START:
        pod_start_container(p, p->containers[d.i]);
        break;
    case STEP_KILL:
        do_kill(p, p->containers[d.i]);
        pod_kick(p); /* others may be next */
        break;
    }
}

static void on_deleted(const struct kube_result *r, void *arg)
{
    struct pod *p = arg;

    p->delete_call = NULL;
    if (r->err && r->http_code != 404 && r->http_code != 409) {
        p->deleted_sent = false;
        pod_kick_at(p, wall_now().ns + 2 * NSEC_PER_SEC);
    }
}

/* All containers have ended and the sandbox is stopped. */
static void end_step(struct pod *p)
{
    bool leaves = !p->wanted || (p->api && p->api->metadata->deletiontimestamp);
    cleanup_free char *dir = pod_dir(p);

    if (!leaves)
        return; /* terminal: its containers stay for their logs */
    if (p->wanted && p->k->client && !p->status_sent_final) {
        p->status_dirty = true;
        status_send(p);
        if (!p->status_sent_final)
            return;
    }
    if (p->obs.n_runs || p->obs.n_sandboxes) {
        pod_remove_runtime(p);
        return;
    }
    if (!p->cleaned) {
        cleanup_free char *logs = pod_log_dir(p);

        volumes_clean(dir);
        cgroup_pod_remove(p);
        (void)dir_remove_tree(logs, NULL);
        p->cleaned = true;
    }
    if (!p->wanted) {
        mirror_step(p);
        if (!p->mirror_call)
            pod_bury(p);
        return;
    }
    if (p->k->client && !p->deleted_sent) {
        p->deleted_sent = true;
        kube_delete(p->k->client, &k8s__pod__descriptor, p->ns, p->name, 0, p->uid, on_deleted, p,
                    &p->delete_call);
    }
}

static void step(struct pod *p)
{
    bool ends;

    if (p->k->stopping || list_linked(&p->link))
        return;
    if (!p->observed_once || p->stale) {
        if (!p->observation)
            pod_observe(p);
        return;
    }
    if (p->api)
        overdue(p);
    ends = !p->wanted || p->terminal || (p->api && p->api->metadata->deletiontimestamp);
    if (ends && p->op && p->op->cancellable)
        operation_cancel(p);
    if (p->api && !ends)
        probers_update(p); /* before a status is made: a new process knows readiness from it */
    if (p->api && !p->cleaned)
        pod_status_changed(p);
    if (p->api && p->wanted && pod_is_static(p))
        mirror_step(p);
    if (p->op)
        return;
    if (!ends) {
        run_step(p);
        if (p->api && p->status_dirty)
            pod_status_changed(p);
        return;
    }
    if (!p->terminating) {
        p->terminating = true;
        for (size_t i = 0; i < p->n_containers; i++)
            probers_stop(p->containers[i]);
    }
    if (pod_end_step(p))
        end_step(p);
}
