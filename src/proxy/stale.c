/*
 * UDP has no end of connection: as long as packets come, connection tracking keeps sending a flow
 * to the endpoint it first went to. So flows are removed when their endpoint goes, when an address
 * loses its last one, and when an address that had none gets one (flows that were let through
 * untranslated).
 */
#include "base/cleanup.h"
#include "base/log.h"
#include "base/mem.h"
#include "proxy/proxier.h"
#include <arpa/inet.h>

#define STALE_MAX 4096 /* over it the rest is left to time out */

struct removal {
    struct stale_flows *flows;
    const struct elements *new_;
};

static bool is_udp(const struct element *e)
{
    size_t at = e->map == MAP_NODE_PORTS || e->map == MAP_NO_NODE_PORTS ? 0 : e->v6 ? 16 : 4;

    return e->key[at] == IPPROTO_UDP;
}

static struct ip address_at(const struct element *e, const uint8_t *p)
{
    return e->v6 ? ip_from_v6(p) : ip_from_v4(p);
}

static uint16_t port_at(const uint8_t *p)
{
    uint16_t be;
    memcpy(&be, p, 2);
    return ntohs(be);
}

static void add_filter(struct stale_flows *l, const struct conntrack_filter *f)
{
    if (l->n == STALE_MAX)
        return;
    if (l->n == l->cap) {
        l->cap = l->cap ? l->cap * 2 : 8;
        l->v = xreallocarray(l->v, l->cap, sizeof(*l->v));
    }
    l->v[l->n++] = *f;
}

/* Another slot of the same key may still lead to that endpoint: slots move when the list changes.
 */
static bool still_used(const struct elements *l, const struct element *gone)
{
    size_t key = element_key_bytes(MAP_ENDPOINTS, gone->v6) - 4,
           data = element_data_bytes(MAP_ENDPOINTS, gone->v6);

    for (size_t i = 0; i < l->n; i++)
        if (l->v[i].map == MAP_ENDPOINTS && l->v[i].v6 == gone->v6 &&
            memcmp(l->v[i].key, gone->key, key) == 0 && memcmp(l->v[i].data, gone->data, data) == 0)
            return true;
    return false;
}

static void on_gone(const struct element *e, void *arg)
{
    struct removal *r = arg;
    size_t a = e->v6 ? 16 : 4;
    static const uint8_t zero[16];

    if (e->map != MAP_ENDPOINTS || !is_udp(e) || still_used(r->new_, e))
        return;
    struct conntrack_filter f = {.family = e->v6 ? AF_INET6 : AF_INET,
                                 .protocol = IPPROTO_UDP,
                                 .orig_dst_port = port_at(e->key + a + 4),
                                 .reply_src = address_at(e, e->data),
                                 .reply_src_port = port_at(e->data + a)};
    if (memcmp(e->key, zero, a) != 0) /* a node port: whichever of our addresses it was */
        f.orig_dst = address_at(e, e->key);
    add_filter(r->flows, &f);
}

static void on_added(const struct element *e, void *arg)
{
    struct removal *r = arg;
    size_t a = e->v6 ? 16 : 4;
    bool node_port = e->map == MAP_NODE_PORTS || e->map == MAP_NO_NODE_PORTS;

    if (e->map != MAP_SERVICES && e->map != MAP_NO_ENDPOINTS && !node_port)
        return;
    if (!is_udp(e) ||
        node_port) /* an untranslated flow to a port of our own may be somebody else's */
        return;
    struct conntrack_filter f = {.family = e->v6 ? AF_INET6 : AF_INET,
                                 .protocol = IPPROTO_UDP,
                                 .orig_dst = address_at(e, e->key),
                                 .orig_dst_port = port_at(e->key + a + 4),
                                 .reply_src = address_at(e, e->key)};
    add_filter(r->flows, &f);
}

void stale_flows_collect(struct stale_flows *l, const struct packed *old,
                         const struct elements *new_)
{
    struct removal r = {l, new_};

    elements_diff(old, new_, on_gone, on_added, &r);
}

void stale_flows_remove(struct stale_flows *l, struct netlink *conntrack)
{
    static struct log_limit limit;

    for (size_t i = 0; i < l->n; i++) {
        cleanup_error struct error *err = NULL;
        if (conntrack_delete(conntrack, &l->v[i], &err) < 0 && log_limit_ok(&limit, 60000))
            log_warn("proxy", "stale UDP flows stay until they time out", "error",
                     error_message(err), NULL);
    }
    free(l->v);
    *l = (struct stale_flows){0};
}
