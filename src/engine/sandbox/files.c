#include "engine/sandbox/sandbox_private.h"
#include "base/cleanup.h"
#include "base/file.h"
#include <errno.h>
#include <limits.h>

#define RESOLV_MAX 65536 /* of resolv.conf, and of the host's hosts */

static int write_resolv(struct sandbox *s, const char *dir, struct error **err)
{
    const Runtime__V1__DNSConfig *d = s->config->dns_config;
    cleanup_free char *path = path_join(dir, "resolv.conf");
    cleanup_buf struct buf text = {0};

    if (!d || (!d->n_servers && !d->n_searches && !d->n_options)) {
        if (file_read("/etc/resolv.conf", RESOLV_MAX, &text, NULL) < 0)
            buf_init(&text, RESOLV_MAX);
        return file_write_atomic_nosync(path, 0644, buf_str(&text), err);
    }
    buf_init(&text, RESOLV_MAX);
    if (d->n_searches) {
        (void)buf_add_z(&text, "search");
        for (size_t i = 0; i < d->n_searches; i++)
            (void)buf_printf(&text, " %s", d->searches[i]);
        (void)buf_add_char(&text, '\n');
    }
    for (size_t i = 0; i < d->n_servers; i++)
        (void)buf_printf(&text, "nameserver %s\n", d->servers[i]);
    if (d->n_options) {
        (void)buf_add_z(&text, "options");
        for (size_t i = 0; i < d->n_options; i++)
            (void)buf_printf(&text, " %s", d->options[i]);
        (void)buf_add_char(&text, '\n');
    }
    if (text.overflowed)
        return error_set(err, EMSGSIZE, "DNS configuration is too large");
    return file_write_atomic_nosync(path, 0644, buf_str(&text), err);
}

/* For those who bring no hosts file of their own (the kubelet does). */
static int write_hosts(const char *dir, struct error **err)
{
    cleanup_free char *path = path_join(dir, "hosts");
    cleanup_buf struct buf text = {0};

    if (file_read("/etc/hosts", RESOLV_MAX, &text, NULL) < 0)
        return 0;
    return file_write_atomic_nosync(path, 0644, buf_str(&text), err);
}

int sandbox_write_files(struct sandbox *s, struct error **err)
{
    cleanup_free char *dir = sandbox_dir(s), *path = path_join(dir, "hostname"), *line = NULL;
    char own[HOST_NAME_MAX + 1] = "";
    int r = write_resolv(s, dir, err);

    if (r == 0)
        r = write_hosts(dir, err);
    if (r < 0)
        return r;
    (void)gethostname(own, sizeof own - 1);
    line = xasprintf("%s\n", s->config->hostname[0] ? s->config->hostname : own);
    return file_write_atomic_nosync(path, 0644, str_of(line), err);
}

struct network_port *sandbox_ports(const struct sandbox *s, size_t *ret_n)
{
    static const uint8_t protocols[] = {IPPROTO_TCP, IPPROTO_UDP, IPPROTO_SCTP};
    struct network_port *ports = xcalloc(s->config->n_port_mappings + 1, sizeof *ports);
    size_t n = 0;

    for (size_t i = 0; i < s->config->n_port_mappings; i++) {
        const Runtime__V1__PortMapping *m = s->config->port_mappings[i];

        if (m->host_port <= 0 || m->host_port > 65535 || m->container_port <= 0 ||
            m->container_port > 65535 || (unsigned)m->protocol >= ARRAY_LEN(protocols))
            continue;
        ports[n] = (struct network_port){.protocol = protocols[m->protocol],
                                         .host = (uint16_t)m->host_port,
                                         .container = (uint16_t)m->container_port};
        if (m->host_ip[0] && ip_parse(str_of(m->host_ip), &ports[n].host_ip) == 0) {
            static const uint8_t zero[16];

            if (memcmp(ports[n].host_ip.bytes, zero, sizeof zero) == 0)
                ports[n].host_ip.family = 0;
        }
        n++;
    }
    *ret_n = n;
    return ports;
}
