#include "proxy/element.h"
#include "base/mem.h"
#include <assert.h>
#include <stdlib.h>

/* Sizes: fixed bytes plus so many addresses. */
static const struct {
    const char *name;
    uint8_t key_fixed, key_addresses, data_fixed, data_addresses;
} maps[MAPS_N] = {
    [MAP_SERVICES] = {"services", 8, 1, 4, 0},
    [MAP_NODE_PORTS] = {"node-ports", 8, 0, 4, 0},
    [MAP_ENDPOINTS] = {"endpoints", 12, 1, 4, 1},
    [MAP_LIVE] = {"live", 16, 2, 0, 0},
    [MAP_NO_ENDPOINTS] = {"no-endpoints", 8, 1, 1, 0},
    [MAP_NO_NODE_PORTS] = {"no-node-ports", 8, 0, 1, 0},
    [MAP_HAIRPIN] = {"hairpin", 0, 2, 0, 0},
    [MAP_CLUSTER_IPS] = {"cluster-ips", 0, 1, 0, 0},
    [MAP_FIREWALLED] = {"firewalled", 8, 1, 0, 0},
    [MAP_ALLOWED] = {"allowed", 8, 2, 1, 0},
    [MAP_AFFINITY] = {"affinity", 8, 2, 4, 1},
};

const char *element_map_name(enum element_map m)
{
    return maps[m].name;
}

size_t element_key_bytes(uint8_t map, uint8_t v6)
{
    return maps[map].key_fixed + maps[map].key_addresses * (v6 ? 16u : 4u);
}

size_t element_data_bytes(uint8_t map, uint8_t v6)
{
    return maps[map].data_fixed + maps[map].data_addresses * (v6 ? 16u : 4u);
}

uint32_t element_chain(const struct element *e)
{
    uint32_t c;
    memcpy(&c, e->data, sizeof(c));
    return c;
}

void element_set_chain(struct element *e, uint32_t chain)
{
    memcpy(e->data, &chain, sizeof(chain));
}

struct element *elements_add(struct elements *l, uint8_t map, uint8_t v6)
{
    if (l->n == l->cap) {
        l->cap = l->cap ? l->cap * 2 : 32;
        l->v = xreallocarray(l->v, l->cap, sizeof(*l->v));
    }
    struct element *e = &l->v[l->n++];
    *e = (struct element){.map = map, .v6 = v6};
    return e;
}

static int key_order(const struct element *a, const struct element *b)
{
    int ta = a->map << 1 | a->v6, tb = b->map << 1 | b->v6;

    return ta != tb ? ta - tb : memcmp(a->key, b->key, ELEMENT_KEY_MAX);
}

static int element_order(const void *a, const void *b)
{
    return key_order(a, b);
}

void elements_sort(struct elements *l)
{
    size_t kept = 0;

    if (l->n)
        qsort(l->v, l->n, sizeof(*l->v), element_order);
    for (size_t i = 0; i < l->n; i++)
        if (!kept || key_order(&l->v[kept - 1], &l->v[i]) != 0)
            l->v[kept++] = l->v[i];
    l->n = kept;
}

void elements_fini(struct elements *l)
{
    free(l->v);
    *l = (struct elements){0};
}

/* ---- packed ---- */

size_t element_record_key(const struct element *e, uint8_t *out)
{
    size_t n = element_key_bytes(e->map, e->v6);

    out[0] = (uint8_t)(e->map << 1 | e->v6);
    memcpy(out + 1, e->key, n);
    return n + 1;
}

struct packed elements_pack(const struct elements *l)
{
    struct packed p = {0};

    for (size_t i = 0; i < l->n; i++)
        p.n += 1 + element_key_bytes(l->v[i].map, l->v[i].v6) +
               element_data_bytes(l->v[i].map, l->v[i].v6);
    if (!p.n)
        return p;
    p.p = xmalloc(p.n);
    uint8_t *at = p.p;
    for (size_t i = 0; i < l->n; i++) {
        at += element_record_key(&l->v[i], at);
        size_t n = element_data_bytes(l->v[i].map, l->v[i].v6);
        memcpy(at, l->v[i].data, n);
        at += n;
    }
    return p;
}

size_t packed_record_key_bytes(const uint8_t *record)
{
    return 1 + element_key_bytes(record[0] >> 1, record[0] & 1);
}

size_t packed_record_bytes(const uint8_t *record)
{
    return packed_record_key_bytes(record) + element_data_bytes(record[0] >> 1, record[0] & 1);
}

void element_from_record(const uint8_t *record, struct element *ret)
{
    size_t key = packed_record_key_bytes(record) - 1;

    *ret = (struct element){.map = record[0] >> 1, .v6 = record[0] & 1};
    memcpy(ret->key, record + 1, key);
    memcpy(ret->data, record + 1 + key, element_data_bytes(ret->map, ret->v6));
}

bool packed_next(const struct packed *p, size_t *at, struct element *ret,
                 const uint8_t **ret_record)
{
    const uint8_t *r = p->p + *at;

    if (*at >= p->n)
        return false;
    element_from_record(r, ret);
    *at += packed_record_bytes(r);
    assert(*at <= p->n);
    if (ret_record)
        *ret_record = r;
    return true;
}

/* ---- difference ---- */

static void diff_pass(const struct packed *old, const struct elements *new_, element_fn gone,
                      element_fn added, void *arg)
{
    struct element o;
    size_t at = 0, i = 0;
    bool have = packed_next(old, &at, &o, NULL);

    while (have || i < new_->n) {
        int c = !have ? 1 : i == new_->n ? -1 : key_order(&o, &new_->v[i]);
        bool same = c == 0 && memcmp(o.data, new_->v[i].data, ELEMENT_DATA_MAX) == 0;
        if (!same && c <= 0 && gone)
            gone(&o, arg);
        if (!same && c >= 0 && added)
            added(&new_->v[i], arg);
        if (c <= 0)
            have = packed_next(old, &at, &o, NULL);
        if (c >= 0)
            i++;
    }
}

void elements_diff(const struct packed *old, const struct elements *new_, element_fn gone,
                   element_fn added, void *arg)
{
    diff_pass(old, new_, gone, NULL, arg);
    diff_pass(old, new_, NULL, added, arg);
}
