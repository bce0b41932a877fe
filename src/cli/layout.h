/* Where a skiff node keeps its files. One place, so that `up` and `reset` cannot disagree. */
#pragma once
#include "base/error.h"
#include <stdbool.h>
struct layout {
    char *data; /* /var/lib/skiff: store, images, certificates, kubelet state */
    char *run;  /* /run/skiff: sockets, locks, namespaces; gone after a reboot */
    char *log;  /* <data>/log: what the roles print when no journal takes it */
    char *pki, *ca_file, *server_data, *engine_data, *engine_run, *kubelet_root;
    char *admin_kubeconfig, *bootstrap_kubeconfig, *kubelet_kubeconfig;
    char *engine_socket, *docker_socket, *node_lock, *found_state;
};
#define LAYOUT_DATA "/var/lib/skiff"
#define LAYOUT_RUN "/run/skiff"
/* data and run may be NULL for the defaults; copied. */
void layout_init(struct layout *l, const char *data, const char *run);
void layout_fini(struct layout *l);
