#include "net/stream_private.h"
#include "base/mem.h"
#include "net/tls.h"
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define READ_CHUNK (16u * 1024)
#define READS_PER_TURN 8
#define CLOSE_FLUSH_MS 10000
#define LINGER_MS 2000

static void on_readable(evutil_socket_t fd, short what, void *arg);
static void on_writable(evutil_socket_t fd, short what, void *arg);
static void on_work(struct loop_defer *d);
static void do_write(struct stream *s);
static void check_end(struct stream *s);

/* lifecycle */

struct stream *stream_alloc(struct loop *l, const struct stream_events *ev, void *arg)
{
    struct stream *s = xcalloc(1, sizeof *s);

    s->loop = l;
    s->state = STREAM_OPEN;
    s->read_fd = s->write_fd = -1;
    if (ev)
        s->ev = *ev;
    s->arg = arg;
    buf_init(&s->in, STREAM_IN_MAX + READ_CHUNK);
    s->out = evbuffer_new();
    assert(s->out);
    return s;
}

void stream_attach_fds(struct stream *s, int read_fd, int write_fd)
{
    struct event_base *base = loop_event_base(s->loop);
    struct stat st;
    int fd = read_fd >= 0 ? read_fd : write_fd;

    s->read_fd = read_fd;
    s->write_fd = write_fd;
    s->is_socket = fstat(fd, &st) == 0 && S_ISSOCK(st.st_mode);
    if (read_fd >= 0) {
        (void)evutil_make_socket_nonblocking(read_fd);
        (void)event_assign(&s->read_event, base, read_fd, EV_READ | EV_PERSIST, on_readable, s);
    } else {
        s->eof_seen = s->eof_told = s->no_read = true;
    }
    if (write_fd >= 0) {
        (void)evutil_make_socket_nonblocking(write_fd);
        (void)event_assign(&s->write_event, base, write_fd, EV_WRITE | EV_PERSIST, on_writable, s);
    } else {
        s->shut_wanted = s->shut_done = true;
    }
}

struct stream *stream_new_fds(struct loop *l, int read_fd, int write_fd,
                              const struct stream_events *ev, void *arg)
{
    struct stream *s = stream_alloc(l, ev, arg);

    stream_attach_fds(s, read_fd, write_fd);
    stream_update_events(s);
    return s;
}

struct stream *stream_new_fd(struct loop *l, int fd, const struct stream_events *ev, void *arg)
{
    return stream_new_fds(l, fd, fd, ev, arg);
}

static void close_read_side(struct stream *s)
{
    if (s->read_fd < 0)
        return;
    (void)event_del(&s->read_event);
    if (s->read_fd != s->write_fd)
        (void)close(s->read_fd);
    s->read_fd = -1;
}

static void close_write_side(struct stream *s)
{
    if (s->write_fd < 0)
        return;
    (void)event_del(&s->write_event);
    if (s->read_fd != s->write_fd)
        (void)close(s->write_fd);
    s->write_fd = -1;
}

static void close_fds(struct stream *s)
{
    int fd = s->read_fd >= 0 ? s->read_fd : s->write_fd;
    bool shared = s->read_fd == s->write_fd && fd >= 0;

    loop_timer_stop(&s->timer);
    if (s->ssl) {
        SSL_free(s->ssl);
        s->ssl = NULL;
    }
    if (shared) {
        (void)event_del(&s->read_event);
        (void)event_del(&s->write_event);
        (void)close(fd);
        s->read_fd = s->write_fd = -1;
        return;
    }
    close_read_side(s);
    close_write_side(s);
}

static void stream_destroy(struct stream *s)
{
    close_fds(s);
    loop_defer_stop(&s->work);
    buf_fini(&s->in);
    evbuffer_free(s->out);
    error_clear(&s->error);
    tls_peer_free(s->tls_peer);
    tls_client_unref(s->tls_client);
    tls_server_unref(s->tls_server);
    free(s->peer);
    free(s->local);
    free(s->what);
    free(s->server_name);
    free(s->alpn);
    free(s);
}

void stream_enter(struct stream *s)
{
    s->depth++;
}

bool stream_leave(struct stream *s)
{
    if (--s->depth > 0 || !s->freed)
        return !s->freed;
    stream_destroy(s);
    return false;
}

void stream_free(struct stream *s)
{
    if (!s)
        return;
    s->freed = true;
    s->state = STREAM_DEAD;
    s->close_told = true;
    loop_defer_stop(&s->work);
    if (!s->depth) {
        stream_destroy(s);
        return;
    }
    close_fds(s);
}

