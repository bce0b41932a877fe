#include "codec/json.h"
#include "server/auth/rbac_defaults.h"
#include "server/controllers/meta.h"

/* Every value of want is in have, or have has the wildcard. */
static bool list_covers(const json_t *have, const json_t *want)
{
    const json_t *w, *h;

    json_each(want, i, w)
    {
        bool found = false;

        json_each(have, k, h) found = found || json_equal(h, w) || streq(json_string_value(h), "*");
        if (!found)
            return false;
    }
    return true;
}

static bool url_covers(const char *have, const char *want)
{
    size_t n = strlen(have);

    return streq(have, want) || (n && have[n - 1] == '*' && !strncmp(have, want, n - 1));
}

static bool urls_cover(const json_t *have, const json_t *want)
{
    const json_t *w, *h;

    json_each(want, i, w)
    {
        bool found = false;

        json_each(have, k, h) found =
            found || url_covers(strna(json_string_value(h)), strna(json_string_value(w)));
        if (!found)
            return false;
    }
    return true;
}

static bool resources_cover(const json_t *have, const json_t *want)
{
    const json_t *w, *h;

    json_each(want, i, w)
    {
        const char *z = strna(json_string_value(w)), *slash = strchr(z, '/');
        bool found = false;

        json_each(have, k, h)
        {
            const char *x = strna(json_string_value(h));

            found = found || streq(x, "*") || streq(x, z) ||
                    (slash && strstarts(x, "*/") && streq(x + 1, slash));
        }
        if (!found)
            return false;
    }
    return true;
}

static bool rule_covers(const json_t *have, const json_t *want)
{
    const json_t *names = json_object_get(have, "resourceNames"),
                 *urls = json_object_get(want, "nonResourceURLs");

    if (!list_covers(json_object_get(have, "verbs"), json_object_get(want, "verbs")))
        return false;
    if (json_array_size(urls) > 0)
        return urls_cover(json_object_get(have, "nonResourceURLs"), urls);
    if (json_array_size(names) > 0 &&
        (json_array_size(json_object_get(want, "resourceNames")) == 0 ||
         !list_covers(names, json_object_get(want, "resourceNames"))))
        return false;
    return json_array_size(json_object_get(have, "resources")) > 0 &&
           list_covers(json_object_get(have, "apiGroups"), json_object_get(want, "apiGroups")) &&
           resources_cover(json_object_get(have, "resources"), json_object_get(want, "resources"));
}

/* One verb, group and resource at a time, as each may come from another rule. */
static json_t *single(const json_t *rule, size_t v, size_t g, size_t r)
{
    json_t *out = json_object();
    const json_t *urls = json_object_get(rule, "nonResourceURLs");

    json_object_set_new(out, "verbs",
                        json_pack("[O]", json_array_get(json_object_get(rule, "verbs"), v)));
    if (json_array_size(urls) > 0) {
        json_object_set_new(out, "nonResourceURLs", json_pack("[O]", json_array_get(urls, r)));
        return out;
    }
    json_object_set_new(out, "apiGroups",
                        json_pack("[O]", json_array_get(json_object_get(rule, "apiGroups"), g)));
    json_object_set_new(out, "resources",
                        json_pack("[O]", json_array_get(json_object_get(rule, "resources"), r)));
    if (json_object_get(rule, "resourceNames"))
        json_object_set(out, "resourceNames", json_object_get(rule, "resourceNames"));
    return out;
}

static bool any_covers(const json_t *rules, const json_t *want)
{
    const json_t *have;

    json_each(rules, i, have) if (rule_covers(have, want)) return true;
    return false;
}

int rbac_rules_cover(const json_t *rules, const json_t *rule)
{
    const json_t *urls = json_object_get(rule, "nonResourceURLs");
    size_t verbs = json_array_size(json_object_get(rule, "verbs"));
    size_t groups = json_array_size(urls) ? 1 : json_array_size(json_object_get(rule, "apiGroups"));
    size_t things = json_array_size(urls) ? json_array_size(urls)
                                          : json_array_size(json_object_get(rule, "resources"));

    if (any_covers(rules, rule))
        return 1;
    for (size_t v = 0; v < verbs; v++)
        for (size_t g = 0; g < groups; g++)
            for (size_t r = 0; r < things; r++) {
                json_t *one = single(rule, v, g, r);
                bool ok = any_covers(rules, one);

                json_decref(one);
                if (!ok)
                    return 0;
            }
    return 1;
}

static bool add_missing(json_t *to, const json_t *from, bool (*has)(const json_t *, const json_t *))
{
    bool changed = false;
    json_t *x;

    json_each(from, i, x) if (!has(to, x))
    {
        json_array_append(to, x);
        changed = true;
    }
    return changed;
}

static bool has_rule(const json_t *rules, const json_t *rule)
{
    return rbac_rules_cover(rules, rule) != 0;
}

static bool has_subject(const json_t *subjects, const json_t *want)
{
    static const char *const keys[] = {"kind", "name", "namespace"};
    const json_t *s;

    json_each(subjects, i, s)
    {
        size_t same = 0;

        for (size_t k = 0; k < 3; k++)
            same += streq(json_text_or(s, keys[k], ""), json_text_or(want, keys[k], ""));
        if (same == 3)
            return true;
    }
    return false;
}

static bool add_texts(json_t *meta, const json_t *wanted, const char *which)
{
    bool changed = false;
    const char *key;
    json_t *v;

    json_object_foreach(json_at(wanted, "metadata", which, NULL), key, v)
    {
        if (json_object_get(json_object_get(meta, which), key))
            continue;
        json_object_set(json_object_need(meta, which), key, v);
        changed = true;
    }
    return changed;
}

json_t *rbac_reconcile(const json_t *wanted, const json_t *existing)
{
    json_t *o, *meta;
    bool changed;

    if (streq(meta_annotation(existing, "rbac.authorization.kubernetes.io/autoupdate"), "false"))
        return NULL;
    o = json_deep_copy(existing);
    meta = json_object_need(o, "metadata");
    changed = add_texts(meta, wanted, "labels");
    changed = add_texts(meta, wanted, "annotations") || changed;
    if (json_object_get(wanted, "rules"))
        changed =
            add_missing(json_array_need(o, "rules"), json_object_get(wanted, "rules"), has_rule) ||
            changed;
    if (json_object_get(wanted, "subjects"))
        changed = add_missing(json_array_need(o, "subjects"), json_object_get(wanted, "subjects"),
                              has_subject) ||
                  changed;
    if (changed)
        return o;
    json_decref(o);
    return NULL;
}
