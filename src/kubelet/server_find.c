/* Containers and sandboxes by the labels every kubelet gives them. */
#include "cri.pb-c.h"
#include "kubelet/server_private.h"

#define DEADLINE_MS 10000
#define SERVICE "/runtime.v1.RuntimeService/"

typedef Runtime__V1__ContainerFilter__LabelSelectorEntry container_label;
typedef Runtime__V1__PodSandboxFilter__LabelSelectorEntry sandbox_label;

static char *text(struct request *q, struct str s)
{
    return arena_strndup(http_arena(q->x), s.p, s.n);
}

/* /verb/NAMESPACE/POD[/UID]/CONTAINER, and without the container for sandboxes. */
static bool read_path(struct request *q, bool container)
{
    size_t n;
    const struct str *seg = http_segments(q->x, &n);
    size_t least = container ? 4 : 3;
    if (n < least || n > least + 1)
        return false;
    q->ns = text(q, seg[1]);
    q->pod = text(q, seg[2]);
    if (container)
        q->container = text(q, seg[n - 1]);
    return true;
}

static uint32_t attempt(const Runtime__V1__Container *c)
{
    return c->metadata ? c->metadata->attempt : 0;
}

/* The newest, or the one before it. Attempts begin anew in a new sandbox, so time decides first. */
static const Runtime__V1__Container *choose(const Runtime__V1__ListContainersResponse *list,
                                            bool previous)
{
    const Runtime__V1__Container *best = NULL, *second = NULL;
    for (size_t i = 0; i < list->n_containers; i++) {
        const Runtime__V1__Container *c = list->containers[i];
        if (!best || c->created_at > best->created_at ||
            (c->created_at == best->created_at && attempt(c) > attempt(best))) {
            second = best;
            best = c;
        } else if (!second || c->created_at > second->created_at) {
            second = c;
        }
    }
    return previous ? second : best;
}

static void on_containers(int code, const char *message, const ProtobufCMessage *reply, void *arg)
{
    struct request *q = arg;
    q->grpc = NULL;
    if (code != GRPC_OK) {
        request_fail(q, 500, "the container engine does not answer: %s", message);
        return;
    }
    const Runtime__V1__Container *c =
        choose((const Runtime__V1__ListContainersResponse *)reply, q->previous);
    if (c)
        q->found(q, c->id);
    else if (q->previous)
        request_fail(q, 400, "previous terminated container \"%s\" in pod \"%s\" not found",
                     q->container, q->pod);
    else
        request_fail(q, 404, "container \"%s\" in pod \"%s\" is waiting to start or does not exist",
                     q->container, q->pod);
}

void request_find_container(struct request *q, void (*found)(struct request *q, const char *id))
{
    if (!read_path(q, true)) {
        request_fail(q, 404, "404 page not found");
        return;
    }
    q->found = found;
    container_label labels[3] = {RUNTIME__V1__CONTAINER_FILTER__LABEL_SELECTOR_ENTRY__INIT,
                                 RUNTIME__V1__CONTAINER_FILTER__LABEL_SELECTOR_ENTRY__INIT,
                                 RUNTIME__V1__CONTAINER_FILTER__LABEL_SELECTOR_ENTRY__INIT};
    const char *const keys[] = {"io.kubernetes.pod.namespace", "io.kubernetes.pod.name",
                                "io.kubernetes.container.name"};
    const char *const values[] = {q->ns, q->pod, q->container};
    container_label *list[3];
    for (int i = 0; i < 3; i++) {
        labels[i].key = (char *)(uintptr_t)keys[i];
        labels[i].value = (char *)(uintptr_t)values[i];
        list[i] = &labels[i];
    }
    Runtime__V1__ContainerFilter filter = RUNTIME__V1__CONTAINER_FILTER__INIT;
    filter.label_selector = list;
    filter.n_label_selector = 3;
    Runtime__V1__ListContainersRequest m = RUNTIME__V1__LIST_CONTAINERS_REQUEST__INIT;
    m.filter = &filter;
    q->grpc = grpc_call_start(q->server->cri, SERVICE "ListContainers", &m.base,
                              &runtime__v1__list_containers_response__descriptor, DEADLINE_MS,
                              on_containers, q);
}

static void on_sandboxes(int code, const char *message, const ProtobufCMessage *reply, void *arg)
{
    struct request *q = arg;
    q->grpc = NULL;
    if (code != GRPC_OK) {
        request_fail(q, 500, "the container engine does not answer: %s", message);
        return;
    }
    const Runtime__V1__ListPodSandboxResponse *list =
        (const Runtime__V1__ListPodSandboxResponse *)reply;
    const Runtime__V1__PodSandbox *best = NULL;
    for (size_t i = 0; i < list->n_items; i++)
        if (list->items[i]->state == RUNTIME__V1__POD_SANDBOX_STATE__SANDBOX_READY &&
            (!best || list->items[i]->created_at > best->created_at))
            best = list->items[i];
    if (best)
        q->found(q, best->id);
    else
        request_fail(q, 404, "pod \"%s\" in namespace \"%s\" is not running here", q->pod, q->ns);
}

void request_find_sandbox(struct request *q, void (*found)(struct request *q, const char *id))
{
    if (!read_path(q, false)) {
        request_fail(q, 404, "404 page not found");
        return;
    }
    q->found = found;
    sandbox_label labels[2] = {RUNTIME__V1__POD_SANDBOX_FILTER__LABEL_SELECTOR_ENTRY__INIT,
                               RUNTIME__V1__POD_SANDBOX_FILTER__LABEL_SELECTOR_ENTRY__INIT};
    const char *const keys[] = {"io.kubernetes.pod.namespace", "io.kubernetes.pod.name"};
    const char *const values[] = {q->ns, q->pod};
    sandbox_label *list[2];
    for (int i = 0; i < 2; i++) {
        labels[i].key = (char *)(uintptr_t)keys[i];
        labels[i].value = (char *)(uintptr_t)values[i];
        list[i] = &labels[i];
    }
    Runtime__V1__PodSandboxFilter filter = RUNTIME__V1__POD_SANDBOX_FILTER__INIT;
    filter.label_selector = list;
    filter.n_label_selector = 2;
    Runtime__V1__ListPodSandboxRequest m = RUNTIME__V1__LIST_POD_SANDBOX_REQUEST__INIT;
    m.filter = &filter;
    q->grpc = grpc_call_start(q->server->cri, SERVICE "ListPodSandbox", &m.base,
                              &runtime__v1__list_pod_sandbox_response__descriptor, DEADLINE_MS,
                              on_sandboxes, q);
}
