#include <errno.h>
#include "base/cleanup.h"
#include "base/mem.h"
#include "base/random.h"
#include "server/admission/pod.h"
#include "server/controllers/meta.h"
#include "server/controllers/selector.h"

#define TOKEN_PATH "/var/run/secrets/kubernetes.io/serviceaccount"

static bool mounts_token_path(const json_t *c)
{
    const json_t *m;

    json_each(json_object_get(c, "volumeMounts"), i,
              m) if (streq(json_text_at(m, "mountPath", NULL), TOKEN_PATH)) return true;
    return false;
}

static json_t *token_volume(const char *name)
{
    return json_pack(
        "{s:s,s:{s:[{s:{s:i,s:s}},{s:{s:s,s:[{s:s,s:s}]}},{s:{s:[{s:s,s:{s:s,s:s}}]}}],s:i}}",
        "name", name, "projected", "sources", "serviceAccountToken", "expirationSeconds", 3607,
        "path", "token", "configMap", "name", "kube-root-ca.crt", "items", "key", "ca.crt", "path",
        "ca.crt", "downwardAPI", "items", "path", "namespace", "fieldRef", "apiVersion", "v1",
        "fieldPath", "metadata.namespace", "defaultMode", 0644);
}

static void inject_token(json_t *spec)
{
    static const char *const lists[] = {"initContainers", "containers"};
    char name[] = "kube-api-access-xxxxx";
    bool used = false;
    json_t *c;

    random_suffix(name + sizeof(name) - 6, 5);
    for (size_t i = 0; i < 2; i++)
        json_each(json_object_get(spec, lists[i]), k, c)
        {
            if (mounts_token_path(c))
                continue;
            json_array_append_new(
                json_array_need(c, "volumeMounts"),
                json_pack("{s:s,s:b,s:s}", "name", name, "readOnly", 1, "mountPath", TOKEN_PATH));
            used = true;
        }
    if (used)
        json_array_append_new(json_array_need(spec, "volumes"), token_volume(name));
}

static bool wants_token(const json_t *spec, const json_t *sa)
{
    const json_t *own = json_object_get(spec, "automountServiceAccountToken");

    if (json_is_boolean(own))
        return json_is_true(own);
    return json_bool_or(sa, "automountServiceAccountToken", true);
}

static int admit_service_account(struct cluster *c, struct admission_request *r,
                                 struct admission_failure *f)
{
    json_t *spec = json_object_get(r->object, "spec");
    cleanup_json json_t *sa = NULL;
    const char *name;

    json_default(spec, "serviceAccountName", json_string("default"));
    if (!*json_text_or(spec, "serviceAccountName", ""))
        json_set_text(spec, "serviceAccountName", "default");
    name = json_text_or(spec, "serviceAccountName", "");
    json_set_text(spec, "serviceAccount", name);
    sa = cluster_get(c, "serviceaccounts", r->ns, name);
    if (!sa)
        return fail_forbidden(
            r, f, "error looking up service account %s/%s: serviceaccount \"%s\" not found", r->ns,
            name, name);
    if (wants_token(spec, sa))
        inject_token(spec);
    if (json_array_size(json_object_get(spec, "imagePullSecrets")) == 0 &&
        json_array_size(json_object_get(sa, "imagePullSecrets")) > 0)
        json_object_set_new(spec, "imagePullSecrets",
                            json_deep_copy(json_object_get(sa, "imagePullSecrets")));
    return 0;
}

static void toleration_300s(json_t *tolerations, const char *key)
{
    json_t *taint = json_pack("{s:s,s:s}", "key", key, "effect", "NoExecute");

    if (!tolerations_tolerate(tolerations, taint))
        json_array_append_new(tolerations,
                              json_pack("{s:s,s:s,s:s,s:i}", "key", key, "operator", "Exists",
                                        "effect", "NoExecute", "tolerationSeconds", 300));
    json_decref(taint);
}

static int admit_priority(struct cluster *c, struct admission_request *r,
                          struct admission_failure *f)
{
    json_t *spec = json_object_get(r->object, "spec");
    const char *class = json_text_or(spec, "priorityClassName", "");
    cleanup_json json_t *found = NULL;
    int64_t value = 0;

    if (streq(class, "system-cluster-critical"))
        value = 2000000000;
    else if (streq(class, "system-node-critical"))
        value = 2000001000;
    else if (*class) {
        found = cluster_get(c, "priorityclasses.scheduling.k8s.io", "", class);
        if (!found)
            return fail_forbidden(r, f, "no PriorityClass with name %s was found", class);
        value = json_int_or(found, "value", 0);
    }
    json_default(spec, "priority", json_integer(value));
    json_default(spec, "preemptionPolicy",
                 json_string(json_text_or(found, "preemptionPolicy", "PreemptLowerPriority")));
    return 0;
}

int pod_admission(struct cluster *c, struct admission_request *r, struct admission_failure *f)
{
    json_t *spec = json_object_need(r->object, "spec"), *tolerations;

    if (!meta_annotation(r->object, "kubernetes.io/config.mirror")) {
        if (admit_service_account(c, r, f) < 0)
            return -EPERM;
    } else if (*json_text_or(spec, "serviceAccountName", "")) {
        return fail_forbidden(r, f, "a mirror pod may not reference service accounts");
    }
    if (admit_priority(c, r, f) < 0)
        return -EPERM;
    tolerations = json_array_need(spec, "tolerations");
    toleration_300s(tolerations, "node.kubernetes.io/not-ready");
    toleration_300s(tolerations, "node.kubernetes.io/unreachable");
    return 0;
}
