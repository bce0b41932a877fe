/* Pure parts of the pod half: numbers of resources, environment expansion, image names,
 * credentials, resolv.conf, manifests. */
#include "base/test.h"
#include "kubelet/dns.h"
#include "kubelet/env.h"
#include "kubelet/image.h"
#include "kubelet/image_auth.h"
#include "kubelet/image_gc.h"
#include "kubelet/resources.h"
#include "kubelet/source.h"

static K8s__Pod *pod_of(const char *yaml)
{
    struct error *err = NULL;
    K8s__Pod *p = NULL;

    if (static_pod_parse(str_of(yaml), "/etc/manifests/a.yaml", "node1", &p, &err) < 0)
        fail_msg("%s", error_message(err));
    return p;
}
#define HEAD "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec:\n  containers:\n"

TEST(manifest_gets_its_identity)
{
    K8s__Pod *p = pod_of(HEAD "  - {name: c, image: i}\n"),
             *q = pod_of(HEAD "  - {name: c, image: i}\n");
    K8s__Pod *r = pod_of(HEAD "  - {name: c, image: j}\n");

    assert_string_equal(p->metadata->name, "a-node1");
    assert_string_equal(p->metadata->namespace_, "default");
    assert_string_equal(p->metadata->uid, q->metadata->uid);
    assert_string_not_equal(p->metadata->uid, r->metadata->uid);
    assert_string_equal(
        pairs_get(p->metadata->annotations, p->metadata->n_annotations, ANNOTATION_CONFIG_SOURCE),
        "file");
    object_free(p);
    object_free(q);
    object_free(r);
}

TEST(broken_manifests_are_named)
{
    static const char *const bad[] = {
        "kind: Service\napiVersion: v1\n", "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\n", "{",
        "apiVersion: v1\nkind: Pod\nspec: {containers: [{name: c, image: i}]}\n",
        HEAD "  - {name: c}\n"};

    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct error *err = NULL;
        K8s__Pod *p = NULL;

        assert_true(static_pod_parse(str_of(bad[i]), "/m/x.yaml", "n", &p, &err) < 0);
        assert_non_null(strstr(error_message(err), "/m/x.yaml"));
        error_clear(&err);
    }
}

TEST(qos_classes)
{
    static const struct {
        const char *resources, *want;
    } t[] = {
        {"{}", "BestEffort"},
        {"{requests: {cpu: 100m}}", "Burstable"},
        {"{limits: {cpu: 100m}}", "Burstable"},
        {"{limits: {cpu: 100m, memory: 1Mi}}", "Guaranteed"},
        {"{limits: {cpu: 100m, memory: 1Mi}, requests: {cpu: 50m}}", "Burstable"},
        {"{limits: {cpu: 1, memory: 1Gi}, requests: {cpu: 1000m, memory: 1024Mi}}", "Guaranteed"},
    };

    for (size_t i = 0; i < ARRAY_LEN(t); i++) {
        char yaml[512];
        K8s__Pod *p;

        (void)snprintf(yaml, sizeof(yaml), HEAD "  - {name: c, image: i, resources: %s}\n",
                       t[i].resources);
        p = pod_of(yaml);
        assert_string_equal(qos_name(pod_qos(p->spec)), t[i].want);
        object_free(p);
    }
}

TEST(cgroup_numbers)
{
    assert_int_equal(cpu_shares(0), 2);
    assert_int_equal(cpu_shares(1), 2);
    assert_int_equal(cpu_shares(100), 102);
    assert_int_equal(cpu_shares(2000), 2048);
    assert_int_equal(cpu_quota_us(0, 100000), 0);
    assert_int_equal(cpu_quota_us(1, 100000), 1000);
    assert_int_equal(cpu_quota_us(1500, 100000), 150000);
    assert_int_equal(cpu_weight(2), 1);
    assert_int_equal(cpu_weight(262144), 10000);
}

TEST(pod_sums_count_init_stages)
{
    K8s__Pod *p = pod_of(
        "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec:\n  initContainers:\n"
        "  - {name: s, image: i, restartPolicy: Always, resources: {requests: {cpu: 100m}}}\n"
        "  - {name: b, image: i, resources: {requests: {cpu: 500m, memory: 10Mi}}}\n  containers:\n"
        "  - {name: c, image: i, resources: {requests: {cpu: 200m, memory: 4Mi}, limits: {cpu: "
        "1}}}\n");
    struct amounts q = pod_requests(p->spec), l = pod_limits(p->spec);

    assert_int_equal(q.cpu_milli, 600);
    assert_int_equal(q.memory, 10 << 20);
    assert_true(l.cpu_milli < 0);
    assert_true(l.memory < 0);
    object_free(p);
}

