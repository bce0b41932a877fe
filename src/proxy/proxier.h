/*
 * The proxy's mind, without the API: Services and EndpointSlices go in as they come, proxier_sync
 * brings the kernel level with them by changing only what changed. Also keeps the connection
 * tracking table clean of UDP flows to endpoints that are gone.
 */
#pragma once
#include "base/map.h"
#include "net/conntrack.h"
#include "proxy/ruleset.h"
#include "proxy/service.h"
#include "proxy/slice.h"

struct service;
struct claim;
struct stale_flows {
    struct conntrack_filter *v;
    size_t n, cap;
};
struct proxier {
    char *node_name;
    struct map services; /* "ns/name" -> struct service */
    struct map slices;   /* "ns/name" -> struct slice */
    struct map claims;   /* address . protocol . port -> struct service that has it */
    struct list dirty;
    struct zone_names zones;
    uint64_t our_zone;
    struct ruleset *rules;
    struct netlink *conntrack;
    struct stale_flows stale;
    bool reconcile_due; /* the next sync compares with the kernel */
    size_t syncs, changes;
    struct ruleset_tally last_tally; /* of the last comparison with the kernel */
    struct list health;              /* services with a health-check node port */
};
struct service {
    struct list dirty, health;
    char *key;
    bool exists;  /* the Service itself was seen; else only its slices */
    bool blocked; /* another Service has an address it wants */
    struct service_spec spec;
    struct list slices;
    struct packed programmed;
    struct claim *claims;
    size_t claims_n;
    size_t local_ready; /* for health-check node ports */
};

/* Options are moved in. */
int proxier_init(struct proxier *p, const char *node_name, struct ruleset_options *o, int netns_fd,
                 struct error **err);
void proxier_fini(struct proxier *p); /* leaves the kernel as it is */

void proxier_set_service(struct proxier *p, const K8s__Service *s);
void proxier_delete_service(struct proxier *p, const char *ns, const char *name);
void proxier_set_slice(struct proxier *p, const K8s__EndpointSlice *s);
void proxier_delete_slice(struct proxier *p, const char *ns, const char *name);
/* Topology of our node changed; NULL: unknown. */
void proxier_set_zone(struct proxier *p, const char *zone);
/* Options changed (the node's pod CIDR became known); moved in. */
void proxier_set_options(struct proxier *p, struct ruleset_options *o);
bool proxier_is_dirty(const struct proxier *p);
/* On failure everything is compared with the kernel next time. */
int proxier_sync(struct proxier *p, struct error **err);

/* ---- desired.c: pure ---- */
struct desired {
    struct elements elements; /* sorted */
    size_t local_ready;
};
/* What the Service needs in the kernel. may_use says whether it may have an address and port
 * (another may have it). */
typedef bool (*desired_claim_fn)(const struct ip *a, uint8_t protocol, uint16_t port, void *arg);
void service_desired(const struct service *s, uint64_t our_zone, struct ruleset *rules,
                     desired_claim_fn may_use, void *arg, struct desired *ret);

/* ---- stale.c ---- */
/* Adds the UDP flows that the change from old to new makes wrong. */
void stale_flows_collect(struct stale_flows *l, const struct packed *old,
                         const struct elements *new_);
/* Removes them from connection tracking and empties the list; after the rules have changed, or
 * packets bring them back. */
void stale_flows_remove(struct stale_flows *l, struct netlink *conntrack);
