#include "engine/cri/cri_private.h"
#include "base/cleanup.h"
#include "base/log.h"

static void on_version(struct grpc_context *x, const ProtobufCMessage *request, void *arg)
{
    Runtime__V1__VersionResponse r = RUNTIME__V1__VERSION_RESPONSE__INIT;

    (void)request;
    (void)arg;
    r.version = (char *)"0.1.0"; /* of the kubelet's runtime interface */
    r.runtime_name = (char *)"skiff";
    r.runtime_version = (char *)SKIFF_VERSION;
    r.runtime_api_version = (char *)"v1";
    grpc_reply(x, &r.base);
}

static void set_condition(Runtime__V1__RuntimeCondition *c, const char *type, bool status,
                          const char *reason, const char *message)
{
    runtime__v1__runtime_condition__init(c);
    c->type = (char *)type;
    c->status = status;
    c->reason = (char *)(status ? "" : reason);
    c->message = (char *)(status ? "" : message);
}

static char *verbose_info(const struct engine *e)
{
    cleanup_buf struct buf text;
    cleanup_json json_t *v = json_pack(
        "{s:s, s:s, s:s, s:s, s:b, s:b, s:I, s:I}", "runtime", e->runtime.path, "runtimeVersion",
        strna(e->runtime.version), "dataRoot", e->cfg.data_root, "execRoot", e->cfg.exec_root,
        "cgroup2", (int)e->cgroups.unified, "hybridCgroups", (int)e->cgroups.hybrid, "containers",
        (json_int_t)e->containers.n, "sandboxes", (json_int_t)e->sandboxes.n);

    buf_init(&text, 65536);
    (void)json_write(v, &text);
    return buf_take(&text);
}

static void on_status(struct grpc_context *x, const ProtobufCMessage *request, void *arg)
{
    const Runtime__V1__StatusRequest *q = (const Runtime__V1__StatusRequest *)request;
    struct engine *e = arg;
    Runtime__V1__RuntimeCondition conditions[2], *list[] = {&conditions[0], &conditions[1]};
    Runtime__V1__RuntimeStatus status = RUNTIME__V1__RUNTIME_STATUS__INIT;
    Runtime__V1__RuntimeHandler handler = RUNTIME__V1__RUNTIME_HANDLER__INIT,
                                *handlers[] = {&handler};
    Runtime__V1__RuntimeHandlerFeatures features = RUNTIME__V1__RUNTIME_HANDLER_FEATURES__INIT;
    Runtime__V1__RuntimeFeatures runtime_features = RUNTIME__V1__RUNTIME_FEATURES__INIT;
    Runtime__V1__StatusResponse__InfoEntry info = RUNTIME__V1__STATUS_RESPONSE__INFO_ENTRY__INIT,
                                           *infos[] = {&info};
    Runtime__V1__StatusResponse r = RUNTIME__V1__STATUS_RESPONSE__INIT;
    cleanup_free char *text = NULL;
    const char *reason;
    bool ready = network_ready(e->network, &reason);

    set_condition(&conditions[0], "RuntimeReady", true, "", "");
    set_condition(&conditions[1], "NetworkReady", ready, "NetworkPluginNotReady", reason);
    status.n_conditions = 2;
    status.conditions = list;
    r.status = &status;
    features.recursive_read_only_mounts = true; /* runc 1.1, crun 1.4; Linux 5.12 */
    handler.features = &features;
    r.n_runtime_handlers = 1;
    r.runtime_handlers = handlers;
    runtime_features.supplemental_groups_policy = true;
    r.features = &runtime_features;
    if (q->verbose) {
        text = verbose_info(e);
        info.key = (char *)"config";
        info.value = text;
        r.n_info = 1;
        r.info = infos;
    }
    grpc_reply(x, &r.base);
}

static void on_update_runtime_config(struct grpc_context *x, const ProtobufCMessage *request,
                                     void *arg)
{
    const Runtime__V1__UpdateRuntimeConfigRequest *q =
        (const Runtime__V1__UpdateRuntimeConfigRequest *)request;
    struct engine *e = arg;
    Runtime__V1__UpdateRuntimeConfigResponse r = RUNTIME__V1__UPDATE_RUNTIME_CONFIG_RESPONSE__INIT;
    const char *cidrs = q->runtime_config && q->runtime_config->network_config
                            ? q->runtime_config->network_config->pod_cidr
                            : "";
    struct str rest = str_of(cidrs);
    cleanup_error struct error *err = NULL;

    /* Of a dual-stack pair the IPv4 one. */
    while (rest.p) {
        cleanup_free char *cidr = str_dup(str_split(&rest, ','));

        if (!strchr(cidr, ':') && network_set_pod_cidr(e->network, cidr, &err) < 0) {
            log_warn("network", "pod CIDR refused", "reason", error_message(err), NULL);
            grpc_fail_error(x, err);
            return;
        }
    }
    grpc_reply(x, &r.base);
}

static void on_runtime_config(struct grpc_context *x, const ProtobufCMessage *request, void *arg)
{
    Runtime__V1__LinuxRuntimeConfiguration lin = RUNTIME__V1__LINUX_RUNTIME_CONFIGURATION__INIT;
    Runtime__V1__RuntimeConfigResponse r = RUNTIME__V1__RUNTIME_CONFIG_RESPONSE__INIT;

    (void)request;
    (void)arg;
    lin.cgroup_driver = RUNTIME__V1__CGROUP_DRIVER__CGROUPFS;
    r.linux = &lin;
    grpc_reply(x, &r.base);
}

static void on_checkpoint(struct grpc_context *x, const ProtobufCMessage *request, void *arg)
{
    (void)request;
    (void)arg;
    grpc_fail(x, GRPC_UNIMPLEMENTED, "this engine does not checkpoint containers");
}

void cri_register_status(struct engine *e)
{
    static const struct cri_method methods[] = {
        {"Version", &runtime__v1__version_request__descriptor, on_version},
        {"Status", &runtime__v1__status_request__descriptor, on_status},
        {"UpdateRuntimeConfig", &runtime__v1__update_runtime_config_request__descriptor,
         on_update_runtime_config},
        {"RuntimeConfig", &runtime__v1__runtime_config_request__descriptor, on_runtime_config},
        {"CheckpointContainer", &runtime__v1__checkpoint_container_request__descriptor,
         on_checkpoint},
    };

    cri_register(e, methods, ARRAY_LEN(methods));
}
