#include "base/mem.h"
#include "base/test.h"
#include "server/controllers/cache.h"
#include "server/controllers/controller.h"
#include "server/controllers/fake_cluster.h"

/* A whole set of controllers on a cluster in memory. The store's changes are played by replaying
 * everything. */
struct bench {
    struct fake_cluster fc;
    struct loop *loop;
    struct controller_set *set;
};

static bool allow(void *arg, const json_t *spec, const char *sub)
{
    (void)arg;
    (void)spec;
    return streq(sub, "nodeclient");
}

static void bench_init(struct bench *b)
{
    struct controllers_config cfg = {.cluster_cidr = "172.30.0.0/16",
                                     .node_cidr_prefix = 24,
                                     .root_ca_pem = "PEM",
                                     .advertise_address = "10.0.0.1",
                                     .service_cidr = "10.254.0.0/16",
                                     .secure_port = 6443,
                                     .allows = allow};

    fake_init(&b->fc);
    b->loop = loop_new();
    b->set = controller_set_new(b->loop, &b->fc.cluster, &cfg);
    bootstrap_objects(&b->set->env);
}

/* Enough rounds for chains: deployment, set, pods, status. */
static void bench_run(struct bench *b)
{
    for (int i = 0; i < 8; i++) {
        controller_set_begin(b->set);
        loop_run_once(b->loop, 0);
    }
}

static void bench_fini(struct bench *b)
{
    controller_set_free(b->set);
    loop_free(b->loop);
    fake_fini(&b->fc);
}

static size_t count(struct bench *b, const char *resource, const char *ns)
{
    json_t *all = cluster_list(&b->fc.cluster, resource, ns);
    size_t n = json_array_size(all);

    json_decref(all);
    return n;
}

TEST(bootstrap)
{
    struct bench b;
    json_t *o;

    bench_init(&b);
    bench_run(&b);
    assert_int_equal(count(&b, "namespaces", NULL), 4);
    assert_int_equal(count(&b, "serviceaccounts", NULL), 4);
    o = cluster_get(&b.fc.cluster, "services", "default", "kubernetes");
    assert_string_equal(json_text_at(o, "spec", "clusterIP", NULL), "10.254.0.1");
    json_decref(o);
    o = cluster_get(&b.fc.cluster, "configmaps", "default", "kube-root-ca.crt");
    assert_string_equal(json_text_at(o, "data", "ca.crt", NULL), "PEM");
    json_decref(o);
    o = cluster_get(&b.fc.cluster, "endpoints", "default", "kubernetes");
    assert_non_null(o);
    json_decref(o);
    bench_fini(&b);
}

TEST(deployment_to_pods)
{
    struct bench b;
    json_t *o;

    bench_init(&b);
    fake_put(
        &b.fc, "deployments.apps",
        "{'metadata':{'name':'d','namespace':'default'},'spec':{'replicas':3,'selector':{'"
        "matchLabels':{'a':'b'}},'template':"
        "{'metadata':{'labels':{'a':'b'}},'spec':{'containers':[{'name':'c','image':'i'}]}}}}");
    bench_run(&b);
    assert_int_equal(count(&b, "replicasets.apps", "default"), 1);
    assert_int_equal(count(&b, "pods", "default"), 3);
    o = cluster_get(&b.fc.cluster, "deployments.apps", "default", "d");
    assert_int_equal(json_int_or(json_object_get(o, "status"), "replicas", 0), 3);
    assert_string_equal(meta_annotation(o, "deployment.kubernetes.io/revision"), "1");
    json_decref(o);
    /* the owner goes: so does all it made */
    o = cluster_get(&b.fc.cluster, "deployments.apps", "default", "d");
    fake_remove(&b.fc, "deployments.apps", "default", "d");
    controller_set_change(b.set, "deployments.apps", CLUSTER_DELETED, o);
    json_decref(o);
    loop_run_once(b.loop, 0);
    assert_int_equal(count(&b, "replicasets.apps", "default"), 0);
    bench_fini(&b);
}