void stream_die(struct stream *s, struct error *err)
{
    if (s->state == STREAM_DEAD) {
        error_free(err);
        return;
    }
    s->state = STREAM_DEAD;
    s->error = err;
    close_fds(s);
    stream_schedule(s);
}

static void tell_close(struct stream *s)
{
    if (s->close_told)
        return;
    s->close_told = true;
    if (s->closing) {
        s->freed = true;
        return;
    }
    if (s->ev.on_close)
        s->ev.on_close(s, s->error, s->arg);
}

static void on_close_timeout(struct loop_timer *t)
{
    struct stream *s = container_of(t, struct stream, timer);

    stream_free(s);
}

static void begin_close(struct stream *s, bool linger)
{
    if (!s)
        return;
    s->closing = true;
    s->lingering = linger && s->is_socket;
    s->ev = (struct stream_events){0};
    if (s->state != STREAM_OPEN || (s->read_fd < 0 && s->write_fd < 0)) {
        stream_free(s);
        return;
    }
    s->shut_wanted = true;
    s->paused = !s->lingering;
    loop_timer_start(s->loop, &s->timer, linger ? LINGER_MS : CLOSE_FLUSH_MS, on_close_timeout);
    stream_enter(s);
    do_write(s);
    check_end(s);
    if (s->state == STREAM_DEAD)
        tell_close(s);
    if (stream_leave(s))
        stream_update_events(s);
}

void stream_close(struct stream *s)
{
    begin_close(s, false);
}

void stream_close_linger(struct stream *s)
{
    begin_close(s, true);
}

/* events wanted */

void stream_schedule(struct stream *s)
{
    if (!s->freed)
        loop_defer_start(s->loop, &s->work, on_work);
}

static bool wants_read(const struct stream *s)
{
    if (s->state == STREAM_CONNECTING || s->eof_seen)
        return false;
    if (s->state == STREAM_HANDSHAKE || s->lingering)
        return true;
    return !s->paused && !s->read_blocked && s->ev.on_data;
}

void stream_update_events(struct stream *s)
{
    if (s->state == STREAM_DEAD)
        return;
    if (s->read_fd >= 0) {
        if (wants_read(s))
            (void)event_add(&s->read_event, NULL);
        else
            (void)event_del(&s->read_event);
    }
    if (s->write_fd >= 0) {
        bool want = s->state == STREAM_CONNECTING ||
                    (s->state == STREAM_HANDSHAKE && s->ssl && SSL_want_write(s->ssl)) ||
                    (s->state == STREAM_OPEN && evbuffer_get_length(s->out) > 0);

        if (want)
            (void)event_add(&s->write_event, NULL);
        else
            (void)event_del(&s->write_event);
    }
}

/* reading */

/* One read: > 0 bytes, 0 end of file, -EAGAIN, or another negative errno with s->error-to-be in
 * *err. */
static ssize_t read_once(struct stream *s, char *p, size_t n, struct error **err)
{
    ssize_t r;

    if (!s->ssl) {
        r = read(s->read_fd, p, n);
        if (r >= 0)
            return r;
        if (errno == EINTR || errno == EAGAIN)
            return -EAGAIN;
        if (errno == EIO && !s->is_socket)
            return 0; /* the other end of a terminal closed */
        return error_set(err, errno, "%s", strerror(errno));
    }
    ERR_clear_error();
    r = SSL_read(s->ssl, p, (int)n);
    if (r > 0)
        return r;
    switch (SSL_get_error(s->ssl, (int)r)) {
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE:
        return -EAGAIN;
    case SSL_ERROR_ZERO_RETURN:
        return 0;
    default:
        *err = stream_tls_error(s, SSL_get_error(s->ssl, (int)r), "read");
        return -EIO;
    }
}

/* Offers bytes; what is not taken is kept in s->in. False when the stream is gone or its owner
 * changed his mind. */
static bool offer(struct stream *s, const char *p, size_t n)
{
    size_t taken;

    if (s->closing)
        return true; /* lingering: dropped */
    if (s->in.n) {
        (void)buf_add(&s->in, p, n);
        taken = s->ev.on_data(s, buf_str(&s->in), s->arg);
        if (s->freed)
            return false;
        assert(taken <= s->in.n);
        buf_consume(&s->in, taken);
    } else {
        taken = n ? s->ev.on_data(s, (struct str){p, n}, s->arg) : 0;
        if (s->freed)
            return false;
        assert(taken <= n);
        if (taken < n)
            (void)buf_add(&s->in, p + taken, n - taken);
    }
    if (!s->in.n && s->in.cap > READ_CHUNK)
        buf_fini(&s->in), buf_init(&s->in, STREAM_IN_MAX + READ_CHUNK);
    s->read_blocked = s->in.n >= STREAM_IN_MAX;
    return s->state == STREAM_OPEN;
}

