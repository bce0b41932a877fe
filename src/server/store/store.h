/*
 * Objects on disk: one SQLite file (WAL), a revision that every change raises by one, and a bounded
 * history in memory from which watches are fed. Values are JSON texts that carry their own
 * resourceVersion, so a writer asks for the revision its change will get. One process, one thread.
 * A history older than what is kept is -ESTALE, which the API calls 410 Gone; a restart forgets it
 * all, and clients list again.
 */
#pragma once
#include "base/buf.h"
#include "base/error.h"
#include "base/list.h"

struct store;
#define STORE_HISTORY_EVENTS 4096
#define STORE_HISTORY_BYTES (4u << 20)
enum { STORE_MUST_NOT_EXIST = 0 };
#define STORE_ANY UINT64_MAX

enum store_change { STORE_ADDED, STORE_MODIFIED, STORE_DELETED };
struct store_event {
    enum store_change change;
    uint64_t revision;
    char *key;
    struct str value;    /* for a deletion: the last state, with the deletion's resourceVersion */
    struct str previous; /* empty for an addition */
};
/* lifecycle. path's directory must exist; ":memory:" for tests. */
int store_open(const char *path, struct store **ret, struct error **err);
void store_close(struct store *s);

uint64_t store_revision(const struct store *s); /* of the newest change */
/* Revision the next change will get. */
static inline uint64_t store_next_revision(const struct store *s)
{
    return store_revision(s) + 1;
}
/* 0, or -ENOENT. value is appended to ret (may be NULL). */
int store_get(struct store *s, const char *key, struct buf *ret, uint64_t *ret_revision,
              struct error **err);
/* expect: the revision the key must have now, STORE_MUST_NOT_EXIST or STORE_ANY. -EEXIST, -ENOENT,
 * -ESTALE. */
int store_put(struct store *s, const char *key, struct str value, uint64_t expect,
              struct error **err);
int store_delete(struct store *s, const char *key, struct str last_value, uint64_t expect,
                 struct error **err);
/* Keys in order that start with prefix, behind after (NULL: from the start), at most limit (0:
 * all). fn returns non-zero to stop, which is passed on. */
typedef int (*store_list_fn)(const char *key, struct str value, uint64_t revision, void *arg);
int store_list(struct store *s, const char *prefix, const char *after, size_t limit,
               store_list_fn fn, void *arg, struct error **err);
int store_count(struct store *s, const char *prefix, const char *after, uint64_t *ret,
                struct error **err);

/* Subscription: fn for every change, in order, from inside the change itself: it must only note it.
 */
struct store_watch {
    struct list link;
    void (*fn)(struct store_watch *w, const struct store_event *e);
};
void store_watch_start(struct store *s, struct store_watch *w);
void store_watch_stop(struct store_watch *w);
/* Calls fn for each remembered change after revision, in order. -ESTALE when some are forgotten
 * already. */
int store_replay(struct store *s, uint64_t after,
                 void (*fn)(const struct store_event *e, void *arg), void *arg);
