#include "cli/cluster_objects.h"
#include "base/cleanup.h"
#include "base/mem.h"
#include "base/random.h"
#include "base/time.h"
#include <stdlib.h>

#define RBAC "/apis/rbac.authorization.k8s.io/v1/"
#define TOKEN_LIFE_S (24 * 3600)

char *bootstrap_token_new(void)
{
    static const char alphabet[] = "abcdefghijklmnopqrstuvwxyz0123456789";
    char token[24];

    for (int i = 0; i < 23; i++)
        token[i] = i == 6 ? '.' : alphabet[random_below(36)];
    token[23] = '\0';
    return xstrdup(token);
}

static json_t *token_secret(const char *token)
{
    cleanup_free char *name = xasprintf("bootstrap-token-%.6s", token);
    cleanup_free char *id = xstrndup(token, 6);
    struct wall end = {wall_now().ns + TOKEN_LIFE_S * NSEC_PER_SEC};
    char expires[WALL_TEXT];

    wall_format(end, expires);
    return json_pack(
        "{s:s, s:s, s:{s:s, s:s}, s:s, s:{s:s, s:s, s:s, s:s, s:s, s:s}}", "apiVersion", "v1",
        "kind", "Secret", "metadata", "name", name, "namespace", "kube-system", "type",
        "bootstrap.kubernetes.io/token", "stringData", "token-id", id, "token-secret", token + 7,
        "expiration", expires, "usage-bootstrap-authentication", "true", "auth-extra-groups",
        "system:bootstrappers:skiff", "description", "node on the control plane's own machine");
}

static json_t *binding(const char *name, const char *role, const char *group)
{
    return json_pack("{s:s, s:s, s:{s:s}, s:[{s:s, s:s, s:s}], s:{s:s, s:s, s:s}}", "apiVersion",
                     "rbac.authorization.k8s.io/v1", "kind", "ClusterRoleBinding", "metadata",
                     "name", name, "subjects", "kind", "Group", "name", group, "apiGroup",
                     "rbac.authorization.k8s.io", "roleRef", "kind", "ClusterRole", "name", role,
                     "apiGroup", "rbac.authorization.k8s.io");
}

static json_t *serving_role(void)
{
    return json_pack("{s:s, s:s, s:{s:s}, s:[{s:[s], s:[s], s:[s]}]}", "apiVersion",
                     "rbac.authorization.k8s.io/v1", "kind", "ClusterRole", "metadata", "name",
                     "skiff:approve-node-serving", "rules", "apiGroups", "certificates.k8s.io",
                     "resources", "certificatesigningrequests/selfnodeserver", "verbs", "create");
}

size_t cluster_objects(const char *token, struct cluster_object *objects)
{
    static const struct {
        const char *name, *role, *group;
    } bindings[] = {
        {"skiff:node-bootstrapper", "system:node-bootstrapper", "system:bootstrappers:skiff"},
        {"skiff:approve-node-client",
         "system:certificates.k8s.io:certificatesigningrequests:nodeclient",
         "system:bootstrappers:skiff"},
        {"skiff:renew-node-client",
         "system:certificates.k8s.io:certificatesigningrequests:selfnodeclient", "system:nodes"},
        {"skiff:approve-node-serving", "skiff:approve-node-serving", "system:nodes"},
        {"skiff:node-proxier", "system:node-proxier", "system:nodes"},
    };
    size_t n = 0;

    objects[n++] = (struct cluster_object){RBAC "clusterroles", serving_role()};
    for (size_t i = 0; i < ARRAY_LEN(bindings); i++)
        objects[n++] =
            (struct cluster_object){RBAC "clusterrolebindings",
                                    binding(bindings[i].name, bindings[i].role, bindings[i].group)};
    objects[n++] =
        (struct cluster_object){"/api/v1/namespaces/kube-system/secrets", token_secret(token)};
    return n;
}
