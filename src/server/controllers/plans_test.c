#include "base/mem.h"
#include "base/test.h"
#include "server/controllers/daemonset_plan.h"
#include "server/controllers/deployment_plan.h"
#include "server/controllers/endpoints_build.h"
#include "server/controllers/fake_cluster.h"
#include "server/controllers/job_plan.h"
#include "server/controllers/meta.h"
#include "server/controllers/node_taints.h"
#include "server/controllers/pod_template.h"
#include "server/controllers/replicaset.h"
#include "server/controllers/selector.h"

static void same(json_t *got, const char *want)
{
    json_t *w = fake_json(want);

    if (!json_equal(got, w)) {
        char *text = json_dumps(got, JSON_COMPACT);

        print_message("got %s\n", text);
        free(text);
    }
    assert_true(json_equal(got, w));
    json_decref(got);
    json_decref(w);
}

#define DS                                                                                         \
    "{'metadata':{'name':'d','namespace':'x','uid':'u','generation':1},'spec':{'selector':{'"      \
    "matchLabels':{'a':'b'}},"                                                                     \
    "'template':{'metadata':{'labels':{'a':'b'}},'spec':{'containers':[{'name':'c','image':'i'}]}" \
    "},"                                                                                           \
    "'updateStrategy':{'type':'RollingUpdate','rollingUpdate':{'maxUnavailable':1}}}}"

TEST(daemon_runs_where_it_may)
{
    json_t *ds = fake_json(DS), *plain = fake_json("{'metadata':{'name':'n1'}}");
    json_t *tainted = fake_json(
        "{'metadata':{'name':'n2'},'spec':{'taints':[{'key':'k','effect':'NoSchedule'}]}}");
    json_t *cordoned = fake_json("{'metadata':{'name':'n3'},'spec':{'taints':[{'key':'node."
                                 "kubernetes.io/unschedulable','effect':'NoSchedule'}]}}");
    json_t *evil = fake_json(
        "{'metadata':{'name':'n4'},'spec':{'taints':[{'key':'k','effect':'NoExecute'}]}}");

    assert_int_equal(daemon_should_run(ds, plain), DAEMON_RUN | DAEMON_CONTINUE);
    assert_int_equal(daemon_should_run(ds, tainted), DAEMON_CONTINUE);
    assert_int_equal(daemon_should_run(ds, cordoned), DAEMON_RUN | DAEMON_CONTINUE);
    assert_int_equal(daemon_should_run(ds, evil), 0);
    json_object_set_new(json_at(ds, "spec", "template", "spec", NULL), "nodeSelector",
                        fake_json("{'disk':'ssd'}"));
    assert_int_equal(daemon_should_run(ds, plain), 0);
    json_decref(ds);
    json_decref(plain);
    json_decref(tainted);
    json_decref(cordoned);
    json_decref(evil);
}

TEST(daemon_pod_is_pinned)
{
    json_t *ds = fake_json(DS), *pod = daemon_pod(ds, "n1", "hash");

    assert_string_equal(daemon_pod_node(pod), "n1");
    assert_string_equal(meta_label(pod, "controller-revision-hash"), "hash");
    assert_int_equal(json_array_size(json_at(pod, "spec", "tolerations", NULL)), 6);
    assert_true(meta_controlled_by(pod, "u"));
    json_decref(pod);
    json_decref(ds);
}

static json_t *dpod(const char *name, const char *node, const char *hash, bool ready)
{
    return json_pack("{s:{s:s,s:s,s:{s:s}},s:{s:s},s:{s:s,s:[{s:s,s:s,s:s}]}}", "metadata", "name",
                     name, "namespace", "x", "labels", "controller-revision-hash", hash, "spec",
                     "nodeName", node, "status", "phase", "Running", "conditions", "type", "Ready",
                     "status", ready ? "True" : "False", "lastTransitionTime",
                     "2020-01-01T00:00:00Z");
}