TEST(daemon_and_endpoints)
{
    struct bench b;
    json_t *all, *pod;

    bench_init(&b);
    fake_put(
        &b.fc, "nodes",
        "{'metadata':{'name':'n1'},'status':{'conditions':[{'type':'Ready','status':'True'}]}}");
    fake_put(
        &b.fc, "daemonsets.apps",
        "{'metadata':{'name':'d','namespace':'default'},'spec':{'selector':{'matchLabels':{'a':'b'}"
        "},'template':"
        "{'metadata':{'labels':{'a':'b'}},'spec':{'containers':[{'name':'c','image':'i'}]}}}}");
    fake_put(&b.fc, "services",
             "{'metadata':{'name':'s','namespace':'default'},'spec':{'selector':{'a':'b'},'ports':["
             "{'port':80,'targetPort':80}]}}");
    bench_run(&b);
    assert_int_equal(count(&b, "pods", "default"), 1);
    all = cluster_list(&b.fc.cluster, "pods", "default");
    pod = json_array_get(all, 0);
    json_set_text(json_object_need(pod, "spec"), "nodeName", "n1");
    json_object_set_new(pod, "status",
                        fake_json("{'podIP':'172.30.0.5','phase':'Running','conditions':[{'type':'"
                                  "Ready','status':'True'}]}"));
    json_decref(all);
    bench_run(&b);
    all = cluster_get(&b.fc.cluster, "endpoints", "default", "s");
    assert_string_equal(
        json_text_at(
            json_array_get(
                json_object_get(json_array_get(json_object_get(all, "subsets"), 0), "addresses"),
                0),
            "ip", NULL),
        "172.30.0.5");
    json_decref(all);
    all = cluster_get(&b.fc.cluster, "nodes", "", "n1");
    assert_string_equal(json_text_at(all, "spec", "podCIDR", NULL), "172.30.0.0/24");
    json_decref(all);
    all = cluster_get(&b.fc.cluster, "daemonsets.apps", "default", "d");
    assert_int_equal(json_int_or(json_object_get(all, "status"), "numberReady", 0), 1);
    json_decref(all);
    bench_fini(&b);
}

TEST(namespace_empties)
{
    struct bench b;
    json_t *o;

    bench_init(&b);
    fake_put(&b.fc, "namespaces",
             "{'metadata':{'name':'t','deletionTimestamp':'2026-01-01T00:00:00Z'},'spec':{'"
             "finalizers':['kubernetes']}}");
    fake_put(&b.fc, "configmaps", "{'metadata':{'name':'c','namespace':'t'}}");
    fake_put(&b.fc, "configmaps", "{'metadata':{'name':'c','namespace':'default'}}");
    bench_run(&b);
    assert_int_equal(count(&b, "configmaps", "t"), 0);
    assert_int_equal(count(&b, "configmaps", "default"), 2);
    o = cluster_get(&b.fc.cluster, "namespaces", "", "t");
    assert_int_equal(json_array_size(json_at(o, "spec", "finalizers", NULL)), 0);
    json_decref(o);
    bench_fini(&b);
}

TEST(hand_written_endpoints_are_mirrored)
{
    struct bench b;
    json_t *all;

    bench_init(&b);
    fake_put(&b.fc, "services",
             "{'metadata':{'name':'db','namespace':'default'},'spec':{'ports':[{'port':5432}]}}");
    fake_put(&b.fc, "endpoints",
             "{'metadata':{'name':'db','namespace':'default'},'subsets':[{'addresses':[{'ip':'192."
             "0.2.1'}],'ports':[{'port':5432}]}]}");
    bench_run(&b);
    assert_int_equal(count(&b, "endpointslices.discovery.k8s.io", "default"),
                     2); /* kubernetes is not mirrored */
    fake_remove(&b.fc, "endpoints", "default", "db");
    all = fake_json("{'metadata':{'name':'db','namespace':'default'}}");
    controller_set_change(b.set, "endpoints", CLUSTER_DELETED, all);
    json_decref(all);
    loop_run_once(b.loop, 0);
    assert_int_equal(count(&b, "endpointslices.discovery.k8s.io", "default"), 1);
    bench_fini(&b);
}

