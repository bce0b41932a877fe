#include "engine/container/exec.h"
#include "engine/cri/cri_private.h"
#include "base/cleanup.h"
#include <errno.h>
#include <fcntl.h>

#define OUTPUT_MAX (16 << 20) /* each; more is read and dropped, as upstream does */
#define DRAIN_MS 500          /* for output held open by what the command left behind */

struct sink {
    struct loop_io io;
    struct buf data;
    int fd;
    struct exec_sync *owner;
};
struct exec_sync {
    struct engine *engine;
    struct grpc_context *x;
    struct exec *exec;
    struct sink out[2];
    struct loop_timer timer;
    int exit_code;
    char *error;
    bool ended, timed_out;
};

static void sink_close(struct sink *k)
{
    loop_io_stop(&k->io);
    if (k->fd >= 0)
        (void)close(TAKE_FD(k->fd));
}

static void sync_free(struct exec_sync *s)
{
    loop_timer_stop(&s->timer);
    for (int i = 0; i < 2; i++) {
        sink_close(&s->out[i]);
        buf_fini(&s->out[i].data);
    }
    free(s->error);
    free(s);
}

static void answer(struct exec_sync *s)
{
    Runtime__V1__ExecSyncResponse r = RUNTIME__V1__EXEC_SYNC_RESPONSE__INIT;

    if (s->timed_out) {
        grpc_fail(s->x, GRPC_DEADLINE_EXCEEDED,
                  "failed to exec in container: timeout exceeded: context deadline exceeded");
    } else if (s->error) {
        grpc_fail(s->x, GRPC_UNKNOWN, "failed to exec in container: %s", s->error);
    } else {
        r.stdout.data = (uint8_t *)s->out[0].data.p;
        r.stdout.len = s->out[0].data.n;
        r.stderr.data = (uint8_t *)s->out[1].data.p;
        r.stderr.len = s->out[1].data.n;
        r.exit_code = s->exit_code;
        grpc_reply(s->x, &r.base);
    }
    sync_free(s);
}

static void maybe_answer(struct exec_sync *s)
{
    if (s->ended && (s->timed_out || (s->out[0].fd < 0 && s->out[1].fd < 0)))
        answer(s);
}

static void on_output(struct loop_io *io, unsigned events)
{
    struct sink *k = container_of(io, struct sink, io);
    char chunk[16384];
    ssize_t n = read(k->fd, chunk, sizeof chunk);

    (void)events;
    if (n > 0) {
        size_t room = k->data.max - k->data.n;

        (void)buf_add(&k->data, chunk, (size_t)n < room ? (size_t)n : room);
        return;
    }
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    sink_close(k);
    maybe_answer(k->owner);
}

static void on_drained(struct loop_timer *t)
{
    struct exec_sync *s = container_of(t, struct exec_sync, timer);

    sink_close(&s->out[0]);
    sink_close(&s->out[1]);
    maybe_answer(s);
}

static void on_timeout(struct loop_timer *t)
{
    struct exec_sync *s = container_of(t, struct exec_sync, timer);

    s->timed_out = true;
    exec_kill(s->exec);
}

static void on_ended(struct exec *x, int exit_code, const char *error, void *arg)
{
    struct exec_sync *s = arg;

    (void)x;
    s->ended = true;
    s->exit_code = exit_code;
    s->error = xstrdup_null(error);
    loop_timer_start(s->engine->loop, &s->timer, DRAIN_MS, on_drained);
    maybe_answer(s);
}

static int sink_open(struct exec_sync *s, struct sink *k, int *ret_write, struct error **err)
{
    int p[2];

    if (pipe2(p, O_CLOEXEC) < 0)
        return error_set_errno(err, errno, "pipe");
    (void)fcntl(p[0], F_SETFL, O_NONBLOCK);
    k->fd = p[0];
    k->owner = s;
    loop_io_start(s->engine->loop, &k->io, k->fd, LOOP_READ, on_output);
    *ret_write = p[1];
    return 0;
}

static void on_exec_sync(struct grpc_context *x, const ProtobufCMessage *request, void *arg)
{
    const Runtime__V1__ExecSyncRequest *q = (const Runtime__V1__ExecSyncRequest *)request;
    struct engine *e = arg;
    struct container *c = cri_container(e, x, q->container_id);
    cleanup_error struct error *err = NULL;
    int fds[3] = {-1, -1, -1};
    struct exec_sync *s;

    if (!c)
        return;
    s = xcalloc(1, sizeof *s);
    s->engine = e;
    s->x = x;
    for (int i = 0; i < 2; i++) {
        s->out[i].fd = -1;
        buf_init(&s->out[i].data, OUTPUT_MAX);
    }
    if (sink_open(s, &s->out[0], &fds[1], &err) == 0 &&
        sink_open(s, &s->out[1], &fds[2], &err) == 0)
        (void)exec_start(c, q->cmd, q->n_cmd, false, fds, on_ended, s, &s->exec, &err);
    for (int i = 1; i < 3; i++)
        if (fds[i] >= 0)
            (void)close(fds[i]);
    if (err) {
        grpc_fail_error(x, err);
        sync_free(s);
        return;
    }
    if (q->timeout > 0)
        loop_timer_start(e->loop, &s->timer, q->timeout < 86400 ? q->timeout * 1000 : 86400000,
                         on_timeout);
}

void cri_register_exec_sync(struct engine *e)
{
    static const struct cri_method methods[] = {
        {"ExecSync", &runtime__v1__exec_sync_request__descriptor, on_exec_sync},
    };

    cri_register(e, methods, ARRAY_LEN(methods));
}
