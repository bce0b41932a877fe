/*
 * The embedded control plane: one process that serves the Kubernetes API over TLS from a SQLite
 * file and runs the controllers and the scheduler beside it. It makes its own certificate authority
 * when none is given.
 */
#pragma once
/* `skiff server`, with kube-apiserver's names for what both know. argv[0] is the program's name;
 * returns the exit code. */
int server_main(int argc, char **argv);
