#include "server/registry/resource.h"
#include "base/cleanup.h"
#include "base/mem.h"
#include "base/time.h"
#include "codec/json.h"
#include "k8s.pb-c.h"
#include <stdio.h>

#define CORE .group = "", .version = "v1"
#define APPS .group = "apps", .version = "v1"
#define RBAC .group = "rbac.authorization.k8s.io", .version = "v1"
const struct resource resources[] = {
    {CORE, .kind = "Namespace", .plural = "namespaces", .singular = "namespace",
     .short_names = {"ns"}, .subs = SUB_STATUS | SUB_FINALIZE, .columns = columns_namespaces,
     .print = print_namespaces, .type = &k8s__namespace__descriptor, .id = "namespaces"},
    {CORE, .kind = "Node", .plural = "nodes", .singular = "node", .short_names = {"no"},
     .subs = SUB_STATUS | SUB_PROXY, .columns = columns_nodes, .print = print_nodes,
     .type = &k8s__node__descriptor, .id = "nodes"},
    {CORE, .kind = "Pod", .plural = "pods", .singular = "pod", .short_names = {"po"},
     .namespaced = true, .in_all = true,
     .subs = SUB_STATUS | SUB_BINDING | SUB_EVICTION | SUB_STREAMS, .columns = columns_pods,
     .print = print_pods, .type = &k8s__pod__descriptor, .id = "pods"},
    {CORE, .kind = "Service", .plural = "services", .singular = "service", .short_names = {"svc"},
     .namespaced = true, .in_all = true, .subs = SUB_STATUS, .columns = columns_services,
     .print = print_services, .type = &k8s__service__descriptor, .id = "services"},
    {CORE, .kind = "Endpoints", .plural = "endpoints", .singular = "endpoints",
     .short_names = {"ep"}, .namespaced = true, .columns = columns_endpoints,
     .print = print_endpoints, .type = &k8s__endpoints__descriptor, .id = "endpoints"},
    {CORE, .kind = "ConfigMap", .plural = "configmaps", .singular = "configmap",
     .short_names = {"cm"}, .namespaced = true, .columns = columns_configmaps,
     .print = print_configmaps, .type = &k8s__config_map__descriptor, .id = "configmaps"},
    {CORE, .kind = "Secret", .plural = "secrets", .singular = "secret", .namespaced = true,
     .columns = columns_secrets, .print = print_secrets, .type = &k8s__secret__descriptor,
     .id = "secrets"},
    {CORE, .kind = "ServiceAccount", .plural = "serviceaccounts", .singular = "serviceaccount",
     .short_names = {"sa"}, .namespaced = true, .subs = SUB_TOKEN,
     .columns = columns_serviceaccounts, .print = print_serviceaccounts,
     .type = &k8s__service_account__descriptor, .id = "serviceaccounts"},
    {CORE, .kind = "Event", .plural = "events", .singular = "event", .short_names = {"ev"},
     .namespaced = true, .columns = columns_events, .print = print_events,
     .type = &k8s__event__descriptor, .id = "events"},
    {.group = "discovery.k8s.io",
     .version = "v1",
     .kind = "EndpointSlice",
     .plural = "endpointslices",
     .singular = "endpointslice",
     .namespaced = true,
     .columns = columns_endpointslices,
     .print = print_endpointslices,
     .type = &k8s__endpoint_slice__descriptor,
     .id = "endpointslices.discovery.k8s.io"},
    {.group = "coordination.k8s.io",
     .version = "v1",
     .kind = "Lease",
     .plural = "leases",
     .singular = "lease",
     .namespaced = true,
     .columns = columns_leases,
     .print = print_leases,
     .type = &k8s__lease__descriptor,
     .id = "leases.coordination.k8s.io"},
    {APPS, .also = "extensions/v1beta1", .kind = "DaemonSet", .plural = "daemonsets",
     .singular = "daemonset", .short_names = {"ds"}, .namespaced = true, .in_all = true,
     .subs = SUB_STATUS, .columns = columns_daemonsets, .print = print_daemonsets,
     .type = &k8s__daemon_set__descriptor, .id = "daemonsets.apps"},
    {APPS, .also = "extensions/v1beta1", .kind = "Deployment", .plural = "deployments",
     .singular = "deployment", .short_names = {"deploy"}, .namespaced = true, .in_all = true,
     .subs = SUB_STATUS | SUB_SCALE, .columns = columns_deployments, .print = print_deployments,
     .type = &k8s__deployment__descriptor, .id = "deployments.apps"},
    {APPS, .also = "extensions/v1beta1", .kind = "ReplicaSet", .plural = "replicasets",
     .singular = "replicaset", .short_names = {"rs"}, .namespaced = true, .in_all = true,
     .subs = SUB_STATUS | SUB_SCALE, .columns = columns_replicasets, .print = print_replicasets,
     .type = &k8s__replica_set__descriptor, .id = "replicasets.apps"},
    {.group = "batch",
     .version = "v1",
     .kind = "Job",
     .plural = "jobs",
     .singular = "job",
     .namespaced = true,
     .in_all = true,
     .subs = SUB_STATUS,
     .columns = columns_jobs,
     .print = print_jobs,
     .type = &k8s__job__descriptor,
     .id = "jobs.batch"},
    {APPS, .kind = "ControllerRevision", .plural = "controllerrevisions",
     .singular = "controllerrevision", .namespaced = true, .id = "controllerrevisions.apps"},
    {.group = "certificates.k8s.io",
     .version = "v1",
     .kind = "CertificateSigningRequest",
     .plural = "certificatesigningrequests",
     .singular = "certificatesigningrequest",
     .short_names = {"csr"},
     .subs = SUB_STATUS | SUB_APPROVAL,
     .columns = columns_csrs,
     .print = print_csrs,
     .type = &k8s__certificate_signing_request__descriptor,
     .id = "certificatesigningrequests.certificates.k8s.io"},
    {RBAC, .kind = "ClusterRole", .plural = "clusterroles", .singular = "clusterrole",
     .columns = columns_created, .print = print_created,
     .id = "clusterroles.rbac.authorization.k8s.io"},
    {RBAC, .kind = "ClusterRoleBinding", .plural = "clusterrolebindings",
     .singular = "clusterrolebinding", .columns = columns_bindings, .print = print_bindings,
     .id = "clusterrolebindings.rbac.authorization.k8s.io"},
    {RBAC, .kind = "Role", .plural = "roles", .singular = "role", .namespaced = true,
     .columns = columns_created, .print = print_created, .id = "roles.rbac.authorization.k8s.io"},
    {RBAC, .kind = "RoleBinding", .plural = "rolebindings", .singular = "rolebinding",
     .namespaced = true, .columns = columns_bindings, .print = print_bindings,
     .id = "rolebindings.rbac.authorization.k8s.io"},
    {.group = "authentication.k8s.io",
     .version = "v1",
     .kind = "TokenReview",
     .plural = "tokenreviews",
     .singular = "tokenreview",
     .virtual_ = true,
     .id = "tokenreviews.authentication.k8s.io"},
    {.group = "authentication.k8s.io",
     .version = "v1",
     .kind = "SelfSubjectReview",
     .plural = "selfsubjectreviews",
     .singular = "selfsubjectreview",
     .virtual_ = true,
     .id = "selfsubjectreviews.authentication.k8s.io"},
    {.group = "authorization.k8s.io",
     .version = "v1",
     .kind = "SubjectAccessReview",
     .plural = "subjectaccessreviews",
     .singular = "subjectaccessreview",
     .virtual_ = true,
     .id = "subjectaccessreviews.authorization.k8s.io"},
    {.group = "authorization.k8s.io",
     .version = "v1",
     .kind = "SelfSubjectAccessReview",
     .plural = "selfsubjectaccessreviews",
     .singular = "selfsubjectaccessreview",
     .virtual_ = true,
     .id = "selfsubjectaccessreviews.authorization.k8s.io"},
    {.group = "authorization.k8s.io",
     .version = "v1",
     .kind = "SelfSubjectRulesReview",
     .plural = "selfsubjectrulesreviews",
     .singular = "selfsubjectrulesreview",
     .virtual_ = true,
     .id = "selfsubjectrulesreviews.authorization.k8s.io"},
};
const size_t resources_n = ARRAY_LEN(resources);

