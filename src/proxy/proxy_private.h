/* What the files of the running proxy share. */
#pragma once
#include "api/reflector.h"
#include "base/backoff.h"
#include "net/http_server.h"
#include "proxy/proxier.h"
#define SYNC_BUCKETS 14 /* 1 ms, doubling */
struct proxy {
    struct loop *loop;
    struct kube_client *client;
    char *node_name;
    struct proxier proxier;
    struct reflector *services, *slices, *node;
    bool services_listed, slices_listed, node_seen, node_eligible, synced;
    struct netlink_monitor *monitor;
    struct loop_defer defer;
    struct loop_timer timer, period;
    struct backoff backoff;
    int64_t sync_period_ms, min_sync_ms;
    unsigned periods;
    struct mono last_sync;
    /* configuration that options are made from */
    enum proxy_detect_local detect_local;
    char *cluster_cidr, *local_interface, *node_port_addresses, *mode, *config_text, *node_cidrs,
        *node_ips;
    bool masquerade_all, needs_node;
    uint32_t mark;
    /* servers */
    struct http_server *healthz, *metrics;
    struct map health_ports; /* port in text -> struct health_port */
    struct wall last_updated;
    uint64_t service_changes, slice_changes, failures, sync_count, sync_buckets[SYNC_BUCKETS];
    double sync_seconds;
};
int proxy_http_start(struct proxy *p, const struct proxy_config *cfg, struct error **err);
void proxy_http_stop(struct proxy *p);
/* Health-check node ports as the Services want them now. */
void proxy_health_ports_level(struct proxy *p);
