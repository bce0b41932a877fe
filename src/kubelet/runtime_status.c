#include "kubelet/runtime_status.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "base/mem.h"
#include "cri.pb-c.h"

#define STATUS_MS 5000
#define STATUS_EAGER_MS 200 /* until ready the first time */
#define IMAGES_MS 300000
#define DEADLINE_MS 10000
#define SERVICE "/runtime.v1.RuntimeService/"

struct runtime_status {
    struct loop *loop;
    struct grpc_client *cri;
    struct node_status *node;
    void (*on_ready)(bool ready, void *arg);
    void *arg;
    char *name, *version; /* of the engine; NULL until it answered */
    char *pod_cidr;
    bool cidr_sent, ready, told;
    bool images_listed;
    struct mono images_at;
    struct grpc_call *version_call, *status_call, *images_call, *cidr_call;
    struct loop_timer timer;
};

static void ask(struct runtime_status *r);

static void on_timer(struct loop_timer *t)
{
    ask(container_of(t, struct runtime_status, timer));
}

static void arm(struct runtime_status *r)
{
    loop_timer_start(r->loop, &r->timer, r->ready ? STATUS_MS : STATUS_EAGER_MS, on_timer);
}

static void tell_ready(struct runtime_status *r, bool ready)
{
    if (r->told && r->ready == ready)
        return;
    r->told = true;
    r->ready = ready;
    if (r->on_ready)
        r->on_ready(ready, r->arg);
}

/* The engine does not answer: whatever it said before is void, it may come back as another version.
 */
static void lost(struct runtime_status *r, const char *message)
{
    str_replace(&r->name, NULL);
    str_replace(&r->version, NULL);
    r->cidr_sent = r->images_listed = false;
    struct node_runtime rt = {.message = message, .network_message = message};
    node_status_set_runtime(r->node, &rt);
    tell_ready(r, false);
    arm(r);
}

/* ---- pod CIDR ---- */

static void on_cidr(int code, const char *message, const ProtobufCMessage *reply, void *arg)
{
    (void)reply;
    struct runtime_status *r = arg;
    r->cidr_call = NULL;
    if (code == GRPC_OK)
        return;
    r->cidr_sent = false;
    log_warnf("kubelet", "the engine does not take pod CIDR %s: %s", r->pod_cidr, message);
}

static void send_cidr(struct runtime_status *r)
{
    if (!r->pod_cidr || r->cidr_sent || r->cidr_call || !r->name)
        return;
    r->cidr_sent = true;
    Runtime__V1__NetworkConfig network = RUNTIME__V1__NETWORK_CONFIG__INIT;
    Runtime__V1__RuntimeConfig config = RUNTIME__V1__RUNTIME_CONFIG__INIT;
    Runtime__V1__UpdateRuntimeConfigRequest q = RUNTIME__V1__UPDATE_RUNTIME_CONFIG_REQUEST__INIT;
    network.pod_cidr = r->pod_cidr;
    config.network_config = &network;
    q.runtime_config = &config;
    r->cidr_call = grpc_call_start(r->cri, SERVICE "UpdateRuntimeConfig", &q.base,
                                   &runtime__v1__update_runtime_config_response__descriptor,
                                   DEADLINE_MS, on_cidr, r);
}

void runtime_status_set_pod_cidr(struct runtime_status *r, const char *cidrs)
{
    if (streq(r->pod_cidr, cidrs) || !*cidrs)
        return;
    str_replace(&r->pod_cidr, cidrs);
    r->cidr_sent = false;
    send_cidr(r);
    runtime_status_refresh(r);
}

/* ---- images ---- */

static void on_images(int code, const char *message, const ProtobufCMessage *reply, void *arg)
{
    (void)message;
    struct runtime_status *r = arg;
    r->images_call = NULL;
    if (code != GRPC_OK) {
        r->images_listed = false;
        return;
    }
    const Runtime__V1__ListImagesResponse *list = (const Runtime__V1__ListImagesResponse *)reply;
    struct arena a;
    arena_init(&a, 0);
    struct node_image *v = arena_zalloc(&a, (list->n_images + 1) * sizeof(*v));
    for (size_t i = 0; i < list->n_images; i++) {
        const Runtime__V1__Image *m = list->images[i];
        const char **names =
            arena_alloc(&a, (m->n_repo_digests + m->n_repo_tags + 1) * sizeof(*names));
        for (size_t k = 0; k < m->n_repo_digests; k++)
            names[v[i].n_names++] = m->repo_digests[k];
        for (size_t k = 0; k < m->n_repo_tags; k++)
            names[v[i].n_names++] = m->repo_tags[k];
        v[i].names = names;
        v[i].size_bytes = (int64_t)m->size;
    }
    node_status_set_images(r->node, v, list->n_images);
    arena_fini(&a);
}

