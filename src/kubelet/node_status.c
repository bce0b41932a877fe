#include "kubelet/node_status.h"
#include "api/reflector.h"
#include "base/backoff.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "base/mem.h"
#include "kubelet/node_facts.h"
#include "base/quantity.h"
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#define TICK_MS 10000
#define REPORT_MS 300000
#define PODS_DEFAULT 110
#define IMAGES_MAX 50
#define IMAGE_NAMES_MAX 5
#define KUBELET_PORT 10250
/* upstream's default hard eviction: memory.available < 100Mi, nodefs.available < 10 %, inodes < 5 %
 */
#define EVICT_MEMORY_BYTES ((int64_t)100 << 20)

enum { COND_MEMORY, COND_DISK, COND_PID, COND_READY, CONDS };
struct condition {
    bool known, is_true;
    struct wall since;
    char *message;
};
static const struct {
    const char *type, *reason[2], *message[2]; /* [is_true] */
} cond_rows[CONDS] = {
    [COND_MEMORY] = {"MemoryPressure",
                     {"KubeletHasSufficientMemory", "KubeletHasInsufficientMemory"},
                     {"kubelet has sufficient memory available",
                      "kubelet has insufficient memory available"}},
    [COND_DISK] = {"DiskPressure",
                   {"KubeletHasNoDiskPressure", "KubeletHasDiskPressure"},
                   {"kubelet has no disk pressure", "kubelet has disk pressure"}},
    [COND_PID] = {"PIDPressure",
                  {"KubeletHasSufficientPID", "KubeletHasInsufficientPID"},
                  {"kubelet has sufficient PID available",
                   "kubelet has insufficient PID available"}},
    [COND_READY] = {"Ready",
                    {"KubeletNotReady", "KubeletReady"},
                    {"", "kubelet is posting ready status"}},
};

struct node_status {
    struct kube_client *client;
    char *name, *ip, *root_dir, *provider_id, *reserved_cpu, *reserved_memory, *reserved_storage;
    struct arena config_arena; /* labels and taints as registered */
    K8s__StringPair **labels;
    size_t n_labels;
    K8s__Taint **taints;
    size_t n_taints;
    bool register_node, unschedulable;
    int64_t max_pods;
    int port;
    void (*on_registered)(void *arg);
    void (*on_node)(const K8s__Node *node, void *arg);
    void *arg;

    bool have_runtime, runtime_ready, network_ready, pressure_given;
    char *runtime_version, *why_not;
    struct node_pressure pressure;
    struct arena image_arena;
    K8s__ContainerImage **images;
    size_t n_images;
    struct condition cond[CONDS];

    bool registered;
    K8s__NodeStatus *sent; /* what the server has of ours, heartbeats left out */
    struct mono sent_at;
    bool again; /* changed while a call was under way */
    struct kube_call *call;
    struct reflector *reflector;
    struct loop_timer tick, retry;
    struct loop_defer defer;
    struct backoff backoff;
};

static void register_node(struct node_status *n);
static void report(struct node_status *n);

/* ---- conditions ---- */

static void set_condition(struct node_status *n, int i, bool is_true, const char *message)
{
    struct condition *c = &n->cond[i];
    if (!c->known || c->is_true != is_true) {
        c->since = wall_now();
        if (i == COND_READY)
            log_info("kubelet", is_true ? "node is ready" : "node is not ready", "node", n->name,
                     "reason", is_true ? "" : message, NULL);
        else if (c->known || is_true)
            log_warn("kubelet", "node condition changed", "type", cond_rows[i].type, "status",
                     is_true ? "True" : "False", NULL);
    }
    c->known = true;
    c->is_true = is_true;
    str_replace(&c->message, message);
}

static void judge(struct node_status *n, const struct node_facts *f)
{
    struct node_pressure p = n->pressure;
    if (!n->pressure_given)
        p = (struct node_pressure){
            .memory = f->memory_bytes && f->memory_available_bytes < EVICT_MEMORY_BYTES,
            .disk = (f->storage_bytes && f->storage_available_bytes < f->storage_bytes / 10) ||
                    (f->inodes && f->inodes_free < f->inodes / 20),
            .pid = f->pids_max && f->pids_max - f->pids_used < f->pids_max / 20,
        };
    bool values[CONDS] = {[COND_MEMORY] = p.memory, [COND_DISK] = p.disk, [COND_PID] = p.pid};
    for (int i = 0; i < COND_READY; i++)
        set_condition(n, i, values[i], cond_rows[i].message[values[i]]);
    bool ready = n->have_runtime && n->runtime_ready && n->network_ready;
    set_condition(n, COND_READY, ready,
                  ready        ? cond_rows[COND_READY].message[1]
                  : n->why_not ? n->why_not
                               : "container runtime status check may not have completed yet");
}

