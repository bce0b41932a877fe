#include "server/controllers/queue.h"
#include "base/backoff.h"
#include "base/mem.h"

#define QUEUE_BATCH 64 /* keys per turn, so that requests are served in between */

struct queue_item {
    struct list link; /* in ready, or not linked */
    struct backoff backoff;
    int64_t due_ns; /* 0: no delayed run wanted */
    char key[];
};

static void queue_run(struct loop_defer *d);
static void queue_timer(struct loop_timer *t);

void queue_init(struct queue *q, struct loop *l, queue_fn fn, void *arg)
{
    *q = (struct queue){.loop = l, .fn = fn, .arg = arg};
    map_init(&q->items);
    list_init(&q->ready);
}

void queue_fini(struct queue *q)
{
    if (!q->loop)
        return;
    loop_defer_stop(&q->defer);
    loop_timer_stop(&q->timer);
    map_fini(&q->items, free);
    list_init(&q->ready);
    q->loop = NULL;
}

static struct queue_item *queue_need(struct queue *q, const char *key)
{
    struct queue_item *it = map_get(&q->items, key);

    if (!it) {
        size_t n = strlen(key) + 1;

        it = xcalloc(1, sizeof(*it) + n);
        memcpy(it->key, key, n);
        it->backoff = (struct backoff){.first_ms = 5, .max_ms = 1000 * 1000};
        map_set(&q->items, key, it);
    }
    return it;
}

void queue_add(struct queue *q, const char *key)
{
    struct queue_item *it = queue_need(q, key);

    if (list_linked(&it->link))
        return;
    list_add_tail(&q->ready, &it->link);
    loop_defer_start(q->loop, &q->defer, queue_run);
}

static void queue_arm(struct queue *q)
{
    int64_t first = 0, now = mono_now().ns;
    struct map_entry *e;
    size_t at = 0;

    while ((e = map_next(&q->items, &at))) {
        const struct queue_item *it = e->value;

        if (it->due_ns && (!first || it->due_ns < first))
            first = it->due_ns;
    }
    q->timer_at_ns = first;
    if (!first)
        loop_timer_stop(&q->timer);
    else
        loop_timer_start(q->loop, &q->timer,
                         first > now ? (first - now + NSEC_PER_MSEC - 1) / NSEC_PER_MSEC : 0,
                         queue_timer);
}

void queue_add_after(struct queue *q, const char *key, int64_t delay_ms)
{
    struct queue_item *it = queue_need(q, key);
    int64_t due = mono_now().ns + delay_ms * NSEC_PER_MSEC;

    if (it->due_ns && it->due_ns <= due)
        return;
    it->due_ns = due;
    if (!q->timer_at_ns || due < q->timer_at_ns) {
        q->timer_at_ns = due;
        loop_timer_start(q->loop, &q->timer, delay_ms, queue_timer);
    }
}

static void queue_timer(struct loop_timer *t)
{
    struct queue *q = container_of(t, struct queue, timer);
    int64_t now = mono_now().ns;
    struct map_entry *e;
    size_t at = 0;

    while ((e = map_next(&q->items, &at))) {
        struct queue_item *it = e->value;

        if (!it->due_ns || it->due_ns > now)
            continue;
        it->due_ns = 0;
        queue_add(q, it->key);
    }
    queue_arm(q);
}

static void queue_run_one(struct queue *q, struct queue_item *it)
{
    list_remove(&it->link);
    if (q->fn(q, it->key, q->arg) == QUEUE_RETRY) {
        it->due_ns = 0;
        queue_add_after(q, it->key, backoff_next_ms(&it->backoff));
        return;
    }
    backoff_reset(&it->backoff);
    if (!list_linked(&it->link) && !it->due_ns) {
        (void)map_remove(&q->items, it->key);
        free(it);
    }
}

static void queue_run(struct loop_defer *d)
{
    struct queue *q = container_of(d, struct queue, defer);

    for (int i = 0; i < QUEUE_BATCH && !list_empty(&q->ready); i++)
        queue_run_one(q, container_of(q->ready.next, struct queue_item, link));
    if (!list_empty(&q->ready))
        loop_defer_start(q->loop, &q->defer, queue_run);
}

size_t queue_size(const struct queue *q)
{
    return q->items.n;
}
