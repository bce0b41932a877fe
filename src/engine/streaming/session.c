/* exec and attach: channels of a client connection joined to descriptors of a process. */
#include "base/cleanup.h"
#include "base/mem.h"
#include "codec/json.h"
#include "engine/streaming/streaming_private.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* Channel numbers of the WebSocket protocol; SPDY streams are kept in the same order. */
enum channel { CH_STDIN, CH_STDOUT, CH_STDERR, CH_ERROR, CH_RESIZE, CH_MAX };
#define WS_CLOSE_CHANNEL 255 /* v5: the next byte names a channel whose sender is done */
static const char *const channel_names[CH_MAX] = {"stdin", "stdout", "stderr", "error", "resize"};
/* After the process ended, output held open by a grandchild is waited for this long without a byte.
 */
#define DRAIN_IDLE_MS 1000

struct output {
    struct streaming_session *session;
    struct stream *stream;
    enum channel channel;
};

struct streaming_session {
    struct conn *conn;
    struct streaming *st;
    void *user;
    uint32_t ids[CH_MAX]; /* SPDY stream ids; 0: not open */
    struct stream *in;
    struct output outputs[2];
    struct buf early; /* stdin that came before streaming_begin */
    struct loop_timer drain;
    struct loop_defer free_later;
    int exit_code;
    bool opened, begun, exited, early_fin, over;
};

static bool wanted(const struct streaming_session *s, enum channel ch)
{
    const struct streaming_request *q = &s->conn->grant->q;

    switch (ch) {
    case CH_STDIN:
        return q->in;
    case CH_STDOUT:
        return q->out;
    case CH_STDERR:
        return q->err && !q->tty;
    case CH_ERROR:
        return true;
    case CH_RESIZE:
        return q->tty && s->conn->version >= 3;
    case CH_MAX:
        break;
    }
    return false;
}

static void send_channel(struct streaming_session *s, enum channel ch, struct str data, bool fin)
{
    struct conn *c = s->conn;
    char head[1] = {(char)ch};

    if (!c || c->ended)
        return;
    if (c->spdy) {
        if (s->ids[ch])
            (void)spdy_data(c->spdy, s->ids[ch], data, fin);
    } else {
        /* Only clients close channels one by one; ours end with the connection. */
        if (data.n || !fin)
            (void)ws_send(c->ws, (struct str){head, 1}, data);
    }
    conn_flush(c);
}

static void on_free_later(struct loop_defer *d)
{
    free(container_of(d, struct streaming_session, free_later));
}

/* Lets go of descriptors and of the engine; the connection is ended by the caller. */
static void session_over(struct streaming_session *s, bool tell)
{
    if (s->over)
        return;
    s->over = true;
    loop_timer_stop(&s->drain);
    stream_free(s->in);
    stream_free(s->outputs[0].stream);
    stream_free(s->outputs[1].stream);
    buf_fini(&s->early);
    s->conn->user = NULL;
    s->conn = NULL;
    if (tell && s->opened && s->st->ops->closed)
        s->st->ops->closed(s, s->st->arg);
    loop_defer_start(s->st->loop, &s->free_later, on_free_later);
}

static json_t *status_success(void)
{
    return json_pack("{s:{}, s:s}", "metadata", "status", "Success");
}

static json_t *status_exit(int code)
{
    char number[16], text[96];

    (void)snprintf(number, sizeof number, "%d", code);
    (void)snprintf(text, sizeof text, "command terminated with non-zero exit code: exit status %d",
                   code);
    return json_pack("{s:{}, s:s, s:s, s:s, s:{s:[{s:s, s:s}]}}", "metadata", "status", "Failure",
                     "message", text, "reason", "NonZeroExitCode", "details", "causes", "reason",
                     "ExitCode", "message", number);
}

static json_t *status_internal(const char *message)
{
    return json_pack("{s:{}, s:s, s:s, s:s, s:{s:[{s:s}]}, s:i}", "metadata", "status", "Failure",
                     "message", message, "reason", "InternalError", "details", "causes", "message",
                     message, "code", 500);
}

