#include "proxy/proxier.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "base/mem.h"
#include <arpa/inet.h>

/* Address, protocol, port of a front; a node port has address 0, a cluster address as such protocol
 * 0. */
struct claim {
    uint8_t key[1 + 16 + 1 + 2];
};

int proxier_init(struct proxier *p, const char *node_name, struct ruleset_options *o, int netns_fd,
                 struct error **err)
{
    *p = (struct proxier){0};
    map_init(&p->services);
    map_init(&p->slices);
    map_init(&p->claims);
    list_init(&p->dirty);
    list_init(&p->health);
    p->reconcile_due = true;
    p->node_name = xstrdup(strna(node_name));
    int r = netlink_open(NETLINK_NETFILTER, netns_fd, &p->conntrack, err);
    if (r == 0)
        r = ruleset_new(o, netns_fd, &p->rules, err);
    if (r < 0)
        proxier_fini(p);
    return r;
}

static void service_free(void *value)
{
    struct service *s = value;

    list_remove(&s->dirty);
    list_remove(&s->health);
    service_spec_fini(&s->spec);
    free(s->programmed.p);
    free(s->claims);
    free(s->key);
    free(s);
}

static void slice_free_value(void *value)
{
    slice_free(value);
}

void proxier_fini(struct proxier *p)
{
    map_fini(&p->slices, slice_free_value);
    map_fini(&p->services, service_free);
    map_fini(&p->claims, NULL);
    zone_names_fini(&p->zones);
    ruleset_free(p->rules);
    netlink_close(p->conntrack);
    free(p->stale.v);
    free(p->node_name);
    *p = (struct proxier){0};
}

/* ---- what comes in ---- */

static void mark_dirty(struct proxier *p, struct service *s)
{
    if (!list_linked(&s->dirty))
        list_add_tail(&p->dirty, &s->dirty);
}

static struct service *service_of(struct proxier *p, const char *ns, const char *name)
{
    cleanup_free char *key = xasprintf("%s/%s", ns, name);
    struct service *s = map_get(&p->services, key);

    if (s)
        return s;
    s = xcalloc(1, sizeof(*s));
    s->key = xstrdup(key);
    list_init(&s->slices);
    (void)map_set(&p->services, key, s);
    return s;
}

void proxier_set_service(struct proxier *p, const K8s__Service *o)
{
    struct service_spec spec;

    if (!o->metadata || !o->metadata->name)
        return;
    struct service *s = service_of(p, strna(o->metadata->namespace_), o->metadata->name);
    service_spec_read(o, &spec);
    if (s->exists && service_spec_equal(&spec, &s->spec)) {
        service_spec_fini(&spec);
        return;
    }
    service_spec_fini(&s->spec);
    s->spec = spec;
    s->exists = true;
    list_remove(&s->health);
    if (spec.health_port)
        list_add_tail(&p->health, &s->health);
    mark_dirty(p, s);
}

void proxier_delete_service(struct proxier *p, const char *ns, const char *name)
{
    cleanup_free char *key = xasprintf("%s/%s", ns, name);
    struct service *s = map_get(&p->services, key);

    if (!s)
        return;
    service_spec_fini(&s->spec);
    s->exists = false;
    list_remove(&s->health);
    mark_dirty(p, s);
}

static const char *service_label(const K8s__EndpointSlice *o)
{
    for (size_t i = 0; o->metadata && i < o->metadata->n_labels; i++)
        if (streq(o->metadata->labels[i]->key, "kubernetes.io/service-name"))
            return o->metadata->labels[i]->value;
    return NULL;
}

static void slice_owner_dirty(struct proxier *p, const char *ns, const char *service)
{
    mark_dirty(p, service_of(p, ns, service));
}

static void drop_slice(struct proxier *p, const char *ns, const char *key)
{
    struct slice *old = map_remove(&p->slices, key);

    if (!old)
        return;
    slice_owner_dirty(p, ns, old->name);
    slice_free(old);
}

void proxier_set_slice(struct proxier *p, const K8s__EndpointSlice *o)
{
    const char *name = service_label(o), *ns = strna(o->metadata ? o->metadata->namespace_ : NULL);
    cleanup_free char *key = xasprintf("%s/%s", ns, strna(o->metadata ? o->metadata->name : NULL));
    struct slice *s = name ? slice_read(o, p->node_name, &p->zones) : NULL,
                 *old = map_get(&p->slices, key);

    if (!s) {
        drop_slice(p, ns, key);
        return;
    }
    str_replace(&s->name, name); /* what it belongs to is all we ask of it later */
    if (old && streq(old->name, s->name) && slice_equal(old, s)) {
        slice_free(s);
        return;
    }
    drop_slice(p, ns, key);
    struct service *owner = service_of(p, ns, name);
    list_add_tail(&owner->slices, &s->link);
    (void)map_set(&p->slices, key, s);
    mark_dirty(p, owner);
}

void proxier_delete_slice(struct proxier *p, const char *ns, const char *name)
{
    cleanup_free char *key = xasprintf("%s/%s", ns, name);

    drop_slice(p, ns, key);
}

static void all_dirty(struct proxier *p)
{
    struct map_entry *e;

    for (size_t it = 0; (e = map_next(&p->services, &it));)
        mark_dirty(p, e->value);
}

