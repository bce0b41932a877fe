#include "base/mem.h"
#include "base/test.h"
#include "server/controllers/meta.h"
#include "server/scheduler/filter.h"

static json_t *node(const char *name, const char *cpu, const char *labels, const char *taints)
{
    return json_pack("{s:{s:s,s:o},s:{s:o},s:{s:{s:s,s:s,s:s}}}", "metadata", "name", name,
                     "labels", json_loads(labels, 0, NULL), "spec", "taints",
                     json_loads(taints, 0, NULL), "status", "allocatable", "cpu", cpu, "memory",
                     "1Gi", "pods", "3");
}

static json_t *pod(const char *name, const char *spec, const char *labels)
{
    return json_pack("{s:{s:s,s:s,s:o},s:o}", "metadata", "namespace", "default", "name", name,
                     "labels", json_loads(labels, 0, NULL), "spec", json_loads(spec, 0, NULL));
}

static void add_node(struct snapshot *s, json_t *n)
{
    snapshot_set_node(s, n);
    json_decref(n);
}

static void add_pod(struct snapshot *s, json_t *p, const char *on)
{
    snapshot_set_pod(s, p, on);
    json_decref(p);
}

static void expect(struct snapshot *s, json_t *p, const char *want_node, const char *want_message)
{
    char *message = NULL;
    const char *got = pick_node(s, p, &message);

    if (want_node) {
        assert_non_null(got);
        assert_string_equal(got, want_node);
    } else {
        assert_null(got);
        assert_string_equal(message, want_message);
    }
    free(message);
    json_decref(p);
}

#define C(cpu)                                                                                     \
    "{\"containers\":[{\"name\":\"c\",\"resources\":{\"requests\":{\"cpu\":\"" cpu "\"}}}]}"

TEST(no_nodes)
{
    struct snapshot s;

    snapshot_init(&s);
    expect(&s, pod("p", C("1"), "{}"), NULL, "no nodes available to schedule pods");
    snapshot_fini(&s);
}

TEST(resources_and_message)
{
    struct snapshot s;

    snapshot_init(&s);
    add_node(&s, node("a", "1", "{}", "[]"));
    add_node(&s,
             node("b", "4", "{}", "[{\"key\":\"k\",\"value\":\"v\",\"effect\":\"NoSchedule\"}]"));
    expect(&s, pod("p", C("2"), "{}"), NULL,
           "0/2 nodes are available: 1 Insufficient cpu, 1 node(s) had untolerated taint {k: v}.");
    expect(&s, pod("p", C("1"), "{}"), "a", NULL);
    add_pod(&s, pod("x", C("500m"), "{}"), "a");
    expect(&s, pod("p", C("600m"), "{}"), NULL,
           "0/2 nodes are available: 1 Insufficient cpu, 1 node(s) had untolerated taint {k: v}.");
    snapshot_remove_pod(&s, "default/x");
    expect(&s, pod("p", C("600m"), "{}"), "a", NULL);
    snapshot_fini(&s);
}

TEST(pods_count_and_ports)
{
    const char *port = "{\"containers\":[{\"ports\":[{\"containerPort\":1,\"hostPort\":80}]}]}";
    struct snapshot s;

    snapshot_init(&s);
    add_node(&s, node("a", "4", "{}", "[]"));
    add_pod(&s, pod("x", port, "{}"), "a");
    expect(
        &s, pod("p", port, "{}"), NULL,
        "0/1 nodes are available: 1 node(s) didn't have free ports for the requested pod ports.");
    add_pod(&s, pod("y", C("0"), "{}"), "a");
    add_pod(&s, pod("z", C("0"), "{}"), "a");
    expect(&s, pod("p", C("0"), "{}"), NULL, "0/1 nodes are available: 1 Too many pods.");
    snapshot_fini(&s);
}

TEST(affinity)
{
    const char *field =
        "{\"affinity\":{\"nodeAffinity\":{\"requiredDuringSchedulingIgnoredDuringExecution\":"
        "{\"nodeSelectorTerms\":[{\"matchFields\":[{\"key\":\"metadata.name\","
        "\"operator\":\"In\",\"values\":[\"b\"]}]}]}}}}";
    const char *anti =
        "{\"affinity\":{\"podAntiAffinity\":{\"requiredDuringSchedulingIgnoredDuringExecution\":"
        "[{\"topologyKey\":\"h\",\"labelSelector\":{\"matchLabels\":{\"app\":\"w\"}}}]}}}";
    struct snapshot s;

    snapshot_init(&s);
    add_node(&s, node("a", "4", "{\"h\":\"a\"}", "[]"));
    add_node(&s, node("b", "4", "{\"h\":\"b\"}", "[]"));
    expect(&s, pod("p", field, "{}"), "b", NULL);
    add_pod(&s, pod("w1", anti, "{\"app\":\"w\"}"), "a");
    expect(&s, pod("w2", anti, "{\"app\":\"w\"}"), "b", NULL);
    add_pod(&s, pod("w2", anti, "{\"app\":\"w\"}"), "b");
    expect(&s, pod("w3", anti, "{\"app\":\"w\"}"), NULL,
           "0/2 nodes are available: 2 node(s) didn't match pod anti-affinity rules.");
    expect(&s, pod("w4", C("0"), "{\"app\":\"w\"}"), NULL,
           "0/2 nodes are available: 2 node(s) didn't satisfy existing pods anti-affinity rules.");
    snapshot_fini(&s);
}

TEST(siblings_spread)
{
    struct snapshot s;

    snapshot_init(&s);
    add_node(&s, node("a", "4", "{}", "[]"));
    add_node(&s, node("b", "4", "{}", "[]"));
    add_pod(&s, pod("p1", C("0"), "{\"app\":\"w\"}"), "a");
    expect(&s, pod("p2", C("0"), "{\"app\":\"w\"}"), "b", NULL);
    snapshot_fini(&s);
}

TEST(init_containers_need_the_most)
{
    json_t *p =
        pod("p",
            "{\"containers\":[{\"resources\":{\"requests\":{\"cpu\":\"1\"}}}],\"initContainers\":["
            "{\"resources\":{\"requests\":{\"cpu\":\"3\"}}},"
            "{\"restartPolicy\":\"Always\",\"resources\":{\"requests\":{\"cpu\":\"500m\"}}},"
            "{\"resources\":{\"requests\":{\"cpu\":\"2800m\"}}}]}",
            "{}");
    struct sched_pod *f = sched_pod_new(p);

    assert_int_equal(f->req.cpu_milli, 3300);
    sched_pod_free(f);
    json_decref(p);
}

TEST_MAIN()
