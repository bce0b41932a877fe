#include "server/auth/rbac_defaults.h"
#include "base/mem.h"
#include "base/str.h"
#include "codec/json.h"
#include "server/controllers/meta.h"

/* Rules as rows: "verbs|groups|resources" with commas between; a leading '/' in resources makes
 * them URLs. "core" is the group "". A fourth part names objects. RW and RO are verb sets. */
#define RW "create,delete,deletecollection,get,list,patch,update,watch"
#define WRITE "create,delete,deletecollection,patch,update"
#define RO "get,list,watch"
#define RULES_MAX 28
struct role {
    const char *name;
    const char *labels;    /* "key=value" or NULL */
    const char *aggregate; /* label that is selected, or NULL */
    const char *rules[RULES_MAX];
};

#define AGGREGATE "rbac.authorization.k8s.io/aggregate-to-"
#define EVENTS "create,patch,update|core,events.k8s.io|events"
#define VIEW_RULES                                                                                 \
    RO "|core|configmaps,endpoints,persistentvolumeclaims,persistentvolumeclaims/status,pods,"     \
       "replicationcontrollers,replicationcontrollers/scale,serviceaccounts,services,services/"    \
       "status",                                                                                   \
        RO "|core|bindings,events,limitranges,namespaces/status,pods/log,pods/status,"             \
           "replicationcontrollers/status,resourcequotas,resourcequotas/status",                   \
        RO "|core|namespaces", RO "|discovery.k8s.io|endpointslices",                              \
        RO "|apps|controllerrevisions,daemonsets,daemonsets/status,deployments,deployments/scale," \
           "deployments/status,replicasets,replicasets/scale,replicasets/status,statefulsets,"     \
           "statefulsets/scale,statefulsets/status",                                               \
        RO "|autoscaling|horizontalpodautoscalers,horizontalpodautoscalers/status",                \
        RO "|batch|cronjobs,cronjobs/status,jobs,jobs/status",                                     \
        RO "|extensions|daemonsets,daemonsets/status,deployments,deployments/scale,deployments/"   \
           "status,"                                                                               \
           "ingresses,ingresses/status,networkpolicies,replicasets,replicasets/scale,replicasets/" \
           "status,"                                                                               \
           "replicationcontrollers/scale",                                                         \
        RO "|policy|poddisruptionbudgets,poddisruptionbudgets/status",                             \
        RO "|networking.k8s.io|ingresses,ingresses/status,networkpolicies"
#define EDIT_RULES                                                                                 \
    RO "|core|pods/attach,pods/exec,pods/portforward,pods/proxy,secrets,services/proxy",           \
        "impersonate|core|serviceaccounts",                                                        \
        WRITE "|core|pods,pods/attach,pods/exec,pods/portforward,pods/proxy",                      \
        "create|core|pods/eviction",                                                               \
        WRITE "|core|configmaps,events,persistentvolumeclaims,replicationcontrollers,"             \
              "replicationcontrollers/scale,secrets,serviceaccounts,services,services/proxy",      \
        "create|core|serviceaccounts/token",                                                       \
        WRITE "|apps|daemonsets,deployments,deployments/rollback,deployments/scale,replicasets,"   \
              "replicasets/scale,statefulsets,statefulsets/scale",                                 \
        WRITE "|autoscaling|horizontalpodautoscalers", WRITE "|batch|cronjobs,jobs",               \
        WRITE                                                                                      \
        "|extensions|daemonsets,deployments,deployments/rollback,deployments/scale,ingresses,"     \
        "networkpolicies,replicasets,replicasets/scale,replicationcontrollers/scale",              \
        WRITE "|policy|poddisruptionbudgets",                                                      \
        WRITE "|networking.k8s.io|ingresses,networkpolicies", RW "|coordination.k8s.io|leases"
#define ADMIN_RULES                                                                                \
    "create|authorization.k8s.io|localsubjectaccessreviews",                                       \
        RW "|rbac.authorization.k8s.io|rolebindings,roles"

