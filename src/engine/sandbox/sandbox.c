#include "engine/sandbox/sandbox_private.h"
#include "engine/container/container.h"
#include "base/cleanup.h"
#include "base/file.h"
#include "base/log.h"
#include <errno.h>
#include <signal.h>
#include <sys/mount.h>

#define HELPER_TIMEOUT_MS 30000
#define SHM_BYTES "67108864"
#define HOSTNAME_MAX 64

static const char *const pins[] = {"net", "ipc", "uts", "pid", "shm"};

/* ---- going away ---- */
static void end_reaper(struct sandbox *s)
{
    cleanup_free char *path = xasprintf("/proc/%d/comm", s->reaper);
    cleanup_buf struct buf name = {0};

    /* After a restart the number may be somebody else's. */
    if (s->reaper > 0 && file_read(path, 64, &name, NULL) == 0 &&
        str_eq_z(str_trim(buf_str(&name)), "pause"))
        (void)kill(s->reaper, SIGKILL);
    s->reaper = 0;
}

static void unpin(const char *run)
{
    for (size_t i = 0; i < ARRAY_LEN(pins); i++) {
        cleanup_free char *path = path_join(run, pins[i]);

        while (umount2(path, MNT_DETACH) == 0)
            ;
    }
}

void sandbox_tear_down(struct sandbox *s)
{
    cleanup_free char *run = sandbox_run_dir(s);

    if (!sandbox_is_host_network(s))
        network_detach(s->engine->network, s->id);
    end_reaper(s);
    unpin(run);
    (void)dir_remove_tree(run, NULL);
}

/* ---- being made ---- */
struct run {
    struct sandbox *s;
    sandbox_done_fn done;
    void *arg;
};

static void run_failed(struct run *r, const struct error *err)
{
    struct sandbox *s = r->s;
    cleanup_free char *dir = sandbox_dir(s);

    sandbox_tear_down(s);
    (void)dir_remove_tree(dir, NULL);
    r->done(NULL, err, r->arg);
    sandbox_free(s);
    free(r);
}

static int finish(struct sandbox *s, struct error **err)
{
    cleanup_free char *run = sandbox_run_dir(s), *netns = path_join(run, "net");
    cleanup_free struct network_port *ports = NULL;
    size_t n = 0;
    int r;

    if (!sandbox_is_host_network(s)) {
        ports = sandbox_ports(s, &n);
        r = network_attach(s->engine->network, s->id, netns, ports, n, s->ip, err);
        if (r < 0)
            return error_wrap(err, "pod network");
    }
    s->ready = true;
    s->busy = false;
    return sandbox_save(s, err);
}

static void on_helper(struct process *p, const struct process_result *q, void *arg)
{
    struct run *r = arg;
    struct sandbox *s = r->s;
    cleanup_error struct error *err = NULL;
    int64_t pid = 0;

    (void)p;
    s->helper = NULL;
    if (str_to_i64(str_trim(q->out), 1, INT32_MAX, &pid) == 0)
        s->reaper = (pid_t)pid;
    if (q->timed_out || q->wait_status != 0)
        (void)error_set(&err, EIO, "make namespaces: %.*s", STR_FMT(str_trim(q->err)));
    else
        (void)finish(s, &err);
    if (err) {
        run_failed(r, err);
        return;
    }
    (void)map_set(&s->engine->sandboxes, s->id, s);
    engine_emit(s->engine, EVENT_CREATED, NULL, s);
    engine_emit(s->engine, EVENT_STARTED, NULL, s);
    r->done(s, NULL, r->arg);
    free(r);
}

static void add_words(struct flag_list *v, const char *a, const char *b)
{
    flag_list_add(v, a);
    if (b)
        flag_list_add(v, b);
}

static void add_sysctls(const struct sandbox *s, struct flag_list *v)
{
    const Runtime__V1__LinuxPodSandboxConfig *l = s->config->linux;

    if (!sandbox_is_host_network(s)) {
        /* What containers without capabilities may expect: low ports and ping. */
        add_words(v, "-s", "net.ipv4.ip_unprivileged_port_start=0");
        add_words(v, "-s", "net.ipv4.ping_group_range=0 2147483647");
        /* Pods reach each other through the host (see network.c); its shorter way is not to be
         * taken. */
        add_words(v, "-s", "net.ipv4.conf.all.accept_redirects=0");
        add_words(v, "-s", "net.ipv4.conf.default.accept_redirects=0");
    }
    for (size_t i = 0; l && i < l->n_sysctls; i++) {
        cleanup_free char *setting = xasprintf("%s=%s", l->sysctls[i]->key, l->sysctls[i]->value);

        add_words(v, "-s", setting);
    }
}

