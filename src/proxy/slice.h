/*
 * What the proxy keeps of an EndpointSlice, and the choice among endpoints: ready ones, or
 * terminating ones that still serve when nothing else is left; near ones when every endpoint
 * carries a hint; those of this node. No I/O.
 */
#pragma once
#include "base/list.h"
#include "k8s.pb-c.h"
#include "net/netlink_addr.h"

enum {
    ENDPOINT_READY = 1u << 0,
    ENDPOINT_SERVING = 1u << 1,
    ENDPOINT_TERMINATING = 1u << 2,
    ENDPOINT_LOCAL = 1u << 3,      /* on this node */
    ENDPOINT_HINTS_ZONE = 1u << 4, /* has hints by zone; zones tells which */
    ENDPOINT_HINTS_NODE = 1u << 5,
    ENDPOINT_HINTS_US = 1u << 6, /* ... and one is this node */
};
struct endpoint {
    uint8_t address[16];
    uint8_t flags;
    uint64_t zones; /* bits by zone_names */
};
struct slice_port {
    char *name;
    uint8_t protocol;
    uint16_t port;
};
struct slice {
    struct list link; /* in its service */
    char *name;
    uint8_t family; /* AF_INET, AF_INET6 */
    struct slice_port *ports;
    size_t ports_n;
    struct endpoint *endpoints;
    size_t endpoints_n;
};
/* Zones are few: a bit for each, in order of appearance; the 64th and later count as unknown. */
struct zone_names {
    char *v[64];
    size_t n;
};
uint64_t zone_bit(struct zone_names *z, const char *name);
void zone_names_fini(struct zone_names *z);

/* NULL for slices of host names. */
struct slice *slice_read(const K8s__EndpointSlice *s, const char *node_name,
                         struct zone_names *zones);
void slice_free(struct slice *s);
bool slice_equal(const struct slice *a, const struct slice *b);

/* ---- choice ---- */
struct target { /* address and port a packet goes to */
    uint8_t address[16];
    uint16_t port;
    uint8_t flags;
    uint64_t zones;
};
struct targets {
    struct target *v;
    size_t n, cap;
};
void targets_fini(struct targets *t);
/* All endpoints of a port, sorted by address and port, each once. slices: list of struct slice. */
void targets_gather(const struct list *slices, uint8_t family, const char *port_name,
                    uint8_t protocol, struct targets *ret);
/* Of all, what a client anywhere is sent to. */
void targets_cluster(const struct targets *all, uint64_t our_zone, struct targets *ret);
/* Of all, those on this node. */
void targets_local(const struct targets *all, struct targets *ret);
