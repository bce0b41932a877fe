/* Exec, Attach, PortForward: a URL now, descriptors when the client has come. */
#include "engine/container/exec.h"
#include "engine/cri/cri_private.h"
#include "base/cleanup.h"
#include "base/file.h"
#include "net/netlink.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

/* ---- sessions ---- */
struct session {
    struct engine *engine;
    struct streaming_session *s; /* NULL after it closed */
    struct exec *exec;           /* NULL for attach, and after it ended */
    int master;                  /* of an exec's terminal, for its size; -1 none */
    unsigned width, height;
    char id[ID_TEXT];
    bool attach;
};

static void session_free(struct session *v)
{
    if (v->master >= 0)
        (void)close(v->master);
    free(v);
}

static void apply_size(struct session *v)
{
    struct winsize w = {.ws_col = (unsigned short)v->width, .ws_row = (unsigned short)v->height};
    struct container *c = map_get(&v->engine->containers, v->id);

    if (!v->width && !v->height)
        return;
    if (v->attach && c && c->control && c->config->tty)
        control_resize(c->control, v->width, v->height);
    else if (v->master >= 0)
        (void)ioctl(v->master, TIOCSWINSZ, &w);
}

static void on_exec_ended(struct exec *x, int exit_code, const char *error, void *arg)
{
    struct session *v = arg;

    (void)x;
    v->exec = NULL;
    if (!v->s) {
        session_free(v);
    } else if (error) {
        streaming_fail(TAKE(v->s), error);
        session_free(v);
    } else {
        streaming_exited(v->s, exit_code);
    }
}

struct ends {
    int ours[3], theirs[3];
};

static void close_all(int fds[3])
{
    for (int i = 0; i < 3; i++)
        if (fds[i] >= 0)
            (void)close(TAKE_FD(fds[i]));
}

static int make_pipes(const struct streaming_request *q, struct ends *e)
{
    const bool want[3] = {q->in, q->out, q->err};

    for (int i = 0; i < 3; i++) {
        int p[2];

        if (!want[i])
            continue;
        if (pipe2(p, O_CLOEXEC) < 0)
            return -errno;
        e->ours[i] = p[i == 0];
        e->theirs[i] = p[i != 0];
    }
    return 0;
}

static int make_terminal(struct session *v, struct ends *e)
{
    int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC), unlock = 0, slave;

    if (master < 0)
        return -errno;
    v->master = master;
    if (ioctl(master, TIOCSPTLCK, &unlock) < 0 ||
        (slave = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC)) < 0)
        return -errno;
    e->theirs[0] = slave;
    e->theirs[1] = fcntl(slave, F_DUPFD_CLOEXEC, 3);
    e->theirs[2] = fcntl(slave, F_DUPFD_CLOEXEC, 3);
    e->ours[0] = fcntl(master, F_DUPFD_CLOEXEC, 3);
    e->ours[1] = fcntl(master, F_DUPFD_CLOEXEC, 3);
    return 0;
}

static void open_exec(struct session *v, struct container *c, const struct streaming_request *q,
                      struct error **err)
{
    struct ends e = {{-1, -1, -1}, {-1, -1, -1}};
    size_t n = 0;
    int r = q->tty ? make_terminal(v, &e) : make_pipes(q, &e);

    while (q->argv[n])
        n++;
    apply_size(v);
    if (r < 0)
        (void)error_set_errno(err, -r, "descriptors for exec");
    else if (exec_start(c, (char *const *)q->argv, n, q->tty, e.theirs, on_exec_ended, v, &v->exec,
                        err) == 0)
        streaming_begin(v->s, TAKE_FD(e.ours[0]), TAKE_FD(e.ours[1]), TAKE_FD(e.ours[2]));
    close_all(e.ours);
    close_all(e.theirs);
}

static void open_attach(struct session *v, struct container *c, const struct streaming_request *q,
                        struct error **err)
{
    struct ends e = {{-1, -1, -1}, {-1, -1, -1}};

    if (!c->control)
        (void)error_set(err, EINVAL, "container %s is not running", c->id);
    else if (make_pipes(q, &e) < 0)
        (void)error_set_errno(err, errno, "descriptors for attach");
    if (!*err) {
        control_attach(c->control, e.theirs[0], e.theirs[1], e.theirs[2], NULL, NULL);
        streaming_begin(v->s, TAKE_FD(e.ours[0]), TAKE_FD(e.ours[1]), TAKE_FD(e.ours[2]));
        apply_size(v);
    }
    close_all(e.ours);
    close_all(e.theirs);
}

