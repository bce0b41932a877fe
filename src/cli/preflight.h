/* What must hold before a node can start on this machine: a table of checks, each with one sentence
 * and its remedy. */
#pragma once
#include "cli/roles.h"
/* Runs all checks; the first that fails sets err. running: our own processes hold the ports
 * already. */
int preflight(const struct node_config *c, const struct layout *l, bool running,
              struct error **err);
/* The address other machines reach us at: source of the default route, else the first global one.
 * Owned; -EADDRNOTAVAIL with the remedy. */
int preflight_default_ip(char **ret, struct error **err);
/* Host name in the form a Node may have; owned. */
int preflight_default_name(char **ret, struct error **err);
/* "pid 12 (nginx)" for whoever listens on a TCP port, or NULL; owned. */
char *preflight_port_holder(unsigned port);