static bool same_api(const char *group_version, struct str group, struct str version)
{
    struct str rest = str_of(group_version), head = str_split(&rest, '/');

    return str_eq(head, group) && str_eq(rest, version);
}

bool resource_serves(const struct resource *r, struct str group, struct str version)
{
    return (str_eq_z(group, r->group) && str_eq_z(version, r->version)) ||
           (r->also && same_api(r->also, group, version));
}

const struct resource *resource_find(struct str group, struct str version, struct str plural)
{
    for (size_t i = 0; i < resources_n; i++)
        if (str_eq_z(plural, resources[i].plural) && resource_serves(&resources[i], group, version))
            return &resources[i];
    return NULL;
}

const struct resource *resource_by_id(const char *id)
{
    for (size_t i = 0; i < resources_n; i++)
        if (streq(id, resources[i].id))
            return &resources[i];
    return NULL;
}

const struct resource *resource_by_kind(const char *group, const char *kind)
{
    for (size_t i = 0; i < resources_n; i++)
        if (streq(kind, resources[i].kind) && streq(group, resources[i].group))
            return &resources[i];
    return NULL;
}

void resource_api_version(const struct resource *r, char out[static 96])
{
    (void)snprintf(out, 96, "%s%s%s", r->group, r->group[0] ? "/" : "", r->version);
}

char *resource_key(const struct resource *r, const char *ns, const char *name)
{
    if (!r->namespaced)
        return xasprintf("/registry/%s/%s", r->id, strna(name));
    if (!ns || !ns[0])
        return xasprintf("/registry/%s/", r->id);
    return xasprintf("/registry/%s/%s/%s", r->id, ns, strna(name));
}

static const struct column columns_default[] = {
    {"Name", "string", "name", "Name must be unique within a namespace.", 0},
    {"Age", "string", "", "Time since the object was created.", 0},
    {0},
};

const struct column *resource_columns(const struct resource *r)
{
    return r->columns ? r->columns : columns_default;
}

void print_age(const char *rfc3339, json_t *cells)
{
    char text[WALL_TEXT];
    struct wall t;

    if (!rfc3339 || wall_parse(str_of(rfc3339), &t) < 0) {
        (void)json_array_append_new(cells, json_string("<unknown>"));
        return;
    }
    duration_format_human(wall_now().ns - t.ns, text);
    (void)json_array_append_new(cells, json_string(text));
}

void resource_print(const struct resource *r, const json_t *object, json_t *cells)
{
    if (r->print) {
        r->print(object, cells);
        return;
    }
    (void)json_array_append_new(cells,
                                json_string(strna(json_text_at(object, "metadata", "name", NULL))));
    print_age(json_text_at(object, "metadata", "creationTimestamp", NULL), cells);
}
