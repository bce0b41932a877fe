#include "engine/container/container.h"
#include "engine/sandbox/sandbox.h"
#include "base/cleanup.h"
#include "base/file.h"
#include "base/log.h"
#include <errno.h>
#include <signal.h>
#include <stdio.h>

#define START_TIMEOUT_MS 120000
#define KILL_WAIT_MS 30000 /* for the end after SIGKILL */
#define START_ERROR_CODE 128

/* Somebody who waits for the container's end (stop, remove). */
struct waiter {
    struct list link;
    struct container *c;
    struct loop_timer timer;
    container_done_fn done;
    void *arg;
    bool killed, to_remove;
};

static void remove_try(struct waiter *w);

/* ---- end ---- */
static void waiter_finish(struct waiter *w, const struct error *err)
{
    list_remove(&w->link);
    loop_timer_stop(&w->timer);
    w->done(w->c, err, w->arg);
    free(w);
}

static void on_change(struct container *c)
{
    list_for_safe(p, &c->waiters)
    {
        struct waiter *w = container_of(p, struct waiter, link);

        if (w->to_remove)
            continue;
        if (c->state != CONTAINER_RUNNING)
            waiter_finish(w, NULL);
    }
    /* Removers last: the first of them ends the container and the list with it. */
    if (!list_empty(&c->waiters))
        remove_try(container_of(c->waiters.next, struct waiter, link));
}

static void unmount_all(struct container *c)
{
    cleanup_free char *run = container_run_dir(c);
    cleanup_error struct error *err = NULL;

    if (image_rootfs_sweep(run, NULL, NULL, &err) < 0)
        log_warn("container", "root file system stays mounted", "container", c->id, "error",
                 error_message(err), NULL);
}

static void on_deleted(struct process *p, const struct process_result *r, void *arg)
{
    struct container *c = arg;
    cleanup_free char *group = container_cgroup_path(c);

    (void)p;
    (void)r; /* what was gone already is an error to the runtime, not to us */
    c->runtime = NULL;
    c->cleaning = false;
    unmount_all(c);
    cgroups_remove(&c->engine->cgroups, group);
    on_change(c);
}

/* Takes away what the runtime keeps: its state, processes left in the cgroup, the cgroup. */
static void clean_up(struct container *c)
{
    const char *args[] = {"delete", "--force", c->id, NULL};
    cleanup_error struct error *err = NULL;

    if (c->cleaning)
        return;
    c->cleaning = true;
    if (runtime_start(c->engine->loop, &c->engine->runtime, args, STR_NULL, on_deleted, c,
                      &c->runtime, &err) < 0) {
        log_warn("container", "runtime delete", "container", c->id, "error", error_message(err),
                 NULL);
        c->cleaning = false;
    }
}

static void set_exited(struct container *c, int code, int64_t finished, const char *reason,
                       const char *message)
{
    cleanup_error struct error *err = NULL;
    cleanup_free char *exit_file = container_exit_file(c);
    char text[16];

    c->state = CONTAINER_EXITED;
    c->exit_code = code;
    c->finished_at = finished;
    c->init = 0;
    str_replace(&c->reason, reason);
    str_replace(&c->message, message);
    (void)snprintf(text, sizeof text, "%d", code);
    log_info("container", "exited", "container", c->id, "code", text, "reason", reason, NULL);
    if (container_save(c, &err) < 0)
        log_error("container", "cannot save", "container", c->id, "error", error_message(err),
                  NULL);
    else
        (void)unlink(exit_file);
}

static void bury(struct container *c)
{
    cleanup_free char *exit_file = container_exit_file(c);
    int64_t finished = wall_now().ns;
    int code = 255;

    if (container_read_exit(exit_file, &code, &finished, &c->oom) == 0)
        set_exited(c, code, finished, c->oom ? "OOMKilled" : code ? "Error" : "Completed", NULL);
    else
        set_exited(c, 255, finished, "Unknown",
                   "the container's monitor ended without leaving an exit record");
}

