/*
 * HTTP/1.1 messages (RFC 9112), sans-IO: heads and body framing, for servers and clients. Strict
 * where leniency lets two parties disagree about where a message ends: bare CR or LF, folded
 * headers, white space before the colon, two lengths, a length beside a transfer coding and codings
 * other than chunked are refused. Slices point into the caller's bytes.
 */
#pragma once
#include "base/buf.h"
#include "base/str.h"
#include <stdbool.h>

struct http1_header {
    struct str name, value;
};
#define HTTP1_HEADERS_MAX 128

enum http1_framing {
    HTTP1_NONE,    /* no body */
    HTTP1_LENGTH,  /* http1_head.length bytes */
    HTTP1_CHUNKED, /* until the last chunk */
    HTTP1_CLOSE,   /* responses only: until the connection ends */
};

struct http1_head {
    struct str method, target; /* requests */
    int status;                /* responses */
    struct str reason;
    int minor; /* HTTP/1.x */
    struct http1_header headers[HTTP1_HEADERS_MAX];
    size_t headers_n;
    /* derived */
    enum http1_framing framing;
    uint64_t length;
    bool keep_alive;
    bool expect_continue;
    bool upgrade; /* Connection: upgrade with an Upgrade header */
};

/* What to answer when parsing fails. */
enum http1_error {
    HTTP1_BAD = 400,
    HTTP1_TOO_LARGE = 431,
    HTTP1_NOT_IMPLEMENTED = 501, /* transfer coding other than chunked */
    HTTP1_VERSION = 505,
};

/* Length of the head at the front of in, blank line included; 0: more bytes are needed. *scanned
 * (start with 0) remembers how far was looked. Empty lines before a request line are part of the
 * length. */
size_t http1_head_end(struct str in, size_t *scanned);
/* Parses a whole head. 0, or a negative enum http1_error. head_request: HTTP/1.1 answer to HEAD has
 * no body. */
int http1_parse_request(struct str head, struct http1_head *ret);
int http1_parse_response(struct str head, bool to_head, struct http1_head *ret);
struct str http1_get(const struct http1_head *h, const char *name);

/* Body decoder */
struct http1_body {
    enum http1_framing framing;
    uint64_t left;   /* of the length or of this chunk */
    uint8_t state;   /* of the chunk grammar */
    uint16_t line_n; /* bytes of the current chunk line or of all trailers: bounded */
    bool done;
};
void http1_body_init(struct http1_body *b, const struct http1_head *h);
/* Decodes a piece of in: *used bytes are consumed and *data (a slice of in, perhaps empty) is body.
 * Call until used is 0 or done. Returns 0 or -HTTP1_BAD. */
int http1_body_next(struct http1_body *b, struct str in, size_t *used, struct str *data);

/* A name or value that may be sent: token characters; no CR, LF, NUL. */
bool http1_name_ok(struct str name);
bool http1_value_ok(struct str value);
/* "1a\r\n" in front of a chunk; out has room for 20. Returns its length. */
size_t http1_chunk_head(uint64_t n, char out[static 20]);
