#include "base/cleanup.h"
#include "server/controllers/controller.h"
#include "server/controllers/selector.h"

#define ROLES "clusterroles.rbac.authorization.k8s.io"

/* A role may be selected by any aggregated one, and there are few of those. */
static void on_role(struct controller *c, enum cluster_change what, const json_t *role)
{
    json_t *all;
    const json_t *r;

    (void)what;
    if (json_object_size(json_at(role, "metadata", "labels", NULL)) == 0 &&
        !json_object_get(role, "aggregationRule"))
        return;
    all = cluster_list(c->env->cluster, ROLES, NULL);
    json_each(all, i, r) if (json_object_get(r, "aggregationRule"))
        enqueue_self(c, CLUSTER_MODIFIED, r);
    json_decref(all);
}

static bool contains(const json_t *rules, const json_t *rule)
{
    const json_t *r;

    json_each(rules, i, r) if (json_equal(r, rule)) return true;
    return false;
}

/* Rules of all roles that the selectors mean, each once, in the order of the roles' names. */
static json_t *aggregate(const json_t *role, const json_t *all)
{
    json_t *out = json_array(), *rule;
    const json_t *r, *s;

    json_each(all, i, r)
    {
        bool meant = false;

        json_each(json_at(role, "aggregationRule", "clusterRoleSelectors", NULL), k, s) meant =
            meant || selector_matches(s, json_at(r, "metadata", "labels", NULL));
        if (!meant || streq(meta_name(r), meta_name(role)))
            continue;
        json_each(json_object_get(r, "rules"), m, rule) if (!contains(out, rule))
            json_array_append(out, rule);
    }
    return out;
}

static enum queue_verdict reconcile(struct controller *c, const char *key)
{
    cleanup_json json_t *role = cluster_get(c->env->cluster, ROLES, "", key), *all = NULL,
                        *rules = NULL, *o = NULL;
    struct error *err = NULL;

    if (!role || !json_object_get(role, "aggregationRule"))
        return QUEUE_DONE;
    all = cluster_list(c->env->cluster, ROLES, NULL);
    rules = aggregate(role, all);
    if (json_equal(rules, json_object_get(role, "rules")))
        return QUEUE_DONE;
    o = json_deep_copy(role);
    json_object_set(o, "rules", rules);
    return settle(c, key, cluster_update(c->env->cluster, ROLES, NULL, o, &err), &err);
}

const struct controller_def role_aggregation_controller = {
    .name = "clusterrole-aggregation",
    .watches = {{ROLES, on_role}},
    .reconcile = reconcile,
};
