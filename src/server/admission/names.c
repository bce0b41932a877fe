#include "server/admission/names.h"
#include "server/controllers/meta.h"
#include <ctype.h>

#define LABEL_RE "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
#define TOO_LONG_63 "must be no more than 63 bytes"
#define TOO_LONG_253 "must be no more than 253 bytes"
static const char label_text[] = "a lowercase RFC 1123 label must consist of lower case "
                                 "alphanumeric characters or '-', and must start "
                                 "and end with an alphanumeric character (e.g. 'my-name',  or "
                                 "'123-abc', regex used for validation is '" LABEL_RE "')";
static const char subdomain_text[] = "a lowercase RFC 1123 subdomain must consist of lower case "
                                     "alphanumeric characters, '-' or '.', and "
                                     "must start and end with an alphanumeric character (e.g. "
                                     "'example.com', regex used for validation is "
                                     "'" LABEL_RE "(\\." LABEL_RE ")*')";
static const char dns1035_text[] = "a DNS-1035 label must consist of lower case alphanumeric "
                                   "characters or '-', start with an alphabetic "
                                   "character, and end with an alphanumeric character (e.g. "
                                   "'my-name',  or 'abc-123', regex used for "
                                   "validation is '[a-z]([-a-z0-9]*[a-z0-9])?')";
static const char value_text[] = "a valid label must be an empty string or consist of alphanumeric "
                                 "characters, '-', '_' or '.', and must "
                                 "start and end with an alphanumeric character (e.g. 'MyValue',  "
                                 "or 'my_value',  or '12345', regex used "
                                 "for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";
static const char qualified_text[] = "name part must consist of alphanumeric characters, '-', '_' "
                                     "or '.', and must start and end with an "
                                     "alphanumeric character (e.g. 'MyName',  or 'my.name',  or "
                                     "'123-abc', regex used for validation is "
                                     "'([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";

