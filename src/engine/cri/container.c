#include "engine/cri/cri_private.h"
#include "base/cleanup.h"
#include "base/file.h"
#include <errno.h>

/* ---- make ---- */
static void on_create(struct grpc_context *x, const ProtobufCMessage *request, void *arg)
{
    const Runtime__V1__CreateContainerRequest *q =
        (const Runtime__V1__CreateContainerRequest *)request;
    struct engine *e = arg;
    Runtime__V1__CreateContainerResponse r = RUNTIME__V1__CREATE_CONTAINER_RESPONSE__INIT;
    struct sandbox *s = cri_sandbox(e, x, q->pod_sandbox_id);
    cleanup_error struct error *err = NULL;
    const struct image *image;
    struct container *c;

    if (!s)
        return;
    if (!q->config || !q->config->metadata || !q->config->image) {
        grpc_fail(x, GRPC_INVALID_ARGUMENT, "container configuration lacks its name or image");
        return;
    }
    if (!s->ready || s->removing) {
        grpc_fail(x, GRPC_FAILED_PRECONDITION, "sandbox %s is not ready", s->id);
        return;
    }
    image = image_get(e->images, q->config->image->image);
    if (!image) {
        grpc_fail(x, GRPC_NOT_FOUND, "image \"%s\" is not here", q->config->image->image);
        return;
    }
    if (container_create(e, s, q->config, image, &c, &err) < 0) {
        grpc_fail_error(x, err);
        return;
    }
    r.container_id = c->id;
    grpc_reply(x, &r.base);
}

static void on_started(struct container *c, const struct error *err, void *arg)
{
    Runtime__V1__StartContainerResponse r = RUNTIME__V1__START_CONTAINER_RESPONSE__INIT;

    (void)c;
    if (err)
        grpc_fail(arg, err->code == EINVAL ? GRPC_FAILED_PRECONDITION : GRPC_UNKNOWN, "%s",
                  error_message(err));
    else
        grpc_reply(arg, &r.base);
}

static void on_start(struct grpc_context *x, const ProtobufCMessage *request, void *arg)
{
    const Runtime__V1__StartContainerRequest *q =
        (const Runtime__V1__StartContainerRequest *)request;
    struct container *c = cri_container(arg, x, q->container_id);

    if (c)
        container_start(c, on_started, x);
}

/* ---- stop, remove ---- */
static struct container *find_or_done(struct engine *e, const char *id)
{
    void *found;

    return engine_find(&e->containers, "container", id, &found, NULL) == 0 ? found : NULL;
}

static void on_stopped(struct container *c, const struct error *err, void *arg)
{
    Runtime__V1__StopContainerResponse r = RUNTIME__V1__STOP_CONTAINER_RESPONSE__INIT;

    (void)c;
    if (err)
        grpc_fail_error(arg, err);
    else
        grpc_reply(arg, &r.base);
}

static void on_stop(struct grpc_context *x, const ProtobufCMessage *request, void *arg)
{
    const Runtime__V1__StopContainerRequest *q = (const Runtime__V1__StopContainerRequest *)request;
    struct container *c = find_or_done(arg, q->container_id);
    int64_t seconds = q->timeout < 0 ? 0 : q->timeout > 86400 ? 86400 : q->timeout;

    if (c)
        container_stop(c, seconds * 1000, on_stopped, x);
    else
        on_stopped(NULL, NULL, x);
}

static void on_removed(struct container *c, const struct error *err, void *arg)
{
    Runtime__V1__RemoveContainerResponse r = RUNTIME__V1__REMOVE_CONTAINER_RESPONSE__INIT;

    (void)c;
    if (err)
        grpc_fail_error(arg, err);
    else
        grpc_reply(arg, &r.base);
}

static void on_remove(struct grpc_context *x, const ProtobufCMessage *request, void *arg)
{
    const Runtime__V1__RemoveContainerRequest *q =
        (const Runtime__V1__RemoveContainerRequest *)request;
    struct container *c = find_or_done(arg, q->container_id);

    if (c)
        container_remove(c, on_removed, x);
    else
        on_removed(NULL, NULL, x);
}

/* ---- look ---- */
static Runtime__V1__ContainerState cri_state(const struct container *c)
{
    static const Runtime__V1__ContainerState states[] = {
        [CONTAINER_CREATED] = RUNTIME__V1__CONTAINER_STATE__CONTAINER_CREATED,
        [CONTAINER_RUNNING] = RUNTIME__V1__CONTAINER_STATE__CONTAINER_RUNNING,
        [CONTAINER_EXITED] = RUNTIME__V1__CONTAINER_STATE__CONTAINER_EXITED,
    };

    return states[c->state];
}

