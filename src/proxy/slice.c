#include "proxy/slice.h"
#include "base/mem.h"
#include "proxy/service.h"
#include <stdlib.h>

#define ENDPOINTS_MAX 1000 /* the API's own limit for a slice */

uint64_t zone_bit(struct zone_names *z, const char *name)
{
    if (!name || !name[0])
        return 0;
    for (size_t i = 0; i < z->n; i++)
        if (streq(z->v[i], name))
            return 1ull << i;
    if (z->n == 64)
        return 0;
    z->v[z->n] = xstrdup(name);
    return 1ull << z->n++;
}

void zone_names_fini(struct zone_names *z)
{
    for (size_t i = 0; i < z->n; i++)
        free(z->v[i]);
    z->n = 0;
}

static uint8_t read_flags(const K8s__Endpoint *e, const char *node_name)
{
    const K8s__EndpointConditions *c = e->conditions;
    bool ready = !c || !c->has_ready || c->ready; /* unknown counts as ready */
    bool serving = c && c->has_serving ? c->serving : ready;
    bool terminating = c && c->has_terminating && c->terminating;
    uint8_t f = 0;

    f |= ready ? ENDPOINT_READY : 0;
    f |= serving ? ENDPOINT_SERVING : 0;
    f |= terminating ? ENDPOINT_TERMINATING : 0;
    f |= node_name && e->nodename && streq(e->nodename, node_name) ? ENDPOINT_LOCAL : 0;
    return f;
}

static bool read_endpoint(const K8s__Endpoint *e, uint8_t family, const char *node_name,
                          struct zone_names *zones, struct endpoint *ret)
{
    struct endpoint r = {0};
    struct ip a;

    /* Consumers use the first address only, as the API says. */
    if (e->n_addresses == 0 || ip_parse(str_of(e->addresses[0]), &a) < 0 || a.family != family)
        return false;
    memcpy(r.address, a.bytes, sizeof(r.address));
    r.flags = read_flags(e, node_name);
    if (e->hints && e->hints->n_forzones) {
        r.flags |= ENDPOINT_HINTS_ZONE;
        for (size_t i = 0; i < e->hints->n_forzones; i++)
            r.zones |= zone_bit(zones, e->hints->forzones[i]->name);
    }
    if (e->hints && e->hints->n_fornodes) {
        r.flags |= ENDPOINT_HINTS_NODE;
        for (size_t i = 0; i < e->hints->n_fornodes; i++)
            if (streq(strna(e->hints->fornodes[i]->name), strna(node_name)))
                r.flags |= ENDPOINT_HINTS_US;
    }
    *ret = r;
    return true;
}

struct slice *slice_read(const K8s__EndpointSlice *s, const char *node_name,
                         struct zone_names *zones)
{
    uint8_t family = streq(s->addresstype, "IPv4")   ? AF_INET
                     : streq(s->addresstype, "IPv6") ? AF_INET6
                                                     : 0;
    struct slice *r;

    if (!family)
        return NULL;
    r = xcalloc(1, sizeof(*r));
    r->name = xstrdup(strna(s->metadata ? s->metadata->name : NULL));
    r->family = family;
    r->ports = xcalloc(s->n_ports ? s->n_ports : 1, sizeof(*r->ports));
    for (size_t i = 0; i < s->n_ports; i++) {
        const K8s__SlicePort *p = s->ports[i];
        uint8_t protocol = service_protocol(p->protocol);
        if (!protocol || !p->has_port || p->port < 1 || p->port > 65535)
            continue;
        r->ports[r->ports_n++] =
            (struct slice_port){xstrdup(strna(p->name)), protocol, (uint16_t)p->port};
    }
    r->endpoints = xcalloc(s->n_endpoints ? s->n_endpoints : 1, sizeof(*r->endpoints));
    for (size_t i = 0; i < s->n_endpoints && r->endpoints_n < ENDPOINTS_MAX; i++)
        if (read_endpoint(s->endpoints[i], family, node_name, zones, &r->endpoints[r->endpoints_n]))
            r->endpoints_n++;
    return r;
}

void slice_free(struct slice *s)
{
    if (!s)
        return;
    list_remove(&s->link);
    for (size_t i = 0; i < s->ports_n; i++)
        free(s->ports[i].name);
    free(s->ports);
    free(s->endpoints);
    free(s->name);
    free(s);
}