static const struct role cluster_roles[] = {
    {"cluster-admin", NULL, NULL, {"*|*|*", "*||/*"}},
    {"system:discovery",
     NULL,
     NULL,
     {"get||/api,/api/*,/apis,/apis/*,/healthz,/livez,/openapi,/openapi/*,/readyz,/version,/"
      "version/"}},
    {"system:monitoring",
     NULL,
     NULL,
     {"get||/healthz,/healthz/*,/livez,/livez/*,/metrics,/metrics/slis,/readyz,/readyz/*"}},
    {"system:basic-user",
     NULL,
     NULL,
     {"create|authorization.k8s.io|selfsubjectaccessreviews,selfsubjectrulesreviews",
      "create|authentication.k8s.io|selfsubjectreviews"}},
    {"system:public-info-viewer", NULL, NULL, {"get||/healthz,/livez,/readyz,/version,/version/"}},
    {"admin", NULL, "admin", {ADMIN_RULES, EDIT_RULES, VIEW_RULES}},
    {"edit", AGGREGATE "admin=true", "edit", {EDIT_RULES, VIEW_RULES}},
    {"view", AGGREGATE "edit=true", "view", {VIEW_RULES}},
    {"system:aggregate-to-admin", AGGREGATE "admin=true", NULL, {ADMIN_RULES}},
    {"system:aggregate-to-edit", AGGREGATE "edit=true", NULL, {EDIT_RULES}},
    {"system:aggregate-to-view", AGGREGATE "view=true", NULL, {VIEW_RULES}},
    {"system:heapster",
     NULL,
     NULL,
     {RO "|core|events,namespaces,nodes,pods", RO "|extensions|deployments"}},
    {"system:node",
     NULL,
     NULL,
     {"create|authentication.k8s.io|tokenreviews",
      "create|authorization.k8s.io|localsubjectaccessreviews,subjectaccessreviews",
      RO "|core|services",
      "create,get,list,watch|core|nodes",
      "patch,update|core|nodes/status",
      "patch,update|core|nodes",
      "create,patch,update|core,events.k8s.io|events",
      RO "|core|pods",
      "create,delete|core|pods",
      "patch,update|core|pods/status",
      "create|core|pods/eviction",
      RO "|core|configmaps,secrets",
      "get|core|persistentvolumeclaims,persistentvolumes",
      "get|core|endpoints",
      "create,get,list,watch|certificates.k8s.io|certificatesigningrequests",
      "create,delete,get,patch,update|coordination.k8s.io|leases",
      "get|storage.k8s.io|volumeattachments",
      "create|core|serviceaccounts/token",
      RO "|storage.k8s.io|csidrivers",
      "create,delete,get,patch,update|storage.k8s.io|csinodes",
      RO "|node.k8s.io|runtimeclasses"}},
    {"system:node-problem-detector",
     NULL,
     NULL,
     {"get|core|nodes", "patch|core|nodes/status", EVENTS}},
    {"system:kubelet-api-admin",
     NULL,
     NULL,
     {RO ",proxy|core|nodes", "*|core|nodes/configz,nodes/healthz,nodes/log,nodes/metrics,nodes/"
                              "pods,nodes/proxy,nodes/stats"}},
    {"system:node-bootstrapper",
     NULL,
     NULL,
     {"create,get,list,watch|certificates.k8s.io|certificatesigningrequests"}},
    {"system:auth-delegator",
     NULL,
     NULL,
     {"create|authentication.k8s.io|tokenreviews",
      "create|authorization.k8s.io|subjectaccessreviews"}},
    {"system:kube-aggregator", NULL, NULL, {RO "|core|endpoints,services"}},
    {"system:kube-controller-manager",
     NULL,
     NULL,
     {EVENTS, "create|coordination.k8s.io|leases",
      "get,update|coordination.k8s.io|leases|kube-controller-manager",
      "create|core|secrets,serviceaccounts", "delete|core|secrets",
      "get|core|configmaps,namespaces,secrets,serviceaccounts",
      "update|core|secrets,serviceaccounts", "create|authentication.k8s.io|tokenreviews",
      "create|authorization.k8s.io|subjectaccessreviews", "list,watch|*|*",
      "create|core|serviceaccounts/token"}},
    {"system:kube-dns", NULL, NULL, {"list,watch|core|endpoints,services"}},
    {"system:persistent-volume-provisioner",
     NULL,
     NULL,
     {"create,delete,get,list,watch|core|persistentvolumes",
      "get,list,update,watch|core|persistentvolumeclaims", RO "|storage.k8s.io|storageclasses",
      "watch|core|events", EVENTS}},
    {"system:certificates.k8s.io:certificatesigningrequests:nodeclient",
     NULL,
     NULL,
     {"create|certificates.k8s.io|certificatesigningrequests/nodeclient"}},
    {"system:certificates.k8s.io:certificatesigningrequests:selfnodeclient",
     NULL,
     NULL,
     {"create|certificates.k8s.io|certificatesigningrequests/selfnodeclient"}},
    {"system:volume-scheduler",
     NULL,
     NULL,
     {"get,list,patch,update,watch|core|persistentvolumes", RO "|storage.k8s.io|storageclasses",
      "get,list,patch,update,watch|core|persistentvolumeclaims"}},
    {"system:certificates.k8s.io:legacy-unknown-approver",
     NULL,
     NULL,
     {"approve|certificates.k8s.io|signers|kubernetes.io/legacy-unknown"}},
    {"system:certificates.k8s.io:kubelet-serving-approver",
     NULL,
     NULL,
     {"approve|certificates.k8s.io|signers|kubernetes.io/kubelet-serving"}},
    {"system:certificates.k8s.io:kube-apiserver-client-approver",
     NULL,
     NULL,
     {"approve|certificates.k8s.io|signers|kubernetes.io/kube-apiserver-client"}},
    {"system:certificates.k8s.io:kube-apiserver-client-kubelet-approver",
     NULL,
     NULL,
     {"approve|certificates.k8s.io|signers|kubernetes.io/kube-apiserver-client-kubelet"}},
    {"system:service-account-issuer-discovery",
     NULL,
     NULL,
     {"get||/.well-known/openid-configuration,/.well-known/openid-configuration/,/openid/v1/jwks,/"
      "openid/v1/jwks/"}},
    {"system:node-proxier",
     NULL,
     NULL,
     {"list,watch|core|endpoints,services", "get,list,watch|core|nodes", EVENTS,
      "list,watch|discovery.k8s.io|endpointslices", "list,watch|networking.k8s.io|servicecidrs"}},
    {"system:kube-scheduler",
     NULL,
     NULL,
     {EVENTS, "create|coordination.k8s.io|leases",
      "get,list,update,watch|coordination.k8s.io|leases|kube-scheduler", RO "|core|nodes",
      "delete,get,list,watch|core|pods", "create|core|bindings,pods/binding",
      "patch,update|core|pods/status", RO "|core|replicationcontrollers,services",
      RO "|apps,extensions|replicasets", RO "|apps|statefulsets", RO "|policy|poddisruptionbudgets",
      RO "|core|persistentvolumeclaims,persistentvolumes",
      "create|authentication.k8s.io|tokenreviews",
      "create|authorization.k8s.io|subjectaccessreviews", RO "|storage.k8s.io|csinodes",
      RO "|core|namespaces", RO "|storage.k8s.io|csidrivers,csistoragecapacities"}},
};