static void tell_eof(struct stream *s)
{
    if (!s->eof_seen || s->eof_told || s->paused || s->state != STREAM_OPEN)
        return;
    s->eof_told = true;
    if (s->closing || !s->ev.on_eof) {
        if (s->closing && evbuffer_get_length(s->out))
            return; /* still flushing */
        stream_die(s, NULL);
        return;
    }
    s->ev.on_eof(s, s->arg);
}

static void do_read(struct stream *s)
{
    static char chunk[READ_CHUNK]; /* one thread; handlers never read recursively */

    for (int i = 0; i < READS_PER_TURN && s->state == STREAM_OPEN && wants_read(s); i++) {
        struct error *err = NULL;
        ssize_t r = read_once(s, chunk, sizeof chunk, &err);

        if (r == -EAGAIN)
            break;
        if (r < 0) {
            stream_die(s, err);
            return;
        }
        if (r == 0) {
            s->eof_seen = true;
            if (s->read_fd != s->write_fd)
                close_read_side(s);
            break;
        }
        s->bytes_in += (uint64_t)r;
        if (!offer(s, chunk, (size_t)r))
            return;
        if (i + 1 == READS_PER_TURN)
            s->recheck = s->ssl && SSL_has_pending(s->ssl);
    }
    tell_eof(s);
    if (s->recheck || (s->eof_told && s->shut_done))
        stream_schedule(s);
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
    struct stream *s = arg;

    (void)fd;
    (void)what;
    stream_enter(s);
    if (s->state == STREAM_HANDSHAKE)
        stream_handshake(s);
    else
        do_read(s);
    if (stream_leave(s))
        stream_update_events(s);
}

/* writing */

static int flush_tls(struct stream *s, struct error **err)
{
    while (evbuffer_get_length(s->out)) {
        size_t n = evbuffer_get_length(s->out);
        unsigned char *p;
        int r;

        if (n > 16384)
            n = 16384;
        p = evbuffer_pullup(s->out, (ev_ssize_t)n);
        ERR_clear_error();
        r = SSL_write(s->ssl, p, (int)n);
        if (r <= 0) {
            int e = SSL_get_error(s->ssl, r);

            if (e == SSL_ERROR_WANT_READ || e == SSL_ERROR_WANT_WRITE)
                return 0;
            *err = stream_tls_error(s, e, "write");
            return -EIO;
        }
        s->bytes_out += (uint64_t)r;
        (void)evbuffer_drain(s->out, (size_t)r);
    }
    return 0;
}

static int flush_plain(struct stream *s, struct error **err)
{
    while (evbuffer_get_length(s->out)) {
        int r = evbuffer_write(s->out, s->write_fd);

        if (r < 0) {
            if (errno == EAGAIN || errno == EINTR)
                return 0;
            return error_set(err, errno, "%s", strerror(errno));
        }
        if (r == 0)
            return 0;
        s->bytes_out += (uint64_t)r;
    }
    return 0;
}

static void finish_shutdown(struct stream *s)
{
    if (!s->shut_wanted || s->shut_done || evbuffer_get_length(s->out))
        return;
    s->shut_done = true;
    if (s->ssl) {
        ERR_clear_error();
        (void)SSL_shutdown(s->ssl);
    }
    if (s->read_fd != s->write_fd)
        close_write_side(s);
    else if (s->is_socket && (!s->ssl || s->closing))
        (void)shutdown(s->write_fd, SHUT_WR);
}

static void do_write(struct stream *s)
{
    struct error *err = NULL;
    int r;

    if (s->write_fd < 0 || s->state != STREAM_OPEN)
        return;
    r = s->ssl ? flush_tls(s, &err) : flush_plain(s, &err);
    if (r < 0 && s->read_fd >= 0 && s->read_fd != s->write_fd) {
        /* A child closed its standard input; what it prints still counts. */
        error_free(err);
        (void)evbuffer_drain(s->out, evbuffer_get_length(s->out));
        s->shut_wanted = true;
    } else if (r < 0) {
        stream_die(s, err);
        return;
    }
    finish_shutdown(s);
    if (s->above_low && evbuffer_get_length(s->out) <= STREAM_LOW) {
        s->above_low = false;
        if (s->ev.on_drain)
            s->ev.on_drain(s, s->arg);
    }
}