/* As upstream: the digest reference of the image where it has one, else its id. */
static char *image_ref(const struct container *c)
{
    const struct image *im = image_get(c->engine->images, c->image_id);

    return im && im->repo_digests.n ? im->repo_digests.v[0] : c->image_id;
}

Runtime__V1__ContainerStatus *cri_container_status(struct arena *a, struct container *c)
{
    Runtime__V1__ContainerStatus *r =
        NEW(a, Runtime__V1__ContainerStatus, runtime__v1__container_status__init);
    Runtime__V1__LinuxContainerUser *u =
        NEW(a, Runtime__V1__LinuxContainerUser, runtime__v1__linux_container_user__init);

    r->id = c->id;
    r->metadata = c->config->metadata;
    r->state = cri_state(c);
    r->created_at = c->created_at;
    r->started_at = c->started_at;
    r->finished_at = c->finished_at;
    r->exit_code = c->exit_code;
    r->image = c->config->image;
    r->image_ref = image_ref(c);
    r->image_id = c->image_id;
    r->reason = c->reason ? c->reason : (char *)"";
    r->message = c->message ? c->message : (char *)"";
    r->n_labels = c->config->n_labels;
    r->labels = (void *)c->config->labels;
    r->n_annotations = c->config->n_annotations;
    r->annotations = (void *)c->config->annotations;
    r->n_mounts = c->config->n_mounts;
    r->mounts = c->config->mounts;
    r->log_path = c->log_path ? c->log_path : (char *)"";
    r->stop_signal = c->config->stop_signal;
    r->resources = NEW(a, Runtime__V1__ContainerResources, runtime__v1__container_resources__init);
    r->resources->linux = c->config->linux ? c->config->linux->resources : NULL;
    u->uid = c->user.uid;
    u->gid = c->user.gid;
    u->n_supplemental_groups = c->user.groups_n;
    u->supplemental_groups = c->user.groups;
    r->user = NEW(a, Runtime__V1__ContainerUser, runtime__v1__container_user__init);
    r->user->linux = u;
    return r;
}

size_t cri_container_statuses(struct arena *a, const struct sandbox *s,
                              Runtime__V1__ContainerStatus ***ret)
{
    struct map_entry *m;
    size_t it = 0, n = 0;

    *ret = NULL;
    if (!s)
        return 0;
    *ret = arena_alloc(a, (s->engine->containers.n + 1) * sizeof(void *));
    while ((m = map_next(&s->engine->containers, &it))) {
        struct container *c = m->value;

        if (c->sandbox == s)
            (*ret)[n++] = cri_container_status(a, c);
    }
    return n;
}

static void on_container_status(struct grpc_context *x, const ProtobufCMessage *request, void *arg)
{
    const Runtime__V1__ContainerStatusRequest *q =
        (const Runtime__V1__ContainerStatusRequest *)request;
    struct container *c = cri_container(arg, x, q->container_id);
    Runtime__V1__ContainerStatusResponse r = RUNTIME__V1__CONTAINER_STATUS_RESPONSE__INIT;
    Runtime__V1__ContainerStatusResponse__InfoEntry info =
        RUNTIME__V1__CONTAINER_STATUS_RESPONSE__INFO_ENTRY__INIT;
    Runtime__V1__ContainerStatusResponse__InfoEntry *infos[] = {&info};
    struct arena a;

    if (!c)
        return;
    arena_init(&a, 0);
    r.status = cri_container_status(&a, c);
    if (q->verbose) {
        cleanup_free char *run = container_run_dir(c), *path = path_join(run, "config.json");
        cleanup_buf struct buf spec = {0};

        (void)file_read(path, 4 << 20, &spec, NULL);
        info.key = (char *)"info";
        info.value =
            arena_printf(&a, "{\"sandboxID\":\"%s\",\"pid\":%d,\"removing\":%s,\"runtimeSpec\":%s}",
                         c->sandbox_id, c->init > 0 ? (int)c->init : 0,
                         c->removing ? "true" : "false", spec.n ? spec.p : "null");
        r.n_info = 1;
        r.info = infos;
    }
    grpc_reply(x, &r.base);
    arena_fini(&a);
}

static bool wanted(const Runtime__V1__ContainerFilter *f, const struct container *c)
{
    if (!f)
        return true;
    if (f->state && f->state->state != cri_state(c))
        return false;
    return cri_id_matches(f->id, c->id) && cri_id_matches(f->pod_sandbox_id, c->sandbox_id) &&
           cri_labels_match(f->label_selector, f->n_label_selector, c->config->labels,
                            c->config->n_labels);
}

