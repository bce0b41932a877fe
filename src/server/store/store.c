#include "server/store/store.h"
#include "base/cleanup.h"
#include "base/mem.h"
#include <errno.h>
#include <sqlite3.h>
#include <stdlib.h>

enum statement {
    SQL_GET,
    SQL_PUT,
    SQL_DELETE,
    SQL_REVISION,
    SQL_LIST,
    SQL_COUNT,
    SQL_BEGIN,
    SQL_COMMIT,
    SQL_ROLLBACK,
    SQL_MAX
};
static const char *const sql[SQL_MAX] = {
    [SQL_GET] = "SELECT value, revision FROM objects WHERE key = ?1",
    [SQL_PUT] = ("INSERT INTO objects(key, value, revision) VALUES(?1, ?2, ?3) "
                 "ON CONFLICT(key) DO UPDATE SET value = ?2, revision = ?3"),
    [SQL_DELETE] = "DELETE FROM objects WHERE key = ?1",
    [SQL_REVISION] = "INSERT INTO meta(name, value) VALUES('revision', ?1) ON CONFLICT(name) DO "
                     "UPDATE SET value = ?1",
    [SQL_LIST] = "SELECT key, value, revision FROM objects WHERE key > ?1 AND key < ?2 ORDER BY "
                 "key LIMIT ?3",
    [SQL_COUNT] = "SELECT count(*) FROM objects WHERE key > ?1 AND key < ?2",
    [SQL_BEGIN] = "BEGIN IMMEDIATE",
    [SQL_COMMIT] = "COMMIT",
    [SQL_ROLLBACK] = "ROLLBACK",
};

struct remembered {
    struct store_event e;
    size_t bytes;
};

struct store {
    sqlite3 *db;
    sqlite3_stmt *statements[SQL_MAX];
    uint64_t revision;
    struct list watches, cursor;
    struct remembered *history; /* ring: first at head, n entries */
    size_t head, n, bytes;
    uint64_t forgotten; /* newest revision that is not in the history any more */
};

static int fail(struct store *s, const char *what, struct error **err)
{
    int code = sqlite3_errcode(s->db);

    return error_set(err,
                     code == SQLITE_FULL   ? ENOSPC
                     : code == SQLITE_BUSY ? EBUSY
                                           : EIO,
                     "store: %s: %s", what, sqlite3_errmsg(s->db));
}

static int prepare(struct store *s, struct error **err)
{
    static const char schema[] = "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA "
                                 "cache_size=-512; PRAGMA temp_store=MEMORY;"
                                 "PRAGMA wal_autocheckpoint=512; PRAGMA journal_size_limit=4194304;"
                                 "CREATE TABLE IF NOT EXISTS objects(key TEXT PRIMARY KEY, value "
                                 "BLOB NOT NULL, revision INTEGER NOT NULL) "
                                 "WITHOUT ROWID;"
                                 "CREATE TABLE IF NOT EXISTS meta(name TEXT PRIMARY KEY, value "
                                 "INTEGER NOT NULL) WITHOUT ROWID;";

    if (sqlite3_exec(s->db, schema, NULL, NULL, NULL) != SQLITE_OK)
        return fail(s, "open", err);
    for (int i = 0; i < SQL_MAX; i++)
        if (sqlite3_prepare_v3(s->db, sql[i], -1, SQLITE_PREPARE_PERSISTENT, &s->statements[i],
                               NULL) != SQLITE_OK)
            return fail(s, "prepare", err);
    return 0;
}

static int read_revision(struct store *s, struct error **err)
{
    sqlite3_stmt *q;
    int r = 0;

    if (sqlite3_prepare_v2(s->db, "SELECT value FROM meta WHERE name = 'revision'", -1, &q, NULL) !=
        SQLITE_OK)
        return fail(s, "read revision", err);
    switch (sqlite3_step(q)) {
    case SQLITE_ROW:
        s->revision = (uint64_t)sqlite3_column_int64(q, 0);
        break;
    case SQLITE_DONE:
        s->revision = 1;
        break;
    default:
        r = fail(s, "read revision", err);
    }
    (void)sqlite3_finalize(q);
    s->forgotten = s->revision;
    return r;
}

