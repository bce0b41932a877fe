/* The operation that brings one container up: image, configuration, create, start, postStart. */
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "kubelet/decide.h"
#include "kubelet/hook.h"
#include "kubelet/image.h"
#include "kubelet/pod.h"
#include "kubelet/refs.h"
#include <errno.h>
#include <unistd.h>

#define CONFIG_RETRY_NS (10 * NSEC_PER_SEC)
#define START_RETRY_NS (10 * NSEC_PER_SEC)

/* ---- /var/log/containers ---- */

static char *link_path(struct pod *p, const char *container, const char *id)
{
    return xasprintf("%s/%s_%s_%s-%s.log", p->k->cfg->container_log_dir, p->name, p->ns, container,
                     id);
}

void log_link_make(struct pod *p, const char *container, const char *id, const char *target)
{
    cleanup_free char *path = link_path(p, container, id);

    (void)dir_make_parent(path, 0755, NULL);
    (void)unlink(path);
    if (symlink(target, path) < 0)
        log_warn("kubelet", "linking a log", "path", path, "error", strerror(errno), NULL);
}

void log_link_remove(struct pod *p, const struct run *r)
{
    cleanup_free char *path = link_path(p, r->name, r->id);

    (void)unlink(path);
}

/* ---- failure ---- */

static void failed(struct operation *op, const char *reason, const char *message, int64_t retry_ns)
{
    struct pod *p = op->pod;
    struct container *c = op->c;

    container_wait(c, reason, message);
    c->retry_ns = retry_ns;
    operation_done(p);
}

/* ---- postStart ---- */

static void on_post_start(const char *failure, void *arg)
{
    struct operation *op = arg;
    struct pod *p = op->pod;
    struct container *c = op->c;
    struct run r = {.id = op->container_id, .name = c->spec->name};

    op->hook = NULL;
    if (failure) {
        log_warn("kubelet", "postStart hook", "pod", p->text, "container", c->spec->name, "error",
                 failure, NULL);
        pod_event(p, c, "Warning", "FailedPostStartHook", "PostStartHook failed");
        pod_kill_container(p, &r, pod_grace_s(p), "FailedPostStartHook");
        c->retry_ns = wall_now().ns + NSEC_PER_SEC;
    }
    operation_done(p);
}

/* ---- start ---- */

static void on_started(int code, const char *message, const ProtobufCMessage *reply, void *arg)
{
    struct operation *op = arg;
    struct pod *p = op->pod;
    struct container *c = op->c;
    cleanup_free char *dir = pod_log_dir(p);
    cleanup_free char *log = xasprintf("%s/%s/%u.log", dir, c->spec->name, op->attempt);

    op->call = NULL;
    if (!reply) {
        pod_event(p, c, "Warning", "Failed", "Error: %s", message);
        failed(op, "RunContainerError", message, 0);
        return;
    }
    pod_event(p, c, "Normal", "Started", "Container started");
    log_link_make(p, c->spec->name, op->container_id, log);
    container_wait(c, NULL, NULL);
    c->retry_ns = 0;
    if (c->spec->lifecycle && c->spec->lifecycle->poststart) {
        op->hook =
            hook_start(c, op->container_id, c->spec->lifecycle->poststart, on_post_start, op);
        op->cancellable = true;
        return;
    }
    operation_done(p);
}

static void on_created(int code, const char *message, const ProtobufCMessage *reply, void *arg)
{
    struct operation *op = arg;
    struct pod *p = op->pod;
    const Runtime__V1__CreateContainerResponse *r = (const void *)reply;
    Runtime__V1__StartContainerRequest q = RUNTIME__V1__START_CONTAINER_REQUEST__INIT;

    op->call = NULL;
    if (!r) {
        pod_event(p, op->c, "Warning", "Failed", "Error: %s", message);
        failed(op, "CreateContainerError", message, wall_now().ns + START_RETRY_NS);
        return;
    }
    op->container_id = xstrdup(r->container_id);
    pod_event(p, op->c, "Normal", "Created", "Container created");
    q.container_id = op->container_id;
    op->call =
        grpc_call_start(p->k->cri, CRI_RUNTIME("StartContainer"), &q.base,
                        &runtime__v1__start_container_response__descriptor, 0, on_started, op);
}

