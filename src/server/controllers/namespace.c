#include "base/cleanup.h"
#include "base/mem.h"
#include "server/controllers/controller.h"
#include <errno.h>

/* What a namespace can hold, pods last but one: what makes them goes first. */
static const char *const contents[] = {
    "deployments.apps",
    "daemonsets.apps",
    "statefulsets.apps",
    "cronjobs.batch",
    "jobs.batch",
    "replicasets.apps",
    "replicationcontrollers",
    "services",
    "endpoints",
    "endpointslices.discovery.k8s.io",
    "ingresses.networking.k8s.io",
    "networkpolicies.networking.k8s.io",
    "poddisruptionbudgets.policy",
    "horizontalpodautoscalers.autoscaling",
    "pods",
    "configmaps",
    "secrets",
    "serviceaccounts",
    "controllerrevisions.apps",
    "persistentvolumeclaims",
    "podtemplates",
    "limitranges",
    "resourcequotas",
    "leases.coordination.k8s.io",
    "rolebindings.rbac.authorization.k8s.io",
    "roles.rbac.authorization.k8s.io",
    "events",
};

/* A pod gone may have been the last thing a namespace waited for. */
static void on_any(struct controller *c, enum cluster_change what, const json_t *object)
{
    cleanup_json json_t *ns = NULL;

    if (what != CLUSTER_DELETED || !*meta_namespace(object) ||
        streq(controller_current_resource, "events"))
        return;
    ns = cluster_get(c->env->cluster, "namespaces", "", meta_namespace(object));
    if (ns && meta_deleting(ns))
        queue_add(&c->queue, meta_name(ns));
}

static void on_namespace(struct controller *c, enum cluster_change what, const json_t *ns)
{
    if (what != CLUSTER_DELETED && meta_deleting(ns))
        queue_add(&c->queue, meta_name(ns));
}

/* Deletes what is there; the number of objects still there is added to *ret_left. */
static int empty(struct controller *c, const char *resource, const char *ns, size_t *ret_left,
                 struct error **err)
{
    cleanup_json json_t *all = cluster_list(c->env->cluster, resource, ns), *after = NULL;
    struct cluster_delete opt = {.grace_s = -1, .propagation = "Background"};
    const json_t *o;

    json_each(all, i, o)
    {
        int rc;

        if (meta_deleting(o))
            continue;
        opt.uid = meta_uid(o);
        rc = cluster_remove(c->env->cluster, resource, ns, meta_name(o), &opt, err);
        if (rc < 0 && rc != -ENOENT && rc != -ESTALE)
            return rc;
        error_clear(err);
    }
    if (json_array_size(all) == 0)
        return 0;
    after = cluster_list(c->env->cluster, resource, ns);
    *ret_left += json_array_size(after);
    return 0;
}

static int finalize(struct controller *c, const char *name, struct error **err)
{
    cleanup_json json_t *ns = cluster_get(c->env->cluster, "namespaces", "", name), *o = NULL;
    json_t *list;

    if (!ns)
        return 0;
    o = json_deep_copy(ns);
    list = json_at(o, "spec", "finalizers", NULL);
    for (size_t i = json_array_size(list); i-- > 0;)
        if (streq(json_string_value(json_array_get(list, i)), "kubernetes"))
            json_array_remove(list, i);
    return cluster_update(c->env->cluster, "namespaces", "finalize", o, err);
}

static int set_terminating(struct controller *c, const json_t *ns, struct error **err)
{
    cleanup_json json_t *o = NULL;

    if (streq(json_text_at(ns, "status", "phase", NULL), "Terminating"))
        return 0;
    o = json_deep_copy(ns);
    json_set_text(json_object_need(o, "status"), "phase", "Terminating");
    return cluster_update(c->env->cluster, "namespaces", "status", o, err);
}

static enum queue_verdict reconcile(struct controller *c, const char *key)
{
    cleanup_json json_t *ns = cluster_get(c->env->cluster, "namespaces", "", key);
    struct error *err = NULL;
    size_t left = 0;
    int rc;

    if (!ns || !meta_deleting(ns))
        return QUEUE_DONE;
    rc = set_terminating(c, ns, &err);
    for (size_t i = 0; i < sizeof(contents) / sizeof(contents[0]) && rc == 0; i++)
        rc = empty(c, contents[i], key, &left, &err);
    if (rc == 0 && left == 0)
        rc = finalize(c, key, &err);
    else if (rc == 0)
        queue_add_after(&c->queue, key,
                        15 * 1000); /* finalizers of others; deletions wake us earlier */
    return settle(c, key, rc, &err);
}

const struct controller_def namespace_controller = {
    .name = "namespace",
    .watches = {{"namespaces", on_namespace}, {"*", on_any}},
    .reconcile = reconcile,
};