int store_open(const char *path, struct store **ret, struct error **err)
{
    struct store *s = xcalloc(1, sizeof *s);
    int r = 0;

    list_init(&s->watches);
    s->history = xcalloc(STORE_HISTORY_EVENTS, sizeof *s->history);
    if (sqlite3_open_v2(path, &s->db,
                        SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX,
                        NULL) != SQLITE_OK) {
        r = error_set(err, EIO, "store: open %s: %s", path,
                      s->db ? sqlite3_errmsg(s->db) : "out of memory");
    } else {
        (void)sqlite3_busy_timeout(s->db, 1000);
        r = prepare(s, err);
        if (r == 0)
            r = read_revision(s, err);
        if (r < 0)
            (void)error_wrap(err, "%s", path);
    }
    if (r < 0) {
        store_close(s);
        return r;
    }
    *ret = s;
    return 0;
}

static void forget_oldest(struct store *s)
{
    struct remembered *m = &s->history[s->head];

    s->forgotten = m->e.revision;
    s->bytes -= m->bytes;
    free(m->e.key);
    free((char *)(uintptr_t)m->e.value.p);
    free((char *)(uintptr_t)m->e.previous.p);
    s->head = (s->head + 1) % STORE_HISTORY_EVENTS;
    s->n--;
}

void store_close(struct store *s)
{
    if (!s)
        return;
    while (s->n)
        forget_oldest(s);
    free(s->history);
    for (int i = 0; i < SQL_MAX; i++)
        (void)sqlite3_finalize(s->statements[i]);
    (void)sqlite3_close(s->db);
    free(s);
}

uint64_t store_revision(const struct store *s)
{
    return s->revision;
}

static sqlite3_stmt *use(struct store *s, enum statement id)
{
    sqlite3_stmt *q = s->statements[id];

    (void)sqlite3_reset(q);
    return q;
}

static int run(struct store *s, enum statement id, struct error **err)
{
    sqlite3_stmt *q = s->statements[id];
    int code = sqlite3_step(q);

    (void)sqlite3_reset(q);
    return code == SQLITE_DONE ? 0 : fail(s, "write", err);
}

int store_get(struct store *s, const char *key, struct buf *ret, uint64_t *ret_revision,
              struct error **err)
{
    sqlite3_stmt *q = use(s, SQL_GET);
    int r = 0;

    (void)sqlite3_bind_text(q, 1, key, -1, SQLITE_STATIC);
    switch (sqlite3_step(q)) {
    case SQLITE_ROW:
        if (ret && buf_add(ret, sqlite3_column_blob(q, 0), (size_t)sqlite3_column_bytes(q, 0)) < 0)
            r = error_set(err, EMSGSIZE, "store: %s is larger than the buffer", key);
        if (ret_revision)
            *ret_revision = (uint64_t)sqlite3_column_int64(q, 1);
        break;
    case SQLITE_DONE:
        r = -ENOENT;
        break;
    default:
        r = fail(s, "read", err);
    }
    (void)sqlite3_reset(q);
    return r;
}

static struct str own(struct str v)
{
    return (struct str){v.n ? str_dup(v) : NULL, v.n};
}

static void remember(struct store *s, enum store_change change, const char *key, struct str value,
                     struct str previous)
{
    struct remembered *m;

    while (s->n == STORE_HISTORY_EVENTS || (s->n && s->bytes > STORE_HISTORY_BYTES))
        forget_oldest(s);
    m = &s->history[(s->head + s->n++) % STORE_HISTORY_EVENTS];
    m->e = (struct store_event){change, s->revision, xstrdup(key), own(value), own(previous)};
    m->bytes = value.n + previous.n + strlen(key);
    s->bytes += m->bytes;
    list_add_head(&s->watches, &s->cursor);
    while (s->cursor.next != &s->watches) {
        struct list *n = s->cursor.next;
        struct store_watch *w = container_of(n, struct store_watch, link);

        list_remove(&s->cursor);
        list_add_head(n, &s->cursor);
        w->fn(w, &m->e);
    }
    list_remove(&s->cursor);
}

static int write_row(struct store *s, enum statement id, const char *key, struct str value,
                     struct error **err)
{
    sqlite3_stmt *q = use(s, id), *rev = use(s, SQL_REVISION);
    int r;

    (void)use(s, SQL_BEGIN);
    r = run(s, SQL_BEGIN, err);
    if (r < 0)
        return r;
    (void)sqlite3_bind_text(q, 1, key, -1, SQLITE_STATIC);
    if (id == SQL_PUT) {
        (void)sqlite3_bind_blob64(q, 2, value.p, value.n, SQLITE_STATIC);
        (void)sqlite3_bind_int64(q, 3, (sqlite3_int64)s->revision + 1);
    }
    (void)sqlite3_bind_int64(rev, 1, (sqlite3_int64)s->revision + 1);
    r = run(s, id, err);
    if (r == 0)
        r = run(s, SQL_REVISION, err);
    if (r == 0)
        r = run(s, SQL_COMMIT, err);
    if (r < 0)
        (void)run(s, SQL_ROLLBACK, NULL);
    else
        s->revision++;
    return r;
}

