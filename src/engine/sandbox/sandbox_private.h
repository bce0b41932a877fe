/* Shared by the files of this folder only. */
#pragma once
#include "engine/sandbox/sandbox.h"

int sandbox_save(struct sandbox *s, struct error **err);
int sandbox_read_record(struct engine *e, const char *id, struct sandbox **ret, struct error **err);
Runtime__V1__PodSandboxConfig *sandbox_copy_config(const Runtime__V1__PodSandboxConfig *config);
/* Takes network, namespaces and reaper away. */
void sandbox_tear_down(struct sandbox *s);
/* Port mappings that have a host port; owned array. */
struct network_port *sandbox_ports(const struct sandbox *s, size_t *ret_n);
/* resolv.conf, hostname. */
int sandbox_write_files(struct sandbox *s, struct error **err);
