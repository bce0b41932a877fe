#include "base/cleanup.h"
#include "server/controllers/controller.h"

#define ROOT_CA "kube-root-ca.crt"

static void on_content(struct controller *c, enum cluster_change what, const json_t *o)
{
    if (what != CLUSTER_ADDED && (streq(meta_name(o), ROOT_CA) || streq(meta_name(o), "default")))
        queue_add(&c->queue, meta_namespace(o));
}

static int need_account(struct controller *c, const char *ns, struct error **err)
{
    cleanup_json json_t *have = cluster_get(c->env->cluster, "serviceaccounts", ns, "default"),
                        *o = NULL;

    if (have)
        return 0;
    o = json_pack("{s:s,s:s,s:{s:s,s:s}}", "apiVersion", "v1", "kind", "ServiceAccount", "metadata",
                  "name", "default", "namespace", ns);
    return cluster_create(c->env->cluster, "serviceaccounts", o, NULL, err);
}

static int need_root_ca(struct controller *c, const char *ns, struct error **err)
{
    const char *pem = c->env->cfg.root_ca_pem;
    cleanup_json json_t *have = cluster_get(c->env->cluster, "configmaps", ns, ROOT_CA), *o = NULL;

    if (!pem || streq(json_text_at(have, "data", "ca.crt", NULL), pem))
        return 0;
    if (have) {
        o = json_deep_copy(have);
        json_set_text(json_object_need(o, "data"), "ca.crt", pem);
        return cluster_update(c->env->cluster, "configmaps", NULL, o, err);
    }
    o = json_pack("{s:s,s:s,s:{s:s,s:s,s:{s:s}},s:{s:s}}", "apiVersion", "v1", "kind", "ConfigMap",
                  "metadata", "name", ROOT_CA, "namespace", ns, "annotations",
                  "kubernetes.io/description",
                  "Contains a CA bundle that can be used to verify the kube-apiserver when using "
                  "internal endpoints such "
                  "as the internal service IP or kubernetes.default.svc. No other usage is "
                  "guaranteed across distributions "
                  "of Kubernetes clusters.",
                  "data", "ca.crt", pem);
    return cluster_create(c->env->cluster, "configmaps", o, NULL, err);
}

static enum queue_verdict reconcile(struct controller *c, const char *key)
{
    cleanup_json json_t *ns = cluster_get(c->env->cluster, "namespaces", "", key);
    struct error *err = NULL;
    int rc;

    if (!ns || meta_deleting(ns))
        return QUEUE_DONE;
    rc = need_account(c, key, &err);
    if (rc == 0)
        rc = need_root_ca(c, key, &err);
    return settle(c, key, rc, &err);
}

const struct controller_def service_account_controller = {
    .name = "serviceaccount",
    .watches = {{"namespaces", enqueue_self},
                {"serviceaccounts", on_content},
                {"configmaps", on_content}},
    .reconcile = reconcile,
};