static void add_conditions(struct node_status *n, struct arena *a, K8s__NodeStatus *s,
                           bool heartbeat)
{
    for (int i = 0; i < CONDS; i++) {
        const struct condition *c = &n->cond[i];
        K8s__NodeCondition *m = object_new(a, &k8s__node_condition__descriptor);
        m->type = arena_strdup(a, cond_rows[i].type);
        m->status = arena_strdup(a, c->is_true ? "True" : "False");
        m->reason = arena_strdup(a, cond_rows[i].reason[c->is_true]);
        m->message = arena_strdup(a, c->message);
        m->lasttransitiontime = object_time(a, c->since);
        if (heartbeat)
            m->lastheartbeattime = object_time(a, wall_now());
        object_append(a, &s->conditions, &s->n_conditions, m);
    }
}

/* ---- the status ---- */

static void add_resource(struct arena *a, K8s__NodeStatus *s, const char *name, int64_t total,
                         int64_t free_, bool kib)
{
    char text[QUANTITY_TEXT];
    if (kib)
        (void)snprintf(text, sizeof(text), "%" PRId64 "Ki", total / 1024);
    else
        (void)snprintf(text, sizeof(text), "%" PRId64, total);
    quantities_set(a, &s->capacity, &s->n_capacity, name, text);
    free_ = free_ < 0 ? 0 : free_;
    if (kib && free_ % 1024 == 0)
        (void)snprintf(text, sizeof(text), "%" PRId64 "Ki", free_ / 1024);
    else
        (void)snprintf(text, sizeof(text), "%" PRId64, free_);
    quantities_set(a, &s->allocatable, &s->n_allocatable, name, text);
}

static void add_resources(struct node_status *n, struct arena *a, K8s__NodeStatus *s,
                          const struct node_facts *f)
{
    char cpu[QUANTITY_TEXT];
    add_resource(a, s, "cpu", f->cpus, f->cpus, false);
    quantity_format((struct quantity){f->cpus * 1000 - quantity_milli_or(n->reserved_cpu, 0), 'd'},
                    cpu);
    quantities_set(a, &s->allocatable, &s->n_allocatable, "cpu", cpu);
    add_resource(a, s, "memory", f->memory_bytes,
                 f->memory_bytes - EVICT_MEMORY_BYTES - quantity_value_or(n->reserved_memory, 0),
                 true);
    add_resource(
        a, s, "ephemeral-storage", f->storage_bytes,
        f->storage_bytes - f->storage_bytes / 10 - quantity_value_or(n->reserved_storage, 0), true);
    add_resource(a, s, "pods", n->max_pods, n->max_pods, false);
    node_hugepages(a, s);
}

static void add_address(struct arena *a, K8s__NodeStatus *s, const char *type, const char *address)
{
    K8s__NodeAddress *m = object_new(a, &k8s__node_address__descriptor);
    m->type = arena_strdup(a, type);
    m->address = arena_strdup(a, address);
    object_append(a, &s->addresses, &s->n_addresses, m);
}

static K8s__NodeStatus *build_status(struct node_status *n, struct arena *a, bool heartbeat)
{
    struct node_facts f;
    node_facts_read(&f, n->root_dir);
    judge(n, &f);
    K8s__NodeStatus *s = object_new(a, &k8s__node_status__descriptor);
    add_resources(n, a, s, &f);
    add_conditions(n, a, s, heartbeat);
    if (*n->ip)
        add_address(a, s, "InternalIP", n->ip);
    add_address(a, s, "Hostname", n->name);
    s->daemonendpoints = object_new(a, &k8s__node_daemon_endpoints__descriptor);
    s->daemonendpoints->kubeletendpoint = object_new(a, &k8s__daemon_endpoint__descriptor);
    s->daemonendpoints->kubeletendpoint->has_port = 1;
    s->daemonendpoints->kubeletendpoint->port = n->port;
    s->nodeinfo = node_system_info(a);
    s->nodeinfo->containerruntimeversion =
        arena_strdup(a, n->runtime_version ? n->runtime_version : "");
    if (f.swap_bytes) {
        s->nodeinfo->swap = object_new(a, &k8s__node_swap_status__descriptor);
        s->nodeinfo->swap->has_capacity = 1;
        s->nodeinfo->swap->capacity = f.swap_bytes;
    }
    s->images = n->images;
    s->n_images = n->n_images;
    return s;
}

