/* Levels the kernel with everything that is wanted: at start, after a failed transaction, after
 * foreign changes. */
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/mem.h"
#include "proxy/ruleset_private.h"
#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

/* Changed whenever the definition of a set changes: then the table is made anew instead of adopted.
 * Wrapped as the nft program wraps a table's comment, so that its listing shows it. */
#define LAYOUT "skiff service proxy, layout 1"

/* ---- index of wanted records by tag and key: open addressing over borrowed pointers ---- */
struct index {
    const uint8_t **slots;
    bool *seen;
    size_t cap, n;
};

static size_t record_hash(const uint8_t *p, size_t n)
{
    uint64_t h = 0xcbf29ce484222325ull;
    for (size_t i = 0; i < n; i++)
        h = (h ^ p[i]) * 0x100000001b3ull;
    return (size_t)(h ^ h >> 29);
}

static size_t index_slot(const struct index *x, const uint8_t *key, size_t n)
{
    size_t i = record_hash(key, n) & (x->cap - 1);

    while (x->slots[i] &&
           (packed_record_key_bytes(x->slots[i]) != n || memcmp(x->slots[i], key, n) != 0))
        i = (i + 1) & (x->cap - 1);
    return i;
}

static void index_build(struct index *x, const struct packed *const *want, size_t want_n)
{
    size_t count = 0;
    struct element e;
    const uint8_t *record;

    for (size_t i = 0; i < want_n; i++)
        for (size_t at = 0; packed_next(want[i], &at, &e, NULL);)
            count++;
    for (x->cap = 64; x->cap < 2 * count; x->cap *= 2)
        ;
    x->slots = xcalloc(x->cap, sizeof(*x->slots));
    x->seen = xcalloc(x->cap, sizeof(*x->seen));
    for (size_t i = 0; i < want_n; i++)
        for (size_t at = 0; packed_next(want[i], &at, &e, &record);) {
            size_t s = index_slot(x, record, packed_record_key_bytes(record));
            x->n += x->slots[s] == NULL;
            if (!x->slots[s])
                x->slots[s] = record;
        }
}

static void index_fini(struct index *x)
{
    free(x->slots);
    free(x->seen);
}

/* ---- references, counted anew ---- */

static bool count_references(struct ruleset *r, const struct packed *const *want, size_t want_n)
{
    struct element e;
    bool v6 = false;

    for (size_t i = 0; i < r->chains_n; i++)
        r->chains[i]->refs = 0;
    map_clear(&r->shared, NULL);
    for (size_t i = 0; i < want_n; i++)
        for (size_t at = 0; packed_next(want[i], &at, &e, NULL);) {
            v6 |= e.v6;
            if (e.map == MAP_SERVICES || e.map == MAP_NODE_PORTS)
                r->chains[element_chain(&e)]->refs++;
            else if (element_is_shared(&e))
                (void)ruleset_shared_ref(r, &e);
        }
    return v6;
}

/* ---- one family ---- */

struct levelling {
    struct ruleset *r;
    struct family *f;
    struct index *index;
    struct ruleset_tally *tally;
    uint8_t map;
};

/* The kernel's element as a record; false when it has data that no record of ours could have. */
static bool element_of_view(const struct levelling *l, const struct nft_element_view *v,
                            struct element *ret)
{
    size_t key = element_key_bytes(l->map, l->f->v6), data = element_data_bytes(l->map, l->f->v6);
    struct element e = {.map = l->map, .v6 = l->f->v6};

    *ret = e;
    if (v->key.n != key)
        return false;
    memcpy(e.key, v->key.p, key);
    *ret = e;
    if (l->map == MAP_ENDPOINTS) {
        if (v->data.n != data)
            return false;
        memcpy(e.data, v->data.p, data);
    } else if (l->map == MAP_NO_ENDPOINTS || l->map == MAP_NO_NODE_PORTS) {
        e.data[0] = v->verdict == NFT_GOTO ? ELEMENT_REJECT : ELEMENT_DROP;
    } else if (l->map == MAP_SERVICES || l->map == MAP_NODE_PORTS) {
        char name[NFT_CHAIN_MAXNAMELEN + 1];
        name[0] = l->f->v6 ? '6' : '4';
        memcpy(name + 1, v->chain, NFT_CHAIN_MAXNAMELEN);
        uintptr_t number = (uintptr_t)map_get(&l->r->chain_numbers, name);
        element_set_chain(&e, number ? (uint32_t)number - 1 : UINT32_MAX);
    }
    *ret = e;
    return true;
}

