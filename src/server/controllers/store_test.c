/* Controllers and scheduler on the real registry and store, in memory: from objects as users write
 * them to bound pods. */
#include "base/mem.h"
#include "base/test.h"
#include "server/admission/admission.h"
#include "server/controllers/controller.h"
#include "server/controllers/fake_cluster.h"
#include "server/registry/registry.h"

struct bench {
    struct store *store;
    struct registry registry;
    struct admission *admission;
    struct controllers *controllers;
    struct loop *loop;
    struct cluster *cluster;
};

static void bench_init(struct bench *b)
{
    static struct controllers_config cfg = {.cluster_cidr = "172.30.0.0/16",
                                            .node_cidr_prefix = 24,
                                            .root_ca_pem = "PEM",
                                            .advertise_address = "10.0.0.1",
                                            .service_cidr = "10.254.0.0/16",
                                            .secure_port = 6443};
    struct admission_config acfg = {
        .service_cidr = "10.254.0.0/16", .node_port_min = 30000, .node_port_max = 32767};
    struct error *err = NULL;

    *b = (struct bench){.loop = loop_new()};
    assert_int_equal(store_open(":memory:", &b->store, &err), 0);
    registry_init(&b->registry, b->store);
    b->cluster = &b->registry.cluster;
    acfg.cluster = b->cluster;
    assert_int_equal(admission_new(&acfg, &b->admission, &err), 0);
    b->registry.admission = b->admission;
    b->controllers = controllers_start(b->loop, b->store, b->cluster, &cfg);
}

static void bench_fini(struct bench *b)
{
    controllers_stop(b->controllers);
    admission_free(b->admission);
    store_close(b->store);
    loop_free(b->loop);
}

static void bench_run(struct bench *b)
{
    for (int i = 0; i < 30; i++)
        loop_run_once(b->loop, 5);
}

static json_t *make(struct bench *b, const char *resource, const char *text)
{
    json_t *o = fake_json(text), *ret = NULL;
    struct error *err = NULL;

    if (cluster_create(b->cluster, resource, o, &ret, &err) < 0)
        fail_msg("%s", error_message(err));
    json_decref(o);
    return ret;
}

static size_t count(struct bench *b, const char *resource, const char *ns)
{
    json_t *all = cluster_list(b->cluster, resource, ns);
    size_t n = json_array_size(all);

    json_decref(all);
    return n;
}

static void ready_node(struct bench *b, const char *name)
{
    json_t *text =
        json_pack("{s:s,s:s,s:{s:s},s:{s:{s:s,s:s,s:s},s:[{s:s,s:s}]}}", "apiVersion", "v1", "kind",
                  "Node", "metadata", "name", name, "status", "allocatable", "cpu", "4", "memory",
                  "8Gi", "pods", "110", "conditions", "type", "Ready", "status", "True");
    struct error *err = NULL;

    if (cluster_create(b->cluster, "nodes", text, NULL, &err) < 0)
        fail_msg("%s", error_message(err));
    json_decref(text);
}

#define TEMPLATE                                                                                   \
    "{'metadata':{'labels':{'a':'b'}},'spec':{'containers':[{'name':'c','image':'nginx:1.7.9','"   \
    "ports':[{'containerPort':80}]}]}}"

TEST(daemon_set_lands_on_a_node)
{
    struct bench b;
    json_t *all, *pod;

    bench_init(&b);
    ready_node(&b, "n1");
    json_decref(make(&b, "daemonsets.apps",
                     "{'apiVersion':'apps/"
                     "v1','kind':'DaemonSet','metadata':{'name':'nginx-ds','namespace':'default'},'"
                     "spec':{'selector':"
                     "{'matchLabels':{'a':'b'}},'template':" TEMPLATE "}}"));
    bench_run(&b);
    all = cluster_list(b.cluster, "pods", "default");
    assert_int_equal(json_array_size(all), 1);
    pod = json_array_get(all, 0);
    assert_string_equal(json_text_at(pod, "spec", "nodeName", NULL), "n1");
    assert_true(condition_is(json_at(pod, "status", "conditions", NULL), "PodScheduled", "True"));
    json_decref(all);
    all = cluster_get(b.cluster, "nodes", "", "n1");
    assert_string_equal(json_text_at(all, "spec", "podCIDR", NULL), "172.30.0.0/24");
    assert_int_equal(json_array_size(json_at(all, "spec", "taints", NULL)), 0);
    json_decref(all);
    bench_fini(&b);
}