static void helper_argv(const struct sandbox *s, const char *run, struct flag_list *v)
{
    const Runtime__V1__NamespaceOption *o = sandbox_namespaces(s);

    add_words(v, s->engine->monitor, "sandbox");
    add_words(v, "-d", run);
    if (!sandbox_is_host_network(s)) {
        add_words(v, "-n", NULL);
        add_words(v, "-u", s->config->hostname[0] ? s->config->hostname : s->id);
    }
    if (!o || o->ipc != RUNTIME__V1__NAMESPACE_MODE__NODE) {
        add_words(v, "-i", NULL);
        add_words(v, "-m", SHM_BYTES);
    }
    if (o && o->pid == RUNTIME__V1__NAMESPACE_MODE__POD)
        add_words(v, "-p", NULL);
    add_sysctls(s, v);
    v->v = xreallocarray(v->v, v->n + 1, sizeof *v->v);
    v->v[v->n] = NULL;
}

/* A sysctl is only taken where it belongs to a namespace of the pod's own: otherwise it would be
 * the host's. */
static int check_sysctl(const char *key, const Runtime__V1__NamespaceOption *o, struct error **err)
{
    static const char *const ipc[] = {"kernel.shm", "kernel.msg", "kernel.sem", "fs.mqueue."};
    bool host_net = o && o->network == RUNTIME__V1__NAMESPACE_MODE__NODE;
    bool host_ipc = o && o->ipc == RUNTIME__V1__NAMESPACE_MODE__NODE;
    cleanup_free char *dotted = xstrdup(key);

    for (char *p = dotted; *p; p++)
        if (*p == '/')
            *p = '.';
    if (strstarts(dotted, "net."))
        return host_net
                   ? error_set(err, EINVAL, "sysctl %s is not allowed with the host's network", key)
                   : 0;
    for (size_t i = 0; i < ARRAY_LEN(ipc); i++)
        if (strstarts(dotted, ipc[i]))
            return host_ipc
                       ? error_set(err, EINVAL, "sysctl %s is not allowed with the host's IPC", key)
                       : 0;
    if (streq(dotted, "kernel.domainname") && !host_net)
        return 0;
    return error_set(err, EINVAL, "sysctl %s belongs to no namespace of a pod", key);
}

static int check(struct engine *e, const Runtime__V1__PodSandboxConfig *c, const char *handler,
                 struct error **err)
{
    const Runtime__V1__NamespaceOption *o = c->linux && c->linux->security_context
                                                ? c->linux->security_context->namespace_options
                                                : NULL;

    if (!c->metadata || !c->metadata->name[0])
        return error_set(err, EINVAL, "sandbox has no name");
    if (handler[0] && !streq(handler, "runc") && !streq(handler, "crun"))
        return error_set(err, EINVAL, "no runtime for \"%s\" is configured", handler);
    if (strlen(c->hostname) > HOSTNAME_MAX)
        return error_set(err, EINVAL, "host name \"%s\" is longer than %d characters", c->hostname,
                         HOSTNAME_MAX);
    if (o && o->userns_options && o->userns_options->mode == RUNTIME__V1__NAMESPACE_MODE__POD)
        return error_set(err, ENOTSUP, "user namespaces for pods are not supported by this engine");
    if (e->sandboxes.n >= OBJECTS_MAX)
        return error_set(err, EAGAIN, "there are %d sandboxes already", OBJECTS_MAX);
    for (size_t i = 0; c->linux && i < c->linux->n_sysctls; i++)
        if (check_sysctl(c->linux->sysctls[i]->key, o, err) < 0)
            return -EINVAL;
    return 0;
}

static int prepare(struct sandbox *s, const char *dir, const char *run, struct error **err)
{
    const char *reason;
    int r = dir_make(dir, 0710, err);

    if (r == 0)
        r = dir_make(run, 0711, err);
    if (r == 0 && s->config->log_directory[0])
        r = dir_make(s->config->log_directory, 0755, err);
    if (r == 0)
        r = sandbox_write_files(s, err);
    if (r == 0 && !sandbox_is_host_network(s) && !network_ready(s->engine->network, &reason))
        r = error_set(err, ENETUNREACH, "pod network is not ready: %s", reason);
    return r;
}

void sandbox_run(struct engine *e, const Runtime__V1__PodSandboxConfig *config, const char *handler,
                 sandbox_done_fn done, void *arg)
{
    cleanup_error struct error *err = NULL;
    cleanup_free char *dir = NULL, *run = NULL;
    struct process_spec spec = {.timeout_ms = HELPER_TIMEOUT_MS};
    struct flag_list argv = {0};
    struct sandbox *s;
    struct run *r;

    if (check(e, config, handler, &err) < 0) {
        done(NULL, err, arg);
        return;
    }
    s = xcalloc(1, sizeof *s);
    s->engine = e;
    engine_new_id(s->id);
    s->config = sandbox_copy_config(config);
    s->handler = xstrdup(handler);
    s->created_at = wall_now().ns;
    s->busy = true;
    r = xcalloc(1, sizeof *r);
    *r = (struct run){s, done, arg};
    dir = sandbox_dir(s);
    run = sandbox_run_dir(s);
    helper_argv(s, run, &argv);
    spec.argv = (const char *const *)argv.v;
    if (prepare(s, dir, run, &err) < 0 ||
        process_start(e->loop, &spec, on_helper, r, &s->helper, &err) < 0)
        run_failed(r, err);
    flag_list_fini(&argv);
}

