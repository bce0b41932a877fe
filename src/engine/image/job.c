/*
 * Pulls and loads. A run is one worker process; jobs are the callers waiting for it. Callers that
 * ask for the same reference with the same credentials share a run. The run ends when its process
 * has been reaped; only then are its images committed, so that what a caller sees is on disk and
 * whole.
 */
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/random.h"
#include "base/sha256.h"
#include "engine/image/message.h"
#include "loop/process.h"
#include <errno.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>

#define MODULE "image"
#define WATCHDOG_MS (120 * 1000LL) /* beyond the worker's own stall limit */

struct image_run {
    struct list link;
    struct image_store *store;
    struct loop_child child;
    struct loop_io io;
    struct loop_timer watchdog;
    int fd;
    pid_t pid;
    char *key; /* NULL: cannot be shared */
    char *what, *tmp;
    struct list jobs;
    struct image_record *records;
    size_t records_n;
    char *digest;
    struct error *error;
    bool done;
    struct mono started;
};
struct image_job {
    struct list link;
    struct image_run *run;
    image_progress_fn progress;
    image_done_fn done;
    void *arg;
};

static void run_free(struct image_run *run)
{
    loop_timer_stop(&run->watchdog);
    loop_io_stop(&run->io);
    loop_child_stop(&run->child);
    (void)close(run->fd);
    if (list_linked(&run->link)) {
        list_remove(&run->link);
        run->store->jobs_running--;
    }
    for (size_t i = 0; i < run->records_n; i++)
        image_record_fini(&run->records[i]);
    free(run->records);
    free(run->key);
    free(run->what);
    free(run->tmp);
    free(run->digest);
    error_free(run->error);
    free(run);
}

static void run_kill(struct image_run *run)
{
    (void)kill(-run->pid, SIGKILL);
    (void)kill(run->pid, SIGKILL); /* before it made its group */
}

/* ---- messages ---- */
static void on_message(struct image_run *run, struct worker_message *m)
{
    switch (m->type) {
    case MESSAGE_PROGRESS:
        list_for_safe(n, &run->jobs)
        {
            struct image_job *j = container_of(n, struct image_job, link);
            if (j->progress)
                j->progress(&(struct image_progress){m->id, m->status, m->current, m->total},
                            j->arg);
        }
        break;
    case MESSAGE_IMAGE:
        run->records = xreallocarray(run->records, run->records_n + 1, sizeof(*run->records));
        run->records[run->records_n++] = m->record;
        m->record = (struct image_record){0};
        if (m->digest)
            str_replace(&run->digest, m->digest);
        break;
    case MESSAGE_ERROR:
        if (!run->error)
            error_set(&run->error, m->code, "%s", m->text);
        break;
    case MESSAGE_DONE:
        run->done = true;
        break;
    }
}

static void run_read(struct image_run *run)
{
    char packet[MESSAGE_MAX];

    for (;;) {
        ssize_t n = recv(run->fd, packet, sizeof(packet), MSG_DONTWAIT | MSG_TRUNC);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            return;
        if (n <= 0) {
            loop_io_stop(&run->io);
            return;
        }
        cleanup_error struct error *err = NULL;
        struct worker_message m;
        if ((size_t)n > sizeof(packet) ||
            worker_message_parse((struct str){packet, (size_t)n}, &m, &err) < 0) {
            if (!run->error)
                error_set(&run->error, EPROTO, "%s",
                          err ? error_message(err) : "message of the image worker is too long");
            run_kill(run);
            return;
        }
        on_message(run, &m);
        worker_message_fini(&m);
        if (run->store)
            loop_timer_start(run->store->loop, &run->watchdog,
                             run->store->cfg.stall_ms + WATCHDOG_MS, run->watchdog.fn);
    }
}

static void on_readable(struct loop_io *io, unsigned events)
{
    run_read(container_of(io, struct image_run, io));
}

static void on_watchdog(struct loop_timer *t)
{
    struct image_run *run = container_of(t, struct image_run, watchdog);

    if (!run->error)
        error_set(&run->error, ETIMEDOUT, "%s: no progress, given up", run->what);
    run_kill(run);
}

/* ---- end ---- */
static void run_commit(struct image_run *run, struct image_result *res)
{
    struct image_store *s = run->store;

    res->up_to_date = run->records_n > 0;
    for (size_t i = 0; i < run->records_n && !run->error; i++) {
        struct image_record *rec = &run->records[i];
        const struct image_entry *old = image_store_by_id(s, rec->id);
        bool same = old != NULL;
        for (size_t k = 0; k < rec->names.n; k++) {
            same = same && image_strings_has(&old->im.repo_tags, rec->names.v[k]);
            image_strings_add(&res->names, rec->names.v[k]);
        }
        res->up_to_date = res->up_to_date && same;
        image_strings_add(&res->ids, rec->id);
        (void)image_store_commit(s, rec, &run->error);
    }
    res->digest = run->digest;
}

