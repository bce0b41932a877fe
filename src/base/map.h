/*
 * Hash map from a byte-string key to a pointer; keys are copied and owned by the map, values are
 * the caller's. Seeded hash, so peers cannot choose collisions. Iteration order is unspecified;
 * removing the entry just visited is allowed while iterating, adding is not.
 */
#pragma once
#include "base/str.h"
struct map_entry {
    void *value;
    uint32_t hash, key_n;
    char key[]; /* NUL-terminated copy */
};
struct map {
    struct map_entry **slots;
    size_t n, cap, tombs;
};
typedef void (*map_free_fn)(void *value);
void map_init(struct map *m);
/* free_fn may be NULL. */
void map_fini(struct map *m, map_free_fn free_fn);
void map_clear(struct map *m, map_free_fn free_fn);
void *map_get(const struct map *m, const char *key);
void *map_get_str(const struct map *m, struct str key);
bool map_has(const struct map *m, const char *key);
/* Sets; returns the previous value or NULL. */
void *map_set(struct map *m, const char *key, void *value);
void *map_set_str(struct map *m, struct str key, void *value);
/* Removes; returns the value or NULL. */
void *map_remove(struct map *m, const char *key);
void *map_remove_str(struct map *m, struct str key);
/* Iteration: size_t it = 0; while ((e = map_next(m, &it))) ... */
struct map_entry *map_next(const struct map *m, size_t *it);
