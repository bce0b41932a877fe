#include "codec/spdy.h"
#include "base/cleanup.h"
#include "base/mem.h"
#include <errno.h>
#include <stdlib.h>
#include <zlib.h>

enum frame_type {
    SYN_STREAM = 1,
    SYN_REPLY = 2,
    RST_STREAM = 3,
    SETTINGS = 4,
    PING = 6,
    GOAWAY = 7,
    HEADERS = 8,
    WINDOW_UPDATE = 9
};
#define FLAG_FIN 1
#define HEADER_BYTES 8
#define WINDOW_ANNOUNCED (1u << 30)

/* The dictionary of draft 3: these words, each behind its 32-bit length, then the tail. */
static const char *const dictionary_words[] = {"options",
                                               "head",
                                               "post",
                                               "put",
                                               "delete",
                                               "trace",
                                               "accept",
                                               "accept-charset",
                                               "accept-encoding",
                                               "accept-language",
                                               "accept-ranges",
                                               "age",
                                               "allow",
                                               "authorization",
                                               "cache-control",
                                               "connection",
                                               "content-base",
                                               "content-encoding",
                                               "content-language",
                                               "content-length",
                                               "content-location",
                                               "content-md5",
                                               "content-range",
                                               "content-type",
                                               "date",
                                               "etag",
                                               "expect",
                                               "expires",
                                               "from",
                                               "host",
                                               "if-match",
                                               "if-modified-since",
                                               "if-none-match",
                                               "if-range",
                                               "if-unmodified-since",
                                               "last-modified",
                                               "location",
                                               "max-forwards",
                                               "pragma",
                                               "proxy-authenticate",
                                               "proxy-authorization",
                                               "range",
                                               "referer",
                                               "retry-after",
                                               "server",
                                               "te",
                                               "trailer",
                                               "transfer-encoding",
                                               "upgrade",
                                               "user-agent",
                                               "vary",
                                               "via",
                                               "warning",
                                               "www-authenticate",
                                               "method",
                                               "get",
                                               "status",
                                               "200 OK",
                                               "version",
                                               "HTTP/1.1",
                                               "url",
                                               "public",
                                               "set-cookie",
                                               "keep-alive",
                                               "origin"};
static const char dictionary_tail[] =
    "100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505"
    "203 Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request401 "
    "Unauthorized"
    "403 Forbidden404 Not Found500 Internal Server Error501 Not Implemented503 Service Unavailable"
    "Jan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, "
    "GMT"
    "chunked,text/html,image/png,image/jpg,image/gif,application/xml,application/xhtml+xml,text/"
    "plain,"
    "text/"
    "javascript,publicprivatemax-age=gzip,deflate,sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq="
    "0.";
#define DICTIONARY_BYTES 1423

struct spdy {
    const struct spdy_events *ev;
    void *arg;
    struct buf in, out;
    z_stream inflate, deflate;
    uint32_t next_id, next_ping;
    bool server, deflating, inflating, dead;
};

static void put32(unsigned char *p, uint32_t v)
{
    for (int i = 0; i < 4; i++)
        p[i] = (unsigned char)(v >> (24 - 8 * i));
}