static void on_open(struct streaming_session *s, const struct streaming_request *q, void *arg)
{
    struct engine *e = arg;
    struct container *c = map_get(&e->containers, q->id);
    struct session *v = streaming_user(s); /* a resize may have come first */
    cleanup_error struct error *err = NULL;

    if (!v)
        v = xcalloc(1, sizeof *v);
    v->engine = e;
    v->s = s;
    v->master = -1;
    v->attach = q->kind == STREAMING_ATTACH;
    (void)memcpy(v->id, q->id, strlen(q->id) < ID_TEXT ? strlen(q->id) : ID_HEX);
    streaming_set_user(s, v);
    if (!c)
        (void)error_set(&err, ENOENT, "container %s is gone", q->id);
    else if (v->attach)
        open_attach(v, c, q, &err);
    else
        open_exec(v, c, q, &err);
    if (err) {
        streaming_fail(s, error_message(err));
        session_free(v);
    }
}

static void on_resize(struct streaming_session *s, unsigned width, unsigned height, void *arg)
{
    struct session *v = streaming_user(s);

    if (!v) {
        v = xcalloc(1, sizeof *v);
        v->engine = arg;
        v->master = -1;
        streaming_set_user(s, v);
    }
    v->width = width;
    v->height = height;
    apply_size(v);
}

static void on_closed(struct streaming_session *s, void *arg)
{
    struct session *v = streaming_user(s);

    (void)arg;
    if (!v)
        return;
    v->s = NULL;
    if (v->exec)
        exec_kill(v->exec); /* on_exec_ended frees */
    else
        session_free(v);
}

/* ---- ports ---- */
struct port {
    struct streaming_port *p;
    struct loop_io io;
    struct engine *engine;
    unsigned number;
    int fd, netns; /* netns -1: the host's */
    bool v6;       /* the second try */
};

static void port_free(struct port *v)
{
    loop_io_stop(&v->io);
    if (v->fd >= 0)
        (void)close(v->fd);
    if (v->netns >= 0)
        (void)close(v->netns);
    free(v);
}

static void port_connect(struct port *v);

static void port_result(struct port *v, int code)
{
    char text[128];

    loop_io_stop(&v->io);
    if (!code) {
        streaming_port_begin(v->p, TAKE_FD(v->fd));
        port_free(v);
        return;
    }
    if (v->fd >= 0)
        (void)close(TAKE_FD(v->fd));
    if (!v->v6) {
        v->v6 = true;
        port_connect(v);
        return;
    }
    (void)snprintf(text, sizeof text, "failed to connect to localhost:%u inside the sandbox: %s",
                   v->number, strerror(code));
    streaming_port_fail(v->p, text);
    port_free(v);
}

static void on_connected(struct loop_io *io, unsigned events)
{
    struct port *v = container_of(io, struct port, io);
    int code = 0;
    socklen_t n = sizeof code;

    (void)events;
    (void)getsockopt(v->fd, SOL_SOCKET, SO_ERROR, &code, &n);
    port_result(v, code);
}

static void port_connect(struct port *v)
{
    struct sockaddr_in a4 = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)v->number),
                             .sin_addr = {htonl(INADDR_LOOPBACK)}};
    struct sockaddr_in6 a6 = {.sin6_family = AF_INET6,
                              .sin6_port = htons((uint16_t)v->number),
                              .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    int family = v->v6 ? AF_INET6 : AF_INET, type = SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, r;

    v->fd = v->netns < 0 ? socket(family, type, 0) : netns_socket(v->netns, family, type, 0, NULL);
    if (v->fd < 0) {
        port_result(v, v->v6 ? ECONNREFUSED : EIO);
        return;
    }
    r = v->v6 ? connect(v->fd, (struct sockaddr *)&a6, sizeof a6)
              : connect(v->fd, (struct sockaddr *)&a4, sizeof a4);
    if (r == 0)
        port_result(v, 0);
    else if (errno == EINPROGRESS)
        loop_io_start(v->engine->loop, &v->io, v->fd, LOOP_WRITE, on_connected);
    else
        port_result(v, errno);
}

static void on_port(struct streaming_port *p, const char *sandbox_id, unsigned number, void *arg)
{
    struct engine *e = arg;
    struct sandbox *s = map_get(&e->sandboxes, sandbox_id);
    struct port *v;

    if (!s || !s->ready) {
        streaming_port_fail(p, "the sandbox is not running");
        return;
    }
    v = xcalloc(1, sizeof *v);
    *v = (struct port){.p = p, .engine = e, .number = number, .fd = -1, .netns = -1};
    streaming_port_set_user(p, v);
    if (!sandbox_is_host_network(s)) {
        cleanup_free char *run = sandbox_run_dir(s), *path = path_join(run, "net");

        v->netns = open(path, O_RDONLY | O_CLOEXEC);
        if (v->netns < 0) {
            streaming_port_fail(p, "the sandbox's network is gone");
            port_free(v);
            return;
        }
    }
    port_connect(v);
}

