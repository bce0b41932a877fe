#include "server/admission/restrict.h"
#include "base/cleanup.h"
#include "base/mem.h"
#include "server/auth/csr_signer.h"
#include "server/controllers/meta.h"
#include <errno.h>

#define NODE_USER "system:node:"

static const char *requesting_node(const struct admission_request *r)
{
    if (!r->user || !strstarts(r->user, NODE_USER) || !r->user[strlen(NODE_USER)])
        return NULL;
    for (size_t i = 0; i < r->n_groups; i++)
        if (streq(r->groups[i], "system:nodes"))
            return r->user + strlen(NODE_USER);
    return NULL;
}

static const json_t *subject_of(const struct admission_request *r)
{
    return r->old ? r->old : r->object;
}

static int restrict_pod(const struct admission_request *r, struct admission_failure *f,
                        const char *node)
{
    const char *sub = strna(r->subresource),
               *on = strna(json_text_at(subject_of(r), "spec", "nodeName", NULL));

    if (r->op == ADMISSION_CREATE && !*sub) {
        if (!meta_annotation(r->object, "kubernetes.io/config.mirror"))
            return fail_forbidden(r, f,
                                  "pod does not have \"kubernetes.io/config.mirror\" annotation, "
                                  "node \"%s\" can only "
                                  "create mirror pods",
                                  node);
        if (!streq(on, node))
            return fail_forbidden(
                r, f, "node \"%s\" can only create pods with spec.nodeName set to itself", node);
        return 0;
    }
    if (r->op == ADMISSION_UPDATE && !streq(sub, "status"))
        return fail_forbidden(r, f, "node \"%s\" can only update pod status", node);
    if (!streq(on, node))
        return fail_forbidden(r, f, "node \"%s\" can only %s pods with spec.nodeName set to itself",
                              node, r->op == ADMISSION_DELETE ? "delete" : "update pod status for");
    return 0;
}

/* None and an empty list are the same. */
static bool taints_differ(const json_t *a, const json_t *b)
{
    json_t *x = json_at(a, "spec", "taints", NULL), *y = json_at(b, "spec", "taints", NULL);

    return (json_array_size(x) || json_array_size(y)) && !json_equal(x, y);
}

int restrict_node(const struct admission_request *r, struct admission_failure *f)
{
    const char *node = requesting_node(r), *name = meta_name(subject_of(r));

    if (!node || r->system)
        return 0;
    if (streq(r->resource, "pods"))
        return restrict_pod(r, f, node);
    if (streq(r->resource, "nodes") && !streq(name, node))
        return fail_forbidden(r, f, "node \"%s\" is not allowed to modify node \"%s\"", node, name);
    if (streq(r->resource, "nodes") && r->op == ADMISSION_UPDATE && !*strna(r->subresource) &&
        taints_differ(r->object, r->old))
        return fail_forbidden(r, f, "node \"%s\" is not allowed to modify taints", node);
    if (streq(r->resource, "leases.coordination.k8s.io") && streq(r->ns, "kube-node-lease") &&
        !streq(name, node))
        return fail_forbidden(
            r, f, "can only access node lease with the same name as the requesting node");
    return 0;
}

static bool may_approve(const struct admission_config *cfg, const struct admission_request *r,
                        const char *signer)
{
    const char *slash = strchr(signer, '/');
    cleanup_free char *any = NULL;

    if (cfg->authorize(cfg->arg, r, "approve", "certificates.k8s.io", "signers", signer))
        return true;
    any = xasprintf("%.*s/*", slash ? (int)(slash - signer) : 0, signer);
    return slash && cfg->authorize(cfg->arg, r, "approve", "certificates.k8s.io", "signers", any);
}

int restrict_csr(const struct admission_config *cfg, const struct admission_request *r,
                 struct admission_failure *f)
{
    const char *signer = strna(json_text_at(r->object, "spec", "signerName", NULL));

    if (r->system || !streq(r->resource, "certificatesigningrequests.certificates.k8s.io"))
        return 0;
    if (r->op == ADMISSION_UPDATE && streq(r->subresource, "approval") && cfg->authorize &&
        !may_approve(cfg, r, signer))
        return fail_forbidden(r, f, "user not permitted to approve requests with signerName \"%s\"",
                              signer);
    if (r->op == ADMISSION_CREATE && streq(signer, CSR_SIGNER_CLIENT) &&
        csr_asks_for_group(r->object, "system:masters"))
        return fail_forbidden(r, f, "use of %s signer with system:masters group is not allowed",
                              CSR_SIGNER_CLIENT);
    return 0;
}