static uint32_t get32(const char *at)
{
    const unsigned char *p = (const unsigned char *)at;

    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static void dictionary(struct buf *b)
{
    buf_init(b, DICTIONARY_BYTES);
    for (size_t i = 0; i < ARRAY_LEN(dictionary_words); i++) {
        unsigned char n[4];

        put32(n, (uint32_t)strlen(dictionary_words[i]));
        (void)buf_add(b, n, 4);
        (void)buf_add_z(b, dictionary_words[i]);
    }
    (void)buf_add(b, dictionary_tail, sizeof dictionary_tail - 1);
}

struct spdy *spdy_new(bool server, const struct spdy_events *ev, void *arg)
{
    struct spdy *s = xcalloc(1, sizeof *s);
    unsigned char settings[] = {0x80, 3, 0, SETTINGS, 0, 0, 0, 12, 0, 0,
                                0,    1, 0, 0,        0, 7, 0, 0,  0, 0};

    s->server = server;
    s->ev = ev;
    s->arg = arg;
    s->next_id = server ? 2 : 1;
    s->next_ping = server ? 2 : 1;
    buf_init(&s->in, SPDY_FRAME_MAX + HEADER_BYTES);
    buf_init(&s->out, SPDY_OUT_MAX);
    put32(settings + 16, WINDOW_ANNOUNCED);
    (void)buf_add(&s->out, settings, sizeof settings);
    return s;
}

void spdy_free(struct spdy *s)
{
    if (!s)
        return;
    if (s->inflating)
        (void)inflateEnd(&s->inflate);
    if (s->deflating)
        (void)deflateEnd(&s->deflate);
    buf_fini(&s->in);
    buf_fini(&s->out);
    free(s);
}

struct buf *spdy_out(struct spdy *s)
{
    return &s->out;
}

struct str spdy_header_get(const struct spdy_header *h, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (str_ieq_z(h[i].name, name))
            return h[i].value;
    return STR_NULL;
}

/* receiving */

static int inflate_block(struct spdy *s, struct str block, struct buf *out)
{
    int r;

    if (!s->inflating) {
        if (inflateInit(&s->inflate) != Z_OK)
            return -ENOMEM;
        s->inflating = true;
    }
    s->inflate.next_in = (unsigned char *)(uintptr_t)block.p;
    s->inflate.avail_in = (unsigned)block.n;
    do {
        char *to = buf_reserve(out, out->n < out->max - 1024 ? 1024 : out->max - out->n);

        if (!to || out->max == out->n)
            return -EMSGSIZE;
        s->inflate.next_out = (unsigned char *)to;
        s->inflate.avail_out = (unsigned)(out->max - out->n < 1024 ? out->max - out->n : 1024);
        unsigned room = s->inflate.avail_out;
        r = inflate(&s->inflate, Z_SYNC_FLUSH);
        if (r == Z_NEED_DICT) {
            struct buf d;

            dictionary(&d);
            r = inflateSetDictionary(&s->inflate, (unsigned char *)d.p, (unsigned)d.n);
            buf_fini(&d);
            if (r != Z_OK)
                return -EPROTO;
            continue;
        }
        buf_commit(out, room - s->inflate.avail_out);
        if (r != Z_OK && r != Z_BUF_ERROR)
            return -EPROTO;
    } while (s->inflate.avail_in || s->inflate.avail_out == 0);
    return 0;
}

static bool take_text(struct str *rest, struct str *ret)
{
    uint32_t n;

    if (rest->n < 4)
        return false;
    n = get32(rest->p);
    if (n > rest->n - 4)
        return false;
    *ret = (struct str){rest->p + 4, n};
    rest->p += 4 + n;
    rest->n -= 4 + n;
    return true;
}

static int cut_headers(struct str block, struct spdy_header *h, size_t *ret_n)
{
    uint32_t n;

    if (block.n < 4)
        return -EPROTO;
    n = get32(block.p);
    block.p += 4;
    block.n -= 4;
    if (n > SPDY_HEADERS_MAX)
        return -EMSGSIZE;
    for (uint32_t i = 0; i < n; i++)
        if (!take_text(&block, &h[i].name) || !take_text(&block, &h[i].value))
            return -EPROTO;
    *ret_n = n;
    return 0;
}

/* at: bytes before the compressed block: 10 for SYN_STREAM, 4 for SYN_REPLY and HEADERS. */
static int on_headers(struct spdy *s, enum frame_type type, bool fin, struct str p, size_t at)
{
    struct spdy_header h[SPDY_HEADERS_MAX];
    cleanup_buf struct buf plain = {.max = SPDY_HEADER_BYTES_MAX};
    uint32_t id;
    size_t n;
    int r;

    if (p.n < at)
        return -EPROTO;
    id = get32(p.p) & 0x7fffffff;
    r = inflate_block(s, (struct str){p.p + at, p.n - at}, &plain);
    if (r == 0)
        r = cut_headers(buf_str(&plain), h, &n);
    if (r < 0)
        return r;
    if (type == SYN_STREAM && (id == 0 || (id % 2 == 1) != s->server))
        return -EPROTO;
    if (type == SYN_STREAM && s->ev->on_stream)
        s->ev->on_stream(s, id, h, n, fin, s->arg);
    else if (type == SYN_REPLY && s->ev->on_reply)
        s->ev->on_reply(s, id, h, n, fin, s->arg);
    return 0;
}

static int on_ping(struct spdy *s, struct str p)
{
    unsigned char frame[12] = {0x80, 3, 0, PING, 0, 0, 0, 4};

    if (p.n != 4)
        return -EPROTO;
    if ((get32(p.p) % 2 == 1) != s->server) /* an answer to ours */
        return 0;
    memcpy(frame + 8, p.p, 4);
    return buf_add(&s->out, frame, sizeof frame);
}

static int control_frame(struct spdy *s, unsigned type, unsigned flags, struct str p)
{
    switch (type) {
    case SYN_STREAM:
        return on_headers(s, SYN_STREAM, flags & FLAG_FIN, p, 10);
    case SYN_REPLY:
        return on_headers(s, SYN_REPLY, flags & FLAG_FIN, p, 4);
    case HEADERS: /* keeps the compression state right; nobody here uses trailers */
        return on_headers(s, HEADERS, flags & FLAG_FIN, p, 4);
    case RST_STREAM:
        if (p.n != 8)
            return -EPROTO;
        if (s->ev->on_reset)
            s->ev->on_reset(s, get32(p.p) & 0x7fffffff, get32(p.p + 4), s->arg);
        return 0;
    case PING:
        return on_ping(s, p);
    case GOAWAY:
        if (s->ev->on_goaway)
            s->ev->on_goaway(s, s->arg);
        return 0;
    default: /* SETTINGS, WINDOW_UPDATE and what is not known are passed over, as the draft says */
        return 0;
    }
}

/* A data frame's bytes count against windows that were announced once; giving them back keeps
 * strict peers going. */
static int give_window(struct spdy *s, uint32_t id, size_t n)
{
    unsigned char frame[16] = {0x80, 3, 0, WINDOW_UPDATE, 0, 0, 0, 8};
    int r = 0;

    if (!n)
        return 0;
    put32(frame + 8, id);
    put32(frame + 12, (uint32_t)n);
    r = buf_add(&s->out, frame, sizeof frame);
    put32(frame + 8, 0);
    return r < 0 ? r : buf_add(&s->out, frame, sizeof frame);
}

static int one_frame(struct spdy *s, struct str frame)
{
    struct str payload = {frame.p + HEADER_BYTES, frame.n - HEADER_BYTES};
    uint32_t word = get32(frame.p);
    unsigned flags = (unsigned char)frame.p[4];

    if (!(word & 0x80000000u)) {
        if (s->ev->on_data)
            s->ev->on_data(s, word, payload, flags & FLAG_FIN, s->arg);
        return give_window(s, word, payload.n);
    }
    if ((word >> 16 & 0x7fff) != 3)
        return -EPROTO;
    return control_frame(s, word & 0xffff, flags, payload);
}

int spdy_feed(struct spdy *s, struct str bytes, struct error **err)
{
    while (bytes.n) {
        size_t need = HEADER_BYTES, length;
        int r;

        if (s->dead)
            return error_set(err, EPROTO, "the SPDY connection is broken");
        if (s->in.n >= HEADER_BYTES) {
            length = get32(s->in.p + 4) & 0xffffff;
            if (length > SPDY_FRAME_MAX) {
                s->dead = true;
                return error_set(err, EPROTO, "a SPDY frame of %zu bytes is over the limit",
                                 length);
            }
            need += length;
        }
        if (s->in.n < need) {
            size_t n = need - s->in.n < bytes.n ? need - s->in.n : bytes.n;

            (void)buf_add(&s->in, bytes.p, n);
            bytes.p += n;
            bytes.n -= n;
        }
        if (s->in.n < HEADER_BYTES || s->in.n < HEADER_BYTES + (get32(s->in.p + 4) & 0xffffff))
            continue;
        r = one_frame(s, buf_str(&s->in));
        buf_clear(&s->in);
        if (r < 0) {
            s->dead = true;
            return error_set(err, EPROTO,
                             r == -EMSGSIZE ? "a SPDY header block or queue is over its limit"
                                            : "not a valid SPDY/3.1 frame");
        }
    }
    return 0;
}

/* sending */

static int deflate_block(struct spdy *s, struct str plain, struct buf *out)
{
    if (!s->deflating) {
        struct buf d;

        if (deflateInit(&s->deflate, Z_BEST_SPEED) != Z_OK)
            return -ENOMEM;
        s->deflating = true;
        dictionary(&d);
        (void)deflateSetDictionary(&s->deflate, (unsigned char *)d.p, (unsigned)d.n);
        buf_fini(&d);
    }
    s->deflate.next_in = (unsigned char *)(uintptr_t)plain.p;
    s->deflate.avail_in = (unsigned)plain.n;
    do {
        char *to = buf_reserve(out, 4096);

        if (!to)
            return -EMSGSIZE;
        s->deflate.next_out = (unsigned char *)to;
        s->deflate.avail_out = 4096;
        (void)deflate(&s->deflate, Z_SYNC_FLUSH);
        buf_commit(out, 4096 - s->deflate.avail_out);
    } while (s->deflate.avail_out == 0);
    return 0;
}

static int send_headers(struct spdy *s, enum frame_type type, uint32_t id,
                        const struct spdy_header *h, size_t n, bool fin)
{
    cleanup_buf struct buf plain = {.max = SPDY_HEADER_BYTES_MAX}, packed = {.max = SPDY_FRAME_MAX};
    unsigned char word[18] = {0x80, 3, 0, (unsigned char)type};
    size_t at = type == SYN_STREAM ? 10 : 4;
    int r;

    put32(word + 8, (uint32_t)n);
    (void)buf_add(&plain, word + 8, 4);
    for (size_t i = 0; i < n; i++) {
        put32(word + 8, (uint32_t)h[i].name.n);
        (void)buf_add(&plain, word + 8, 4);
        (void)buf_add_str(&plain, h[i].name);
        put32(word + 8, (uint32_t)h[i].value.n);
        (void)buf_add(&plain, word + 8, 4);
        (void)buf_add_str(&plain, h[i].value);
    }
    if (plain.overflowed)
        return -EMSGSIZE;
    r = deflate_block(s, buf_str(&plain), &packed);
    if (r < 0)
        return r;
    put32(word + 4, (uint32_t)(packed.n + at));
    word[4] = fin ? FLAG_FIN : 0;
    put32(word + 8, id);
    r = buf_add(&s->out, word, HEADER_BYTES + at);
    return r < 0 ? r : buf_add_str(&s->out, buf_str(&packed));
}

uint32_t spdy_open(struct spdy *s, const struct spdy_header *h, size_t n, bool fin)
{
    uint32_t id = s->next_id;

    s->next_id += 2;
    (void)send_headers(s, SYN_STREAM, id, h, n, fin);
    return id;
}

int spdy_reply(struct spdy *s, uint32_t id, const struct spdy_header *h, size_t n, bool fin)
{
    return send_headers(s, SYN_REPLY, id, h, n, fin);
}

int spdy_data(struct spdy *s, uint32_t id, struct str data, bool fin)
{
    do {
        size_t n = data.n < 32768 ? data.n : 32768;
        unsigned char head[8];
        int r;

        put32(head, id);
        put32(head + 4, (uint32_t)n);
        head[4] = fin && n == data.n ? FLAG_FIN : 0;
        r = buf_add(&s->out, head, sizeof head);
        if (r == 0)
            r = buf_add(&s->out, data.p, n);
        if (r < 0)
            return r;
        if (n)
            data.p += n;
        data.n -= n;
    } while (data.n);
    return 0;
}

int spdy_reset(struct spdy *s, uint32_t id, uint32_t status)
{
    unsigned char frame[16] = {0x80, 3, 0, RST_STREAM, 0, 0, 0, 8};

    put32(frame + 8, id);
    put32(frame + 12, status);
    return buf_add(&s->out, frame, sizeof frame);
}

int spdy_ping(struct spdy *s)
{
    unsigned char frame[12] = {0x80, 3, 0, PING, 0, 0, 0, 4};

    put32(frame + 8, s->next_ping);
    s->next_ping += 2;
    return buf_add(&s->out, frame, sizeof frame);
}

int spdy_goaway(struct spdy *s)
{
    unsigned char frame[16] = {0x80, 3, 0, GOAWAY, 0, 0, 0, 8};

    return buf_add(&s->out, frame, sizeof frame);
}
