/* Layer directories: what is there, how big, who names them, and which may go. */
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/random.h"
#include "codec/json.h"
#include "engine/image/store_private.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define MODULE "image"
#define ORPHAN_MS (3600 * 1000LL)

char *image_boot_id(void)
{
    struct buf b;

    if (file_read("/proc/sys/kernel/random/boot_id", 64, &b, NULL) < 0)
        return xstrdup("");
    char *id = str_dup(str_trim(buf_str(&b)));
    buf_fini(&b);
    return id;
}

static int layer_json(struct image_store *s, const char *chain, json_t **ret, struct error **err)
{
    cleanup_free char *path = xasprintf("%s/%s/layer.json", s->layers_dir, chain);
    struct buf b;
    int r = file_read(path, 64 * 1024, &b, err);

    if (r < 0)
        return r;
    r = json_parse(buf_str(&b), 64 * 1024, path, ret, err);
    buf_fini(&b);
    return r;
}

int image_layer_load(struct image_store *s, const char *chain, struct image_layer **ret,
                     struct error **err)
{
    cleanup_json json_t *o = NULL;
    struct image_layer *l = map_get(&s->layers, chain);

    if (!l) {
        int r = layer_json(s, chain, &o, err);
        if (r < 0)
            return r;
        l = xcalloc(1, sizeof(*l));
        l->size_bytes = (uint64_t)json_int_or(o, "size", 0);
        l->inodes = (uint64_t)json_int_or(o, "inodes", 0);
        map_set(&s->layers, chain, l);
    }
    if (ret)
        *ret = l;
    return 0;
}

static int read_one(int dirfd, const char *name, unsigned char type, void *arg)
{
    struct image_store *s = arg;

    if (image_hex_ok(str_of(name)))
        (void)image_layer_load(s, name, NULL, NULL);
    return 0;
}

int image_layers_read(struct image_store *s, struct error **err)
{
    return dir_each(s->layers_dir, read_one, s, err);
}

void image_layers_count(struct image_store *s, const struct image_strings *layers, int step)
{
    for (size_t i = 0; i < layers->n; i++) {
        struct image_layer *l = map_get(&s->layers, layers->v[i]);
        if (l)
            l->refs += (unsigned)step;
    }
}

/* A worker renames a layer into place before it is synced, so one of another boot may be hollow. */
static bool orphan_is_stale(struct image_store *s, const char *chain)
{
    cleanup_json json_t *o = NULL;
    cleanup_free char *boot = image_boot_id(),
                      *path = xasprintf("%s/%s/layer.json", s->layers_dir, chain);
    struct stat st;

    if (layer_json(s, chain, &o, NULL) < 0 || stat(path, &st) < 0)
        return true;
    int64_t age_ms = (wall_now().ns / NSEC_PER_MSEC) - (int64_t)st.st_mtim.tv_sec * 1000;
    return age_ms > ORPHAN_MS || !streq(json_text_or(o, "boot", ""), boot);
}

static void layer_drop(struct image_store *s, const char *chain)
{
    cleanup_free char *path = path_join(s->layers_dir, chain);

    free(map_remove(&s->layers, chain));
    image_trash(s, path);
}

struct collect {
    struct image_store *store;
    const struct image_strings *only;
    struct image_strings drop;
};

static int collect_one(int dirfd, const char *name, unsigned char type, void *arg)
{
    struct collect *c = arg;
    const struct image_layer *l = map_get(&c->store->layers, name);

    if (streq(name, "empty") || (l && l->refs > 0) ||
        (c->only && !image_strings_has(c->only, name)))
        return 0;
    if (c->only || !image_hex_ok(str_of(name)) || orphan_is_stale(c->store, name))
        image_strings_add(&c->drop, name);
    return 0;
}

void image_layers_collect(struct image_store *s, const struct image_strings *only)
{
    struct collect c = {.store = s, .only = only};

    if (s->jobs_running) /* its worker may count on one; collected when it ends */
        return;
    (void)dir_each(s->layers_dir, collect_one, &c, NULL);
    for (size_t i = 0; i < c.drop.n; i++)
        layer_drop(s, c.drop.v[i]);
    image_strings_fini(&c.drop);
}

void image_trash(struct image_store *s, const char *path)
{
    char suffix[17];

    random_suffix(suffix, 16);
    cleanup_free char *to = path_join(s->trash_dir, suffix);
    if (rename(path, to) == 0)
        image_clean_start(s);
    else if (errno != ENOENT)
        log_warn(MODULE, "cannot move into the trash", "path", path, NULL);
}

static int has_entry(int dirfd, const char *name, unsigned char type, void *arg)
{
    return 1;
}

static void on_cleaner_end(struct loop_child *c, int wait_status)
{
    struct image_store *s = container_of(c, struct image_store, cleaner);

    s->cleaning = false;
    if (s->clean_again && wait_status == 0)
        image_clean_start(s);
    s->clean_again = false;
}

/* Trees can be large: a worker removes them while the loop goes on. */
void image_clean_start(struct image_store *s)
{
    cleanup_error struct error *err = NULL;
    cleanup_close int in = -1;
    pid_t pid;

    if (s->cleaning) {
        s->clean_again = true;
        return;
    }
    if (dir_each(s->trash_dir, has_entry, NULL, NULL) != 1)
        return;
    in = open(s->trash_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (image_worker_spawn(&s->cfg, "clean", in, -1, &pid, &err) < 0) {
        log_warn(MODULE, "no worker, so the trash is emptied here", "error", error_message(err),
                 NULL);
        error_clear(&err);
        (void)dir_remove_tree(s->trash_dir, NULL);
        (void)dir_make(s->trash_dir, 0700, NULL);
        return;
    }
    if (loop_child_start(s->loop, &s->cleaner, pid, on_cleaner_end) == 0)
        s->cleaning = true;
}