TEST(oom_scores)
{
    K8s__Pod *p = pod_of(HEAD "  - {name: c, image: i, resources: {requests: {memory: 1Gi}}}\n");

    assert_int_equal(oom_score_adjust(p->spec, p->spec->containers[0], false, 4LL << 30), 750);
    assert_int_equal(oom_score_adjust(p->spec, p->spec->containers[0], true, 4LL << 30), -997);
    assert_int_equal(oom_score_adjust(p->spec, p->spec->containers[0], false, 1LL << 30), 3);
    object_free(p);
}

static const char *lookup(const char *name, void *arg)
{
    return streq(name, "A") ? "x" : streq(name, "E") ? "" : NULL;
}

TEST(references_expand)
{
    static const struct {
        const char *in, *out;
    } t[] = {
        {"plain", "plain"}, {"$(A)", "x"},    {"a$(A)b$(A)", "axbx"}, {"$(NO)", "$(NO)"},
        {"$$(A)", "$(A)"},  {"$$$(A)", "$x"}, {"$(E)|", "|"},         {"$A", "$A"},
        {"$(A", "$(A"},     {"$", "$"},
    };
    struct arena a;

    arena_init(&a, 256);
    for (size_t i = 0; i < ARRAY_LEN(t); i++)
        assert_string_equal(env_expand(&a, t[i].in, lookup, NULL), t[i].out);
    arena_fini(&a);
}

TEST(image_names)
{
    static const struct {
        const char *in, *out;
    } t[] = {
        {"nginx", "nginx:latest"},
        {"nginx:1.7.9", "nginx:1.7.9"},
        {"localhost:5000/a/b", "localhost:5000/a/b:latest"},
        {"r.io/a@sha256:00", "r.io/a@sha256:00"},
        {"Nginx", NULL},
        {"", NULL},
        {"a b", NULL},
        {"nginx:", NULL},
        {"-x", NULL},
    };

    for (size_t i = 0; i < ARRAY_LEN(t); i++) {
        char *out = NULL;
        bool ok = image_normalise(t[i].in, &out);

        assert_int_equal(ok, t[i].out != NULL);
        if (ok)
            assert_string_equal(out, t[i].out);
        free(out);
    }
}

TEST(credentials_match_their_registry)
{
    assert_true(image_auth_matches("https://index.docker.io/v1/", "nginx"));
    assert_true(image_auth_matches("r.io:5000", "r.io:5000/a/b:1"));
    assert_true(image_auth_matches("r.io/team", "r.io/team/b"));
    assert_false(image_auth_matches("r.io/other", "r.io/team/b"));
    assert_false(image_auth_matches("r.io", "nginx"));
}

TEST(resolv_conf)
{
    Runtime__V1__DNSConfig *d;
    struct arena a;

    arena_init(&a, 512);
    d = object_new(&a, &runtime__v1__dnsconfig__descriptor);
    dns_parse(&a,
              STR("# c\nnameserver 1.1.1.1\nsearch old\nsearch a.b. c\noptions ndots:2 "
                  "rotate\nnameserver\t::1\n"),
              d);
    assert_int_equal(d->n_servers, 2);
    assert_string_equal(d->servers[1], "::1");
    assert_int_equal(d->n_searches, 2);
    assert_string_equal(d->searches[0], "a.b");
    assert_int_equal(d->n_options, 2);
    arena_fini(&a);
}

TEST(resource_fields_divide_and_round_up)
{
    K8s__Pod *p =
        pod_of(HEAD "  - {name: c, image: i, resources: {limits: {cpu: 1500m, memory: 3Mi}}}\n");
    K8s__Container *c = p->spec->containers[0];
    int64_t v;

    assert_int_equal(resource_field(c, "limits.cpu", NULL, 4000, 1 << 30, &v), 0);
    assert_int_equal(v, 2);
    assert_int_equal(resource_field(c, "limits.cpu", "1m", 4000, 1 << 30, &v), 0);
    assert_int_equal(v, 1500);
    assert_int_equal(resource_field(c, "limits.memory", "1Mi", 4000, 1 << 30, &v), 0);
    assert_int_equal(v, 3);
    assert_true(resource_field(c, "limits.gpu", NULL, 4000, 1 << 30, &v) < 0);
    object_free(p);
}

TEST(image_collection_starts_and_ends_at_its_thresholds)
{
    assert_int_equal(image_gc_excess(1000, 500, 85, 80), 0);
    assert_int_equal(image_gc_excess(1000, 160, 85, 80), 0);
    assert_int_equal(image_gc_excess(1000, 150, 85, 80), 50);
    assert_int_equal(image_gc_excess(1000, 0, 85, 80), 200);
    assert_int_equal(image_gc_excess(1000, 0, 100, 80), 0);
    assert_int_equal(image_gc_excess(0, 0, 85, 80), 0);
}

TEST_MAIN()
