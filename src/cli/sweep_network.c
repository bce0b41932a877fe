/* Links and nf_tables tables that carry our names. */
#include "base/cleanup.h"
#include "base/flags.h"
#include "base/mem.h"
#include "base/str.h"
#include "cli/sweep.h"
#include "net/netlink.h"
#include "net/nft.h"
#include "net/rtnl.h"
#include "overlay/overlay.h"
#include "proxy/proxy.h"
#include <errno.h>
#include <linux/netfilter.h>
#include <linux/rtnetlink.h>

#define BRIDGE "skiff0"

struct search {
    int bridge;
    struct flag_list names;
};

static int on_bridge(const struct rtnl_link *l, void *arg)
{
    struct search *s = arg;

    if (streq(l->name, BRIDGE) && streq(l->kind, "bridge"))
        s->bridge = l->index;
    return 0;
}

/* A port of the bridge is a pod's end; other programs' veths hang elsewhere. */
static int on_port(const struct rtnl_link *l, void *arg)
{
    struct search *s = arg;

    if (s->bridge && l->master == s->bridge && streq(l->kind, "veth"))
        flag_list_add(&s->names, l->name);
    return 0;
}

static int sweep_links(struct error **err)
{
    struct netlink *n;
    struct search s = {0};
    int r = netlink_open(NETLINK_ROUTE, -1, &n, err);

    if (r < 0)
        return r;
    r = rtnl_link_each(n, on_bridge, &s, err);
    if (r == 0)
        r = rtnl_link_each(n, on_port, &s, err);
    for (size_t i = 0; i < s.names.n && r >= 0; i++)
        (void)rtnl_link_delete_name(n, s.names.v[i], NULL);
    if (r >= 0 && s.bridge)
        r = rtnl_link_delete(n, s.bridge, err);
    flag_list_fini(&s.names);
    netlink_close(n);
    return r == -ENODEV ? 0 : r;
}

static int remove_table(struct nft *n, uint8_t family, const char *table, struct error **err)
{
    struct nft_batch *b = nft_batch_new(n, family, table);
    int r;

    nft_table_remove(b);
    r = nft_batch_commit(b, err);
    nft_batch_free(b);
    return r;
}

int sweep_network(const struct layout *l, struct error **err)
{
    struct nft *n;
    int r = overlay_cleanup(NULL, NULL, -1, err);

    (void)l;
    if (r == 0)
        r = proxy_cleanup(-1, err);
    if (r == 0)
        r = sweep_links(err);
    if (r == 0)
        r = nft_open(-1, &n, err);
    if (r < 0)
        return r;
    r = remove_table(n, NFPROTO_IPV4, "skiff-engine", err);
    nft_close(n);
    return r;
}
