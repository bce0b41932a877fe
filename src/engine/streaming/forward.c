/* Port forwarding: pairs of SPDY streams (error, data) with the same request id, each pair one
 * connection. */
#include "base/cleanup.h"
#include "base/mem.h"
#include "engine/streaming/streaming_private.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define PORTS_MAX 256        /* connections of one client at a time */
#define EARLY_MAX (1u << 20) /* bytes that may come before the connection stands */
#define PROTOCOL "portforward.k8s.io"
#define TUNNEL "SPDY/3.1+portforward.k8s.io"

struct streaming_port {
    struct list link;
    struct conn *conn;
    struct streaming *st;
    void *user;
    char *request_id;
    uint32_t error_id, data_id;
    unsigned port;
    struct stream *local;
    struct buf early;
    struct loop_defer free_later;
    bool asked, early_fin, local_done, remote_done, over;
};

struct forward {
    struct list ports;
    size_t n;
};

static void on_free_later(struct loop_defer *d)
{
    free(container_of(d, struct streaming_port, free_later));
}

static void port_over(struct streaming_port *p)
{
    if (p->over)
        return;
    p->over = true;
    ((struct forward *)p->conn->user)->n--;
    list_remove(&p->link);
    stream_free(p->local);
    p->local = NULL;
    buf_fini(&p->early);
    free(p->request_id);
    p->request_id = NULL;
    if (p->asked && p->st->ops->port_closed)
        p->st->ops->port_closed(p, p->st->arg);
    p->asked = false;
    p->conn = NULL;
    loop_defer_start(p->st->loop, &p->free_later, on_free_later);
}

/* Both directions ended: the error stream says by its silence that all went well. */
static void maybe_over(struct streaming_port *p)
{
    struct conn *c = p->conn;

    if (!p->local_done || !p->remote_done)
        return;
    (void)spdy_data(c->spdy, p->error_id, STR_NULL, true);
    port_over(p);
    conn_flush(c);
}

static size_t on_local_data(struct stream *s, struct str data, void *arg)
{
    struct streaming_port *p = arg;

    if (spdy_data(p->conn->spdy, p->data_id, data, false) < 0)
        return 0;
    conn_flush(p->conn);
    if (conn_congested(p->conn))
        stream_pause(s);
    return data.n;
}

static void local_ended(struct streaming_port *p)
{
    if (!p->local_done) {
        p->local_done = true;
        (void)spdy_data(p->conn->spdy, p->data_id, STR_NULL, true);
        conn_flush(p->conn);
    }
    maybe_over(p);
}

static void on_local_eof(struct stream *s, void *arg)
{
    (void)s;
    local_ended(arg);
}

static void on_local_close(struct stream *s, const struct error *err, void *arg)
{
    struct streaming_port *p = arg;

    (void)s;
    if (err && !p->local_done)
        (void)spdy_data(p->conn->spdy, p->error_id, str_of(error_message(err)), false);
    p->remote_done = true;
    stream_resume(p->conn->net);
    local_ended(p);
}

static void on_local_drain(struct stream *s, void *arg)
{
    struct streaming_port *p = arg;

    (void)s;
    stream_resume(p->conn->net);
}

static const struct stream_events local_events = {.on_data = on_local_data,
                                                  .on_eof = on_local_eof,
                                                  .on_drain = on_local_drain,
                                                  .on_close = on_local_close};

static void to_local(struct streaming_port *p, struct str data, bool fin)
{
    if (!p->local) {
        if (buf_add_str(&p->early, data) < 0) {
            (void)spdy_reset(p->conn->spdy, p->data_id, SPDY_RST_CANCEL);
            (void)spdy_reset(p->conn->spdy, p->error_id, SPDY_RST_CANCEL);
            port_over(p);
            return;
        }
        p->early_fin |= fin;
        return;
    }
    stream_write_str(p->local, data);
    if (fin) {
        stream_shutdown_write(p->local);
        p->remote_done = true;
        maybe_over(p);
    } else if (stream_write_pending(p->local) > STREAM_HIGH) {
        stream_pause(p->conn->net);
    }
}

void streaming_port_begin(struct streaming_port *p, int fd)
{
    p->asked = false;
    if (p->over) {
        (void)close(fd);
        return;
    }
    p->local = stream_new_fd(p->st->loop, fd, &local_events, p);
    if (p->early.n || p->early_fin)
        to_local(p, buf_str(&p->early), p->early_fin);
}

void streaming_port_fail(struct streaming_port *p, const char *message)
{
    struct conn *c = p->conn;

    p->asked = false;
    if (p->over)
        return;
    (void)spdy_data(c->spdy, p->error_id, str_of(message), true);
    (void)spdy_data(c->spdy, p->data_id, STR_NULL, true);
    port_over(p);
    conn_flush(c);
}

