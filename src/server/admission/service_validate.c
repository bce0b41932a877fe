#include "server/admission/names.h"
#include "server/admission/service.h"
#include "server/controllers/meta.h"

static bool listed(const char *z, const char *const *list)
{
    for (size_t i = 0; list[i]; i++)
        if (streq(z, list[i]))
            return true;
    return false;
}

static void target_validate(struct invalid *v, const char *field, const json_t *target)
{
    const char *z = json_string_value(target), *bad = z ? name_port(z) : NULL;

    if (bad)
        invalid_text(v, field, z, bad);
    else if (!z && (json_integer_value(target) < 1 || json_integer_value(target) > 65535))
        invalid_value(v, field, target, "must be between 1 and 65535, inclusive");
}

static bool seen_before(const json_t *ports, size_t n, const json_t *p, bool by_name)
{
    for (size_t i = 0; i < n; i++) {
        const json_t *q = json_array_get(ports, i);

        if (by_name ? streq(json_text_or(q, "name", ""), json_text_or(p, "name", ""))
                    : json_int_or(q, "port", 0) == json_int_or(p, "port", 0) &&
                          streq(json_text_or(q, "protocol", ""), json_text_or(p, "protocol", "")))
            return true;
    }
    return false;
}

static void port_validate(struct invalid *v, const json_t *ports, size_t i, bool cluster_ip_type)
{
    static const char *const protocols[] = {"SCTP", "TCP", "UDP", NULL};
    const json_t *p = json_array_get(ports, i);
    const char *name = json_text_or(p, "name", ""), *bad = *name ? name_dns1123_label(name) : NULL;
    int64_t port = json_int_or(p, "port", 0);
    char f[FIELD_MAX];

    if (!*name && json_array_size(ports) > 1)
        invalid_required(v, field_at(f, "spec.ports[%zu].name", i), "");
    else if (bad)
        invalid_text(v, field_at(f, "spec.ports[%zu].name", i), name, bad);
    else if (*name && seen_before(ports, i, p, true))
        invalid_duplicate(v, field_at(f, "spec.ports[%zu].name", i), json_object_get(p, "name"));
    if (port < 1 || port > 65535)
        invalid_value(v, field_at(f, "spec.ports[%zu].port", i), json_object_get(p, "port"),
                      "must be between 1 and 65535, inclusive");
    if (!listed(json_text_or(p, "protocol", ""), protocols))
        invalid_unsupported(v, field_at(f, "spec.ports[%zu].protocol", i),
                            json_text_or(p, "protocol", ""), protocols);
    target_validate(v, field_at(f, "spec.ports[%zu].targetPort", i),
                    json_object_get(p, "targetPort"));
    if (cluster_ip_type && json_int_or(p, "nodePort", 0))
        invalid_forbidden(v, field_at(f, "spec.ports[%zu].nodePort", i),
                          "may not be used when `type` is 'ClusterIP'");
    if (port > 0 && seen_before(ports, i, p, false)) {
        json_t *value =
            json_pack("{s:i,s:s}", "port", (int)port, "protocol", json_text_or(p, "protocol", ""));

        invalid_duplicate(v, field_at(f, "spec.ports[%zu]", i), value);
        json_decref(value);
    }
}

static void immutable_ip(struct invalid *v, const json_t *spec, const json_t *old)
{
    const json_t *was = json_object_get(old, "spec");
    const char *before = json_text_or(was, "clusterIP", "");

    if (!was || !*before || streq(json_text_or(spec, "type", ""), "ExternalName") ||
        streq(json_text_or(was, "type", ""), "ExternalName"))
        return;
    if (!streq(before, json_text_or(spec, "clusterIP", "")))
        invalid_value(v, "spec.clusterIPs[0]", json_object_get(spec, "clusterIPs"),
                      "may not change once set");
}

static void ips_validate(struct invalid *v, const json_t *spec)
{
    const char *ip = json_text_or(spec, "clusterIP", "");
    const json_t *x;
    char f[FIELD_MAX];
    uint32_t value;

    if (*ip && !streq(ip, "None") && ipv4_parse(ip, &value) < 0)
        invalid_text(v, "spec.clusterIPs[0]", ip,
                     "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)");
    json_each(json_object_get(spec, "externalIPs"), i,
              x) if (ipv4_parse(strna(json_string_value(x)), &value) < 0)
        invalid_text(v, field_at(f, "spec.externalIPs[%zu]", i), strna(json_string_value(x)),
                     "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)");
}

void service_validate(struct invalid *v, const json_t *service, const json_t *old)
{
    static const char *const types[] = {"ClusterIP", "ExternalName", "LoadBalancer", "NodePort",
                                        NULL};
    static const char *const affinities[] = {"ClientIP", "None", NULL};
    static const char *const policies[] = {"Cluster", "Local", NULL};
    const json_t *spec = json_object_get(service, "spec"), *ports = json_object_get(spec, "ports");
    const char *type = json_text_or(spec, "type", ""), *ip = json_text_or(spec, "clusterIP", "");
    const char *affinity = json_text_or(spec, "sessionAffinity", "");
    const char *policy = json_text_or(spec, "externalTrafficPolicy", "Cluster");

    if (json_array_size(ports) == 0 && !streq(ip, "None") && !streq(type, "ExternalName"))
        invalid_required(v, "spec.ports", "");
    for (size_t i = 0; i < json_array_size(ports); i++)
        port_validate(v, ports, i, streq(type, "ClusterIP"));
    if (!listed(type, types))
        invalid_unsupported(v, "spec.type", type, types);
    if (!listed(affinity, affinities))
        invalid_unsupported(v, "spec.sessionAffinity", affinity, affinities);
    if (!listed(policy, policies))
        invalid_unsupported(v, "spec.externalTrafficPolicy", policy, policies);
    if (streq(ip, "None") && (streq(type, "NodePort") || streq(type, "LoadBalancer")))
        invalid_text(v, "spec.clusterIPs[0]", "None",
                     streq(type, "NodePort")
                         ? "may not be set to 'None' for NodePort services"
                         : "may not be set to 'None' for LoadBalancer services");
    if (streq(type, "ExternalName")) {
        const char *name = json_text_or(spec, "externalName", "");

        if (!*name)
            invalid_required(v, "spec.externalName", "");
        if (*ip)
            invalid_forbidden(v, "spec.clusterIPs", "may not be set when `type` is 'ExternalName'");
    }
    labels_validate(v, "spec.selector", json_object_get(spec, "selector"));
    ips_validate(v, spec);
    immutable_ip(v, spec, old);
}
