#include "net/stream_private.h"
#include "base/file.h"
#include "base/mem.h"
#include "net/tls.h"
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static char *sockaddr_text(const struct sockaddr_storage *ss)
{
    char ip[INET6_ADDRSTRLEN] = "";

    if (ss->ss_family == AF_INET) {
        const struct sockaddr_in *in = (const void *)ss;

        (void)inet_ntop(AF_INET, &in->sin_addr, ip, sizeof ip);
        return xasprintf("%s:%u", ip, ntohs(in->sin_port));
    }
    if (ss->ss_family == AF_INET6) {
        const struct sockaddr_in6 *in6 = (const void *)ss;

        if (IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr)) {
            (void)inet_ntop(AF_INET, &in6->sin6_addr.s6_addr[12], ip, sizeof ip);
            return xasprintf("%s:%u", ip, ntohs(in6->sin6_port));
        }
        (void)inet_ntop(AF_INET6, &in6->sin6_addr, ip, sizeof ip);
        return xasprintf("[%s]:%u", ip, ntohs(in6->sin6_port));
    }
    return xstrdup("@");
}

char *stream_address_text(int fd, bool peer)
{
    struct sockaddr_storage ss = {0};
    socklen_t n = sizeof ss;

    if (fd < 0)
        return xstrdup("@");
    if (peer)
        (void)getpeername(fd, (struct sockaddr *)&ss, &n);
    else
        (void)getsockname(fd, (struct sockaddr *)&ss, &n);
    return sockaddr_text(&ss);
}

void stream_tune_tcp(int fd)
{
    int one = 1, idle = 30, interval = 15, count = 4;

    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    (void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof one);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof idle);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof interval);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof count);
}

/* First address of a name in /etc/hosts as text; NULL when it is not there. */
static char *hosts_lookup(const char *name)
{
    struct buf b;
    char *ret = NULL;

    if (file_read("/etc/hosts", 1 << 20, &b, NULL) < 0)
        return NULL;
    for (struct str rest = buf_str(&b), line; rest.p && !ret;) {
        struct str ip = STR_NULL;

        line = str_split(&rest, '\n');
        line = str_split(&line, '#');
        for (char *p = (char *)line.p; p < line.p + line.n; p++)
            if (*p == '\t')
                *p = ' ';
        while (line.p && !ret) {
            struct str word = str_trim(str_split(&line, ' '));

            if (!word.n)
                continue;
            if (!ip.p)
                ip = word;
            else if (str_ieq_z(word, name))
                ret = str_dup(ip);
        }
    }
    buf_fini(&b);
    return ret;
}

static int parse_numeric(const char *host, uint16_t port, struct sockaddr_storage *ss,
                         socklen_t *len)
{
    struct addrinfo hints = {.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV,
                             .ai_socktype = SOCK_STREAM};
    struct addrinfo *ai = NULL;
    char service[8];

    (void)snprintf(service, sizeof service, "%u", port);
    if (getaddrinfo(host, service, &hints, &ai) != 0)
        return -EINVAL;
    memcpy(ss, ai->ai_addr, ai->ai_addrlen);
    *len = ai->ai_addrlen;
    freeaddrinfo(ai);
    return 0;
}

static int resolve(const struct stream_target *t, struct sockaddr_storage *ss, socklen_t *len,
                   struct error **err)
{
    cleanup_free char *found = NULL;

    if (t->unix_path) {
        struct sockaddr_un *un = (void *)ss;

        if (strlen(t->unix_path) >= sizeof un->sun_path)
            return error_set(err, ENAMETOOLONG, "dial unix %s: path is longer than %zu bytes",
                             t->unix_path, sizeof un->sun_path - 1);
        un->sun_family = AF_UNIX;
        memcpy(un->sun_path, t->unix_path, strlen(t->unix_path) + 1);
        *len = sizeof *un;
        return 0;
    }
    if (!t->host || !*t->host)
        return error_set(err, EINVAL, "dial tcp: no host given");
    if (parse_numeric(t->host, t->port, ss, len) == 0)
        return 0;
    found = hosts_lookup(t->host);
    if (!found && streq(t->host, "localhost"))
        found = xstrdup("127.0.0.1");
    if (found && parse_numeric(found, t->port, ss, len) == 0)
        return 0;
    return error_set(
        err, ENOENT,
        "dial tcp: lookup %s: no such host (use an address or add the name to /etc/hosts)",
        t->host);
}