static bool bound(struct bench *b, const char *name)
{
    json_t *p = cluster_get(b->cluster, "pods", "default", name);
    bool yes = *strna(json_text_at(p, "spec", "nodeName", NULL));

    json_decref(p);
    return yes;
}

TEST(pod_is_bound_at_once)
{
    struct bench b;
    struct mono start;
    json_t *p;

    bench_init(&b);
    ready_node(&b, "n1");
    bench_run(&b);
    start = mono_now();
    json_decref(make(&b, "pods",
                     "{'apiVersion':'v1','kind':'Pod','metadata':{'name':'p','namespace':'default'}"
                     ",'spec':{'containers':[{'name':'c','image':'i'}]}}"));
    for (int i = 0; i < 10 && !bound(&b, "p"); i++)
        loop_run_once(b.loop, 0);
    print_message("created to bound in %lld us\n", (long long)(mono_now().ns - start.ns) / 1000);
    assert_true(bound(&b, "p"));
    json_decref(make(&b, "pods",
                     "{'apiVersion':'v1','kind':'Pod','metadata':{'name':'big','namespace':'"
                     "default'},'spec':{'containers':[{'name':'c',"
                     "'image':'i','resources':{'requests':{'cpu':'64'}}}]}}"));
    bench_run(&b);
    p = cluster_get(b.cluster, "pods", "default", "big");
    assert_string_equal(
        json_text_at(condition_get(json_at(p, "status", "conditions", NULL), "PodScheduled"),
                     "message", NULL),
        "0/1 nodes are available: 1 Insufficient cpu.");
    json_decref(p);
    bench_fini(&b);
}

TEST(deployment_scales_and_goes)
{
    struct bench b;
    struct cluster_delete opt = {.grace_s = -1};
    json_t *d;

    bench_init(&b);
    ready_node(&b, "n1");
    json_decref(make(&b, "deployments.apps",
                     "{'apiVersion':'apps/"
                     "v1','kind':'Deployment','metadata':{'name':'d','namespace':'default'},'spec':"
                     "{'replicas':3,'selector':"
                     "{'matchLabels':{'a':'b'}},'template':" TEMPLATE "}}"));
    bench_run(&b);
    assert_int_equal(count(&b, "replicasets.apps", "default"), 1);
    assert_int_equal(count(&b, "pods", "default"), 3);
    d = cluster_get(b.cluster, "deployments.apps", "default", "d");
    assert_int_equal(json_int_or(json_object_get(d, "status"), "replicas", 0), 3);
    json_decref(d);
    assert_int_equal(cluster_remove(b.cluster, "deployments.apps", "default", "d", &opt, NULL), 0);
    bench_run(&b);
    assert_int_equal(count(&b, "replicasets.apps", "default"), 0);
    /* the pods were assigned: they wait for their kubelet */
    assert_int_equal(count(&b, "pods", "default"), 3);
    bench_fini(&b);
}

TEST(namespace_goes_with_its_contents)
{
    struct bench b;
    struct cluster_delete opt = {.grace_s = -1};

    bench_init(&b);
    json_decref(
        make(&b, "namespaces", "{'apiVersion':'v1','kind':'Namespace','metadata':{'name':'t'}}"));
    bench_run(&b);
    assert_int_equal(count(&b, "serviceaccounts", "t"), 1);
    assert_int_equal(count(&b, "configmaps", "t"), 1);
    assert_int_equal(cluster_remove(b.cluster, "namespaces", "", "t", &opt, NULL), 0);
    bench_run(&b);
    assert_int_equal(count(&b, "configmaps", "t"), 0);
    assert_int_equal(count(&b, "namespaces", NULL), 4);
    bench_fini(&b);
}

TEST(service_gets_its_slice)
{
    struct bench b;
    json_t *s;

    bench_init(&b);
    s = make(&b, "services",
             "{'apiVersion':'v1','kind':'Service','metadata':{'name':'s','namespace':'default'},'"
             "spec':{'selector':{'a':'b'},'ports':[{'port':80}]}}");
    bench_run(&b);
    assert_int_equal(count(&b, "endpointslices.discovery.k8s.io", "default"), 2);
    json_decref(s);
    bench_fini(&b);
}

TEST_MAIN()
