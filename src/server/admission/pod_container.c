#include "base/quantity.h"
#include "server/admission/names.h"
#include "server/admission/pod.h"
#include "server/controllers/meta.h"

static bool one_of(const char *z, const char *const *list)
{
    for (size_t i = 0; list[i]; i++)
        if (streq(z, list[i]))
            return true;
    return false;
}

static void port_number(struct invalid *v, const char *field, int64_t n)
{
    json_t *value = json_integer(n);

    if (n < 1 || n > 65535)
        invalid_value(v, field, value, "must be between 1 and 65535, inclusive");
    json_decref(value);
}

static void ports_validate(struct invalid *v, const char *field, const json_t *ports)
{
    static const char *const protocols[] = {"SCTP", "TCP", "UDP", NULL};
    json_t *names = json_object();
    char f[FIELD_MAX];
    const json_t *p;

    json_each(ports, i, p)
    {
        const char *name = json_text_or(p, "name", ""), *bad = *name ? name_port(name) : NULL;
        const char *protocol = json_text_or(p, "protocol", "");

        if (bad)
            invalid_text(v, field_at(f, "%s.ports[%zu].name", field, i), name, bad);
        else if (*name && json_object_get(names, name))
            invalid_duplicate(v, field_at(f, "%s.ports[%zu].name", field, i),
                              json_object_get(p, "name"));
        json_object_set_new(names, *name ? name : " ", json_true());
        if (!json_object_get(p, "containerPort"))
            invalid_required(v, field_at(f, "%s.ports[%zu].containerPort", field, i), "");
        else
            port_number(v, field_at(f, "%s.ports[%zu].containerPort", field, i),
                        json_int_or(p, "containerPort", 0));
        if (json_int_or(p, "hostPort", 0))
            port_number(v, field_at(f, "%s.ports[%zu].hostPort", field, i),
                        json_int_or(p, "hostPort", 0));
        if (!one_of(protocol, protocols))
            invalid_unsupported(v, field_at(f, "%s.ports[%zu].protocol", field, i), protocol,
                                protocols);
    }
    json_decref(names);
}

static void quantity_list(struct invalid *v, const char *field, const json_t *list)
{
    char f[FIELD_MAX];
    const char *key;
    json_t *q;

    json_object_foreach((json_t *)list, key, q)
    {
        struct quantity parsed;
        const char *z = strna(json_string_value(q));

        if (quantity_parse(str_of(z), &parsed) < 0)
            invalid_text(v, field_at(f, "%s[%s]", field, key), z,
                         "quantities must match the regular expression "
                         "'^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'");
        else if (parsed.milli < 0)
            invalid_text(v, field_at(f, "%s[%s]", field, key), z,
                         "must be greater than or equal to 0");
    }
}

static void resources_validate(struct invalid *v, const char *field, const json_t *res)
{
    const json_t *limits = json_object_get(res, "limits"),
                 *requests = json_object_get(res, "requests");
    char f[FIELD_MAX];
    const char *key;
    json_t *q;

    quantity_list(v, field_at(f, "%s.limits", field), limits);
    quantity_list(v, field_at(f, "%s.requests", field), requests);
    json_object_foreach((json_t *)requests, key, q)
    {
        const char *limit = json_string_value(json_object_get(limits, key));

        if (limit &&
            quantity_milli_or(json_string_value(q), 0) > quantity_milli_or(limit, INT64_MAX))
            invalid_value(v, field_at(f, "%s.requests", field), q,
                          "must be less than or equal to %s limit of %s", key, limit);
    }
}

static bool volume_known(const json_t *volumes, const char *name)
{
    const json_t *vol;

    json_each(volumes, i, vol) if (streq(json_text_at(vol, "name", NULL), name)) return true;
    return false;
}

static void mounts_validate(struct invalid *v, const char *field, const json_t *mounts,
                            const json_t *volumes)
{
    json_t *paths = json_object();
    char f[FIELD_MAX];
    const json_t *m;

    json_each(mounts, i, m)
    {
        const char *name = json_text_or(m, "name", ""), *path = json_text_or(m, "mountPath", "");

        if (!*name)
            invalid_required(v, field_at(f, "%s.volumeMounts[%zu].name", field, i), "");
        else if (!volume_known(volumes, name))
            invalid_not_found(v, field_at(f, "%s.volumeMounts[%zu].name", field, i), name);
        if (!*path)
            invalid_required(v, field_at(f, "%s.volumeMounts[%zu].mountPath", field, i), "");
        else if (json_object_get(paths, path))
            invalid_text(v, field_at(f, "%s.volumeMounts[%zu].mountPath", field, i), path,
                         "must be unique");
        if (*path)
            json_object_set_new(paths, path, json_true());
    }
    json_decref(paths);
}

static void env_validate(struct invalid *v, const char *field, const json_t *env)
{
    char f[FIELD_MAX];
    const json_t *e;

    json_each(env, i, e)
    {
        const char *name = json_text_or(e, "name", ""), *bad = name_env(name);

        if (!*name)
            invalid_required(v, field_at(f, "%s.env[%zu].name", field, i), "");
        else if (bad)
            invalid_text(v, field_at(f, "%s.env[%zu].name", field, i), name, bad);
        if (*json_text_or(e, "value", "") && json_object_get(e, "valueFrom"))
            invalid_text(v, field_at(f, "%s.env[%zu].valueFrom", field, i), "",
                         "may not be specified when `value` is not empty");
    }
}

static void probe_validate(struct invalid *v, const char *field, const json_t *probe)
{
    static const char *const handlers[] = {"exec", "httpGet", "tcpSocket", "grpc"};
    size_t n = 0;

    if (!json_is_object(probe))
        return;
    for (size_t i = 0; i < 4; i++)
        n += json_is_object(json_object_get(probe, handlers[i]));
    if (n == 0)
        invalid_required(v, field, "must specify a handler type");
    else if (n > 1)
        invalid_forbidden(v, field, "may not specify more than 1 handler type");
}

void container_validate(struct invalid *v, const char *field, const json_t *c,
                        const json_t *volumes, bool init)
{
    static const char *const policies[] = {"Always", "IfNotPresent", "Never", NULL};
    static const char *const probes[] = {"livenessProbe", "readinessProbe", "startupProbe"};
    const char *policy = json_text_or(c, "imagePullPolicy", ""),
               *image = json_text_or(c, "image", "");
    char f[FIELD_MAX];

    if (!*image)
        invalid_required(v, field_at(f, "%s.image", field), "");
    else if (*image == ' ' || image[strlen(image) - 1] == ' ')
        invalid_text(v, field_at(f, "%s.image", field), image,
                     "must not have leading or trailing whitespace");
    if (!one_of(policy, policies))
        invalid_unsupported(v, field_at(f, "%s.imagePullPolicy", field), policy, policies);
    ports_validate(v, field, json_object_get(c, "ports"));
    env_validate(v, field, json_object_get(c, "env"));
    mounts_validate(v, field, json_object_get(c, "volumeMounts"), volumes);
    resources_validate(v, field_at(f, "%s.resources", field), json_object_get(c, "resources"));
    for (size_t i = 0; i < 3; i++) {
        bool sidecar = init && streq(json_text_or(c, "restartPolicy", ""), "Always");

        if (init && !sidecar && json_is_object(json_object_get(c, probes[i])))
            invalid_forbidden(v, field_at(f, "%s.%s", field, probes[i]),
                              "may not be set for init containers without restartPolicy=Always");
        else
            probe_validate(v, field_at(f, "%s.%s", field, probes[i]),
                           json_object_get(c, probes[i]));
    }
}
