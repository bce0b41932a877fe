/* `skiff down`: stops pods and processes, keeps all state. `skiff reset`: down, then removes every
 * trace. */
#pragma once
#include "cli/layout.h"
int down_main(int argc, char **argv);
int reset_main(int argc, char **argv);
/* Stops everything that runs from this layout. 0 also when nothing ran. */
int down_run(const struct layout *l, struct error **err);