/* Takes status. Protocols before v4 know only text, and nothing for success. */
static void finish(struct streaming_session *s, json_t *status)
{
    struct conn *c = s->conn;
    struct buf text;

    buf_init(&text, 64 * 1024);
    if (c->version >= 4)
        (void)json_write(status, &text);
    else if (json_text_at(status, "message", NULL))
        (void)buf_add_z(&text, json_text_at(status, "message", NULL));
    json_decref(status);
    for (enum channel ch = CH_STDOUT; ch <= CH_STDERR; ch++)
        if (c->spdy && wanted(s, ch))
            send_channel(s, ch, STR_NULL, true);
    if (c->version < 5 && !c->spdy && !text.n)
        c->version = 4;
    send_channel(s, CH_ERROR, buf_str(&text), c->spdy != NULL);
    if (c->spdy && s->ids[CH_STDIN])
        (void)spdy_data(c->spdy, s->ids[CH_STDIN], STR_NULL, true);
    if (c->spdy && s->ids[CH_RESIZE])
        (void)spdy_data(c->spdy, s->ids[CH_RESIZE], STR_NULL, true);
    buf_fini(&text);
    session_over(s, true);
    conn_finish(c);
}

static void maybe_finish(struct streaming_session *s)
{
    if (s->over || s->outputs[0].stream || s->outputs[1].stream)
        return;
    /* an attach whose streams all ended is over as well: the container closed its output */
    if (!s->exited && !(s->conn->grant->q.kind == STREAMING_ATTACH &&
                        (wanted(s, CH_STDOUT) || wanted(s, CH_STDERR))))
        return;
    finish(s, s->exit_code ? status_exit(s->exit_code) : status_success());
}

static void on_drain_idle(struct loop_timer *t)
{
    struct streaming_session *s = container_of(t, struct streaming_session, drain);

    if (conn_congested(s->conn)) { /* the client is slow, not the process */
        loop_timer_start(s->st->loop, &s->drain, DRAIN_IDLE_MS, on_drain_idle);
        return;
    }
    for (int i = 0; i < 2; i++) {
        stream_free(s->outputs[i].stream);
        s->outputs[i].stream = NULL;
    }
    maybe_finish(s);
}

/* process -> client */

static size_t on_output(struct stream *st, struct str data, void *arg)
{
    struct output *o = arg;
    struct streaming_session *s = o->session;

    if (s->exited)
        loop_timer_start(s->st->loop, &s->drain, DRAIN_IDLE_MS, on_drain_idle);
    send_channel(s, o->channel, data, false);
    if (conn_congested(s->conn))
        stream_pause(st);
    return data.n;
}

static void on_output_end(struct stream *st, const struct error *err, void *arg)
{
    struct output *o = arg;
    struct streaming_session *s = o->session;

    (void)st;
    (void)err; /* a terminal whose last user left answers EIO: an end like any other */
    stream_free(o->stream);
    o->stream = NULL;
    if (s->conn->spdy || s->conn->version >= 5)
        send_channel(s, o->channel, STR_NULL, true);
    maybe_finish(s);
}

static void on_output_eof(struct stream *st, void *arg)
{
    on_output_end(st, NULL, arg);
}

static const struct stream_events output_events = {
    .on_data = on_output, .on_eof = on_output_eof, .on_close = on_output_end};

/* client -> process */

static void on_in_drain(struct stream *st, void *arg)
{
    struct streaming_session *s = arg;

    (void)st;
    stream_resume(s->conn->net);
}

static void on_in_close(struct stream *st, const struct error *err, void *arg)
{
    struct streaming_session *s = arg;

    (void)st;
    (void)err; /* the process closed its standard input: what follows is dropped */
    stream_free(s->in);
    s->in = NULL;
    stream_resume(s->conn->net);
}

static const struct stream_events in_events = {.on_drain = on_in_drain, .on_close = on_in_close};

