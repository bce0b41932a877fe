/* /containerLogs/NAMESPACE/POD/CONTAINER: one stream per request, fed from the engine's log file.
 */
#include "base/cleanup.h"
#include "base/log.h"
#include "base/mem.h"
#include "cri.pb-c.h"
#include "kubelet/log_reader.h"
#include "kubelet/server_private.h"
#include <errno.h>
#include <stdlib.h>
#include <sys/inotify.h>

#define PIECE ((size_t)32 << 10)
#define DEADLINE_MS 10000
#define LOOK_MS 1000
#define LOGS_MAX 512

struct log_stream {
    struct list link;
    struct kubelet_server *server;
    struct http_exchange *x;
    struct log_reader *reader;
    char *id;
    bool follow, exited, waiting_drain;
    int inotify;
    struct loop_io io;
    struct loop_timer look;
    struct loop_defer more;
    struct grpc_call *call;
};

static void pump(struct log_stream *s);

static void stream_free_(struct log_stream *s)
{
    list_remove(&s->link);
    grpc_call_cancel(s->call);
    loop_io_stop(&s->io);
    loop_timer_stop(&s->look);
    loop_defer_stop(&s->more);
    if (s->inotify >= 0)
        (void)close(s->inotify);
    log_reader_close(s->reader);
    free(s->id);
    free(s);
}

static void on_abort(struct http_exchange *x, void *arg)
{
    (void)x;
    stream_free_(arg);
}

static void finish(struct log_stream *s)
{
    struct http_exchange *x = s->x;
    stream_free_(s);
    http_end(x);
}

static void on_more(struct loop_defer *d)
{
    pump(container_of(d, struct log_stream, more));
}

static void on_drain(struct http_exchange *x, void *arg)
{
    (void)x;
    struct log_stream *s = arg;
    s->waiting_drain = false;
    loop_defer_start(s->server->loop, &s->more, on_more);
}

/* A bounded piece a turn; more in the next, or when the client took what it has. */
static void pump(struct log_stream *s)
{
    if (s->waiting_drain)
        return;
    cleanup_buf struct buf b;
    buf_init(&b, PIECE * 4 + ((size_t)2 << 20));
    int r = log_reader_read(s->reader, PIECE, &b);
    if (b.n)
        http_write(s->x, buf_str(&b));
    if (r == LOG_READER_LIMIT) {
        finish(s);
        return;
    }
    if (http_write_pending(s->x) > STREAM_HIGH) {
        s->waiting_drain = true;
        http_on_drain(s->x, on_drain, s);
        return;
    }
    if (r == 0 || log_reader_rotated(s->reader))
        loop_defer_start(s->server->loop, &s->more, on_more);
    else if (!s->follow || s->exited)
        finish(s);
}

/* ---- following ---- */

static void on_inotify(struct loop_io *io, unsigned events)
{
    (void)events;
    struct log_stream *s = container_of(io, struct log_stream, io);
    char drop[4096] __attribute__((aligned(8)));
    while (read(s->inotify, drop, sizeof(drop)) > 0)
        ;
    pump(s);
}

static void on_look(struct loop_timer *t);

static void on_status_again(int code, const char *message, const ProtobufCMessage *reply, void *arg)
{
    (void)message;
    struct log_stream *s = arg;
    s->call = NULL;
    const Runtime__V1__ContainerStatusResponse *m =
        (const Runtime__V1__ContainerStatusResponse *)reply;
    if (code == GRPC_NOT_FOUND ||
        (m && m->status && m->status->state == RUNTIME__V1__CONTAINER_STATE__CONTAINER_EXITED)) {
        s->exited = true; /* what it wrote last is read first */
        pump(s);
        return;
    }
    loop_timer_start(s->server->loop, &s->look, LOOK_MS, on_look);
}

static void on_look(struct loop_timer *t)
{
    struct log_stream *s = container_of(t, struct log_stream, look);
    Runtime__V1__ContainerStatusRequest m = RUNTIME__V1__CONTAINER_STATUS_REQUEST__INIT;
    m.container_id = s->id;
    s->call = grpc_call_start(s->server->cri, "/runtime.v1.RuntimeService/ContainerStatus", &m.base,
                              &runtime__v1__container_status_response__descriptor, DEADLINE_MS,
                              on_status_again, s);
}

static void follow_begin(struct log_stream *s, const char *path)
{
    s->inotify = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    cleanup_free char *dir = xstrdup(path);
    char *slash = strrchr(dir, '/');
    if (slash)
        *slash = 0;
    /* the folder tells of writes to the file as well as of its rotation */
    if (s->inotify >= 0 &&
        inotify_add_watch(s->inotify, slash ? dir : ".", IN_MODIFY | IN_CREATE | IN_MOVED_TO) >= 0)
        loop_io_start(s->server->loop, &s->io, s->inotify, LOOP_READ, on_inotify);
    loop_timer_start(s->server->loop, &s->look, LOOK_MS, on_look);
}

