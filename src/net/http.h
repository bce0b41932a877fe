/* Types and words that HTTP server and client share. Header names compare case-insensitively. */
#pragma once
#include "base/buf.h"
#include "base/error.h"
#include "base/str.h"
#include <stdbool.h>

struct http_header {
    struct str name, value;
};
struct http_headers {
    const struct http_header *v;
    size_t n;
};
/* First header of that name, or {NULL,0}. */
struct str http_headers_get(struct http_headers h, const char *name);
bool http_headers_has(struct http_headers h, const char *name);
/* True when a comma-separated header (all its occurrences) holds the token, compared
 * case-insensitively. */
bool http_headers_has_token(struct http_headers h, const char *name, const char *token);

const char *http_status_text(int status); /* "Not Found"; "Unknown" for others */
/* Media type without parameters equals? `value` is a Content-Type. */
bool http_content_type_is(struct str value, const char *type);
/* One entry of an Accept header matches type with q > 0 (wildcards too); an empty header accepts
 * all. */
bool http_accepts(struct str accept, const char *type);
