#include "engine/cri/cri_private.h"
#include "base/cleanup.h"

/* ---- make, stop, remove ---- */
static void on_ran(struct sandbox *s, const struct error *err, void *arg)
{
    struct grpc_context *x = arg;
    Runtime__V1__RunPodSandboxResponse r = RUNTIME__V1__RUN_POD_SANDBOX_RESPONSE__INIT;

    if (!s) {
        grpc_fail_error(x, err);
        return;
    }
    r.pod_sandbox_id = s->id;
    grpc_reply(x, &r.base);
}

static void on_run(struct grpc_context *x, const ProtobufCMessage *request, void *arg)
{
    const Runtime__V1__RunPodSandboxRequest *q = (const Runtime__V1__RunPodSandboxRequest *)request;

    if (!q->config)
        grpc_fail(x, GRPC_INVALID_ARGUMENT, "sandbox configuration is missing");
    else
        sandbox_run(arg, q->config, q->runtime_handler, on_ran, x);
}

static void on_stopped(struct sandbox *s, const struct error *err, void *arg)
{
    Runtime__V1__StopPodSandboxResponse r = RUNTIME__V1__STOP_POD_SANDBOX_RESPONSE__INIT;

    (void)s;
    if (err)
        grpc_fail_error(arg, err);
    else
        grpc_reply(arg, &r.base);
}

/* What is not there is stopped and removed already; NULL then. Ambiguous prefixes are errors. */
static struct sandbox *find_or_done(struct engine *e, const char *id)
{
    void *found;

    return engine_find(&e->sandboxes, "sandbox", id, &found, NULL) == 0 ? found : NULL;
}

static void on_stop(struct grpc_context *x, const ProtobufCMessage *request, void *arg)
{
    const Runtime__V1__StopPodSandboxRequest *q =
        (const Runtime__V1__StopPodSandboxRequest *)request;
    struct sandbox *s = find_or_done(arg, q->pod_sandbox_id);

    if (s)
        sandbox_stop(s, on_stopped, x);
    else
        on_stopped(NULL, NULL, x);
}

static void on_removed(struct sandbox *s, const struct error *err, void *arg)
{
    Runtime__V1__RemovePodSandboxResponse r = RUNTIME__V1__REMOVE_POD_SANDBOX_RESPONSE__INIT;

    (void)s;
    if (err)
        grpc_fail_error(arg, err);
    else
        grpc_reply(arg, &r.base);
}

static void on_remove(struct grpc_context *x, const ProtobufCMessage *request, void *arg)
{
    const Runtime__V1__RemovePodSandboxRequest *q =
        (const Runtime__V1__RemovePodSandboxRequest *)request;
    struct sandbox *s = find_or_done(arg, q->pod_sandbox_id);

    if (s)
        sandbox_remove(s, on_removed, x);
    else
        on_removed(NULL, NULL, x);
}

/* ---- look ---- */
Runtime__V1__PodSandboxStatus *cri_sandbox_status(struct arena *a, const struct sandbox *s)
{
    Runtime__V1__PodSandboxStatus *r =
        NEW(a, Runtime__V1__PodSandboxStatus, runtime__v1__pod_sandbox_status__init);
    Runtime__V1__NamespaceOption *o =
        NEW(a, Runtime__V1__NamespaceOption, runtime__v1__namespace_option__init);
    const Runtime__V1__NamespaceOption *have = sandbox_namespaces(s);

    r->id = (char *)s->id;
    r->metadata = s->config->metadata;
    r->state = s->ready ? RUNTIME__V1__POD_SANDBOX_STATE__SANDBOX_READY
                        : RUNTIME__V1__POD_SANDBOX_STATE__SANDBOX_NOTREADY;
    r->created_at = s->created_at;
    r->network =
        NEW(a, Runtime__V1__PodSandboxNetworkStatus, runtime__v1__pod_sandbox_network_status__init);
    r->network->ip = (char *)(s->ready ? s->ip : "");
    r->linux =
        NEW(a, Runtime__V1__LinuxPodSandboxStatus, runtime__v1__linux_pod_sandbox_status__init);
    r->linux->namespaces = NEW(a, Runtime__V1__Namespace, runtime__v1__namespace__init);
    r->linux->namespaces->options = o;
    if (have) {
        o->network = have->network;
        o->pid = have->pid;
        o->ipc = have->ipc;
        o->target_id = have->target_id;
    }
    r->n_labels = s->config->n_labels;
    r->labels = (void *)s->config->labels;
    r->n_annotations = s->config->n_annotations;
    r->annotations = (void *)s->config->annotations;
    r->runtime_handler = s->handler;
    return r;
}

static void on_sandbox_status(struct grpc_context *x, const ProtobufCMessage *request, void *arg)
{
    const Runtime__V1__PodSandboxStatusRequest *q =
        (const Runtime__V1__PodSandboxStatusRequest *)request;
    struct engine *e = arg;
    struct sandbox *s = cri_sandbox(e, x, q->pod_sandbox_id);
    Runtime__V1__PodSandboxStatusResponse r = RUNTIME__V1__POD_SANDBOX_STATUS_RESPONSE__INIT;
    Runtime__V1__PodSandboxStatusResponse__InfoEntry info =
        RUNTIME__V1__POD_SANDBOX_STATUS_RESPONSE__INFO_ENTRY__INIT;
    Runtime__V1__PodSandboxStatusResponse__InfoEntry *infos[] = {&info};
    struct arena a;

    if (!s)
        return;
    arena_init(&a, 0);
    r.status = cri_sandbox_status(&a, s);
    r.timestamp = wall_now().ns;
    r.n_containers_statuses = cri_container_statuses(&a, s, &r.containers_statuses);
    if (q->verbose) {
        cleanup_free char *run = sandbox_run_dir(s);

        info.key = (char *)"info";
        info.value = arena_printf(&a, "{\"pid\":%d,\"runDir\":\"%s\"}", (int)s->reaper, run);
        r.n_info = 1;
        r.info = infos;
    }
    grpc_reply(x, &r.base);
    arena_fini(&a);
}