struct binding {
    const char *role;
    const char *subjects; /* "Group:x,User:y" or "" */
};
static const struct binding cluster_bindings[] = {
    {"cluster-admin", "Group:system:masters"},
    {"system:monitoring", "Group:system:monitoring"},
    {"system:discovery", "Group:system:authenticated"},
    {"system:basic-user", "Group:system:authenticated"},
    {"system:public-info-viewer", "Group:system:authenticated,Group:system:unauthenticated"},
    {"system:node-proxier", "User:system:kube-proxy"},
    {"system:kube-controller-manager", "User:system:kube-controller-manager"},
    {"system:kube-dns", "ServiceAccount:kube-system/kube-dns"},
    {"system:kube-scheduler", "User:system:kube-scheduler"},
    {"system:volume-scheduler", "User:system:kube-scheduler"},
    {"system:node", ""},
    {"system:service-account-issuer-discovery", "Group:system:serviceaccounts"},
};

struct local {
    const char *ns, *name, *rules[4], *subjects;
};
static const struct local locals[] = {
    {"kube-system",
     "extension-apiserver-authentication-reader",
     {RO "|core|configmaps|extension-apiserver-authentication"},
     "User:system:kube-controller-manager,User:system:kube-scheduler"},
    {"kube-system",
     "system:controller:bootstrap-signer",
     {RO "|core|secrets"},
     "ServiceAccount:kube-system/bootstrap-signer"},
    {"kube-system",
     "system:controller:token-cleaner",
     {"delete,get,list,watch|core|secrets", EVENTS},
     "ServiceAccount:kube-system/token-cleaner"},
    {"kube-system",
     "system::leader-locking-kube-controller-manager",
     {"watch|core|configmaps", "get,update|core|configmaps|kube-controller-manager"},
     "User:system:kube-controller-manager,ServiceAccount:kube-system/kube-controller-manager"},
    {"kube-system",
     "system::leader-locking-kube-scheduler",
     {"watch|core|configmaps", "get,update|core|configmaps|kube-scheduler"},
     "User:system:kube-scheduler,ServiceAccount:kube-system/kube-scheduler"},
    {"kube-public",
     "system:controller:bootstrap-signer",
     {RO "|core|configmaps", "update|core|configmaps|cluster-info", EVENTS},
     "ServiceAccount:kube-system/bootstrap-signer"},
};

