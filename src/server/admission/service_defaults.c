#include "server/admission/service.h"
#include "server/controllers/meta.h"

static const char *type_of(const json_t *spec)
{
    return json_text_or(spec, "type", "ClusterIP");
}

static bool has_node_ports(const char *type)
{
    return streq(type, "NodePort") || streq(type, "LoadBalancer");
}

static void ports_default(json_t *spec)
{
    json_t *p;

    json_each(json_object_get(spec, "ports"), i, p)
    {
        const json_t *target;

        json_default(p, "protocol", json_string("TCP"));
        target = json_object_get(p, "targetPort");
        if (!target || json_is_null(target) ||
            (json_is_integer(target) && !json_integer_value(target)) ||
            (json_is_string(target) && !*json_string_value(target)))
            json_set_int(p, "targetPort", json_int_or(p, "port", 0));
    }
}

static json_t *port_like(const json_t *ports, const json_t *want)
{
    json_t *p;

    json_each(ports, i, p) if (json_int_or(p, "port", 0) == json_int_or(want, "port", -1) &&
                               streq(json_text_or(p, "protocol", "TCP"),
                                     json_text_or(want, "protocol", "TCP"))) return p;
    return NULL;
}

/* clusterIP changed alone: clusterIPs follows, as for clients that know only the older field. */
static void sync_cluster_ips(json_t *spec, const json_t *was)
{
    const char *ip = json_text_or(spec, "clusterIP", "");

    if (streq(ip, json_text_or(was, "clusterIP", "")) ||
        !json_equal(json_object_get(spec, "clusterIPs"), json_object_get(was, "clusterIPs")))
        return;
    if (*ip)
        json_object_set_new(spec, "clusterIPs", json_pack("[s]", ip));
    else
        json_object_del(spec, "clusterIPs");
}

/* An update that leaves allocated values out keeps them. */
static void carry_over(json_t *spec, const json_t *old)
{
    const json_t *was = json_object_get(old, "spec");
    const char *ip = json_text_or(was, "clusterIP", "");
    json_t *p;

    if (streq(type_of(spec), "ExternalName") || streq(type_of(was), "ExternalName"))
        return;
    sync_cluster_ips(spec, was);
    if (*ip && !*json_text_or(spec, "clusterIP", "") &&
        json_array_size(json_object_get(spec, "clusterIPs")) == 0) {
        json_set_text(spec, "clusterIP", ip);
        json_object_set_new(spec, "clusterIPs", json_pack("[s]", ip));
    }
    if (!has_node_ports(type_of(spec)) || !has_node_ports(type_of(was)))
        return;
    json_each(json_object_get(spec, "ports"), i, p)
    {
        const json_t *before = port_like(json_object_get(was, "ports"), p);

        if (before && !json_int_or(p, "nodePort", 0) && json_int_or(before, "nodePort", 0))
            json_set_int(p, "nodePort", json_int_or(before, "nodePort", 0));
    }
}

/* What the new type has no use for goes, when it only stands there from before. */
static void drop_unused(json_t *spec, const json_t *old)
{
    const json_t *was = json_object_get(old, "spec");
    json_t *p;

    if (!was || streq(type_of(spec), type_of(was)))
        return;
    if (!has_node_ports(type_of(spec)))
        json_each(json_object_get(spec, "ports"), i, p) json_object_del(p, "nodePort");
    if (streq(type_of(spec), "ExternalName")) {
        static const char *const gone[] = {"clusterIP", "clusterIPs", "ipFamilies",
                                           "ipFamilyPolicy", "internalTrafficPolicy"};

        for (size_t i = 0; i < sizeof(gone) / sizeof(gone[0]); i++)
            json_object_del(spec, gone[i]);
    }
    if (!has_node_ports(type_of(spec)))
        json_object_del(spec, "externalTrafficPolicy");
    if (!streq(type_of(spec), "LoadBalancer"))
        json_object_del(spec, "allocateLoadBalancerNodePorts");
}

static void cluster_ips_default(json_t *spec)
{
    const char *ip = json_text_or(spec, "clusterIP", "");
    const json_t *list = json_object_get(spec, "clusterIPs");

    if (!*ip && json_array_size(list) > 0)
        json_set_text(spec, "clusterIP", strna(json_string_value(json_array_get(list, 0))));
    else if (*ip && json_array_size(list) == 0)
        json_object_set_new(spec, "clusterIPs", json_pack("[s]", ip));
}

void service_default(json_t *service, const json_t *old)
{
    json_t *spec = json_object_need(service, "spec");

    json_default(spec, "type", json_string("ClusterIP"));
    json_default(spec, "sessionAffinity", json_string("None"));
    ports_default(spec);
    if (streq(json_text_or(spec, "sessionAffinity", ""), "ClientIP"))
        json_default(json_object_need(json_object_need(spec, "sessionAffinityConfig"), "clientIP"),
                     "timeoutSeconds", json_integer(10800));
    else
        json_object_del(spec, "sessionAffinityConfig");
    if (old) {
        drop_unused(spec, old);
        carry_over(spec, old);
    }
    if (!streq(type_of(spec), "ExternalName")) {
        json_default(spec, "internalTrafficPolicy", json_string("Cluster"));
        json_default(spec, "ipFamilies", json_pack("[s]", "IPv4"));
        json_default(spec, "ipFamilyPolicy", json_string("SingleStack"));
        cluster_ips_default(spec);
    }
    if (has_node_ports(type_of(spec)) || json_array_size(json_object_get(spec, "externalIPs")) > 0)
        json_default(spec, "externalTrafficPolicy", json_string("Cluster"));
    if (streq(type_of(spec), "LoadBalancer"))
        json_default(spec, "allocateLoadBalancerNodePorts", json_true());
    json_object_set_new(service, "status",
                        old && json_object_get(old, "status")
                            ? json_deep_copy(json_object_get(old, "status"))
                            : json_pack("{s:{}}", "loadBalancer"));
}