static void list_images(struct runtime_status *r)
{
    if (r->images_call || (r->images_listed && mono_ms_since(r->images_at) < IMAGES_MS))
        return;
    r->images_listed = true;
    r->images_at = mono_now();
    Runtime__V1__ListImagesRequest q = RUNTIME__V1__LIST_IMAGES_REQUEST__INIT;
    r->images_call =
        grpc_call_start(r->cri, "/runtime.v1.ImageService/ListImages", &q.base,
                        &runtime__v1__list_images_response__descriptor, DEADLINE_MS, on_images, r);
}

/* ---- status ---- */

static const Runtime__V1__RuntimeCondition *condition(const Runtime__V1__RuntimeStatus *s,
                                                      const char *type)
{
    for (size_t i = 0; s && i < s->n_conditions; i++)
        if (streq(s->conditions[i]->type, type))
            return s->conditions[i];
    return NULL;
}

static void on_status(int code, const char *message, const ProtobufCMessage *reply, void *arg)
{
    struct runtime_status *r = arg;
    r->status_call = NULL;
    if (code != GRPC_OK) {
        lost(r, message);
        return;
    }
    const Runtime__V1__StatusResponse *s = (const Runtime__V1__StatusResponse *)reply;
    const Runtime__V1__RuntimeCondition *rc = condition(s->status, "RuntimeReady"),
                                        *nc = condition(s->status, "NetworkReady");
    cleanup_free char *network = NULL;
    if (nc && !nc->status)
        network = xasprintf("NetworkReady=false reason:%s message:%s", nc->reason, nc->message);
    struct node_runtime rt = {
        .name = r->name,
        .version = r->version,
        .ready = rc && rc->status,
        .message = rc ? rc->message : "the engine reports no RuntimeReady condition",
        .network_ready = nc && nc->status,
        .network_message = network ? network : "the engine reports no NetworkReady condition",
    };
    node_status_set_runtime(r->node, &rt);
    tell_ready(r, rt.ready && rt.network_ready);
    send_cidr(r);
    if (rt.ready)
        list_images(r);
    arm(r);
}

static void ask_status(struct runtime_status *r)
{
    Runtime__V1__StatusRequest q = RUNTIME__V1__STATUS_REQUEST__INIT;
    r->status_call =
        grpc_call_start(r->cri, SERVICE "Status", &q.base,
                        &runtime__v1__status_response__descriptor, DEADLINE_MS, on_status, r);
}

static void on_version(int code, const char *message, const ProtobufCMessage *reply, void *arg)
{
    struct runtime_status *r = arg;
    r->version_call = NULL;
    if (code != GRPC_OK) {
        lost(r, message);
        return;
    }
    const Runtime__V1__VersionResponse *v = (const Runtime__V1__VersionResponse *)reply;
    str_replace(&r->name, v->runtime_name);
    str_replace(&r->version, v->runtime_version);
    log_info("kubelet", "container engine answers", "name", r->name, "version", r->version, NULL);
    ask_status(r);
}

static void ask(struct runtime_status *r)
{
    if (r->version_call || r->status_call)
        return;
    if (r->name) {
        ask_status(r);
        return;
    }
    Runtime__V1__VersionRequest q = RUNTIME__V1__VERSION_REQUEST__INIT;
    q.version = (char[]){"v1"};
    r->version_call =
        grpc_call_start(r->cri, SERVICE "Version", &q.base,
                        &runtime__v1__version_response__descriptor, DEADLINE_MS, on_version, r);
}

void runtime_status_refresh(struct runtime_status *r)
{
    r->images_listed = false;
    loop_timer_stop(&r->timer);
    ask(r);
}

/* ---- lifecycle ---- */

struct runtime_status *runtime_status_start(struct loop *l, struct grpc_client *cri,
                                            struct node_status *n,
                                            void (*on_ready)(bool ready, void *arg), void *arg)
{
    struct runtime_status *r = xcalloc(1, sizeof(*r));
    r->loop = l;
    r->cri = cri;
    r->node = n;
    r->on_ready = on_ready;
    r->arg = arg;
    ask(r);
    return r;
}

void runtime_status_stop(struct runtime_status *r)
{
    if (!r)
        return;
    grpc_call_cancel(r->version_call);
    grpc_call_cancel(r->status_call);
    grpc_call_cancel(r->images_call);
    grpc_call_cancel(r->cidr_call);
    loop_timer_stop(&r->timer);
    free(r->name);
    free(r->version);
    free(r->pod_cidr);
    free(r);
}