static void on_writable(evutil_socket_t fd, short what, void *arg)
{
    struct stream *s = arg;

    (void)fd;
    (void)what;
    stream_enter(s);
    if (s->state == STREAM_CONNECTING)
        stream_connected(s);
    else if (s->state == STREAM_HANDSHAKE)
        stream_handshake(s);
    else
        on_work(&s->work);
    if (stream_leave(s))
        stream_update_events(s);
}

/* Ends a stream that has nothing left to do. */
static void check_end(struct stream *s)
{
    if (s->freed || s->state != STREAM_OPEN)
        return;
    if (s->closing && s->shut_done && (!s->lingering || s->eof_seen))
        stream_die(s, NULL);
    else if (!s->closing && s->shut_done && s->eof_told)
        stream_die(s, NULL);
}

static void on_work(struct loop_defer *d)
{
    struct stream *s = container_of(d, struct stream, work);

    stream_enter(s);
    if (s->open_due && s->state == STREAM_OPEN) {
        s->open_due = false;
        if (s->ev.on_open)
            s->ev.on_open(s, s->arg);
    }
    if (!s->freed && s->recheck && !s->paused && s->state == STREAM_OPEN) {
        s->recheck = false;
        if ((s->ev.on_data && (s->in.n == 0 || offer(s, "", 0))) || s->closing)
            do_read(s);
        else if (!s->freed)
            tell_eof(s);
    }
    if (!s->freed)
        do_write(s);
    check_end(s);
    if (!s->freed && s->state == STREAM_DEAD)
        tell_close(s);
    if (stream_leave(s))
        stream_update_events(s);
}

void stream_opened(struct stream *s)
{
    s->state = STREAM_OPEN;
    loop_timer_stop(&s->timer);
    s->open_due = true;
    s->recheck = true;
    stream_schedule(s);
}

/* data */

void stream_set_events(struct stream *s, const struct stream_events *ev, void *arg)
{
    s->ev = ev ? *ev : (struct stream_events){0};
    s->arg = arg;
    s->recheck = true;
    if (s->eof_seen && !s->no_read)
        s->eof_told = false;
    stream_schedule(s);
    stream_update_events(s);
}

void stream_write(struct stream *s, const void *p, size_t n)
{
    if (s->freed || s->state == STREAM_DEAD || s->shut_wanted || s->write_fd < 0 || n == 0)
        return;
    (void)evbuffer_add(s->out, p, n);
    if (evbuffer_get_length(s->out) > STREAM_LOW)
        s->above_low = true;
    if (s->state == STREAM_OPEN)
        stream_schedule(s);
}

void stream_write_str(struct stream *s, struct str data)
{
    stream_write(s, data.p, data.n);
}

size_t stream_write_pending(const struct stream *s)
{
    return s->state == STREAM_DEAD ? 0 : evbuffer_get_length(s->out);
}

void stream_pause(struct stream *s)
{
    s->paused = true;
    if (!s->freed)
        stream_update_events(s);
}

void stream_resume(struct stream *s)
{
    if (s->freed)
        return;
    s->paused = false;
    s->recheck = true;
    stream_schedule(s);
    stream_update_events(s);
}

bool stream_paused(const struct stream *s)
{
    return s->paused;
}

void stream_shutdown_write(struct stream *s)
{
    s->shut_wanted = true;
    stream_schedule(s);
}

uint64_t stream_bytes_in(const struct stream *s)
{
    return s->bytes_in;
}

uint64_t stream_bytes_out(const struct stream *s)
{
    return s->bytes_out;
}

/* identity */

struct loop *stream_loop(const struct stream *s)
{
    return s->loop;
}

void *stream_arg(const struct stream *s)
{
    return s->arg;
}

const char *stream_peer_address(const struct stream *s)
{
    struct stream *m = (struct stream *)s;

    if (!m->peer)
        m->peer = stream_address_text(s->read_fd, true);
    return m->peer;
}

const char *stream_local_address(const struct stream *s)
{
    struct stream *m = (struct stream *)s;

    if (!m->local)
        m->local = stream_address_text(s->read_fd, false);
    return m->local;
}

const struct tls_peer *stream_tls_peer(struct stream *s)
{
    X509 *cert;

    if (s->tls_peer || !s->ssl)
        return s->tls_peer;
    cert = SSL_get0_peer_certificate(s->ssl);
    if (!cert)
        return NULL;
    s->tls_peer = tls_peer_from_x509(cert);
    s->tls_peer->verify_error = tls_verify_error(s->ssl);
    s->tls_peer->verified = !s->tls_peer->verify_error;
    return s->tls_peer;
}

bool stream_is_tls(const struct stream *s)
{
    return s->tls_client || s->tls_server;
}

int stream_fd(const struct stream *s)
{
    return s->read_fd >= 0 ? s->read_fd : s->write_fd;
}