/* ---- the request ---- */

static int read_number(struct http_exchange *x, const char *name, int64_t *v, struct error **err)
{
    struct str s = http_query_get(x, name);
    if (!s.n)
        return 0;
    return str_to_i64(s, 0, INT64_MAX / 2, v) < 0
               ? error_set(err, EINVAL, "%s: \"%.*s\" is not a number of zero or more", name,
                           STR_FMT(s))
               : 0;
}

static int read_options(struct http_exchange *x, struct log_options *o, struct error **err)
{
    int64_t since_s = -1;
    *o = (struct log_options){
        .timestamps = http_query_bool(x, "timestamps"), .tail_lines = -1, .limit_bytes = -1};
    int r = read_number(x, "tailLines", &o->tail_lines, err);
    if (!r)
        r = read_number(x, "limitBytes", &o->limit_bytes, err);
    if (!r)
        r = read_number(x, "sinceSeconds", &since_s, err);
    if (r)
        return r;
    struct str at = http_query_get(x, "sinceTime"), stream = http_query_get(x, "stream");
    if (at.n && wall_parse(at, &o->since) < 0)
        return error_set(err, EINVAL, "sinceTime: \"%.*s\" is not an RFC 3339 time", STR_FMT(at));
    if (since_s >= 0)
        o->since.ns = wall_now().ns - (since_s > INT32_MAX ? INT32_MAX : since_s) * NSEC_PER_SEC;
    o->streams = str_ieq_z(stream, "Stdout") ? 1 : str_ieq_z(stream, "Stderr") ? 2 : 0;
    return 0;
}

static void begin(struct request *q, const char *id, const char *path, bool exited)
{
    struct log_options o;
    cleanup_error struct error *err = NULL;
    struct log_reader *reader = NULL;
    size_t n = 0;
    list_for(p, &q->server->logs) n++;
    if (n >= LOGS_MAX) {
        request_fail(q, 429, "%d log streams are open already", LOGS_MAX);
        return;
    }
    if (read_options(q->x, &o, &err) < 0) {
        request_fail(q, 400, "%s", error_message(err));
        return;
    }
    if (log_reader_open(path, &o, &reader, &err) < 0) {
        request_fail(q, err->code == ENOENT ? 404 : 500, "%s", error_message(err));
        return;
    }
    struct log_stream *s = xcalloc(1, sizeof(*s));
    s->server = q->server;
    s->reader = reader;
    s->id = xstrdup(id);
    s->inotify = -1;
    s->follow = http_query_bool(q->x, "follow");
    s->exited = exited;
    s->x = request_take(q);
    request_end(q);
    list_add_tail(&s->server->logs, &s->link);
    http_on_abort(s->x, on_abort, s);
    http_respond_begin(s->x, 200, "text/plain");
    if (s->follow && !exited)
        follow_begin(s, path);
    loop_defer_start(s->server->loop, &s->more, on_more);
}

static void on_status(int code, const char *message, const ProtobufCMessage *reply, void *arg)
{
    struct request *q = arg;
    q->grpc = NULL;
    const Runtime__V1__ContainerStatusResponse *m =
        (const Runtime__V1__ContainerStatusResponse *)reply;
    if (code != GRPC_OK || !m->status)
        request_fail(q, code == GRPC_NOT_FOUND ? 404 : 500, "container \"%s\": %s", q->container,
                     message);
    else if (m->status->state == RUNTIME__V1__CONTAINER_STATE__CONTAINER_CREATED)
        request_fail(q, 400, "container \"%s\" in pod \"%s\" is waiting to start", q->container,
                     q->pod);
    else if (!*m->status->log_path)
        request_fail(q, 404, "container \"%s\" has no log", q->container);
    else
        begin(q, m->status->id, m->status->log_path,
              m->status->state == RUNTIME__V1__CONTAINER_STATE__CONTAINER_EXITED);
}

static void found(struct request *q, const char *id)
{
    Runtime__V1__ContainerStatusRequest m = RUNTIME__V1__CONTAINER_STATUS_REQUEST__INIT;
    m.container_id = arena_strdup(http_arena(q->x), id);
    q->grpc = grpc_call_start(q->server->cri, "/runtime.v1.RuntimeService/ContainerStatus", &m.base,
                              &runtime__v1__container_status_response__descriptor, DEADLINE_MS,
                              on_status, q);
}

void serve_logs(struct request *q)
{
    q->previous = http_query_bool(q->x, "previous");
    request_find_container(q, found);
}

void server_logs_stop(struct kubelet_server *s)
{
    while (!list_empty(&s->logs)) {
        struct log_stream *l = container_of(s->logs.next, struct log_stream, link);
        struct http_exchange *x = l->x;
        stream_free_(l);
        http_abort(x);
    }
}
