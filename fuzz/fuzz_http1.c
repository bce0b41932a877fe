/* HTTP/1.1 heads and bodies as both roles read them; URLs and queries. The first byte chooses. */
#include "codec/http1.h"
#include "codec/url.h"
#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* The result must not depend on how the bytes were cut. */
static int decode(struct str in, size_t step, size_t *total)
{
    struct http1_body b = {.framing = HTTP1_CHUNKED};
    size_t at = 0;

    *total = 0;
    while (at < in.n && !b.done) {
        size_t used, k = in.n - at < step ? in.n - at : step;
        struct str piece;

        if (http1_body_next(&b, (struct str){in.p + at, k}, &used, &piece) < 0)
            return -1;
        assert(used > 0 && used <= k && piece.n <= used);
        *total += piece.n;
        at += used;
    }
    return b.done;
}

static void heads(struct str in, bool response)
{
    struct http1_head h;
    size_t scanned = 0, once = 0, whole = http1_head_end(in, &once), n = 0;

    for (size_t i = 1; i <= in.n && !n; i++)
        n = http1_head_end((struct str){in.p, i}, &scanned);
    assert(n == whole);
    if (!n)
        return;
    if ((response ? http1_parse_response((struct str){in.p, n}, false, &h)
                  : http1_parse_request((struct str){in.p, n}, &h)) == 0)
        for (size_t i = 0; i < h.headers_n; i++)
            assert(http1_name_ok(h.headers[i].name) && http1_value_ok(h.headers[i].value));
}

static void urls(struct str in)
{
    struct str segs[16], key, value, rest = in, out;
    struct arena a;
    struct url u;
    size_t n;

    arena_init(&a, 0);
    (void)url_parse(in, &u);
    (void)url_segments(&a, in, segs, 16, &n);
    while (url_query_next(&rest, &key, &value))
        (void)url_decode(&a, value, true, &out);
    arena_fini(&a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct str in = {(const char *)data + 1, n - 1};
    size_t a, b;

    if (!n)
        return 0;
    switch (data[0] & 3) {
    case 0:
    case 1:
        heads(in, data[0] & 1);
        break;
    case 2:
        assert(decode(in, in.n + 1, &a) == decode(in, 1, &b));
        break;
    default:
        urls(in);
        break;
    }
    return 0;
}