static int drop_lock(int dirfd, const char *name, unsigned char type, void *arg)
{
    if (strstarts(name, "lock-"))
        (void)unlinkat(dirfd, name, 0);
    return 0;
}

static void run_finish(struct image_run *run)
{
    struct image_store *s = run->store;
    struct image_result res = {0};
    char took[32];

    if (!run->error)
        run_commit(run, &res);
    res.error = run->error;
    (void)snprintf(took, sizeof(took), "%lld", (long long)mono_ms_since(run->started));
    if (run->error)
        log_info(MODULE, "pull or load failed", "what", run->what, "error",
                 error_message(run->error), "ms", took, NULL);
    else
        log_info(MODULE, "pull or load done", "what", run->what, "image",
                 res.ids.n ? res.ids.v[0] : "", "ms", took, NULL);
    list_remove(&run->link);
    s->jobs_running--;
    image_trash(s, run->tmp);
    image_layers_collect(s, NULL);
    if (!s->jobs_running) { /* of workers that failed or were killed */
        (void)dir_each(s->tmp_dir, drop_lock, NULL, NULL);
        image_blobs_collect(s);
    }
    while (!list_empty(&run->jobs)) {
        struct image_job *j = container_of(run->jobs.next, struct image_job, link);
        list_remove(&j->link);
        j->done(&res, j->arg);
        free(j);
    }
    image_strings_fini(&res.ids);
    image_strings_fini(&res.names);
}

static void on_worker_end(struct loop_child *c, int wait_status)
{
    struct image_run *run = container_of(c, struct image_run, child);
    char text[128];

    run_read(run);
    bool clean = WIFEXITED(wait_status) && WEXITSTATUS(wait_status) == 0;
    if (!run->error && !(run->done && clean)) {
        process_status_text(wait_status, text, sizeof(text));
        error_set(&run->error, EIO, "%s: the image worker ended early (%s)", run->what, text);
    }
    run_finish(run);
    run_free(run);
}

/* ---- beginning ---- */
static int run_send(int fd, const struct worker_request *q, struct error **err)
{
    cleanup_buf struct buf b = {0};

    buf_init(&b, MESSAGE_MAX);
    worker_request_write(q, &b);
    if (b.overflowed)
        return error_set(err, EMSGSIZE, "request to the image worker is too long");
    if (send(fd, b.p, b.n, MSG_NOSIGNAL) < 0)
        return error_set_errno(err, errno, "image worker");
    return 0;
}

static int run_start(struct image_store *s, struct worker_request *q, int in_fd, const char *what,
                     struct image_run **ret, struct error **err)
{
    int sv[2], r;
    char suffix[13];
    cleanup_free char *boot = image_boot_id(), *tmp = NULL;
    pid_t pid;

    random_suffix(suffix, 12);
    tmp = path_join(s->tmp_dir, suffix);
    q->root = s->cfg.data_root;
    q->tmp = tmp;
    q->boot = boot;
    q->stall_ms = s->cfg.stall_ms;
    q->parallel = s->cfg.downloads_max;
    q->platform = s->cfg.platform;
    if ((r = dir_make(tmp, 0700, err)) < 0)
        return r;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sv) < 0)
        return error_set_errno(err, errno, "socketpair");
    r = run_send(sv[0], q, err);
    if (r == 0)
        r = image_worker_spawn(&s->cfg, "run", in_fd, sv[1], &pid, err);
    (void)close(sv[1]);
    if (r < 0) {
        (void)close(sv[0]);
        (void)rmdir(tmp);
        return r;
    }
    struct image_run *run = xcalloc(1, sizeof(*run));
    *run = (struct image_run){.store = s,
                              .fd = sv[0],
                              .pid = pid,
                              .what = xstrdup(what),
                              .tmp = TAKE(tmp),
                              .started = mono_now()};
    list_init(&run->jobs);
    list_add_tail(&s->jobs, &run->link);
    s->jobs_running++;
    (void)loop_child_start(s->loop, &run->child, pid, on_worker_end);
    loop_io_start(s->loop, &run->io, run->fd, LOOP_READ, on_readable);
    loop_timer_start(s->loop, &run->watchdog, s->cfg.stall_ms + WATCHDOG_MS, on_watchdog);
    *ret = run;
    return 0;
}