void streaming_port_set_user(struct streaming_port *p, void *user)
{
    p->user = user;
}

void *streaming_port_user(const struct streaming_port *p)
{
    return p->user;
}

static struct streaming_port *find_request(struct forward *f, struct str request_id)
{
    list_for(n, &f->ports)
    {
        struct streaming_port *p = container_of(n, struct streaming_port, link);

        if (str_eq_z(request_id, p->request_id))
            return p;
    }
    return NULL;
}

static struct streaming_port *new_port(struct conn *c, struct str request_id, unsigned port)
{
    struct forward *f = c->user;
    struct streaming_port *p = xcalloc(1, sizeof *p);

    p->conn = c;
    p->st = c->st;
    p->request_id = str_dup(request_id);
    p->port = port;
    buf_init(&p->early, EARLY_MAX);
    list_add_tail(&f->ports, &p->link);
    f->n++;
    return p;
}

static void on_stream(struct spdy *spdy, uint32_t id, const struct spdy_header *h, size_t n,
                      bool fin, void *arg)
{
    struct conn *c = arg;
    struct forward *f = c->user;
    struct str type = spdy_header_get(h, n, "streamtype"),
               request_id = spdy_header_get(h, n, "requestid");
    bool error = str_eq_z(type, "error");
    struct streaming_port *p;
    uint64_t port;

    (void)fin; /* clients end the error stream at once: they never write to it */
    loop_timer_stop(&c->timer);
    if (!f || (!error && !str_eq_z(type, "data")) || f->n >= PORTS_MAX ||
        str_to_u64(spdy_header_get(h, n, "port"), 65535, &port) < 0 || port == 0) {
        (void)spdy_reset(spdy, id, SPDY_RST_REFUSED_STREAM);
        return;
    }
    p = find_request(f, request_id);
    if (!p)
        p = new_port(c, request_id, (unsigned)port);
    if (error)
        p->error_id = id;
    else
        p->data_id = id;
    (void)spdy_reply(spdy, id, NULL, 0, false);
    if (p->error_id && p->data_id && !p->asked && !p->local) {
        p->asked = true;
        c->st->ops->port(p, c->grant->q.id, p->port, c->st->arg);
    }
}

static struct streaming_port *find_data(struct conn *c, uint32_t id)
{
    struct forward *f = c->user;

    if (!f)
        return NULL;
    list_for(n, &f->ports)
    {
        struct streaming_port *p = container_of(n, struct streaming_port, link);

        if (p->data_id == id)
            return p;
    }
    return NULL;
}

static void on_data(struct spdy *spdy, uint32_t id, struct str data, bool fin, void *arg)
{
    struct streaming_port *p = find_data(arg, id);

    (void)spdy;
    if (p)
        to_local(p, data, fin);
}

static void on_reset(struct spdy *spdy, uint32_t id, uint32_t status, void *arg)
{
    struct streaming_port *p = find_data(arg, id);

    (void)spdy;
    (void)status;
    if (p)
        port_over(p);
}

static const struct spdy_events forward_spdy = {
    .on_stream = on_stream, .on_data = on_data, .on_reset = on_reset};

static void drained(struct conn *c)
{
    struct forward *f = c->user;

    if (!f)
        return;
    list_for(n, &f->ports)
    {
        struct streaming_port *p = container_of(n, struct streaming_port, link);

        if (p->local)
            stream_resume(p->local);
    }
}

static void gone(struct conn *c)
{
    struct forward *f = c->user;

    if (!f)
        return;
    while (!list_empty(&f->ports))
        port_over(container_of(f->ports.next, struct streaming_port, link));
    c->user = NULL;
    free(f);
}

static const struct conn_owner forward_owner = {
    .drained = drained, .gone = gone, .spdy = &forward_spdy};

void forward_accept(struct streaming *st, struct grant *g, struct http_exchange *x)
{
    static const char *const plain[] = {PROTOCOL}, *const tunnel[] = {TUNNEL};
    bool ws = http_wants_upgrade(x, "websocket");
    const char *protocol = ws ? pick_protocol(x, "Sec-WebSocket-Protocol", tunnel, 1)
                              : pick_protocol(x, "X-Stream-Protocol-Version", plain, 1);
    struct forward *f;
    struct conn *c;

    if (!protocol) {
        http_respond_text(
            x, 403, "none of the port-forward protocols offered is known here; " PROTOCOL " is");
        grant_free(g);
        return;
    }
    f = xcalloc(1, sizeof *f);
    list_init(&f->ports);
    c = conn_new(st, g, x, protocol, true, ws, &forward_owner);
    c->user = f;
}
