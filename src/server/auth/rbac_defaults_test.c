#include "server/auth/rbac_defaults.h"
#include "base/test.h"
#include "server/controllers/fake_cluster.h"
#include "server/controllers/meta.h"

static const json_t *find(const json_t *all, const char *kind, const char *name)
{
    const json_t *o;

    json_each(all, i, o) if (streq(json_text_or(o, "kind", ""), kind) &&
                             streq(meta_name(o), name)) return o;
    return NULL;
}

TEST(names_that_users_rely_on)
{
    static const char *const roles[] = {
        "cluster-admin",
        "admin",
        "edit",
        "view",
        "system:node",
        "system:node-bootstrapper",
        "system:node-proxier",
        "system:kube-scheduler",
        "system:kube-controller-manager",
        "system:kubelet-api-admin",
        "system:certificates.k8s.io:certificatesigningrequests:nodeclient",
        "system:certificates.k8s.io:certificatesigningrequests:selfnodeclient",
        "system:discovery",
        "system:basic-user",
        "system:public-info-viewer"};
    json_t *all = rbac_defaults();
    const json_t *b = find(all, "ClusterRoleBinding", "system:node-proxier");

    for (size_t i = 0; i < sizeof(roles) / sizeof(roles[0]); i++)
        assert_non_null(find(all, "ClusterRole", roles[i]));
    assert_string_equal(
        json_text_at(json_array_get(json_object_get(b, "subjects"), 0), "name", NULL),
        "system:kube-proxy");
    assert_null(json_object_get(find(all, "ClusterRoleBinding", "system:node"), "subjects"));
    b = find(all, "ClusterRole", "cluster-admin");
    assert_true(rbac_rules_cover(
        json_object_get(b, "rules"),
        json_array_get(json_object_get(find(all, "ClusterRole", "system:discovery"), "rules"), 0)));
    json_decref(all);
}

TEST(covering)
{
    json_t *have = fake_json("[{'verbs':['get'],'apiGroups':[''],'resources':['pods']},"
                             "{'verbs':['list'],'apiGroups':[''],'resources':['pods','*/log']}]");
    json_t *a = fake_json("{'verbs':['get','list'],'apiGroups':[''],'resources':['pods']}");
    json_t *b = fake_json("{'verbs':['get'],'apiGroups':[''],'resources':['secrets']}");
    json_t *c = fake_json("{'verbs':['list'],'apiGroups':[''],'resources':['pods/log']}");

    assert_true(rbac_rules_cover(have, a));
    assert_false(rbac_rules_cover(have, b));
    assert_true(rbac_rules_cover(have, c));
    json_decref(have);
    json_decref(a);
    json_decref(b);
    json_decref(c);
}

TEST(reconcile_adds_and_keeps)
{
    json_t *all = rbac_defaults();
    const json_t *want = find(all, "ClusterRole", "system:node-bootstrapper");
    json_t *have = json_deep_copy(want), *got;

    assert_null(rbac_reconcile(want, have));
    json_array_clear(json_object_get(have, "rules"));
    json_array_append_new(json_object_get(have, "rules"),
                          fake_json("{'verbs':['x'],'apiGroups':['y'],'resources':['z']}"));
    got = rbac_reconcile(want, have);
    assert_int_equal(json_array_size(json_object_get(got, "rules")), 2);
    json_decref(got);
    meta_set_annotation(have, "rbac.authorization.kubernetes.io/autoupdate", "false");
    assert_null(rbac_reconcile(want, have));
    json_decref(have);
    json_decref(all);
}

TEST_MAIN()
