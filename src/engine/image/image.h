/*
 * Images of one data root: names, configurations, layers, and the overlay mounts made from them.
 *
 * The store is what is on disk, read at open and kept in memory; every change is one file written
 * atomically, so a kill at any instant leaves the state before or after. Layers are directories
 * named by chain ID and shared; one is removed when no image file names it. Downloading,
 * decompressing and unpacking happen in a worker process (skiff-worker): this module links no HTTP
 * client and no archive library, and never blocks on the network.
 *
 *   <data-root>/images/<hex of ID>.json   one image: names, digests, layers
 *   <data-root>/images/blobs/<hex>        manifests and configurations, as served
 *   <data-root>/images/lock               held by the process that owns the root
 *   <data-root>/layers/<hex of chain>/    layer.json and fs/
 *   <data-root>/tmp/                      work in progress; emptied at open
 */
#pragma once
#include "base/error.h"
#include "base/str.h"
#include "base/time.h"
#include "loop/loop.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct image_store;
struct image_job;

struct image_strings {
    char **v;
    size_t n;
};

/* ---- configuration ---- */
struct image_config {
    char *data_root;   /* absolute */
    char *worker_path; /* NULL: $SKIFF_WORKER, then skiff-worker beside our own binary */
    char *certs_dir;   /* per-registry ca.crt, client.cert, client.key; NULL: /etc/docker/certs.d */
    char *platform;    /* "linux/amd64[/variant]"; NULL: this machine's */
    struct image_strings mirrors;  /* for docker.io, in order, before the origin; URLs */
    struct image_strings insecure; /* host[:port] or CIDR; loopback addresses always are */
    int64_t downloads_max;         /* layers in parallel within a pull; 0 means 3 */
    int64_t stall_ms;              /* a peer silent for so long is given up; 0 means 60 s */
};
void image_config_fini(struct image_config *c);
/* Adds what dockerd's daemon.json says about registries ("registry-mirrors", "insecure-registries",
 * "max-concurrent-downloads"); other keys are left to others. An unusable mirror (no scheme) is
 * warned about and left out. A missing file is success. */
int image_config_read_daemon_json(struct image_config *c, const char *path, struct error **err);

/* ---- lifecycle ---- */
/* Takes the lock, reads all images, removes leftovers and unreferenced layers. -EWOULDBLOCK when
 * another process owns the root. cfg is copied. */
int image_store_open(struct loop *l, const struct image_config *cfg, struct image_store **ret,
                     struct error **err);
/* Jobs still running are killed and end with ECANCELED before this returns. NULL accepted. */
void image_store_close(struct image_store *s);
/* New registry settings (SIGHUP): mirrors, insecure, downloads_max; jobs begun keep the old ones.
 */
void image_store_reconfigure(struct image_store *s, const struct image_config *cfg);
/* A pull, load or removal of files is still going on in a worker. */
bool image_store_busy(const struct image_store *s);
const char *image_store_data_root(const struct image_store *s);

/* ---- images ---- */
struct image_config_data { /* of the OCI image configuration; empty lists are n = 0, absent text is
                              "" */
    const char *user, *workdir, *stop_signal;
    struct image_strings env, entrypoint, cmd;
    struct image_strings volumes, exposed_ports;                /* keys, such as "80/tcp" */
    struct image_strings label_keys, label_values;              /* parallel */
    const char *os, *architecture, *variant, *author, *created; /* RFC 3339 text or "" */
};
struct image {
    const char *id;                    /* "sha256:<64 hex>": digest of the configuration */
    struct image_strings repo_tags;    /* "docker.io/library/nginx:1.7.9" */
    struct image_strings repo_digests; /* "docker.io/library/nginx@sha256:..." */
    struct image_strings layers;       /* chain IDs, lowest first, hex without prefix */
    struct image_strings diff_ids;     /* "sha256:...", lowest first */
    uint64_t size_bytes;               /* unpacked, all layers */
    bool pinned;
    struct wall loaded_at; /* when it came into this store */
    struct image_config_data config;
};
/* reference: a name in any form Docker takes (nginx, nginx:1.7.9, nginx@sha256:...,
 * host:5000/a/b:c), a full ID, or at least 4 hex digits of one ID. NULL when none. Borrowed until
 * the image changes or the loop's turn ends. */
const struct image *image_get(struct image_store *s, const char *reference);
/* Iterates: for (size_t i = 0; (im = image_at(s, i)); i++). Newest first. */
const struct image *image_at(struct image_store *s, size_t i);
/* Configuration or manifest text as stored; owned. kind "config" or "manifest". -ENOENT. */
int image_read_blob(struct image_store *s, const char *id, const char *kind, char **ret,
                    struct error **err);
