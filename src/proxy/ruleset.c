#include "base/cleanup.h"
#include "base/mem.h"
#include "proxy/ruleset_private.h"
#include <assert.h>
#include <errno.h>

static void family_init(struct ruleset *r, uint8_t v6)
{
    r->families[v6] = (struct family){
        .v6 = v6,
        .nfproto = v6 ? NFPROTO_IPV6 : NFPROTO_IPV4,
        .a = v6 ? 4 : 1,
        .bytes = v6 ? 16 : 4,
        .saddr = v6 ? 8 : 12,
        .daddr = v6 ? 24 : 16,
    };
    r->families[v6].batch = nft_batch_new(r->nft, r->families[v6].nfproto, RULESET_TABLE);
}

int ruleset_new(struct ruleset_options *o, int netns_fd, struct ruleset **ret, struct error **err)
{
    struct nft *nft;
    int e = nft_open(netns_fd, &nft, err);

    if (e < 0)
        return e;
    struct ruleset *r = xcalloc(1, sizeof(*r));
    r->nft = nft;
    r->options = *o;
    *o = (struct ruleset_options){0};
    map_init(&r->chain_numbers);
    map_init(&r->shared);
    family_init(r, 0);
    family_init(r, 1);
    r->families[0].wanted = true;
    *ret = r;
    return 0;
}

void ruleset_options_fini(struct ruleset_options *o)
{
    free(o->node_ports);
    *o = (struct ruleset_options){0};
}

void ruleset_set_options(struct ruleset *r, struct ruleset_options *o)
{
    ruleset_options_fini(&r->options);
    r->options = *o;
    *o = (struct ruleset_options){0};
}

void ruleset_free(struct ruleset *r)
{
    if (!r)
        return;
    for (size_t i = 0; i < 2; i++)
        nft_batch_free(r->families[i].batch);
    nft_close(r->nft);
    for (size_t i = 0; i < r->chains_n; i++)
        free(r->chains[i]);
    free(r->chains);
    map_fini(&r->chain_numbers, NULL);
    map_fini(&r->shared, NULL);
    ruleset_options_fini(&r->options);
    free(r);
}

uint32_t ruleset_portid(const struct ruleset *r)
{
    return nft_portid(r->nft);
}

/* ---- shared chains ---- */

static void chain_name(const struct chain_spec *s, char *out, size_t size)
{
    const char *prefix = s->node_port ? "node-port-" : "";
    char sticky[24] = "";

    if (s->affinity_s)
        (void)snprintf(sticky, sizeof(sticky), "-sticky-%u", s->affinity_s);
    if (s->kind == CHAIN_LOCAL)
        (void)snprintf(out, size, "%slocal-%u-%u%s", prefix, s->n, s->m, sticky);
    else
        (void)snprintf(out, size, "%s%s-%u%s", prefix,
                       s->kind == CHAIN_CLUSTER ? "cluster" : "external", s->n, sticky);
}

uint32_t ruleset_chain(struct ruleset *r, const struct chain_spec *s)
{
    char key[72];

    key[0] = s->v6 ? '6' : '4';
    chain_name(s, key + 1, sizeof(key) - 1);
    uintptr_t known = (uintptr_t)map_get(&r->chain_numbers, key);
    if (known)
        return (uint32_t)known - 1;
    if (r->chains_n == r->chains_cap) {
        r->chains_cap = r->chains_cap ? r->chains_cap * 2 : 16;
        r->chains = xreallocarray(r->chains, r->chains_cap, sizeof(struct chain *));
    }
    struct chain *c = xcalloc(1, sizeof(*c));
    c->spec = *s;
    chain_name(s, c->name, sizeof(c->name));
    r->chains[r->chains_n++] = c;
    (void)map_set(&r->chain_numbers, key, (void *)(uintptr_t)r->chains_n);
    return (uint32_t)r->chains_n - 1;
}

static struct chain *chain_of(const struct ruleset *r, const struct element *e)
{
    if (e->map != MAP_SERVICES && e->map != MAP_NODE_PORTS)
        return NULL;
    assert(element_chain(e) < r->chains_n);
    return r->chains[element_chain(e)];
}

/* ---- elements ---- */

/* Last address of the range that key's source with so many bits stands for. */
static void range_end(const struct element *e, uint8_t *key_end)
{
    size_t a = e->v6 ? 16 : 4, n = element_key_bytes(e->map, e->v6);

    memcpy(key_end, e->key, n);
    for (size_t bit = e->data[0]; bit < a * 8; bit++)
        key_end[n - a + bit / 8] |= (uint8_t)(0x80u >> (bit % 8));
}

