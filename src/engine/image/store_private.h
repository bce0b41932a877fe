/* What the files of the image store share; nobody outside this directory includes it. */
#pragma once
#include "base/arena.h"
#include "base/buf.h"
#include "base/map.h"
#include "engine/image/image.h"
#include "engine/image/ref.h"

struct image_layer {
    uint64_t size_bytes, inodes;
    unsigned refs; /* images that name it */
};
struct image_entry {
    struct image im;
    struct arena arena; /* im.config */
    char *manifest;     /* hex of the manifest's digest, or NULL */
};
struct image_store {
    struct loop *loop;
    struct image_config cfg;
    char *images_dir, *layers_dir, *tmp_dir, *trash_dir;
    int lock_fd;
    struct image_entry **v; /* newest first */
    size_t n;
    struct map layers; /* chain hex -> struct image_layer */
    struct list jobs;
    size_t jobs_running; /* workers that may rely on layers nobody names yet */
    struct loop_child cleaner;
    bool cleaning, clean_again;
    image_in_use_fn in_use;
    void *in_use_arg;
};

/* One image as a worker reports it and as its file holds it. */
struct image_record {
    char *id, *manifest;
    struct image_strings names, digests, layers, diff_ids;
    bool pinned;
    struct wall loaded_at;
};
void image_record_fini(struct image_record *r);
int image_record_parse(struct str json, struct image_record *ret, struct error **err);
int image_record_write(const struct image_record *r, struct buf *b);

/* The members of an OCI/Docker image configuration that running needs. Strings live in arena.
 * ret_diff_ids (may be NULL) is owned by the caller. -EINVAL names what is wrong. */
int image_config_data_parse(struct str json, struct arena *arena, struct image_config_data *ret,
                            struct image_strings *ret_diff_ids, struct error **err);
#define IMAGE_CONFIG_MAX (8u << 20)
#define IMAGE_LAYERS_MAX 500 /* overlayfs' own limit */

/* Takes the record over (fini'd in any case): reads its configuration, moves names to it, writes
 * files. */
int image_store_commit(struct image_store *s, struct image_record *r, struct error **err);
int image_store_read(struct image_store *s, struct error **err);
struct image_entry *image_store_find(struct image_store *s, const char *reference,
                                     bool *ret_by_name);
struct image_entry *image_store_by_id(struct image_store *s, const char *id);
int image_entry_save(struct image_store *s, struct image_entry *e, struct error **err);
void image_entry_free(struct image_entry *e);
char *image_entry_path(struct image_store *s, const char *id);
bool image_strings_remove(struct image_strings *l, const char *text);
void image_strings_copy(struct image_strings *to, const struct image_strings *from);
/* Layers nobody names: all that belong to another boot or are older than an hour; or, with the
 * list, those of it. */
void image_layers_collect(struct image_store *s, const struct image_strings *only);
/* Blobs are written before the image that names them; those without an owner are leftovers, unless
 * a worker runs. */
void image_blobs_collect(struct image_store *s);
int image_layers_read(struct image_store *s, struct error **err);
/* Reads layer.json of a layer not known yet; -ENOENT when there is none. */
int image_layer_load(struct image_store *s, const char *chain, struct image_layer **ret,
                     struct error **err);
void image_layers_count(struct image_store *s, const struct image_strings *layers, int step);
/* Moves path into the trash and has a worker empty it. Missing is fine. */
void image_trash(struct image_store *s, const char *path);
void image_clean_start(struct image_store *s);
char *image_worker_path(const struct image_config *cfg);
/* Forks and executes "skiff-worker OP": in_fd becomes its standard input (-1: /dev/null), msg_fd
 * its descriptor 3. */
int image_worker_spawn(const struct image_config *cfg, const char *op, int in_fd, int msg_fd,
                       pid_t *ret, struct error **err);
void image_jobs_cancel_all(struct image_store *s);
char *image_boot_id(void); /* owned */
