#include "engine/cri/cri_private.h"
#include "base/cleanup.h"
#include "base/file.h"
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

#define LAYER_COUNT_EVERY_NS (60 * NSEC_PER_SEC)
#define LAYER_ENTRIES_MAX                                                                          \
    20000 /* a larger writable layer is counted so far: the walk must not stop the engine */
#define MAX_DEPTH 64

static Runtime__V1__UInt64Value *number(struct arena *a, uint64_t v)
{
    Runtime__V1__UInt64Value *r = NEW(a, Runtime__V1__UInt64Value, runtime__v1__uint64_value__init);

    r->value = v;
    return r;
}

/* ---- writable layer ---- */
struct count {
    uint64_t bytes, inodes;
    int depth;
};

static int count_entry(int dirfd, const char *name, unsigned char type, void *arg)
{
    struct count *n = arg;
    struct stat st;
    cleanup_free char *below = NULL;

    if (n->inodes >= LAYER_ENTRIES_MAX)
        return 1;
    if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return 0;
    n->bytes += (uint64_t)st.st_blocks * 512;
    n->inodes++;
    if (type != DT_DIR || n->depth == MAX_DEPTH)
        return 0;
    below = xasprintf("/proc/self/fd/%d/%s", dirfd, name);
    n->depth++;
    (void)dir_each(below, count_entry, n, NULL);
    n->depth--;
    return 0;
}

static Runtime__V1__FilesystemUsage *writable_layer(struct arena *a, struct container *c,
                                                    int64_t now)
{
    Runtime__V1__FilesystemUsage *u =
        NEW(a, Runtime__V1__FilesystemUsage, runtime__v1__filesystem_usage__init);

    if (!c->layer_counted_at || now - c->layer_counted_at > LAYER_COUNT_EVERY_NS) {
        cleanup_free char *dir = container_dir(c), *upper = path_join(dir, "rw/upper");
        struct count n = {0};

        (void)dir_each(upper, count_entry, &n, NULL);
        c->layer_bytes = n.bytes;
        c->layer_inodes = n.inodes;
        c->layer_counted_at = now;
    }
    u->timestamp = c->layer_counted_at;
    u->fs_id = NEW(a, Runtime__V1__FilesystemIdentifier, runtime__v1__filesystem_identifier__init);
    u->fs_id->mountpoint = c->engine->cfg.data_root;
    u->used_bytes = number(a, c->layer_bytes);
    u->inodes_used = number(a, c->layer_inodes);
    return u;
}

/* ---- containers ---- */
static void fill_cpu_memory(struct arena *a, const struct cgroup_usage *u, int64_t now,
                            Runtime__V1__CpuUsage **cpu, Runtime__V1__MemoryUsage **memory)
{
    Runtime__V1__CpuUsage *p = NEW(a, Runtime__V1__CpuUsage, runtime__v1__cpu_usage__init);
    Runtime__V1__MemoryUsage *m = NEW(a, Runtime__V1__MemoryUsage, runtime__v1__memory_usage__init);

    p->timestamp = m->timestamp = now;
    p->usage_core_nano_seconds = number(a, u->cpu_ns);
    m->working_set_bytes = number(a, u->memory_working_set_bytes);
    m->usage_bytes = number(a, u->memory_bytes);
    m->rss_bytes = number(a, u->memory_rss_bytes);
    m->page_faults = number(a, u->page_faults);
    m->major_page_faults = number(a, u->major_page_faults);
    if (u->memory_limit_bytes)
        m->available_bytes = number(a, u->memory_limit_bytes > u->memory_working_set_bytes
                                           ? u->memory_limit_bytes - u->memory_working_set_bytes
                                           : 0);
    *cpu = p;
    *memory = m;
}