bool slice_equal(const struct slice *a, const struct slice *b)
{
    if (a->family != b->family || a->ports_n != b->ports_n || a->endpoints_n != b->endpoints_n)
        return false;
    for (size_t i = 0; i < a->ports_n; i++)
        if (!streq(a->ports[i].name, b->ports[i].name) ||
            a->ports[i].protocol != b->ports[i].protocol || a->ports[i].port != b->ports[i].port)
            return false;
    for (size_t i = 0; i < a->endpoints_n; i++)
        if (memcmp(a->endpoints[i].address, b->endpoints[i].address, 16) != 0 ||
            a->endpoints[i].flags != b->endpoints[i].flags ||
            a->endpoints[i].zones != b->endpoints[i].zones)
            return false;
    return true;
}

/* ---- choice ---- */

void targets_fini(struct targets *t)
{
    free(t->v);
    *t = (struct targets){0};
}

static void targets_add(struct targets *t, const struct target *x)
{
    if (t->n == t->cap) {
        t->cap = t->cap ? t->cap * 2 : 16;
        t->v = xreallocarray(t->v, t->cap, sizeof(*t->v));
    }
    t->v[t->n++] = *x;
}

static int target_order(const void *a, const void *b)
{
    const struct target *x = a, *y = b;
    int c = memcmp(x->address, y->address, 16);

    if (c)
        return c;
    return x->port < y->port ? -1 : x->port > y->port;
}

void targets_gather(const struct list *slices, uint8_t family, const char *port_name,
                    uint8_t protocol, struct targets *ret)
{
    size_t kept = 0;

    ret->n = 0;
    list_for(l, slices)
    {
        const struct slice *s = container_of(l, const struct slice, link);
        if (s->family != family)
            continue;
        for (size_t p = 0; p < s->ports_n; p++) {
            if (s->ports[p].protocol != protocol || !streq(s->ports[p].name, port_name))
                continue;
            for (size_t i = 0; i < s->endpoints_n; i++) {
                struct target t = {.port = s->ports[p].port,
                                   .flags = s->endpoints[i].flags,
                                   .zones = s->endpoints[i].zones};
                memcpy(t.address, s->endpoints[i].address, 16);
                targets_add(ret, &t);
            }
        }
    }
    if (ret->n)
        qsort(ret->v, ret->n, sizeof(*ret->v), target_order);
    for (size_t i = 0; i < ret->n; i++) {
        if (kept && target_order(&ret->v[kept - 1], &ret->v[i]) == 0) {
            /* An endpoint moving between slices may be seen twice for a moment: the ready one
             * counts. */
            if (ret->v[i].flags & ENDPOINT_READY)
                ret->v[kept - 1] = ret->v[i];
            continue;
        }
        ret->v[kept++] = ret->v[i];
    }
    ret->n = kept;
}

static void pick(const struct targets *all, uint8_t mask, uint8_t want, struct targets *ret)
{
    ret->n = 0;
    for (size_t i = 0; i < all->n; i++)
        if ((all->v[i].flags & mask) == want)
            targets_add(ret, &all->v[i]);
}

/* Hints count only when every ready endpoint has one and at least one names us. */
static bool keep_near(struct targets *t, uint64_t our_zone)
{
    bool all_node = true, all_zone = true, any_node = false, any_zone = false;
    size_t kept = 0;

    for (size_t i = 0; i < t->n; i++) {
        uint8_t f = t->v[i].flags;
        all_node &= (f & ENDPOINT_HINTS_NODE) != 0;
        any_node |= (f & ENDPOINT_HINTS_US) != 0;
        all_zone &= (f & ENDPOINT_HINTS_ZONE) != 0;
        any_zone |= (t->v[i].zones & our_zone) != 0;
    }
    bool by_node = all_node && any_node, by_zone = !by_node && all_zone && any_zone;
    if (!by_node && !by_zone)
        return false;
    for (size_t i = 0; i < t->n; i++)
        if (by_node ? (t->v[i].flags & ENDPOINT_HINTS_US) != 0 : (t->v[i].zones & our_zone) != 0)
            t->v[kept++] = t->v[i];
    t->n = kept;
    return true;
}

void targets_cluster(const struct targets *all, uint64_t our_zone, struct targets *ret)
{
    pick(all, ENDPOINT_READY, ENDPOINT_READY, ret);
    if (ret->n)
        (void)keep_near(ret, our_zone);
    else
        pick(all, ENDPOINT_SERVING | ENDPOINT_TERMINATING, ENDPOINT_SERVING | ENDPOINT_TERMINATING,
             ret);
}

void targets_local(const struct targets *all, struct targets *ret)
{
    pick(all, ENDPOINT_READY | ENDPOINT_LOCAL, ENDPOINT_READY | ENDPOINT_LOCAL, ret);
    if (ret->n == 0)
        pick(all, ENDPOINT_SERVING | ENDPOINT_TERMINATING | ENDPOINT_LOCAL,
             ENDPOINT_SERVING | ENDPOINT_TERMINATING | ENDPOINT_LOCAL, ret);
}
