/*
 * The whole HTTP server behind a socket pair, HTTP/1 or HTTP/2 by the first byte: handlers answer
 * at once, later, in pieces, never, or read bodies; the client sends in cuts and leaves whenever it
 * likes.
 */
#include "net/http_server_private.h"
#include <assert.h>
#include <sys/socket.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static struct http_exchange *held;

static void on_abort(struct http_exchange *x, void *arg)
{
    (void)arg;
    if (held == x)
        held = NULL;
}

static void on_body(struct http_exchange *x, struct str body, void *arg)
{
    (void)arg;
    http_respond(x, 200, "text/plain", body);
}

static void on_piece(struct http_exchange *x, struct str d, bool last, void *arg)
{
    (void)arg;
    if (!http_response_begun(x))
        http_respond_begin(x, 200, NULL);
    http_write(x, d);
    if (last)
        http_end(x);
}

static void on_request(struct http_exchange *x, void *arg)
{
    size_t n;
    const struct str *seg = http_segments(x, &n);
    char kind = n && seg[0].n ? seg[0].p[0] : 0;

    (void)arg;
    (void)http_query_get(x, "a");
    http_on_abort(x, on_abort, NULL);
    if (kind == 'b')
        http_read_body(x, 64, on_body, NULL);
    else if (kind == 's')
        http_stream_body(x, on_piece, NULL);
    else if (kind == 'h' && !held)
        held = x;
    else if (kind == 'x')
        http_abort(x);
    else if (kind == 'u' && http_wants_upgrade(x, "echo"))
        stream_close(http_upgrade(x, "echo", NULL, NULL));
    else
        http_respond(x, 200, "text/plain", http_path(x));
}

static void turns(struct loop *l, int k)
{
    while (k--)
        loop_run_once(l, 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct http_server_config cfg = {.on_request = on_request};
    struct http_server *s;
    struct loop *l;
    size_t cut;
    int fds[2];

    if (n < 2)
        return 0;
    l = loop_new();
    s = http_server_new(l, &cfg);
    assert(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) == 0);
    http_server_add_fd(s, fds[0], NULL);
    if (data[0] & 1) {
        struct http_conn *c = container_of(s->conns.next, struct http_conn, link);

        c->h2 = http2_conn_new(c);
    }
    cut = data[1] ? data[1] : 256;
    for (size_t at = 2; at < n; at += cut) {
        if (send(fds[1], data + at, n - at < cut ? n - at : cut, MSG_NOSIGNAL) < 0)
            break;
        turns(l, 2);
        if (held && (data[0] & 2)) {
            struct http_exchange *x = held;

            held = NULL;
            http_respond(x, 200, NULL, STR("late"));
        }
    }
    if (data[0] & 4)
        (void)shutdown(fds[1], SHUT_WR);
    turns(l, 3);
    (void)close(fds[1]);
    if (!(data[0] & 8))
        turns(l, 3);
    http_server_free(s);
    turns(l, 3);
    held = NULL;
    loop_free(l);
    return 0;
}