static bool lower_alnum(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

static bool is_label(const char *p, size_t n)
{
    if (n == 0 || !lower_alnum(p[0]) || !lower_alnum(p[n - 1]))
        return false;
    for (size_t i = 0; i < n; i++)
        if (!lower_alnum(p[i]) && p[i] != '-')
            return false;
    return true;
}

static bool is_qualified_part(const char *p, size_t n)
{
    if (n == 0 || !isalnum((unsigned char)p[0]) || !isalnum((unsigned char)p[n - 1]))
        return false;
    for (size_t i = 0; i < n; i++)
        if (!isalnum((unsigned char)p[i]) && !strchr("-_.", p[i]))
            return false;
    return true;
}

const char *name_dns1123_label(const char *z)
{
    if (strlen(z) > 63)
        return TOO_LONG_63;
    return is_label(z, strlen(z)) ? NULL : label_text;
}

const char *name_dns1123_subdomain(const char *z)
{
    struct str rest = str_of(z);

    if (rest.n > 253)
        return TOO_LONG_253;
    while (rest.p) {
        struct str part = str_split(&rest, '.');

        if (!is_label(part.p, part.n))
            return subdomain_text;
    }
    return NULL;
}

const char *name_dns1035_label(const char *z)
{
    if (strlen(z) > 63)
        return TOO_LONG_63;
    return is_label(z, strlen(z)) && z[0] >= 'a' ? NULL : dns1035_text;
}

const char *name_label_value(const char *z)
{
    if (strlen(z) > 63)
        return TOO_LONG_63;
    return !*z || is_qualified_part(z, strlen(z)) ? NULL : value_text;
}

const char *name_qualified(const char *z)
{
    const char *slash = strchr(z, '/');

    if (slash) {
        struct str prefix = {z, (size_t)(slash - z)};

        if (prefix.n == 0)
            return "prefix part must be non-empty";
        while (prefix.p) {
            struct str part = str_split(&prefix, '.');

            if (!is_label(part.p, part.n))
                return subdomain_text;
        }
        z = slash + 1;
    }
    if (!*z)
        return "name part must be non-empty";
    if (strlen(z) > 63)
        return "name part " TOO_LONG_63;
    return is_qualified_part(z, strlen(z)) ? NULL : qualified_text;
}

const char *name_path_segment(const char *z)
{
    if (streq(z, ".") || streq(z, ".."))
        return "may not be '.' or '..'";
    if (strchr(z, '/') || strchr(z, '%'))
        return "may not contain '/' or '%'";
    return NULL;
}

const char *name_env(const char *z)
{
    for (const char *p = z; *p; p++)
        if ((unsigned char)*p < 0x20 || *p == '=' || (unsigned char)*p > 0x7e)
            return "a valid environment variable name must consist only of printable ASCII "
                   "characters "
                   "other than '='";
    return *z ? NULL : "environment variable name must not be empty";
}

const char *name_config_key(const char *z)
{
    size_t n = strlen(z);

    if (n > 253)
        return TOO_LONG_253;
    if (streq(z, ".") || streq(z, "..") || strstarts(z, ".."))
        return "must not be '.', '..' or start with '..'";
    for (const char *p = z; *p; p++)
        if (!isalnum((unsigned char)*p) && !strchr("-_.", *p))
            n = 0;
    return n ? NULL
             : "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. "
               "'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is "
               "'[-._a-zA-Z0-9]+')";
}

const char *name_port(const char *z)
{
    size_t n = strlen(z);
    bool letter = false;

    if (n > 15)
        return "must be no more than 15 characters";
    for (const char *p = z; *p; p++)
        letter = letter || (*p >= 'a' && *p <= 'z');
    if (!is_label(z, n))
        return "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)";
    return letter ? NULL : "must contain at least one letter (a-z)";
}

void labels_validate(struct invalid *v, const char *field, const json_t *labels)
{
    const char *key, *bad;
    json_t *value;

    json_object_foreach((json_t *)labels, key, value)
    {
        bad = name_qualified(key);
        if (bad)
            invalid_text(v, field, key, bad);
        bad =
            json_is_string(value) ? name_label_value(json_string_value(value)) : "must be a string";
        if (bad)
            invalid_text(v, field, strna(json_string_value(value)), bad);
    }
}

void selector_validate(struct invalid *v, const char *field, const json_t *selector)
{
    static const char *const ops[] = {"DoesNotExist", "Exists", "In", "NotIn", NULL};
    char f[FIELD_MAX];
    const json_t *r;

    labels_validate(v, field_at(f, "%s.matchLabels", field),
                    json_object_get(selector, "matchLabels"));
    json_each(json_object_get(selector, "matchExpressions"), i, r)
    {
        const char *op = json_text_or(r, "operator", ""),
                   *bad = name_qualified(json_text_or(r, "key", ""));
        bool values = json_array_size(json_object_get(r, "values")) > 0;
        bool known = false;

        for (size_t k = 0; ops[k]; k++)
            known = known || streq(op, ops[k]);
        if (!known)
            invalid_text(v, field_at(f, "%s.matchExpressions[%zu].operator", field, i), op,
                         "not a valid selector operator");
        else if (values != (op[0] == 'I' || op[0] == 'N'))
            (values ? invalid_forbidden : invalid_required)(
                v, field_at(f, "%s.matchExpressions[%zu].values", field, i),
                values ? "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"
                       : "must be specified when `operator` is 'In' or 'NotIn'");
        if (bad)
            invalid_text(v, field_at(f, "%s.matchExpressions[%zu].key", field, i),
                         json_text_or(r, "key", ""), bad);
    }
}

static const char *name_rule(const char *resource, const char *name)
{
    static const struct {
        const char *resource;
        const char *(*rule)(const char *);
    } rows[] = {
        {"namespaces", name_dns1123_label},
        {"services", name_dns1035_label},
        {"roles.rbac.authorization.k8s.io", name_path_segment},
        {"clusterroles.rbac.authorization.k8s.io", name_path_segment},
        {"rolebindings.rbac.authorization.k8s.io", name_path_segment},
        {"clusterrolebindings.rbac.authorization.k8s.io", name_path_segment},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        if (streq(resource, rows[i].resource))
            return rows[i].rule(name);
    return name_dns1123_subdomain(name);
}

static void owners_validate(struct invalid *v, const json_t *owners)
{
    static const char *const need[] = {"apiVersion", "kind", "name", "uid"};
    char f[FIELD_MAX];
    size_t controllers = 0;
    const json_t *o;

    json_each(owners, i, o)
    {
        for (size_t k = 0; k < 4; k++)
            if (!*json_text_or(o, need[k], ""))
                invalid_text(v, field_at(f, "metadata.ownerReferences[%zu].%s", i, need[k]), "",
                             "must not be empty");
        controllers += json_bool_or(o, "controller", false);
    }
    if (controllers > 1)
        invalid_value(v, "metadata.ownerReferences", owners,
                      "Only one reference can have Controller set to true");
}

void meta_validate(struct invalid *v, const struct admission_request *r)
{
    const json_t *meta = json_object_get(r->object, "metadata"), *fin;
    const char *name = json_text_or(meta, "name", ""), *bad;

    if (!*name && !*json_text_or(meta, "generateName", ""))
        invalid_required(v, "metadata.name", "name or generateName is required");
    bad = *name && r->op == ADMISSION_CREATE ? name_rule(r->resource, name) : NULL;
    if (bad)
        invalid_text(v, "metadata.name", name, bad);
    labels_validate(v, "metadata.labels", json_object_get(meta, "labels"));
    json_each(json_object_get(meta, "finalizers"), i, fin)
    {
        bad = name_qualified(strna(json_string_value(fin)));
        if (bad)
            invalid_text(v, "metadata.finalizers", strna(json_string_value(fin)), bad);
    }
    owners_validate(v, json_object_get(meta, "ownerReferences"));
}
