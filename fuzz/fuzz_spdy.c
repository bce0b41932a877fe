/* SPDY frames as a client might send them, in pieces whose size the first byte chooses. */
#include "codec/spdy.h"
static void on_stream(struct spdy *s, uint32_t id, const struct spdy_header *h, size_t n, bool fin,
                      void *arg)
{
    (void)arg;
    (void)spdy_header_get(h, n, "streamtype");
    (void)spdy_reply(s, id, NULL, 0, fin);
}
static void on_data(struct spdy *s, uint32_t id, struct str data, bool fin, void *arg)
{
    (void)arg;
    (void)spdy_data(s, id, data, fin);
    buf_clear(spdy_out(s));
}
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct spdy_events ev = {.on_stream = on_stream, .on_data = on_data};
    size_t step = size ? data[0] + 1u : 1, at = 1;
    struct spdy *s = spdy_new(true, &ev, NULL);
    while (at < size) {
        size_t n = size - at < step ? size - at : step;
        if (spdy_feed(s, (struct str){(const char *)data + at, n}, NULL) < 0)
            break;
        at += n;
    }
    spdy_free(s);
    return 0;
}
