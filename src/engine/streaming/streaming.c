#include "base/cleanup.h"
#include "base/mem.h"
#include "base/random.h"
#include "engine/streaming/streaming_private.h"
#include <errno.h>
#include <stdlib.h>

#define TOKEN_LIFE_MS 60000
#define TOKENS_MAX 1000

void grant_free(struct grant *g)
{
    if (!g)
        return;
    if (list_linked(&g->link)) {
        list_remove(&g->link);
        g->st->tokens_n--;
    }
    loop_timer_stop(&g->expiry);
    for (size_t i = 0; g->q.argv && g->q.argv[i]; i++)
        free((char *)(uintptr_t)g->q.argv[i]);
    free((void *)(uintptr_t)g->q.argv);
    free((char *)(uintptr_t)g->q.id);
    free(g);
}

static void on_expiry(struct loop_timer *t)
{
    grant_free(container_of(t, struct grant, expiry));
}

static const char *const kind_names[] = {[STREAMING_EXEC] = "exec",
                                         [STREAMING_ATTACH] = "attach",
                                         [STREAMING_PORT_FORWARD] = "portforward"};

char *streaming_url(struct streaming *st, const struct streaming_request *q)
{
    struct grant *g = xcalloc(1, sizeof *g);
    unsigned char secret[16];
    struct buf hex;
    size_t n = 0;
    char **argv;

    if (st->tokens_n >= TOKENS_MAX) /* the oldest goes: its client had its time */
        grant_free(container_of(st->tokens.next, struct grant, link));
    while (q->argv && q->argv[n])
        n++;
    argv = xcalloc(n + 1, sizeof *argv);
    for (size_t i = 0; i < n; i++)
        argv[i] = xstrdup(q->argv[i]);
    g->st = st;
    g->q = *q;
    g->q.argv = (const char *const *)argv;
    g->q.id = xstrdup(q->id);
    random_bytes(secret, sizeof secret);
    buf_init(&hex, 32);
    (void)buf_add_hex(&hex, secret, sizeof secret);
    memcpy(g->token, hex.p, 33);
    buf_fini(&hex);
    list_add_tail(&st->tokens, &g->link);
    st->tokens_n++;
    loop_timer_start(st->loop, &g->expiry, TOKEN_LIFE_MS, on_expiry);
    return xasprintf("%s/%s/%s", st->base_url, kind_names[q->kind], g->token);
}

static struct grant *take_grant(struct streaming *st, struct str kind, struct str token)
{
    list_for(n, &st->tokens)
    {
        struct grant *g = container_of(n, struct grant, link);

        if (!str_eq_z(token, g->token) || !str_eq_z(kind, kind_names[g->q.kind]))
            continue;
        list_remove(&g->link);
        st->tokens_n--;
        loop_timer_stop(&g->expiry);
        return g;
    }
    return NULL;
}

static void on_request(struct http_exchange *x, void *arg)
{
    struct streaming *st = arg;
    size_t n;
    const struct str *path = http_segments(x, &n);
    struct grant *g = n == 2 ? take_grant(st, path[0], path[1]) : NULL;

    if (!g) {
        http_respond_text(
            x, 404,
            "this streaming URL is not known: it was used already or is older than a minute");
        return;
    }
    if (!http_wants_upgrade(x, "SPDY/3.1") && !http_wants_upgrade(x, "websocket")) {
        grant_free(g);
        http_respond_text(x, 400, "upgrade to SPDY/3.1 or websocket required");
        return;
    }
    if (g->q.kind == STREAMING_PORT_FORWARD)
        forward_accept(st, g, x);
    else
        session_accept(st, g, x);
}

const char *pick_protocol(struct http_exchange *x, const char *header, const char *const *ours,
                          size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (http_headers_has_token(http_request_headers(x), header, ours[i]))
            return ours[i];
    return NULL;
}

int streaming_new(struct loop *l, const char *address, const struct streaming_ops *ops, void *arg,
                  struct streaming **ret, struct error **err)
{
    struct http_server_config cfg = {.on_request = on_request, .connections_max = 1024};
    struct streaming *st = xcalloc(1, sizeof *st);
    int r;

    if (!address)
        address = "127.0.0.1";
    st->loop = l;
    st->ops = ops;
    st->arg = arg;
    list_init(&st->tokens);
    list_init(&st->conns);
    cfg.arg = st;
    st->http = http_server_new(l, &cfg);
    r = http_server_listen_tcp(st->http, address, 0, NULL, err);
    if (r < 0) {
        http_server_free(st->http);
        free(st);
        return error_wrap(err, "streaming server");
    }
    st->base_url = xasprintf(strchr(address, ':') ? "http://[%s]:%u" : "http://%s:%u", address,
                             http_server_port(st->http));
    *ret = st;
    return 0;
}

void streaming_free(struct streaming *st)
{
    if (!st)
        return;
    http_server_free(st->http);
    while (!list_empty(&st->conns)) {
        struct conn *c = container_of(st->conns.next, struct conn, link);

        if (!c->ended && !c->lingering)
            c->owner->gone(c);
        conn_end(c);
        loop_defer_stop(&c->free_later);
        c->free_later.fn(&c->free_later);
    }
    while (!list_empty(&st->tokens))
        grant_free(container_of(st->tokens.next, struct grant, link));
    free(st->base_url);
    free(st);
}