/* ---- create ---- */

static void create(struct operation *op)
{
    struct pod *p = op->pod;
    struct container *c = op->c;
    const struct sandbox *s = observed_sandbox(&p->obs);
    cleanup_error struct error *err = NULL;
    Runtime__V1__CreateContainerRequest q = RUNTIME__V1__CREATE_CONTAINER_REQUEST__INIT;
    struct arena a;
    int r;

    arena_init(&a, 16 * 1024);
    r = container_config(&a, c, op->attempt, s->ip, &q.config, &err);
    if (r >= 0)
        q.sandbox_config = sandbox_config(&a, p, s->attempt, &err);
    if (r == -EAGAIN) { /* refs step the pod when they are there */
        arena_fini(&a);
        op->cancellable = false;
        c->retry_ns = wall_now().ns + NSEC_PER_SEC;
        operation_done(p);
        return;
    }
    if (r < 0 || !q.sandbox_config) {
        arena_fini(&a);
        if (!streq(c->wait_message, error_message(err)))
            pod_event(p, c, "Warning", "Failed", "Error: %s", error_message(err));
        failed(op, "CreateContainerConfigError", error_message(err),
               wall_now().ns + CONFIG_RETRY_NS);
        return;
    }
    q.config->image->image = arena_strdup(&a, c->image_ref);
    q.config->image->user_specified_image = arena_strdup(&a, c->spec->image);
    q.pod_sandbox_id = s->id;
    op->call =
        grpc_call_start(p->k->cri, CRI_RUNTIME("CreateContainer"), &q.base,
                        &runtime__v1__create_container_response__descriptor, 0, on_created, op);
    arena_fini(&a);
}

static void on_image(const struct pull_result *r, void *arg)
{
    struct operation *op = arg;
    struct container *c = op->c;

    op->cancellable = false;
    if (!r->reason) {
        str_replace(&c->image_ref, r->ref);
        pull_cancel(TAKE(op->pull));
        create(op);
        return;
    }
    if (!streq(r->reason, c->wait_reason))
        pod_event(op->pod, c, "Warning", "Failed", "Error: %s", r->reason);
    cleanup_free char *message = xstrdup(r->message);
    const char *reason = r->reason;
    int64_t retry = r->retry_ns;
    /* after the first failure the container is seen to back off */
    if (streq(reason, "ErrImagePull"))
        retry = wall_now().ns + 2 * NSEC_PER_SEC;
    failed(op, reason, message, retry);
}

static bool secrets_ready(struct pod *p)
{
    bool ready = true;
    K8s__Secret *s;

    for (size_t i = 0; i < p->api->spec->n_imagepullsecrets; i++)
        if (p->api->spec->imagepullsecrets[i]->name && p->k->client &&
            refs_secret(p, p->api->spec->imagepullsecrets[i]->name, &s, NULL) == REF_PENDING)
            ready = false;
    return ready;
}

void pod_start_container(struct pod *p, struct container *c)
{
    const struct run *last = observed_run(&p->obs, c->spec->name, NULL, 0);
    const struct sandbox *s = observed_sandbox(&p->obs);
    struct operation *op;

    if (!pod_is_static(p) && !secrets_ready(p))
        return; /* stepped again when they came */
    op = operation_new(p, c, "container");
    op->attempt = last                    ? last->attempt + 1
                  : c->known_restarts > 0 ? (uint32_t)c->known_restarts + 1
                                          : 0;
    if (last && last->state == RUN_EXITED && s && streq(last->sandbox_id, s->id) && !c->retry_ns)
        crash_next(&c->crash, wall_now().ns, container_max_backoff_ns(p->k));
    op->cancellable = true;
    op->pull = pull_start(c, on_image, op);
}
