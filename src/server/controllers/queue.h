/*
 * Work queue of keys: each key at most once, processed on the loop in the same turn it was added, a
 * failing key again later with exponential back-off (5 ms to 1000 s, as upstream's default
 * limiter). One timer serves all delayed keys of a queue.
 */
#pragma once
#include "base/map.h"
#include "loop/loop.h"

struct queue;
enum queue_verdict { QUEUE_DONE, QUEUE_RETRY };
typedef enum queue_verdict (*queue_fn)(struct queue *q, const char *key, void *arg);
struct queue {
    struct loop *loop;
    struct map items; /* key -> struct queue_item */
    struct list ready;
    struct loop_defer defer;
    struct loop_timer timer;
    int64_t timer_at_ns; /* 0: not armed */
    queue_fn fn;
    void *arg;
};
void queue_init(struct queue *q, struct loop *l, queue_fn fn, void *arg);
void queue_fini(struct queue *q);
/* Soon: in this turn's deferred phase. A key in back-off is pulled forward. */
void queue_add(struct queue *q, const char *key);
/* No later than delay_ms from now; an earlier time already set stays. */
void queue_add_after(struct queue *q, const char *key, int64_t delay_ms);
size_t queue_size(const struct queue *q);
