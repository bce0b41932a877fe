/*
 * What engine and worker say to each other over a SOCK_SEQPACKET pair: one JSON object a packet, at
 * most MESSAGE_MAX bytes. The engine sends one request; the worker (and its children) send progress
 * and images, and last either "done" or an error. Pure text.
 */
#pragma once
#include "engine/image/store_private.h"

#define MESSAGE_MAX (64u * 1024)
enum message_type { MESSAGE_PROGRESS, MESSAGE_IMAGE, MESSAGE_ERROR, MESSAGE_DONE };
struct worker_message {
    enum message_type type;
    char *id, *status;          /* progress */
    uint64_t current, total;    /* progress */
    struct image_record record; /* image */
    char *digest;               /* image: what the name resolved to; may be NULL */
    int code;                   /* error: errno */
    char *text;                 /* error */
};
int worker_message_parse(struct str packet, struct worker_message *ret, struct error **err);
void worker_message_fini(struct worker_message *m);
void worker_message_progress(struct buf *b, const char *id, const char *status, uint64_t current,
                             uint64_t total);
void worker_message_image(struct buf *b, const struct image_record *r, const char *digest);
void worker_message_error(struct buf *b, int code, const char *text);
void worker_message_done(struct buf *b);

struct worker_request {
    char *op; /* "pull" or "load" */
    char *root, *tmp, *ref, *platform, *certs_dir, *boot;
    struct image_strings mirrors, insecure;
    int64_t parallel, stall_ms;
    char *username, *password, *identity_token, *registry_token; /* NULL when absent */
};
void worker_request_write(const struct worker_request *q, struct buf *b);
int worker_request_parse(struct str packet, struct worker_request *ret, struct error **err);
void worker_request_fini(struct worker_request *q);
