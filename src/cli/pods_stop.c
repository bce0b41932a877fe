#include "cli/pods_stop.h"
#include "base/cleanup.h"
#include "base/flags.h"
#include "base/mem.h"
#include "cri.pb-c.h"
#include "loop/loop.h"
#include "net/grpc.h"
#include <errno.h>
#include <stdlib.h>

#define SERVICE "/runtime.v1.RuntimeService/"
#define CALL_MS 20000

struct stopper {
    struct loop *loop;
    struct grpc_client *client;
    struct flag_list ids;
    size_t pending;
    struct error **err;
    int result;
};

static void on_list(int code, const char *message, const ProtobufCMessage *reply, void *arg)
{
    struct stopper *s = arg;
    const Runtime__V1__ListPodSandboxResponse *r = (const void *)reply;

    if (code != GRPC_OK)
        s->result = error_set(s->err, code == GRPC_UNAVAILABLE ? ENOENT : EIO,
                              "list pod sandboxes: %s", message);
    for (size_t i = 0; r && i < r->n_items; i++)
        flag_list_add(&s->ids, r->items[i]->id);
    loop_exit(s->loop, 0);
}

static void on_one(int code, const char *message, const ProtobufCMessage *reply, void *arg)
{
    struct stopper *s = arg;

    (void)reply;
    if (code != GRPC_OK && code != GRPC_NOT_FOUND)
        s->result = error_set(s->err, EIO, "stop a pod sandbox: %s", message);
    if (--s->pending == 0)
        loop_exit(s->loop, 0);
}

static void each(struct stopper *s, bool remove)
{
    Runtime__V1__StopPodSandboxRequest stop = RUNTIME__V1__STOP_POD_SANDBOX_REQUEST__INIT;
    Runtime__V1__RemovePodSandboxRequest rm = RUNTIME__V1__REMOVE_POD_SANDBOX_REQUEST__INIT;

    s->pending = s->ids.n;
    for (size_t i = 0; i < s->ids.n; i++) {
        stop.pod_sandbox_id = rm.pod_sandbox_id = s->ids.v[i];
        if (remove)
            (void)grpc_call_start(s->client, SERVICE "RemovePodSandbox", &rm.base,
                                  &runtime__v1__remove_pod_sandbox_response__descriptor, CALL_MS,
                                  on_one, s);
        else
            (void)grpc_call_start(s->client, SERVICE "StopPodSandbox", &stop.base,
                                  &runtime__v1__stop_pod_sandbox_response__descriptor, CALL_MS,
                                  on_one, s);
    }
    if (s->pending)
        (void)loop_run(s->loop);
}

int pods_stop(const char *socket_path, bool remove, struct error **err)
{
    Runtime__V1__ListPodSandboxRequest q = RUNTIME__V1__LIST_POD_SANDBOX_REQUEST__INIT;
    struct stopper s = {.loop = loop_new(), .err = err};
    size_t n;

    s.client = grpc_client_new(s.loop, socket_path);
    (void)grpc_call_start(s.client, SERVICE "ListPodSandbox", &q.base,
                          &runtime__v1__list_pod_sandbox_response__descriptor, CALL_MS, on_list,
                          &s);
    (void)loop_run(s.loop);
    if (s.result == 0)
        each(&s, false);
    if (s.result == 0 && remove)
        each(&s, true);
    n = s.ids.n;
    flag_list_fini(&s.ids);
    grpc_client_free(s.client);
    loop_run_once(s.loop, 0);
    loop_free(s.loop);
    return s.result < 0 ? s.result : (int)n;
}
