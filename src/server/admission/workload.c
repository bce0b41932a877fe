#include "server/admission/workload.h"
#include "server/admission/names.h"
#include "server/admission/pod.h"
#include "server/controllers/meta.h"

static const char *const workloads[] = {"daemonsets.apps", "deployments.apps", "replicasets.apps"};

bool workload_is(const char *resource)
{
    for (size_t i = 0; i < 3; i++)
        if (streq(resource, workloads[i]))
            return true;
    return false;
}

static void daemonset_default(json_t *spec)
{
    json_t *strategy = json_object_need(spec, "updateStrategy"), *rolling;

    json_default(strategy, "type", json_string("RollingUpdate"));
    if (streq(json_text_or(strategy, "type", ""), "RollingUpdate")) {
        rolling = json_object_need(strategy, "rollingUpdate");
        json_default(rolling, "maxUnavailable", json_integer(1));
        json_default(rolling, "maxSurge", json_integer(0));
    }
    json_default(spec, "revisionHistoryLimit", json_integer(10));
}

static void deployment_default(json_t *spec)
{
    json_t *strategy = json_object_need(spec, "strategy"), *rolling;

    json_default(spec, "replicas", json_integer(1));
    json_default(strategy, "type", json_string("RollingUpdate"));
    if (streq(json_text_or(strategy, "type", ""), "RollingUpdate")) {
        rolling = json_object_need(strategy, "rollingUpdate");
        json_default(rolling, "maxUnavailable", json_string("25%"));
        json_default(rolling, "maxSurge", json_string("25%"));
    }
    json_default(spec, "revisionHistoryLimit", json_integer(10));
    json_default(spec, "progressDeadlineSeconds", json_integer(600));
}

void workload_default(const char *resource, json_t *object, const json_t *old)
{
    json_t *spec = json_object_need(object, "spec");

    pod_template_default(json_object_need(spec, "template"));
    if (streq(resource, "daemonsets.apps")) {
        daemonset_default(spec);
        json_object_set_new(object, "status",
                            json_pack("{s:i,s:i,s:i,s:i}", "currentNumberScheduled", 0,
                                      "numberMisscheduled", 0, "desiredNumberScheduled", 0,
                                      "numberReady", 0));
    } else if (streq(resource, "deployments.apps")) {
        deployment_default(spec);
        json_object_set_new(object, "status", json_object());
    } else {
        json_default(spec, "replicas", json_integer(1));
        json_object_set_new(object, "status", json_pack("{s:i}", "replicas", 0));
    }
    if (old && json_object_get(old, "status"))
        json_object_set_new(object, "status", json_deep_copy(json_object_get(old, "status")));
}

static void count_validate(struct invalid *v, const char *field, const json_t *value)
{
    if (json_is_integer(value) && json_integer_value(value) < 0)
        invalid_value(v, field, value, "must be greater than or equal to 0");
}

static void rolling_validate(struct invalid *v, const char *field, const json_t *rolling)
{
    static const char *const keys[] = {"maxUnavailable", "maxSurge"};
    char f[FIELD_MAX];
    int64_t n[2];

    if (!json_is_object(rolling))
        return;
    for (size_t i = 0; i < 2; i++) {
        const json_t *value = json_object_get(rolling, keys[i]);

        n[i] = int_or_percent(value, 100, true, 0);
        if (n[i] < 0)
            invalid_value(v, field_at(f, "%s.%s", field, keys[i]), value,
                          json_is_integer(value)
                              ? "must be greater than or equal to 0"
                              : "a valid percent string must be a numeric string followed "
                                "by an ending '%%' (e.g. '1%%',  or '93%%', regex used for "
                                "validation is '[0-9]+%%')");
    }
    if (n[0] == 0 && n[1] == 0)
        invalid_value(v, field_at(f, "%s.maxUnavailable", field),
                      json_object_get(rolling, "maxUnavailable"),
                      "may not be 0 when `maxSurge` is 0");
}

static void strategy_validate(struct invalid *v, const char *resource, const json_t *spec)
{
    static const char *const ds[] = {"OnDelete", "RollingUpdate", NULL};
    static const char *const dep[] = {"Recreate", "RollingUpdate", NULL};
    bool daemon = streq(resource, "daemonsets.apps");
    const char *key = daemon ? "updateStrategy" : "strategy";
    const char *const *types = daemon ? ds : dep;
    const json_t *strategy = json_object_get(spec, key);
    const char *type = json_text_or(strategy, "type", "");
    char f[FIELD_MAX];

    if (!streq(type, types[0]) && !streq(type, types[1]))
        invalid_unsupported(v, field_at(f, "spec.%s.type", key), type, types);
    else if (streq(type, "RollingUpdate"))
        rolling_validate(v, field_at(f, "spec.%s.rollingUpdate", key),
                         json_object_get(strategy, "rollingUpdate"));
    else if (streq(type, "Recreate") && json_is_object(json_object_get(strategy, "rollingUpdate")))
        invalid_forbidden(v, "spec.strategy.rollingUpdate",
                          "may not be specified when strategy `type` is 'Recreate'");
}

void workload_validate(struct invalid *v, const char *resource, const json_t *object,
                       const json_t *old)
{
    static const char *const always[] = {"Always", NULL};
    const json_t *spec = json_object_get(object, "spec"),
                 *selector = json_object_get(spec, "selector");
    const json_t *template = json_object_get(spec, "template");
    const char *restart = json_text_or(json_object_get(template, "spec"), "restartPolicy", "");

    count_validate(v, "spec.replicas", json_object_get(spec, "replicas"));
    count_validate(v, "spec.minReadySeconds", json_object_get(spec, "minReadySeconds"));
    count_validate(v, "spec.revisionHistoryLimit", json_object_get(spec, "revisionHistoryLimit"));
    if (!json_is_object(selector))
        invalid_required(v, "spec.selector", "");
    else if (json_object_size(json_object_get(selector, "matchLabels")) +
                 json_array_size(json_object_get(selector, "matchExpressions")) ==
             0)
        invalid_value(v, "spec.selector", selector, "empty selector is invalid for %s",
                      streq(resource, "daemonsets.apps") ? "daemonset" : "deployment");
    else
        selector_validate(v, "spec.selector", selector);
    template_validate(v, "spec.template", template, selector);
    if (*restart && !streq(restart, "Always"))
        invalid_unsupported(v, "spec.template.spec.restartPolicy", restart, always);
    if (!streq(resource, "replicasets.apps"))
        strategy_validate(v, resource, spec);
    if (old && !json_equal(selector, json_at(old, "spec", "selector", NULL)))
        invalid_value(v, "spec.selector", selector, "field is immutable");
}