void proxier_set_zone(struct proxier *p, const char *zone)
{
    uint64_t bit = zone_bit(&p->zones, zone);

    if (bit == p->our_zone)
        return;
    p->our_zone = bit;
    all_dirty(p);
}

void proxier_set_options(struct proxier *p, struct ruleset_options *o)
{
    ruleset_set_options(p->rules, o);
    p->reconcile_due = true;
}

bool proxier_is_dirty(const struct proxier *p)
{
    return p->reconcile_due || !list_empty(&p->dirty);
}

/* ---- who has an address ---- */

struct claiming {
    struct proxier *p;
    struct service *s;
    struct claim *claims;
    size_t n;
    bool blocked;
};

static struct str claim_str(const struct claim *c)
{
    return (struct str){(const char *)c->key, sizeof(c->key)};
}

static bool on_claim(const struct ip *a, uint8_t protocol, uint16_t port, void *arg)
{
    struct claiming *c = arg;
    struct claim k;

    k.key[0] = a->family;
    memcpy(k.key + 1, a->bytes, 16);
    k.key[17] = protocol;
    memcpy(k.key + 18, &port, 2);
    struct service *owner = map_get_str(&c->p->claims, claim_str(&k));
    if (owner && owner != c->s) {
        if (!c->s->blocked)
            log_warn("proxy", "another Service has an address or port this one wants", "service",
                     c->s->key, "holder", owner->key, NULL);
        c->blocked = true;
        return false;
    }
    for (size_t i = 0; i < c->n;
         i++) /* the same address by two ways, such as an external IP that is also an ingress IP */
        if (memcmp(&c->claims[i], &k, sizeof(k)) == 0)
            return false;
    (void)map_set_str(&c->p->claims, claim_str(&k), c->s);
    c->claims = xreallocarray(c->claims, c->n + 1, sizeof(k));
    c->claims[c->n++] = k;
    return true;
}

static bool has_claim(const struct claiming *c, const struct claim *k)
{
    for (size_t i = 0; i < c->n; i++)
        if (memcmp(&c->claims[i], k, sizeof(*k)) == 0)
            return true;
    return false;
}

static void claims_settle(struct claiming *c)
{
    struct service *s = c->s;
    bool released = false;
    struct map_entry *e;

    for (size_t i = 0; i < s->claims_n; i++) {
        if (has_claim(c, &s->claims[i]))
            continue;
        (void)map_remove_str(&c->p->claims, claim_str(&s->claims[i]));
        released = true;
    }
    free(s->claims);
    s->claims = c->claims;
    s->claims_n = c->n;
    s->blocked = c->blocked;
    for (size_t it = 0; released && (e = map_next(&c->p->services, &it));)
        if (((struct service *)e->value)->blocked && e->value != s)
            mark_dirty(c->p, e->value);
}

/* ---- levelling ---- */

static void emit_gone(const struct element *e, void *arg)
{
    struct proxier *p = arg;

    p->changes++;
    ruleset_delete(p->rules, e);
}

static void emit_added(const struct element *e, void *arg)
{
    struct proxier *p = arg;

    p->changes++;
    ruleset_add(p->rules, e);
}

static void service_sync(struct proxier *p, struct service *s, struct desired *d, bool emit)
{
    struct claiming c = {.p = p, .s = s};

    service_desired(s, p->our_zone, p->rules, on_claim, &c, d);
    claims_settle(&c);
    s->local_ready = d->local_ready;
    if (emit)
        elements_diff(&s->programmed, &d->elements, emit_gone, emit_added, p);
    if (s->programmed.n)
        stale_flows_collect(&p->stale, &s->programmed, &d->elements);
    free(s->programmed.p);
    s->programmed = elements_pack(&d->elements);
}

static int reconcile(struct proxier *p, struct error **err)
{
    const struct packed **want = xcalloc(p->services.n ? p->services.n : 1, sizeof(*want));
    struct ruleset_tally tally = {0};
    struct map_entry *e;
    size_t n = 0;

    for (size_t it = 0; (e = map_next(&p->services, &it));)
        want[n++] = &((struct service *)e->value)->programmed;
    int r = ruleset_reconcile(p->rules, want, n, &tally, err);
    free(want);
    p->last_tally = tally;
    if (r == 0 && (tally.added || tally.removed))
        log_fmt(LOG_LEVEL_INFO, "proxy",
                "rules levelled: %zu elements kept, %zu added, %zu removed", tally.kept,
                tally.added, tally.removed);
    return r;
}

int proxier_sync(struct proxier *p, struct error **err)
{
    struct desired d = {0};
    bool emit = !p->reconcile_due;
    int r;

    p->syncs++;
    while (!list_empty(&p->dirty)) {
        struct service *s = container_of(p->dirty.next, struct service, dirty);
        list_remove(&s->dirty);
        service_sync(p, s, &d, emit);
        if (!s->exists && list_empty(&s->slices)) {
            (void)map_remove(&p->services, s->key);
            service_free(s);
        }
    }
    elements_fini(&d.elements);
    emit = emit && !ruleset_lacks_table(p->rules);
    r = emit ? ruleset_commit(p->rules, err) : reconcile(p, err);
    p->reconcile_due = r < 0;
    if (r == 0)
        stale_flows_remove(&p->stale, p->conntrack);
    return r;
}
