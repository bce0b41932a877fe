/* Loading an archive: its members are spooled below the work directory, because a docker-archive
 * names its contents only after them; then each image's layers go through the same pipeline as a
 * pull's. */
#include "base/file.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/sha256.h"
#include "codec/json.h"
#include "engine/image/manifest.h"
#include "engine/image/tar_path.h"
#include "engine/image/worker.h"
#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#define MEMBERS_MAX 100000
#define LINKS_MAX 8

struct load {
    const struct worker_request *q;
    struct map
        files; /* clean path -> path of the spooled copy, or "@" + clean path of what it links to */
    size_t members;
    uint64_t bytes;
};
struct load_layers {
    struct load *load;
    char **paths;
};

/* ---- spooling ---- */
static la_ssize_t on_read(struct archive *a, void *arg, const void **ret)
{
    struct error *err = NULL;
    struct source *s = arg;
    ssize_t n = s->read(s, ret, &err);

    if (n < 0) {
        archive_set_error(a, err->code, "%s", error_message(err));
        error_free(err);
    }
    return n;
}

static int spool_file(struct load *l, struct archive *a, const char *name, struct error **err)
{
    cleanup_free char *path = xasprintf("%s/member-%zu", l->q->tmp, l->members);
    cleanup_close int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    const void *p;
    size_t n;
    la_int64_t at;
    int r;

    if (fd < 0)
        return error_set_errno(err, errno, "create %s", path);
    while ((r = archive_read_data_block(a, &p, &n, &at)) == ARCHIVE_OK) {
        for (size_t done = 0; done < n;) {
            ssize_t w = pwrite(fd, (const char *)p + done, n - done, at + (off_t)done);
            if (w < 0)
                return error_set_errno(err, errno, "write image archive to %s", l->q->tmp);
            done += (size_t)w;
        }
        l->bytes += n;
        worker_progress("", "Loading", l->bytes, 0);
    }
    if (r != ARCHIVE_EOF)
        return error_set(err, EBADMSG, "image archive: %s: %s", name,
                         strna(archive_error_string(a)));
    free(map_set(&l->files, name, TAKE(path)));
    return 0;
}

static void spool_link(struct load *l, const char *name, const char *target)
{
    char parent[TAR_PATH_MAX], clean[TAR_PATH_MAX];
    const char *base;

    tar_path_split(name, parent, &base);
    cleanup_free char *joined = *target == '/' ? xstrdup(target) : path_join(parent, target);
    if (tar_path_clean(joined, clean) == 0)
        free(map_set(&l->files, name, xasprintf("@%s", clean)));
}

static int spool_all(struct load *l, struct archive *a, struct error **err)
{
    struct archive_entry *e;
    char name[TAR_PATH_MAX];
    int r;

    while ((r = archive_read_next_header(a, &e)) == ARCHIVE_OK || r == ARCHIVE_WARN) {
        const char *member = archive_entry_pathname(e);
        if (++l->members > MEMBERS_MAX)
            return error_set(err, EBADMSG, "image archive: more than %d members", MEMBERS_MAX);
        if (!member || tar_path_clean(member, name) < 0 || !*name)
            continue;
        if (archive_entry_hardlink(e) && tar_path_clean(archive_entry_hardlink(e), name) == 0) {
            char link[TAR_PATH_MAX];
            if (tar_path_clean(member, link) == 0)
                free(map_set(&l->files, link, xasprintf("@%s", name)));
        } else if (archive_entry_filetype(e) == AE_IFLNK && archive_entry_symlink(e)) {
            spool_link(l, name, archive_entry_symlink(e));
        } else if (archive_entry_filetype(e) == AE_IFREG && (r = spool_file(l, a, name, err)) < 0) {
            return r;
        }
    }
    if (r != ARCHIVE_EOF)
        return error_set(err, EBADMSG, "image archive: %s", strna(archive_error_string(a)));
    return 0;
}

static int spool(struct load *l, int fd, struct error **err)
{
    struct archive *a = archive_read_new();
    struct file_source src;
    int r;

    archive_read_support_filter_gzip(a);
    archive_read_support_filter_zstd(a);
    archive_read_support_format_tar(a);
    file_source_init(&src, fd);
    if (archive_read_open(a, &src.source, NULL, on_read, NULL) != ARCHIVE_OK)
        r = error_set(err, EBADMSG, "not an image archive: %s", strna(archive_error_string(a)));
    else
        r = spool_all(l, a, err);
    (void)archive_read_free(a);
    file_source_fini(&src);
    return r;
}

