/*
 * Strategic merge patch: lists of objects merge by a key that the field's type declares, lists of
 * plain values in a few fields merge as sets, all else is replaced. Directives: $patch (replace,
 * delete, merge), $deleteFromPrimitiveList/F, $setElementOrder/F, $retainKeys.
 */
#include "base/cleanup.h"
#include "base/mem.h"
#include "base/str.h"
#include "codec/json.h"
#include "server/registry/patch.h"
#include <errno.h>
#include <stdlib.h>

/* Field name -> merge key, as upstream's types declare them; parent narrows it where a name means
 * several things. */
static const struct {
    const char *field, *parent, *key;
} merge_keys[] = {
    {"containers", NULL, "name"},
    {"initContainers", NULL, "name"},
    {"ephemeralContainers", NULL, "name"},
    {"volumes", NULL, "name"},
    {"env", NULL, "name"},
    {"volumeMounts", NULL, "mountPath"},
    {"volumeDevices", NULL, "devicePath"},
    {"imagePullSecrets", NULL, "name"},
    {"secrets", NULL, "name"},
    {"hostAliases", NULL, "ip"},
    {"conditions", NULL, "type"},
    {"addresses", "status", "type"},
    {"ownerReferences", NULL, "uid"},
    {"resourceClaims", NULL, "name"},
    {"topologySpreadConstraints", NULL, "topologyKey"},
    {"podIPs", NULL, "ip"},
    {"hostIPs", NULL, "ip"},
    {"ports", "spec", "port"},
    {"ports", NULL, "containerPort"},
    {"schedulingGates", NULL, "name"},
};
/* Lists of plain values that merge as sets. */
static const char *const merge_sets[] = {"finalizers"};

static const char *merge_key(const char *field, const char *parent)
{
    for (size_t i = 0; i < ARRAY_LEN(merge_keys); i++)
        if (streq(field, merge_keys[i].field) &&
            (!merge_keys[i].parent || streq(parent, merge_keys[i].parent)))
            return merge_keys[i].key;
    return NULL;
}

static bool is_set(const char *field)
{
    for (size_t i = 0; i < ARRAY_LEN(merge_sets); i++)
        if (streq(field, merge_sets[i]))
            return true;
    return false;
}

static json_t *merge_object(const json_t *target, const json_t *patch, const char *name);

static ssize_t index_of(const json_t *list, const char *key, const json_t *value)
{
    json_t *item;
    size_t i;

    json_array_foreach((json_t *)list, i, item)
    {
        if (json_equal(json_object_get(item, key), value))
            return (ssize_t)i;
    }
    return -1;
}

/* Values copied into the result must not carry directives. */
static json_t *without_directives(const json_t *v)
{
    json_t *out, *item;
    const char *k;
    size_t i;

    if (json_is_array(v)) {
        out = json_array();
        json_array_foreach((json_t *)v, i, item)
        {
            const char *directive = json_text_or(item, "$patch", "");

            if (!streq(directive, "delete") &&
                !(streq(directive, "replace") && json_object_size(item) == 1))
                (void)json_array_append_new(out, without_directives(item));
        }
        return out;
    }
    if (!json_is_object(v))
        return json_deep_copy(v);
    out = json_object();
    json_object_foreach((json_t *)v, k, item)
    {
        if (k[0] != '$' && !json_is_null(item))
            (void)json_object_set_new(out, k, without_directives(item));
    }
    return out;
}

/* Items named by order come in its sequence, at the places such items hold; others keep their
 * places. */
static void reorder(json_t *list, const json_t *order, const char *key)
{
    json_t *sorted = json_array(), *wanted, *item;
    size_t i, at = 0;

    json_array_foreach((json_t *)order, i, wanted)
    {
        json_t *k = key ? json_object_get(wanted, key) : wanted;
        size_t m;

        json_array_foreach(list, m, item)
        {
            if (json_equal(key ? json_object_get(item, key) : item, k)) {
                (void)json_array_append(sorted, item);
                break;
            }
        }
    }
    for (i = 0; i < json_array_size(list) && at < json_array_size(sorted); i++) {
        bool named = false;
        size_t m;

        json_array_foreach(sorted, m, item)
        {
            named |= item == json_array_get(list, i);
        }
        if (named)
            (void)json_array_set(list, i, json_array_get(sorted, at++));
    }
    json_decref(sorted);
}

