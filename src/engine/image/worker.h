/*
 * The image worker: plain blocking code in a process of its own that downloads, decompresses and
 * unpacks for the engine, and answers over descriptor 3 (message.h). Links libcurl and libarchive,
 * which the engine does not. It writes layers and blobs below the data root; images are the
 * engine's to write.
 *
 *   skiff-worker run     one request from descriptor 3: pull, or load of the archive on standard
 * input skiff-worker clean   empties the directory on standard input
 */
#pragma once
#include "engine/image/message.h"
#include <stdio.h>

int image_worker_main(int argc, char **argv);

#define WORKER_LAYER_MAX ((uint64_t)1 << 40) /* bytes of one blob */

/* Bytes from somewhere: *ret is valid until the next call. Returns how many, 0 at the end, or
 * -errno with err. */
struct source {
    ssize_t (*read)(struct source *s, const void **ret, struct error **err);
};
struct file_source {
    struct source source;
    int fd;
    char *buffer;
};
void file_source_init(struct file_source *f, int fd); /* takes fd */
void file_source_fini(struct file_source *f);

/* ---- talking to the engine ---- */
#define WORKER_FD 3
void worker_send(const struct buf *b);
/* At most ten a second for the same status, and one at the end. */
void worker_progress(const char *id, const char *status, uint64_t current, uint64_t total);

/* ---- layers ---- */
struct layer_task {
    char diff_id[72], chain[65];
    char blob[72]; /* digest of the bytes as they come, or "" when only the content is verified */
    uint64_t blob_bytes; /* announced length, 0 unknown */
    char label[16];      /* for progress */
};
/* chain IDs out of diff IDs, by the OCI image specification; -EINVAL never happens for parsed
 * digests */
void layer_chains(const struct image_strings *diff_ids, struct image_strings *ret);
/* Opens the bytes of task i; owned by the callee's process, freed by its end. */
typedef int (*layer_open_fn)(void *arg, size_t i, struct source **ret, struct error **err);
/* Makes all layers exist: those missing are fetched by one child process each, `parallel` at a
 * time, and renamed into place lowest first. Layers that another worker is making are waited for.
 */
int layers_make(const struct worker_request *q, const struct layer_task *tasks, size_t n,
                layer_open_fn open_layer, void *arg, struct error **err);
/* The pipeline of one layer: source -> digest -> decompress -> digest -> dir/fs, dir/layer.json,
 * dir/implicit. */
int layer_unpack(const struct worker_request *q, const struct layer_task *t, struct source *src,
                 const char *dir, struct error **err);
/* Directory attributes that the layer did not give come from the nearest lower layer that has the
 * directory. */
int layer_fix_implicit(const struct worker_request *q, const struct layer_task *tasks, size_t i,
                       const char *dir, struct error **err);

/* ---- blobs ---- */
/* Stores text under images/blobs/<hex of its digest>; ret_hex as computed. */
int blob_store(const struct worker_request *q, struct str text, char ret_hex[static 65],
               struct error **err);

/* Configuration text to record: id, diff IDs, chains; the configuration is stored. */
int worker_image_begin(const struct worker_request *q, struct str config, struct image_record *ret,
                       struct error **err);

/* ---- operations ---- */
int worker_pull(const struct worker_request *q, struct error **err);
int worker_load(const struct worker_request *q, int fd, struct error **err);
