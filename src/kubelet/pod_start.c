/* Operations on sandboxes, and the end of every operation. */
#include "base/log.h"
#include "base/mem.h"
#include "kubelet/hook.h"
#include "kubelet/image.h"
#include "kubelet/pod.h"
#include "kubelet/refs.h"
#include <unistd.h>

#define SANDBOX_DEADLINE_MS 240000
#define SANDBOX_RETRY_MAX 8

struct operation *operation_new(struct pod *p, struct container *c, const char *what)
{
    struct operation *op = xcalloc(1, sizeof(*op));

    op->pod = p;
    op->c = c;
    op->what = xstrdup(what);
    op->began_ns = mono_now().ns;
    p->op = op;
    return op;
}

static void operation_free(struct operation *op)
{
    grpc_call_cancel(op->call);
    hook_cancel(op->hook);
    pull_cancel(op->pull);
    free(op->what);
    free(op->container_id);
    free(op);
}

void operation_cancel(struct pod *p)
{
    if (p->op)
        operation_free(TAKE(p->op));
}

void operation_done(struct pod *p)
{
    operation_cancel(p);
    pod_observe(p);
}

/* ---- stop ---- */

static void on_sandbox_stopped(int code, const char *message, const ProtobufCMessage *reply,
                               void *arg)
{
    struct operation *op = arg;
    struct pod *p = op->pod;

    op->call = NULL;
    if (code == GRPC_OK || code == GRPC_NOT_FOUND) {
        operation_done(p);
        return;
    }
    pod_event(p, NULL, "Warning", "FailedKillPod", "error killing pod: %s", message);
    operation_cancel(p);
    p->stale = true;
    pod_kick_at(p, wall_now().ns + 2 * NSEC_PER_SEC);
}

static void stop_call(struct operation *op, const char *id, grpc_reply_fn fn)
{
    Runtime__V1__StopPodSandboxRequest q = RUNTIME__V1__STOP_POD_SANDBOX_REQUEST__INIT;

    q.pod_sandbox_id = (char *)(uintptr_t)id;
    op->call = grpc_call_start(op->pod->k->cri, CRI_RUNTIME("StopPodSandbox"), &q.base,
                               &runtime__v1__stop_pod_sandbox_response__descriptor, 0, fn, op);
}

void pod_stop_sandbox(struct pod *p, const char *id)
{
    stop_call(operation_new(p, NULL, "stop sandbox"), id, on_sandbox_stopped);
}

/* ---- remove: containers first, then sandboxes ---- */

static void remove_next(struct operation *op);

static void on_removed(int code, const char *message, const ProtobufCMessage *reply, void *arg)
{
    struct operation *op = arg;
    struct pod *p = op->pod;

    op->call = NULL;
    if (code == GRPC_OK || code == GRPC_NOT_FOUND) {
        op->i++;
        remove_next(op);
        return;
    }
    log_warn("kubelet", "removing what is left of a pod", "pod", p->text, "error", message, NULL);
    operation_cancel(p);
    p->stale = true;
    pod_kick_at(p, wall_now().ns + 2 * NSEC_PER_SEC);
}

static void remove_next(struct operation *op)
{
    struct pod *p = op->pod;
    Runtime__V1__RemoveContainerRequest cq = RUNTIME__V1__REMOVE_CONTAINER_REQUEST__INIT;
    Runtime__V1__RemovePodSandboxRequest sq = RUNTIME__V1__REMOVE_POD_SANDBOX_REQUEST__INIT;

    if (op->i < p->obs.n_runs) {
        cq.container_id = p->obs.runs[op->i].id;
        log_link_remove(p, &p->obs.runs[op->i]);
        op->call =
            grpc_call_start(p->k->cri, CRI_RUNTIME("RemoveContainer"), &cq.base,
                            &runtime__v1__remove_container_response__descriptor, 0, on_removed, op);
    } else if (op->i - p->obs.n_runs < p->obs.n_sandboxes) {
        sq.pod_sandbox_id = p->obs.sandboxes[op->i - p->obs.n_runs].id;
        op->call = grpc_call_start(p->k->cri, CRI_RUNTIME("RemovePodSandbox"), &sq.base,
                                   &runtime__v1__remove_pod_sandbox_response__descriptor, 0,
                                   on_removed, op);
    } else {
        operation_done(p);
    }
}

void pod_remove_runtime(struct pod *p)
{
    remove_next(operation_new(p, NULL, "remove"));
}

/* ---- what is left of earlier runs ---- */

static void on_collected(int code, const char *message, const ProtobufCMessage *reply, void *arg)
{
    struct operation *op = arg;
    struct pod *p = op->pod;

    op->call = NULL;
    if (code != GRPC_OK && code != GRPC_NOT_FOUND)
        log_warn("kubelet", "removing an earlier container", "pod", p->text, "error", message,
                 NULL);
    if (code != GRPC_OK && code != GRPC_NOT_FOUND)
        operation_cancel(p); /* tried again with the next step */
    else
        operation_done(p);
}