static void on_monitor_gone(void *arg)
{
    struct container *c = arg;

    control_free(TAKE(c->control));
    bury(c);
    clean_up(c);
    engine_emit(c->engine, EVENT_STOPPED, c, c->sandbox);
    on_change(c);
}

/* ---- start ---- */
struct start {
    struct container *c;
    container_done_fn done;
    void *arg;
};

static void start_failed(struct start *s, const char *message)
{
    struct container *c = s->c;
    cleanup_error struct error *err = NULL;

    (void)error_set(&err, EIO, "start container: %s", message);
    set_exited(c, START_ERROR_CODE, wall_now().ns, "StartError", error_message(err));
    c->started_at = 0;
    clean_up(c);
    s->done(c, err, s->arg);
    free(s);
}

static int read_pids(struct str out, pid_t *ret)
{
    int64_t v;

    if (str_to_i64(str_split(&out, ' '), 1, INT32_MAX, &v) < 0)
        return -EINVAL;
    *ret = (pid_t)v;
    return 0;
}

static void on_started(struct process *p, const struct process_result *r, void *arg)
{
    struct start *s = arg;
    struct container *c = s->c;
    cleanup_free char *run = container_run_dir(c), *log = path_join(run, "runtime.log"),
                      *said = NULL;
    cleanup_error struct error *err = NULL;

    (void)p;
    c->runtime = NULL;
    c->starting = false;
    if (r->timed_out || r->wait_status != 0 || read_pids(r->out, &c->init) < 0) {
        char status[64];

        process_status_text(r->wait_status, status, sizeof status);
        said = runtime_log_message(log);
        if (!said)
            said = r->timed_out ? xstrdup("the runtime did not answer in time")
                                : str_dup(str_trim(r->err));
        start_failed(s, said[0] ? said : status);
        return;
    }
    c->state = CONTAINER_RUNNING;
    c->started_at = wall_now().ns;
    if (container_save(c, &err) < 0)
        log_error("container", "cannot save", "container", c->id, "error", error_message(err),
                  NULL);
    engine_emit(c->engine, EVENT_STARTED, c, c->sandbox);
    if (control_connect(c->engine->loop, run, on_monitor_gone, c, &c->control, NULL) < 0) {
        /* It was quick: over before we could look. */
        bury(c);
        clean_up(c);
        engine_emit(c->engine, EVENT_STOPPED, c, c->sandbox);
    }
    s->done(c, NULL, s->arg);
    free(s);
    on_change(c);
}

static void start_argv(const struct container *c, struct flag_list *v)
{
    cleanup_free char *run = container_run_dir(c), *exits = container_exit_file(c),
                      *group = container_cgroup_path(c);
    cleanup_free char *oom = cgroups_oom_file(&c->engine->cgroups, group);
    cleanup_free char *pid = path_join(run, "pid");
    cleanup_free char *log = path_join(run, "runtime.log");
    cleanup_free char *self = xasprintf("%d", (int)getpid());
    const char *words[] = {
        c->engine->monitor, "run", "-p", self, "-d", run, "-e", exits, "-o", oom, NULL};
    const char *runtime[] = {"run", "--detach", "--bundle", run, "--pid-file", pid, NULL};

    for (size_t i = 0; words[i]; i++)
        flag_list_add(v, words[i]);
    if (c->log_path) {
        flag_list_add(v, "-l");
        flag_list_add(v, c->log_path);
    }
    if (c->config->tty)
        flag_list_add(v, "-t");
    if (c->config->stdin)
        flag_list_add(v, "-i");
    if (c->config->stdin_once)
        flag_list_add(v, "-1");
    flag_list_add(v, "--");
    runtime_argv(&c->engine->runtime, log, container_is_systemd(c), v);
    for (size_t i = 0; runtime[i]; i++)
        flag_list_add(v, runtime[i]);
    if (c->config->tty) {
        flag_list_add(v, "--console-socket");
        flag_list_add(v, "console"); /* in its directory: socket names are short */
    }
    flag_list_add(v, c->id);
    v->v = xreallocarray(v->v, v->n + 1, sizeof *v->v);
    v->v[v->n] = NULL;
}