static Runtime__V1__ContainerStats *container_stats(struct arena *a, struct container *c)
{
    Runtime__V1__ContainerStats *r =
        NEW(a, Runtime__V1__ContainerStats, runtime__v1__container_stats__init);
    cleanup_free char *group = container_cgroup_path(c);
    struct cgroup_usage u = {0};
    int64_t now = wall_now().ns;

    r->attributes =
        NEW(a, Runtime__V1__ContainerAttributes, runtime__v1__container_attributes__init);
    r->attributes->id = c->id;
    r->attributes->metadata = c->config->metadata;
    r->attributes->n_labels = c->config->n_labels;
    r->attributes->labels = (void *)c->config->labels;
    r->attributes->n_annotations = c->config->n_annotations;
    r->attributes->annotations = (void *)c->config->annotations;
    r->writable_layer = writable_layer(a, c, now);
    if (c->state == CONTAINER_RUNNING && cgroups_read(&c->engine->cgroups, group, &u) == 0) {
        fill_cpu_memory(a, &u, now, &r->cpu, &r->memory);
        if (c->last_usage_at && now > c->last_usage_at && u.cpu_ns >= c->last_usage.cpu_ns)
            r->cpu->usage_nano_cores =
                number(a, (uint64_t)((double)(u.cpu_ns - c->last_usage.cpu_ns) *
                                     (double)NSEC_PER_SEC / (double)(now - c->last_usage_at)));
        if (now - c->last_usage_at > NSEC_PER_SEC) {
            c->last_usage = u;
            c->last_usage_at = now;
        }
        r->swap = NEW(a, Runtime__V1__SwapUsage, runtime__v1__swap_usage__init);
        r->swap->timestamp = now;
        r->swap->swap_usage_bytes = number(a, u.swap_bytes);
    }
    return r;
}

static void on_container_stats(struct grpc_context *x, const ProtobufCMessage *request, void *arg)
{
    const Runtime__V1__ContainerStatsRequest *q =
        (const Runtime__V1__ContainerStatsRequest *)request;
    struct container *c = cri_container(arg, x, q->container_id);
    Runtime__V1__ContainerStatsResponse r = RUNTIME__V1__CONTAINER_STATS_RESPONSE__INIT;
    struct arena a;

    if (!c)
        return;
    arena_init(&a, 0);
    r.stats = container_stats(&a, c);
    grpc_reply(x, &r.base);
    arena_fini(&a);
}

static size_t collect_containers(struct arena *a, struct engine *e,
                                 const Runtime__V1__ContainerStatsFilter *f,
                                 Runtime__V1__ContainerStats ***ret)
{
    struct map_entry *m;
    size_t it = 0, n = 0;

    *ret = arena_alloc(a, (e->containers.n + 1) * sizeof(void *));
    while ((m = map_next(&e->containers, &it))) {
        struct container *c = m->value;

        if (c->state != CONTAINER_RUNNING)
            continue;
        if (!f ||
            (cri_id_matches(f->id, c->id) && cri_id_matches(f->pod_sandbox_id, c->sandbox_id) &&
             cri_labels_match(f->label_selector, f->n_label_selector, c->config->labels,
                              c->config->n_labels)))
            (*ret)[n++] = container_stats(a, c);
    }
    return n;
}

static void on_list_containers(struct grpc_context *x, const ProtobufCMessage *request, void *arg)
{
    const Runtime__V1__ListContainerStatsRequest *q =
        (const Runtime__V1__ListContainerStatsRequest *)request;
    Runtime__V1__ListContainerStatsResponse r = RUNTIME__V1__LIST_CONTAINER_STATS_RESPONSE__INIT;
    struct arena a;

    arena_init(&a, 0);
    r.n_stats = collect_containers(&a, arg, q->filter, &r.stats);
    grpc_reply(x, &r.base);
    arena_fini(&a);
}

static void on_stream_containers(struct grpc_context *x, const ProtobufCMessage *request, void *arg)
{
    const Runtime__V1__StreamContainerStatsRequest *q =
        (const Runtime__V1__StreamContainerStatsRequest *)request;
    Runtime__V1__StreamContainerStatsResponse r =
        RUNTIME__V1__STREAM_CONTAINER_STATS_RESPONSE__INIT;
    struct arena a;

    arena_init(&a, 0);
    r.n_container_stats = collect_containers(&a, arg, q->filter, &r.container_stats);
    if (r.n_container_stats)
        (void)grpc_send(x, &r.base);
    grpc_finish(x, GRPC_OK, "");
    arena_fini(&a);
}