/* Normal form of a name: "nginx" gives "docker.io/library/nginx:latest"; digests are kept. -EINVAL.
 * Owned. */
int image_name_normalize(const char *name, char **ret, struct error **err);

int image_tag(struct image_store *s, const char *reference, const char *name, struct error **err);
int image_pin(struct image_store *s, const char *reference, bool pinned, struct error **err);
/* Tells whether a container, running or not, was made from the image. */
typedef bool (*image_in_use_fn)(const char *id, void *arg);
void image_store_set_in_use(struct image_store *s, image_in_use_fn fn, void *arg);
enum {
    IMAGE_REMOVE_UNTAG = 1u << 0, /* a name of several only loses that name (docker rmi) */
    IMAGE_REMOVE_FORCE = 1u << 1, /* all names of an ID; still refused while in use */
};
/* Removes image (all names) or name. -EBUSY while in use or pinned, -ENOENT when there is none.
 * What was untagged and deleted goes to untagged/deleted (each may be NULL; owned by the caller,
 * free with image_strings_fini). */
int image_remove(struct image_store *s, const char *reference, unsigned flags,
                 struct image_strings *untagged, struct image_strings *deleted, struct error **err);
void image_strings_add(struct image_strings *l, const char *text);
void image_strings_fini(struct image_strings *l);
bool image_strings_has(const struct image_strings *l, const char *text);
/* Sum over layers as unpacked (du), counted once each; from the layers' own records. */
void image_store_usage(struct image_store *s, uint64_t *ret_bytes, uint64_t *ret_inodes);

/* ---- pull and load ---- */
struct image_auth { /* members NULL or "" when absent */
    const char *username, *password, *auth /* base64 user:password */, *identity_token,
        *registry_token;
};
struct image_progress {
    const char *id;     /* short layer digest, or "" for the whole */
    const char *status; /* as docker writes: "Pulling fs layer", "Downloading", "Pull complete",
                           "Already exists" ... */
    uint64_t current, total; /* bytes; total 0 when unknown */
};
struct image_result {
    const struct error *error; /* ENOENT not found, EACCES denied, ECANCELED, ... ; NULL: success */
    struct image_strings ids;  /* of the images that came (one for a pull) */
    struct image_strings names; /* references made by it */
    const char *digest;         /* pull: of the manifest or index that the name resolved to */
    bool up_to_date;            /* pull: it was there already */
};
typedef void (*image_progress_fn)(const struct image_progress *p, void *arg);
/* Exactly once, from the loop, unless image_job_cancel came first. The result is borrowed for the
 * call. */
typedef void (*image_done_fn)(const struct image_result *r, void *arg);
/* Same reference and credentials already being pulled: joins that pull. progress may be NULL. */
int image_pull(struct image_store *s, const char *reference, const struct image_auth *auth,
               image_progress_fn progress, image_done_fn done, void *arg, struct image_job **ret,
               struct error **err);
/* fd (taken, also on failure): docker-archive or OCI archive, plain, gzip or zstd; file or pipe. */
int image_load(struct image_store *s, int fd, image_progress_fn progress, image_done_fn done,
               void *arg, struct image_job **ret, struct error **err);
/* Stops without calling back; the worker dies, what it made half goes. NULL accepted; not after
 * done. */
void image_job_cancel(struct image_job *j);

/* ---- root file systems ---- */
/* Mounts the image's layers under rw_dir/upper at target (created). rw_dir holds upper/ and work/
 * and belongs to the container; it is created when missing. Already mounted: success. options: "ro"
 * via read_only. */
int image_rootfs_mount(struct image_store *s, const char *image_id, const char *rw_dir,
                       const char *target, struct error **err);
/* Read-only view of an image at target, for image volumes; no rw_dir. */
int image_rootfs_mount_ro(struct image_store *s, const char *image_id, const char *target,
                          struct error **err);
/* Lazily when busy. Not mounted: success. Neither removes target nor rw_dir. */
int image_rootfs_unmount(const char *target, struct error **err);
/* Unmounts every overlay whose mount point is below dir and for which keep says false (given the
 * path below dir). */
typedef bool (*image_keep_fn)(const char *relative, void *arg);
int image_rootfs_sweep(const char *dir, image_keep_fn keep, void *arg, struct error **err);

/* ---- faces ---- */
struct grpc_server;
/* Registers runtime.v1.ImageService on a server.
 */
void cri_image_register(struct grpc_server *g, struct image_store *s);
