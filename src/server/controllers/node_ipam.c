#include "base/cleanup.h"
#include "base/mem.h"
#include "server/admission/allocator.h"
#include "server/controllers/controller.h"
#include <errno.h>

/* The first network of the cluster CIDR that no Node has; owned text, NULL when full. */
static char *free_network(const char *cluster_cidr, unsigned bits, const json_t *nodes)
{
    uint32_t base, taken_base;
    unsigned prefix, taken_prefix;
    const json_t *n, *x;
    char text[IPV4_TEXT], *found = NULL;
    unsigned char *used;
    uint32_t count;

    if (cidr4_parse(cluster_cidr, &base, &prefix) < 0 || bits < prefix || bits - prefix > 16)
        return NULL;
    count = 1u << (bits - prefix);
    used = xcalloc(count, 1);
    json_each(nodes, i, n) json_each(
        json_at(n, "spec", "podCIDRs", NULL), k,
        x) if (cidr4_parse(strna(json_string_value(x)), &taken_base, &taken_prefix) == 0 &&
               taken_base >= base && (taken_base - base) >> (32 - bits) < count)
        used[(taken_base - base) >> (32 - bits)] = 1;
    for (uint32_t i = 0; i < count && !found; i++) {
        if (used[i])
            continue;
        ipv4_format(base + (i << (32 - bits)), text);
        found = xasprintf("%s/%u", text, bits);
    }
    free(used);
    return found;
}

static enum queue_verdict reconcile(struct controller *c, const char *key)
{
    cleanup_json json_t *node = cluster_get(c->env->cluster, "nodes", "", key), *all = NULL,
                        *o = NULL;
    cleanup_free char *cidr = NULL;
    struct error *err = NULL;

    if (!node || meta_deleting(node) || *strna(json_text_at(node, "spec", "podCIDR", NULL)) ||
        !c->env->cfg.cluster_cidr)
        return QUEUE_DONE;
    all = cluster_list(c->env->cluster, "nodes", NULL);
    cidr = free_network(c->env->cfg.cluster_cidr, (unsigned)c->env->cfg.node_cidr_prefix, all);
    if (!cidr) {
        event_write(c->env, node, "v1", "Node", "cidrAllocator", "Normal", "CIDRNotAvailable",
                    "Node status is now: CIDRNotAvailable");
        queue_add_after(&c->queue, key, 60 * 1000);
        return QUEUE_DONE;
    }
    o = json_deep_copy(node);
    json_set_text(json_object_need(o, "spec"), "podCIDR", cidr);
    json_object_set_new(json_object_get(o, "spec"), "podCIDRs", json_pack("[s]", cidr));
    return settle(c, key, cluster_update(c->env->cluster, "nodes", NULL, o, &err), &err);
}

const struct controller_def node_ipam_controller = {
    .name = "nodeipam",
    .watches = {{"nodes", enqueue_self}},
    .reconcile = reconcile,
};
