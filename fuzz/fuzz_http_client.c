/* What a peer may answer to our HTTP client: probes and hooks talk to containers nobody vouches
 * for. */
#include "net/http_client.h"
#include <assert.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static struct http_call *calls[3];
static unsigned flags;

static void on_done(struct http_call *c, const struct http_result *r, void *arg)
{
    (void)c;
    assert(r->error || r->status);
    calls[(size_t)arg] = NULL;
}

static void on_data(struct http_call *c, struct str d, void *arg)
{
    if (d.n > 100 && (flags & 1)) {
        http_call_cancel(c);
        calls[(size_t)arg] = NULL;
    } else if (flags & 2) {
        http_call_pause(c);
    }
}

static size_t on_raw(struct stream *s, struct str d, void *arg)
{
    (void)s, (void)arg;
    return d.n;
}

static void on_upgrade(struct http_call *c, struct stream *s, const struct http_response *r,
                       void *arg)
{
    static const struct stream_events ev = {.on_data = on_raw};

    (void)c;
    assert(r->status == 101);
    calls[(size_t)arg] = NULL;
    stream_set_events(s, &ev, NULL);
    stream_close(s);
}

static void turns(struct loop *l, int k)
{
    while (k--)
        loop_run_once(l, 0);
}

static int listener(struct sockaddr_un *un)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    un->sun_family = AF_UNIX;
    (void)snprintf(un->sun_path, sizeof un->sun_path, "/tmp/fuzz-http-client-%d", (int)getpid());
    (void)unlink(un->sun_path);
    assert(fd >= 0 && bind(fd, (struct sockaddr *)un, sizeof *un) == 0 && listen(fd, 16) == 0);
    return fd;
}

static void start(struct http_client *c)
{
    struct http_call_spec spec = {
        .path = "/a", .on_data = on_data, .on_done = on_done, .timeout_ms = -1};

    spec.arg = (void *)0;
    (void)http_call_start(c, &spec, &calls[0], NULL);
    spec.arg = (void *)1;
    spec.collect_max = 200;
    spec.method = flags & 8 ? "HEAD" : "PUT";
    (void)http_call_start(c, &spec, &calls[1], NULL);
    spec.arg = (void *)2;
    spec.method = NULL;
    spec.upgrade = "x";
    spec.on_upgrade = on_upgrade;
    (void)http_call_start(c, &spec, &calls[2], NULL);
}

static void feed(struct loop *l, int lfd, const uint8_t *data, size_t n, size_t cut)
{
    int fd = accept4(lfd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

    if (fd < 0)
        return;
    for (size_t at = 0; at < n; at += cut) {
        if (send(fd, data + at, n - at < cut ? n - at : cut, MSG_NOSIGNAL) < 0)
            break;
        turns(l, 2);
        for (size_t i = 0; i < 3; i++)
            if (calls[i] && (flags & 4))
                http_call_resume(calls[i]);
    }
    (void)close(fd);
    turns(l, 3);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct sockaddr_un un = {0};
    struct http_client *c;
    struct loop *l;
    char url[128];
    int lfd;

    if (n < 2)
        return 0;
    flags = data[0];
    lfd = listener(&un);
    l = loop_new();
    (void)snprintf(url, sizeof url, "unix://%s", un.sun_path);
    assert(http_client_new(l, &(struct http_client_config){.base_url = url, .connections_max = 1},
                           &c, NULL) == 0);
    start(c);
    turns(l, 3);
    for (int i = 0; i < 4; i++)
        feed(l, lfd, data + 2, n - 2, data[1] ? data[1] : 300);
    http_client_free(c);
    turns(l, 3);
    loop_free(l);
    (void)close(lfd);
    (void)unlink(un.sun_path);
    calls[0] = calls[1] = calls[2] = NULL;
    return 0;
}
