/* What flannel's annotations on a Node say about its part of the pod network. Pure. */
#pragma once
#include "base/error.h"
#include "k8s.pb-c.h"
#include "net/rtnl.h"

#define LEASE_PREFIX "flannel.alpha.coreos.com/"
enum lease_backend { LEASE_NONE, LEASE_VXLAN, LEASE_HOST_GW };
struct lease {
    struct ipnet subnet; /* masked; family 0: none yet */
    struct ip public_ip;
    enum lease_backend backend;
    uint32_t vni; /* vxlan; 1 when not said */
    uint8_t mac[MAC_BYTES];
    bool managed; /* kube-subnet-manager is "true" */
};
/* First IPv4 podCIDR and the annotations. -EINVAL with a sentence when an annotation does not
 * parse; *ret then has what did. */
int lease_read(const K8s__Node *n, struct lease *ret, struct error **err);
/* Ready to send packets to: subnet, address and backend data are there. */
bool lease_is_complete(const struct lease *l);
bool lease_equal(const struct lease *a, const struct lease *b);
/* The merge patch that puts the annotations on a Node: {"metadata":{"annotations":{...}}}. */
struct buf;
int lease_format_patch(const struct lease *l, struct buf *b);
const char *lease_backend_name(enum lease_backend b);
