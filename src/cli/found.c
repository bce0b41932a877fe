#include "cli/found.h"
#include "base/cleanup.h"
#include "base/file.h"
#include "base/log.h"
#include "codec/json.h"
#include <errno.h>
#include <stdlib.h>

/* Settings that a node needs otherwise than most machines have them. */
static const char *const sysctls[] = {
    "/proc/sys/net/ipv4/ip_forward",
    "/proc/sys/net/ipv6/conf/all/forwarding",
    "/proc/sys/net/bridge/bridge-nf-call-iptables",
    "/proc/sys/net/ipv4/conf/all/route_localnet",
    "/proc/sys/net/netfilter/nf_conntrack_max",
};
/* Directories outside ours that a node may create. */
static const char *const directories[] = {
    "/var/log/pods",       "/var/log/containers", "/run/flannel",    "/var/lib/kubelet",
    "/var/lib/kube-proxy", "/run/netns",          "/etc/kubernetes", "/var/lib/cni",
};

static int load(const struct layout *l, json_t **ret)
{
    struct buf text;
    int r = file_read(l->found_state, 64 * 1024, &text, NULL);

    if (r < 0)
        return r;
    r = json_parse(buf_str(&text), 64 * 1024, l->found_state, ret, NULL);
    buf_fini(&text);
    return r;
}

int found_record(const struct layout *l, struct error **err)
{
    cleanup_json json_t *doc = NULL;
    json_t *values, *there;
    struct buf text;
    int r;

    if (path_exists(l->found_state))
        return 0;
    doc = json_object();
    values = json_object();
    there = json_array();
    for (size_t i = 0; i < ARRAY_LEN(sysctls); i++) {
        if (file_read(sysctls[i], 4096, &text, NULL) < 0)
            continue;
        (void)json_object_set_new(values, sysctls[i], json_string(text.p));
        buf_fini(&text);
    }
    for (size_t i = 0; i < ARRAY_LEN(directories); i++)
        if (path_exists(directories[i]))
            (void)json_array_append_new(there, json_string(directories[i]));
    (void)json_object_set_new(doc, "sysctls", values);
    (void)json_object_set_new(doc, "directories", there);
    buf_init(&text, 64 * 1024);
    (void)json_write_indented(doc, &text);
    r = file_write_atomic(l->found_state, 0600, buf_str(&text), err);
    buf_fini(&text);
    return r;
}

int found_restore(const struct layout *l, struct error **err)
{
    cleanup_json json_t *doc = NULL;
    const char *path;
    json_t *value;
    int r = 0;

    if (load(l, &doc) < 0)
        return 0;
    json_object_foreach(json_at(doc, "sysctls", NULL), path, value)
    {
        struct buf now;
        bool same;

        if (file_read(path, 4096, &now, NULL) < 0)
            continue;
        same = streq(now.p, json_string_value(value));
        buf_fini(&now);
        if (!same && file_write_knob(path, strna(json_string_value(value)), err) < 0)
            r = -EIO;
    }
    return r;
}

bool found_had(const struct layout *l, const char *path)
{
    cleanup_json json_t *doc = NULL;
    json_t *item;
    size_t i;

    if (load(l, &doc) < 0)
        return true;
    json_array_foreach(json_at(doc, "directories", NULL), i, item)
    {
        if (streq(json_string_value(item), path))
            return true;
    }
    return false;
}
