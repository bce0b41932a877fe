#include "server/admission/admission.h"
#include "base/mem.h"
#include "base/test.h"
#include "server/controllers/meta.h"
#include "server/controllers/fake_cluster.h"

static struct admission *admission_on(struct fake_cluster *fc)
{
    struct admission_config cfg = {.cluster = &fc->cluster,
                                   .service_cidr = "10.254.0.0/24",
                                   .node_port_min = 30000,
                                   .node_port_max = 30001};
    struct admission *a = NULL;

    fake_init(fc);
    fake_put(fc, "namespaces", "{'metadata':{'name':'default'}}");
    fake_put(fc, "namespaces",
             "{'metadata':{'name':'going','deletionTimestamp':'2026-01-01T00:00:00Z'}}");
    fake_put(fc, "serviceaccounts", "{'metadata':{'name':'default','namespace':'default'}}");
    assert_int_equal(admission_new(&cfg, &a, NULL), 0);
    return a;
}

/* Admits text; the object (owned) or NULL, then *ret_message is owned. */
static json_t *admit(struct admission *a, const char *resource, const char *kind, const char *ns,
                     const char *text, const json_t *old, char **ret_message)
{
    struct admission_request r = {.op = old ? ADMISSION_UPDATE : ADMISSION_CREATE,
                                  .resource = resource,
                                  .kind = kind,
                                  .ns = ns,
                                  .name = "",
                                  .old = old};
    struct admission_failure f = {0};
    json_t *o = fake_json(text);

    r.object = o;
    *ret_message = NULL;
    if (admission_mutate(a, &r, &f) == 0 && admission_validate(a, &r, &f) == 0)
        return o;
    *ret_message = xstrdup(f.message);
    admission_failure_fini(&f);
    json_decref(o);
    return NULL;
}

static void refuses(struct admission *a, const char *resource, const char *kind, const char *ns,
                    const char *text, const char *want)
{
    char *message;
    json_t *o = admit(a, resource, kind, ns, text, NULL, &message);

    assert_null(o);
    assert_string_equal(message, want);
    free(message);
}

TEST(pod_defaults)
{
    struct fake_cluster fc;
    struct admission *a = admission_on(&fc);
    char *m;
    json_t *o = admit(a, "pods", "Pod", "default",
                      "{'metadata':{'name':'p'},'spec':{'containers':[{'name':'c','image':'nginx',"
                      "'ports':[{'containerPort':80}],'resources':{'limits':{'cpu':1}}}]}}",
                      NULL, &m);
    const json_t *c;

    assert_non_null(o);
    c = json_array_get(json_at(o, "spec", "containers", NULL), 0);
    assert_string_equal(json_text_at(c, "imagePullPolicy", NULL), "Always");
    assert_string_equal(json_text_at(c, "resources", "requests", "cpu", NULL), "1");
    assert_string_equal(
        json_text_at(json_array_get(json_object_get(c, "ports"), 0), "protocol", NULL), "TCP");
    assert_string_equal(json_text_at(o, "spec", "serviceAccountName", NULL), "default");
    assert_int_equal(json_array_size(json_at(o, "spec", "tolerations", NULL)), 2);
    assert_int_equal(json_array_size(json_at(o, "spec", "volumes", NULL)), 1);
    assert_string_equal(json_text_at(o, "status", "qosClass", NULL), "Burstable");
    json_decref(o);
    admission_free(a);
    fake_fini(&fc);
}

TEST(pod_refusals)
{
    struct fake_cluster fc;
    struct admission *a = admission_on(&fc);

    refuses(a, "pods", "Pod", "default", "{'metadata':{'name':'p'},'spec':{}}",
            "Pod \"p\" is invalid: spec.containers: Required value");
    refuses(
        a, "pods", "Pod", "default",
        "{'metadata':{'name':'p'},'spec':{'restartPolicy':'x','containers':[{'name':'a','image':'i'"
        "},{'name':'a'}]}}",
        "Pod \"p\" is invalid: [spec.containers[1].name: Duplicate value: \"a\", "
        "spec.containers[1].image: Required value, spec.restartPolicy: Unsupported value: \"x\": "
        "supported values: \"Always\", \"Never\", \"OnFailure\"]");
    refuses(a, "pods", "Pod", "default",
            "{'metadata':{'name':'p'},'spec':{'serviceAccountName':'x','containers':[{'name':'a','"
            "image':'i'}]}}",
            "pods \"p\" is forbidden: error looking up service account default/x: serviceaccount "
            "\"x\" not found");
    refuses(a, "pods", "Pod", "nope", "{'metadata':{'name':'p'},'spec':{}}",
            "namespaces \"nope\" not found");
    refuses(a, "configmaps", "ConfigMap", "going", "{'metadata':{'name':'c'}}",
            "configmaps \"c\" is forbidden: unable to create new content in namespace going "
            "because it is "
            "being terminated");
    admission_free(a);
    fake_fini(&fc);
}