static int on_kernel_element(const struct nft_element_view *v, void *arg)
{
    struct levelling *l = arg;
    uint8_t key[ELEMENT_KEY_MAX + 1];
    struct element e;

    if (!element_of_view(l, v, &e) && v->key.n != element_key_bytes(l->map, l->f->v6))
        return 0;
    size_t n = element_record_key(&e, key), s = index_slot(l->index, key, n);
    const uint8_t *want = l->index->slots[s];
    if (want && memcmp(want + n, e.data, packed_record_bytes(want) - n) == 0) {
        l->index->seen[s] = true;
        l->tally->kept++;
        return 0;
    }
    struct nft_element x = {.set = element_map_name(l->map), .key = e.key, .key_bytes = v->key.n};
    nft_element_delete(l->f->batch, &x);
    l->tally->removed++;
    return 0;
}

static int level_elements(struct levelling *l, bool adopt, struct error **err)
{
    struct element e;

    for (uint8_t m = 0; m < MAP_AFFINITY; m++) {
        l->map = m;
        if (m == MAP_ALLOWED) { /* ranges: small, written anew */
            nft_set_flush(l->f->batch, element_map_name(m));
            continue;
        }
        int r = adopt ? nft_element_each(l->r->nft, l->f->nfproto, RULESET_TABLE,
                                         element_map_name(m), on_kernel_element, l, err)
                      : 0;
        if (r < 0 && r != -ENOENT)
            return r;
        if (r == -ENOENT)
            error_clear(err);
    }
    for (size_t i = 0; i < l->index->cap; i++) {
        const uint8_t *record = l->index->slots[i];
        if (!record || (record[0] & 1) != l->f->v6 || l->index->seen[i])
            continue;
        element_from_record(record, &e);
        ruleset_put_element(l->f, l->r, &e, true);
        l->tally->added++;
    }
    return 0;
}

static void put_chains(struct ruleset *r, struct family *f)
{
    ruleset_put_static_chains(r, f);
    for (size_t i = 0; i < r->chains_n; i++) {
        struct chain *c = r->chains[i];
        if (c->spec.v6 != f->v6)
            continue;
        c->installed = c->refs > 0;
        if (!c->installed)
            continue;
        nft_chain_add(f->batch, c->name);
        nft_chain_flush(f->batch, c->name);
        ruleset_put_chain_rules(r, f, c);
    }
}

static int on_kernel_chain(const char *name, void *arg)
{
    struct levelling *l = arg;
    char key[NFT_CHAIN_MAXNAMELEN + 1];

    for (size_t i = 0; ruleset_static_chains[i]; i++)
        if (streq(name, ruleset_static_chains[i]))
            return 0;
    (void)snprintf(key, sizeof(key), "%c%.126s", l->f->v6 ? '6' : '4', name);
    uintptr_t number = (uintptr_t)map_get(&l->r->chain_numbers, key);
    if (!number || !l->r->chains[number - 1]->installed)
        nft_chain_delete(l->f->batch, name);
    return 0;
}

/* 1 the table is there and of our layout, 0 it is not there, 2 it is there and of another. */
static int table_state(struct ruleset *r, struct family *f, struct str layout, struct error **err)
{
    cleanup_buf struct buf data;

    buf_init(&data, 256);
    int e = nft_table_get(r->nft, f->nfproto, RULESET_TABLE, &data, err);
    if (e == -ENOENT) {
        error_clear(err);
        return 0;
    }
    if (e < 0)
        return e;
    return str_eq(buf_str(&data), layout) ? 1 : 2;
}

static int level_family(struct ruleset *r, struct family *f, struct index *x,
                        struct ruleset_tally *tally, struct error **err)
{
    struct levelling l = {r, f, x, tally, 0};
    char layout[sizeof(LAYOUT) + 2] = {0, sizeof(LAYOUT)};
    int state, e;

    memcpy(layout + 2, LAYOUT, sizeof(LAYOUT));
    nft_batch_clear(f->batch);
    state = table_state(r, f, (struct str){layout, sizeof(layout)}, err);
    if (state < 0)
        return state;
    if (state == 0 && !f->wanted)
        return 0;
    f->wanted = true;
    if (state == 2)
        nft_table_delete(f->batch);
    nft_table_add(f->batch, (struct str){layout, sizeof(layout)});
    ruleset_put_sets(r, f);
    put_chains(r, f);
    e = level_elements(&l, state == 1, err);
    if (e == 0 && state == 1)
        e = nft_chain_each(r->nft, f->nfproto, RULESET_TABLE, on_kernel_chain, &l, err);
    if (e < 0) {
        nft_batch_clear(f->batch);
        return e;
    }
    return nft_batch_commit(f->batch, err);
}

int ruleset_reconcile(struct ruleset *r, const struct packed *const *want, size_t want_n,
                      struct ruleset_tally *ret, struct error **err)
{
    struct ruleset_tally tally = {0};
    struct index x = {0};
    int e;

    r->families[1].wanted = count_references(r, want, want_n);
    index_build(&x, want, want_n);
    e = level_family(r, &r->families[0], &x, &tally, err);
    if (e == 0)
        e = level_family(r, &r->families[1], &x, &tally, err);
    index_fini(&x);
    if (e == 0 && ret)
        *ret = tally;
    return e;
}
