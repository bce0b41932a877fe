/* Monotonic and wall time as different types; RFC 3339 and Go durations. Nanosecond resolution. */
#pragma once
#include "base/str.h"
struct mono {
    int64_t ns;
};
struct wall {
    int64_t ns; /* since 1970-01-01T00:00:00Z */
};
#define NSEC_PER_SEC 1000000000LL
#define NSEC_PER_MSEC 1000000LL
struct mono mono_now(void);
struct wall wall_now(void);
static inline int64_t mono_ms_since(struct mono t)
{
    return (mono_now().ns - t.ns) / NSEC_PER_MSEC;
}
#define WALL_TEXT 40
/* "2026-11-23T21:44:36Z" */
void wall_format(struct wall t, char out[static WALL_TEXT]);
/* "2026-11-23T21:44:36.123456Z" (MicroTime) */
void wall_format_micro(struct wall t, char out[static WALL_TEXT]);
/* "2026-11-23T21:44:36.123456789Z" (CRI log, RFC3339Nano with all nine digits) */
void wall_format_nano(struct wall t, char out[static WALL_TEXT]);
int wall_parse(struct str s, struct wall *ret); /* RFC 3339 with any offset; -EINVAL */
/* Go duration: "1h2m3.5s", "300ms", "-1s", "0"; -EINVAL, -ERANGE. */
int duration_parse(struct str s, int64_t *ret_ns);
/* As Go prints it: "1m0s", "300ms". */
void duration_format(int64_t ns, char out[static WALL_TEXT]);
/* As kubectl prints ages: "5s", "3m20s", "2d". */
void duration_format_human(int64_t ns, char out[static WALL_TEXT]);
