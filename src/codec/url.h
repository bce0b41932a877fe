/*
 * URLs and percent-encoding: base URLs of clients, paths and queries of requests. Pure; strings are
 * borrowed from the input or put into the caller's arena.
 */
#pragma once
#include "base/arena.h"
#include "base/str.h"
#include <stdbool.h>

struct url {
    struct str scheme; /* as written: "https", "http", "unix" */
    struct str host;   /* without brackets; empty for unix */
    uint16_t port;     /* written or the scheme's default */
    struct str path;   /* from the first '/', without query; for unix the socket's path */
    struct str query;  /* without '?' */
};
/* scheme://host[:port][/path][?query]; user info and fragments are refused. -EINVAL. */
int url_parse(struct str text, struct url *ret);

/* Decodes %XX; bytes that are NUL are refused. -EINVAL. Without a '%' (or '+') the input itself
 * comes back. */
int url_decode(struct arena *a, struct str s, bool plus_is_space, struct str *ret);

/* Splits a path at '/' and decodes; empty segments are left out. -EINVAL for bad escapes and for
 * segments that are or decode to "." or "..", -E2BIG over max. */
int url_segments(struct arena *a, struct str path, struct str *out, size_t max, size_t *ret_n);

/* Next key=value of a query, undecoded. False at the end. */
bool url_query_next(struct str *rest, struct str *ret_key, struct str *ret_value);