/* ---- reading members ---- */
static const char *member_path(struct load *l, const char *name)
{
    char clean[TAR_PATH_MAX];

    if (tar_path_clean(name, clean) < 0)
        return NULL;
    const char *path = map_get(&l->files, clean);
    for (int i = 0; path && *path == '@' && i < LINKS_MAX; i++)
        path = map_get(&l->files, path + 1);
    return path && *path != '@' ? path : NULL;
}

static int member_read(struct load *l, const char *name, size_t max, struct buf *ret,
                       struct error **err)
{
    const char *path = member_path(l, name);

    if (!path)
        return error_set(err, EBADMSG, "image archive: %s is missing", name);
    return file_read(path, max, ret, err);
}

/* ---- one image ---- */
static int open_layer(void *arg, size_t i, struct source **ret, struct error **err)
{
    struct load_layers *ll = arg;
    struct file_source *f = xcalloc(1, sizeof(*f));
    int fd = open(ll->paths[i], O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        return error_set_errno(err, errno, "open %s", ll->paths[i]);
    file_source_init(f, fd);
    *ret = &f->source;
    return 0;
}

static int image_make(struct load *l, struct str config, const struct image_strings *layers,
                      bool verify_blobs, struct image_record *ret, struct error **err)
{
    struct image_record rec;
    int r = worker_image_begin(l->q, config, &rec, err);

    if (r < 0)
        return r;
    struct load_layers ll = {l, xcalloc(layers->n + 1, sizeof(char *))};
    struct layer_task *tasks = xcalloc(layers->n + 1, sizeof(*tasks));
    if (layers->n != rec.diff_ids.n)
        r = error_set(err, EBADMSG, "image archive: %zu layers, but the configuration names %zu",
                      layers->n, rec.diff_ids.n);
    for (size_t i = 0; r == 0 && i < layers->n; i++) {
        struct layer_task *t = &tasks[i];
        ll.paths[i] = (char *)member_path(l, layers->v[i]);
        if (!ll.paths[i])
            r = error_set(err, EBADMSG, "image archive: layer %s is missing", layers->v[i]);
        (void)snprintf(t->diff_id, sizeof(t->diff_id), "%s", rec.diff_ids.v[i]);
        (void)snprintf(t->chain, sizeof(t->chain), "%s", rec.layers.v[i]);
        (void)snprintf(t->label, sizeof(t->label), "%.12s", rec.diff_ids.v[i] + strlen("sha256:"));
        if (verify_blobs) /* blobs/sha256/<hex> */
            (void)snprintf(t->blob, sizeof(t->blob), "sha256:%s", path_basename(layers->v[i]));
    }
    if (r == 0)
        r = layers_make(l->q, tasks, layers->n, open_layer, &ll, err);
    free(tasks);
    free(ll.paths);
    if (r < 0)
        image_record_fini(&rec);
    else
        *ret = rec;
    return r;
}

static void image_send(struct image_record *rec, const char *digest)
{
    cleanup_buf struct buf b = {0};

    buf_init(&b, MESSAGE_MAX);
    worker_message_image(&b, rec, digest);
    worker_send(&b);
    image_record_fini(rec);
}

static int name_add(struct image_record *rec, const char *name, struct error **err)
{
    cleanup_free char *text = NULL;
    int r = image_name_normalize(name, &text, err);

    if (r == 0 && !image_strings_has(&rec->names, text))
        image_strings_add(&rec->names, text);
    return r;
}

/* ---- docker-archive ---- */
static int docker_image(struct load *l, const json_t *item, struct error **err)
{
    struct image_strings layers = {0};
    struct image_record rec;
    struct buf config;
    json_t *word;
    size_t i;
    int r =
        member_read(l, json_text_or(item, "Config", "(Config)"), IMAGE_CONFIG_MAX, &config, err);

    if (r < 0)
        return r;
    json_array_foreach(json_object_get(item, "Layers"), i, word)
        image_strings_add(&layers, strna(json_string_value(word)));
    r = image_make(l, buf_str(&config), &layers, false, &rec, err);
    buf_fini(&config);
    image_strings_fini(&layers);
    if (r < 0)
        return r;
    json_array_foreach(json_object_get(item, "RepoTags"), i,
                       word) if ((r = name_add(&rec, strna(json_string_value(word)), err)) < 0)
    {
        image_record_fini(&rec);
        return r;
    }
    image_send(&rec, NULL);
    return 0;
}

static int docker_archive(struct load *l, struct error **err)
{
    cleanup_json json_t *list = NULL;
    json_t *item;
    struct buf b;
    size_t i;
    int r = member_read(l, "manifest.json", MANIFEST_MAX, &b, err);

    if (r < 0)
        return r;
    r = json_parse(buf_str(&b), MANIFEST_MAX, "manifest.json", &list, err);
    buf_fini(&b);
    if (r < 0)
        return r;
    if (!json_is_array(list) || json_array_size(list) == 0)
        return error_set(err, EBADMSG, "image archive: manifest.json lists no image");
    json_array_foreach(list, i, item) if ((r = docker_image(l, item, err)) < 0) return r;
    return 0;
}

/* ---- OCI archive ---- */
static int blob_read(struct load *l, const char *digest, struct buf *ret, struct error **err)
{
    cleanup_free char *name = xasprintf("blobs/sha256/%s", digest + strlen("sha256:"));
    char hex[65];
    int r = member_read(l, name, IMAGE_CONFIG_MAX, ret, err);

    if (r < 0)
        return r;
    sha256_hex(ret->p, ret->n, hex);
    if (streq(hex, digest + strlen("sha256:")))
        return 0;
    buf_fini(ret);
    return error_set(err, EBADMSG, "image archive: digest mismatch of %s", digest);
}

static int oci_image(struct load *l, const struct manifest *m, struct str text,
                     const struct descriptor *top, const char *digest, struct error **err)
{
    struct image_strings layers = {0};
    struct image_record rec;
    struct buf config;
    char hex[65];
    int r = blob_read(l, m->config.digest, &config, err);

    if (r < 0)
        return r;
    for (size_t i = 0; i < m->n; i++) {
        cleanup_free char *name = xasprintf("blobs/sha256/%s", m->v[i].digest + strlen("sha256:"));
        image_strings_add(&layers, name);
    }
    r = image_make(l, buf_str(&config), &layers, true, &rec, err);
    buf_fini(&config);
    image_strings_fini(&layers);
    if (r < 0)
        return r;
    r = blob_store(l->q, text, hex, err);
    rec.manifest = xstrdup(hex);
    struct image_ref ref;
    if (r == 0 && top->ref_name && image_ref_parse(str_of(top->ref_name), &ref, NULL) == 0) {
        cleanup_free char *name = image_ref_name(&ref),
                          *with_digest = xasprintf("%s@%s", name, digest);
        /* a bare tag, which some tools write, is not a name */
        if (strpbrk(top->ref_name, ":/")) {
            image_strings_add(&rec.digests, with_digest);
            r = name_add(&rec, top->ref_name, err);
        }
        image_ref_fini(&ref);
    }
    if (r == 0)
        image_send(&rec, digest);
    else
        image_record_fini(&rec);
    return r;
}

static int oci_descriptor(struct load *l, const struct descriptor *d, const struct descriptor *top,
                          const char *platform, int depth, struct error **err)
{
    struct manifest m = {0};
    struct buf text;
    int r = blob_read(l, d->digest, &text, err);

    if (r < 0)
        return r;
    r = manifest_parse(buf_str(&text), &m, err);
    if (r == 0 && !m.index) {
        r = oci_image(l, &m, buf_str(&text), top, top->digest, err);
    } else if (r == 0) {
        const struct descriptor *next = depth < 3 ? manifest_choose(&m, platform) : NULL;
        r = next ? oci_descriptor(l, next, top, platform, depth + 1, err)
                 : error_set(err, ENOENT, "image archive: no image for platform %s", platform);
    }
    buf_fini(&text);
    manifest_fini(&m);
    return r;
}

static int oci_archive(struct load *l, struct error **err)
{
    cleanup_free char *platform = l->q->platform ? xstrdup(l->q->platform) : manifest_platform();
    struct manifest index;
    struct buf b;
    int r = member_read(l, "index.json", MANIFEST_MAX, &b, err);

    if (r < 0)
        return r;
    r = manifest_parse(buf_str(&b), &index, err);
    buf_fini(&b);
    if (r < 0)
        return r;
    if (!index.index || index.n == 0)
        r = error_set(err, EBADMSG, "image archive: index.json lists no image");
    for (size_t i = 0; r == 0 && i < index.n; i++)
        r = oci_descriptor(l, &index.v[i], &index.v[i], platform, 0, err);
    manifest_fini(&index);
    return r;
}

int worker_load(const struct worker_request *q, int fd, struct error **err)
{
    struct load l = {.q = q};
    int r;

    map_init(&l.files);
    r = spool(&l, fd, err);
    if (r == 0) {
        /* where both are, the OCI side knows digests */
        if (member_path(&l, "index.json") && member_path(&l, "oci-layout"))
            r = oci_archive(&l, err);
        else if (member_path(&l, "manifest.json"))
            r = docker_archive(&l, err);
        else
            r = error_set(err, EBADMSG,
                          "not an image archive: neither manifest.json (docker) nor index.json "
                          "(OCI) is in it");
    }
    map_fini(&l.files, free);
    return r;
}