TEST(cache_follows_changes_and_keeps_pods_slim)
{
    struct fake_cluster fc;
    struct cache c;
    json_t *pod = fake_json("{'metadata':{'name':'p','namespace':'x','resourceVersion':'7','labels'"
                            ":{'a':'b'}},'spec':{'nodeName':'n',"
                            "'containers':[{'image':'i','ports':[{'name':'w','containerPort':80}]},"
                            "{'image':'j'}],'volumes':[{}]}}");
    json_t *all, *p;

    fake_init(&fc);
    fake_put(&fc, "services", "{'metadata':{'name':'s','namespace':'x'}}");
    fake_put(&fc, "nodes", "{'metadata':{'name':'n'}}");
    cache_init(&c, &fc.cluster);
    cache_change(&c, "pods", CLUSTER_ADDED, pod);
    all = cluster_list(&c.cluster, "pods", "x");
    assert_int_equal(json_array_size(all), 1);
    p = json_array_get(all, 0);
    assert_string_equal(meta_version(p), "slim");
    assert_string_equal(json_text_at(p, "spec", "nodeName", NULL), "n");
    assert_int_equal(json_array_size(json_at(p, "spec", "containers", NULL)), 1);
    assert_null(json_at(p, "spec", "volumes", NULL));
    json_decref(all);
    p = cluster_get(&c.cluster, "services", "x", "s");
    assert_non_null(p);
    json_decref(p);
    assert_null(cluster_get(&c.cluster, "pods", "x", "p")); /* whole pods come from below */
    all = cluster_list(&c.cluster, "nodes", NULL);
    assert_int_equal(json_array_size(all), 1);
    json_decref(all);
    cache_change(&c, "pods", CLUSTER_DELETED, pod);
    all = cluster_list(&c.cluster, "pods", NULL);
    assert_int_equal(json_array_size(all), 0);
    json_decref(all);
    json_decref(pod);
    cache_fini(&c);
    fake_fini(&fc);
}

TEST(expired_token_goes)
{
    struct bench b;

    bench_init(&b);
    fake_put(&b.fc, "secrets",
             "{'metadata':{'name':'bootstrap-token-a','namespace':'kube-system'},'type':'bootstrap."
             "kubernetes.io/token',"
             "'data':{'expiration':'MjAyMC0wMS0wMVQwMDowMDowMFo='}}");
    fake_put(&b.fc, "secrets",
             "{'metadata':{'name':'bootstrap-token-b','namespace':'kube-system'},'type':'bootstrap."
             "kubernetes.io/token',"
             "'data':{'expiration':'MjA5OS0wMS0wMVQwMDowMDowMFo='}}");
    bench_run(&b);
    assert_int_equal(count(&b, "secrets", "kube-system"), 1);
    bench_fini(&b);
}

struct tries {
    int n;
    enum queue_verdict verdict;
};
static enum queue_verdict try_once(struct queue *q, const char *key, void *arg)
{
    struct tries *t = arg;

    (void)q;
    assert_string_equal(key, "k");
    t->n++;
    return t->n < 3 ? QUEUE_RETRY : QUEUE_DONE;
}

TEST(queue_retries_and_forgets)
{
    struct loop *l = loop_new();
    struct tries t = {0};
    struct queue q;

    queue_init(&q, l, try_once, &t);
    queue_add(&q, "k");
    queue_add(&q, "k");
    for (int i = 0; i < 20 && t.n < 3; i++)
        loop_run_once(l, 200);
    assert_int_equal(t.n, 3);
    assert_int_equal(queue_size(&q), 0);
    queue_fini(&q);
    loop_free(l);
}

TEST_MAIN()
