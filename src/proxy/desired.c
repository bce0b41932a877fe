/* From a Service and its endpoints to the elements of our maps. */
#include "proxy/proxier.h"
#include <arpa/inet.h>

/* The two lists a packet may be spread over. */
struct lists {
    struct targets all, cluster, local;
};

/* daddr . protocol . port at the front of a key; returns how long it is. */
static size_t put_key(uint8_t *k, uint8_t v6, const struct ip *a, uint8_t protocol, uint16_t port)
{
    size_t n = v6 ? 16 : 4;
    uint16_t be = htons(port);

    memcpy(k, a->bytes, n);
    k[n] = protocol; /* the kernel writes one byte into a register it cleared */
    memcpy(k + n + 4, &be, 2);
    return n + 8;
}

static void put_u32(uint8_t *k, uint32_t v)
{
    memcpy(k, &v, sizeof(v)); /* registers hold numbers in host order */
}

static void put_target(uint8_t *k, uint8_t v6, const struct target *t)
{
    size_t n = v6 ? 16 : 4;
    uint16_t be = htons(t->port);

    memcpy(k, t->address, n);
    memcpy(k + n, &be, 2);
}

static void add_list(struct elements *out, uint8_t v6, const struct ip *a,
                     const struct service_port *p, uint16_t port, const struct targets *t,
                     uint32_t list, bool sticky)
{
    for (size_t i = 0; i < t->n; i++) {
        struct element *e = elements_add(out, MAP_ENDPOINTS, v6);
        size_t n = put_key(e->key, v6, a, p->protocol, port);
        put_u32(e->key + n, list + (uint32_t)i);
        put_target(e->data, v6, &t->v[i]);
        if (!sticky)
            continue;
        e = elements_add(out, MAP_LIVE, v6);
        n = put_key(e->key, v6, a, p->protocol, port);
        put_u32(e->key + n, list);
        put_target(e->key + n + 4, v6, &t->v[i]);
    }
}

struct target_chain {
    enum chain_kind kind;
    bool node_port;
    const struct targets *first, *second; /* second: CHAIN_LOCAL only */
};

/* One address and port (or node port: a is zero) that leads somewhere, or is refused. */
static void add_entry(struct elements *out, const struct service *s, struct ruleset *rules,
                      uint8_t v6, const struct ip *a, const struct service_port *p, uint16_t port,
                      const struct target_chain *c, bool anybody)
{
    const struct chain_spec spec = {.v6 = v6,
                                    .kind = c->kind,
                                    .node_port = c->node_port,
                                    .n = (uint32_t)c->first->n,
                                    .m = c->second ? (uint32_t)c->second->n : 0,
                                    .affinity_s = s->spec.affinity_s};
    bool any = c->first->n || (c->second && c->second->n);
    struct element *e;
    uint8_t key[ELEMENT_KEY_MAX] = {0};
    size_t n = put_key(key, v6, a, p->protocol, port), skip = c->node_port ? n - 8 : 0;

    e = elements_add(out,
                     any ? (c->node_port ? MAP_NODE_PORTS : MAP_SERVICES)
                         : (c->node_port ? MAP_NO_NODE_PORTS : MAP_NO_ENDPOINTS),
                     v6);
    memcpy(e->key, key + skip, n - skip);
    if (!any) {
        e->data[0] = anybody ? ELEMENT_DROP : ELEMENT_REJECT;
        return;
    }
    element_set_chain(e, ruleset_chain(rules, &spec));
    add_list(out, v6, a, p, port, c->first, 0, s->spec.affinity_s != 0);
    if (c->second)
        add_list(out, v6, a, p, port, c->second, ELEMENT_LOCAL_LIST, s->spec.affinity_s != 0);
}

static void add_firewall(struct elements *out, const struct service *s, uint8_t v6,
                         const struct ip *a, const struct service_port *p)
{
    bool ours = false;

    for (size_t i = 0; i < s->spec.balancer_ips_n; i++)
        ours |= ip_equal(&s->spec.balancer_ips[i], a);
    if (!ours || !s->spec.source_ranges_n)
        return;
    struct element *e = elements_add(out, MAP_FIREWALLED, v6);
    (void)put_key(e->key, v6, a, p->protocol, p->port);
    for (size_t i = 0; i < s->spec.source_ranges_n; i++) {
        const struct ipnet *r = &s->spec.source_ranges[i];
        if ((r->ip.family == AF_INET6) != v6)
            continue;
        e = elements_add(out, MAP_ALLOWED, v6);
        size_t n = put_key(e->key, v6, a, p->protocol, p->port);
        memcpy(e->key + n, r->ip.bytes, v6 ? 16 : 4);
        e->data[0] = r->bits;
    }
}

