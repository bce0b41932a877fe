/*
 * `skiff agent`: kubelet, proxy and overlay in one process: one loop, one TLS context and one
 * connection to the API server. Takes the kubelet's flags and a few of the other two's.
 */
#pragma once
int agent_main(int argc, char **argv);
