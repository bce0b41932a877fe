#include "base/cleanup.h"
#include "base/mem.h"
#include "server/auth/csr_signer.h"
#include "server/controllers/controller.h"
#include <errno.h>

#define CSRS "certificatesigningrequests.certificates.k8s.io"
#define VALIDITY_S (365 * 24 * 3600LL)

/* A serving request may wait for its Node's addresses. */
static void on_node(struct controller *c, enum cluster_change what, const json_t *node)
{
    json_t *all = cluster_list(c->env->cluster, CSRS, NULL);
    const json_t *o;

    json_each(all, i, o) if (what != CLUSTER_DELETED &&
                             json_array_size(json_at(o, "status", "conditions", NULL)) == 0 &&
                             streq(csr_requester_node(o), meta_name(node)))
        enqueue_self(c, what, o);
    json_decref(all);
}

static void add_condition(json_t *csr, const char *type, const char *reason, const char *message)
{
    json_array_append_new(json_array_need(json_object_need(csr, "status"), "conditions"),
                          json_pack("{s:s,s:s,s:s,s:s,s:o,s:o}", "type", type, "status", "True",
                                    "reason", reason, "message", message, "lastUpdateTime",
                                    json_now(), "lastTransitionTime", json_now()));
}

static int approve(struct controller *c, const json_t *csr, struct error **err)
{
    const char *node_name = csr_requester_node(csr);
    cleanup_json json_t *node =
                            node_name ? cluster_get(c->env->cluster, "nodes", "", node_name) : NULL,
                        *o = NULL;
    enum csr_recognized found = csr_recognize(csr, node);
    const json_t *spec = json_object_get(csr, "spec");
    bool ok;

    if (found == CSR_NOT_OURS || !c->env->cfg.allows)
        return 0;
    ok = c->env->cfg.allows(c->env->cfg.arg, spec, csr_subresource(found));
    if (!ok && found == CSR_SELF_CLIENT) { /* a node may hold the bootstrap permission too */
        found = CSR_NODE_CLIENT;
        ok = c->env->cfg.allows(c->env->cfg.arg, spec, csr_subresource(found));
    }
    if (!ok)
        return 0; /* stays pending, for a person or for a later binding */
    o = json_deep_copy(csr);
    add_condition(o, "Approved", "AutoApproved", csr_approval_message(found));
    return cluster_update(c->env->cluster, CSRS, "approval", o, err);
}

static int fail(struct controller *c, const json_t *csr, const char *message, struct error **err)
{
    cleanup_json json_t *o = json_deep_copy(csr);

    add_condition(o, "Failed", "SignerValidationFailure", message);
    return cluster_update(c->env->cluster, CSRS, "status", o, err);
}

static int sign(struct controller *c, const json_t *csr, struct error **err)
{
    const struct controllers_config *cfg = &c->env->cfg;
    struct error *bad = NULL;
    cleanup_json json_t *o = NULL;
    struct buf pem, text;
    int rc;

    if (csr_check_signer(csr, &bad) < 0) {
        rc = fail(c, csr, error_message(bad), err);
        error_clear(&bad);
        return rc;
    }
    if (!cfg->sign_cert_pem || !cfg->sign_key_pem)
        return 0;
    buf_init(&pem, 1 << 20);
    buf_init(&text, 2 << 20);
    rc =
        csr_sign(csr, str_of(cfg->sign_cert_pem), str_of(cfg->sign_key_pem), VALIDITY_S, &pem, err);
    if (rc == 0) {
        (void)buf_add_base64(&text, pem.p, pem.n);
        o = json_deep_copy(csr);
        json_object_set_new(json_object_need(o, "status"), "certificate",
                            json_stringn(text.p, text.n));
        rc = cluster_update(c->env->cluster, CSRS, "status", o, err);
    }
    buf_fini(&pem);
    buf_fini(&text);
    return rc;
}

static bool ours(const json_t *csr)
{
    static const char *const signers[] = {CSR_SIGNER_CLIENT, CSR_SIGNER_KUBELET_CLIENT,
                                          CSR_SIGNER_KUBELET_SERVING, CSR_SIGNER_LEGACY};
    const char *signer = strna(json_text_at(csr, "spec", "signerName", NULL));

    for (size_t i = 0; i < 4; i++)
        if (streq(signer, signers[i]))
            return true;
    return false;
}

static enum queue_verdict reconcile(struct controller *c, const char *key)
{
    cleanup_json json_t *csr = cluster_get(c->env->cluster, CSRS, "", key);
    const json_t *conditions = json_at(csr, "status", "conditions", NULL);
    struct error *err = NULL;
    int rc = 0;

    if (!csr)
        return QUEUE_DONE;
    if (csr_expired(csr, wall_now().ns / NSEC_PER_SEC))
        return settle(c, key, cluster_remove(c->env->cluster, CSRS, "", key, NULL, &err), &err);
    if (condition_is(conditions, "Approved", "True") && !condition_get(conditions, "Failed") &&
        !condition_get(conditions, "Denied") &&
        !*strna(json_text_at(csr, "status", "certificate", NULL)) && ours(csr))
        rc = sign(c, csr, &err);
    else if (json_array_size(conditions) == 0)
        rc = approve(c, csr, &err);
    queue_add_after(&c->queue, key, 3600 * 1000); /* the cleaner's look */
    return settle(c, key, rc, &err);
}

/* New permissions may let a waiting request through. */
static void on_binding(struct controller *c, enum cluster_change what, const json_t *o)
{
    json_t *all = cluster_list(c->env->cluster, CSRS, NULL);
    const json_t *csr;

    (void)o;
    json_each(all, i, csr) if (what != CLUSTER_DELETED &&
                               json_array_size(json_at(csr, "status", "conditions", NULL)) == 0)
        enqueue_self(c, what, csr);
    json_decref(all);
}

const struct controller_def csr_controller = {
    .name = "csr",
    .watches = {{CSRS, enqueue_self},
                {"nodes", on_node},
                {"clusterrolebindings.rbac.authorization.k8s.io", on_binding},
                {"clusterroles.rbac.authorization.k8s.io", on_binding}},
    .reconcile = reconcile,
};
