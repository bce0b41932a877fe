/* A blob as a stream: curl pushes, the unpacker pulls. Breaks are mended by asking for the rest. */
#include "base/mem.h"
#include "engine/image/registry_private.h"
#include <errno.h>
#include <time.h>

#define IN_MAX (1u << 20) /* bytes ahead of the unpacker */
#define ATTEMPTS_MAX 5    /* in a row without a byte, at one endpoint */

struct blob_stream {
    struct source source;
    struct registry *r;
    CURLM *multi;
    CURL *curl;
    struct curl_slist *headers;
    struct answer answer;
    char *path, *digest;
    uint64_t size, got, skip; /* skip: of an answer that began at 0 again */
    struct buf in, out, said; /* said: body of an error answer */
    size_t endpoint, endpoints_tried;
    unsigned attempts;
    bool running, begun, paused, bad_range, signed_in, end;
    char detail[CURL_ERROR_SIZE];
};

/* First byte of a body: does it begin where we need it to? */
static void body_begins(struct blob_stream *b)
{
    b->begun = true;
    curl_easy_getinfo(b->curl, CURLINFO_RESPONSE_CODE, &b->answer.status);
    if (b->answer.status == 200)
        b->skip = b->got;
    else if (b->answer.status == 206)
        b->bad_range = b->answer.range_start != (int64_t)b->got;
}

static size_t on_piece(char *p, size_t size, size_t n, void *arg)
{
    struct blob_stream *b = arg;
    size_t all = n;

    if (!b->begun)
        body_begins(b);
    if (b->bad_range)
        return 0;
    if (b->answer.status != 200 && b->answer.status != 206) {
        (void)buf_add(&b->said, p, n);
        return n;
    }
    if (b->skip) {
        size_t drop = b->skip < n ? (size_t)b->skip : n;
        b->skip -= drop;
        p += drop;
        n -= drop;
    }
    if (b->in.n && b->in.n + n > IN_MAX) {
        /* a paused piece comes again whole */
        b->skip += all - n;
        b->paused = true;
        return CURL_WRITEFUNC_PAUSE;
    }
    (void)buf_add(&b->in, p, n);
    if (n)
        b->attempts = 0;
    b->got += n;
    return all;
}

static void stream_start(struct blob_stream *b)
{
    struct endpoint *ep = &b->r->v[b->endpoint];
    char range[40];

    b->begun = b->paused = b->bad_range = false;
    b->skip = 0;
    b->detail[0] = 0;
    buf_clear(&b->said);
    answer_fini(&b->answer);
    b->headers = registry_setup(b->r, ep, b->curl, b->path, false, &b->answer);
    curl_easy_setopt(b->curl, CURLOPT_WRITEFUNCTION, on_piece);
    curl_easy_setopt(b->curl, CURLOPT_WRITEDATA, b);
    curl_easy_setopt(b->curl, CURLOPT_BUFFERSIZE, 256 * 1024L);
    curl_easy_setopt(b->curl, CURLOPT_ERRORBUFFER, b->detail);
    if (b->got) {
        (void)snprintf(range, sizeof(range), "%llu-", (unsigned long long)b->got);
        curl_easy_setopt(b->curl, CURLOPT_RANGE, range);
    }
    curl_multi_add_handle(b->multi, b->curl);
    b->running = true;
}

static void stream_stop(struct blob_stream *b)
{
    curl_multi_remove_handle(b->multi, b->curl);
    curl_slist_free_all(b->headers);
    b->headers = NULL;
    b->running = false;
}

static void wait_a_little(unsigned attempt)
{
    long ms = 100L << (attempt < 5 ? attempt : 5);
    struct timespec t = {ms / 1000, (ms % 1000) * 1000000L};

    (void)nanosleep(&t, NULL);
}

static int give_up(struct blob_stream *b, CURLcode code, struct error **err)
{
    cleanup_free char *url = endpoint_url(b->r, &b->r->v[b->endpoint], b->path);

    if (b->bad_range)
        return error_set(err, EPROTO,
                         "%s: the registry answers with another range than was asked for", url);
    if (code != CURLE_OK)
        return registry_curl_error(b->r, code, b->detail, url, err);
    if (b->answer.status == 200 || b->answer.status == 206)
        return error_set(err, EPROTO, "layer %s: only %llu of %llu bytes came", b->digest,
                         (unsigned long long)b->got, (unsigned long long)b->size);
    return registry_status_error(b->r, b->answer.status, buf_str(&b->said), url, err);
}