/* ---- reporting ---- */

static void on_retry(struct loop_timer *t)
{
    struct node_status *n = container_of(t, struct node_status, retry);
    if (n->registered)
        report(n);
    else
        register_node(n);
}

static void retry_later(struct node_status *n)
{
    loop_timer_start(kube_client_loop(n->client), &n->retry, backoff_next_ms(&n->backoff),
                     on_retry);
}

static void forget_sent(struct node_status *n)
{
    object_free(n->sent);
    n->sent = NULL;
}

static void on_reported(const struct kube_result *res, void *arg)
{
    struct node_status *n = arg;
    n->call = NULL;
    if (res->err) {
        forget_sent(n);
        if (res->http_code == 404) {
            n->registered = false;
            log_warnf("kubelet", "node %s is gone from the API server, registering it again",
                      n->name);
        } else {
            log_warnf("kubelet", "node status cannot be reported: %s", error_message(res->err));
        }
        retry_later(n);
        return;
    }
    backoff_reset(&n->backoff);
    n->sent_at = mono_now();
    if (n->again)
        report(n);
}

static void report(struct node_status *n)
{
    n->again = n->call != NULL;
    if (n->call || loop_timer_pending(&n->retry))
        return;
    struct arena a;
    arena_init(&a, (size_t)16 << 10);
    K8s__NodeStatus *bare = build_status(n, &a, false);
    if (!n->sent || !object_equal(bare, n->sent) || mono_ms_since(n->sent_at) >= REPORT_MS) {
        forget_sent(n);
        n->sent = object_dup(bare);
        K8s__Node *node = object_new(&a, &k8s__node__descriptor);
        node->status = build_status(n, &a, true);
        cleanup_buf struct buf b;
        buf_init(&b, OBJECT_BYTES_MAX);
        (void)object_encode_json(node, &b);
        kube_patch(n->client, &k8s__node__descriptor, NULL, n->name, "status", KUBE_PATCH_STRATEGIC,
                   buf_str(&b), on_reported, n, &n->call);
    }
    arena_fini(&a);
}

static void on_tick(struct loop_timer *t)
{
    struct node_status *n = container_of(t, struct node_status, tick);
    loop_timer_start(kube_client_loop(n->client), &n->tick, TICK_MS, on_tick);
    if (n->registered)
        report(n);
}

static void on_change(struct loop_defer *d)
{
    struct node_status *n = container_of(d, struct node_status, defer);
    if (n->registered)
        report(n);
}

static void changed(struct node_status *n)
{
    loop_defer_start(kube_client_loop(n->client), &n->defer, on_change);
}

/* ---- our Node, as the server has it ---- */

static void on_object(enum reflect_event ev, void *msg, void *arg)
{
    (void)ev;
    struct node_status *n = arg;
    if (n->on_node)
        n->on_node(msg, n->arg);
}

static void on_delete(const char *ns, const char *name, const char *uid, void *arg)
{
    (void)ns;
    (void)name;
    (void)uid;
    struct node_status *n = arg;
    n->registered = false;
    forget_sent(n);
    if (n->register_node && !n->call && !loop_timer_pending(&n->retry))
        retry_later(n);
}

/* ---- registration ---- */

static void registered(struct node_status *n, const char *how)
{
    static const struct reflector_ops ops = {.on_object = on_object, .on_delete = on_delete};
    n->registered = true;
    backoff_reset(&n->backoff);
    log_info("kubelet", "node is registered", "node", n->name, "how", how, NULL);
    if (!n->reflector) {
        cleanup_free char *selector = xasprintf("metadata.name=%s", n->name);
        struct reflector_config cfg = {.type = &k8s__node__descriptor,
                                       .field_selector = selector,
                                       .track = true,
                                       .ops = &ops,
                                       .arg = n};
        n->reflector = reflector_start(n->client, &cfg);
    }
    if (n->on_registered)
        n->on_registered(n->arg);
    report(n);
}

static void on_relabelled(const struct kube_result *res, void *arg)
{
    struct node_status *n = arg;
    n->call = NULL;
    if (res->err && res->http_code != 404) {
        log_warnf("kubelet", "labels of node %s cannot be set: %s", n->name,
                  error_message(res->err));
        if (res->http_code == 0 || res->http_code >= 500) {
            retry_later(n);
            return;
        }
    } else if (res->err) {
        retry_later(n);
        return;
    }
    registered(n, "was there before");
}