static void stdin_data(struct streaming_session *s, struct str data, bool fin)
{
    if (!s->begun) {
        (void)buf_add_str(&s->early, data);
        s->early_fin |= fin;
        if (s->early.n > STREAM_HIGH)
            stream_pause(s->conn->net);
        return;
    }
    if (!s->in)
        return;
    stream_write_str(s->in, data);
    if (fin)
        stream_shutdown_write(s->in);
    if (stream_write_pending(s->in) > STREAM_HIGH)
        stream_pause(s->conn->net);
}

/* {"Width":80,"Height":24} */
static void resize_data(struct streaming_session *s, struct str data)
{
    cleanup_json json_t *v = NULL;

    if (!s->st->ops->resize || json_parse(data, 1024, "terminal size", &v, NULL) < 0 || !s->opened)
        return;
    s->st->ops->resize(s, (unsigned)json_int_or(v, "Width", 0) & 0xffff,
                       (unsigned)json_int_or(v, "Height", 0) & 0xffff, s->st->arg);
}

static void channel_data(struct streaming_session *s, enum channel ch, struct str data, bool fin)
{
    if (ch == CH_STDIN && wanted(s, CH_STDIN))
        stdin_data(s, data, fin);
    else if (ch == CH_RESIZE && data.n)
        resize_data(s, data);
}

static void session_open(struct streaming_session *s)
{
    s->opened = true;
    loop_timer_stop(&s->conn->timer);
    s->st->ops->open(s, &s->conn->grant->q, s->st->arg);
}

/* SPDY side */

static void spdy_stream(struct spdy *spdy, uint32_t id, const struct spdy_header *h, size_t n,
                        bool fin, void *arg)
{
    struct conn *c = arg;
    struct streaming_session *s = c->user;
    struct str type = spdy_header_get(h, n, "streamtype");
    bool all = true, known = false;

    for (enum channel ch = 0; s && ch < CH_MAX; ch++) {
        if (str_eq_z(type, channel_names[ch]) && wanted(s, ch) && !s->ids[ch]) {
            s->ids[ch] = id;
            known = true;
        }
        all &= !wanted(s, ch) || s->ids[ch];
    }
    if (!known) {
        (void)spdy_reset(spdy, id, SPDY_RST_REFUSED_STREAM);
        return;
    }
    (void)spdy_reply(spdy, id, NULL, 0, false);
    if (fin)
        channel_data(s, s->ids[CH_STDIN] == id ? CH_STDIN : CH_ERROR, STR_NULL, true);
    if (all && !s->opened)
        session_open(s);
}

static void spdy_bytes(struct spdy *spdy, uint32_t id, struct str data, bool fin, void *arg)
{
    struct conn *c = arg;
    struct streaming_session *s = c->user;

    (void)spdy;
    for (enum channel ch = 0; s && ch < CH_MAX; ch++) {
        if (s->ids[ch] == id) {
            channel_data(s, ch, data, fin);
            return;
        }
    }
}

static void spdy_stream_reset(struct spdy *spdy, uint32_t id, uint32_t status, void *arg)
{
    (void)status;
    spdy_bytes(spdy, id, STR_NULL, true, arg);
}

static const struct spdy_events session_spdy = {
    .on_stream = spdy_stream, .on_data = spdy_bytes, .on_reset = spdy_stream_reset};

/* WebSocket side */

static void ws_message(struct conn *c, struct str data)
{
    struct streaming_session *s = c->user;
    unsigned ch;

    if (!s || !data.n)
        return;
    ch = (unsigned char)data.p[0];
    data.p++;
    data.n--;
    if (ch == WS_CLOSE_CHANNEL && c->version >= 5 && data.n == 1)
        channel_data(s, (enum channel)(unsigned char)data.p[0], STR_NULL, true);
    else if (ch < CH_MAX)
        channel_data(s, (enum channel)ch, data, false);
}

static void drained(struct conn *c)
{
    struct streaming_session *s = c->user;

    for (int i = 0; s && i < 2; i++)
        if (s->outputs[i].stream)
            stream_resume(s->outputs[i].stream);
}

