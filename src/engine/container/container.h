/*
 * One container, from its files to its end.
 *
 *   created -> running -> exited -> (removed)      a start that the runtime refuses: created ->
 * exited, code 128
 *
 * container.json is written at every step; while it runs, its monitor's socket is the truth.
 * Everything that takes time calls back exactly once, from the loop.
 */
#pragma once
#include "engine/container/control.h"
#include "engine/container/spec.h"
#include "engine/core.h"

enum container_state {
    CONTAINER_CREATED,
    CONTAINER_RUNNING,
    CONTAINER_EXITED
}; /* as CRI counts them */

struct container {
    struct engine *engine;
    char id[ID_TEXT];
    struct sandbox *sandbox;              /* NULL when its sandbox's record was lost */
    Runtime__V1__ContainerConfig *config; /* owned */
    char *sandbox_id, *image_id, *image_ref, *log_path, *cgroup, *reason, *message;
    enum container_state state;
    int64_t created_at, started_at, finished_at; /* ns since 1970 */
    int exit_code, stop_signal;
    bool oom, starting, removing, cleaning;
    pid_t init;
    struct user user;
    struct control *control;
    struct process *runtime; /* of start, or of clean-up */
    struct list waiters;
    struct cgroup_usage last_usage; /* for rates */
    int64_t last_usage_at;
    uint64_t layer_bytes, layer_inodes; /* of the writable layer, as last counted */
    int64_t layer_counted_at;
};
typedef void (*container_done_fn)(struct container *c, const struct error *err, void *arg);

/* image_ref is what CRI shows. config is copied. */
int container_create(struct engine *e, struct sandbox *s,
                     const Runtime__V1__ContainerConfig *config, const struct image *image,
                     struct container **ret, struct error **err);
void container_start(struct container *c, container_done_fn done, void *arg);
/* Not running: success at once. timeout 0: killed at once. */
void container_stop(struct container *c, int64_t timeout_ms, container_done_fn done, void *arg);
/* Kills what runs; c is dead when done is called (with c NULL). */
void container_remove(struct container *c, container_done_fn done, void *arg);
/* All at start: adopts, buries, sweeps. Sandboxes are loaded first. */
int container_load_all(struct engine *e, struct error **err);
void container_free(struct container *c); /* memory only */
int container_save(struct container *c, struct error **err);

/* paths; owned */
char *container_dir(const struct container *c);
char *container_run_dir(const struct container *c);
char *container_exit_file(const struct container *c);
static inline bool container_is_systemd(const struct container *c)
{
    return strchr(c->cgroup, ':') != NULL;
}
/* cgroup for reading counters; owned */
char *container_cgroup_path(const struct container *c);

/* record.c */
int container_read_record(struct engine *e, const char *id, struct container **ret,
                          struct error **err);
/* Exit record of the monitor; -ENOENT. */
int container_read_exit(const char *path, int *ret_code, int64_t *ret_finished, bool *ret_oom);
