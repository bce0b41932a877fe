#include "net/grpc.h"
#include "base/mem.h"
#include "base/test.h"
#include "cri.pb-c.h"
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define PATH "/tmp/skiff-grpc-test.sock"
struct fixture {
    struct loop *loop;
    struct grpc_server *server;
    struct grpc_client *client;
    int code, replies, streamed;
    char *message, *version;
    struct grpc_context *held;
    bool gone;
};
static void on_version(struct grpc_context *x, const ProtobufCMessage *request, void *arg)
{
    const Runtime__V1__VersionRequest *q = (const void *)request;
    Runtime__V1__VersionResponse r = RUNTIME__V1__VERSION_RESPONSE__INIT;
    (void)arg;
    r.version = q->version;
    r.runtime_name = (char *)"test";
    grpc_reply(x, &r.base);
}
static void on_fail_call(struct grpc_context *x, const ProtobufCMessage *request, void *arg)
{
    (void)request;
    (void)arg;
    grpc_fail(x, GRPC_NOT_FOUND, "pod \"%s\" 100%% gone\n", "x");
}
static void on_gone(struct grpc_context *x, void *arg)
{
    struct fixture *f = arg;
    assert_ptr_equal(x, f->held);
    f->gone = true;
}
static void on_hold(struct grpc_context *x, const ProtobufCMessage *request, void *arg)
{
    struct fixture *f = arg;
    (void)request;
    f->held = x;
    grpc_on_gone(x, on_gone, f);
}
static void on_stream_call(struct grpc_context *x, const ProtobufCMessage *request, void *arg)
{
    Runtime__V1__VersionResponse r = RUNTIME__V1__VERSION_RESPONSE__INIT;
    (void)request;
    (void)arg;
    for (int i = 0; i < 3; i++) {
        r.version = (char *)(i == 0 ? "a" : i == 1 ? "b" : "c");
        assert_int_equal(grpc_send(x, &r.base), 0);
    }
    grpc_finish(x, GRPC_OK, NULL);
}
static void on_reply(int code, const char *message, const ProtobufCMessage *reply, void *arg)
{
    struct fixture *f = arg;
    f->code = code;
    f->replies++;
    str_replace(&f->message, message);
    str_replace(&f->version, reply ? ((const Runtime__V1__VersionResponse *)reply)->version : NULL);
    loop_exit(f->loop, 0);
}
static void on_message(const ProtobufCMessage *m, void *arg)
{
    struct fixture *f = arg;
    assert_int_equal(((const Runtime__V1__VersionResponse *)m)->version[0], 'a' + f->streamed);
    f->streamed++;
}
static void on_end(int code, const char *message, void *arg)
{
    struct fixture *f = arg;
    f->code = code;
    str_replace(&f->message, message);
    loop_exit(f->loop, 0);
}
static void serve(struct fixture *f)
{
    const ProtobufCMessageDescriptor *t = &runtime__v1__version_request__descriptor;
    assert_int_equal(grpc_server_new(f->loop, PATH, 0600, &f->server, NULL), 0);
    grpc_server_handle(f->server, "/t/Version", t, on_version, f);
    grpc_server_handle(f->server, "/t/Fail", t, on_fail_call, f);
    grpc_server_handle(f->server, "/t/Hold", t, on_hold, f);
    grpc_server_handle(f->server, "/t/Stream", t, on_stream_call, f);
}
static void setup(struct fixture *f)
{
    *f = (struct fixture){.loop = loop_new()};
    serve(f);
    f->client = grpc_client_new(f->loop, "unix://" PATH);
}
static void teardown(struct fixture *f)
{
    grpc_client_free(f->client);
    grpc_server_free(f->server);
    loop_run_once(f->loop, 0);
    loop_free(f->loop);
    free(f->message);
    free(f->version);
}
static struct grpc_call *call_with(struct fixture *f, const char *method, char *version,
                                   int64_t deadline)
{
    Runtime__V1__VersionRequest q = RUNTIME__V1__VERSION_REQUEST__INIT;
    q.version = version;
    return grpc_call_start(f->client, method, &q.base, &runtime__v1__version_response__descriptor,
                           deadline, on_reply, f);
}
TEST(unary_and_errors)
{
    struct fixture f;
    setup(&f);
    char *big = malloc(3000001);
    memset(big, 'x', 3000000);
    big[3000000] = '\0';
    (void)call_with(&f, "/t/Version", (char *)"v1", 0);
    (void)loop_run(f.loop);
    assert_int_equal(f.code, GRPC_OK);
    assert_string_equal(f.version, "v1");
    (void)call_with(&f, "/t/Version", big, 0);
    (void)loop_run(f.loop);
    assert_int_equal(f.code, GRPC_OK);
    assert_string_equal(f.version, big);
    (void)call_with(&f, "/t/Fail", (char *)"", 0);
    (void)loop_run(f.loop);
    assert_int_equal(f.code, GRPC_NOT_FOUND);
    assert_string_equal(f.message, "pod \"x\" 100% gone\n");
    (void)call_with(&f, "/t/Nope", (char *)"", 0);
    (void)loop_run(f.loop);
    assert_int_equal(f.code, GRPC_UNIMPLEMENTED);
    free(big);
    teardown(&f);
}
TEST(many_calls_at_once)
{
    struct fixture f;
    setup(&f);
    for (int i = 0; i < 500; i++)
        (void)call_with(&f, "/t/Version", (char *)"v", 0);
    while (f.replies < 500)
        (void)loop_run(f.loop);
    assert_int_equal(f.replies, 500);
    assert_int_equal(f.code, GRPC_OK);
    teardown(&f);
}
TEST(streams)
{
    struct fixture f;
    setup(&f);
    Runtime__V1__VersionRequest q = RUNTIME__V1__VERSION_REQUEST__INIT;
    (void)grpc_stream_start(f.client, "/t/Stream", &q.base,
                            &runtime__v1__version_response__descriptor, on_message, on_end, &f);
    (void)loop_run(f.loop);
    assert_int_equal(f.streamed, 3);
    assert_int_equal(f.code, GRPC_OK);
    teardown(&f);
}
TEST(deadline_and_gone_client)
{
    struct fixture f;
    setup(&f);
    (void)call_with(&f, "/t/Hold", (char *)"", 20);
    (void)loop_run(f.loop);
    assert_int_equal(f.code, GRPC_DEADLINE_EXCEEDED);
    while (!f.gone)
        loop_run_once(f.loop, 1000);
    grpc_fail(f.held, GRPC_INTERNAL, "too late, and harmless");
    struct grpc_call *call = call_with(&f, "/t/Hold", (char *)"", 0);
    f.gone = false;
    f.held = NULL;
    while (!f.held)
        loop_run_once(f.loop, 1000);
    grpc_call_cancel(call);
    while (!f.gone)
        loop_run_once(f.loop, 1000);
    Runtime__V1__VersionResponse empty = RUNTIME__V1__VERSION_RESPONSE__INIT;
    grpc_reply(f.held, &empty.base);
    assert_int_equal(f.replies, 1);
    teardown(&f);
}
TEST(lost_server_and_reconnect)
{
    struct fixture f;
    setup(&f);
    (void)call_with(&f, "/t/Hold", (char *)"", 0);
    while (!f.held)
        loop_run_once(f.loop, 1000);
    grpc_server_free(f.server);
    assert_true(f.gone);
    (void)loop_run(f.loop);
    assert_int_equal(f.code, GRPC_UNAVAILABLE);
    grpc_fail(f.held, GRPC_INTERNAL, "dead");
    (void)call_with(&f, "/t/Version", (char *)"v", 0);
    (void)loop_run(f.loop);
    assert_int_equal(f.code, GRPC_UNAVAILABLE);
    assert_non_null(strstr(f.message, PATH));
    serve(&f);
    (void)call_with(&f, "/t/Version", (char *)"v2", 0);
    (void)loop_run(f.loop);
    assert_int_equal(f.code, GRPC_OK);
    assert_string_equal(f.version, "v2");
    teardown(&f);
}
TEST(garbage_closes_the_connection)
{
    struct fixture f;
    setup(&f);
    struct sockaddr_un a = {.sun_family = AF_UNIX, .sun_path = PATH};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    char back[256];
    ssize_t n;
    assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof a), 0);
    assert_int_equal(write(fd, "GET / HTTP/1.1\r\n\r\n        ", 26), 26);
    do {
        loop_run_once(f.loop, 100);
        n = read(fd, back, sizeof back);
    } while (n > 0 || (n < 0 && errno == EAGAIN));
    (void)close(fd);
    teardown(&f);
}
TEST_MAIN()
