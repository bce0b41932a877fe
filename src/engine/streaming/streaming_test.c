#include "engine/streaming/streaming.h"
#include "base/mem.h"
#include "base/test.h"
#include "codec/spdy.h"
#include "net/stream.h"
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* A client written against the protocol documents: raw socket, own handshake, SPDY frames by the
 * codec. */
struct client {
    struct loop *loop;
    struct stream *net;
    struct spdy *spdy;
    char head[1024];
    size_t head_n;
    bool upgraded, closed;
    char data[16][65536]; /* by stream id */
    size_t data_n[16];
    bool fin[16];
};
static struct streaming *server;
static struct streaming_session *session;
static int closed_sessions, resized_w, proc_in, proc_out;
static bool fail_open;

static void on_open(struct streaming_session *s, const struct streaming_request *q, void *arg)
{
    int in[2], out[2];
    (void)arg;
    session = s;
    if (fail_open) {
        streaming_fail(s, "no such container");
        return;
    }
    assert_string_equal(q->id, "c1");
    if (q->kind == STREAMING_EXEC)
        assert_string_equal(q->argv[0], "cat");
    assert_int_equal(pipe2(in, O_CLOEXEC | O_NONBLOCK), 0);
    assert_int_equal(pipe2(out, O_CLOEXEC | O_NONBLOCK), 0);
    proc_in = in[0];
    proc_out = out[1];
    streaming_begin(s, in[1], out[0], -1);
}
static void on_resize(struct streaming_session *s, unsigned w, unsigned h, void *arg)
{
    (void)s;
    (void)arg;
    assert_int_equal(h, 24);
    resized_w = (int)w;
}
static void on_closed(struct streaming_session *s, void *arg)
{
    (void)arg;
    assert_ptr_equal(s, session);
    closed_sessions++;
}
static void on_port(struct streaming_port *p, const char *id, unsigned port, void *arg)
{
    int sv[2];
    (void)arg;
    assert_string_equal(id, "c1");
    if (port == 81) {
        streaming_port_fail(p, "connection refused");
        return;
    }
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, sv), 0);
    proc_in = sv[0];
    streaming_port_begin(p, sv[1]);
}
static const struct streaming_ops ops = {
    .open = on_open, .resize = on_resize, .closed = on_closed, .port = on_port};

static void c_data(struct spdy *s, uint32_t id, struct str data, bool fin, void *arg)
{
    struct client *c = arg;
    (void)s;
    assert_true(id < 16 && c->data_n[id] + data.n < sizeof c->data[0]);
    memcpy(c->data[id] + c->data_n[id], data.p, data.n);
    c->data_n[id] += data.n;
    c->fin[id] |= fin;
}
static const struct spdy_events c_spdy = {.on_data = c_data};
static size_t c_bytes(struct stream *s, struct str data, void *arg)
{
    struct client *c = arg;
    char *end;
    size_t used;
    (void)s;
    if (c->upgraded) {
        assert_int_equal(spdy_feed(c->spdy, data, NULL), 0);
        return data.n;
    }
    assert_true(data.n < sizeof c->head);
    memcpy(c->head, data.p, data.n);
    c->head[data.n] = '\0';
    end = strstr(c->head, "\r\n\r\n");
    if (!end)
        return 0;
    used = (size_t)(end + 4 - c->head);
    c->upgraded = true;
    *end = '\0';
    if (data.n > used && strstr(c->head, " 101 "))
        assert_int_equal(spdy_feed(c->spdy, (struct str){data.p + used, data.n - used}, NULL), 0);
    return data.n;
}
static void c_close(struct stream *s, const struct error *err, void *arg)
{
    (void)s;
    (void)err;
    ((struct client *)arg)->closed = true;
}
static void c_eof(struct stream *s, void *arg)
{
    (void)s;
    ((struct client *)arg)->closed = true;
}
static const struct stream_events c_events = {
    .on_data = c_bytes, .on_eof = c_eof, .on_close = c_close};