TEST(daemon_rolls_one_at_a_time)
{
    json_t
        *ds = fake_json(DS),
        *nodes = fake_json(
            "[{'metadata':{'name':'n1'}},{'metadata':{'name':'n2'}},{'metadata':{'name':'n3'}}]");
    json_t *pods = json_pack("[o,o,o]", dpod("p1", "n1", "old", true),
                             dpod("p2", "n2", "old", true), dpod("gone", "n9", "old", true));
    struct daemon_plan plan;

    daemon_plan(ds, nodes, pods, "new", &plan);
    same(json_incref(plan.create), "['n3']");
    /* the stray of a node that is gone; n3 has none, so nothing more may be missing */
    assert_int_equal(json_array_size(plan.remove), 1);
    assert_string_equal(meta_name(json_array_get(plan.remove, 0)), "gone");
    assert_int_equal(json_int_or(plan.status, "numberUnavailable", 0), 1);
    daemon_plan_fini(&plan);
    json_array_append_new(pods, dpod("p3", "n3", "new", true));
    daemon_plan(ds, nodes, pods, "new", &plan);
    assert_int_equal(json_array_size(plan.create), 0);
    assert_int_equal(json_array_size(plan.remove), 2);
    assert_int_equal(json_int_or(plan.status, "updatedNumberScheduled", 0), 1);
    daemon_plan_fini(&plan);
    json_decref(ds);
    json_decref(nodes);
    json_decref(pods);
}

#define SVC                                                                                        \
    "{'metadata':{'name':'s','namespace':'x'},'spec':{'selector':{'a':'b'},'ports':[{'port':80,'"  \
    "targetPort':'web','protocol':'TCP'}]}}"
#define POD(name, ip, ready, more)                                                                 \
    "{'metadata':{'name':'" name "','namespace':'x','uid':'" name "','labels':{'a':'b'}" more      \
    "},'spec':{'nodeName':'n','containers':[{'ports':["                                            \
    "{'name':'web','containerPort':8080,'protocol':'TCP'}]}]},'status':{'podIP':'" ip              \
    "','conditions':[{'type':'Ready','status':'" ready "'}]}}"

TEST(endpoints_of_a_service)
{
    json_t *s = fake_json(SVC),
           *pods = fake_json(
               "[" POD("q", "10.0.0.2", "False", "") "," POD("p", "10.0.0.1", "True", "") "," POD(
                   "r", "10.0.0.3", "True", ",'deletionTimestamp':'2026-01-01T00:00:00Z'") "]");
    json_t *nodes =
        fake_json("{'n':{'metadata':{'name':'n','labels':{'topology.kubernetes.io/zone':'z'}}}}");

    same(endpoints_subsets(s, pods),
         "[{'ports':[{'port':8080,'protocol':'TCP'}],'addresses':[{'ip':'10.0.0.1','nodeName':'n','"
         "targetRef':{'kind':'Pod','name':'p',"
         "'namespace':'x','uid':'p'}}],'notReadyAddresses':[{'ip':'10.0.0.2','nodeName':'n','"
         "targetRef':{'kind':'Pod','name':'q',"
         "'namespace':'x','uid':'q'}}]}]");
    same(endpoints_slices(s, pods, nodes),
         "[{'ports':[{'name':'','port':8080,'protocol':'TCP'}],'endpoints':["
         "{'addresses':['10.0.0.1'],'conditions':{'ready':true,'serving':true,'terminating':false},"
         "'nodeName':'n','zone':'z',"
         "'targetRef':{'kind':'Pod','name':'p','namespace':'x','uid':'p'}},"
         "{'addresses':['10.0.0.2'],'conditions':{'ready':false,'serving':false,'terminating':"
         "false},'nodeName':'n','zone':'z',"
         "'targetRef':{'kind':'Pod','name':'q','namespace':'x','uid':'q'}},"
         "{'addresses':['10.0.0.3'],'conditions':{'ready':false,'serving':true,'terminating':true},"
         "'nodeName':'n','zone':'z',"
         "'targetRef':{'kind':'Pod','name':'r','namespace':'x','uid':'r'}}]}]");
    json_array_clear(pods);
    same(endpoints_slices(s, pods, nodes), "[{'ports':[],'endpoints':[]}]");
    json_decref(s);
    json_decref(pods);
    json_decref(nodes);
}

static json_t *set(const char *name, const char *image, int size, int available, const char *made)
{
    return json_pack("{s:{s:s,s:s,s:{s:s}},s:{s:i,s:{s:{s:{s:s,s:s}},s:{s:s}}},s:{s:i,s:i}}",
                     "metadata", "name", name, "creationTimestamp", made, "annotations", REVISION,
                     "1", "spec", "replicas", size, "template", "metadata", "labels", "a", "b",
                     "pod-template-hash", name, "spec", "image", image, "status", "replicas", size,
                     "availableReplicas", available);
}

#define DEP(strategy)                                                                              \
    "{'metadata':{'name':'d','namespace':'x'},'spec':{'replicas':4,'strategy':" strategy           \
    ",'selector':{'matchLabels':{'a':'b'}},'template':"                                            \
    "{'metadata':{'labels':{'a':'b'}},'spec':{'image':'two'}}}}"
