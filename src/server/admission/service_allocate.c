#include "base/cleanup.h"
#include "base/mem.h"
#include "server/admission/service.h"
#include "server/controllers/meta.h"
#include <errno.h>

int service_pools_init(struct service_pools *p, const struct admission_config *cfg,
                       struct error **err)
{
    *p = (struct service_pools){
        .cluster = cfg->cluster, .port_min = cfg->node_port_min, .port_max = cfg->node_port_max};
    if (allocator_init_cidr(&p->ips, cfg->service_cidr, err) < 0)
        return -EINVAL;
    if (p->port_min < 1 || p->port_max > 65535 || p->port_min > p->port_max) {
        allocator_fini(&p->ips);
        return error_set(err, EINVAL, "node port range %d-%d is not a range of ports", p->port_min,
                         p->port_max);
    }
    allocator_init_range(&p->ports, (uint32_t)p->port_min, (uint32_t)p->port_max);
    p->cidr = xstrdup(cfg->service_cidr);
    return 0;
}

void service_pools_fini(struct service_pools *p)
{
    allocator_fini(&p->ips);
    allocator_fini(&p->ports);
    free(p->cidr);
}

/* Every value a Service holds, given to fn. */
static void for_values(struct service_pools *p, const json_t *service,
                       void (*fn)(struct allocator *a, uint32_t value))
{
    const json_t *spec = json_object_get(service, "spec"), *x;
    uint32_t ip;

    json_each(json_object_get(spec, "clusterIPs"), i,
              x) if (ipv4_parse(strna(json_string_value(x)), &ip) == 0) fn(&p->ips, ip);
    json_each(json_object_get(spec, "ports"), k, x) if (json_int_or(x, "nodePort", 0) > 0)
        fn(&p->ports, (uint32_t)json_int_or(x, "nodePort", 0));
    if (json_int_or(spec, "healthCheckNodePort", 0) > 0)
        fn(&p->ports, (uint32_t)json_int_or(spec, "healthCheckNodePort", 0));
}

static void hold(struct allocator *a, uint32_t value)
{
    (void)allocator_take(a, value);
}

void service_released(struct service_pools *p, const json_t *service)
{
    for_values(p, service, allocator_give);
}

void service_pools_recount(struct service_pools *p)
{
    cleanup_json json_t *all = cluster_list(p->cluster, "services", NULL);
    const json_t *s;

    allocator_clear(&p->ips);
    allocator_clear(&p->ports);
    json_each(all, i, s) for_values(p, s, hold);
}

static bool take(struct service_pools *p, struct allocator *a, uint32_t value)
{
    if (allocator_take(a, value))
        return true;
    if (!allocator_contains(a, value))
        return false;
    service_pools_recount(p);
    return allocator_take(a, value);
}

static bool next(struct service_pools *p, struct allocator *a, uint32_t *ret)
{
    if (allocator_next(a, ret))
        return true;
    service_pools_recount(p);
    return allocator_next(a, ret);
}

static void allocate_ip(struct service_pools *p, json_t *spec, const json_t *old, struct invalid *v)
{
    const char *ip = json_text_or(spec, "clusterIP", "");
    char text[IPV4_TEXT];
    uint32_t value;

    if (streq(ip, "None") || streq(ip, json_text_at(old, "spec", "clusterIP", NULL)))
        return;
    if (!*ip) {
        if (!next(p, &p->ips, &value)) {
            invalid_value(v, "spec.clusterIPs", NULL,
                          "failed to allocate a serviceIP: range is full");
            return;
        }
        ipv4_format(value, text);
        json_set_text(spec, "clusterIP", text);
        json_object_set_new(spec, "clusterIPs", json_pack("[s]", text));
        return;
    }
    if (ipv4_parse(ip, &value) < 0)
        return; /* validation says so */
    if (!allocator_contains(&p->ips, value))
        invalid_value(
            v, "spec.clusterIPs", json_object_get(spec, "clusterIPs"),
            "failed to allocate IP %s: the provided IP (%s) is not in the valid range. The range "
            "of valid IPs is %s",
            ip, ip, p->cidr);
    else if (!take(p, &p->ips, value))
        invalid_value(v, "spec.clusterIPs", json_object_get(spec, "clusterIPs"),
                      "failed to allocate IP %s: provided IP is already allocated", ip);
}

static bool held_before(const json_t *old, int64_t port)
{
    const json_t *p;

    json_each(json_at(old, "spec", "ports", NULL), i,
              p) if (json_int_or(p, "nodePort", 0) == port) return true;
    return false;
}

/* The same number may serve several protocols of one Service. */
static bool held_by_sibling(const json_t *ports, size_t before, int64_t port, const char *protocol)
{
    for (size_t i = 0; i < before; i++) {
        const json_t *p = json_array_get(ports, i);

        if (json_int_or(p, "nodePort", 0) == port &&
            !streq(json_text_or(p, "protocol", "TCP"), protocol))
            return true;
    }
    return false;
}

static void allocate_port(struct service_pools *p, const json_t *ports, size_t i, const json_t *old,
                          struct invalid *v)
{
    json_t *port = json_array_get(ports, i), *value = json_object_get(port, "nodePort");
    int64_t want = json_integer_value(value);
    char f[FIELD_MAX];
    uint32_t got;

    field_at(f, "spec.ports[%zu].nodePort", i);
    if (want && (held_before(old, want) ||
                 held_by_sibling(ports, i, want, json_text_or(port, "protocol", "TCP"))))
        return;
    if (!want) {
        if (next(p, &p->ports, &got))
            json_set_int(port, "nodePort", got);
        else
            invalid_value(v, f, value, "failed to allocate a nodePort: range is full");
    } else if (want < p->port_min || want > p->port_max) {
        invalid_value(v, f, value,
                      "provided port is not in the valid range. The range of valid ports is %d-%d",
                      p->port_min, p->port_max);
    } else if (!take(p, &p->ports, (uint32_t)want)) {
        invalid_value(v, f, value, "provided port is already allocated");
    }
}

void service_allocate(struct service_pools *p, const struct admission_request *r, struct invalid *v)
{
    json_t *spec = json_object_get(r->object, "spec"), *ports = json_object_get(spec, "ports");
    const char *type = json_text_or(spec, "type", "");
    bool wants =
        streq(type, "NodePort") ||
        (streq(type, "LoadBalancer") && json_bool_or(spec, "allocateLoadBalancerNodePorts", true));

    if (!streq(type, "ExternalName"))
        allocate_ip(p, spec, r->old, v);
    for (size_t i = 0; wants && i < json_array_size(ports) && !invalid_any(v); i++)
        allocate_port(p, ports, i, r->old, v);
}