static int check_expected(bool exists, uint64_t have, uint64_t expect)
{
    if (expect == STORE_ANY)
        return 0;
    if (expect == STORE_MUST_NOT_EXIST)
        return exists ? -EEXIST : 0;
    if (!exists)
        return -ENOENT;
    return have == expect ? 0 : -ESTALE;
}

int store_put(struct store *s, const char *key, struct str value, uint64_t expect,
              struct error **err)
{
    cleanup_buf struct buf old = {.max = BUF_UNBOUNDED};
    uint64_t have = 0;
    int r = store_get(s, key, &old, &have, err);
    bool exists = r == 0;

    if (r < 0 && r != -ENOENT)
        return r;
    r = check_expected(exists, have, expect);
    if (r == 0)
        r = write_row(s, SQL_PUT, key, value, err);
    if (r == 0)
        remember(s, exists ? STORE_MODIFIED : STORE_ADDED, key, value,
                 exists ? buf_str(&old) : STR_NULL);
    return r;
}

int store_delete(struct store *s, const char *key, struct str last_value, uint64_t expect,
                 struct error **err)
{
    cleanup_buf struct buf old = {.max = BUF_UNBOUNDED};
    uint64_t have = 0;
    int r = store_get(s, key, &old, &have, err);

    if (r == 0)
        r = check_expected(true, have, expect);
    if (r == 0)
        r = write_row(s, SQL_DELETE, key, STR_NULL, err);
    if (r == 0)
        remember(s, STORE_DELETED, key, last_value, buf_str(&old));
    return r;
}

/* Keys with a prefix are those from it up to the prefix with its last byte raised. */
static void bind_range(sqlite3_stmt *q, const char *prefix, const char *after, struct buf *end)
{
    buf_init(end, strlen(prefix) + 1);
    (void)buf_add_z(end, prefix);
    if (end->n)
        end->p[end->n - 1]++;
    (void)sqlite3_bind_text(q, 1, after ? after : prefix, -1, SQLITE_TRANSIENT);
    (void)sqlite3_bind_text(q, 2, end->p, -1, SQLITE_TRANSIENT);
}

int store_list(struct store *s, const char *prefix, const char *after, size_t limit,
               store_list_fn fn, void *arg, struct error **err)
{
    cleanup_buf struct buf end = {0};
    sqlite3_stmt *q;
    int code, r = 0;

    /* its own statement: fn may list as well */
    if (sqlite3_prepare_v2(s->db, sql[SQL_LIST], -1, &q, NULL) != SQLITE_OK)
        return fail(s, "list", err);
    bind_range(q, prefix, after, &end);
    (void)sqlite3_bind_int64(q, 3, limit ? (sqlite3_int64)limit : -1);
    while (r == 0 && (code = sqlite3_step(q)) == SQLITE_ROW)
        r = fn((const char *)sqlite3_column_text(q, 0),
               (struct str){sqlite3_column_blob(q, 1), (size_t)sqlite3_column_bytes(q, 1)},
               (uint64_t)sqlite3_column_int64(q, 2), arg);
    if (r == 0 && code != SQLITE_DONE)
        r = fail(s, "list", err);
    (void)sqlite3_finalize(q);
    return r;
}

int store_count(struct store *s, const char *prefix, const char *after, uint64_t *ret,
                struct error **err)
{
    cleanup_buf struct buf end = {0};
    sqlite3_stmt *q = use(s, SQL_COUNT);
    int r = 0;

    bind_range(q, prefix, after, &end);
    if (sqlite3_step(q) == SQLITE_ROW)
        *ret = (uint64_t)sqlite3_column_int64(q, 0);
    else
        r = fail(s, "count", err);
    (void)sqlite3_reset(q);
    return r;
}

void store_watch_start(struct store *s, struct store_watch *w)
{
    list_add_tail(&s->watches, &w->link);
}

void store_watch_stop(struct store_watch *w)
{
    list_remove(&w->link);
}

int store_replay(struct store *s, uint64_t after,
                 void (*fn)(const struct store_event *e, void *arg), void *arg)
{
    if (after < s->forgotten)
        return -ESTALE;
    for (size_t i = 0; i < s->n; i++) {
        const struct store_event *e = &s->history[(s->head + i) % STORE_HISTORY_EVENTS].e;

        if (e->revision > after)
            fn(e, arg);
    }
    return 0;
}
