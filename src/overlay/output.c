#include "overlay/output.h"
#include "base/cleanup.h"
#include "base/file.h"
#include <errno.h>

/* The first host of the subnet with its prefix: what the bridge takes. */
static void gateway_format(const struct output *o, char out[static IPNET_TEXT])
{
    struct ipnet g = {ipnet_host(&o->subnet, 1), o->subnet.bits};

    ipnet_format(&g, out);
}

int output_format(const struct output *o, struct buf *b)
{
    char network[IPNET_TEXT], subnet[IPNET_TEXT];

    ipnet_format(&o->network, network);
    gateway_format(o, subnet);
    return buf_printf(b,
                      "FLANNEL_NETWORK=%s\nFLANNEL_SUBNET=%s\nFLANNEL_MTU=%u\nFLANNEL_IPMASQ=%s\n",
                      network, subnet, o->mtu, o->masquerade ? "true" : "false");
}

int output_parse(struct str text, struct output *ret, struct error **err)
{
    struct output o = {0};
    int64_t mtu = 0;

    while (text.p) {
        struct str value = str_trim(str_split(&text, '\n')), key = str_split(&value, '=');
        int r = 0;
        if (!value.p)
            continue;
        if (value.n >= 2 && value.p[0] == '"' && value.p[value.n - 1] == '"')
            value = (struct str){value.p + 1, value.n - 2};
        if (str_eq_z(key, "FLANNEL_NETWORK"))
            r = ipnet_parse(value, &o.network);
        else if (str_eq_z(key, "FLANNEL_SUBNET"))
            r = ipnet_parse(value, &o.subnet);
        else if (str_eq_z(key, "FLANNEL_MTU"))
            r = str_to_i64(value, 68, 65535, &mtu);
        else if (str_eq_z(key, "FLANNEL_IPMASQ"))
            o.masquerade = str_eq_z(value, "true");
        if (r < 0)
            return error_set(err, EINVAL, "subnet file: %.*s=%.*s is not understood", STR_FMT(key),
                             (int)(value.n > 64 ? 64 : value.n), value.p);
    }
    if (!o.subnet.ip.family)
        return error_set(err, EINVAL, "subnet file: FLANNEL_SUBNET is missing");
    o.subnet = ipnet_masked(&o.subnet);
    o.mtu = (uint32_t)mtu;
    *ret = o;
    return 0;
}

int output_format_docker(const struct output *o, const struct output_docker *d, struct buf *b)
{
    char bip[IPNET_TEXT];

    gateway_format(o, bip);
    const char *masquerade = d->masquerade ? "true" : "false";

    if (d->individual) {
        (void)buf_printf(b, "DOCKER_OPT_BIP=\"--bip=%s\"\n", bip);
        if (!d->no_masquerade_option)
            (void)buf_printf(b, "DOCKER_OPT_IPMASQ=\"--ip-masq=%s\"\n", masquerade);
        (void)buf_printf(b, "DOCKER_OPT_MTU=\"--mtu=%u\"\n", o->mtu);
    }
    if (d->combined) {
        (void)buf_printf(b, "%s=\" --bip=%s", d->combined_key ? d->combined_key : "DOCKER_OPTS",
                         bip);
        if (!d->no_masquerade_option)
            (void)buf_printf(b, " --ip-masq=%s", masquerade);
        (void)buf_printf(b, " --mtu=%u\"\n", o->mtu);
    }
    return b->overflowed ? -EMSGSIZE : 0;
}

int output_write(const char *path, struct str text, bool *ret_changed, struct error **err)
{
    cleanup_buf struct buf old = {0};

    *ret_changed = false;
    if (file_read(path, 65536, &old, NULL) == 0 && str_eq(buf_str(&old), text))
        return 0;
    *ret_changed = true;
    int r = dir_make_parent(path, 0755, err);
    return r < 0 ? r : file_write_atomic_nosync(path, 0644, text, err);
}