static bool wanted(const Runtime__V1__PodSandboxFilter *f, const struct sandbox *s)
{
    if (!f)
        return true;
    if (f->state && (f->state->state == RUNTIME__V1__POD_SANDBOX_STATE__SANDBOX_READY) != s->ready)
        return false;
    return cri_id_matches(f->id, s->id) && cri_labels_match(f->label_selector, f->n_label_selector,
                                                            s->config->labels, s->config->n_labels);
}

static Runtime__V1__PodSandbox *item(struct arena *a, const struct sandbox *s)
{
    Runtime__V1__PodSandbox *r = NEW(a, Runtime__V1__PodSandbox, runtime__v1__pod_sandbox__init);

    r->id = (char *)s->id;
    r->metadata = s->config->metadata;
    r->state = s->ready ? RUNTIME__V1__POD_SANDBOX_STATE__SANDBOX_READY
                        : RUNTIME__V1__POD_SANDBOX_STATE__SANDBOX_NOTREADY;
    r->created_at = s->created_at;
    r->n_labels = s->config->n_labels;
    r->labels = (void *)s->config->labels;
    r->n_annotations = s->config->n_annotations;
    r->annotations = (void *)s->config->annotations;
    r->runtime_handler = s->handler;
    return r;
}

static size_t collect(struct arena *a, struct engine *e, const Runtime__V1__PodSandboxFilter *f,
                      Runtime__V1__PodSandbox ***ret)
{
    struct map_entry *m;
    size_t it = 0, n = 0;

    *ret = arena_alloc(a, (e->sandboxes.n + 1) * sizeof(void *));
    while ((m = map_next(&e->sandboxes, &it)))
        if (wanted(f, m->value))
            (*ret)[n++] = item(a, m->value);
    return n;
}

static void on_list(struct grpc_context *x, const ProtobufCMessage *request, void *arg)
{
    const Runtime__V1__ListPodSandboxRequest *q =
        (const Runtime__V1__ListPodSandboxRequest *)request;
    Runtime__V1__ListPodSandboxResponse r = RUNTIME__V1__LIST_POD_SANDBOX_RESPONSE__INIT;
    struct arena a;

    arena_init(&a, 0);
    r.n_items = collect(&a, arg, q->filter, &r.items);
    grpc_reply(x, &r.base);
    arena_fini(&a);
}

static void on_stream(struct grpc_context *x, const ProtobufCMessage *request, void *arg)
{
    const Runtime__V1__StreamPodSandboxesRequest *q =
        (const Runtime__V1__StreamPodSandboxesRequest *)request;
    Runtime__V1__StreamPodSandboxesResponse r = RUNTIME__V1__STREAM_POD_SANDBOXES_RESPONSE__INIT;
    struct arena a;

    arena_init(&a, 0);
    r.n_pod_sandboxes = collect(&a, arg, q->filter, &r.pod_sandboxes);
    if (r.n_pod_sandboxes)
        (void)grpc_send(x, &r.base);
    grpc_finish(x, GRPC_OK, "");
    arena_fini(&a);
}

static void on_update_resources(struct grpc_context *x, const ProtobufCMessage *request, void *arg)
{
    const Runtime__V1__UpdatePodSandboxResourcesRequest *q =
        (const Runtime__V1__UpdatePodSandboxResourcesRequest *)request;
    Runtime__V1__UpdatePodSandboxResourcesResponse r =
        RUNTIME__V1__UPDATE_POD_SANDBOX_RESOURCES_RESPONSE__INIT;

    /* Only news for those who keep a process per sandbox: the pod's cgroup is the kubelet's. */
    if (cri_sandbox(arg, x, q->pod_sandbox_id))
        grpc_reply(x, &r.base);
}

void cri_register_sandbox(struct engine *e)
{
    static const struct cri_method methods[] = {
        {"RunPodSandbox", &runtime__v1__run_pod_sandbox_request__descriptor, on_run},
        {"StopPodSandbox", &runtime__v1__stop_pod_sandbox_request__descriptor, on_stop},
        {"RemovePodSandbox", &runtime__v1__remove_pod_sandbox_request__descriptor, on_remove},
        {"PodSandboxStatus", &runtime__v1__pod_sandbox_status_request__descriptor,
         on_sandbox_status},
        {"ListPodSandbox", &runtime__v1__list_pod_sandbox_request__descriptor, on_list},
        {"StreamPodSandboxes", &runtime__v1__stream_pod_sandboxes_request__descriptor, on_stream},
        {"UpdatePodSandboxResources",
         &runtime__v1__update_pod_sandbox_resources_request__descriptor, on_update_resources},
    };

    cri_register(e, methods, ARRAY_LEN(methods));
}
