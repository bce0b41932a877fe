#include "net/grpc_frame.h"
#include "base/mem.h"
#include "net/grpc.h"
#include <errno.h>
#include <stdlib.h>

#define WINDOW_BYTES (1 << 20)

int grpc_frame_add(struct buf *b, const ProtobufCMessage *m)
{
    size_t n = protobuf_c_message_get_packed_size(m);
    uint8_t *to;

    if (n > GRPC_MESSAGE_MAX)
        return -EMSGSIZE;
    to = (uint8_t *)buf_reserve(b, n + 5);
    if (!to)
        return -EMSGSIZE;
    to[0] = 0;
    for (int i = 0; i < 4; i++)
        to[1 + i] = (uint8_t)(n >> (24 - 8 * i));
    (void)protobuf_c_message_pack(m, to + 5);
    buf_commit(b, n + 5);
    return 0;
}

int grpc_frame_next(const struct buf *b, struct str *ret, size_t *ret_used)
{
    const uint8_t *p = (const uint8_t *)b->p;
    size_t n;

    if (b->n < 5)
        return 0;
    if (p[0] != 0)
        return -EINVAL;
    n = (size_t)p[1] << 24 | (size_t)p[2] << 16 | (size_t)p[3] << 8 | p[4];
    if (n > GRPC_MESSAGE_MAX)
        return -EMSGSIZE;
    if (b->n < n + 5)
        return 0;
    *ret = (struct str){b->p + 5, n};
    *ret_used = n + 5;
    return 1;
}

char *grpc_message_decode(struct str s)
{
    struct buf b;

    buf_init(&b, s.n);
    if (buf_add_url_unescaped(&b, s, false) < 0) {
        buf_fini(&b);
        return str_dup(s);
    }
    return buf_take(&b);
}

void grpc_message_encode(struct buf *b, const char *text)
{
    for (; *text; text++) {
        if (*text >= ' ' && *text <= '~' && *text != '%')
            (void)buf_add_char(b, *text);
        else
            (void)buf_printf(b, "%%%02X", (unsigned char)*text);
    }
}

nghttp2_option *grpc_session_option(void)
{
    nghttp2_option *o;

    if (nghttp2_option_new(&o) != 0)
        abort();
    nghttp2_option_set_no_closed_streams(o, 1);
    nghttp2_option_set_peer_max_concurrent_streams(o, 100);
    return o;
}

void grpc_session_windows(nghttp2_session *s)
{
    nghttp2_settings_entry e[] = {
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, WINDOW_BYTES},
        {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, GRPC_CALLS_MAX},
    };

    (void)nghttp2_submit_settings(s, NGHTTP2_FLAG_NONE, e, 2);
    (void)nghttp2_session_set_local_window_size(s, NGHTTP2_FLAG_NONE, 0, WINDOW_BYTES);
}