static json_t *words(struct str list)
{
    json_t *out = json_array();

    while (list.p) {
        struct str w = str_split(&list, ',');

        json_array_append_new(out, str_eq_z(w, "core") ? json_string("") : json_stringn(w.p, w.n));
    }
    return out;
}

static json_t *rule_of(const char *text)
{
    struct str rest = str_of(text), verbs = str_split(&rest, '|'), groups = str_split(&rest, '|');
    struct str what = str_split(&rest, '|');
    json_t *rule = json_object();

    json_object_set_new(rule, "verbs", words(verbs));
    if (what.p[0] == '/' || (what.p[0] == '*' && groups.n == 0)) {
        json_object_set_new(rule, "nonResourceURLs", words(what));
        return rule;
    }
    json_object_set_new(rule, "apiGroups", words(groups));
    json_object_set_new(rule, "resources", words(what));
    if (rest.p)
        json_object_set_new(rule, "resourceNames", words(rest));
    return rule;
}

static json_t *rules_of(const char *const *texts, size_t max)
{
    json_t *out = json_array();

    for (size_t i = 0; i < max && texts[i]; i++)
        json_array_append_new(out, rule_of(texts[i]));
    return out;
}

static json_t *object_of(const char *kind, const char *ns, const char *name)
{
    json_t *o = json_pack("{s:s,s:s,s:{s:s,s:{s:s},s:{s:s}}}", "apiVersion",
                          "rbac.authorization.k8s.io/v1", "kind", kind, "metadata", "name", name,
                          "annotations", "rbac.authorization.kubernetes.io/autoupdate", "true",
                          "labels", "kubernetes.io/bootstrapping", "rbac-defaults");

    if (*ns)
        json_set_text(json_object_get(o, "metadata"), "namespace", ns);
    return o;
}

static json_t *subjects_of(const char *text)
{
    struct str list = {*text ? text : NULL, strlen(text)};
    json_t *out = json_array();

    while (list.p) {
        struct str name = str_split(&list, ','), kind = str_split(&name, ':');
        json_t *s = json_object();

        json_object_set_new(s, "kind", json_stringn(kind.p, kind.n));
        if (str_eq_z(kind, "ServiceAccount")) {
            struct str ns = str_split(&name, '/');

            json_object_set_new(s, "namespace", json_stringn(ns.p, ns.n));
        } else {
            json_set_text(s, "apiGroup", "rbac.authorization.k8s.io");
        }
        json_object_set_new(s, "name", json_stringn(name.p, name.n));
        json_array_append_new(out, s);
    }
    return out;
}

static json_t *binding_of(const char *kind, const char *ns, const char *role_kind, const char *name,
                          const char *subjects)
{
    json_t *o = object_of(kind, ns, name);

    json_object_set_new(o, "roleRef",
                        json_pack("{s:s,s:s,s:s}", "apiGroup", "rbac.authorization.k8s.io", "kind",
                                  role_kind, "name", name));
    if (*subjects)
        json_object_set_new(o, "subjects", subjects_of(subjects));
    return o;
}

static json_t *role_of(const struct role *r)
{
    json_t *o = object_of("ClusterRole", "", r->name);

    json_object_set_new(o, "rules", rules_of(r->rules, RULES_MAX));
    if (r->labels) {
        struct str value = str_of(r->labels), key = str_split(&value, '=');
        char *k = str_dup(key);

        meta_set_label(o, k, value.p);
        free(k);
    }
    if (r->aggregate) {
        char *key = xasprintf(AGGREGATE "%s", r->aggregate);

        json_object_set_new(
            o, "aggregationRule",
            json_pack("{s:[{s:{s:s}}]}", "clusterRoleSelectors", "matchLabels", key, "true"));
        free(key);
    }
    return o;
}

json_t *rbac_defaults(void)
{
    json_t *out = json_array();

    for (size_t i = 0; i < sizeof(cluster_roles) / sizeof(cluster_roles[0]); i++)
        json_array_append_new(out, role_of(&cluster_roles[i]));
    for (size_t i = 0; i < sizeof(cluster_bindings) / sizeof(cluster_bindings[0]); i++)
        json_array_append_new(out,
                              binding_of("ClusterRoleBinding", "", "ClusterRole",
                                         cluster_bindings[i].role, cluster_bindings[i].subjects));
    for (size_t i = 0; i < sizeof(locals) / sizeof(locals[0]); i++) {
        json_t *role = object_of("Role", locals[i].ns, locals[i].name);

        json_object_set_new(role, "rules", rules_of(locals[i].rules, 4));
        json_array_append_new(out, role);
        json_array_append_new(out, binding_of("RoleBinding", locals[i].ns, "Role", locals[i].name,
                                              locals[i].subjects));
    }
    return out;
}
