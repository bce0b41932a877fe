#include "overlay/lease.h"
#include "api/object.h"
#include "base/cleanup.h"
#include "codec/json.h"
#include <errno.h>

#define DATA_MAX 4096

const char *lease_backend_name(enum lease_backend b)
{
    static const char *const names[] = {
        [LEASE_NONE] = "", [LEASE_VXLAN] = "vxlan", [LEASE_HOST_GW] = "host-gw"};

    return names[b];
}

static int read_data(const char *text, struct lease *l, struct error **err)
{
    cleanup_json json_t *o = NULL;
    int r = json_parse(str_of(text), DATA_MAX, LEASE_PREFIX "backend-data", &o, err);
    const char *mac;

    if (r < 0)
        return r;
    if (!json_is_object(o))
        return 0; /* host-gw writes null */
    int64_t vni = json_int_or(o, "VNI", 1);
    if (vni < 1 || vni >= 1 << 24)
        return error_set(err, EINVAL, LEASE_PREFIX "backend-data: VNI is out of range");
    l->vni = (uint32_t)vni;
    mac = json_text_or(o, "VtepMAC", NULL);
    if (mac && mac_parse(str_of(mac), l->mac) < 0)
        return error_set(err, EINVAL,
                         LEASE_PREFIX "backend-data: VtepMAC \"%.32s\" is not a MAC address", mac);
    return 0;
}

static const char *annotation(const K8s__Node *n, const char *key)
{
    return n->metadata ? pairs_get(n->metadata->annotations, n->metadata->n_annotations, key)
                       : NULL;
}

static int read_subnet(const K8s__Node *n, struct lease *l, struct error **err)
{
    const K8s__NodeSpec *s = n->spec;
    struct ipnet net;

    for (size_t i = 0; s && i < s->n_podcidrs; i++)
        if (ipnet_parse(str_of(s->podcidrs[i]), &net) == 0 && net.ip.family == AF_INET) {
            l->subnet = ipnet_masked(&net);
            return 0;
        }
    if (!s || !s->podcidr || !s->podcidr[0])
        return 0;
    if (ipnet_parse(str_of(s->podcidr), &net) < 0)
        return error_set(err, EINVAL, "podCIDR \"%.64s\" is not an address range", s->podcidr);
    if (net.ip.family == AF_INET)
        l->subnet = ipnet_masked(&net);
    return 0;
}

int lease_read(const K8s__Node *n, struct lease *ret, struct error **err)
{
    const char *ip = annotation(n, LEASE_PREFIX "public-ip"),
               *type = annotation(n, LEASE_PREFIX "backend-type");
    const char *overwrite = annotation(n, LEASE_PREFIX "public-ip-overwrite");
    const char *data = annotation(n, LEASE_PREFIX "backend-data");
    struct lease l = {.vni = 1};
    int r = read_subnet(n, &l, err);

    if (overwrite && overwrite[0])
        ip = overwrite;
    l.managed = streq(annotation(n, LEASE_PREFIX "kube-subnet-manager"), "true");
    if (streq(type, "vxlan"))
        l.backend = LEASE_VXLAN;
    else if (streq(type, "host-gw"))
        l.backend = LEASE_HOST_GW;
    if (r == 0 && ip && ip[0] && ip_parse(str_of(ip), &l.public_ip) < 0)
        r = error_set(err, EINVAL, LEASE_PREFIX "public-ip \"%.64s\" is not an address", ip);
    if (r == 0 && data && data[0])
        r = read_data(data, &l, err);
    *ret = l;
    return r;
}

bool lease_is_complete(const struct lease *l)
{
    static const uint8_t none[MAC_BYTES];

    if (!l->subnet.ip.family || !l->public_ip.family || l->backend == LEASE_NONE)
        return false;
    return l->backend != LEASE_VXLAN || memcmp(l->mac, none, MAC_BYTES) != 0;
}

bool lease_equal(const struct lease *a, const struct lease *b)
{
    return ipnet_equal(&a->subnet, &b->subnet) && ip_equal(&a->public_ip, &b->public_ip) &&
           a->backend == b->backend && a->vni == b->vni && memcmp(a->mac, b->mac, MAC_BYTES) == 0 &&
           a->managed == b->managed;
}

int lease_format_patch(const struct lease *l, struct buf *b)
{
    char mac[MAC_TEXT], ip[IP_TEXT], data[96];
    cleanup_json json_t *o = NULL;

    mac_format(l->mac, mac);
    ip_format(&l->public_ip, ip);
    if (l->backend == LEASE_VXLAN)
        (void)snprintf(data, sizeof(data), "{\"VNI\":%u,\"VtepMAC\":\"%s\"}", l->vni, mac);
    else
        (void)snprintf(data, sizeof(data), "null");
    o = json_pack("{s:{s:{s:s,s:s,s:s,s:s}}}", "metadata", "annotations",
                  LEASE_PREFIX "backend-data", data, LEASE_PREFIX "backend-type",
                  lease_backend_name(l->backend), LEASE_PREFIX "public-ip", ip,
                  LEASE_PREFIX "kube-subnet-manager", "true");
    return json_write(o, b);
}