static void on_connect_timeout(struct loop_timer *t)
{
    struct stream *s = container_of(t, struct stream, timer);
    struct error *err = NULL;

    (void)error_set(&err, ETIMEDOUT, "%s: %s timed out", s->what,
                    s->state == STREAM_HANDSHAKE ? "TLS handshake" : "connection");
    stream_die(s, err);
}

static const char *connect_word(int code)
{
    switch (code) {
    case ECONNREFUSED:
        return "connection refused";
    case ENOENT:
        return "no such socket";
    case EHOSTUNREACH:
        return "no route to host";
    case ENETUNREACH:
        return "network is unreachable";
    case ETIMEDOUT:
        return "connection timed out";
    default:
        return strerror(code);
    }
}

static void connect_failed(struct stream *s, int code)
{
    struct error *err = NULL;

    (void)error_set(&err, code, "%s: %s", s->what, connect_word(code));
    stream_die(s, err);
}

void stream_connected(struct stream *s)
{
    int code = 0;
    socklen_t n = sizeof code;

    (void)getsockopt(s->write_fd, SOL_SOCKET, SO_ERROR, &code, &n);
    if (code) {
        connect_failed(s, code);
        return;
    }
    if (!s->tls_client) {
        stream_opened(s);
        return;
    }
    if (stream_start_tls(s) < 0) {
        struct error *err = NULL;

        (void)error_set(&err, EINVAL, "%s: tls: %s cannot be verified as a name", s->what,
                        strna(s->server_name));
        stream_die(s, err);
        return;
    }
    stream_handshake(s);
}

static void set_alpn(struct stream *s, const char *list)
{
    unsigned char wire[64];
    size_t n = 0;

    for (struct str rest = str_of(list), item; rest.p;) {
        item = str_split(&rest, ',');
        if (n + 1 + item.n > sizeof wire)
            break;
        wire[n++] = (unsigned char)item.n;
        memcpy(wire + n, item.p, item.n);
        n += item.n;
    }
    s->alpn = xmalloc(n);
    memcpy(s->alpn, wire, n);
    s->alpn_n = n;
}

int stream_connect(struct loop *l, const struct stream_target *t, const struct stream_events *ev,
                   void *arg, struct stream **ret, struct error **err)
{
    struct sockaddr_storage ss = {0};
    socklen_t len = 0;
    struct stream *s;
    int fd, r = resolve(t, &ss, &len, err);

    if (r < 0)
        return r;
    fd = socket(ss.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return error_set_errno(err, errno, "socket");
    if (!t->unix_path)
        stream_tune_tcp(fd);
    s = stream_alloc(l, ev, arg);
    s->state = STREAM_CONNECTING;
    if (t->unix_path) {
        s->what = xasprintf("dial unix %s", t->unix_path);
    } else {
        cleanup_free char *text = sockaddr_text(&ss);

        s->what = xasprintf("dial tcp %s", text);
        s->peer = TAKE(text);
    }
    if (t->tls) {
        s->tls_client = tls_client_ref(t->tls);
        s->server_name = xstrdup_null(t->server_name ? t->server_name : t->host);
        if (t->alpn)
            set_alpn(s, t->alpn);
    }
    stream_attach_fds(s, fd, fd);
    loop_timer_start(l, &s->timer, t->timeout_ms > 0 ? t->timeout_ms : 10000, on_connect_timeout);
    if (connect(fd, (struct sockaddr *)&ss, len) < 0 && errno != EINPROGRESS)
        connect_failed(s, errno);
    stream_update_events(s);
    *ret = s;
    return 0;
}