/* ---- sandboxes ---- */
static Runtime__V1__NetworkUsage *network_usage(struct arena *a, const struct sandbox *s,
                                                int64_t now)
{
    Runtime__V1__NetworkUsage *r;
    struct network_usage u;

    if (sandbox_is_host_network(s) || network_read_usage(s->engine->network, s->id, &u) < 0)
        return NULL;
    r = NEW(a, Runtime__V1__NetworkUsage, runtime__v1__network_usage__init);
    r->timestamp = now;
    r->default_interface =
        NEW(a, Runtime__V1__NetworkInterfaceUsage, runtime__v1__network_interface_usage__init);
    r->default_interface->name = (char *)"eth0";
    r->default_interface->rx_bytes = number(a, u.rx_bytes);
    r->default_interface->rx_errors = number(a, u.rx_errors);
    r->default_interface->tx_bytes = number(a, u.tx_bytes);
    r->default_interface->tx_errors = number(a, u.tx_errors);
    return r;
}

static void add_usage(struct cgroup_usage *sum, const struct cgroup_usage *u)
{
    sum->cpu_ns += u->cpu_ns;
    sum->memory_bytes += u->memory_bytes;
    sum->memory_working_set_bytes += u->memory_working_set_bytes;
    sum->memory_rss_bytes += u->memory_rss_bytes;
    sum->page_faults += u->page_faults;
    sum->major_page_faults += u->major_page_faults;
    sum->pids += u->pids;
}

/* The pod's own cgroup where the kubelet made one; else the sum over its containers. */
static void sandbox_usage(const struct sandbox *s, struct cgroup_usage *ret)
{
    const char *parent = sandbox_cgroup_parent(s);
    struct map_entry *m;
    size_t it = 0;
    bool whole =
        parent[0] == '/' && parent[1] && cgroups_read(&s->engine->cgroups, parent, ret) == 0;

    while ((m = map_next(&s->engine->containers, &it))) {
        struct container *c = m->value;
        struct cgroup_usage u;
        cleanup_free char *group = NULL;

        if (c->sandbox != s || c->state != CONTAINER_RUNNING)
            continue;
        group = container_cgroup_path(c);
        if (cgroups_read(&s->engine->cgroups, group, &u) < 0)
            continue;
        if (whole)
            ret->pids += u.pids;
        else
            add_usage(ret, &u);
    }
}

static Runtime__V1__PodSandboxStats *sandbox_stats(struct arena *a, const struct sandbox *s)
{
    Runtime__V1__PodSandboxStats *r =
        NEW(a, Runtime__V1__PodSandboxStats, runtime__v1__pod_sandbox_stats__init);
    Runtime__V1__ContainerStatsFilter f = RUNTIME__V1__CONTAINER_STATS_FILTER__INIT;
    struct cgroup_usage u = {0};
    int64_t now = wall_now().ns;

    r->attributes =
        NEW(a, Runtime__V1__PodSandboxAttributes, runtime__v1__pod_sandbox_attributes__init);
    r->attributes->id = (char *)s->id;
    r->attributes->metadata = s->config->metadata;
    r->attributes->n_labels = s->config->n_labels;
    r->attributes->labels = (void *)s->config->labels;
    r->attributes->n_annotations = s->config->n_annotations;
    r->attributes->annotations = (void *)s->config->annotations;
    r->linux =
        NEW(a, Runtime__V1__LinuxPodSandboxStats, runtime__v1__linux_pod_sandbox_stats__init);
    f.pod_sandbox_id = (char *)s->id;
    r->linux->n_containers = collect_containers(a, s->engine, &f, &r->linux->containers);
    sandbox_usage(s, &u);
    fill_cpu_memory(a, &u, now, &r->linux->cpu, &r->linux->memory);
    r->linux->network = network_usage(a, s, now);
    r->linux->process = NEW(a, Runtime__V1__ProcessUsage, runtime__v1__process_usage__init);
    r->linux->process->timestamp = now;
    r->linux->process->process_count = number(a, u.pids);
    return r;
}