static Runtime__V1__Container *item(struct arena *a, struct container *c)
{
    Runtime__V1__Container *r = NEW(a, Runtime__V1__Container, runtime__v1__container__init);

    r->id = c->id;
    r->pod_sandbox_id = c->sandbox_id;
    r->metadata = c->config->metadata;
    r->image = c->config->image;
    r->image_ref = c->image_id;
    r->image_id = c->image_id;
    r->state = cri_state(c);
    r->created_at = c->created_at;
    r->n_labels = c->config->n_labels;
    r->labels = (void *)c->config->labels;
    r->n_annotations = c->config->n_annotations;
    r->annotations = (void *)c->config->annotations;
    return r;
}

static size_t collect(struct arena *a, struct engine *e, const Runtime__V1__ContainerFilter *f,
                      Runtime__V1__Container ***ret)
{
    struct map_entry *m;
    size_t it = 0, n = 0;

    *ret = arena_alloc(a, (e->containers.n + 1) * sizeof(void *));
    while ((m = map_next(&e->containers, &it)))
        if (wanted(f, m->value))
            (*ret)[n++] = item(a, m->value);
    return n;
}

static void on_list(struct grpc_context *x, const ProtobufCMessage *request, void *arg)
{
    const Runtime__V1__ListContainersRequest *q =
        (const Runtime__V1__ListContainersRequest *)request;
    Runtime__V1__ListContainersResponse r = RUNTIME__V1__LIST_CONTAINERS_RESPONSE__INIT;
    struct arena a;

    arena_init(&a, 0);
    r.n_containers = collect(&a, arg, q->filter, &r.containers);
    grpc_reply(x, &r.base);
    arena_fini(&a);
}

static void on_stream(struct grpc_context *x, const ProtobufCMessage *request, void *arg)
{
    const Runtime__V1__StreamContainersRequest *q =
        (const Runtime__V1__StreamContainersRequest *)request;
    Runtime__V1__StreamContainersResponse r = RUNTIME__V1__STREAM_CONTAINERS_RESPONSE__INIT;
    struct arena a;

    arena_init(&a, 0);
    r.n_containers = collect(&a, arg, q->filter, &r.containers);
    if (r.n_containers)
        (void)grpc_send(x, &r.base);
    grpc_finish(x, GRPC_OK, "");
    arena_fini(&a);
}

/* ---- change ---- */
struct update {
    struct grpc_context *x;
    struct engine *engine;
    Runtime__V1__LinuxContainerResources *resources; /* owned until they hold */
    char id[ID_TEXT];
};

static void merge(struct container *c, Runtime__V1__LinuxContainerResources *r)
{
    if (!c->config->linux) {
        c->config->linux = xcalloc(1, sizeof *c->config->linux);
        runtime__v1__linux_container_config__init(c->config->linux);
    }
    if (c->config->linux->resources)
        runtime__v1__linux_container_resources__free_unpacked(c->config->linux->resources, NULL);
    c->config->linux->resources = r;
}

/* What the update leaves at zero stays as it was. */
static Runtime__V1__LinuxContainerResources *merged(const struct container *c,
                                                    const Runtime__V1__LinuxContainerResources *q)
{
    static const Runtime__V1__LinuxContainerResources none =
        RUNTIME__V1__LINUX_CONTAINER_RESOURCES__INIT;
    const Runtime__V1__LinuxContainerResources *old =
        c->config->linux && c->config->linux->resources ? c->config->linux->resources : &none;
    Runtime__V1__LinuxContainerResources m = *q;
    cleanup_free uint8_t *wire = NULL;
    size_t n;

    m.cpu_period = q->cpu_period ? q->cpu_period : old->cpu_period;
    m.cpu_quota = q->cpu_quota ? q->cpu_quota : old->cpu_quota;
    m.cpu_shares = q->cpu_shares ? q->cpu_shares : old->cpu_shares;
    m.memory_limit_in_bytes =
        q->memory_limit_in_bytes ? q->memory_limit_in_bytes : old->memory_limit_in_bytes;
    m.memory_swap_limit_in_bytes = q->memory_swap_limit_in_bytes ? q->memory_swap_limit_in_bytes
                                                                 : old->memory_swap_limit_in_bytes;
    m.oom_score_adj = q->oom_score_adj ? q->oom_score_adj : old->oom_score_adj;
    m.cpuset_cpus = q->cpuset_cpus[0] ? q->cpuset_cpus : old->cpuset_cpus;
    m.cpuset_mems = q->cpuset_mems[0] ? q->cpuset_mems : old->cpuset_mems;
    n = protobuf_c_message_get_packed_size(&m.base);
    wire = xmalloc(n + 1);
    (void)protobuf_c_message_pack(&m.base, wire);
    return runtime__v1__linux_container_resources__unpack(NULL, n, wire);
}

