/* WebSocket frames from a client. */
#include "codec/ws.h"
static void on_message(struct ws *w, struct str data, bool binary, void *arg)
{
    (void)binary;
    (void)arg;
    (void)ws_send(w, STR("\x01"), data);
    buf_clear(ws_out(w));
}
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct ws_events ev = {.on_message = on_message};
    size_t step = size ? data[0] + 1u : 1, at = 1;
    struct ws *w = ws_new(&ev, NULL);
    while (at < size) {
        size_t n = size - at < step ? size - at : step;
        if (ws_feed(w, (struct str){(const char *)data + at, n}, NULL) < 0)
            break;
        at += n;
    }
    ws_free(w);
    return 0;
}
