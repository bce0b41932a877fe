#include "server/admission/admission.h"
#include "base/cleanup.h"
#include "base/mem.h"
#include "server/admission/kinds.h"
#include "server/admission/names.h"
#include "server/admission/pod.h"
#include "server/admission/restrict.h"
#include "server/admission/service.h"
#include "server/admission/workload.h"
#include "server/controllers/meta.h"
#include <errno.h>

struct admission {
    struct admission_config cfg;
    struct service_pools pools;
};

struct row {
    const char *resource;
    void (*fill)(json_t *o, const json_t *old);
    void (*check)(struct invalid *v, const json_t *o, const json_t *old);
};
static const struct row rows[] = {
    {"certificatesigningrequests.certificates.k8s.io", NULL, csr_validate},
    {"clusterrolebindings.rbac.authorization.k8s.io", binding_default, binding_validate},
    {"clusterroles.rbac.authorization.k8s.io", NULL, role_validate},
    {"configmaps", NULL, configmap_validate},
    {"endpointslices.discovery.k8s.io", NULL, slice_validate},
    {"jobs.batch", job_default, job_validate},
    {"leases.coordination.k8s.io", NULL, lease_validate},
    {"namespaces", namespace_default, NULL},
    {"nodes", node_default, node_validate},
    {"rolebindings.rbac.authorization.k8s.io", binding_default, binding_validate},
    {"roles.rbac.authorization.k8s.io", NULL, role_validate},
    {"secrets", secret_default, secret_validate},
    {"services", service_default, service_validate},
};

int admission_new(const struct admission_config *cfg, struct admission **ret, struct error **err)
{
    struct admission *a = xcalloc(1, sizeof(*a));

    a->cfg = *cfg;
    if (service_pools_init(&a->pools, cfg, err) < 0) {
        free(a);
        return -EINVAL;
    }
    service_pools_recount(&a->pools);
    *ret = a;
    return 0;
}

void admission_free(struct admission *a)
{
    if (!a)
        return;
    service_pools_fini(&a->pools);
    free(a);
}

static const struct row *row_of(const char *resource)
{
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        if (streq(rows[i].resource, resource))
            return &rows[i];
    return NULL;
}

static int namespace_lifecycle(struct admission *a, const struct admission_request *r,
                               struct admission_failure *f)
{
    cleanup_json json_t *ns = NULL;

    if (r->op == ADMISSION_DELETE && streq(r->resource, "namespaces") &&
        (streq(r->name, "default") || streq(r->name, "kube-system") ||
         streq(r->name, "kube-public")))
        return fail_with(f, 403, "Forbidden",
                         "namespaces \"%s\" is forbidden: this namespace may not be deleted",
                         r->name);
    if (r->op != ADMISSION_CREATE || !r->ns || !*r->ns || streq(r->resource, "namespaces"))
        return 0;
    ns = cluster_get(a->cfg.cluster, "namespaces", "", r->ns);
    if (!ns) {
        (void)fail_with(f, 404, "NotFound", "namespaces \"%s\" not found", r->ns);
        f->details = json_pack("{s:s,s:s}", "name", r->ns, "kind", "namespaces");
        return -EPERM;
    }
    if (!meta_deleting(ns) || streq(r->resource, "localsubjectaccessreviews.authorization.k8s.io"))
        return 0;
    (void)fail_forbidden(
        r, f, "unable to create new content in namespace %s because it is being terminated", r->ns);
    json_object_set_new(f->details, "causes",
                        json_pack("[{s:s,s:s,s:s}]", "reason", "NamespaceTerminating", "message",
                                  "namespace is being terminated", "field", "metadata.namespace"));
    return -EPERM;
}

/* metadata.generation of kinds that count it: moves with spec. */
static void set_generation(const struct admission_request *r)
{
    json_t *meta = json_object_need(r->object, "metadata");
    int64_t n = json_int_or(json_object_get(r->old, "metadata"), "generation", 0);

    if (!json_is_object(json_object_get(r->object, "spec")))
        return;
    if (!r->old)
        json_set_int(meta, "generation", 1);
    else if (n)
        json_set_int(
            meta, "generation",
            n + !json_equal(json_object_get(r->object, "spec"), json_object_get(r->old, "spec")));
}

static int mutate_main(struct admission *a, struct admission_request *r,
                       struct admission_failure *f)
{
    const struct row *row = row_of(r->resource);
    struct invalid v;

    if (streq(r->resource, "pods")) {
        pod_spec_default(json_object_need(r->object, "spec"), true);
        if (r->op == ADMISSION_CREATE) {
            pod_status_init(r->object);
            return pod_admission(a->cfg.cluster, r, f);
        }
        return 0;
    }
    if (workload_is(r->resource)) {
        workload_default(r->resource, r->object, r->old);
        set_generation(r);
        return 0;
    }
    if (r->op == ADMISSION_CREATE &&
        streq(r->resource, "certificatesigningrequests.certificates.k8s.io"))
        csr_prepare(r);
    if (row && row->fill)
        row->fill(r->object, r->old);
    if (streq(r->resource, "jobs.batch"))
        set_generation(r);
    if (!streq(r->resource, "services"))
        return 0;
    invalid_init(&v);
    service_validate(&v, r->object, r->old); /* nothing is taken for what will be refused */
    if (!invalid_any(&v) && !r->dry_run)
        service_allocate(&a->pools, r, &v);
    return invalid_finish(&v, r, f);
}

int admission_mutate(struct admission *a, struct admission_request *r, struct admission_failure *f)
{
    if (namespace_lifecycle(a, r, f) < 0 || restrict_node(r, f) < 0 ||
        restrict_csr(&a->cfg, r, f) < 0)
        return -EPERM;
    if (r->op == ADMISSION_DELETE || !r->object || (r->subresource && *r->subresource))
        return 0;
    return mutate_main(a, r, f);
}

int admission_validate(struct admission *a, struct admission_request *r,
                       struct admission_failure *f)
{
    const struct row *row = row_of(r->resource);
    struct invalid v;

    if (r->op == ADMISSION_DELETE || !r->object || (r->subresource && *r->subresource))
        return 0;
    invalid_init(&v);
    meta_validate(&v, r);
    if (streq(r->resource, "pods") && r->old)
        pod_validate_update(&v, r->object, r->old);
    if (streq(r->resource, "pods"))
        pod_spec_validate(&v, "spec", json_object_get(r->object, "spec"));
    if (workload_is(r->resource))
        workload_validate(&v, r->resource, r->object, r->old);
    if (row && row->check)
        row->check(&v, r->object, r->old);
    if (invalid_any(&v))
        return invalid_finish(&v, r, f);
    invalid_fini(&v);
    if (strends(r->resource, ".rbac.authorization.k8s.io"))
        return rbac_escalation(&a->cfg, r, f);
    return 0;
}

void admission_released(struct admission *a, const char *resource, const json_t *object)
{
    if (streq(resource, "services"))
        service_released(&a->pools, object);
}
