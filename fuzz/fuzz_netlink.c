/* Netlink messages as the kernel might send them, torn in every way: decoders must not read past
 * them. */
#include "net/netlink.h"
#include "net/nft.h"
#include "net/rtnl.h"
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int on_element(const struct nft_element_view *e, void *arg)
{
    volatile uint8_t sum = 0;

    for (size_t i = 0; i < e->key.n; i++)
        sum = (uint8_t)(sum + (uint8_t)e->key.p[i]);
    for (size_t i = 0; i < e->data.n; i++)
        sum = (uint8_t)(sum + (uint8_t)e->data.p[i]);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct rtnl_link l;
    struct rtnl_address a;
    struct rtnl_route r;
    struct rtnl_neighbour b;
    struct nft_event e;
    int left = (int)size;

    if (size < sizeof(struct nlmsghdr) || size > 65536)
        return 0;
    void *copy = malloc(size); /* aligned, and its end is guarded */
    memcpy(copy, data, size);
    for (const struct nlmsghdr *h = copy; mnl_nlmsg_ok(h, left); h = mnl_nlmsg_next(h, &left)) {
        (void)rtnl_link_parse(h, &l);
        (void)rtnl_address_parse(h, &a);
        (void)rtnl_route_parse(h, &r);
        (void)rtnl_neighbour_parse(h, &b);
        (void)nft_event_parse(h, &e);
        (void)nft_element_parse(h, on_element, NULL);
    }
    free(copy);
    return 0;
}
