/* gRPC's length-prefixed messages and protobuf-c packing; shared by client and server. */
#pragma once
#include "base/buf.h"
#include <nghttp2/nghttp2.h>
#include <protobuf-c/protobuf-c.h>
/* Appends one framed message; -EMSGSIZE when over the bound. */
int grpc_frame_add(struct buf *b, const ProtobufCMessage *m);
/* Takes one whole message off the front of b: 1 and *ret (payload inside b, *ret_used bytes in
 * all); 0 when more bytes are needed; -EINVAL compressed, -EMSGSIZE too large. */
int grpc_frame_next(const struct buf *b, struct str *ret, size_t *ret_used);
/* Percent decoding of grpc-message. Owned. */
char *grpc_message_decode(struct str s);
void grpc_message_encode(struct buf *b, const char *text);
#define GRPC_NV(k, v, vn)                                                                          \
    (nghttp2_nv)                                                                                   \
    {                                                                                              \
        (uint8_t *)(k), (uint8_t *)(v), sizeof(k) - 1, (vn), NGHTTP2_NV_FLAG_NONE                  \
    }
/* Options every session has: no closed streams kept, automatic window updates. */
nghttp2_option *grpc_session_option(void);
void grpc_session_windows(nghttp2_session *s); /* SETTINGS and a wide connection window */
