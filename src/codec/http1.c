#include "codec/http1.h"
#include <errno.h>
#include <stdio.h>

#define CHUNK_LINE_MAX 1024
#define TRAILERS_MAX 8192

size_t http1_head_end(struct str in, size_t *scanned)
{
    size_t i = 0;

    /* Empty lines in front of a request line are skipped (RFC 9112, 2.2). */
    while (i < 8 && i + 1 < in.n && in.p[i] == '\r' && in.p[i + 1] == '\n')
        i += 2;
    if (i < *scanned)
        i = *scanned;
    for (;;) {
        const char *lf = i < in.n ? memchr(in.p + i, '\n', in.n - i) : NULL;
        size_t at;

        if (!lf) {
            *scanned = in.n > i ? in.n : i;
            return 0;
        }
        at = (size_t)(lf - in.p);
        if (at + 1 < in.n && in.p[at + 1] == '\n')
            return at + 2; /* bare LF: refused by the parser */
        if (at + 2 < in.n && in.p[at + 1] == '\r' && in.p[at + 2] == '\n')
            return at + 3;
        if (at + 2 >= in.n) {
            *scanned = at;
            return 0;
        }
        i = at + 1;
    }
}

static bool is_token(unsigned char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           (c && strchr("!#$%&'*+-.^_`|~", c));
}

bool http1_name_ok(struct str name)
{
    for (size_t i = 0; i < name.n; i++)
        if (!is_token((unsigned char)name.p[i]))
            return false;
    return name.n > 0;
}

bool http1_value_ok(struct str value)
{
    for (size_t i = 0; i < value.n; i++) {
        unsigned char c = (unsigned char)value.p[i];

        if ((c < ' ' && c != '\t') || c == 0x7f)
            return false;
    }
    return true;
}

struct str http1_get(const struct http1_head *h, const char *name)
{
    for (size_t i = 0; i < h->headers_n; i++)
        if (str_ieq_z(h->headers[i].name, name))
            return h->headers[i].value;
    return STR_NULL;
}

static struct str trim_ows(struct str s)
{
    while (s.n && (s.p[0] == ' ' || s.p[0] == '\t'))
        s.p++, s.n--;
    while (s.n && (s.p[s.n - 1] == ' ' || s.p[s.n - 1] == '\t'))
        s.n--;
    return s;
}

/* Takes one line ended by CR LF off *rest; -HTTP1_BAD when it is ended otherwise. */
static int take_line(struct str *rest, struct str *line)
{
    const char *lf = memchr(rest->p, '\n', rest->n);
    size_t n;

    if (!lf || lf == rest->p || lf[-1] != '\r')
        return -HTTP1_BAD;
    n = (size_t)(lf - rest->p);
    *line = (struct str){rest->p, n - 1};
    rest->p += n + 1;
    rest->n -= n + 1;
    return memchr(line->p, '\r', line->n) ? -HTTP1_BAD : 0;
}

static int parse_headers(struct str rest, struct http1_head *h)
{
    for (;;) {
        struct str line, name, value;
        int r = take_line(&rest, &line);

        if (r < 0)
            return r;
        if (!line.n)
            return rest.n ? -HTTP1_BAD : 0;
        value = line;
        name = str_split(&value, ':');
        if (!value.p || !http1_name_ok(name)) /* folded lines and "name :" end here */
            return -HTTP1_BAD;
        value = trim_ows(value);
        if (!http1_value_ok(value))
            return -HTTP1_BAD;
        if (h->headers_n == HTTP1_HEADERS_MAX)
            return -HTTP1_TOO_LARGE;
        h->headers[h->headers_n++] = (struct http1_header){name, value};
    }
}

static int parse_version(struct str v, struct http1_head *h)
{
    if (v.n != 8 || memcmp(v.p, "HTTP/", 5) != 0 || v.p[6] != '.' || v.p[5] < '0' || v.p[5] > '9' ||
        v.p[7] < '0' || v.p[7] > '9')
        return -HTTP1_BAD;
    if (v.p[5] != '1')
        return -HTTP1_VERSION;
    h->minor = v.p[7] == '0' ? 0 : 1;
    return 0;
}

static bool list_has(struct str list, const char *token)
{
    while (list.p) {
        if (str_ieq_z(trim_ows(str_split(&list, ',')), token))
            return true;
    }
    return false;
}

/* Facts of the framing headers, each seen once. */
struct facts {
    bool length, coding, close, keep_alive, upgrade_token, upgrade;
    unsigned hosts;
};

