#include "base/cleanup.h"
#include "base/mem.h"
#include "server/admission/kinds.h"
#include "server/admission/names.h"
#include "server/controllers/meta.h"
#include <errno.h>

#define RBAC_GROUP "rbac.authorization.k8s.io"

void binding_default(json_t *o, const json_t *old)
{
    json_t *ref = json_object_get(o, "roleRef"), *s;

    (void)old;
    if (json_is_object(ref) && !*json_text_or(ref, "apiGroup", ""))
        json_set_text(ref, "apiGroup", RBAC_GROUP);
    json_each(json_object_get(o, "subjects"), i,
              s) if (!*json_text_or(s, "apiGroup", "") &&
                     !streq(json_text_or(s, "kind", ""), "ServiceAccount"))
        json_set_text(s, "apiGroup", RBAC_GROUP);
}

void binding_validate(struct invalid *v, const json_t *o, const json_t *old)
{
    static const char *const kinds[] = {"ClusterRole", "Role", NULL};
    static const char *const subjects[] = {"Group", "ServiceAccount", "User", NULL};
    const json_t *ref = json_object_get(o, "roleRef"), *s;
    bool namespaced = *meta_namespace(o);
    const char *kind = json_text_or(ref, "kind", "");
    char f[FIELD_MAX];

    if (!streq(kind, "ClusterRole") && !(namespaced && streq(kind, "Role")))
        invalid_unsupported(v, "roleRef.kind", kind,
                            namespaced ? kinds : (const char *const[]){"ClusterRole", NULL});
    if (!*json_text_or(ref, "name", ""))
        invalid_required(v, "roleRef.name", "");
    if (old && !json_equal(ref, json_object_get(old, "roleRef")))
        invalid_value(v, "roleRef", ref, "cannot change roleRef");
    json_each(json_object_get(o, "subjects"), i, s)
    {
        const char *k = json_text_or(s, "kind", "");

        if (!streq(k, subjects[0]) && !streq(k, subjects[1]) && !streq(k, subjects[2]))
            invalid_unsupported(v, field_at(f, "subjects[%zu].kind", i), k, subjects);
        if (!*json_text_or(s, "name", ""))
            invalid_required(v, field_at(f, "subjects[%zu].name", i), "");
        if (!namespaced && streq(k, "ServiceAccount") && !*json_text_or(s, "namespace", ""))
            invalid_required(v, field_at(f, "subjects[%zu].namespace", i), "");
    }
}

void role_validate(struct invalid *v, const json_t *o, const json_t *old)
{
    char f[FIELD_MAX];
    const json_t *rule;

    (void)old;
    json_each(json_object_get(o, "rules"), i, rule)
    {
        bool urls = json_array_size(json_object_get(rule, "nonResourceURLs")) > 0;

        if (json_array_size(json_object_get(rule, "verbs")) == 0)
            invalid_required(v, field_at(f, "rules[%zu].verbs", i),
                             "verbs must contain at least one value");
        if (urls && *meta_namespace(o))
            invalid_value(v, field_at(f, "rules[%zu].nonResourceURLs", i),
                          json_object_get(rule, "nonResourceURLs"),
                          "namespaced rules cannot apply to non-resource URLs");
        if (urls)
            continue;
        if (json_array_size(json_object_get(rule, "apiGroups")) == 0)
            invalid_required(v, field_at(f, "rules[%zu].apiGroups", i),
                             "resource rules must supply at least one api group");
        if (json_array_size(json_object_get(rule, "resources")) == 0)
            invalid_required(v, field_at(f, "rules[%zu].resources", i),
                             "resource rules must supply at least one resource");
    }
}

static bool may(const struct admission_config *cfg, const struct admission_request *r,
                const char *verb, const char *resource, const char *name)
{
    return cfg->authorize && cfg->authorize(cfg->arg, r, verb, RBAC_GROUP, resource, name);
}

static char *groups_text(const struct admission_request *r)
{
    struct buf b;

    buf_init(&b, 16 << 10);
    for (size_t i = 0; i < r->n_groups; i++)
        (void)buf_printf(&b, "%s\"%s\"", i ? " " : "", r->groups[i]);
    return buf_take(&b);
}

static int refuse(const struct admission_request *r, struct admission_failure *f,
                  const json_t *rules)
{
    char *groups = groups_text(r);
    struct buf b;
    int rc;

    buf_init(&b, 16 << 10);
    (void)json_write(rules, &b);
    rc = fail_forbidden(
        r, f,
        "user \"%s\" (groups=[%s]) is attempting to grant RBAC permissions not currently "
        "held:\n%.*s",
        strna(r->user), strna(groups), STR_FMT(buf_str(&b)));
    buf_fini(&b);
    free(groups);
    return rc;
}

int rbac_escalation(const struct admission_config *cfg, const struct admission_request *r,
                    struct admission_failure *f)
{
    bool binding = strstr(r->resource, "bindings.") != NULL;
    const json_t *rules = json_object_get(r->object, "rules"),
                 *ref = json_object_get(r->object, "roleRef");
    const char *role = json_text_or(ref, "name", "");
    cleanup_json json_t *found = NULL;
    bool cluster = streq(json_text_or(ref, "kind", ""), "ClusterRole");

    if (r->system || !cfg->covers)
        return 0;
    if (binding) {
        if (may(cfg, r, "bind", cluster ? "clusterroles" : "roles", role))
            return 0;
        found =
            cluster_get(cfg->cluster, cluster ? "clusterroles." RBAC_GROUP : "roles." RBAC_GROUP,
                        cluster ? "" : r->ns, role);
        if (!found)
            return fail_with(f, 404, "NotFound", "%s.%s \"%s\" not found",
                             cluster ? "clusterroles" : "roles", RBAC_GROUP, role);
        rules = json_object_get(found, "rules");
    } else if (json_equal(rules, json_object_get(r->old, "rules")) ||
               may(cfg, r, "escalate", strstarts(r->resource, "cluster") ? "clusterroles" : "roles",
                   meta_name(r->object))) {
        return 0;
    }
    if (json_array_size(rules) == 0 || cfg->covers(cfg->arg, r, rules, r->ns))
        return 0;
    return refuse(r, f, rules);
}
