/*
 * `skiff node`: starts the node's processes and starts them again when they end, with back-off. It
 * holds no state that matters: killed, it leaves the roles running, and the next one adopts them
 * through their pid files (pid, start time and boot ID, so that a reused pid is not mistaken).
 */
#pragma once
#include "cli/roles.h"
#include <sys/types.h>
/* Takes over argv after "node". Returns the exit code. */
int supervise_main(int argc, char **argv);
/* Starts a supervisor in the background, detached from the terminal. Its own log is <log>/node.log.
 */
int supervise_spawn(const struct layout *l, struct error **err);
/* pid of the running supervisor, 0 when there is none. */
pid_t supervise_running(const struct layout *l);
/* pid of a role by its pid file, 0 when it does not run. */
pid_t supervise_role_pid(const struct layout *l, enum role_id id);
/* Our own binary's path; owned. */
char *self_path(void);