static json_t *service(struct admission *a, const char *text, const json_t *old)
{
    char *m;
    json_t *o = admit(a, "services", "Service", "default", text, old, &m);

    if (!o)
        print_message("%s\n", m);
    assert_non_null(o);
    return o;
}

TEST(service_addresses_and_ports)
{
    struct fake_cluster fc;
    struct admission *a = admission_on(&fc);
    json_t *x = service(
        a, "{'metadata':{'name':'x'},'spec':{'type':'NodePort','ports':[{'port':80}]}}", NULL);
    json_t *y = service(a,
                        "{'metadata':{'name':'y'},'spec':{'clusterIP':'10.254.0.10','type':'"
                        "NodePort','ports':[{'port':80}]}}",
                        NULL);
    const char *ip = json_text_at(x, "spec", "clusterIP", NULL);
    json_t *z;

    assert_true(strstarts(ip, "10.254.0."));
    assert_int_equal(
        json_int_or(json_array_get(json_at(x, "spec", "ports", NULL), 0), "targetPort", 0), 80);
    assert_int_equal(
        json_int_or(json_array_get(json_at(x, "spec", "ports", NULL), 0), "nodePort", 0) +
            json_int_or(json_array_get(json_at(y, "spec", "ports", NULL), 0), "nodePort", 0),
        60001);
    json_object_set_new(json_object_get(x, "metadata"), "namespace", json_string("default"));
    json_object_set_new(json_object_get(y, "metadata"), "namespace", json_string("default"));
    fake_put_json(&fc, "services", json_incref(x));
    fake_put_json(&fc, "services", json_incref(y));
    refuses(a, "services", "Service", "default",
            "{'metadata':{'name':'z'},'spec':{'clusterIP':'10.254.0.10','ports':[{'port':80}]}}",
            "Service \"z\" is invalid: spec.clusterIPs: Invalid value: [\"10.254.0.10\"]: failed "
            "to allocate IP "
            "10.254.0.10: provided IP is already allocated");
    refuses(
        a, "services", "Service", "default",
        "{'metadata':{'name':'z'},'spec':{'type':'NodePort','ports':[{'port':80,'nodePort':80}]}}",
        "Service \"z\" is invalid: spec.ports[0].nodePort: Invalid value: 80: provided port is not "
        "in the valid "
        "range. The range of valid ports is 30000-30001");
    z = service(a, "{'metadata':{'name':'x'},'spec':{'type':'ClusterIP','ports':[{'port':80}]}}",
                x);
    assert_string_equal(json_text_at(z, "spec", "clusterIP", NULL), ip);
    json_decref(z);
    fake_remove(&fc, "services", "default", "y");
    admission_released(a, "services", y);
    z = service(
        a, "{'metadata':{'name':'w'},'spec':{'clusterIP':'10.254.0.10','ports':[{'port':80}]}}",
        NULL);
    json_decref(z);
    json_decref(x);
    json_decref(y);
    admission_free(a);
    fake_fini(&fc);
}

