#include "base/cleanup.h"
#include "base/mem.h"
#include "codec/json.h"
#include "server/admission/admission.h"
#include "server/auth/auth.h"
#include "server/auth/rbac_defaults.h"
#include "server/controllers/meta.h"
#include "server/server_private.h"
#include <stdlib.h>

enum kind { CLUSTER_ROLES, CLUSTER_BINDINGS, ROLES, BINDINGS, KINDS };
static const char *const ids[KINDS] = {
    "clusterroles.rbac.authorization.k8s.io", "clusterrolebindings.rbac.authorization.k8s.io",
    "roles.rbac.authorization.k8s.io", "rolebindings.rbac.authorization.k8s.io"};

/* RBAC objects are kept parsed: every request asks them. Dropped when one of the kind changes. */
struct authorizer {
    struct server *s;
    struct store_watch watch;
    json_t *cached[KINDS];
};

static void on_change(struct store_watch *w, const struct store_event *e)
{
    struct authorizer *a = container_of(w, struct authorizer, watch);
    const char *id = e->key + strlen("/registry/");

    for (int i = 0; i < KINDS; i++) {
        size_t n = strlen(ids[i]);

        if (strncmp(id, ids[i], n) != 0 || id[n] != '/')
            continue;
        json_decref(a->cached[i]);
        a->cached[i] = NULL;
    }
}

struct authorizer *authorizer_new(struct server *s)
{
    struct authorizer *a = xcalloc(1, sizeof *a);

    a->s = s;
    a->watch.fn = on_change;
    store_watch_start(s->store, &a->watch);
    return a;
}

void authorizer_free(struct authorizer *a)
{
    if (!a)
        return;
    store_watch_stop(&a->watch);
    for (int i = 0; i < KINDS; i++)
        json_decref(a->cached[i]);
    free(a);
}

static const json_t *all(struct authorizer *a, enum kind k)
{
    if (!a->cached[k])
        a->cached[k] = cluster_list(&a->s->registry.cluster, ids[k], NULL);
    return a->cached[k];
}

static bool has(const json_t *list, const char *word)
{
    const json_t *v;

    json_each(list, i, v) if (streq(json_string_value(v), word) ||
                              streq(json_string_value(v), "*")) return true;
    return false;
}

static bool resource_matches(const json_t *list, const char *resource, const char *sub)
{
    cleanup_free char *whole = sub[0] ? xasprintf("%s/%s", resource, sub) : xstrdup(resource);
    cleanup_free char *any = sub[0] ? xasprintf("*/%s", sub) : NULL;
    const json_t *v;

    json_each(list, i, v)
    {
        const char *w = json_string_value(v);

        if (streq(w, "*") || streq(w, whole) || (any && streq(w, any)))
            return true;
    }
    return false;
}

static bool path_matches(const json_t *list, const char *path)
{
    const json_t *v;

    json_each(list, i, v)
    {
        const char *w = strna(json_string_value(v));
        size_t n = strlen(w);

        if (streq(w, path) || (n && w[n - 1] == '*' && strncmp(path, w, n - 1) == 0))
            return true;
    }
    return false;
}

static bool rule_allows(const json_t *rule, const struct attributes *q)
{
    const json_t *names = json_object_get(rule, "resourceNames");

    if (!has(json_object_get(rule, "verbs"), q->verb))
        return false;
    if (q->path)
        return path_matches(json_object_get(rule, "nonResourceURLs"), q->path);
    if (!has(json_object_get(rule, "apiGroups"), q->group) ||
        !resource_matches(json_object_get(rule, "resources"), q->resource, q->sub))
        return false;
    if (!json_array_size(names))
        return true;
    const json_t *v;
    json_each(names, i, v) if (q->name[0] && streq(json_string_value(v), q->name)) return true;
    return false;
}

static bool subject_is(const json_t *subject, const struct user *u, const char *binding_ns)
{
    const char *kind = json_text_or(subject, "kind", ""), *name = json_text_or(subject, "name", "");

    if (streq(kind, "User"))
        return streq(name, u->name);
    if (streq(kind, "Group"))
        return user_in_group(u, name);
    if (streq(kind, "ServiceAccount")) {
        cleanup_free char *full = xasprintf("system:serviceaccount:%s:%s",
                                            json_text_or(subject, "namespace", binding_ns), name);

        return streq(full, u->name);
    }
    return false;
}

static bool bound(const json_t *binding, const struct user *u)
{
    const json_t *v;

    json_each(json_object_get(binding, "subjects"), i,
              v) if (subject_is(v, u, meta_namespace(binding))) return true;
    return false;
}

static const json_t *find_role(struct authorizer *a, enum kind k, const char *ns, const char *name)
{
    const json_t *v;

    json_each(all(a, k), i, v) if (streq(meta_name(v), name) &&
                                   (k == CLUSTER_ROLES || streq(meta_namespace(v), ns))) return v;
    return NULL;
}

/* Calls fn for each rule the user has in ns ("" cluster-wide only) until it returns true. */
typedef bool (*rule_fn)(const json_t *rule, void *arg);

static bool rules_of(const json_t *role, rule_fn fn, void *arg)
{
    const json_t *rule;

    json_each(json_object_get(role, "rules"), i, rule) if (fn(rule, arg)) return true;
    return false;
}

