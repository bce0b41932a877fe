/* One layer's pipeline: bytes, digest, decompression, digest, files. */
#include "base/file.h"
#include "base/mem.h"
#include "codec/json.h"
#include "engine/image/unpack.h"
#include "engine/image/worker.h"
#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <sys/stat.h>

#define READ_BYTES (256u * 1024)

/* ---- file source ---- */
static ssize_t file_source_read(struct source *s, const void **ret, struct error **err)
{
    struct file_source *f = container_of(s, struct file_source, source);
    ssize_t n;

    do {
        n = read(f->fd, f->buffer, READ_BYTES);
    } while (n < 0 && errno == EINTR);
    *ret = f->buffer;
    return n < 0 ? error_set_errno(err, errno, "read archive") : n;
}

void file_source_init(struct file_source *f, int fd)
{
    *f = (struct file_source){
        .source.read = file_source_read, .fd = fd, .buffer = xmalloc(READ_BYTES)};
}

void file_source_fini(struct file_source *f)
{
    if (f->fd >= 0)
        (void)close(f->fd);
    free(f->buffer);
    *f = (struct file_source){.fd = -1};
}

/* ---- pipeline ---- */
struct pipe_line {
    struct source *src;
    struct archive *outer, *inner; /* decompression; tar */
    EVP_MD_CTX *blob_hash, *diff_hash;
    const struct layer_task *task;
    uint64_t blob_bytes;
    struct error *error; /* of the source, which libarchive would hide */
    bool src_end, outer_end;
};

static la_ssize_t on_blob_read(struct archive *a, void *arg, const void **ret)
{
    struct pipe_line *p = arg;
    ssize_t n;

    if (p->error || p->src_end)
        return p->error ? -1 : 0;
    n = p->src->read(p->src, ret, &p->error);
    if (n < 0) {
        if (!p->error)
            error_set(&p->error, EIO, "read layer");
        archive_set_error(a, EIO, "source");
        return -1;
    }
    if (n == 0) {
        p->src_end = true;
        return 0;
    }
    p->blob_bytes += (uint64_t)n;
    if (p->blob_bytes > WORKER_LAYER_MAX)
        error_set(&p->error, EFBIG, "layer is longer than %llu bytes",
                  (unsigned long long)WORKER_LAYER_MAX);
    EVP_DigestUpdate(p->blob_hash, *ret, (size_t)n);
    worker_progress(p->task->label, "Downloading", p->blob_bytes, p->task->blob_bytes);
    return (la_ssize_t)n;
}

static la_ssize_t on_diff_read(struct archive *a, void *arg, const void **ret)
{
    struct pipe_line *p = arg;
    size_t n = 0;
    la_int64_t at;

    if (p->outer_end)
        return 0;
    int r = archive_read_data_block(p->outer, ret, &n, &at);
    if (r == ARCHIVE_EOF) {
        p->outer_end = true;
        return 0;
    }
    if (r != ARCHIVE_OK) {
        if (!p->error)
            error_set(&p->error, EBADMSG, "decompress: %s", strna(archive_error_string(p->outer)));
        archive_set_error(a, EIO, "decompress");
        return -1;
    }
    EVP_DigestUpdate(p->diff_hash, *ret, n);
    return (la_ssize_t)n;
}

static int pipe_open(struct pipe_line *p, struct error **err)
{
    struct archive_entry *e;

    p->outer = archive_read_new();
    p->inner = archive_read_new();
    archive_read_support_filter_gzip(p->outer);
    archive_read_support_filter_zstd(p->outer);
    archive_read_support_format_raw(p->outer);
    archive_read_support_format_empty(p->outer);
    archive_read_support_format_tar(p->inner);
    archive_read_support_format_empty(p->inner);
    (void)archive_read_set_options(p->inner, "!mac-ext");
    if (archive_read_open(p->outer, p, NULL, on_blob_read, NULL) != ARCHIVE_OK)
        return error_set(err, EBADMSG, "%s",
                         p->error ? error_message(p->error)
                                  : strna(archive_error_string(p->outer)));
    int r = archive_read_next_header(p->outer, &e);
    p->outer_end = r == ARCHIVE_EOF;
    if (r != ARCHIVE_OK && r != ARCHIVE_EOF)
        return error_set(err, EBADMSG, "%s",
                         p->error ? error_message(p->error)
                                  : strna(archive_error_string(p->outer)));
    if (archive_read_open(p->inner, p, NULL, on_diff_read, NULL) != ARCHIVE_OK)
        return error_set(err, EBADMSG, "%s",
                         p->error ? error_message(p->error)
                                  : strna(archive_error_string(p->inner)));
    return 0;
}

