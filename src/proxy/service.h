/* What the proxy keeps of a Service: a small projection, decoded once. No I/O. */
#pragma once
#include "base/list.h"
#include "k8s.pb-c.h"
#include "net/netlink_addr.h"

struct service_port {
    char *name;       /* "" when unnamed */
    uint8_t protocol; /* IPPROTO_* */
    uint16_t port, node_port;
};
struct service_spec {
    struct service_port *ports;
    size_t ports_n;
    struct ip *cluster_ips;
    size_t cluster_ips_n;
    struct ip *external_ips; /* externalIPs and load-balancer addresses of mode VIP */
    size_t external_ips_n;
    struct ip *balancer_ips; /* those of external_ips that source ranges apply to */
    size_t balancer_ips_n;
    struct ipnet *source_ranges;
    size_t source_ranges_n;
    bool internal_local, external_local;
    uint32_t affinity_s; /* 0: none */
    uint16_t health_port;
    bool same_zone, same_node; /* trafficDistribution */
};
/* *ret is zeroed when the proxy has nothing to do for it: headless, ExternalName. What does not
 * parse is left out. */
void service_spec_read(const K8s__Service *s, struct service_spec *ret);
void service_spec_fini(struct service_spec *s);
bool service_spec_equal(const struct service_spec *a, const struct service_spec *b);
/* IPPROTO_* of "TCP", "UDP", "SCTP"; "" is TCP; 0 for others. */
uint8_t service_protocol(const char *name);