static void on_sandbox_stats(struct grpc_context *x, const ProtobufCMessage *request, void *arg)
{
    const Runtime__V1__PodSandboxStatsRequest *q =
        (const Runtime__V1__PodSandboxStatsRequest *)request;
    struct sandbox *s = cri_sandbox(arg, x, q->pod_sandbox_id);
    Runtime__V1__PodSandboxStatsResponse r = RUNTIME__V1__POD_SANDBOX_STATS_RESPONSE__INIT;
    struct arena a;

    if (!s)
        return;
    arena_init(&a, 0);
    r.stats = sandbox_stats(&a, s);
    grpc_reply(x, &r.base);
    arena_fini(&a);
}

static size_t collect_sandboxes(struct arena *a, struct engine *e,
                                const Runtime__V1__PodSandboxStatsFilter *f,
                                Runtime__V1__PodSandboxStats ***ret)
{
    struct map_entry *m;
    size_t it = 0, n = 0;

    *ret = arena_alloc(a, (e->sandboxes.n + 1) * sizeof(void *));
    while ((m = map_next(&e->sandboxes, &it))) {
        const struct sandbox *s = m->value;

        if (s->ready && (!f || (cri_id_matches(f->id, s->id) &&
                                cri_labels_match(f->label_selector, f->n_label_selector,
                                                 s->config->labels, s->config->n_labels))))
            (*ret)[n++] = sandbox_stats(a, s);
    }
    return n;
}

static void on_list_sandboxes(struct grpc_context *x, const ProtobufCMessage *request, void *arg)
{
    const Runtime__V1__ListPodSandboxStatsRequest *q =
        (const Runtime__V1__ListPodSandboxStatsRequest *)request;
    Runtime__V1__ListPodSandboxStatsResponse r = RUNTIME__V1__LIST_POD_SANDBOX_STATS_RESPONSE__INIT;
    struct arena a;

    arena_init(&a, 0);
    r.n_stats = collect_sandboxes(&a, arg, q->filter, &r.stats);
    grpc_reply(x, &r.base);
    arena_fini(&a);
}

static void on_stream_sandboxes(struct grpc_context *x, const ProtobufCMessage *request, void *arg)
{
    const Runtime__V1__StreamPodSandboxStatsRequest *q =
        (const Runtime__V1__StreamPodSandboxStatsRequest *)request;
    Runtime__V1__StreamPodSandboxStatsResponse r =
        RUNTIME__V1__STREAM_POD_SANDBOX_STATS_RESPONSE__INIT;
    struct arena a;

    arena_init(&a, 0);
    r.n_pod_sandbox_stats = collect_sandboxes(&a, arg, q->filter, &r.pod_sandbox_stats);
    if (r.n_pod_sandbox_stats)
        (void)grpc_send(x, &r.base);
    grpc_finish(x, GRPC_OK, "");
    arena_fini(&a);
}

void cri_register_stats(struct engine *e)
{
    static const struct cri_method methods[] = {
        {"ContainerStats", &runtime__v1__container_stats_request__descriptor, on_container_stats},
        {"ListContainerStats", &runtime__v1__list_container_stats_request__descriptor,
         on_list_containers},
        {"StreamContainerStats", &runtime__v1__stream_container_stats_request__descriptor,
         on_stream_containers},
        {"PodSandboxStats", &runtime__v1__pod_sandbox_stats_request__descriptor, on_sandbox_stats},
        {"ListPodSandboxStats", &runtime__v1__list_pod_sandbox_stats_request__descriptor,
         on_list_sandboxes},
        {"StreamPodSandboxStats", &runtime__v1__stream_pod_sandbox_stats_request__descriptor,
         on_stream_sandboxes},
    };

    cri_register(e, methods, ARRAY_LEN(methods));
}