/* A transfer ended. 0: go on (it was begun anew, or all is there). */
static int transfer_ended(struct blob_stream *b, CURLcode code, struct error **err)
{
    struct endpoint *ep = &b->r->v[b->endpoint];

    if (!b->begun)
        body_begins(b);
    bool ok =
        code == CURLE_OK && !b->bad_range && (b->answer.status == 200 || b->answer.status == 206);
    if (ok && (!b->size || b->got >= b->size)) {
        b->end = true;
        return 0;
    }
    if (code != CURLE_OK && registry_go_plain(ep, code)) {
        stream_start(b);
        return 0;
    }
    if (code == CURLE_OK && b->answer.status == 401 && !b->signed_in &&
        b->answer.challenge.scheme != CHALLENGE_NONE) {
        b->signed_in = true;
        int e = registry_authorize(b->r, ep, &b->answer.challenge, err);
        if (e == 0)
            stream_start(b);
        if (e <= 0)
            return e;
    }
    bool final = code == CURLE_OK && b->answer.status >= 400 && b->answer.status < 500 &&
                 b->answer.status != 408 && b->answer.status != 429;
    if (++b->attempts >= ATTEMPTS_MAX || final) {
        if (++b->endpoints_tried >= b->r->n)
            return give_up(b, code, err);
        b->endpoint = (b->endpoint + 1) % b->r->n;
        b->attempts = 0;
        b->signed_in = false;
    } else {
        wait_a_little(b->attempts);
    }
    stream_start(b);
    return 0;
}

static int pump(struct blob_stream *b, struct error **err)
{
    CURLMsg *m;
    int left;

    if (b->paused) {
        b->paused = false;
        curl_easy_pause(b->curl, CURLPAUSE_CONT);
    }
    if (curl_multi_perform(b->multi, &left) != CURLM_OK)
        return error_set(err, EIO, "libcurl gave up");
    while ((m = curl_multi_info_read(b->multi, &left)))
        if (m->msg == CURLMSG_DONE) {
            CURLcode code = m->data.result;
            stream_stop(b);
            return transfer_ended(b, code, err);
        }
    if (!b->in.n)
        (void)curl_multi_poll(b->multi, NULL, 0, 1000, NULL);
    return 0;
}

static ssize_t blob_stream_read(struct source *s, const void **ret, struct error **err)
{
    struct blob_stream *b = container_of(s, struct blob_stream, source);

    while (!b->in.n && !b->end) {
        int e = pump(b, err);
        if (e < 0)
            return e;
    }
    if (b->size && b->got > b->size)
        return error_set(err, EBADMSG, "layer %s: more bytes come than the %llu announced",
                         b->digest, (unsigned long long)b->size);
    struct buf full = b->in;
    b->in = b->out;
    b->out = full;
    buf_clear(&b->in);
    *ret = b->out.p;
    return (ssize_t)b->out.n;
}

int registry_blob_open(struct registry *r, const char *digest, uint64_t size, struct source **ret,
                       struct error **err)
{
    struct blob_stream *b = xcalloc(1, sizeof(*b));

    *b = (struct blob_stream){.source.read = blob_stream_read,
                              .r = r,
                              .size = size,
                              .endpoint = r->first,
                              .path = xasprintf("blobs/%s", digest),
                              .digest = xstrdup(digest),
                              .answer.range_start = -1};
    buf_init(&b->in, 4 * IN_MAX);
    buf_init(&b->out, 4 * IN_MAX);
    buf_init(&b->said, 64 * 1024);
    r->curl = curl_easy_init(); /* the old one's connection is the parent process's */
    b->multi = curl_multi_init();
    b->curl = curl_easy_init();
    if (!b->multi || !b->curl || !r->curl)
        return error_set(err, ENOMEM, "libcurl cannot begin");
    stream_start(b);
    *ret = &b->source;
    return 0;
}
