/*
 * A pod sandbox: namespaces pinned by bind mounts, an address, the files all its containers share.
 * No process, unless its containers share a pid namespace, which needs an init that reaps.
 */
#pragma once
#include "engine/container/spec.h"
#include "engine/core.h"

struct sandbox {
    struct engine *engine;
    char id[ID_TEXT];
    Runtime__V1__PodSandboxConfig *config; /* owned */
    char *handler;
    int64_t created_at; /* ns since 1970 */
    bool ready, busy;   /* busy: being made, or going away */
    bool removing;
    char ip[IP_TEXT]; /* "" with the host's network */
    pid_t reaper;     /* 0: none */
    struct process *helper;
};
typedef void (*sandbox_done_fn)(struct sandbox *s, const struct error *err, void *arg);

/* done gets NULL on failure, after everything was undone. config is copied. */
void sandbox_run(struct engine *e, const Runtime__V1__PodSandboxConfig *config, const char *handler,
                 sandbox_done_fn done, void *arg);
/* Kills its containers, takes the network away. Idempotent. */
void sandbox_stop(struct sandbox *s, sandbox_done_fn done, void *arg);
/* Stops first; its containers are removed too; done gets NULL. */
void sandbox_remove(struct sandbox *s, sandbox_done_fn done, void *arg);
int sandbox_load_all(struct engine *e, struct error **err);
/* Clears away what no sandbox owns. After the containers were loaded. */
void sandbox_sweep(struct engine *e);
void sandbox_free(struct sandbox *s); /* memory only */

const Runtime__V1__NamespaceOption *sandbox_namespaces(const struct sandbox *s); /* may be NULL */
bool sandbox_is_host_network(const struct sandbox *s);
char *sandbox_dir(const struct sandbox *s);     /* owned */
char *sandbox_run_dir(const struct sandbox *s); /* owned */
const char *sandbox_cgroup_parent(const struct sandbox *s);
