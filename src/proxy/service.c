#include "proxy/service.h"
#include "base/mem.h"
#include <stdlib.h>

#define AFFINITY_DEFAULT_S 10800
#define AFFINITY_MAX_S 86400

uint8_t service_protocol(const char *name)
{
    if (!name || !name[0] || streq(name, "TCP"))
        return IPPROTO_TCP;
    if (streq(name, "UDP"))
        return IPPROTO_UDP;
    return streq(name, "SCTP") ? IPPROTO_SCTP : 0;
}

static void add_ip(struct ip **v, size_t *n, const char *text)
{
    struct ip a;

    if (!text || ip_parse(str_of(text), &a) < 0)
        return;
    for (size_t i = 0; i < *n; i++)
        if (ip_equal(&(*v)[i], &a))
            return;
    *v = xreallocarray(*v, *n + 1, sizeof(**v));
    (*v)[(*n)++] = a;
}

static void read_ports(const K8s__ServiceSpec *s, struct service_spec *r)
{
    r->ports = xcalloc(s->n_ports ? s->n_ports : 1, sizeof(*r->ports));
    for (size_t i = 0; i < s->n_ports; i++) {
        const K8s__ServicePort *p = s->ports[i];
        uint8_t protocol = service_protocol(p->protocol);
        if (!protocol || p->port < 1 || p->port > 65535)
            continue;
        struct service_port *out = &r->ports[r->ports_n++];
        out->name = xstrdup(strna(p->name));
        out->protocol = protocol;
        out->port = (uint16_t)p->port;
        if (p->has_nodeport && p->nodeport > 0 && p->nodeport < 65536)
            out->node_port = (uint16_t)p->nodeport;
    }
}

/* Keeps the ranges disjoint, as the kernel wants them. */
static void add_range(struct service_spec *r, struct ipnet n)
{
    size_t kept = 0;

    for (size_t i = 0; i < r->source_ranges_n; i++)
        if (r->source_ranges[i].bits <= n.bits && ipnet_contains(&r->source_ranges[i], &n.ip))
            return;
    for (size_t i = 0; i < r->source_ranges_n; i++)
        if (!ipnet_contains(&n, &r->source_ranges[i].ip))
            r->source_ranges[kept++] = r->source_ranges[i];
    r->source_ranges = xreallocarray(r->source_ranges, kept + 1, sizeof(n));
    r->source_ranges[kept] = n;
    r->source_ranges_n = kept + 1;
}

static void read_balancer(const K8s__Service *s, struct service_spec *r)
{
    const K8s__LoadBalancerStatus *b = s->status ? s->status->loadbalancer : NULL;

    for (size_t i = 0; b && i < b->n_ingress; i++) {
        const K8s__LoadBalancerIngress *g = b->ingress[i];
        if (g->ipmode && !streq(g->ipmode, "VIP"))
            continue;
        add_ip(&r->external_ips, &r->external_ips_n, g->ip);
        add_ip(&r->balancer_ips, &r->balancer_ips_n, g->ip);
    }
    for (size_t i = 0; i < s->spec->n_loadbalancersourceranges; i++) {
        struct ipnet n;
        if (ipnet_parse(str_trim(str_of(s->spec->loadbalancersourceranges[i])), &n) < 0)
            continue;
        add_range(r, ipnet_masked(&n));
    }
}

static uint32_t read_affinity(const K8s__ServiceSpec *s)
{
    const K8s__ClientIPConfig *c =
        s->sessionaffinityconfig ? s->sessionaffinityconfig->clientip : NULL;

    if (!s->sessionaffinity || !streq(s->sessionaffinity, "ClientIP"))
        return 0;
    if (!c || !c->has_timeoutseconds || c->timeoutseconds < 1)
        return AFFINITY_DEFAULT_S;
    return c->timeoutseconds > AFFINITY_MAX_S ? AFFINITY_MAX_S : (uint32_t)c->timeoutseconds;
}

void service_spec_read(const K8s__Service *s, struct service_spec *ret)
{
    const K8s__ServiceSpec *p = s->spec;
    struct service_spec r = {0};

    *ret = r;
    if (!p || streq(p->type, "ExternalName") || !p->clusterip || !p->clusterip[0] ||
        streq(p->clusterip, "None"))
        return;
    read_ports(p, &r);
    add_ip(&r.cluster_ips, &r.cluster_ips_n, p->clusterip);
    for (size_t i = 0; i < p->n_clusterips; i++)
        add_ip(&r.cluster_ips, &r.cluster_ips_n, p->clusterips[i]);
    for (size_t i = 0; i < p->n_externalips; i++)
        add_ip(&r.external_ips, &r.external_ips_n, p->externalips[i]);
    if (streq(p->type, "LoadBalancer"))
        read_balancer(s, &r);
    r.internal_local = streq(p->internaltrafficpolicy, "Local");
    r.external_local = streq(p->externaltrafficpolicy, "Local");
    r.affinity_s = read_affinity(p);
    if (r.external_local && p->has_healthchecknodeport && p->healthchecknodeport > 0 &&
        p->healthchecknodeport < 65536)
        r.health_port = (uint16_t)p->healthchecknodeport;
    r.same_node = streq(p->trafficdistribution, "PreferSameNode");
    r.same_zone = streq(p->trafficdistribution, "PreferSameZone") ||
                  streq(p->trafficdistribution, "PreferClose");
    *ret = r;
}

void service_spec_fini(struct service_spec *s)
{
    for (size_t i = 0; i < s->ports_n; i++)
        free(s->ports[i].name);
    free(s->ports);
    free(s->cluster_ips);
    free(s->external_ips);
    free(s->balancer_ips);
    free(s->source_ranges);
    *s = (struct service_spec){0};
}

static bool ips_equal(const struct ip *a, size_t an, const struct ip *b, size_t bn)
{
    if (an != bn)
        return false;
    for (size_t i = 0; i < an; i++)
        if (!ip_equal(&a[i], &b[i]))
            return false;
    return true;
}

bool service_spec_equal(const struct service_spec *a, const struct service_spec *b)
{
    if (a->ports_n != b->ports_n || a->source_ranges_n != b->source_ranges_n ||
        a->internal_local != b->internal_local || a->external_local != b->external_local ||
        a->affinity_s != b->affinity_s || a->health_port != b->health_port ||
        a->same_zone != b->same_zone || a->same_node != b->same_node)
        return false;
    for (size_t i = 0; i < a->ports_n; i++)
        if (!streq(a->ports[i].name, b->ports[i].name) ||
            a->ports[i].protocol != b->ports[i].protocol || a->ports[i].port != b->ports[i].port ||
            a->ports[i].node_port != b->ports[i].node_port)
            return false;
    for (size_t i = 0; i < a->source_ranges_n; i++)
        if (!ipnet_equal(&a->source_ranges[i], &b->source_ranges[i]))
            return false;
    return ips_equal(a->cluster_ips, a->cluster_ips_n, b->cluster_ips, b->cluster_ips_n) &&
           ips_equal(a->external_ips, a->external_ips_n, b->external_ips, b->external_ips_n) &&
           ips_equal(a->balancer_ips, a->balancer_ips_n, b->balancer_ips, b->balancer_ips_n);
}