static void turn(struct client *c)
{
    if (c->upgraded && spdy_out(c->spdy)->n) {
        stream_write_str(c->net, buf_str(spdy_out(c->spdy)));
        buf_clear(spdy_out(c->spdy));
    }
    loop_run_once(c->loop, 5);
}
#define UNTIL(c, condition)                                                                        \
    do {                                                                                           \
        bool hit_ = false;                                                                         \
        for (int i_ = 0; i_ < 1000 && !(hit_ = (condition)); i_++)                                 \
            turn(c);                                                                               \
        assert_true(hit_);                                                                         \
    } while (0)

static void start(struct client *c, const char *url, const char *protocol)
{
    struct stream_target t = {.host = "127.0.0.1"};
    char request[1024];
    unsigned port;
    char path[256];
    assert_int_equal(sscanf(url, "http://127.0.0.1:%u%255s", &port, path), 2);
    t.port = (uint16_t)port;
    c->spdy = spdy_new(false, &c_spdy, c);
    assert_int_equal(stream_connect(c->loop, &t, &c_events, c, &c->net, NULL), 0);
    (void)snprintf(request, sizeof request,
                   "POST %s HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n"
                   "X-Stream-Protocol-Version: %s\r\nContent-Length: 0\r\n\r\n",
                   path, protocol);
    stream_write_str(c->net, str_of(request));
    UNTIL(c, c->upgraded || c->closed);
}
static void stop(struct client *c)
{
    stream_free(c->net);
    spdy_free(c->spdy);
    loop_run_once(c->loop, 0);
}
static struct client *setup(void)
{
    struct client *c = xcalloc(1, sizeof *c);
    c->loop = loop_new();
    closed_sessions = resized_w = 0;
    fail_open = false;
    session = NULL;
    assert_int_equal(streaming_new(c->loop, NULL, &ops, NULL, &server, NULL), 0);
    return c;
}
static void teardown(struct client *c)
{
    streaming_free(server);
    for (int i = 0; i < 5; i++)
        loop_run_once(c->loop, 0);
    loop_free(c->loop);
    free(c);
}
static uint32_t open_stream(struct client *c, const char *type)
{
    struct spdy_header h = {STR("streamtype"), str_of(type)};
    return spdy_open(c->spdy, &h, 1, false);
}
static char *exec_url(bool tty)
{
    const char *argv[] = {"cat", NULL};
    struct streaming_request q = {
        .kind = STREAMING_EXEC, .id = "c1", .argv = argv, .tty = tty, .in = true, .out = true};
    return streaming_url(server, &q);
}
TEST(exec_over_spdy)
{
    struct client *c = setup();
    char *url = exec_url(true), got[64];
    uint32_t err, in, out, size;
    start(c, url, "v4.channel.k8s.io");
    assert_non_null(strstr(c->head, " 101 "));
    assert_non_null(strstr(c->head, "v4.channel.k8s.io"));
    err = open_stream(c, "error");
    in = open_stream(c, "stdin");
    out = open_stream(c, "stdout");
    size = open_stream(c, "resize");
    (void)spdy_data(c->spdy, in, STR("ping"), true);
    (void)spdy_data(c->spdy, size, STR("{\"Width\":80,\"Height\":24}"), false);
    UNTIL(c, session && resized_w == 80);
    UNTIL(c, read(proc_in, got, sizeof got) == 4);
    assert_memory_equal(got, "ping", 4);
    UNTIL(c, read(proc_in, got, sizeof got) == 0); /* end of stdin arrived */
    assert_int_equal(write(proc_out, "pong", 4), 4);
    UNTIL(c, c->data_n[out] == 4);
    streaming_exited(session, 3);
    (void)close(proc_out);
    UNTIL(c, c->closed);
    assert_true(c->fin[out] && c->fin[err]);
    assert_non_null(strstr(c->data[err], "\"reason\":\"ExitCode\",\"message\":\"3\""));
    assert_int_equal(closed_sessions, 1);
    (void)close(proc_in);
    stop(c);
    /* a URL works once */
    c->upgraded = c->closed = false;
    start(c, url, "v4.channel.k8s.io");
    assert_non_null(strstr(c->head, " 404 "));
    stop(c);
    free(url);
    teardown(c);
}
TEST(large_output_arrives_whole)
{
    struct client *c = setup();
    char *url = exec_url(false), block[4096];
    uint32_t out;
    size_t sent = 0;
    start(c, url, "v4.channel.k8s.io");
    (void)open_stream(c, "error");
    (void)open_stream(c, "stdin");
    out = open_stream(c, "stdout");
    UNTIL(c, session != NULL);
    memset(block, 'x', sizeof block);
    while (sent < 60000) {
        ssize_t n = write(proc_out, block, sizeof block);
        if (n > 0)
            sent += (size_t)n;
        turn(c);
    }
    streaming_exited(session, 0);
    (void)close(proc_out);
    UNTIL(c, c->closed);
    assert_int_equal(c->data_n[out], sent);
    (void)close(proc_in);
    stop(c);
    free(url);
    teardown(c);
}
TEST(failure_and_lost_client)
{
    struct client *c = setup();
    char *url = exec_url(false);
    uint32_t err;
    fail_open = true;
    start(c, url, "v4.channel.k8s.io");
    err = open_stream(c, "error");
    (void)open_stream(c, "stdin");
    (void)open_stream(c, "stdout");
    UNTIL(c, c->closed);
    assert_non_null(strstr(c->data[err], "no such container"));
    assert_int_equal(closed_sessions, 0);
    stop(c);
    free(url);
    fail_open = false;
    c->upgraded = c->closed = false;
    url = exec_url(false);
    session = NULL;
    start(c, url, "v4.channel.k8s.io");
    (void)open_stream(c, "error");
    (void)open_stream(c, "stdin");
    (void)open_stream(c, "stdout");
    UNTIL(c, session != NULL);
    stream_free(c->net);
    c->net = NULL;
    for (int i = 0; i < 1000 && !closed_sessions; i++)
        loop_run_once(c->loop, 5);
    assert_int_equal(closed_sessions, 1);
    (void)close(proc_in);
    (void)close(proc_out);
    stop(c);
    free(url);
    teardown(c);
}
static uint32_t open_port(struct client *c, const char *type, const char *port, const char *request)
{
    struct spdy_header h[] = {{STR("streamtype"), str_of(type)},
                              {STR("port"), str_of(port)},
                              {STR("requestid"), str_of(request)}};
    return spdy_open(c->spdy, h, 3, false);
}
TEST(port_forward)
{
    struct client *c = setup();
    struct streaming_request q = {.kind = STREAMING_PORT_FORWARD, .id = "c1"};
    char *url = streaming_url(server, &q), got[64];
    uint32_t data, err;
    start(c, url, "portforward.k8s.io");
    proc_in = -1;
    (void)open_port(c, "error", "80", "0");
    data = open_port(c, "data", "80", "0");
    (void)spdy_data(c->spdy, data, STR("GET"), false);
    UNTIL(c, proc_in >= 0);
    UNTIL(c, read(proc_in, got, sizeof got) == 3);
    assert_int_equal(write(proc_in, "page", 4), 4);
    UNTIL(c, c->data_n[data] == 4);
    (void)close(proc_in);
    UNTIL(c, c->fin[data]);
    err = open_port(c, "error", "81", "1");
    data = open_port(c, "data", "81", "1");
    UNTIL(c, c->fin[err] && c->fin[data]);
    assert_string_equal(c->data[err], "connection refused");
    stop(c);
    free(url);
    teardown(c);
}
TEST(unknown_protocol_is_refused)
{
    struct client *c = setup();
    char *url = exec_url(false);
    start(c, url, "v9.channel.k8s.io");
    assert_non_null(strstr(c->head, " 403 "));
    stop(c);
    free(url);
    teardown(c);
}
TEST_MAIN()
