#include "overlay/fabric.h"
#include "base/cleanup.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/sha256.h"
#include <errno.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>

int fabric_open(struct fabric *f, int netns_fd, struct error **err)
{
    *f = (struct fabric){.netns_fd = netns_fd};
    int r = netlink_open(NETLINK_ROUTE, netns_fd, &f->route, err);
    if (r == 0)
        r = nft_open(netns_fd, &f->nft, err);
    if (r < 0)
        fabric_close(f);
    return r;
}

void fabric_close(struct fabric *f)
{
    netlink_close(f->route);
    nft_close(f->nft);
    *f = (struct fabric){0};
}

/* ---- the interface ---- */

struct choice {
    struct ip want; /* family 0: the first global one */
    int index;
    struct ip found;
    int found_index;
};

static int on_choice_address(const struct rtnl_address *a, void *arg)
{
    struct choice *c = arg;

    if (c->want.family ? !ip_equal(&a->net.ip, &c->want) : a->scope != RT_SCOPE_UNIVERSE)
        return 0;
    c->found = a->net.ip;
    c->found_index = a->index;
    return 1;
}

static int default_route_link(struct fabric *f, int *ret, struct error **err)
{
    struct ip far = {AF_INET, {192, 88, 99, 1}}; /* any address out there will do */
    struct rtnl_route r;
    int e = rtnl_route_lookup(f->route, &far, &r, err);

    if (e < 0)
        return error_set(
            err, ENETUNREACH,
            "this machine has no default route: name the interface to the other nodes with -iface");
    *ret = r.oif;
    return 0;
}

int fabric_choose(struct fabric *f, const char *interface, const char *public_ip,
                  struct error **err)
{
    struct choice c = {0};
    struct rtnl_link link;
    int r;

    if (interface && interface[0] && ip_parse(str_of(interface), &c.want) < 0) {
        r = rtnl_link_get(f->route, interface, &link, err);
        if (r < 0)
            return r;
        c.index = link.index;
    } else if (!c.want.family && public_ip && ip_parse(str_of(public_ip), &c.want) < 0) {
        return error_set(err, EINVAL, "public address \"%s\" is not an address", public_ip);
    }
    if (!c.index && !c.want.family) {
        r = default_route_link(f, &c.index, err);
        if (r < 0)
            return r;
    }
    r = rtnl_address_each(f->route, c.index, AF_INET, on_choice_address, &c, err);
    if (r < 0)
        return r;
    /* A public address that is nobody's here is behind a translation: the default route's interface
     * sends. */
    if (!c.found_index && c.want.family && !interface) {
        c = (struct choice){0};
        r = default_route_link(f, &c.index, err);
        if (r == 0)
            r = rtnl_address_each(f->route, c.index, AF_INET, on_choice_address, &c, err);
        if (r < 0)
            return r;
    }
    if (!c.found_index)
        return error_set(err, EADDRNOTAVAIL,
                         "no IPv4 address on the interface%s%s to the other nodes",
                         interface ? " " : "", interface ? interface : "");
    f->address = c.found;
    return rtnl_link_get_index(f->route, c.found_index, &f->parent, err);
}

/* ---- the tunnel ---- */

void fabric_device_name(uint32_t vni, char out[static IFNAMSIZ])
{
    (void)snprintf(out, IFNAMSIZ, "flannel.%u", vni % 100000u);
}

void fabric_mac(const char *node_name, uint32_t vni, uint8_t ret[static MAC_BYTES])
{
    unsigned char sum[SHA256_BYTES];
    char number[16];
    struct sha256 s;

    (void)snprintf(number, sizeof(number), "/%u", vni);
    sha256_init(&s);
    sha256_update(&s, node_name, strlen(node_name));
    sha256_update(&s, number, strlen(number));
    sha256_final(&s, sum);
    memcpy(ret, sum, MAC_BYTES);
    ret[0] = (uint8_t)((ret[0] & 0xfc) | 0x02); /* locally administered, unicast */
}

struct address_check {
    struct fabric *f;
    struct rtnl_address want;
    bool present;
    struct rtnl_address wrong[16];
    size_t wrong_n;
};