static int note_header(struct http1_head *h, struct facts *f, const struct http1_header *x)
{
    if (str_ieq_z(x->name, "content-length")) {
        if (f->length || !x->value.n || str_to_u64(x->value, INT64_MAX, &h->length) < 0)
            return -HTTP1_BAD;
        for (size_t i = 0; i < x->value.n; i++)
            if (x->value.p[i] < '0' || x->value.p[i] > '9')
                return -HTTP1_BAD;
        f->length = true;
    } else if (str_ieq_z(x->name, "transfer-encoding")) {
        if (f->coding)
            return -HTTP1_BAD;
        f->coding = true;
        if (!str_ieq_z(x->value, "chunked"))
            return -HTTP1_NOT_IMPLEMENTED;
    } else if (str_ieq_z(x->name, "connection")) {
        f->close |= list_has(x->value, "close");
        f->keep_alive |= list_has(x->value, "keep-alive");
        f->upgrade_token |= list_has(x->value, "upgrade");
    } else if (str_ieq_z(x->name, "upgrade")) {
        f->upgrade = true;
    } else if (str_ieq_z(x->name, "expect")) {
        h->expect_continue = str_ieq_z(x->value, "100-continue");
    } else if (str_ieq_z(x->name, "host")) {
        f->hosts++;
    }
    return 0;
}

static int derive(struct http1_head *h, struct facts *f)
{
    for (size_t i = 0; i < h->headers_n; i++) {
        int r = note_header(h, f, &h->headers[i]);

        if (r < 0)
            return r;
    }
    if (f->length && f->coding)
        return -HTTP1_BAD;
    if (f->coding && h->minor == 0)
        return -HTTP1_BAD;
    h->framing = f->coding ? HTTP1_CHUNKED : f->length && h->length ? HTTP1_LENGTH : HTTP1_NONE;
    h->keep_alive = h->minor == 0 ? f->keep_alive && !f->close : !f->close;
    h->upgrade = f->upgrade && f->upgrade_token && h->minor == 1;
    if (h->minor == 0)
        h->expect_continue = false;
    return 0;
}

static bool target_ok(struct str t)
{
    for (size_t i = 0; i < t.n; i++)
        if ((unsigned char)t.p[i] <= ' ' || t.p[i] == 0x7f || t.p[i] == '#')
            return false;
    return t.n > 0;
}

int http1_parse_request(struct str head, struct http1_head *ret)
{
    struct facts f = {0};
    struct str line;
    int r;

    memset(ret, 0, offsetof(struct http1_head, headers));
    ret->headers_n = 0;
    ret->expect_continue = false;
    ret->length = 0;
    while (head.n > 1 && head.p[0] == '\r' && head.p[1] == '\n')
        head.p += 2, head.n -= 2;
    r = take_line(&head, &line);
    if (r < 0)
        return r;
    ret->method = str_split(&line, ' ');
    if (!line.p || !http1_name_ok(ret->method))
        return -HTTP1_BAD;
    ret->target = str_split(&line, ' ');
    if (!line.p || !target_ok(ret->target))
        return -HTTP1_BAD;
    r = parse_version(line, ret);
    if (r == 0)
        r = parse_headers(head, ret);
    if (r == 0)
        r = derive(ret, &f);
    if (r == 0 && (f.hosts > 1 || (f.hosts == 0 && ret->minor == 1)))
        r = -HTTP1_BAD;
    return r;
}

int http1_parse_response(struct str head, bool to_head, struct http1_head *ret)
{
    struct facts f = {0};
    struct str line;
    int64_t status;
    int r;

    memset(ret, 0, offsetof(struct http1_head, headers));
    ret->headers_n = 0;
    ret->expect_continue = false;
    ret->length = 0;
    r = take_line(&head, &line);
    if (r < 0)
        return r;
    r = parse_version(str_split(&line, ' '), ret);
    if (r < 0 || !line.p)
        return -HTTP1_BAD;
    if (str_to_i64(str_split(&line, ' '), 100, 999, &status) < 0)
        return -HTTP1_BAD;
    ret->status = (int)status;
    ret->reason = line.p ? line : STR_NULL;
    r = parse_headers(head, ret);
    if (r == 0)
        r = derive(ret, &f);
    if (r < 0)
        return -HTTP1_BAD;
    if (to_head || status < 200 || status == 204 || status == 304)
        ret->framing = HTTP1_NONE;
    else if (!f.length && !f.coding)
        ret->framing = HTTP1_CLOSE;
    if (ret->framing == HTTP1_CLOSE)
        ret->keep_alive = false;
    return 0;
}

