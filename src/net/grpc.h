/*
 * gRPC over HTTP/2 on a unix socket, unary and server-streaming, on the loop (nghttp2 frames,
 * protobuf-c messages): what CRI needs, both sides. Follows the gRPC over HTTP/2 protocol document;
 * no compression. Messages are at most GRPC_MESSAGE_MAX bytes, calls a connection at most
 * GRPC_CALLS_MAX.
 */
#pragma once
#include "base/error.h"
#include "loop/loop.h"
#include <protobuf-c/protobuf-c.h>

#define GRPC_MESSAGE_MAX (16u << 20)
#define GRPC_CALLS_MAX 1000
enum grpc_code {
    GRPC_OK = 0,
    GRPC_CANCELLED = 1,
    GRPC_UNKNOWN = 2,
    GRPC_INVALID_ARGUMENT = 3,
    GRPC_DEADLINE_EXCEEDED = 4,
    GRPC_NOT_FOUND = 5,
    GRPC_ALREADY_EXISTS = 6,
    GRPC_PERMISSION_DENIED = 7,
    GRPC_RESOURCE_EXHAUSTED = 8,
    GRPC_FAILED_PRECONDITION = 9,
    GRPC_ABORTED = 10,
    GRPC_OUT_OF_RANGE = 11,
    GRPC_UNIMPLEMENTED = 12,
    GRPC_INTERNAL = 13,
    GRPC_UNAVAILABLE = 14,
};
const char *grpc_code_name(int code); /* "NotFound", as Go's status prints it */

/* ---- client ---- */
struct grpc_client;
struct grpc_call;
/* Connects when the first call is made and again after a loss. path is copied. */
struct grpc_client *grpc_client_new(struct loop *l, const char *unix_path);
/* To a numeric address, without TLS: what health checks of containers speak. */
struct grpc_client *grpc_client_new_tcp(struct loop *l, const char *address, uint16_t port);
/* Open calls end without calling back. Not from inside a callback of one of its calls. */
void grpc_client_free(struct grpc_client *c);
/* reply is NULL unless code is GRPC_OK, and is valid during the callback only. message is never
 * NULL. */
typedef void (*grpc_reply_fn)(int code, const char *message, const ProtobufCMessage *reply,
                              void *arg);
/* Starts a unary call; fn is called exactly once from the loop unless grpc_call_cancel came first.
 * request is encoded before return. deadline_ms 0 means 2 minutes, negative none. */
struct grpc_call *grpc_call_start(struct grpc_client *c, const char *method,
                                  const ProtobufCMessage *request,
                                  const ProtobufCMessageDescriptor *reply_type, int64_t deadline_ms,
                                  grpc_reply_fn fn, void *arg);
/* Server stream: on_message for each (valid during the call), then on_end once. No deadline. */
typedef void (*grpc_message_fn)(const ProtobufCMessage *message, void *arg);
typedef void (*grpc_end_fn)(int code, const char *message, void *arg);
struct grpc_call *grpc_stream_start(struct grpc_client *c, const char *method,
                                    const ProtobufCMessage *request,
                                    const ProtobufCMessageDescriptor *reply_type,
                                    grpc_message_fn on_message, grpc_end_fn on_end, void *arg);
void grpc_call_cancel(struct grpc_call *call); /* NULL accepted; not after its callback */

/* ---- server ---- */
struct grpc_server;
struct grpc_context; /* one call in progress */
/* request lives until the call is answered. Answer now or later with exactly one
 * grpc_reply/grpc_fail, or any number of grpc_send and one grpc_finish. */
typedef void (*grpc_handler_fn)(struct grpc_context *x, const ProtobufCMessage *request, void *arg);
/* Listens with the given permission bits; a dead socket is replaced. */
int grpc_server_new(struct loop *l, const char *unix_path, unsigned mode, struct grpc_server **ret,
                    struct error **err);
void grpc_server_free(
    struct grpc_server *s); /* contexts still open become dead: answering stays allowed */
/* Methods not registered answer Unimplemented. method is "/package.Service/Method" and is copied.
 */
void grpc_server_handle(struct grpc_server *s, const char *method,
                        const ProtobufCMessageDescriptor *request_type, grpc_handler_fn fn,
                        void *arg);
void grpc_reply(struct grpc_context *x, const ProtobufCMessage *reply);
void grpc_fail(struct grpc_context *x, int code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* As grpc_fail with the code that suits err's errno (ENOENT NotFound, EEXIST AlreadyExists, ...).
 */
void grpc_fail_error(struct grpc_context *x, const struct error *err);
/* Streaming; -EPIPE when the client is gone, -ENOBUFS when it reads too slowly (then finish). */
int grpc_send(struct grpc_context *x, const ProtobufCMessage *message);
void grpc_finish(struct grpc_context *x, int code, const char *message);
/* Called once if the client goes away before the answer; the answer is still owed. */
typedef void (*grpc_gone_fn)(struct grpc_context *x, void *arg);
void grpc_on_gone(struct grpc_context *x, grpc_gone_fn fn, void *arg);
const char *grpc_method(const struct grpc_context *x);