static bool each_rule(struct authorizer *a, const struct user *u, const char *ns, rule_fn fn,
                      void *arg)
{
    const json_t *b;

    json_each(all(a, CLUSTER_BINDINGS), i, b)
    {
        const char *name = strna(json_text_at(b, "roleRef", "name", NULL));

        if (bound(b, u) && rules_of(find_role(a, CLUSTER_ROLES, "", name), fn, arg))
            return true;
    }
    json_each(all(a, BINDINGS), k, b)
    {
        const char *name = strna(json_text_at(b, "roleRef", "name", NULL));
        enum kind kind =
            streq(json_text_at(b, "roleRef", "kind", NULL), "ClusterRole") ? CLUSTER_ROLES : ROLES;

        if (!ns[0] || !streq(meta_namespace(b), ns) || !bound(b, u))
            continue;
        if (rules_of(find_role(a, kind, ns, name), fn, arg))
            return true;
    }
    if (user_node(u) && rules_of(find_role(a, CLUSTER_ROLES, "", "system:node"), fn, arg))
        return true;
    return false;
}

static bool allows(const json_t *rule, void *arg)
{
    return rule_allows(rule, arg);
}

/* What a node may not do although the role says so (upstream's NodeRestriction and node
 * authorizer): touch other nodes, or read secrets and config maps that no pod of its own names. */
struct reference {
    const char *node, *kind, *name;
};

static bool names_it(const json_t *v, const struct reference *f)
{
    const char *k;
    json_t *item;
    size_t i;

    if (json_is_array(v)) {
        json_array_foreach((json_t *)v, i, item)
        {
            if (names_it(item, f))
                return true;
        }
        return false;
    }
    json_object_foreach((json_t *)v, k, item)
    {
        if (json_is_string(item) && streq(json_string_value(item), f->name) &&
            (streq(k, "name") || streq(k, "secretName")))
            return true;
        if (!json_is_string(item) && names_it(item, f))
            return true;
    }
    return false;
}

static int refers(json_t *pod, void *arg)
{
    struct reference *f = arg;

    return streq(json_text_at(pod, "spec", "nodeName", NULL), f->node) &&
           names_it(json_object_get(pod, "spec"), f);
}

static bool node_denied(struct authorizer *a, const struct attributes *q)
{
    const char *node = user_node(q->user);
    bool write = !streq(q->verb, "get") && !streq(q->verb, "list") && !streq(q->verb, "watch");

    if (!node || q->path)
        return false;
    if (streq(q->resource, "nodes") && write && q->name[0] && !streq(q->name, node))
        return true;
    if (streq(q->resource, "leases") && streq(q->ns, "kube-node-lease") && write && q->name[0] &&
        !streq(q->name, node))
        return true;
    if (streq(q->resource, "secrets") || streq(q->resource, "configmaps")) {
        struct reference f = {node, q->resource, q->name};

        if (streq(q->name, "kube-root-ca.crt"))
            return false;
        return write || !q->name[0] ||
               registry_each(&a->s->registry, resource_by_id("pods"), q->ns, refers, &f) != 1;
    }
    return false;
}

bool authorize(struct authorizer *a, const struct attributes *q)
{
    if (user_in_group(q->user, "system:masters"))
        return true;
    if (node_denied(a, q))
        return false;
    return each_rule(a, q->user, q->ns ? q->ns : "", allows, (void *)(uintptr_t)q);
}

static bool collect(const json_t *rule, void *arg)
{
    (void)json_array_append(arg, (json_t *)(uintptr_t)rule);
    return false;
}

json_t *authorizer_rules(struct authorizer *a, const struct user *u, const char *ns)
{
    json_t *out = json_array();

    (void)each_rule(a, u, ns, collect, out);
    return out;
}

char *forbidden_message(const struct attributes *q)
{
    struct buf b;

    buf_init(&b, 4096);
    if (q->path) {
        (void)buf_printf(&b, "forbidden: User \"%s\" cannot %s path \"%s\"", q->user->name, q->verb,
                         q->path);
        return buf_take(&b);
    }
    (void)buf_printf(&b, "%s%s%s", q->resource, q->group[0] ? "." : "", q->group);
    if (q->name[0])
        (void)buf_printf(&b, " \"%s\"", q->name);
    (void)buf_printf(&b,
                     " is forbidden: User \"%s\" cannot %s resource \"%s%s%s\" in API group \"%s\"",
                     q->user->name, q->verb, q->resource, q->sub[0] ? "/" : "", q->sub, q->group);
    if (q->ns[0])
        (void)buf_printf(&b, " in the namespace \"%s\"", q->ns);
    else
        (void)buf_printf(&b, " at the cluster scope");
    return buf_take(&b);
}

/* the admission chain's view */

static void actor_user(const struct admission_request *r, struct user *u)
{
    u->name = xstrdup(strna(r->user));
    for (size_t i = 0; i < r->n_groups; i++)
        user_add_group(u, r->groups[i]);
}

bool admission_authorize(void *arg, const struct admission_request *r, const char *verb,
                         const char *group, const char *resource, const char *name)
{
    struct server *s = arg;
    struct user u = {0};
    struct attributes q = {.user = &u,
                           .verb = verb,
                           .group = group,
                           .resource = resource,
                           .sub = "",
                           .ns = strna(r->ns),
                           .name = strna(name)};
    bool ok;

    actor_user(r, &u);
    ok = authorize(s->authorizer, &q);
    auth_user_fini(&u);
    return ok;
}

bool admission_covers(void *arg, const struct admission_request *r, const json_t *rules,
                      const char *ns)
{
    struct server *s = arg;
    struct user u = {0};
    cleanup_json json_t *have = NULL;
    const json_t *rule;
    bool ok = true;

    actor_user(r, &u);
    if (!user_in_group(&u, "system:masters")) {
        have = authorizer_rules(s->authorizer, &u, strna(ns));
        json_each(rules, i, rule) ok = ok && rbac_rules_cover(have, rule);
    }
    auth_user_fini(&u);
    return ok;
}