/* bodies */

enum {
    CHUNK_SIZE,
    CHUNK_EXT,
    CHUNK_SIZE_LF,
    CHUNK_DATA,
    CHUNK_DATA_CR,
    CHUNK_DATA_LF,
    TRAILER,
    TRAILER_LINE,
    TRAILER_LINE_LF,
    TRAILER_END_LF
};

void http1_body_init(struct http1_body *b, const struct http1_head *h)
{
    *b = (struct http1_body){.framing = h->framing};
    b->left = h->framing == HTTP1_LENGTH ? h->length : 0;
    b->done = h->framing == HTTP1_NONE;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

static int size_char(struct http1_body *b, char c)
{
    int d = hex_digit(c);

    if (d >= 0) {
        if (b->left >> 59)
            return -HTTP1_BAD;
        b->left = b->left << 4 | (unsigned)d;
        return 0;
    }
    if (b->line_n <= 1) /* no digit at all */
        return -HTTP1_BAD;
    if (c == '\r')
        b->state = CHUNK_SIZE_LF;
    else if (c == ';' || c == ' ' || c == '\t')
        b->state = CHUNK_EXT;
    else
        return -HTTP1_BAD;
    return 0;
}

/* One byte of the chunk grammar outside data. */
static int chunk_char(struct http1_body *b, char c)
{
    bool bad = (unsigned char)c < ' ' && c != '\t' && c != '\r' && c != '\n';

    b->line_n++;
    if (bad || b->line_n > (b->state >= TRAILER ? TRAILERS_MAX : CHUNK_LINE_MAX))
        return -HTTP1_BAD;
    switch (b->state) {
    case CHUNK_SIZE:
        return size_char(b, c);
    case CHUNK_EXT:
        if (c == '\n')
            return -HTTP1_BAD;
        if (c == '\r')
            b->state = CHUNK_SIZE_LF;
        return 0;
    case CHUNK_SIZE_LF:
        b->state = b->left ? CHUNK_DATA : TRAILER;
        b->line_n = 0;
        return c == '\n' ? 0 : -HTTP1_BAD;
    case CHUNK_DATA_CR:
        b->state = CHUNK_DATA_LF;
        return c == '\r' ? 0 : -HTTP1_BAD;
    case CHUNK_DATA_LF:
        b->state = CHUNK_SIZE;
        b->line_n = 0;
        return c == '\n' ? 0 : -HTTP1_BAD;
    case TRAILER:
        b->state = c == '\r' ? TRAILER_END_LF : TRAILER_LINE;
        return c == '\r' || is_token((unsigned char)c) ? 0 : -HTTP1_BAD;
    case TRAILER_LINE:
        if (c == '\r')
            b->state = TRAILER_LINE_LF;
        return c == '\n' ? -HTTP1_BAD : 0;
    case TRAILER_LINE_LF:
        b->state = TRAILER;
        return c == '\n' ? 0 : -HTTP1_BAD;
    default: /* TRAILER_END_LF */
        b->done = true;
        return c == '\n' ? 0 : -HTTP1_BAD;
    }
}

static void take_data(struct http1_body *b, struct str in, size_t *used, struct str *data)
{
    size_t n = in.n - *used < b->left ? in.n - *used : (size_t)b->left;

    *data = (struct str){in.p + *used, n};
    *used += n;
    b->left -= n;
}

int http1_body_next(struct http1_body *b, struct str in, size_t *used, struct str *data)
{
    *used = 0;
    *data = STR_NULL;
    if (b->done)
        return 0;
    if (b->framing == HTTP1_CLOSE) {
        *data = in;
        *used = in.n;
        return 0;
    }
    if (b->framing == HTTP1_LENGTH) {
        take_data(b, in, used, data);
        b->done = b->left == 0;
        return 0;
    }
    while (*used < in.n && !b->done) {
        int r;

        if (b->state == CHUNK_DATA) {
            take_data(b, in, used, data);
            if (b->left == 0)
                b->state = CHUNK_DATA_CR;
            return 0;
        }
        r = chunk_char(b, in.p[(*used)++]);
        if (r < 0)
            return r;
    }
    return 0;
}

size_t http1_chunk_head(uint64_t n, char out[static 20])
{
    return (size_t)snprintf(out, 20, "%llx\r\n", (unsigned long long)n);
}