static bool sandbox_used(const struct pod *p, const char *id)
{
    for (size_t i = 0; i < p->obs.n_runs; i++)
        if (streq(p->obs.runs[i].sandbox_id, id))
            return true;
    return false;
}

/* One dead container of a name stays for its log beside the newest, and the newest sandbox. */
bool pod_collect(struct pod *p)
{
    Runtime__V1__RemoveContainerRequest cq = RUNTIME__V1__REMOVE_CONTAINER_REQUEST__INIT;
    Runtime__V1__RemovePodSandboxRequest sq = RUNTIME__V1__REMOVE_POD_SANDBOX_REQUEST__INIT;
    struct operation *op;

    for (size_t i = 0; i < p->obs.n_runs; i++) {
        const struct run *r = &p->obs.runs[i];
        unsigned newer = 0;

        for (size_t k = 0; k < i; k++)
            newer += streq(p->obs.runs[k].name, r->name);
        if (newer < 2 || r->state == RUN_RUNNING)
            continue;
        op = operation_new(p, NULL, "collect");
        cq.container_id = r->id;
        log_link_remove(p, r);
        if (r->log_path)
            (void)unlink(r->log_path);
        if (r->last_words_file)
            (void)unlink(r->last_words_file);
        op->call = grpc_call_start(p->k->cri, CRI_RUNTIME("RemoveContainer"), &cq.base,
                                   &runtime__v1__remove_container_response__descriptor, 0,
                                   on_collected, op);
        return true;
    }
    for (size_t i = 1; i < p->obs.n_sandboxes; i++) {
        if (p->obs.sandboxes[i].ready || sandbox_used(p, p->obs.sandboxes[i].id))
            continue;
        op = operation_new(p, NULL, "collect");
        sq.pod_sandbox_id = p->obs.sandboxes[i].id;
        op->call = grpc_call_start(p->k->cri, CRI_RUNTIME("RemovePodSandbox"), &sq.base,
                                   &runtime__v1__remove_pod_sandbox_response__descriptor, 0,
                                   on_collected, op);
        return true;
    }
    return false;
}

/* ---- start ---- */

static void sandbox_failed(struct operation *op, const char *message)
{
    struct pod *p = op->pod;
    int n = p->sandbox_failures < SANDBOX_RETRY_MAX ? p->sandbox_failures++ : SANDBOX_RETRY_MAX;
    int64_t delay = (NSEC_PER_SEC / 2) << n;

    pod_event(p, NULL, "Warning", "FailedCreatePodSandBox", "Failed to create pod sandbox: %s",
              message);
    p->sandbox_retry_ns = wall_now().ns + delay;
    operation_done(p);
}

static void on_sandbox(int code, const char *message, const ProtobufCMessage *reply, void *arg)
{
    struct operation *op = arg;
    struct pod *p = op->pod;
    cleanup_free char *text = NULL;

    op->call = NULL;
    if (reply) {
        p->sandbox_failures = 0;
        p->sandbox_retry_ns = 0;
        operation_done(p);
        return;
    }
    text = xasprintf("rpc error: code = %s desc = %s", grpc_code_name(code), message);
    sandbox_failed(op, text);
}

static void run_sandbox(struct operation *op)
{
    struct pod *p = op->pod;
    cleanup_error struct error *err = NULL;
    Runtime__V1__RunPodSandboxRequest q = RUNTIME__V1__RUN_POD_SANDBOX_REQUEST__INIT;
    struct arena a;

    arena_init(&a, 4096);
    q.config = sandbox_config(&a, p, op->attempt, &err);
    if (!q.config) {
        arena_fini(&a);
        sandbox_failed(op, error_message(err));
        return;
    }
    op->call = grpc_call_start(p->k->cri, CRI_RUNTIME("RunPodSandbox"), &q.base,
                               &runtime__v1__run_pod_sandbox_response__descriptor,
                               SANDBOX_DEADLINE_MS, on_sandbox, op);
    arena_fini(&a);
}

static void on_old_stopped(int code, const char *message, const ProtobufCMessage *reply, void *arg)
{
    struct operation *op = arg;

    op->call = NULL;
    if (code == GRPC_OK || code == GRPC_NOT_FOUND)
        run_sandbox(op);
    else
        sandbox_failed(op, message);
}

void pod_start_sandbox(struct pod *p)
{
    const struct sandbox *old = observed_sandbox(&p->obs);
    struct operation *op = operation_new(p, NULL, "sandbox");

    if (!old) {
        run_sandbox(op);
        return;
    }
    op->attempt = old->attempt + 1;
    if (!p->sandbox_failures)
        pod_event(p, NULL, "Normal", "SandboxChanged",
                  "Pod sandbox changed, it will be killed and re-created.");
    stop_call(op, old->id, on_old_stopped);
}
