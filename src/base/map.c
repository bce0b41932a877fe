#include "base/map.h"
#include "base/mem.h"
#include "base/random.h"
#include <stdlib.h>

/* Open addressing with linear probing; TOMB marks a removed slot so that probes go on past it. */
static struct map_entry tomb;
#define TOMB (&tomb)

static uint32_t hash_key(struct str key)
{
    static uint64_t seed;
    uint64_t h;

    if (!seed)
        seed = random_u64() | 1;
    h = seed;
    for (size_t i = 0; i < key.n; i++)
        h = (h ^ (unsigned char)key.p[i]) * 0x100000001b3ULL;
    h ^= h >> 32;
    h *= 0xd6e8feb86659fd93ULL ^ seed;
    return (uint32_t)(h >> 32);
}

void map_init(struct map *m)
{
    *m = (struct map){0};
}

void map_clear(struct map *m, map_free_fn free_fn)
{
    for (size_t i = 0; i < m->cap; i++) {
        struct map_entry *e = m->slots[i];

        m->slots[i] = NULL;
        if (!e || e == TOMB)
            continue;
        if (free_fn)
            free_fn(e->value);
        free(e);
    }
    m->n = m->tombs = 0;
}

void map_fini(struct map *m, map_free_fn free_fn)
{
    map_clear(m, free_fn);
    free(m->slots);
    *m = (struct map){0};
}

static struct map_entry **find_slot(const struct map *m, struct str key, uint32_t hash)
{
    if (!m->cap)
        return NULL;
    for (size_t i = hash & (m->cap - 1);; i = (i + 1) & (m->cap - 1)) {
        struct map_entry *e = m->slots[i];

        if (!e)
            return NULL;
        if (e != TOMB && e->hash == hash && e->key_n == key.n &&
            (key.n == 0 || memcmp(e->key, key.p, key.n) == 0))
            return &m->slots[i];
    }
}

static void place(struct map *m, struct map_entry *e)
{
    size_t i = e->hash & (m->cap - 1);

    while (m->slots[i] && m->slots[i] != TOMB)
        i = (i + 1) & (m->cap - 1);
    if (m->slots[i] == TOMB)
        m->tombs--;
    m->slots[i] = e;
    m->n++;
}

static void grow(struct map *m)
{
    struct map old = *m;

    m->cap = 8;
    while (m->cap < (old.n + 1) * 2)
        m->cap *= 2;
    m->slots = xcalloc(m->cap, sizeof *m->slots);
    m->n = m->tombs = 0;
    for (size_t i = 0; i < old.cap; i++)
        if (old.slots[i] && old.slots[i] != TOMB)
            place(m, old.slots[i]);
    free(old.slots);
}

void *map_get_str(const struct map *m, struct str key)
{
    struct map_entry **slot = find_slot(m, key, hash_key(key));

    return slot ? (*slot)->value : NULL;
}

void *map_get(const struct map *m, const char *key)
{
    return map_get_str(m, str_of(key));
}

bool map_has(const struct map *m, const char *key)
{
    return find_slot(m, str_of(key), hash_key(str_of(key))) != NULL;
}

void *map_set_str(struct map *m, struct str key, void *value)
{
    uint32_t hash = hash_key(key);
    struct map_entry **slot = find_slot(m, key, hash), *e;

    if (slot) {
        void *old = (*slot)->value;

        (*slot)->value = value;
        return old;
    }
    if ((m->n + m->tombs + 1) * 4 > m->cap * 3)
        grow(m);
    e = xmalloc(sizeof *e + key.n + 1);
    e->value = value;
    e->hash = hash;
    e->key_n = (uint32_t)key.n;
    if (key.n)
        memcpy(e->key, key.p, key.n);
    e->key[key.n] = '\0';
    place(m, e);
    return NULL;
}

void *map_set(struct map *m, const char *key, void *value)
{
    return map_set_str(m, str_of(key), value);
}

void *map_remove_str(struct map *m, struct str key)
{
    struct map_entry **slot = find_slot(m, key, hash_key(key));
    void *value;

    if (!slot)
        return NULL;
    value = (*slot)->value;
    free(*slot);
    *slot = TOMB;
    m->n--;
    m->tombs++;
    return value;
}

void *map_remove(struct map *m, const char *key)
{
    return map_remove_str(m, str_of(key));
}

struct map_entry *map_next(const struct map *m, size_t *it)
{
    while (*it < m->cap) {
        struct map_entry *e = m->slots[(*it)++];

        if (e && e != TOMB)
            return e;
    }
    return NULL;
}
