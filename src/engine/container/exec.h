/* A command inside a running container: the runtime's exec, in the foreground, with stdio the
 * caller made. */
#pragma once
#include "engine/container/container.h"

struct exec;
/* exit_code is the command's; error says why it did not start, else NULL. x is dead afterwards. */
typedef void (*exec_done_fn)(struct exec *x, int exit_code, const char *error, void *arg);
/* fds are the command's own ends, borrowed; -1 is /dev/null. With a terminal all three are its
 * slave side. */
int exec_start(struct container *c, char *const *cmd, size_t cmd_n, bool tty, const int fds[3],
               exec_done_fn done, void *arg, struct exec **ret, struct error **err);
/* Kills the command, not only the runtime that waits for it; done is still called. */
void exec_kill(struct exec *x);
