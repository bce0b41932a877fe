/*
 * One element of one of our maps, and packed lists of them: what is wanted for a Service, what is
 * in the kernel. Packed: a tag (map, family), the key in the kernel's own layout, the data. Sorted
 * by tag and key. No I/O.
 */
#pragma once
#include "base/str.h"
#include <stddef.h>
#include <stdint.h>

enum element_map {
    MAP_SERVICES,   /* daddr . proto . dport : goto chain */
    MAP_NODE_PORTS, /* proto . dport : goto chain */
    MAP_ENDPOINTS,  /* daddr . proto . dport . slot : address . port */
    MAP_LIVE,       /* daddr . proto . dport . list . address . port: what affinity may still use */
    MAP_NO_ENDPOINTS,  /* daddr . proto . dport : reject or drop */
    MAP_NO_NODE_PORTS, /* proto . dport : reject or drop */
    MAP_HAIRPIN,       /* saddr . daddr of endpoints on this node */
    MAP_CLUSTER_IPS,   /* daddr: other ports of it are refused */
    MAP_FIREWALLED,    /* daddr . proto . dport with source ranges */
    MAP_ALLOWED,       /* daddr . proto . dport . saddr range */
    MAP_AFFINITY,      /* saddr . daddr . proto . dport : address . port; filled by packets */
    MAPS_N,
};
#define ELEMENT_KEY_MAX 48
#define ELEMENT_DATA_MAX 20
/* Slots of the second list of a key (external policy Local) start here; also its number in
 * MAP_LIVE. */
#define ELEMENT_LOCAL_LIST 0x10000u
enum { ELEMENT_DROP, ELEMENT_REJECT };
struct element {
    uint8_t map;
    uint8_t v6; /* 0 or 1 */
    uint8_t key[ELEMENT_KEY_MAX];
    uint8_t
        data[ELEMENT_DATA_MAX]; /* SERVICES, NODE_PORTS: chain number; ENDPOINTS: address . port;
                                 * NO_*: ELEMENT_DROP or _REJECT; ALLOWED: prefix length */
};
const char *element_map_name(enum element_map m);
size_t element_key_bytes(uint8_t map, uint8_t v6);
size_t element_data_bytes(uint8_t map, uint8_t v6);
/* Several Services may want the same one: references to it are counted. */
static inline bool element_is_shared(const struct element *e)
{
    return e->map == MAP_HAIRPIN || e->map == MAP_CLUSTER_IPS;
}
/* Data of the two goto maps. */
uint32_t element_chain(const struct element *e);
void element_set_chain(struct element *e, uint32_t chain);

/* ---- lists being built ---- */
struct elements {
    struct element *v;
    size_t n, cap;
};
struct element *elements_add(struct elements *l, uint8_t map, uint8_t v6); /* zeroed */
void elements_sort(struct elements *l);                                    /* and drops doubles */
void elements_fini(struct elements *l);

/* ---- packed ---- */
struct packed {
    uint8_t *p; /* owned */
    size_t n;
};
struct packed elements_pack(const struct elements *l);
/* Next of a packed list: false at the end. *at starts at 0; *ret_record (may be NULL) points into
 * it. */
bool packed_next(const struct packed *p, size_t *at, struct element *ret,
                 const uint8_t **ret_record);
size_t packed_record_bytes(const uint8_t *record);
size_t packed_record_key_bytes(const uint8_t *record); /* tag and key */
void element_from_record(const uint8_t *record, struct element *ret);
/* Tag and key of e into out (ELEMENT_KEY_MAX + 1 bytes); returns how many. */
size_t element_record_key(const struct element *e, uint8_t *out);

/* ---- difference ---- */
typedef void (*element_fn)(const struct element *e, void *arg);
/* Sorted both. Calls gone for what has to go, then added for what has to come; an element whose
 * data changed is both. */
void elements_diff(const struct packed *old, const struct elements *new_, element_fn gone,
                   element_fn added, void *arg);