static struct image_job *job_new(struct image_run *run, image_progress_fn progress,
                                 image_done_fn done, void *arg)
{
    struct image_job *j = xcalloc(1, sizeof(*j));

    *j = (struct image_job){.run = run, .progress = progress, .done = done, .arg = arg};
    list_add_tail(&run->jobs, &j->link);
    return j;
}

/* What makes two pulls the same; a digest, so that no secret lies about. */
static char *run_key(const char *ref, const struct worker_request *q)
{
    cleanup_free char *all =
        xasprintf("%s\n%s\n%s\n%s\n%s", ref, strna(q->username), strna(q->password),
                  strna(q->identity_token), strna(q->registry_token));
    char hex[SHA256_HEX];

    sha256_hex(all, strlen(all), hex);
    return xstrdup(hex);
}

static const char *or_null(const char *s)
{
    return s && *s ? s : NULL;
}

static int auth_read(const struct image_auth *a, struct worker_request *q, char **split,
                     struct error **err)
{
    struct buf b;

    if (!a)
        return 0;
    q->username = (char *)or_null(a->username);
    q->password = (char *)or_null(a->password);
    q->identity_token = (char *)or_null(a->identity_token);
    q->registry_token = (char *)or_null(a->registry_token);
    if (q->username || !or_null(a->auth))
        return 0;
    buf_init(&b, 64 * 1024);
    if (buf_add_base64_decoded(&b, str_of(a->auth)) < 0 || !memchr(b.p, ':', b.n) ||
        memchr(b.p, 0, b.n)) {
        buf_fini(&b);
        return error_set(err, EINVAL,
                         "registry credentials: \"auth\" is not base64 of user:password");
    }
    *split = buf_take(&b);
    char *colon = strchr(*split, ':');
    *colon = 0;
    q->username = *split;
    q->password = colon + 1;
    return 0;
}

static struct image_run *run_find(struct image_store *s, const char *key)
{
    list_for(n, &s->jobs)
    {
        struct image_run *run = container_of(n, struct image_run, link);
        if (!list_empty(&run->jobs) && streq(run->key, key))
            return run;
    }
    return NULL;
}

int image_pull(struct image_store *s, const char *reference, const struct image_auth *auth,
               image_progress_fn progress, image_done_fn done, void *arg, struct image_job **ret,
               struct error **err)
{
    struct worker_request q = {.op = (char *)"pull",
                               .mirrors = s->cfg.mirrors,
                               .insecure = s->cfg.insecure,
                               .certs_dir = s->cfg.certs_dir};
    cleanup_free char *ref = NULL, *split = NULL, *key = NULL;
    int r;

    if ((r = image_name_normalize(reference, &ref, err)) < 0 ||
        (r = auth_read(auth, &q, &split, err)) < 0)
        return r;
    q.ref = ref;
    key = run_key(ref, &q);
    struct image_run *run = run_find(s, key);
    if (!run) {
        if ((r = run_start(s, &q, -1, ref, &run, err)) < 0)
            return r;
        run->key = TAKE(key);
    }
    struct image_job *j = job_new(run, progress, done, arg);
    if (ret)
        *ret = j;
    return 0;
}

int image_load(struct image_store *s, int fd, image_progress_fn progress, image_done_fn done,
               void *arg, struct image_job **ret, struct error **err)
{
    struct worker_request q = {.op = (char *)"load"};
    struct image_run *run;
    int r = run_start(s, &q, fd, "image archive", &run, err);

    (void)close(fd);
    if (r < 0)
        return r;
    struct image_job *j = job_new(run, progress, done, arg);
    if (ret)
        *ret = j;
    return 0;
}

void image_job_cancel(struct image_job *j)
{
    if (!j)
        return;
    struct image_run *run = j->run;
    list_remove(&j->link);
    free(j);
    if (list_empty(&run->jobs)) {
        if (!run->error)
            error_set(&run->error, ECANCELED, "%s: canceled", run->what);
        run_kill(run); /* reaped and freed when it ends */
    }
}

void image_jobs_cancel_all(struct image_store *s)
{
    struct error stopping = {ECANCELED, (char *)"the engine is stopping"};
    struct image_result res = {.error = &stopping};

    list_for_safe(n, &s->jobs)
    {
        struct image_run *run = container_of(n, struct image_run, link);
        run_kill(run);
        loop_child_stop(&run->child);
        (void)waitpid(run->pid, NULL, 0);
        while (!list_empty(&run->jobs)) {
            struct image_job *j = container_of(run->jobs.next, struct image_job, link);
            list_remove(&j->link);
            j->done(&res, j->arg);
            free(j);
        }
        run_free(run);
    }
}