static void on_port_closed(struct streaming_port *p, void *arg)
{
    struct port *v = streaming_port_user(p);

    (void)arg;
    if (v)
        port_free(v);
}

const struct streaming_ops cri_streaming_ops = {
    .open = on_open,
    .resize = on_resize,
    .closed = on_closed,
    .port = on_port,
    .port_closed = on_port_closed,
};

/* ---- requests ---- */
static void on_exec(struct grpc_context *x, const ProtobufCMessage *request, void *arg)
{
    const Runtime__V1__ExecRequest *q = (const Runtime__V1__ExecRequest *)request;
    struct engine *e = arg;
    struct container *c = cri_container(e, x, q->container_id);
    Runtime__V1__ExecResponse r = RUNTIME__V1__EXEC_RESPONSE__INIT;
    cleanup_free const char **argv = xcalloc(q->n_cmd + 1, sizeof *argv);
    cleanup_free char *url = NULL;
    struct streaming_request s = {.kind = STREAMING_EXEC,
                                  .argv = argv,
                                  .tty = q->tty,
                                  .in = q->stdin,
                                  .out = q->stdout,
                                  .err = q->stderr && !q->tty};

    if (!c)
        return;
    if (c->state != CONTAINER_RUNNING) {
        grpc_fail(x, GRPC_FAILED_PRECONDITION, "container %s is not running", c->id);
        return;
    }
    if (!q->n_cmd || !(q->stdin || q->stdout || q->stderr) || (q->tty && q->stderr)) {
        grpc_fail(x, GRPC_INVALID_ARGUMENT, "%s",
                  !q->n_cmd               ? "no command was given"
                  : (q->tty && q->stderr) ? "tty and stderr cannot both be true"
                                          : "one of stdin, stdout and stderr must be set");
        return;
    }
    for (size_t i = 0; i < q->n_cmd; i++)
        argv[i] = q->cmd[i];
    s.id = c->id;
    r.url = url = streaming_url(e->streaming, &s);
    grpc_reply(x, &r.base);
}

static void on_attach(struct grpc_context *x, const ProtobufCMessage *request, void *arg)
{
    const Runtime__V1__AttachRequest *q = (const Runtime__V1__AttachRequest *)request;
    struct engine *e = arg;
    struct container *c = cri_container(e, x, q->container_id);
    Runtime__V1__AttachResponse r = RUNTIME__V1__ATTACH_RESPONSE__INIT;
    cleanup_free char *url = NULL;
    struct streaming_request s = {.kind = STREAMING_ATTACH,
                                  .tty = q->tty,
                                  .in = q->stdin,
                                  .out = q->stdout,
                                  .err = q->stderr && !q->tty};

    if (!c)
        return;
    if (c->state != CONTAINER_RUNNING) {
        grpc_fail(x, GRPC_FAILED_PRECONDITION, "container %s is not running", c->id);
        return;
    }
    if (!(q->stdin || q->stdout || q->stderr) || (q->tty && q->stderr)) {
        grpc_fail(x, GRPC_INVALID_ARGUMENT, "%s",
                  q->tty && q->stderr ? "tty and stderr cannot both be true"
                                      : "one of stdin, stdout and stderr must be set");
        return;
    }
    s.id = c->id;
    r.url = url = streaming_url(e->streaming, &s);
    grpc_reply(x, &r.base);
}

static void on_port_forward(struct grpc_context *x, const ProtobufCMessage *request, void *arg)
{
    const Runtime__V1__PortForwardRequest *q = (const Runtime__V1__PortForwardRequest *)request;
    struct engine *e = arg;
    struct sandbox *b = cri_sandbox(e, x, q->pod_sandbox_id);
    Runtime__V1__PortForwardResponse r = RUNTIME__V1__PORT_FORWARD_RESPONSE__INIT;
    cleanup_free char *url = NULL;
    struct streaming_request s = {.kind = STREAMING_PORT_FORWARD};

    if (!b)
        return;
    if (!b->ready) {
        grpc_fail(x, GRPC_FAILED_PRECONDITION, "sandbox %s is not running", b->id);
        return;
    }
    s.id = b->id;
    r.url = url = streaming_url(e->streaming, &s);
    grpc_reply(x, &r.base);
}

void cri_register_stream(struct engine *e)
{
    static const struct cri_method methods[] = {
        {"Exec", &runtime__v1__exec_request__descriptor, on_exec},
        {"Attach", &runtime__v1__attach_request__descriptor, on_attach},
        {"PortForward", &runtime__v1__port_forward_request__descriptor, on_port_forward},
    };

    cri_register(e, methods, ARRAY_LEN(methods));
}
