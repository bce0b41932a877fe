/* Objects as strangers write them, of every kind the server takes: defaults, validation, what the
 * scheduler and the endpoints controller read from them. First byte: the kind; the rest: JSON of
 * the object, which is also used as its own old version. */
#include "server/admission/admission.h"
#include "codec/json.h"
#include "server/auth/rbac_defaults.h"
#include "server/controllers/daemonset_plan.h"
#include "server/controllers/endpoints_build.h"
#include "server/controllers/fake_cluster.h"
#include "server/controllers/meta.h"
#include "server/scheduler/filter.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static const struct {
    const char *resource, *kind;
} kinds[] = {
    {"pods", "Pod"},
    {"services", "Service"},
    {"daemonsets.apps", "DaemonSet"},
    {"deployments.apps", "Deployment"},
    {"replicasets.apps", "ReplicaSet"},
    {"nodes", "Node"},
    {"secrets", "Secret"},
    {"configmaps", "ConfigMap"},
    {"namespaces", "Namespace"},
    {"clusterroles.rbac.authorization.k8s.io", "ClusterRole"},
    {"rolebindings.rbac.authorization.k8s.io", "RoleBinding"},
    {"endpointslices.discovery.k8s.io", "EndpointSlice"},
    {"certificatesigningrequests.certificates.k8s.io", "CertificateSigningRequest"},
    {"leases.coordination.k8s.io", "Lease"},
    {"jobs.batch", "Job"},
};

static void admit(struct admission *a, size_t kind, enum admission_op op, const json_t *given)
{
    json_t *object = json_deep_copy(given);
    struct admission_request r = {.op = op,
                                  .resource = kinds[kind].resource,
                                  .kind = kinds[kind].kind,
                                  .subresource = "",
                                  .ns = "default",
                                  .name = "",
                                  .user = "u",
                                  .object = object,
                                  .old = op == ADMISSION_UPDATE ? given : NULL};
    struct admission_failure f = {0};

    if (admission_mutate(a, &r, &f) == 0 && admission_validate(a, &r, &f) == 0)
        admission_released(a, r.resource, object);
    admission_failure_fini(&f);
    json_decref(object);
}

static void read_as_controllers_do(const json_t *o)
{
    json_t *list = json_pack("[O,O]", o, o), *rules = json_object_get(o, "rules");
    struct daemon_plan plan;
    struct snapshot s;
    char *message = NULL;

    json_decref(endpoints_subsets(o, list));
    json_decref(endpoints_slices(o, list, o));
    daemon_plan(o, list, list, "h", &plan);
    daemon_plan_fini(&plan);
    if (json_array_size(rules) > 0)
        (void)rbac_rules_cover(rules, json_array_get(rules, json_array_size(rules) - 1));
    snapshot_init(&s);
    snapshot_set_node(&s, o);
    snapshot_set_pod(&s, o, "x");
    (void)pick_node(&s, o, &message);
    free(message);
    snapshot_fini(&s);
    json_decref(list);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct admission_config cfg = {
        .service_cidr = "10.254.0.0/24", .node_port_min = 30000, .node_port_max = 30010};
    struct fake_cluster fc;
    struct admission *a;
    json_t *o = NULL;
    size_t kind;

    if (n < 2 ||
        json_parse((struct str){(const char *)data + 1, n - 1}, 64 << 10, "input", &o, NULL) < 0)
        return 0;
    kind = data[0] % (sizeof(kinds) / sizeof(kinds[0]));
    fake_init(&fc);
    fake_put(&fc, "namespaces", "{'metadata':{'name':'default'}}");
    fake_put(&fc, "serviceaccounts", "{'metadata':{'name':'default','namespace':'default'}}");
    cfg.cluster = &fc.cluster;
    if (json_is_object(o) && admission_new(&cfg, &a, NULL) == 0) {
        admit(a, kind, ADMISSION_CREATE, o);
        admit(a, kind, ADMISSION_UPDATE, o);
        read_as_controllers_do(o);
        admission_free(a);
    }
    fake_fini(&fc);
    json_decref(o);
    return 0;
}
