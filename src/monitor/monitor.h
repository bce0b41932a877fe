/*
 * The program beside each container: holds its stdio, writes its log, waits for its end, leaves an
 * exit record. Built on its own, static, against musl: no other module of the tree is linked, a few
 * dozen kB are its whole footprint.
 *
 *   skiff-monitor run      one container (see run.c)
 *   skiff-monitor sandbox  makes and pins a pod's namespaces (see sandbox.c)
 */
#pragma once
#include <sys/types.h>

int run_main(int argc, char **argv);
int sandbox_main(int argc, char **argv);
/* "skiff-monitor: what: reason" on stderr; returns 1. */
int monitor_fail(const char *what, int code);
