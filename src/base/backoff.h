/* Exponential back-off with jitter, one implementation for everybody. */
#pragma once
#include <stdint.h>
struct backoff {
    int64_t first_ms, max_ms; /* set by the owner */
    int64_t current_ms;       /* 0 before the first failure */
};
/* Next delay in ms: doubles up to max, plus up to 20 % jitter. */
int64_t backoff_next_ms(struct backoff *b);
static inline void backoff_reset(struct backoff *b)
{
    b->current_ms = 0;
}
