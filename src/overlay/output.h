/* Files by which the container engine learns the subnet: flannel's subnet.env and what
 * mk-docker-opts.sh makes of it. */
#pragma once
#include "base/buf.h"
#include "base/error.h"
#include "net/netlink_addr.h"
struct output {
    struct ipnet network, subnet; /* subnet: masked */
    uint32_t mtu;
    bool masquerade;
};
int output_format(const struct output *o, struct buf *b);
/* Reads a subnet file; unknown lines are skipped. -EINVAL. */
int output_parse(struct str text, struct output *ret, struct error **err);
/* dockerd's options. combined: NAME="--bip=... --ip-masq=... --mtu=..." under the key; individual:
 * DOCKER_OPT_BIP and so on. */
struct output_docker {
    const char *combined_key; /* NULL: DOCKER_OPTS */
    bool combined, individual, no_masquerade_option;
    bool masquerade; /* whether dockerd is told to masquerade: the opposite of what we do, unless
                        asked for */
};
int output_format_docker(const struct output *o, const struct output_docker *d, struct buf *b);
/* Written only when the content differs. */
int output_write(const char *path, struct str text, bool *ret_changed, struct error **err);
