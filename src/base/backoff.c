#include "base/backoff.h"
#include "base/random.h"

int64_t backoff_next_ms(struct backoff *b)
{
    int64_t jitter;

    if (b->current_ms <= 0)
        b->current_ms = b->first_ms > 0 ? b->first_ms : 1;
    else
        b->current_ms *= 2;
    if (b->current_ms > b->max_ms)
        b->current_ms = b->max_ms;
    jitter = b->current_ms / 5;
    return b->current_ms + (jitter > 0 ? (int64_t)random_below((uint64_t)jitter + 1) : 0);
}
