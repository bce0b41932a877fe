/* Opening and closing a data root. */
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/random.h"
#include "engine/image/store_private.h"
#include <errno.h>
#include <sys/stat.h>

#define MODULE "image"

static void config_copy(struct image_config *to, const struct image_config *from)
{
    *to = *from;
    to->data_root = xstrdup_null(from->data_root);
    to->worker_path = xstrdup_null(from->worker_path);
    to->certs_dir = xstrdup(from->certs_dir ? from->certs_dir : "/etc/docker/certs.d");
    to->platform = xstrdup_null(from->platform);
    image_strings_copy(&to->mirrors, &from->mirrors);
    image_strings_copy(&to->insecure, &from->insecure);
    if (to->downloads_max <= 0)
        to->downloads_max = 3;
    if (to->stall_ms <= 0)
        to->stall_ms = 60000;
}

static int dirs_make(struct image_store *s, struct error **err)
{
    const char *root = s->cfg.data_root;
    cleanup_free char *blobs = NULL, *empty = NULL, *empty2 = NULL;
    int r;

    s->images_dir = path_join(root, "images");
    s->layers_dir = path_join(root, "layers");
    s->tmp_dir = path_join(root, "tmp");
    s->trash_dir = path_join(root, "trash");
    blobs = path_join(s->images_dir, "blobs");
    empty = path_join(s->layers_dir, "empty/fs");
    /* Layers hold setuid files of strangers: nobody but root passes. */
    if ((r = dir_make(root, 0710, err)) < 0 || (r = dir_make(s->images_dir, 0700, err)) < 0 ||
        (r = dir_make(blobs, 0700, err)) < 0 || (r = dir_make(s->layers_dir, 0700, err)) < 0 ||
        (r = dir_make(s->tmp_dir, 0700, err)) < 0 || (r = dir_make(s->trash_dir, 0700, err)) < 0)
        return r;
    if ((r = dir_make(empty, 0755, err)) < 0)
        return r;
    empty2 =
        path_join(s->layers_dir, "empty/fs2"); /* a read-only overlay needs two lower directories */
    return dir_make(empty2, 0755, err);
}

static int lock_root(struct image_store *s, struct error **err)
{
    cleanup_free char *path = path_join(s->images_dir, "lock");
    int r = file_lock_pid(path, &s->lock_fd, err);

    if (r < 0 && err)
        (void)error_wrap(err, "image store %s", s->cfg.data_root);
    return r;
}

struct blob_sweep {
    struct image_store *store;
    struct map used;
};

static int sweep_blob(int dirfd, const char *name, unsigned char type, void *arg)
{
    struct blob_sweep *b = arg;

    if (!map_has(&b->used, name))
        (void)unlinkat(dirfd, name, 0);
    return 0;
}

void image_blobs_collect(struct image_store *s)
{
    cleanup_free char *blobs = path_join(s->images_dir, "blobs");
    struct blob_sweep b = {.store = s};

    map_init(&b.used);
    for (size_t i = 0; i < s->n; i++) {
        map_set(&b.used, s->v[i]->im.id + strlen("sha256:"), s);
        if (s->v[i]->manifest)
            map_set(&b.used, s->v[i]->manifest, s);
    }
    (void)dir_each(blobs, sweep_blob, &b, NULL);
    map_fini(&b.used, NULL);
}

int image_store_open(struct loop *l, const struct image_config *cfg, struct image_store **ret,
                     struct error **err)
{
    struct image_store *s = xcalloc(1, sizeof(*s));
    int r;

    s->loop = l;
    s->lock_fd = -1;
    list_init(&s->jobs);
    map_init(&s->layers);
    config_copy(&s->cfg, cfg);
    if ((r = dirs_make(s, err)) < 0 || (r = lock_root(s, err)) < 0)
        goto fail;
    image_trash(s, s->tmp_dir);
    if ((r = dir_make(s->tmp_dir, 0700, err)) < 0 || (r = image_layers_read(s, err)) < 0 ||
        (r = image_store_read(s, err)) < 0)
        goto fail;
    image_layers_collect(s, NULL);
    image_blobs_collect(s);
    image_clean_start(s);
    *ret = s;
    return 0;
fail:
    image_store_close(s);
    return r;
}

void image_store_close(struct image_store *s)
{
    if (!s)
        return;
    image_jobs_cancel_all(s);
    if (s->cleaning)
        loop_child_stop(&s->cleaner);
    for (size_t i = 0; i < s->n; i++)
        image_entry_free(s->v[i]);
    free(s->v);
    map_fini(&s->layers, free);
    if (s->lock_fd >= 0)
        (void)close(s->lock_fd);
    image_config_fini(&s->cfg);
    free(s->images_dir);
    free(s->layers_dir);
    free(s->tmp_dir);
    free(s->trash_dir);
    free(s);
}

void image_store_reconfigure(struct image_store *s, const struct image_config *cfg)
{
    image_strings_fini(&s->cfg.mirrors);
    image_strings_fini(&s->cfg.insecure);
    image_strings_copy(&s->cfg.mirrors, &cfg->mirrors);
    image_strings_copy(&s->cfg.insecure, &cfg->insecure);
    s->cfg.downloads_max = cfg->downloads_max > 0 ? cfg->downloads_max : 3;
}

bool image_store_busy(const struct image_store *s)
{
    return s->cleaning || !list_empty(&s->jobs);
}

const char *image_store_data_root(const struct image_store *s)
{
    return s->cfg.data_root;
}

void image_store_set_in_use(struct image_store *s, image_in_use_fn fn, void *arg)
{
    s->in_use = fn;
    s->in_use_arg = arg;
}
