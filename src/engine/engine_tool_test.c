/*
 * For tests/component/engine_test.sh: the engine's and the image command without the rest of the
 * binary, and a CRI client. engine-tool engine|image FLAGS... engine-tool cri SOCKET METHOD [JSON]
 * request and reply by the field names of api/cri.proto engine-tool watch SOCKET container events,
 * one line each, until killed
 */
#include "base/cleanup.h"
#include "base/mem.h"
#include "codec/json.h"
#include "cri.pb-c.h"
#include "engine/engine.h"
#include "engine/image/image_cli.h"
#include "net/grpc.h"
#include <stdio.h>

/* ---- JSON to message ---- */
static void set_value(const ProtobufCFieldDescriptor *f, const json_t *v, void *at);

static void *message_new(const ProtobufCMessageDescriptor *d, const json_t *v)
{
    ProtobufCMessage *m = xcalloc(1, d->sizeof_message);
    const char *key;
    json_t *value;

    protobuf_c_message_init(d, m);
    json_object_foreach((json_t *)v, key, value)
    {
        const ProtobufCFieldDescriptor *f = protobuf_c_message_descriptor_get_field_by_name(d, key);
        size_t n, i = 0, size;
        char *list;
        json_t *element;
        const char *name;

        if (!f) {
            (void)fprintf(stderr, "%s has no field %s\n", d->name, key);
            exit(2);
        }
        if (f->label != PROTOBUF_C_LABEL_REPEATED) {
            set_value(f, value, (char *)m + f->offset);
            continue;
        }
        n = json_is_object(value) ? json_object_size(value) : json_array_size(value);
        size = f->type == PROTOBUF_C_TYPE_INT64   ? 8
               : f->type == PROTOBUF_C_TYPE_INT32 ? 4
                                                  : sizeof(void *);
        list = xcalloc(n + 1, size);
        if (json_is_object(value)) { /* a map */
            json_object_foreach(value, name, element)
            {
                json_t *entry = json_pack("{s:s, s:O}", "key", name, "value", element);

                set_value(f, entry, list + i++ * size);
            }
        } else {
            json_array_foreach(value, i, element) set_value(f, element, list + i * size);
        }
        *(size_t *)((char *)m + f->quantifier_offset) = n;
        *(void **)((char *)m + f->offset) = list;
    }
    return m;
}

static void set_value(const ProtobufCFieldDescriptor *f, const json_t *v, void *at)
{
    switch (f->type) {
    case PROTOBUF_C_TYPE_STRING:
        *(char **)at = xstrdup(json_string_value(v));
        return;
    case PROTOBUF_C_TYPE_BYTES:
        *(ProtobufCBinaryData *)at =
            (ProtobufCBinaryData){json_string_length(v), (uint8_t *)xstrdup(json_string_value(v))};
        return;
    case PROTOBUF_C_TYPE_MESSAGE:
        *(void **)at = message_new(f->descriptor, v);
        return;
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_UINT64:
        *(int64_t *)at = json_integer_value(v);
        return;
    case PROTOBUF_C_TYPE_BOOL:
        *(protobuf_c_boolean *)at = json_is_true(v);
        return;
    default:
        *(int32_t *)at = (int32_t)json_integer_value(v);
    }
}

/* ---- message to JSON ---- */
static json_t *to_json(const ProtobufCMessage *m);

static json_t *get_value(const ProtobufCFieldDescriptor *f, const void *at)
{
    const ProtobufCBinaryData *b = at;

    switch (f->type) {
    case PROTOBUF_C_TYPE_STRING:
        return json_string(*(char *const *)at ? *(char *const *)at : "");
    case PROTOBUF_C_TYPE_BYTES:
        return json_stringn_nocheck((const char *)b->data, b->len);
    case PROTOBUF_C_TYPE_MESSAGE:
        return *(void *const *)at ? to_json(*(ProtobufCMessage *const *)at) : json_null();
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_UINT64:
        return json_integer(*(const int64_t *)at);
    case PROTOBUF_C_TYPE_BOOL:
        return json_boolean(*(const protobuf_c_boolean *)at);
    case PROTOBUF_C_TYPE_DOUBLE:
        return json_real(*(const double *)at);
    default:
        return json_integer(*(const int32_t *)at);
    }
}

static json_t *to_json(const ProtobufCMessage *m)
{
    json_t *o = json_object();

    for (unsigned i = 0; i < m->descriptor->n_fields; i++) {
        const ProtobufCFieldDescriptor *f = &m->descriptor->fields[i];
        const char *at = (const char *)m + f->offset;
        size_t n, size;
        json_t *list;

        if (f->label != PROTOBUF_C_LABEL_REPEATED) {
            (void)json_object_set_new(o, f->name, get_value(f, at));
            continue;
        }
        n = *(const size_t *)((const char *)m + f->quantifier_offset);
        size = f->type == PROTOBUF_C_TYPE_INT64   ? 8
               : f->type == PROTOBUF_C_TYPE_INT32 ? 4
                                                  : sizeof(void *);
        list = json_array();
        for (size_t k = 0; k < n; k++)
            (void)json_array_append_new(list, get_value(f, *(char *const *)at + k * size));
        (void)json_object_set_new(o, f->name, list);
    }
    return o;
}

