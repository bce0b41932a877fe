#include "server/controllers/selector.h"
#include "base/str.h"
#include "codec/json.h"
#include "server/controllers/meta.h"

static bool in_values(const json_t *values, const char *have)
{
    const json_t *v;

    json_each(values, i, v) if (streq(json_string_value(v), have)) return true;
    return false;
}

static bool compare_numbers(const char *have, const json_t *values, bool greater)
{
    int64_t a, b;

    if (json_array_size(values) != 1 || str_to_i64(str_of(have), INT64_MIN, INT64_MAX, &a) < 0 ||
        str_to_i64(str_of(strna(json_string_value(json_array_get(values, 0)))), INT64_MIN,
                   INT64_MAX, &b) < 0)
        return false;
    return greater ? a > b : a < b;
}

static bool requirement_matches(const json_t *r, const char *have)
{
    const char *op = strna(json_text_at(r, "operator", NULL));
    const json_t *values = json_object_get(r, "values");

    if (streq(op, "In"))
        return have && in_values(values, have);
    if (streq(op, "NotIn"))
        return !have || !in_values(values, have);
    if (streq(op, "Exists"))
        return have != NULL;
    if (streq(op, "DoesNotExist"))
        return have == NULL;
    if (streq(op, "Gt") || streq(op, "Lt"))
        return have && compare_numbers(have, values, *op == 'G');
    return false;
}

bool selector_map_matches(const json_t *map, const json_t *labels)
{
    const char *key;
    json_t *v;

    if (json_object_size(map) == 0)
        return false;
    json_object_foreach((json_t *)map, key, v)
    {
        const char *have = json_string_value(json_object_get(labels, key));

        if (!have || !streq(have, json_string_value(v)))
            return false;
    }
    return true;
}

bool selector_matches(const json_t *selector, const json_t *labels)
{
    const json_t *map = json_object_get(selector, "matchLabels"), *r;

    if (!json_is_object(selector))
        return false;
    if (json_object_size(map) > 0 && !selector_map_matches(map, labels))
        return false;
    json_each(json_object_get(selector, "matchExpressions"), i, r)
    {
        const char *key = strna(json_text_at(r, "key", NULL));

        if (!requirement_matches(r, json_string_value(json_object_get(labels, key))))
            return false;
    }
    return true;
}

bool node_term_matches(const json_t *term, const json_t *node)
{
    const json_t *labels = json_at(node, "metadata", "labels", NULL), *r;
    const json_t *exprs = json_object_get(term, "matchExpressions");
    const json_t *fields = json_object_get(term, "matchFields");

    if (json_array_size(exprs) + json_array_size(fields) == 0)
        return false;
    json_each(exprs, i, r)
    {
        const char *key = strna(json_text_at(r, "key", NULL));

        if (!requirement_matches(r, json_string_value(json_object_get(labels, key))))
            return false;
    }
    json_each(fields, k, r) if (!streq(json_text_at(r, "key", NULL), "metadata.name") ||
                                !requirement_matches(r, meta_name(node))) return false;
    return true;
}

bool node_selector_matches(const json_t *selector, const json_t *node)
{
    const json_t *term;

    json_each(json_object_get(selector, "nodeSelectorTerms"), i,
              term) if (node_term_matches(term, node)) return true;
    return false;
}

bool pod_wants_node(const json_t *spec, const json_t *node)
{
    const json_t *map = json_object_get(spec, "nodeSelector");
    const json_t *required = json_at(spec, "affinity", "nodeAffinity",
                                     "requiredDuringSchedulingIgnoredDuringExecution", NULL);

    if (json_object_size(map) > 0 &&
        !selector_map_matches(map, json_at(node, "metadata", "labels", NULL)))
        return false;
    return !json_is_object(required) || node_selector_matches(required, node);
}

bool toleration_tolerates(const json_t *t, const json_t *taint)
{
    const char *effect = json_text_at(t, "effect", NULL),
               *key = strna(json_text_at(t, "key", NULL));
    const char *op = strna(json_text_at(t, "operator", NULL));

    if (effect && *effect && !streq(effect, json_text_at(taint, "effect", NULL)))
        return false;
    if (*key && !streq(key, json_text_at(taint, "key", NULL)))
        return false;
    if (streq(op, "Exists"))
        return true;
    return *key && (!*op || streq(op, "Equal")) &&
           streq(strna(json_text_at(t, "value", NULL)), strna(json_text_at(taint, "value", NULL)));
}

bool tolerations_tolerate(const json_t *tolerations, const json_t *taint)
{
    const json_t *t;

    json_each(tolerations, i, t) if (toleration_tolerates(t, taint)) return true;
    return false;
}