void ruleset_put_element(struct family *f, const struct ruleset *r, const struct element *e,
                         bool add)
{
    const struct chain *c = chain_of(r, e);
    uint8_t end[ELEMENT_KEY_MAX];
    struct nft_element x = {.set = element_map_name(e->map),
                            .key = e->key,
                            .key_bytes = element_key_bytes(e->map, e->v6)};

    if (c) {
        x.chain = c->name;
    } else if (e->map == MAP_ENDPOINTS) {
        x.data = e->data;
        x.data_bytes = element_data_bytes(e->map, e->v6);
    } else if (e->map == MAP_NO_ENDPOINTS || e->map == MAP_NO_NODE_PORTS) {
        if (e->data[0] == ELEMENT_REJECT)
            x.chain = "refuse";
        x.verdict = NF_DROP;
        x.has_verdict = true;
    } else if (e->map == MAP_ALLOWED) {
        range_end(e, end);
        x.key_end = end;
    }
    if (add)
        nft_element_add(f->batch, &x);
    else
        nft_element_delete(f->batch, &x);
}

bool ruleset_shared_ref(struct ruleset *r, const struct element *e)
{
    uint8_t key[ELEMENT_KEY_MAX + 1];
    struct str k = {(const char *)key, element_record_key(e, key)};
    uintptr_t n = (uintptr_t)map_get_str(&r->shared, k);

    (void)map_set_str(&r->shared, k, (void *)(n + 1));
    return n == 0;
}

bool ruleset_shared_unref(struct ruleset *r, const struct element *e)
{
    uint8_t key[ELEMENT_KEY_MAX + 1];
    struct str k = {(const char *)key, element_record_key(e, key)};
    uintptr_t n = (uintptr_t)map_get_str(&r->shared, k);

    if (n > 1)
        (void)map_set_str(&r->shared, k, (void *)(n - 1));
    else
        (void)map_remove_str(&r->shared, k);
    return n == 1;
}

static bool chain_install(struct ruleset *r, struct family *f, struct chain *c)
{
    if (c->installed)
        return false;
    nft_chain_add(f->batch, c->name);
    ruleset_put_chain_rules(r, f, c);
    c->installed = true;
    return true;
}

void ruleset_add(struct ruleset *r, const struct element *e)
{
    struct family *f = &r->families[e->v6];
    struct chain *c = chain_of(r, e);

    if (element_is_shared(e) && !ruleset_shared_ref(r, e))
        return;
    if (c) {
        c->refs++;
        (void)chain_install(r, f, c);
    }
    ruleset_put_element(f, r, e, true);
}

void ruleset_delete(struct ruleset *r, const struct element *e)
{
    struct family *f = &r->families[e->v6];
    struct chain *c = chain_of(r, e);

    if (element_is_shared(e) && !ruleset_shared_unref(r, e))
        return;
    if (c)
        c->refs--;
    ruleset_put_element(f, r, e, false);
}

bool ruleset_lacks_table(const struct ruleset *r)
{
    return !r->families[1].wanted && !nft_batch_is_empty(r->families[1].batch);
}

int ruleset_commit(struct ruleset *r, struct error **err)
{
    int first = 0;

    for (size_t i = 0; i < r->chains_n; i++) {
        struct chain *c = r->chains[i];
        if (c->refs == 0 && c->installed) {
            nft_chain_delete(r->families[c->spec.v6].batch, c->name);
            c->installed = false;
        }
    }
    for (size_t i = 0; i < 2; i++) {
        int e = nft_batch_commit(r->families[i].batch, first < 0 ? NULL : err);
        if (e < 0 && first == 0)
            first = e;
    }
    return first;
}

bool ruleset_present(const struct ruleset *r)
{
    for (size_t i = 0; i < 2; i++)
        if (r->families[i].wanted &&
            nft_table_get(r->nft, r->families[i].nfproto, RULESET_TABLE, NULL, NULL) == -ENOENT)
            return false;
    return true;
}

int ruleset_remove(int netns_fd, struct error **err)
{
    struct nft *nft;
    int r = nft_open(netns_fd, &nft, err);

    if (r < 0)
        return r;
    for (int i = 0; i < 2 && r == 0; i++) {
        uint8_t family = i ? NFPROTO_IPV6 : NFPROTO_IPV4;
        if (nft_table_get(nft, family, RULESET_TABLE, NULL, NULL) == -ENOENT)
            continue;
        struct nft_batch *b = nft_batch_new(nft, family, RULESET_TABLE);
        nft_table_remove(b);
        r = nft_batch_commit(b, err);
        nft_batch_free(b);
    }
    nft_close(nft);
    return r;
}