void container_start(struct container *c, container_done_fn done, void *arg)
{
    static const char *const states[] = {"created", "running", "exited"};
    struct process_spec spec = {.timeout_ms = START_TIMEOUT_MS};
    struct flag_list argv = {0};
    cleanup_error struct error *err = NULL;
    struct start *s;

    if (c->state != CONTAINER_CREATED || c->starting || c->removing) {
        (void)error_set(&err, EINVAL, "container %s cannot be started: it is %s", c->id,
                        c->removing   ? "being removed"
                        : c->starting ? "starting"
                                      : states[c->state]);
        done(c, err, arg);
        return;
    }
    s = xcalloc(1, sizeof *s);
    *s = (struct start){c, done, arg};
    c->starting = true;
    start_argv(c, &argv);
    spec.argv = (const char *const *)argv.v;
    if (process_start(c->engine->loop, &spec, on_started, s, &c->runtime, &err) < 0) {
        c->starting = false;
        start_failed(s, error_message(err));
    }
    flag_list_fini(&argv);
}

/* ---- stop ---- */
static void on_stop_timeout(struct loop_timer *t)
{
    struct waiter *w = container_of(t, struct waiter, timer);
    cleanup_error struct error *err = NULL;

    if (w->killed) {
        (void)error_set(&err, ETIMEDOUT, "container %s does not end, even killed", w->c->id);
        if (w->to_remove)
            w->c->removing = false;
        waiter_finish(w, err);
        return;
    }
    w->killed = true;
    if (w->c->control)
        control_kill(w->c->control, SIGKILL, NULL, NULL);
    loop_timer_start(w->c->engine->loop, &w->timer, KILL_WAIT_MS, on_stop_timeout);
}

static struct waiter *waiter_new(struct container *c, container_done_fn done, void *arg)
{
    struct waiter *w = xcalloc(1, sizeof *w);

    w->c = c;
    w->done = done;
    w->arg = arg;
    list_add_tail(&c->waiters, &w->link);
    return w;
}

static void waiter_signal(struct waiter *w, int64_t timeout_ms)
{
    w->killed = timeout_ms <= 0;
    if (w->c->control)
        control_kill(w->c->control, w->killed ? SIGKILL : w->c->stop_signal, NULL, NULL);
    loop_timer_start(w->c->engine->loop, &w->timer, w->killed ? KILL_WAIT_MS : timeout_ms,
                     on_stop_timeout);
}

void container_stop(struct container *c, int64_t timeout_ms, container_done_fn done, void *arg)
{
    if (c->state != CONTAINER_RUNNING) {
        done(c, NULL, arg);
        return;
    }
    waiter_signal(waiter_new(c, done, arg), timeout_ms);
}

/* ---- remove ---- */
static void remove_files(struct container *c)
{
    cleanup_free char *dir = container_dir(c), *run = container_run_dir(c),
                      *exits = container_exit_file(c);
    cleanup_free char *group = container_cgroup_path(c);
    cleanup_error struct error *err = NULL;

    unmount_all(c);
    cgroups_remove(&c->engine->cgroups, group);
    /* The record goes last: half removed is removed again at the next start. */
    if (dir_remove_tree(run, &err) < 0)
        log_warn("container", "leftovers", "container", c->id, "error", error_message(err), NULL);
    error_clear(&err);
    if (dir_remove_tree(dir, &err) < 0)
        log_warn("container", "leftovers", "container", c->id, "error", error_message(err), NULL);
    (void)unlink(exits);
}

static void remove_try(struct waiter *w)
{
    struct container *c = w->c;
    struct list rest;

    if (c->state == CONTAINER_RUNNING && !w->killed)
        waiter_signal(w, 0);
    if (c->state == CONTAINER_RUNNING || c->starting || c->cleaning)
        return;
    remove_files(c);
    (void)map_remove(&c->engine->containers, c->id);
    engine_emit(c->engine, EVENT_DELETED, c, c->sandbox);
    list_init(&rest);
    list_for_safe(p, &c->waiters)
    {
        list_remove(p);
        list_add_tail(&rest, p);
    }
    container_free(c);
    list_for_safe(p, &rest)
    {
        struct waiter *v = container_of(p, struct waiter, link);

        v->c = NULL;
        waiter_finish(v, NULL);
    }
}