#define ROLL "{'type':'RollingUpdate','rollingUpdate':{'maxSurge':'25%','maxUnavailable':'25%'}}"

TEST(deployment_rolls)
{
    json_t *d = fake_json(DEP(ROLL));
    json_t *sets = json_pack("[o,o]", set("one", "one", 4, 4, "2020-01-01T00:00:00Z"),
                             set("two", "two", 0, 0, "2021-01-01T00:00:00Z"));

    assert_string_equal(meta_name(deployment_new_set(d, sets)), "two");
    same(deployment_scale(d, sets, false), "{'two':1}");
    json_array_set_new(sets, 1, set("two", "two", 1, 0, "2021-01-01T00:00:00Z"));
    same(deployment_scale(d, sets, false), "{'one':3}");
    json_array_set_new(sets, 0, set("one", "one", 3, 3, "2020-01-01T00:00:00Z"));
    same(deployment_scale(d, sets, false), "{'two':2}");
    json_array_set_new(sets, 0, set("one", "one", 0, 0, "2020-01-01T00:00:00Z"));
    same(deployment_scale(d, sets, false), "{'two':4}");
    json_decref(sets);
    json_decref(d);
}

TEST(deployment_recreates)
{
    json_t *d = fake_json(DEP("{'type':'Recreate'}"));
    json_t *sets = json_pack("[o,o]", set("one", "one", 4, 4, "2020-01-01T00:00:00Z"),
                             set("two", "two", 0, 0, "2021-01-01T00:00:00Z"));

    same(deployment_scale(d, sets, true), "{'one':0}");
    json_array_set_new(sets, 0, set("one", "one", 0, 0, "2020-01-01T00:00:00Z"));
    same(deployment_scale(d, sets, true), "{}");
    same(deployment_scale(d, sets, false), "{'two':4}");
    json_decref(sets);
    json_decref(d);
}

TEST(deployment_history)
{
    json_t *d = fake_json(DEP(ROLL)), *sets = json_array(), *excess;

    json_object_set_new(json_object_get(d, "spec"), "revisionHistoryLimit", json_integer(1));
    json_array_append_new(sets, set("a", "one", 0, 0, "2020-01-01T00:00:00Z"));
    json_array_append_new(sets, set("b", "three", 0, 0, "2020-01-02T00:00:00Z"));
    json_array_append_new(sets, set("c", "two", 4, 4, "2020-01-03T00:00:00Z"));
    excess = deployment_excess(d, sets);
    assert_int_equal(json_array_size(excess), 1);
    assert_string_equal(meta_name(json_array_get(excess, 0)), "a");
    json_decref(excess);
    json_decref(sets);
    json_decref(d);
}

TEST(replicas_that_go_first)
{
    json_t *rs = fake_json("{'spec':{'replicas':1}}"), *victims;
    json_t *pods = fake_json(
        "[{'metadata':{'name':'ready'},'spec':{'nodeName':'n'},'status':{'phase':'Running','"
        "conditions':[{'type':'Ready','status':'True'}]}},"
        "{'metadata':{'name':'running'},'spec':{'nodeName':'n'},'status':{'phase':'Running'}},"
        "{'metadata':{'name':'unassigned'},'spec':{}},"
        "{'metadata':{'name':'failed'},'spec':{'nodeName':'n'},'status':{'phase':'Failed'}}]");

    assert_int_equal(replica_plan(rs, pods, &victims), -2);
    assert_string_equal(meta_name(json_array_get(victims, 0)), "unassigned");
    assert_string_equal(meta_name(json_array_get(victims, 1)), "running");
    json_decref(victims);
    json_decref(pods);
    json_decref(rs);
}

TEST(taints_follow_conditions)
{
    json_t *n = fake_json("{'spec':{'taints':[{'key':'mine','effect':'NoSchedule'},{'key':'node."
                          "kubernetes.io/not-ready','effect':'NoSchedule'}]},"
                          "'status':{'conditions':[{'type':'Ready','status':'True'}]}}");

    same(node_taints_wanted(n), "[{'key':'mine','effect':'NoSchedule'}]");
    json_object_del(n, "status");
    same(node_taints_wanted(n), "[{'key':'mine','effect':'NoSchedule'},{'key':'node.kubernetes.io/"
                                "not-ready','effect':'NoSchedule'}]");
    json_decref(n);
}

