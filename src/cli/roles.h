/*
 * The command lines of a node's processes, made from one configuration and kept on disk, so that a
 * supervisor started later (after kill -9 or a reboot) starts the same ones.
 */
#pragma once
#include "base/flags.h"
#include "cli/layout.h"
#include <stdbool.h>

struct node_config {
    char *node_name, *node_ip, *data, *run;
    char *service_cidr, *cluster_cidr, *cluster_dns, *cluster_domain, *port_range, *log_level,
        *runtime;
    bool with_server; /* the control plane runs here as well */
};
void node_config_init(struct node_config *c);
void node_config_fini(struct node_config *c);
int node_config_load(const char *path, struct node_config *ret, struct error **err);
int node_config_save(const struct node_config *c, const char *path, struct error **err);
/* <data>/node.json */
char *node_config_path(const char *data);

enum role_id { ROLE_SERVER, ROLE_ENGINE, ROLE_AGENT, ROLE_MAX };
extern const char *const role_names[ROLE_MAX];
/* argv for a role; program is our own binary. Owned; ends with NULL for execv. */
void role_argv(const struct node_config *c, const struct layout *l, enum role_id id,
               const char *program, struct flag_list *ret);