void container_remove(struct container *c, container_done_fn done, void *arg)
{
    struct waiter *w = waiter_new(c, done, arg);

    w->to_remove = true;
    c->removing = true;
    remove_try(w);
}

/* ---- at start ---- */
static void adopt(struct container *c)
{
    cleanup_free char *run = container_run_dir(c), *exits = container_exit_file(c),
                      *pid_file = path_join(run, "pid");
    cleanup_buf struct buf text = {0};
    int64_t pid = 0;

    if (c->state == CONTAINER_EXITED)
        return;
    if (c->init >= 0 &&
        control_connect(c->engine->loop, run, on_monitor_gone, c, &c->control, NULL) == 0) {
        if (file_read(pid_file, 64, &text, NULL) == 0)
            (void)str_to_i64(str_trim(buf_str(&text)), 1, INT32_MAX, &pid);
        c->init = (pid_t)pid;
        if (c->state == CONTAINER_CREATED) { /* we died between the start and the record of it */
            c->state = CONTAINER_RUNNING;
            c->started_at = wall_now().ns;
            (void)container_save(c, NULL);
        }
        return;
    }
    if (c->state == CONTAINER_CREATED && !path_exists(exits) && !path_exists(pid_file) &&
        path_exists(run))
        return;
    if (c->state == CONTAINER_CREATED && !c->started_at)
        c->started_at = c->created_at;
    bury(c);
    clean_up(c);
}

static int load_one(int dirfd, const char *name, unsigned char type, void *arg)
{
    struct engine *e = arg;
    struct container *c;
    cleanup_error struct error *err = NULL;

    (void)dirfd;
    (void)type;
    if (container_read_record(e, name, &c, &err) < 0) {
        cleanup_free char *dir = xasprintf("%s/containers/%s", e->cfg.data_root, name);

        log_warn("container", "no usable record, removed", "container", name, "reason",
                 error_message(err), NULL);
        (void)dir_remove_tree(dir, NULL);
        return 0;
    }
    c->sandbox = map_get(&e->sandboxes, c->sandbox_id);
    (void)map_set(&e->containers, c->id, c);
    adopt(c);
    return 0;
}

static void on_orphan_deleted(struct process *p, const struct process_result *r, void *arg)
{
    cleanup_free char *run = arg;

    (void)p;
    (void)r;
    (void)image_rootfs_sweep(run, NULL, NULL, NULL);
    (void)dir_remove_tree(run, NULL);
}

/* Run directories whose container nobody knows: made just before we died. */
static int sweep_one(int dirfd, const char *name, unsigned char type, void *arg)
{
    struct engine *e = arg;
    const char *args[] = {"delete", "--force", name, NULL};
    struct process *p;
    char *run;

    (void)dirfd;
    (void)type;
    if (map_has(&e->containers, name))
        return 0;
    run = xasprintf("%s/containers/%s", e->cfg.exec_root, name);
    if (runtime_start(e->loop, &e->runtime, args, STR_NULL, on_orphan_deleted, run, &p, NULL) < 0)
        free(run);
    return 0;
}

/* What the runtime remembers of containers whose directory is gone already. */
static int sweep_runtime(int dirfd, const char *name, unsigned char type, void *arg)
{
    struct engine *e = arg;
    cleanup_free char *run = xasprintf("%s/containers/%s", e->cfg.exec_root, name);

    return path_exists(run) ? 0 : sweep_one(dirfd, name, type, arg);
}

int container_load_all(struct engine *e, struct error **err)
{
    cleanup_free char *dir = path_join(e->cfg.data_root, "containers"),
                      *run = path_join(e->cfg.exec_root, "containers");
    int r = dir_each(dir, load_one, e, err);

    if (r == 0)
        r = dir_each(e->runtime.root, sweep_runtime, e, err);
    return r < 0 ? r : dir_each(run, sweep_one, e, err);
}
