/*
 * SPDY/3.1 framing, one side of one connection, without descriptors or clocks: what kubectl and the
 * kubelet's streaming clients speak behind "Upgrade: SPDY/3.1". Bytes go in through spdy_feed,
 * events come out, bytes to send gather in a buffer. Draft 3.1 of the SPDY protocol; flow control
 * windows are announced wide and not enforced, as the peers in the field do, so a sender bounds
 * what it queues. Headers are compressed with the SPDY/3 dictionary.
 */
#pragma once
#include "base/buf.h"
#include "base/error.h"

#define SPDY_HEADERS_MAX 64
#define SPDY_HEADER_BYTES_MAX (64u << 10) /* one decompressed header block */
#define SPDY_FRAME_MAX (1u << 20)         /* one frame's payload */
#define SPDY_OUT_MAX (8u << 20)           /* bytes waiting to be sent */
enum {
    SPDY_RST_PROTOCOL_ERROR = 1,
    SPDY_RST_INVALID_STREAM = 2,
    SPDY_RST_REFUSED_STREAM = 3,
    SPDY_RST_CANCEL = 5
};

struct spdy_header {
    struct str name, value;
};
struct spdy;
/* Any member may be NULL. Slices are valid during the call. None may free the spdy. */
struct spdy_events {
    void (*on_stream)(struct spdy *s, uint32_t id, const struct spdy_header *h, size_t n, bool fin,
                      void *arg);
    void (*on_reply)(struct spdy *s, uint32_t id, const struct spdy_header *h, size_t n, bool fin,
                     void *arg);
    void (*on_data)(struct spdy *s, uint32_t id, struct str data, bool fin, void *arg);
    void (*on_reset)(struct spdy *s, uint32_t id, uint32_t status, void *arg);
    void (*on_goaway)(struct spdy *s, void *arg);
};
/* lifecycle */
struct spdy *spdy_new(bool server, const struct spdy_events *ev, void *arg);
void spdy_free(struct spdy *s); /* NULL accepted */
/* Takes all bytes. -EPROTO: the connection must be closed; err says why. */
int spdy_feed(struct spdy *s, struct str bytes, struct error **err);
/* Bytes to send; the caller takes them with buf_consume or buf_clear. */
struct buf *spdy_out(struct spdy *s);

/* sending; -EMSGSIZE when more than SPDY_OUT_MAX wait */
uint32_t spdy_open(struct spdy *s, const struct spdy_header *h, size_t n,
                   bool fin); /* new stream's id */
int spdy_reply(struct spdy *s, uint32_t id, const struct spdy_header *h, size_t n, bool fin);
int spdy_data(struct spdy *s, uint32_t id, struct str data, bool fin);
int spdy_reset(struct spdy *s, uint32_t id, uint32_t status);
int spdy_ping(struct spdy *s);
int spdy_goaway(struct spdy *s);
/* Value of a header by lower-case name; {NULL,0} when absent. */
struct str spdy_header_get(const struct spdy_header *h, size_t n, const char *name);