static void print(const ProtobufCMessage *m)
{
    json_t *v = to_json(m);
    char *text = json_dumps(v, JSON_COMPACT);

    (void)puts(text ? text : "(not UTF-8)");
    (void)fflush(stdout);
    free(text);
    json_decref(v);
}

/* ---- calls ---- */
#define ROW(name, stem)                                                                            \
    {                                                                                              \
        name, &runtime__v1__##stem##_request__descriptor,                                          \
            &runtime__v1__##stem##_response__descriptor                                            \
    }
static const struct {
    const char *name;
    const ProtobufCMessageDescriptor *request, *reply;
} methods[] = {
    ROW("Version", version),
    ROW("Status", status),
    ROW("RunPodSandbox", run_pod_sandbox),
    ROW("StopPodSandbox", stop_pod_sandbox),
    ROW("RemovePodSandbox", remove_pod_sandbox),
    ROW("PodSandboxStatus", pod_sandbox_status),
    ROW("ListPodSandbox", list_pod_sandbox),
    ROW("CreateContainer", create_container),
    ROW("StartContainer", start_container),
    ROW("StopContainer", stop_container),
    ROW("RemoveContainer", remove_container),
    ROW("ListContainers", list_containers),
    ROW("ContainerStatus", container_status),
    ROW("UpdateContainerResources", update_container_resources),
    ROW("ReopenContainerLog", reopen_container_log),
    ROW("ExecSync", exec_sync),
    ROW("Exec", exec),
    ROW("Attach", attach),
    ROW("PortForward", port_forward),
    ROW("ContainerStats", container_stats),
    ROW("ListContainerStats", list_container_stats),
    ROW("PodSandboxStats", pod_sandbox_stats),
    ROW("ListPodSandboxStats", list_pod_sandbox_stats),
    ROW("UpdateRuntimeConfig", update_runtime_config),
    ROW("RuntimeConfig", runtime_config),
    ROW("CheckpointContainer", checkpoint_container),
};

struct call {
    struct loop *loop;
    int rc;
};

static void on_reply(int code, const char *message, const ProtobufCMessage *reply, void *arg)
{
    struct call *c = arg;

    c->rc = code;
    if (code)
        (void)fprintf(stderr, "%s: %s\n", grpc_code_name(code), message);
    else
        print(reply);
    loop_exit(c->loop, code);
}

static int cri(const char *socket, const char *method, const char *text)
{
    struct call c = {.loop = loop_new()};
    struct grpc_client *g = grpc_client_new(c.loop, socket);
    cleanup_error struct error *err = NULL;
    json_t *v = NULL;

    if (json_parse(str_of(text ? text : "{}"), 1 << 24, "request", &v, &err) < 0) {
        (void)fprintf(stderr, "%s\n", error_message(err));
        return 2;
    }
    for (size_t i = 0; i < ARRAY_LEN(methods); i++)
        if (streq(methods[i].name, method)) {
            cleanup_free char *path = xasprintf("/runtime.v1.RuntimeService/%s", method);

            (void)grpc_call_start(g, path, message_new(methods[i].request, v), methods[i].reply, 0,
                                  on_reply, &c);
            (void)loop_run(c.loop);
            return c.rc;
        }
    (void)fprintf(stderr, "no method %s\n", method);
    return 2;
}

static void on_event(const ProtobufCMessage *message, void *arg)
{
    const Runtime__V1__ContainerEventResponse *r =
        (const Runtime__V1__ContainerEventResponse *)message;
    const ProtobufCEnumValue *type = protobuf_c_enum_descriptor_get_value(
        &runtime__v1__container_event_type__descriptor, (int)r->container_event_type);

    (void)arg;
    (void)printf("%s %s %zu\n", type ? type->name : "?", r->container_id, r->n_containers_statuses);
    (void)fflush(stdout);
}

static void on_end(int code, const char *message, void *arg)
{
    (void)fprintf(stderr, "%s: %s\n", grpc_code_name(code), message);
    loop_exit(arg, code);
}

static int watch(const char *socket)
{
    struct loop *l = loop_new();
    struct grpc_client *g = grpc_client_new(l, socket);
    Runtime__V1__GetEventsRequest q = RUNTIME__V1__GET_EVENTS_REQUEST__INIT;

    (void)grpc_stream_start(g, "/runtime.v1.RuntimeService/GetContainerEvents", &q.base,
                            &runtime__v1__container_event_response__descriptor, on_event, on_end,
                            l);
    return loop_run(l);
}

int main(int argc, char **argv)
{
    if (argc >= 2 && streq(argv[1], "engine"))
        return engine_main(argc - 1, argv + 1);
    if (argc >= 2 && streq(argv[1], "image"))
        return image_cli_main(argc - 1, argv + 1);
    if (argc >= 4 && streq(argv[1], "cri"))
        return cri(argv[2], argv[3], argv[4]);
    if (argc == 3 && streq(argv[1], "watch"))
        return watch(argv[2]);
    return 2;
}