/* ---- stop and remove ---- */
struct stop {
    struct sandbox *s;
    sandbox_done_fn done;
    void *arg;
    size_t left;
    struct error *err;
    bool remove;
};

static void stop_finish(struct stop *t)
{
    struct sandbox *s = t->s;
    bool was_ready = s->ready;

    if (t->err) {
        s->removing = false;
        t->done(s, t->err, t->arg);
        error_free(t->err);
        free(t);
        return;
    }
    s->ready = false;
    sandbox_tear_down(s);
    if (t->remove) {
        cleanup_free char *dir = sandbox_dir(s);

        (void)dir_remove_tree(dir, NULL);
        (void)map_remove(&s->engine->sandboxes, s->id);
        engine_emit(s->engine, EVENT_DELETED, NULL, s);
        sandbox_free(TAKE(t->s));
    } else {
        (void)sandbox_save(s, &t->err);
        if (was_ready)
            engine_emit(s->engine, EVENT_STOPPED, NULL, s);
    }
    t->done(t->s, t->err, t->arg);
    error_free(t->err);
    free(t);
}

static void on_container_done(struct container *c, const struct error *err, void *arg)
{
    struct stop *t = arg;

    (void)c;
    if (err && !t->err)
        (void)error_set(&t->err, err->code, "%s", error_message(err));
    if (--t->left == 0)
        stop_finish(t);
}

static void stop_containers(struct stop *t)
{
    struct engine *e = t->s->engine;
    struct container **all = xcalloc(e->containers.n + 1, sizeof(struct container *));
    struct map_entry *m;
    size_t it = 0, n = 0;

    while ((m = map_next(&e->containers, &it)))
        if (((struct container *)m->value)->sandbox == t->s)
            all[n++] = m->value;
    t->left = n + 1; /* ours, until all have been asked */
    for (size_t i = 0; i < n; i++) {
        if (t->remove)
            container_remove(all[i], on_container_done, t);
        else
            container_stop(all[i], 0, on_container_done, t);
    }
    free(all);
    on_container_done(NULL, NULL, t);
}

static void stop_begin(struct sandbox *s, bool remove, sandbox_done_fn done, void *arg)
{
    struct stop *t = xcalloc(1, sizeof *t);

    *t = (struct stop){.s = s, .done = done, .arg = arg, .remove = remove};
    if (remove && s->removing) {
        cleanup_error struct error *err = NULL;

        (void)error_set(&err, EBUSY, "sandbox %s is being removed", s->id);
        done(s, err, arg);
        free(t);
        return;
    }
    s->removing = s->removing || remove;
    stop_containers(t);
}

void sandbox_stop(struct sandbox *s, sandbox_done_fn done, void *arg)
{
    stop_begin(s, false, done, arg);
}

void sandbox_remove(struct sandbox *s, sandbox_done_fn done, void *arg)
{
    stop_begin(s, true, done, arg);
}

/* ---- at start ---- */
static int load_one(int dirfd, const char *name, unsigned char type, void *arg)
{
    struct engine *e = arg;
    struct sandbox *s;
    cleanup_error struct error *err = NULL;

    (void)dirfd;
    (void)type;
    if (sandbox_read_record(e, name, &s, &err) < 0) {
        cleanup_free char *dir = xasprintf("%s/sandboxes/%s", e->cfg.data_root, name);

        log_warn("sandbox", "no usable record, removed", "sandbox", name, "reason",
                 error_message(err), NULL);
        (void)dir_remove_tree(dir, NULL);
        return 0;
    }
    if (s->ready && !sandbox_is_host_network(s)) {
        size_t n;
        cleanup_free struct network_port *ports = sandbox_ports(s, &n);

        network_keep(e->network, s->id, s->ip, ports, n);
    }
    (void)map_set(&e->sandboxes, s->id, s);
    return 0;
}

int sandbox_load_all(struct engine *e, struct error **err)
{
    cleanup_free char *dir = path_join(e->cfg.data_root, "sandboxes");

    return dir_each(dir, load_one, e, err);
}

static int sweep_one(int dirfd, const char *name, unsigned char type, void *arg)
{
    struct engine *e = arg;
    const struct sandbox *s = map_get(&e->sandboxes, name);
    cleanup_free char *run = xasprintf("%s/sandboxes/%s", e->cfg.exec_root, name);

    (void)dirfd;
    (void)type;
    if (s && s->ready)
        return 0;
    unpin(run);
    (void)dir_remove_tree(run, NULL);
    return 0;
}

void sandbox_sweep(struct engine *e)
{
    cleanup_free char *run = path_join(e->cfg.exec_root, "sandboxes");

    (void)dir_each(run, sweep_one, e, NULL);
}