TEST(workload_rules)
{
    struct fake_cluster fc;
    struct admission *a = admission_on(&fc);
    char *m;
    json_t *o;

    refuses(a, "deployments.apps", "Deployment", "default",
            "{'metadata':{'name':'d'},'spec':{'selector':{'matchLabels':{'a':'b'}},'template':{'"
            "metadata':{'labels':{'a':'c'}},"
            "'spec':{'containers':[{'name':'c','image':'i'}]}}}}",
            "Deployment \"d\" is invalid: spec.template.metadata.labels: Invalid value: "
            "{\"a\":\"c\"}: `selector` does not "
            "match template `labels`");
    o = admit(a, "deployments.apps", "Deployment", "default",
              "{'metadata':{'name':'d'},'spec':{'selector':{'matchLabels':{'a':'b'}},'template':{'"
              "metadata':{'labels':{'a':'b'}},"
              "'spec':{'containers':[{'name':'c','image':'i'}]}}}}",
              NULL, &m);
    assert_non_null(o);
    assert_int_equal(json_int_or(json_object_get(o, "metadata"), "generation", 0), 1);
    assert_string_equal(json_text_at(o, "spec", "strategy", "rollingUpdate", "maxSurge", NULL),
                        "25%");
    json_decref(o);
    admission_free(a);
    fake_fini(&fc);
}

TEST(names)
{
    struct fake_cluster fc;
    struct admission *a = admission_on(&fc);

    refuses(a, "configmaps", "ConfigMap", "default", "{'metadata':{'name':'A'}}",
            "ConfigMap \"A\" is invalid: metadata.name: Invalid value: \"A\": a lowercase RFC 1123 "
            "subdomain must consist of "
            "lower case alphanumeric characters, '-' or '.', and must start and end with an "
            "alphanumeric character (e.g. "
            "'example.com', regex used for validation is "
            "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')");
    admission_free(a);
    fake_fini(&fc);
}

TEST(secret_string_data)
{
    struct fake_cluster fc;
    struct admission *a = admission_on(&fc);
    char *m;
    json_t *o = admit(a, "secrets", "Secret", "default",
                      "{'metadata':{'name':'s'},'stringData':{'k':'hello'}}", NULL, &m);

    assert_string_equal(json_text_at(o, "data", "k", NULL), "aGVsbG8=");
    assert_string_equal(json_text_at(o, "type", NULL), "Opaque");
    assert_null(json_object_get(o, "stringData"));
    json_decref(o);
    admission_free(a);
    fake_fini(&fc);
}

static bool node_may(enum admission_op op, const char *resource, const char *sub, const char *ns,
                     const char *text, const char *old)
{
    static const char *const groups[] = {"system:nodes"};
    struct fake_cluster fc;
    struct admission *a = admission_on(&fc);
    json_t *o = text ? fake_json(text) : NULL, *was = old ? fake_json(old) : NULL;
    struct admission_request r = {.op = op,
                                  .resource = resource,
                                  .kind = "X",
                                  .subresource = sub,
                                  .ns = ns,
                                  .name = "",
                                  .object = o,
                                  .old = was,
                                  .user = "system:node:n1",
                                  .groups = groups,
                                  .n_groups = 1};
    struct admission_failure f = {0};
    bool ok = admission_mutate(a, &r, &f) == 0;

    admission_failure_fini(&f);
    json_decref(o);
    json_decref(was);
    admission_free(a);
    fake_fini(&fc);
    return ok;
}

TEST(kubelets_keep_to_their_own)
{
    assert_true(node_may(ADMISSION_CREATE, "nodes", "", "", "{'metadata':{'name':'n1'}}", NULL));
    assert_false(node_may(ADMISSION_CREATE, "nodes", "", "", "{'metadata':{'name':'n2'}}", NULL));
    assert_false(node_may(ADMISSION_CREATE, "pods", "", "default",
                          "{'metadata':{'name':'p'},'spec':{'nodeName':'n1'}}", NULL));
    assert_true(node_may(ADMISSION_UPDATE, "pods", "status", "default",
                         "{'metadata':{'name':'p'},'spec':{'nodeName':'n1'}}",
                         "{'metadata':{'name':'p'},'spec':{'nodeName':'n1'}}"));
    assert_false(node_may(ADMISSION_UPDATE, "pods", "status", "default",
                          "{'metadata':{'name':'p'},'spec':{'nodeName':'n2'}}",
                          "{'metadata':{'name':'p'},'spec':{'nodeName':'n2'}}"));
    assert_false(node_may(ADMISSION_DELETE, "pods", "", "default", NULL,
                          "{'metadata':{'name':'p'},'spec':{'nodeName':'n2'}}"));
    assert_true(node_may(ADMISSION_DELETE, "pods", "", "default", NULL,
                         "{'metadata':{'name':'p'},'spec':{'nodeName':'n1'}}"));
}

TEST_MAIN()