static int on_device_address(const struct rtnl_address *a, void *arg)
{
    struct address_check *c = arg;

    if (ipnet_equal(&a->net, &c->want.net))
        c->present = true;
    else if (c->wrong_n < ARRAY_LEN(c->wrong))
        c->wrong[c->wrong_n++] = *a;
    return 0;
}

static int device_address(struct fabric *f, const struct ipnet *subnet, struct error **err)
{
    struct address_check c = {.f = f, .want = {.index = f->device, .net = {subnet->ip, 32}}};
    int r = rtnl_address_each(f->route, f->device, AF_INET, on_device_address, &c, err);

    for (size_t i = 0; i < c.wrong_n && r == 0; i++)
        r = rtnl_address_delete(f->route, &c.wrong[i], err);
    if (r == 0 && !c.present)
        r = rtnl_address_add(f->route, &c.want, err);
    return r;
}

static bool device_fits(const struct fabric *f, const struct rtnl_link *l, uint32_t vni,
                        uint16_t port)
{
    return streq(l->kind, "vxlan") && l->vxlan.vni == vni && l->vxlan.port == port &&
           !l->vxlan.learning && l->vxlan.parent == f->parent.index &&
           ip_equal(&l->vxlan.local, &f->address);
}

int fabric_device(struct fabric *f, uint32_t vni, uint16_t port,
                  const uint8_t mac[static MAC_BYTES], const struct ipnet *subnet,
                  struct error **err)
{
    struct rtnl_link_spec spec = {
        .kind = "vxlan",
        .mtu = f->parent.mtu - FABRIC_OVERHEAD,
        .mac = mac,
        .up = true,
        .vxlan = {.vni = vni, .port = port, .local = f->address, .parent = f->parent.index}};
    char name[IFNAMSIZ];
    struct rtnl_link l;
    int r;

    fabric_device_name(vni, name);
    spec.name = name;
    r = rtnl_link_get(f->route, name, &l, err);
    if (r == 0 && !device_fits(f, &l, vni, port)) {
        log_info("overlay", "tunnel device is of another kind: made anew", "link", name, NULL);
        r = rtnl_link_delete(f->route, l.index, err);
        r = r < 0 ? r : -ENODEV;
    }
    if (r == -ENODEV) {
        error_clear(err);
        r = rtnl_link_create(f->route, &spec, err);
        if (r == -EOPNOTSUPP)
            return error_set(err, EOPNOTSUPP,
                             "this kernel has no VXLAN (CONFIG_VXLAN): load the module vxlan");
        r = r < 0 ? r : rtnl_link_get(f->route, name, &l, err);
    }
    if (r < 0)
        return r;
    f->device = l.index;
    if (memcmp(l.mac, mac, MAC_BYTES) != 0)
        r = rtnl_link_set_mac(f->route, l.index, mac, err);
    if (r == 0 && l.mtu != spec.mtu)
        r = rtnl_link_set_mtu(f->route, l.index, spec.mtu, err);
    if (r == 0 && !(l.flags & IFF_UP))
        r = rtnl_link_set_up(f->route, l.index, true, err);
    return r < 0 ? r : device_address(f, subnet, err);
}

int fabric_remove(int netns_fd, uint32_t vni, struct error **err)
{
    char name[IFNAMSIZ];
    struct fabric f;
    int r = fabric_open(&f, netns_fd, err);

    if (r < 0)
        return r;
    fabric_device_name(vni, name);
    r = rtnl_link_delete_name(f.route, name, err);
    if (r == -ENODEV) {
        error_clear(err);
        r = 0;
    }
    if (r == 0 && nft_table_get(f.nft, NFPROTO_IPV4, FABRIC_TABLE, NULL, NULL) == 0) {
        struct nft_batch *b = nft_batch_new(f.nft, NFPROTO_IPV4, FABRIC_TABLE);
        nft_table_remove(b);
        r = nft_batch_commit(b, err);
        nft_batch_free(b);
    }
    fabric_close(&f);
    return r;
}
