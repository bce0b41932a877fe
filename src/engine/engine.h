/*
 * The engine: images, pod sandboxes and containers of one machine, offered as CRI over a unix
 * socket.
 *
 * What runs is the kernel's and the monitors' business; this process can be killed at any instant.
 * At start it reads <data-root>, compares with what is there under <exec-root>, adopts what runs,
 * and clears away what nobody owns.
 *
 *   <data-root>/containers/<id>/   container.json, rw/ (writable layer)
 *   <data-root>/sandboxes/<id>/    sandbox.json, resolv.conf, hostname
 *   <data-root>/network/           address leases
 *   <exec-root>/containers/<id>/   bundle: config.json, rootfs, control socket, pid; tmpfs, gone
 * after a reboot <exec-root>/sandboxes/<id>/    net, ipc, uts, pid (pinned namespaces), shm
 *   <exec-root>/exits/<id>         exit record, left by the monitor
 */
#pragma once
#include "base/error.h"
#include "base/flags.h"
#include "loop/loop.h"

struct engine;
struct engine_config {
    char *cri_socket; /* path; NULL: no CRI */
    char *data_root, *exec_root;
    char *config_file;  /* daemon.json */
    char *runtime;      /* "crun", "runc" or a path; NULL: chosen */
    char *bridge;       /* name of the built-in bridge */
    char *bip;          /* its address with prefix; NULL: unknown until a pod CIDR is told */
    char *fixed_cidr;   /* part of it that containers get */
    char *cluster_cidr; /* destinations never masqueraded; NULL none */
    char *stream_address;
    int64_t mtu; /* 0: the kernel's */
    bool ip_masq, iptables;
};
/* config is copied. */
int engine_start(struct loop *l, const struct engine_config *cfg, struct engine **ret,
                 struct error **err);
/* Containers go on running. NULL accepted. */
void engine_stop(struct engine *e);
/* `skiff engine`, dockerd, containerd; argv[0] decides which defaults hold. */
int engine_main(int argc, char **argv);
