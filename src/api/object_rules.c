#include "api/object_rules.h"
#include "base/cleanup.h"

static const struct {
    const ProtobufCMessageDescriptor *desc;
    enum object_shape shape;
} shapes[] = {
    {&k8s__time__descriptor, SHAPE_TIME},
    {&k8s__micro_time__descriptor, SHAPE_MICRO_TIME},
    {&k8s__int_or_string__descriptor, SHAPE_INT_OR_STRING},
    {&k8s__quantity__descriptor, SHAPE_QUANTITY},
    {&k8s__raw_extension__descriptor, SHAPE_RAW},
    {&k8s__fields_v1__descriptor, SHAPE_RAW},
    {&k8s__extra_value__descriptor, SHAPE_LIST},
};

enum object_shape object_shape(const ProtobufCMessageDescriptor *d)
{
    if (d->n_fields > 3)
        return SHAPE_PLAIN;
    for (size_t i = 0; i < ARRAY_LEN(shapes); i++)
        if (shapes[i].desc == d)
            return shapes[i].shape;
    return SHAPE_PLAIN;
}

/* Fields by name whose message is flattened; the name alone decides, it means the same everywhere.
 */
static const char *const inlined[] = {"volumeSource", "handler", "localObjectReference",
                                      "ephemeralContainerCommon"};

bool object_is_inlined(const ProtobufCFieldDescriptor *f)
{
    if (f->type != PROTOBUF_C_TYPE_MESSAGE || f->label == PROTOBUF_C_LABEL_REPEATED)
        return false;
    for (size_t i = 0; i < ARRAY_LEN(inlined); i++)
        if (!strcmp(f->name, inlined[i]))
            return true;
    return false;
}

static const ProtobufCFieldDescriptor *find(const ProtobufCMessageDescriptor *d, struct str key)
{
    unsigned lo = 0, hi = d->n_fields;
    while (lo < hi) {
        unsigned mid = (lo + hi) / 2;
        const ProtobufCFieldDescriptor *f = d->fields + d->fields_sorted_by_name[mid];
        int c = strncmp(f->name, key.p, key.n);
        if (!c && f->name[key.n])
            c = 1;
        if (!c)
            return f;
        if (c < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return NULL;
}

const ProtobufCFieldDescriptor *object_field(const ProtobufCMessageDescriptor *d, struct str key,
                                             const ProtobufCFieldDescriptor **ret_via)
{
    *ret_via = NULL;
    if (!key.n || memchr(key.p, 0, key.n))
        return NULL;
    const ProtobufCFieldDescriptor *f = find(d, key);
    if (f && !object_is_inlined(f))
        return f;
    if (d->n_fields > 5) /* every type with an inlined member is small, save Probe */
        if (d != &k8s__probe__descriptor)
            return NULL;
    for (unsigned i = 0; i < d->n_fields; i++) {
        if (!object_is_inlined(&d->fields[i]))
            continue;
        f = find(d->fields[i].descriptor, key);
        if (f) {
            *ret_via = &d->fields[i];
            return f;
        }
    }
    return NULL;
}

bool object_is_set(const void *msg, const ProtobufCFieldDescriptor *f)
{
    if (f->label == PROTOBUF_C_LABEL_REPEATED)
        return *object_count(msg, f) > 0;
    if (f->type == PROTOBUF_C_TYPE_STRING || f->type == PROTOBUF_C_TYPE_MESSAGE)
        return *(void **)object_slot(msg, f) != NULL;
    return f->quantifier_offset == 0 ||
           *(protobuf_c_boolean *)((char *)(uintptr_t)msg + f->quantifier_offset);
}

#define KIND(type, g, v, k, p, ns)                                                                 \
    {                                                                                              \
        .desc = &k8s__##type##__descriptor, .group = g, .version = v, .kind = k, .plural = p,      \
        .namespaced = ns                                                                           \
    }
static const struct object_kind kinds[] = {
    KIND(pod, "", "v1", "Pod", "pods", true),
    KIND(node, "", "v1", "Node", "nodes", false),
    KIND(service, "", "v1", "Service", "services", true),
    KIND(endpoints, "", "v1", "Endpoints", "endpoints", true),
    KIND(config_map, "", "v1", "ConfigMap", "configmaps", true),
    KIND(secret, "", "v1", "Secret", "secrets", true),
    KIND(service_account, "", "v1", "ServiceAccount", "serviceaccounts", true),
    KIND(event, "", "v1", "Event", "events", true),
    KIND(namespace, "", "v1", "Namespace", "namespaces", false),
    KIND(binding, "", "v1", "Binding", "bindings", true),
    KIND(persistent_volume_claim, "", "v1", "PersistentVolumeClaim", "persistentvolumeclaims",
         true),
    KIND(lease, "coordination.k8s.io", "v1", "Lease", "leases", true),
    KIND(endpoint_slice, "discovery.k8s.io", "v1", "EndpointSlice", "endpointslices", true),
    KIND(certificate_signing_request, "certificates.k8s.io", "v1", "CertificateSigningRequest",
         "certificatesigningrequests", false),
    KIND(token_request, "authentication.k8s.io", "v1", "TokenRequest", "tokenrequests", true),
    KIND(token_review, "authentication.k8s.io", "v1", "TokenReview", "tokenreviews", false),
    KIND(subject_access_review, "authorization.k8s.io", "v1", "SubjectAccessReview",
         "subjectaccessreviews", false),
    KIND(daemon_set, "apps", "v1", "DaemonSet", "daemonsets", true),
    KIND(deployment, "apps", "v1", "Deployment", "deployments", true),
    KIND(replica_set, "apps", "v1", "ReplicaSet", "replicasets", true),
    KIND(stateful_set, "apps", "v1", "StatefulSet", "statefulsets", true),
    KIND(job, "batch", "v1", "Job", "jobs", true),
    KIND(role, "rbac.authorization.k8s.io", "v1", "Role", "roles", true),
    KIND(role_binding, "rbac.authorization.k8s.io", "v1", "RoleBinding", "rolebindings", true),
    KIND(cluster_role, "rbac.authorization.k8s.io", "v1", "ClusterRole", "clusterroles", false),
    KIND(cluster_role_binding, "rbac.authorization.k8s.io", "v1", "ClusterRoleBinding",
         "clusterrolebindings", false),
    KIND(status, "", "v1", "Status", "", false),
    KIND(delete_options, "", "v1", "DeleteOptions", "", false),
};

const struct object_kind *object_kind_of(const ProtobufCMessageDescriptor *d)
{
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
        if (kinds[i].desc == d)
            return &kinds[i];
    return NULL;
}

void object_kind_api_version(const struct object_kind *k, char out[static OBJECT_API_VERSION_TEXT])
{
    (void)snprintf(out, OBJECT_API_VERSION_TEXT, "%s%s%s", k->group, *k->group ? "/" : "",
                   k->version);
}

const struct object_kind *object_kind_find(struct str api_version, struct str kind)
{
    char text[OBJECT_API_VERSION_TEXT];
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        object_kind_api_version(&kinds[i], text);
        if (str_eq_z(kind, kinds[i].kind) && str_eq_z(api_version, text))
            return &kinds[i];
    }
    return NULL;
}