/* Padding behind the tar's end belongs to both digests. */
static int pipe_drain(struct pipe_line *p, struct error **err)
{
    const void *data;

    while (on_diff_read(p->inner, p, &data) > 0)
        ;
    while (!p->error && on_blob_read(p->outer, p, &data) > 0)
        ;
    return p->error ? error_set(err, p->error->code, "%s", error_message(p->error)) : 0;
}

static void hash_text(EVP_MD_CTX *c, char out[static 72])
{
    unsigned char d[EVP_MAX_MD_SIZE];
    unsigned n = 0;
    cleanup_buf struct buf b = {0};

    EVP_DigestFinal_ex(c, d, &n);
    buf_init(&b, 72);
    (void)buf_add_z(&b, "sha256:");
    (void)buf_add_hex(&b, d, n);
    memcpy(out, b.p, b.n + 1);
}

static int pipe_verify(struct pipe_line *p, struct error **err)
{
    const struct layer_task *t = p->task;
    char got[72];

    if (t->blob_bytes && *t->blob && p->blob_bytes != t->blob_bytes)
        return error_set(err, EBADMSG, "layer %s: %llu bytes came, %llu were announced", t->blob,
                         (unsigned long long)p->blob_bytes, (unsigned long long)t->blob_bytes);
    hash_text(p->blob_hash, got);
    if (*t->blob && !streq(got, t->blob))
        return error_set(err, EBADMSG, "layer %s: digest mismatch, the bytes that came are %s",
                         t->blob, got);
    hash_text(p->diff_hash, got);
    if (!streq(got, t->diff_id))
        return error_set(err, EBADMSG, "layer %s: content mismatch, unpacked it is %s", t->diff_id,
                         got);
    return 0;
}

static int layer_write_record(const struct worker_request *q, const struct layer_task *t,
                              const char *dir, const struct unpack_result *res, struct error **err)
{
    cleanup_free char *path = path_join(dir, "layer.json"), *list = path_join(dir, "implicit");
    cleanup_buf struct buf b = {0};
    cleanup_json json_t *o =
        json_pack("{ss ss sI sI}", "diffID", t->diff_id, "boot", q->boot, "size",
                  (json_int_t)res->size_bytes, "inodes", (json_int_t)res->inodes);
    int r;

    buf_init(&b, BUF_UNBOUNDED);
    for (size_t i = 0; i < res->implicit.n; i++) {
        (void)buf_add_z(&b, res->implicit.v[i]);
        (void)buf_add_char(&b, 0);
    }
    if (b.n && (r = file_write_atomic_nosync(list, 0600, buf_str(&b), err)) < 0)
        return r;
    buf_clear(&b);
    if (json_write(o, &b) < 0)
        return error_set(err, EIO, "layer record");
    return file_write_atomic_nosync(path, 0600, buf_str(&b), err);
}

static int pipe_run(struct pipe_line *p, const char *dir, struct unpack_result *res,
                    struct error **err)
{
    cleanup_free char *fs = path_join(dir, "fs"), *gone = path_join(dir, "gone");
    cleanup_close int root_fd = -1, gone_fd = -1;
    int r;

    if ((r = dir_make(fs, 0755, err)) < 0 || (r = dir_make(gone, 0700, err)) < 0)
        return r;
    root_fd = open(fs, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    gone_fd = open(gone, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (root_fd < 0 || gone_fd < 0)
        return error_set_errno(err, errno, "open %s", fs);
    if ((r = pipe_open(p, err)) < 0 || (r = unpack_tar(p->inner, root_fd, gone_fd, res, err)) < 0)
        return p->error ? error_set(err, p->error->code, "%s", error_message(p->error)) : r;
    if ((r = pipe_drain(p, err)) == 0)
        r = pipe_verify(p, err);
    return r;
}

int layer_unpack(const struct worker_request *q, const struct layer_task *t, struct source *src,
                 const char *dir, struct error **err)
{
    struct pipe_line p = {
        .src = src, .task = t, .blob_hash = EVP_MD_CTX_new(), .diff_hash = EVP_MD_CTX_new()};
    struct unpack_result res = {0};
    cleanup_free char *gone = path_join(dir, "gone");

    EVP_DigestInit_ex(p.blob_hash, EVP_sha256(), NULL);
    EVP_DigestInit_ex(p.diff_hash, EVP_sha256(), NULL);
    int r = pipe_run(&p, dir, &res, err);
    if (p.inner)
        (void)archive_read_free(p.inner);
    if (p.outer)
        (void)archive_read_free(p.outer);
    EVP_MD_CTX_free(p.blob_hash);
    EVP_MD_CTX_free(p.diff_hash);
    error_free(p.error);
    if (r == 0)
        r = dir_remove_tree(gone, err);
    if (r == 0)
        r = layer_write_record(q, t, dir, &res, err);
    image_strings_fini(&res.implicit);
    return r;
}