/* The Node exists: our labels are brought up to date, what others set stays. */
static void relabel(struct node_status *n)
{
    K8s__Node node = K8S__NODE__INIT;
    K8s__ObjectMeta meta = K8S__OBJECT_META__INIT;
    meta.labels = n->labels;
    meta.n_labels = n->n_labels;
    node.metadata = &meta;
    cleanup_buf struct buf b;
    buf_init(&b, OBJECT_BYTES_MAX);
    (void)object_encode_json(&node, &b);
    kube_patch(n->client, &k8s__node__descriptor, NULL, n->name, NULL, KUBE_PATCH_STRATEGIC,
               buf_str(&b), on_relabelled, n, &n->call);
}

static void on_registered_answer(const struct kube_result *res, void *arg)
{
    struct node_status *n = arg;
    n->call = NULL;
    if (!res->err) {
        registered(n, "created");
    } else if (kube_result_is(res, "AlreadyExists")) {
        relabel(n);
    } else {
        log_warnf("kubelet", "node %s cannot be registered: %s", n->name, error_message(res->err));
        retry_later(n);
    }
}

static void register_node(struct node_status *n)
{
    if (n->call)
        return;
    if (!n->register_node) {
        registered(n, "left to others");
        return;
    }
    struct arena a;
    arena_init(&a, (size_t)16 << 10);
    K8s__Node *node = object_new(&a, &k8s__node__descriptor);
    node->metadata = object_new(&a, &k8s__object_meta__descriptor);
    node->metadata->name = n->name;
    node->metadata->labels = n->labels;
    node->metadata->n_labels = n->n_labels;
    node->spec = object_new(&a, &k8s__node_spec__descriptor);
    node->spec->taints = n->taints;
    node->spec->n_taints = n->n_taints;
    node->spec->providerid = n->provider_id;
    if (n->unschedulable)
        node->spec->has_unschedulable = node->spec->unschedulable = 1;
    node->status = build_status(n, &a, true);
    kube_create(n->client, node, on_registered_answer, n, &n->call);
    arena_fini(&a);
}

/* ---- what comes from the engine ---- */

void node_status_set_runtime(struct node_status *n, const struct node_runtime *rt)
{
    n->have_runtime = true;
    n->runtime_ready = rt->ready;
    n->network_ready = rt->network_ready;
    cleanup_free char *version = xasprintf("%s://%s", strna(rt->name), strna(rt->version));
    if (rt->name && *rt->name)
        str_replace(&n->runtime_version, version);
    cleanup_free char *why = NULL;
    if (!rt->ready)
        why = xasprintf("container runtime is not ready: %s", strna(rt->message));
    else if (!rt->network_ready)
        why = xasprintf("container runtime network not ready: %s", strna(rt->network_message));
    str_replace(&n->why_not, why);
    changed(n);
}

static int by_size(const void *x, const void *y)
{
    const struct node_image *a = *(const struct node_image *const *)x,
                            *b = *(const struct node_image *const *)y;
    return a->size_bytes < b->size_bytes ? 1 : a->size_bytes > b->size_bytes ? -1 : 0;
}

void node_status_set_images(struct node_status *n, const struct node_image *images, size_t count)
{
    cleanup_free const struct node_image **order = xcalloc(count + 1, sizeof(*order));
    for (size_t i = 0; i < count; i++)
        order[i] = &images[i];
    qsort(order, count, sizeof(*order), by_size);
    n->images = NULL;
    n->n_images = 0;
    arena_reset(&n->image_arena);
    struct arena *a = &n->image_arena;
    for (size_t i = 0; i < count && n->n_images < IMAGES_MAX; i++) {
        K8s__ContainerImage *m = object_new(a, &k8s__container_image__descriptor);
        for (size_t k = 0; k < order[i]->n_names && k < IMAGE_NAMES_MAX; k++)
            object_append(a, &m->names, &m->n_names, arena_strdup(a, order[i]->names[k]));
        if (!m->n_names)
            continue;
        m->has_sizebytes = 1;
        m->sizebytes = order[i]->size_bytes;
        object_append(a, &n->images, &n->n_images, m);
    }
    changed(n);
}

void node_status_set_pressure(struct node_status *n, struct node_pressure p)
{
    n->pressure_given = true;
    n->pressure = p;
    changed(n);
}

