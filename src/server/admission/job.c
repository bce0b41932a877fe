#include "server/admission/kinds.h"
#include "server/admission/names.h"
#include "server/admission/pod.h"
#include "server/controllers/meta.h"

#define UID_LABEL "batch.kubernetes.io/controller-uid"
#define NAME_LABEL "batch.kubernetes.io/job-name"

/* Selector and labels by which a Job knows its pods, unless the user has chosen them. */
static void own_labels(json_t *o, json_t *spec)
{
    json_t *labels = json_object_need(
        json_object_need(json_object_need(spec, "template"), "metadata"), "labels");

    json_set_text(labels, UID_LABEL, meta_uid(o));
    json_set_text(labels, NAME_LABEL, meta_name(o));
    json_set_text(labels, "controller-uid", meta_uid(o));
    json_set_text(labels, "job-name", meta_name(o));
    json_set_text(json_object_need(json_object_need(spec, "selector"), "matchLabels"), UID_LABEL,
                  meta_uid(o));
}

void job_default(json_t *o, const json_t *old)
{
    json_t *spec = json_object_need(o, "spec");
    bool unset = !json_is_integer(json_object_get(spec, "completions")) &&
                 !json_is_integer(json_object_get(spec, "parallelism"));

    pod_template_default(json_object_need(spec, "template"));
    if (unset && !old)
        json_set_int(spec, "completions", 1);
    json_default(spec, "parallelism", json_integer(1));
    json_default(spec, "backoffLimit", json_integer(6));
    json_default(spec, "completionMode", json_string("NonIndexed"));
    json_default(spec, "suspend", json_false());
    json_default(spec, "podReplacementPolicy", json_string("TerminatingOrFailed"));
    if (!old && !json_bool_or(spec, "manualSelector", false))
        own_labels(o, spec);
    json_object_set_new(o, "status",
                        old && json_object_get(old, "status")
                            ? json_deep_copy(json_object_get(old, "status"))
                            : json_object());
}

static void not_negative(struct invalid *v, const json_t *spec, const char *key)
{
    const json_t *value = json_object_get(spec, key);
    char f[FIELD_MAX];

    if (json_is_integer(value) && json_integer_value(value) < 0)
        invalid_value(v, field_at(f, "spec.%s", key), value, "must be greater than or equal to 0");
}

void job_validate(struct invalid *v, const json_t *o, const json_t *old)
{
    static const char *const counts[] = {"completions", "parallelism", "backoffLimit",
                                         "activeDeadlineSeconds", "ttlSecondsAfterFinished"};
    static const char *const fixed[] = {"completions", "selector", "template", "completionMode"};
    static const char *const modes[] = {"NonIndexed", NULL};
    const json_t *spec = json_object_get(o, "spec"), *template = json_object_get(spec, "template");
    const char *mode = json_text_or(spec, "completionMode", "");
    const char *restart = json_text_or(json_object_get(template, "spec"), "restartPolicy", "");
    char f[FIELD_MAX];

    for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++)
        not_negative(v, spec, counts[i]);
    if (!streq(mode, "NonIndexed")) /* Indexed jobs are not served here */
        invalid_unsupported(v, "spec.completionMode", mode, modes);
    template_validate(v, "spec.template", template, json_object_get(spec, "selector"));
    if (!streq(restart, "OnFailure") && !streq(restart, "Never"))
        invalid_required(v, "spec.template.spec.restartPolicy",
                         "valid values: \"OnFailure\", \"Never\"");
    for (size_t i = 0; old && i < sizeof(fixed) / sizeof(fixed[0]); i++)
        if (!json_equal(json_object_get(spec, fixed[i]), json_at(old, "spec", fixed[i], NULL)))
            invalid_value(v, field_at(f, "spec.%s", fixed[i]), json_object_get(spec, fixed[i]),
                          "field is immutable");
}
