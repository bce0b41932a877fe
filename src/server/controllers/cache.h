/*
 * The cluster with a memory: what controllers list again and again is kept parsed and follows the
 * store's changes at once, so that a list costs no parsing. Pods are kept slim: metadata, node,
 * named ports, phase, address and conditions; a slim pod's resourceVersion is "slim", so writing
 * one back by mistake is refused as a conflict. get() of a pod gives the whole object. Everything
 * else goes through to the cluster below.
 */
#pragma once
#include "base/map.h"
#include "server/controllers/cluster.h"

#define CACHE_RESOURCES 6
struct cache {
    struct cluster cluster; /* what controllers use */
    struct cluster *below;
    struct map
        objects[CACHE_RESOURCES]; /* namespace ("-" for none) -> struct map * of name -> json_t * */
};
/* Reads what exists. */
void cache_init(struct cache *c, struct cluster *below);
void cache_fini(struct cache *c);
bool cache_holds(const char *resource);
/* One change of the store; object is borrowed. */
void cache_change(struct cache *c, const char *resource, enum cluster_change what, json_t *object);
/* The slim form of a pod; new reference. Pure. */
json_t *cache_slim_pod(const json_t *pod);
