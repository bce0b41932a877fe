/*
 * Pod network between nodes: each node's pod subnet comes from its Node object (spec.podCIDR),
 * where it is and its tunnel's MAC address from flannel's annotations on it, so that flanneld nodes
 * can be peers. VXLAN device flannel.1, one route, one neighbour and one forwarding entry per peer.
 * Everything is compared with the kernel and mended when a notification says that somebody changed
 * it. Stopping leaves all of it in place: pods keep talking.
 */
#pragma once
#include "base/error.h"
#include "loop/loop.h"
#include <stdint.h>

struct kube_client;
struct overlay;
/* Zero and NULL mean the default in brackets. Strings are borrowed for the call of overlay_start.
 */
struct overlay_config {
    struct kube_client *client; /* shared with others; borrowed for the life of the overlay */
    const char *node_name;
    const char *interface; /* name or address of the interface to the other nodes [that of the
                              default route] */
    const char *public_ip; /* what the others send to [the interface's first address] */
    const char *network;   /* cluster CIDR, for FLANNEL_NETWORK and masquerading [172.30.0.0/16] */
    const char *subnet_file; /* [/run/flannel/subnet.env] */
    const char *docker_file; /* as mk-docker-opts.sh writes it; NULL: not written */
    uint32_t vni;            /* [1] */
    uint16_t port;           /* [8472] */
    bool no_masquerade;      /* default: packets from pods to the world are masqueraded */
    bool host_gateway;       /* routes by the peers' own addresses instead of a tunnel (one layer-2
                                segment) */
    int netns_fd;            /* > 0: links, routes and rules of that namespace; for tests */
    /* The subnet became known or changed; text "172.30.5.0/24", and the MTU for pods. May be NULL.
     */
    void (*on_subnet)(const char *subnet, uint32_t mtu, void *arg);
    void *arg;
};
int overlay_start(struct loop *l, const struct overlay_config *cfg, struct overlay **ret,
                  struct error **err);
void overlay_stop(struct overlay *o); /* NULL accepted; links and routes stay */
/* The subnet file is written and the device is there. */
bool overlay_ready(const struct overlay *o);
/* Removes the device (and with it routes and entries), our table and the subnet file. Nothing there
 * is success. */
int overlay_cleanup(const char *subnet_file, const char *docker_file, int netns_fd,
                    struct error **err);

/* `skiff overlay` and `flanneld` with flannel's flags; as `mk-docker-opts.sh` it turns a subnet
 * file into dockerd's options. */
int overlay_main(int argc, char **argv);