static void add_hairpins(struct elements *out, uint8_t v6, const struct targets *all)
{
    size_t n = v6 ? 16 : 4;

    for (size_t i = 0; i < all->n; i++) {
        if (!(all->v[i].flags & ENDPOINT_LOCAL))
            continue;
        struct element *e = elements_add(out, MAP_HAIRPIN, v6);
        memcpy(e->key, all->v[i].address, n);
        memcpy(e->key + n, all->v[i].address, n);
    }
}

struct making {
    const struct service *s;
    struct ruleset *rules;
    desired_claim_fn may_use;
    void *arg;
    struct elements *out;
};

static void add_internal(const struct making *m, const struct service_port *p, const struct ip *a,
                         const struct lists *l)
{
    const struct service_spec *spec = &m->s->spec;
    uint8_t v6 = a->family == AF_INET6;
    struct target_chain c = {CHAIN_CLUSTER, false, spec->internal_local ? &l->local : &l->cluster,
                             NULL};

    if (!m->may_use(a, p->protocol, p->port, m->arg))
        return;
    add_entry(m->out, m->s, m->rules, v6, a, p, p->port, &c, spec->internal_local && l->cluster.n);
    memcpy(elements_add(m->out, MAP_CLUSTER_IPS, v6)->key, a->bytes, v6 ? 16 : 4);
}

static void add_external(const struct making *m, const struct service_port *p, const struct ip *a,
                         uint16_t port, bool node_port, const struct lists *l)
{
    bool local = m->s->spec.external_local;
    uint8_t v6 = a->family == AF_INET6;
    struct target_chain c = {local ? CHAIN_LOCAL : CHAIN_EXTERNAL, node_port, &l->cluster,
                             local ? &l->local : NULL};

    if (!m->may_use(a, p->protocol, port, m->arg))
        return;
    add_entry(m->out, m->s, m->rules, v6, a, p, port, &c, false);
    if (!node_port)
        add_firewall(m->out, m->s, v6, a, p);
}

static void add_port(const struct making *m, uint8_t family, const struct service_port *p,
                     const struct lists *l)
{
    const struct service_spec *s = &m->s->spec;
    const struct ip zero = {.family = family};

    for (size_t i = 0; i < s->cluster_ips_n; i++)
        if (s->cluster_ips[i].family == family)
            add_internal(m, p, &s->cluster_ips[i], l);
    for (size_t i = 0; i < s->external_ips_n; i++)
        if (s->external_ips[i].family == family)
            add_external(m, p, &s->external_ips[i], p->port, false, l);
    if (p->node_port)
        add_external(m, p, &zero, p->node_port, true, l);
}

static bool has_family(const struct service_spec *s, uint8_t family)
{
    for (size_t i = 0; i < s->cluster_ips_n; i++)
        if (s->cluster_ips[i].family == family)
            return true;
    return false;
}

void service_desired(const struct service *s, uint64_t our_zone, struct ruleset *rules,
                     desired_claim_fn may_use, void *arg, struct desired *ret)
{
    static const uint8_t families[] = {AF_INET, AF_INET6};
    struct making m = {s, rules, may_use, arg, &ret->elements};
    struct lists l = {0};

    ret->elements.n = 0;
    ret->local_ready = 0;
    for (size_t f = 0; f < 2; f++) {
        if (!has_family(&s->spec, families[f]))
            continue;
        for (size_t i = 0; i < s->spec.ports_n; i++) {
            const struct service_port *p = &s->spec.ports[i];
            targets_gather(&s->slices, families[f], p->name, p->protocol, &l.all);
            targets_cluster(&l.all, our_zone, &l.cluster);
            targets_local(&l.all, &l.local);
            add_port(&m, families[f], p, &l);
            add_hairpins(&ret->elements, families[f] == AF_INET6, &l.all);
            size_t ready = 0;
            for (size_t k = 0; k < l.local.n; k++)
                ready += (l.local.v[k].flags & ENDPOINT_READY) != 0;
            if (ready > ret->local_ready)
                ret->local_ready = ready;
        }
    }
    targets_fini(&l.all);
    targets_fini(&l.cluster);
    targets_fini(&l.local);
    elements_sort(&ret->elements);
}
