#include "kubelet/log_rotate.h"
#include "base/cleanup.h"
#include "base/file.h"
#include "base/flags.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/quantity.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define PERIOD_MS 10000
#define DEADLINE_MS 10000
#define DEFAULT_BYTES (10 << 20)

struct log_rotator {
    struct kubelet *k;
    struct loop_timer timer;
    struct list busy; /* rotations waiting for the engine */
};
struct rotation {
    struct list link;
    struct log_rotator *r;
    struct grpc_call *call;
    char *path, *renamed;
};

struct search {
    const char *name; /* "0.log" */
    struct flag_list found;
};

static int on_entry(int dirfd, const char *name, unsigned char type, void *arg)
{
    struct search *s = arg;
    size_t n = strlen(s->name);

    (void)dirfd;
    (void)type;
    if (strncmp(name, s->name, n) == 0 && name[n] == '.')
        flag_list_add(&s->found, name);
    return 0;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

void log_rotate_trim(const char *path, int64_t max_files)
{
    cleanup_free char *dir = xstrdup(path);
    char *slash = strrchr(dir, '/');
    struct search s = {.name = path_basename(path)};

    if (!slash)
        return;
    *slash = '\0';
    (void)dir_each(dir, on_entry, &s, NULL);
    if (s.found.n)
        qsort(s.found.v, s.found.n, sizeof *s.found.v, by_name); /* names end in their time */
    for (size_t i = 0; i + (size_t)(max_files > 1 ? max_files - 1 : 1) < s.found.n; i++) {
        cleanup_free char *old = path_join(dir, s.found.v[i]);

        (void)unlink(old);
    }
    flag_list_fini(&s.found);
}

static void rotation_free(struct rotation *t)
{
    list_remove(&t->link);
    grpc_call_cancel(t->call);
    free(t->path);
    free(t->renamed);
    free(t);
}

/* Without a new log the old name comes back, so that nothing is written into a file nobody looks
 * for. */
static void on_reopened(int code, const char *message, const ProtobufCMessage *reply, void *arg)
{
    struct rotation *t = arg;

    (void)reply;
    t->call = NULL;
    if (code != GRPC_OK) {
        log_warn("kubelet", "log not rotated", "log", t->path, "error", message, NULL);
        if (!path_exists(t->path))
            (void)rename(t->renamed, t->path);
    } else {
        log_rotate_trim(t->path, t->r->k->cfg->log_max_files);
    }
    rotation_free(t);
}

static void rotate(struct log_rotator *r, const struct run *run)
{
    Runtime__V1__ReopenContainerLogRequest q = RUNTIME__V1__REOPEN_CONTAINER_LOG_REQUEST__INIT;
    struct rotation *t = xcalloc(1, sizeof *t);
    time_t now = (time_t)(wall_now().ns / NSEC_PER_SEC);
    char stamp[32];
    struct tm tm;

    (void)gmtime_r(&now, &tm);
    (void)strftime(stamp, sizeof stamp, "%Y%m%d-%H%M%S", &tm);
    t->r = r;
    t->path = xstrdup(run->log_path);
    t->renamed = xasprintf("%s.%s", run->log_path, stamp);
    list_add_tail(&r->busy, &t->link);
    if (path_exists(t->renamed) || rename(t->path, t->renamed) < 0) {
        rotation_free(t);
        return;
    }
    q.container_id = run->id;
    t->call = grpc_call_start(r->k->cri, CRI_RUNTIME("ReopenContainerLog"), &q.base,
                              &runtime__v1__reopen_container_log_response__descriptor, DEADLINE_MS,
                              on_reopened, t);
}

static bool is_busy(const struct log_rotator *r, const char *path)
{
    list_for(n, &r->busy)
    {
        if (streq(container_of(n, struct rotation, link)->path, path))
            return true;
    }
    return false;
}

static void look_at(struct log_rotator *r, struct pod *p, int64_t max_bytes)
{
    struct stat st;

    for (size_t i = 0; i < p->obs.n_runs; i++) {
        const struct run *run = &p->obs.runs[i];

        if (run->state != RUN_RUNNING || !run->log_path || is_busy(r, run->log_path))
            continue;
        if (stat(run->log_path, &st) == 0 && st.st_size > max_bytes)
            rotate(r, run);
    }
}

static void on_timer(struct loop_timer *timer)
{
    struct log_rotator *r = container_of(timer, struct log_rotator, timer);
    int64_t max_bytes = quantity_value_or(r->k->cfg->log_max_size, DEFAULT_BYTES);
    struct map_entry *e;
    size_t it = 0;

    while (max_bytes > 0 && (e = map_next(&r->k->pods, &it)))
        look_at(r, e->value, max_bytes);
    loop_timer_start(r->k->loop, timer, PERIOD_MS, on_timer);
}

struct log_rotator *log_rotator_start(struct kubelet *k)
{
    struct log_rotator *r = xcalloc(1, sizeof *r);

    r->k = k;
    list_init(&r->busy);
    loop_timer_start(k->loop, &r->timer, PERIOD_MS, on_timer);
    return r;
}

void log_rotator_stop(struct log_rotator *r)
{
    if (!r)
        return;
    loop_timer_stop(&r->timer);
    while (!list_empty(&r->busy))
        rotation_free(container_of(r->busy.next, struct rotation, link));
    free(r);
}
