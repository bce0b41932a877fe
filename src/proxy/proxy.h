/*
 * Service proxy: what Services and EndpointSlices say becomes nf_tables maps of our own tables ("ip
 * skiff-proxy", "ip6 skiff-proxy"), changed by netlink in one transaction per turn of the loop.
 * Stopping leaves the rules in the kernel, and the next start adopts them; proxy_cleanup removes
 * them.
 */
#pragma once
#include "base/error.h"
#include "loop/loop.h"
#include <stdint.h>

struct kube_client;
struct proxy;
enum proxy_detect_local {
    PROXY_LOCAL_CLUSTER_CIDR,
    PROXY_LOCAL_NODE_CIDR,
    PROXY_LOCAL_BRIDGE,
    PROXY_LOCAL_PREFIX
};
/* Zero and NULL mean the default in brackets. Strings are borrowed for the call of proxy_start. */
struct proxy_config {
    struct kube_client *client; /* shared with others; borrowed for the life of the proxy */
    const char *node_name;      /* must be the kubelet's name for this node */
    const char *cluster_cidr;   /* one or one of each family, comma-separated [none: no masquerading
                                   by source] */
    enum proxy_detect_local detect_local;
    const char *local_interface;     /* bridge name or interface prefix for the last two */
    const char *node_port_addresses; /* comma-separated CIDRs, or "primary" [every local address] */
    bool masquerade_all;
    int masquerade_bit;          /* negative: 14 */
    const char *healthz_address; /* "0.0.0.0:10256"; NULL: not served */
    const char *metrics_address; /* "127.0.0.1:10249"; NULL: not served */
    const char *mode;            /* what /proxyMode answers [nftables] */
    const char *config_text;     /* JSON object for /configz [{}] */
    int64_t sync_period_ms; /* our tables are looked for this often, and compared in full each 120th
                               time [30 s] */
    int64_t min_sync_ms;    /* changes within it are one transaction [0: one turn of the loop] */
    int netns_fd;           /* > 0: rules go there; for tests */
};
int proxy_start(struct loop *l, const struct proxy_config *cfg, struct proxy **ret,
                struct error **err);
void proxy_stop(struct proxy *p); /* NULL accepted; the rules stay */
/* First complete set of rules is in the kernel. */
bool proxy_synced(const struct proxy *p);
/* Removes our tables; nothing there is success. netns_fd as above. */
int proxy_cleanup(int netns_fd, struct error **err);

/* `skiff proxy` and `kube-proxy`: upstream's flags and KubeProxyConfiguration v1alpha1. */
int proxy_main(int argc, char **argv);
