#include "base/quantity.h"
#include "server/admission/pod.h"
#include "server/controllers/meta.h"

static void text_default(json_t *o, const char *key, const char *text)
{
    json_default(o, key, json_string(text));
}

static void int_default(json_t *o, const char *key, int64_t n)
{
    json_default(o, key, json_integer(n));
}

/* For fields where upstream cannot tell 0 from absent. */
static void count_default(json_t *o, const char *key, int64_t n)
{
    if (json_int_or(o, key, 0) == 0)
        json_object_set_new(o, key, json_integer(n));
}

/* "latest" or no tag and no digest is pulled always. */
static const char *pull_policy(const char *image)
{
    const char *slash = strrchr(image, '/'), *last = slash ? slash + 1 : image;
    const char *colon = strchr(last, ':');

    if (strchr(image, '@'))
        return "IfNotPresent";
    return !colon || streq(colon, ":latest") ? "Always" : "IfNotPresent";
}

static void http_default(json_t *http)
{
    if (!json_is_object(http))
        return;
    text_default(http, "path", "/");
    text_default(http, "scheme", "HTTP");
}

static void probe_default(json_t *probe)
{
    if (!json_is_object(probe))
        return;
    count_default(probe, "timeoutSeconds", 1);
    count_default(probe, "periodSeconds", 10);
    count_default(probe, "successThreshold", 1);
    count_default(probe, "failureThreshold", 3);
    http_default(json_object_get(probe, "httpGet"));
    if (json_is_object(json_object_get(probe, "grpc")))
        text_default(json_object_get(probe, "grpc"), "service", "");
}

static void resources_default(json_t *c)
{
    json_t *res = json_object_need(c, "resources"), *limits = json_object_get(res, "limits"), *v;
    const char *key;

    if (json_object_size(limits) == 0)
        return;
    json_object_foreach(limits, key, v)
        json_default(json_object_need(res, "requests"), key, json_copy(v));
}

/* Quantities become strings, as the API prints them. */
static void quantities_text(json_t *list)
{
    const char *key;
    json_t *v;
    void *next;

    json_object_foreach_safe(list, next, key, v)
    {
        char text[QUANTITY_TEXT];
        struct quantity q = {.format = 'd'};

        if (!json_is_number(v))
            continue;
        q.milli = (int64_t)(json_number_value(v) * 1000);
        quantity_format(q, text);
        json_object_set_new(list, key, json_string(text));
    }
}

static void env_default(json_t *c)
{
    const json_t *e;

    json_each(json_object_get(c, "env"), i, e)
    {
        json_t *ref = json_at(e, "valueFrom", "fieldRef", NULL);

        if (ref)
            text_default(ref, "apiVersion", "v1");
    }
}

static void container_default(json_t *c, bool host_network)
{
    static const char *const probes[] = {"livenessProbe", "readinessProbe", "startupProbe"};
    json_t *p, *res = json_object_need(c, "resources");

    text_default(c, "imagePullPolicy", pull_policy(json_text_or(c, "image", "")));
    text_default(c, "terminationMessagePath", "/dev/termination-log");
    text_default(c, "terminationMessagePolicy", "File");
    json_each(json_object_get(c, "ports"), i, p)
    {
        text_default(p, "protocol", "TCP");
        if (host_network && json_int_or(p, "containerPort", 0))
            int_default(p, "hostPort", json_int_or(p, "containerPort", 0));
    }
    for (size_t i = 0; i < 3; i++)
        probe_default(json_object_get(c, probes[i]));
    http_default(json_at(c, "lifecycle", "postStart", "httpGet", NULL));
    http_default(json_at(c, "lifecycle", "preStop", "httpGet", NULL));
    env_default(c);
    quantities_text(json_object_get(res, "limits"));
    quantities_text(json_object_get(res, "requests"));
    resources_default(c);
}

static void items_default(const json_t *items)
{
    const json_t *it;

    json_each(items, i, it)
    {
        json_t *ref = json_object_get(it, "fieldRef");

        if (ref)
            text_default(ref, "apiVersion", "v1");
    }
}

static void volume_default(json_t *v)
{
    static const char *const moded[] = {"secret", "configMap", "downwardAPI", "projected"};
    const json_t *s;

    if (json_object_size(v) == 1)
        json_object_set_new(v, "emptyDir", json_object());
    for (size_t i = 0; i < 4; i++)
        if (json_is_object(json_object_get(v, moded[i])))
            int_default(json_object_get(v, moded[i]), "defaultMode", 0644);
    if (json_is_object(json_object_get(v, "hostPath")))
        text_default(json_object_get(v, "hostPath"), "type", "");
    items_default(json_at(v, "downwardAPI", "items", NULL));
    json_each(json_at(v, "projected", "sources", NULL), k, s)
    {
        json_t *token = json_object_get(s, "serviceAccountToken");

        if (token)
            int_default(token, "expirationSeconds", 3600);
        items_default(json_at(s, "downwardAPI", "items", NULL));
    }
}

void pod_spec_default(json_t *spec, bool pod)
{
    static const char *const lists[] = {"containers", "initContainers"};
    bool host_network = json_bool_or(spec, "hostNetwork", false);
    const char *sa = json_text_or(spec, "serviceAccountName", "");
    json_t *v;

    for (size_t i = 0; i < 2; i++)
        json_each(json_object_get(spec, lists[i]), k, v) container_default(v, host_network);
    json_each(json_object_get(spec, "volumes"), m, v) volume_default(v);
    text_default(spec, "restartPolicy", "Always");
    text_default(spec, "dnsPolicy", "ClusterFirst");
    text_default(spec, "schedulerName", "default-scheduler");
    int_default(spec, "terminationGracePeriodSeconds", 30);
    json_default(spec, "securityContext", json_object());
    if (pod)
        json_default(spec, "enableServiceLinks", json_true());
    if (!*sa && *json_text_or(spec, "serviceAccount", ""))
        json_set_text(spec, "serviceAccountName", json_text_or(spec, "serviceAccount", ""));
    else if (*sa)
        json_set_text(spec, "serviceAccount", sa);
}

void pod_template_default(json_t *template)
{
    json_t *meta = json_object_need(template, "metadata");

    json_default(meta, "creationTimestamp", json_null());
    pod_spec_default(json_object_need(template, "spec"), false);
}

static bool quantity_zero(const json_t *v)
{
    return quantity_milli_or(json_string_value(v), 0) == 0;
}

const char *pod_qos_class(const json_t *spec)
{
    static const char *const lists[] = {"containers", "initContainers"}, *const kinds[] = {
                                                                             "cpu", "memory"};
    bool any = false, guaranteed = true;
    const json_t *c;

    for (size_t i = 0; i < 2; i++)
        json_each(json_object_get(spec, lists[i]), k, c) for (size_t m = 0; m < 2; m++)
        {
            const json_t *limit = json_at(c, "resources", "limits", kinds[m], NULL);
            const json_t *request = json_at(c, "resources", "requests", kinds[m], NULL);

            any = any || !quantity_zero(limit) || !quantity_zero(request);
            if (quantity_zero(limit) || quantity_milli_or(json_string_value(limit), 0) !=
                                            quantity_milli_or(json_string_value(request), 0))
                guaranteed = false;
        }
    if (!any)
        return "BestEffort";
    return guaranteed ? "Guaranteed" : "Burstable";
}

void pod_status_init(json_t *pod)
{
    json_object_set_new(pod, "status",
                        json_pack("{s:s,s:s}", "phase", "Pending", "qosClass",
                                  pod_qos_class(json_object_get(pod, "spec"))));
}
