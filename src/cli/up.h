/* `skiff up`: control plane and node on this machine, from nothing to Ready. Running it again is
 * harmless. */
#pragma once
int up_main(int argc, char **argv);