static json_t *merge_list(const json_t *target, const json_t *patch, const char *key,
                          const char *field)
{
    json_t *out = json_array(), *item;
    bool replace = false;
    size_t i;

    json_array_foreach((json_t *)patch, i, item)
    {
        replace |= streq(json_text_or(item, "$patch", ""), "replace");
    }
    if (replace) {
        json_decref(out);
        return without_directives(patch);
    }
    json_array_foreach((json_t *)target, i, item)
    {
        (void)json_array_append(out, item);
    }
    json_array_foreach((json_t *)patch, i, item)
    {
        ssize_t at = index_of(out, key, json_object_get(item, key));

        if (streq(json_text_or(item, "$patch", ""), "delete")) {
            if (at >= 0)
                (void)json_array_remove(out, (size_t)at);
        } else if (at >= 0) {
            (void)json_array_set_new(out, (size_t)at,
                                     merge_object(json_array_get(out, (size_t)at), item, field));
        } else {
            (void)json_array_append_new(out, without_directives(item));
        }
    }
    return out;
}

static json_t *merge_set(const json_t *target, const json_t *patch)
{
    json_t *out = json_array(), *item, *other;
    size_t i, k;

    json_array_foreach((json_t *)target, i, item)
    {
        (void)json_array_append(out, item);
    }
    json_array_foreach((json_t *)patch, i, item)
    {
        bool there = false;

        json_array_foreach(out, k, other)
        {
            there |= json_equal(item, other);
        }
        if (!there)
            (void)json_array_append(out, item);
    }
    return out;
}

static json_t *merge_value(const json_t *old, const json_t *v, const char *field,
                           const char *parent)
{
    const char *key;

    if (json_is_object(v))
        return merge_object(json_is_object(old) ? old : NULL, v, field);
    if (json_is_array(v) && json_is_array(old)) {
        key = merge_key(field, parent);
        if (key && (json_is_object(json_array_get(v, 0)) || json_array_size(v) == 0))
            return merge_list(old, v, key, field);
        if (is_set(field))
            return merge_set(old, v);
    }
    return without_directives(v);
}

static void retain_keys(json_t *out, const json_t *keys)
{
    const char *k;
    json_t *v, *item;
    void *tmp;
    size_t i;

    json_object_foreach_safe(out, tmp, k, v)
    {
        bool keep = false;

        json_array_foreach((json_t *)keys, i, item)
        {
            keep |= streq(json_string_value(item), k);
        }
        if (!keep)
            (void)json_object_del(out, k);
    }
}

static void directive(json_t *out, const char *k, const json_t *v, const char *parent)
{
    static const char remove_from[] = "$deleteFromPrimitiveList/", order[] = "$setElementOrder/";
    json_t *item, *list;
    size_t i, m;

    if (streq(k, "$retainKeys")) {
        retain_keys(out, v);
    } else if (strstarts(k, remove_from)) {
        list = json_object_get(out, k + sizeof remove_from - 1);
        json_array_foreach((json_t *)v, i, item)
        {
            for (m = json_array_size(list); m > 0; m--)
                if (json_equal(json_array_get(list, m - 1), item))
                    (void)json_array_remove(list, m - 1);
        }
    } else if (strstarts(k, order)) {
        const char *field = k + sizeof order - 1;

        list = json_object_get(out, field);
        if (json_is_array(list))
            reorder(list, v,
                    json_is_object(json_array_get(v, 0)) ? merge_key(field, parent) : NULL);
    }
}

static json_t *merge_object(const json_t *target, const json_t *patch, const char *name)
{
    const char *how = json_text_or(patch, "$patch", "");
    const char *k;
    json_t *out, *v;

    if (streq(how, "replace"))
        return without_directives(patch);
    if (streq(how, "delete"))
        return json_object();
    out = target ? json_copy((json_t *)target) : json_object();
    json_object_foreach((json_t *)patch, k, v)
    {
        if (k[0] == '$')
            continue;
        if (json_is_null(v))
            (void)json_object_del(out, k);
        else
            (void)json_object_set_new(out, k, merge_value(json_object_get(out, k), v, k, name));
    }
    json_object_foreach((json_t *)patch, k, v)
    {
        if (k[0] != '$')
            continue;
        /* the lists in out may be shared with target: directives change them in place */
        if (strchr(k, '/'))
            (void)json_object_set_new(out, strchr(k, '/') + 1,
                                      json_deep_copy(json_object_get(out, strchr(k, '/') + 1)));
        directive(out, k, v, name);
    }
    return out;
}

int patch_strategic(const json_t *object, const json_t *patch, const char *kind, json_t **ret,
                    struct error **err)
{
    json_t *shallow;

    (void)kind;
    if (!json_is_object(patch))
        return error_set(err, EINVAL, "a strategic merge patch must be a JSON object");
    shallow = merge_object(object, patch, "");
    *ret = json_deep_copy(shallow);
    json_decref(shallow);
    return 0;
}