static void update_finish(struct update *u, const char *error)
{
    Runtime__V1__UpdateContainerResourcesResponse r =
        RUNTIME__V1__UPDATE_CONTAINER_RESOURCES_RESPONSE__INIT;
    struct container *c = map_get(&u->engine->containers, u->id);

    if (error) {
        grpc_fail(u->x, GRPC_INTERNAL, "update container: %s", error);
    } else {
        if (c) {
            merge(c, TAKE(u->resources));
            (void)container_save(c, NULL);
        }
        grpc_reply(u->x, &r.base);
    }
    if (u->resources)
        runtime__v1__linux_container_resources__free_unpacked(u->resources, NULL);
    free(u);
}

static void on_updated(struct process *p, const struct process_result *r, void *arg)
{
    cleanup_free char *text = str_dup(str_trim(r->err));

    (void)p;
    update_finish(arg, r->timed_out ? "the runtime did not answer" : r->wait_status ? text : NULL);
}

static void on_update(struct grpc_context *x, const ProtobufCMessage *request, void *arg)
{
    const Runtime__V1__UpdateContainerResourcesRequest *q =
        (const Runtime__V1__UpdateContainerResourcesRequest *)request;
    struct engine *e = arg;
    struct container *c = cri_container(e, x, q->container_id);
    const char *args[] = {"update", "--resources", "-", c ? c->id : "", NULL};
    cleanup_json json_t *resources = NULL;
    cleanup_buf struct buf text;
    cleanup_error struct error *err = NULL;
    struct process *p;
    struct update *u;

    buf_init(&text, 1 << 20);
    if (!c)
        return;
    if (c->state == CONTAINER_EXITED || !q->linux) {
        grpc_fail(x, GRPC_FAILED_PRECONDITION,
                  "container %s has exited, or nothing to update was given", c->id);
        return;
    }
    u = xcalloc(1, sizeof *u);
    *u = (struct update){.x = x, .engine = e, .resources = merged(c, q->linux)};
    memcpy(u->id, c->id, sizeof u->id);
    resources = spec_resources(u->resources, e->cgroups.unified, e->cgroups.has_swap);
    (void)json_write(resources, &text);
    if (c->state == CONTAINER_CREATED) {
        cleanup_free char *run = container_run_dir(c), *path = path_join(run, "config.json");
        cleanup_buf struct buf old = {0};
        cleanup_json json_t *spec = NULL;
        json_t *slot;

        /* Not yet known to the runtime: its bundle is what counts. */
        if (file_read(path, 4 << 20, &old, &err) == 0 &&
            json_parse(buf_str(&old), 4 << 20, path, &spec, &err) == 0 &&
            (slot = json_at(spec, "linux", "resources", NULL))) {
            (void)json_object_update(slot, resources);
            buf_clear(&text);
            (void)json_write(spec, &text);
            (void)file_write_atomic_nosync(path, 0600, buf_str(&text), &err);
        }
        update_finish(u, err ? error_message(err) : NULL);
        return;
    }
    if (runtime_start(e->loop, &e->runtime, args, buf_str(&text), on_updated, u, &p, &err) < 0)
        update_finish(u, error_message(err));
}

static void on_reopened(int code, void *arg)
{
    Runtime__V1__ReopenContainerLogResponse r = RUNTIME__V1__REOPEN_CONTAINER_LOG_RESPONSE__INIT;

    if (code)
        grpc_fail(arg, GRPC_UNKNOWN, "reopen log: %s", strerror(code));
    else
        grpc_reply(arg, &r.base);
}

static void on_reopen(struct grpc_context *x, const ProtobufCMessage *request, void *arg)
{
    const Runtime__V1__ReopenContainerLogRequest *q =
        (const Runtime__V1__ReopenContainerLogRequest *)request;
    struct container *c = cri_container(arg, x, q->container_id);

    if (!c)
        return;
    if (c->state != CONTAINER_RUNNING || !c->control)
        grpc_fail(x, GRPC_FAILED_PRECONDITION, "container %s is not running", c->id);
    else
        control_reopen_log(c->control, on_reopened, x);
}

void cri_register_container(struct engine *e)
{
    static const struct cri_method methods[] = {
        {"CreateContainer", &runtime__v1__create_container_request__descriptor, on_create},
        {"StartContainer", &runtime__v1__start_container_request__descriptor, on_start},
        {"StopContainer", &runtime__v1__stop_container_request__descriptor, on_stop},
        {"RemoveContainer", &runtime__v1__remove_container_request__descriptor, on_remove},
        {"ListContainers", &runtime__v1__list_containers_request__descriptor, on_list},
        {"StreamContainers", &runtime__v1__stream_containers_request__descriptor, on_stream},
        {"ContainerStatus", &runtime__v1__container_status_request__descriptor,
         on_container_status},
        {"UpdateContainerResources", &runtime__v1__update_container_resources_request__descriptor,
         on_update},
        {"ReopenContainerLog", &runtime__v1__reopen_container_log_request__descriptor, on_reopen},
    };

    cri_register(e, methods, ARRAY_LEN(methods));
}