static void gone(struct conn *c)
{
    if (c->user)
        session_over(c->user, true);
}

static const struct conn_owner session_owner = {
    .drained = drained, .gone = gone, .ws_message = ws_message, .spdy = &session_spdy};

void session_accept(struct streaming *st, struct grant *g, struct http_exchange *x)
{
    static const char *const spdy_protocols[] = {"v4.channel.k8s.io", "v3.channel.k8s.io",
                                                 "v2.channel.k8s.io", "channel.k8s.io"};
    static const char *const ws_protocols[] = {"v5.channel.k8s.io", "v4.channel.k8s.io"};
    bool ws = http_wants_upgrade(x, "websocket");
    const char *protocol =
        ws ? pick_protocol(x, "Sec-WebSocket-Protocol", ws_protocols, ARRAY_LEN(ws_protocols))
           : pick_protocol(x, "X-Stream-Protocol-Version", spdy_protocols,
                           ARRAY_LEN(spdy_protocols));
    struct streaming_session *s;

    if (!protocol) {
        http_add_header(x, "X-Accepted-Stream-Protocol-Versions", "v4.channel.k8s.io");
        http_respond_text(
            x, 403,
            "none of the stream protocols offered is known here; v5 or v4.channel.k8s.io is");
        grant_free(g);
        return;
    }
    s = xcalloc(1, sizeof *s);
    s->st = st;
    buf_init(&s->early, 2 * STREAM_HIGH + WS_MESSAGE_MAX);
    s->conn = conn_new(st, g, x, protocol, !ws, ws, &session_owner);
    s->conn->user = s;
    s->conn->version = protocol[0] == 'v' ? protocol[1] - '0' : 1;
    if (!ws)
        return;
    /* an empty message on the lowest output channel tells the client that it may begin, as upstream
     * does */
    send_channel(s,
                 wanted(s, CH_STDOUT)   ? CH_STDOUT
                 : wanted(s, CH_STDERR) ? CH_STDERR
                                        : CH_ERROR,
                 STR_NULL, false);
    session_open(s);
}

/* engine side */

static void output_begin(struct streaming_session *s, struct output *o, enum channel ch, int fd)
{
    o->session = s;
    o->channel = ch;
    if (fd >= 0 && wanted(s, ch))
        o->stream = stream_new_fds(s->st->loop, fd, -1, &output_events, o);
    else if (fd >= 0)
        (void)close(fd);
}

void streaming_begin(struct streaming_session *s, int in_fd, int out_fd, int err_fd)
{
    if (in_fd >= 0 && in_fd == out_fd)
        out_fd = dup(in_fd);
    s->begun = true;
    output_begin(s, &s->outputs[0], CH_STDOUT, out_fd);
    output_begin(s, &s->outputs[1], CH_STDERR, err_fd);
    if (in_fd >= 0 && wanted(s, CH_STDIN))
        s->in = stream_new_fds(s->st->loop, -1, in_fd, &in_events, s);
    else if (in_fd >= 0)
        (void)close(in_fd);
    if (s->early.n || s->early_fin)
        stdin_data(s, buf_str(&s->early), s->early_fin);
    buf_fini(&s->early);
    if (!s->in || stream_write_pending(s->in) <= STREAM_HIGH)
        stream_resume(s->conn->net);
}

void streaming_exited(struct streaming_session *s, int exit_code)
{
    if (s->over || s->exited)
        return;
    s->exited = true;
    s->exit_code = exit_code;
    loop_timer_start(s->st->loop, &s->drain, DRAIN_IDLE_MS, on_drain_idle);
    maybe_finish(s);
}

void streaming_fail(struct streaming_session *s, const char *message)
{
    if (s->over)
        return;
    s->opened = false; /* the engine said it itself: no closed for this one */
    finish(s, status_internal(message));
}

void streaming_set_user(struct streaming_session *s, void *user)
{
    s->user = user;
}

void *streaming_user(const struct streaming_session *s)
{
    return s->user;
}