bool node_status_ready(const struct node_status *n, const char **ret_why)
{
    *ret_why = strna(n->cond[COND_READY].message);
    return n->cond[COND_READY].is_true;
}

const char *node_status_ip(const struct node_status *n)
{
    return n->ip;
}

/* ---- lifecycle ---- */

static void copy_labels(struct node_status *n, const struct node_status_config *cfg)
{
    struct arena *a = &n->config_arena;
    const char *arch = node_architecture();
    const struct {
        const char *key, *value;
    } own[] = {{"kubernetes.io/hostname", n->name},
               {"kubernetes.io/os", "linux"},
               {"kubernetes.io/arch", arch},
               {"beta.kubernetes.io/os", "linux"},
               {"beta.kubernetes.io/arch", arch}};
    for (size_t i = 0; i < ARRAY_LEN(own); i++)
        pairs_set(a, &n->labels, &n->n_labels, own[i].key, own[i].value);
    for (size_t i = 0; i < cfg->n_labels; i++) {
        struct str value = str_of(cfg->labels[i]), key = str_split(&value, '=');
        pairs_set(a, &n->labels, &n->n_labels, arena_strndup(a, key.p, key.n),
                  value.p ? arena_strndup(a, value.p, value.n) : "");
    }
}

static void copy_taints(struct node_status *n, const struct node_status_config *cfg)
{
    struct arena *a = &n->config_arena;
    for (size_t i = 0; i < cfg->n_taints; i++) {
        K8s__Taint *t = object_new(a, &k8s__taint__descriptor);
        t->key = arena_strdup(a, cfg->taints[i].key);
        if (cfg->taints[i].value && *cfg->taints[i].value)
            t->value = arena_strdup(a, cfg->taints[i].value);
        t->effect = arena_strdup(a, cfg->taints[i].effect);
        object_append(a, &n->taints, &n->n_taints, t);
    }
}

static char *choose_ip(const struct node_status_config *cfg)
{
    char text[NODE_IP_TEXT];
    if (cfg->node_ip && *cfg->node_ip)
        return xstrdup(cfg->node_ip);
    if (node_default_ip(text) == 0)
        return xstrdup(text);
    log_warnf("kubelet",
              "no interface but the loopback has an address: 127.0.0.1 is reported; set --node-ip");
    return xstrdup("127.0.0.1");
}

struct node_status *node_status_start(struct kube_client *c, const struct node_status_config *cfg)
{
    struct node_status *n = xcalloc(1, sizeof(*n));
    n->client = c;
    n->name = xstrdup(cfg->node_name);
    n->root_dir = xstrdup(cfg->root_dir);
    n->provider_id = xstrdup_null(cfg->provider_id);
    n->reserved_cpu = xstrdup_null(cfg->reserved_cpu);
    n->reserved_memory = xstrdup_null(cfg->reserved_memory);
    n->reserved_storage = xstrdup_null(cfg->reserved_storage);
    n->ip = choose_ip(cfg);
    n->register_node = cfg->register_node;
    n->unschedulable = cfg->unschedulable;
    n->max_pods = cfg->max_pods ? cfg->max_pods : PODS_DEFAULT;
    n->port = cfg->kubelet_port ? cfg->kubelet_port : KUBELET_PORT;
    n->on_registered = cfg->on_registered;
    n->on_node = cfg->on_node;
    n->arg = cfg->arg;
    n->backoff = (struct backoff){.first_ms = 200, .max_ms = 7000};
    arena_init(&n->config_arena, 1024);
    arena_init(&n->image_arena, 4096);
    copy_labels(n, cfg);
    copy_taints(n, cfg);
    loop_timer_start(kube_client_loop(c), &n->tick, TICK_MS, on_tick);
    register_node(n);
    return n;
}

void node_status_stop(struct node_status *n)
{
    if (!n)
        return;
    reflector_stop(n->reflector);
    kube_call_cancel(n->call);
    loop_timer_stop(&n->tick);
    loop_timer_stop(&n->retry);
    loop_defer_stop(&n->defer);
    forget_sent(n);
    arena_fini(&n->config_arena);
    arena_fini(&n->image_arena);
    for (int i = 0; i < CONDS; i++)
        free(n->cond[i].message);
    char *all[] = {n->name,
                   n->ip,
                   n->root_dir,
                   n->provider_id,
                   n->reserved_cpu,
                   n->reserved_memory,
                   n->reserved_storage,
                   n->runtime_version,
                   n->why_not};
    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        free(all[i]);
    free(n);
}
