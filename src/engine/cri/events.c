#include "engine/cri/cri_private.h"
#include "base/cleanup.h"

#define WATCHERS_MAX 16

struct watcher {
    struct list link;
    struct grpc_context *x;
};

static void drop(struct watcher *w, int code, const char *message)
{
    list_remove(&w->link);
    grpc_finish(w->x, code, message);
    free(w);
}

static void on_gone(struct grpc_context *x, void *arg)
{
    (void)x;
    drop(arg, GRPC_CANCELLED, "client went away");
}

static void on_watch(struct grpc_context *x, const ProtobufCMessage *request, void *arg)
{
    struct engine *e = arg;
    struct watcher *w;
    size_t n = 0;

    (void)request;
    list_for(p, &e->watchers) n++;
    if (n >= WATCHERS_MAX) {
        grpc_finish(x, GRPC_RESOURCE_EXHAUSTED, "too many watch container events");
        return;
    }
    w = xcalloc(1, sizeof *w);
    w->x = x;
    list_add_tail(&e->watchers, &w->link);
    grpc_on_gone(x, on_gone, w);
}

void engine_emit(struct engine *e, enum engine_event event, struct container *c, struct sandbox *s)
{
    Runtime__V1__ContainerEventResponse r = RUNTIME__V1__CONTAINER_EVENT_RESPONSE__INIT;
    struct arena a;

    if (list_empty(&e->watchers))
        return;
    arena_init(&a, 0);
    r.container_id = c ? c->id : s ? s->id : (char *)"";
    r.container_event_type = (Runtime__V1__ContainerEventType)event;
    r.created_at = wall_now().ns;
    if (s) {
        r.pod_sandbox_status = cri_sandbox_status(&a, s);
        r.n_containers_statuses = cri_container_statuses(&a, s, &r.containers_statuses);
    }
    list_for_safe(p, &e->watchers)
    {
        struct watcher *w = container_of(p, struct watcher, link);

        /* Who reads too slowly starts again and looks at everything. */
        if (grpc_send(w->x, &r.base) < 0)
            drop(w, GRPC_RESOURCE_EXHAUSTED, "events are read too slowly");
    }
    arena_fini(&a);
}

void cri_events_close(struct engine *e)
{
    list_for_safe(p, &e->watchers)
    {
        struct watcher *w = container_of(p, struct watcher, link);

        list_remove(p);
        grpc_finish(w->x, GRPC_UNAVAILABLE, "engine is shutting down");
        free(w);
    }
}

void cri_register_events(struct engine *e)
{
    static const struct cri_method methods[] = {
        {"GetContainerEvents", &runtime__v1__get_events_request__descriptor, on_watch},
    };

    cri_register(e, methods, ARRAY_LEN(methods));
}