TEST(eviction_waits_for_tolerations)
{
    json_t *n = fake_json("{'spec':{'taints':[{'key':'k','effect':'NoExecute','timeAdded':'1970-01-"
                          "01T00:01:40Z'}]}}");
    json_t *p = fake_json("{'spec':{'tolerations':[{'key':'k','operator':'Exists','effect':'"
                          "NoExecute','tolerationSeconds':300}]}}");
    json_t *q = fake_json("{'spec':{'tolerations':[{'operator':'Exists'}]}}"),
           *none = fake_json("{'spec':{}}");

    assert_int_equal(pod_eviction_in(p, n, 150), 250);
    assert_int_equal(pod_eviction_in(p, n, 500), 0);
    assert_int_equal(pod_eviction_in(q, n, 500), -1);
    assert_int_equal(pod_eviction_in(none, n, 150), 0);
    json_decref(n);
    json_decref(p);
    json_decref(q);
    json_decref(none);
}

static json_t *jpod(const char *name, const char *phase)
{
    return json_pack("{s:{s:s,s:s},s:{s:s}}", "metadata", "name", name, "creationTimestamp",
                     "1970-01-01T00:01:40Z", "status", "phase", phase);
}

TEST(job_runs_until_enough_succeeded)
{
    json_t *job = fake_json("{'spec':{'completions':3,'parallelism':2,'backoffLimit':1}}"),
           *pods = json_array();
    struct job_plan p;

    job_plan(job, pods, 100, &p);
    assert_int_equal(p.create, 2);
    assert_non_null(json_object_get(p.status, "startTime"));
    job_plan_fini(&p);
    json_array_append_new(pods, jpod("a", "Succeeded"));
    json_array_append_new(pods, jpod("b", "Succeeded"));
    job_plan(job, pods, 100, &p);
    assert_int_equal(p.create, 1);
    job_plan_fini(&p);
    json_array_append_new(pods, jpod("c", "Failed"));
    job_plan(job, pods, 105, &p); /* 5 s after the failure */
    assert_int_equal(p.create, 0);
    assert_int_equal(p.wait_s, 5);
    job_plan_fini(&p);
    job_plan(job, pods, 111, &p);
    assert_int_equal(p.create, 1);
    job_plan_fini(&p);
    json_array_append_new(pods, jpod("d", "Succeeded"));
    job_plan(job, pods, 111, &p);
    assert_string_equal(p.finished, "Complete");
    assert_true(job_done(p.status));
    job_plan_fini(&p);
    json_decref(job);
    json_decref(pods);
}

TEST(job_gives_up)
{
    json_t *job = fake_json("{'spec':{'completions':1,'parallelism':1,'backoffLimit':1}}");
    json_t *pods =
        json_pack("[o,o,o]", jpod("a", "Failed"), jpod("b", "Failed"), jpod("c", "Running"));
    struct job_plan p;

    job_plan(job, pods, 200, &p);
    assert_string_equal(p.finished, "Failed");
    assert_int_equal(json_array_size(p.remove), 1);
    assert_string_equal(
        json_text_at(condition_get(json_object_get(p.status, "conditions"), "Failed"), "reason",
                     NULL),
        "BackoffLimitExceeded");
    job_plan_fini(&p);
    json_decref(job);
    json_decref(pods);
}

TEST(job_deadline_and_suspend)
{
    json_t *job = fake_json("{'spec':{'parallelism':1,'activeDeadlineSeconds':60},'status':{'"
                            "startTime':'1970-01-01T00:01:40Z'}}");
    json_t *pods = json_pack("[o]", jpod("c", "Running"));
    struct job_plan p;

    job_plan(job, pods, 130, &p);
    assert_null(p.finished);
    assert_int_equal(p.wait_s, 30);
    job_plan_fini(&p);
    job_plan(job, pods, 161, &p);
    assert_string_equal(p.finished, "Failed");
    job_plan_fini(&p);
    json_object_set_new(json_object_get(job, "spec"), "suspend", json_true());
    job_plan(job, pods, 130, &p);
    assert_int_equal(json_array_size(p.remove), 1);
    assert_null(p.finished);
    job_plan_fini(&p);
    json_decref(job);
    json_decref(pods);
}

TEST(selectors)
{
    json_t *labels = fake_json("{'a':'b','n':'5'}"),
           *s = fake_json("{'matchExpressions':[{'key':'a','operator':'In','values':['b']},"
                          "{'key':'z','operator':'DoesNotExist'}]}");
    json_t *empty = json_object();

    assert_true(selector_matches(s, labels));
    assert_true(selector_matches(empty, labels));
    assert_false(selector_matches(NULL, labels));
    assert_false(selector_map_matches(empty, labels));
    json_decref(labels);
    json_decref(s);
    json_decref(empty);
}

TEST_MAIN()
