/* KubeProxyConfiguration v1alpha1 and kube-proxy's flags, into what proxy_start takes. */
#pragma once
#include "base/flags.h"
#include "proxy/proxy.h"
struct proxy_settings {
    struct proxy_config config; /* its strings point into this struct */
    char *kubeconfig, *server;
    char *bind_address, *node_name, *cluster_cidr, *detect_local, *interface, *prefix,
        *node_port_addresses;
    char *healthz, *metrics, *mode, *text;
    int64_t sync_ns, min_sync_ns, mark_bit, verbosity;
    bool masquerade_all, cleanup;
};
void proxy_settings_init(struct proxy_settings *s);
void proxy_settings_fini(struct proxy_settings *s);
/* A document of kind KubeProxyConfiguration; fields we have no use for are skipped, wrong types are
 * errors. */
int proxy_settings_read(struct proxy_settings *s, struct str text, const char *what,
                        struct error **err);
/* Flags; --config is read, and flags given beside it win only where upstream lets them (hostname
 * override, cleanup, verbosity). Returns FLAGS_HELP as flags_parse does. Then proxy_settings_finish
 * fills config. */
int proxy_settings_parse(struct proxy_settings *s, int argc, char **argv, struct error **err);
int proxy_settings_finish(struct proxy_settings *s, struct error **err);
