#include "base/cleanup.h"
#include "base/file.h"
#include "base/mem.h"
#include "engine/network/network_private.h"
#include <errno.h>

struct lease *lease_put(struct network *n, const char *id, const struct ip *ip)
{
    size_t len = strlen(id) + 1;
    struct lease *l = map_get(&n->leases, id);

    if (!l) {
        l = xcalloc(1, sizeof *l + len);
        memcpy(l->id, id, len);
        (void)map_set(&n->leases, id, l);
    }
    l->ip = *ip;
    return l;
}

static int load_one(int dirfd, const char *name, unsigned char type, void *arg)
{
    struct network *n = arg;
    cleanup_buf struct buf text = {0};
    cleanup_free char *id = NULL;
    struct ip ip;

    (void)type;
    if (ip_parse(str_of(name), &ip) < 0)
        return 0;
    if (file_read_at(dirfd, name, 256, &text, NULL) < 0 || !text.n)
        return 0;
    id = str_dup(str_trim(buf_str(&text)));
    (void)lease_put(n, id, &ip);
    return 0;
}

int leases_load(struct network *n, struct error **err)
{
    int r = dir_make(n->dir, 0700, err);

    return r < 0 ? r : dir_each(n->dir, load_one, n, err);
}

static bool taken(const struct network *n, const struct ip *ip)
{
    struct map_entry *e;
    size_t it = 0;

    if (ip_equal(ip, &n->subnet.ip))
        return true;
    while ((e = map_next(&n->leases, &it)))
        if (ip_equal(&((struct lease *)e->value)->ip, ip))
            return true;
    return false;
}

static char *lease_path(const struct network *n, const struct ip *ip)
{
    char text[IP_TEXT];

    ip_format(ip, text);
    return path_join(n->dir, text);
}

int lease_take(struct network *n, const char *id, struct lease **ret, struct error **err)
{
    uint32_t size = n->range.bits >= 31
                        ? 0
                        : (1u << (32 - n->range.bits)) - 2; /* without network and broadcast */
    struct lease *l = map_get(&n->leases, id);
    char text[IPNET_TEXT];

    if (l) {
        *ret = l;
        return 0;
    }
    for (uint32_t i = 0; i < size; i++) {
        uint32_t k = (n->next + i) % size;
        struct ip ip = ipnet_host(&n->range, k + 1);
        cleanup_free char *path = NULL;
        int r;

        if (taken(n, &ip))
            continue;
        path = lease_path(n, &ip);
        r = file_write_atomic_nosync(path, 0600, str_of(id), err);
        if (r < 0)
            return r;
        n->next = k + 1; /* addresses rest for a while before they come again */
        *ret = lease_put(n, id, &ip);
        return 0;
    }
    ipnet_format(&n->range, text);
    return error_set(err, ENOSPC, "no free address in %s", text);
}

void lease_drop(struct network *n, const char *id)
{
    struct lease *l = map_remove(&n->leases, id);
    cleanup_free char *path = NULL;

    if (!l)
        return;
    path = lease_path(n, &l->ip);
    (void)unlink(path);
    free(l->ports);
    free(l);
}
