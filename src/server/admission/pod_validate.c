#include "server/admission/names.h"
#include "server/admission/pod.h"
#include "server/controllers/meta.h"
#include "server/controllers/selector.h"

static void choice(struct invalid *v, const char *field, const char *value, const char *const *list)
{
    for (size_t i = 0; list[i]; i++)
        if (streq(value, list[i]))
            return;
    invalid_unsupported(v, field, value, list);
}

static void volumes_validate(struct invalid *v, const char *field, const json_t *volumes)
{
    json_t *names = json_object();
    char f[FIELD_MAX];
    const json_t *vol;

    json_each(volumes, i, vol)
    {
        const char *name = json_text_or(vol, "name", ""), *bad = name_dns1123_label(name);

        if (!*name)
            invalid_required(v, field_at(f, "%s.volumes[%zu].name", field, i), "");
        else if (bad)
            invalid_text(v, field_at(f, "%s.volumes[%zu].name", field, i), name, bad);
        else if (json_object_get(names, name))
            invalid_duplicate(v, field_at(f, "%s.volumes[%zu].name", field, i),
                              json_object_get(vol, "name"));
        json_object_set_new(names, name, json_true());
        if (json_object_size(vol) > 2)
            invalid_forbidden(v, field_at(f, "%s.volumes[%zu]", field, i),
                              "may not specify more than 1 volume type");
    }
    json_decref(names);
}

static void containers_validate(struct invalid *v, const char *field, const json_t *spec)
{
    static const char *const lists[] = {"initContainers", "containers"};
    const json_t *volumes = json_object_get(spec, "volumes"), *c;
    json_t *names = json_object();
    char f[FIELD_MAX], at[FIELD_MAX];

    for (size_t k = 0; k < 2; k++)
        json_each(json_object_get(spec, lists[k]), i, c)
        {
            const char *name = json_text_or(c, "name", ""), *bad = name_dns1123_label(name);

            field_at(at, "%s.%s[%zu]", field, lists[k], i);
            if (!*name)
                invalid_required(v, field_at(f, "%s.name", at), "");
            else if (bad)
                invalid_text(v, field_at(f, "%s.name", at), name, bad);
            else if (json_object_get(names, name))
                invalid_duplicate(v, field_at(f, "%s.name", at), json_object_get(c, "name"));
            json_object_set_new(names, name, json_true());
            container_validate(v, at, c, volumes, k == 0);
        }
    if (json_array_size(json_object_get(spec, "containers")) == 0)
        invalid_required(v, field_at(f, "%s.containers", field), "");
    json_decref(names);
}

void pod_spec_validate(struct invalid *v, const char *field, const json_t *spec)
{
    static const char *const restart[] = {"Always", "Never", "OnFailure", NULL};
    static const char *const dns[] = {"ClusterFirst", "ClusterFirstWithHostNet", "Default", "None",
                                      NULL};
    char f[FIELD_MAX];
    const char *node = json_text_or(spec, "nodeName", ""),
               *bad = *node ? name_dns1123_subdomain(node) : NULL;
    const json_t *t, *deadline = json_object_get(spec, "activeDeadlineSeconds");

    volumes_validate(v, field, json_object_get(spec, "volumes"));
    containers_validate(v, field, spec);
    choice(v, field_at(f, "%s.restartPolicy", field), json_text_or(spec, "restartPolicy", ""),
           restart);
    choice(v, field_at(f, "%s.dnsPolicy", field), json_text_or(spec, "dnsPolicy", ""), dns);
    if (streq(json_text_or(spec, "dnsPolicy", ""), "None") &&
        json_array_size(json_at(spec, "dnsConfig", "nameservers", NULL)) == 0)
        invalid_required(v, field_at(f, "%s.dnsConfig.nameservers", field),
                         "must provide at least one DNS nameserver when `dnsPolicy` is None");
    if (json_int_or(spec, "terminationGracePeriodSeconds", 0) < 0)
        invalid_value(v, field_at(f, "%s.terminationGracePeriodSeconds", field),
                      json_object_get(spec, "terminationGracePeriodSeconds"),
                      "must be greater than or equal to 0");
    if (deadline && json_integer_value(deadline) < 1)
        invalid_value(v, field_at(f, "%s.activeDeadlineSeconds", field), deadline,
                      "must be between 1 and 2147483647, inclusive");
    labels_validate(v, field_at(f, "%s.nodeSelector", field),
                    json_object_get(spec, "nodeSelector"));
    if (bad)
        invalid_text(v, field_at(f, "%s.nodeName", field), node, bad);
    json_each(json_object_get(spec, "tolerations"), i, t)
    {
        const char *op = json_text_or(t, "operator", "");

        if (!*json_text_or(t, "key", "") && !streq(op, "Exists"))
            invalid_text(v, field_at(f, "%s.tolerations[%zu].operator", field, i), op,
                         "operator must be Exists when `key` is empty, which means \"match all "
                         "values and all keys\"");
    }
}

/* The spec with what an update may change taken out. */
static json_t *fixed_spec(const json_t *pod)
{
    static const char *const free_keys[] = {"activeDeadlineSeconds", "tolerations",
                                            "schedulingGates", "terminationGracePeriodSeconds"};
    json_t *spec = json_deep_copy(json_object_get(pod, "spec")), *c;

    for (size_t i = 0; i < 4; i++)
        json_object_del(spec, free_keys[i]);
    json_each(json_object_get(spec, "containers"), i, c) json_object_del(c, "image");
    json_each(json_object_get(spec, "initContainers"), k, c) json_object_del(c, "image");
    return spec;
}

static bool contains(const json_t *list, const json_t *want)
{
    const json_t *x;

    json_each(list, i, x) if (json_equal(x, want)) return true;
    return false;
}

void pod_validate_update(struct invalid *v, const json_t *pod, const json_t *old)
{
    json_t *a = fixed_spec(pod), *b = fixed_spec(old);
    const json_t *t, *tolerations = json_at(pod, "spec", "tolerations", NULL);

    if (!json_equal(a, b))
        invalid_forbidden(
            v, "spec",
            "pod updates may not change fields other than `spec.containers[*].image`,"
            "`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only "
            "additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to "
            "be set to 1 if it was previously negative)");
    json_decref(a);
    json_decref(b);
    json_each(json_at(old, "spec", "tolerations", NULL), i, t) if (!contains(tolerations, t))
    {
        invalid_forbidden(v, "spec.tolerations",
                          "existing toleration can not be modified except its tolerationSeconds");
        break;
    }
}

void template_validate(struct invalid *v, const char *field, const json_t *template,
                       const json_t *selector)
{
    const json_t *labels = json_at(template, "metadata", "labels", NULL);
    char f[FIELD_MAX];

    labels_validate(v, field_at(f, "%s.metadata.labels", field), labels);
    if (json_is_object(selector) && !selector_matches(selector, labels))
        invalid_value(v, field_at(f, "%s.metadata.labels", field), labels ? labels : NULL,
                      "`selector` does not match template `labels`");
    pod_spec_validate(v, field_at(f, "%s.spec", field), json_object_get(template, "spec"));
}
