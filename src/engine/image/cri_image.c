/* runtime.v1.ImageService over the image store. */
#include "base/arena.h"
#include "base/log.h"
#include "base/mem.h"
#include "cri.pb-c.h"
#include "engine/image/image.h"
#include "engine/image/ref.h"
#include "net/grpc.h"
#include <errno.h>

#define STREAM_CHUNK 100 /* images in one message of StreamImages */

/* What wraps an image into CRI's struct; strings are borrowed from the store for the turn. */
struct cri_image {
    Runtime__V1__Image image;
    Runtime__V1__Int64Value uid;
};

static void cri_image_fill(struct arena *a, const struct image *im, struct cri_image *ret)
{
    struct str rest = str_of(im->config.user), user = str_split(&rest, ':');
    int64_t uid;

    *ret = (struct cri_image){RUNTIME__V1__IMAGE__INIT, RUNTIME__V1__INT64_VALUE__INIT};
    ret->image.id = (char *)im->id;
    ret->image.n_repo_tags = im->repo_tags.n;
    ret->image.repo_tags = im->repo_tags.v;
    ret->image.n_repo_digests = im->repo_digests.n;
    ret->image.repo_digests = im->repo_digests.v;
    ret->image.size = im->size_bytes;
    ret->image.pinned = im->pinned;
    if (user.n && str_to_i64(user, 0, INT64_MAX, &uid) == 0) {
        ret->uid.value = uid;
        ret->image.uid = &ret->uid;
    } else if (user.n) {
        ret->image.username = arena_strndup(a, user.p, user.n);
    } /* neither: the kubelet takes it for root */
}

/* Images that a filter lets through, as CRI messages in the arena. */
static Runtime__V1__Image **cri_images(struct image_store *s,
                                       const Runtime__V1__ImageFilter *filter, struct arena *a,
                                       size_t *ret_n)
{
    const char *only =
        filter && filter->image && *filter->image->image ? filter->image->image : NULL;
    const struct image *wanted = only ? image_get(s, only) : NULL, *im;
    size_t n = 0;

    while (image_at(s, n))
        n++;
    Runtime__V1__Image **v = arena_alloc(a, sizeof(*v) * (n + 1));
    *ret_n = 0;
    for (size_t i = 0; (im = image_at(s, i)); i++) {
        if (only && im != wanted)
            continue;
        struct cri_image *c = arena_alloc(a, sizeof(*c));
        cri_image_fill(a, im, c);
        v[(*ret_n)++] = &c->image;
    }
    return v;
}

static void list_images(struct grpc_context *x, const ProtobufCMessage *request, void *arg)
{
    const Runtime__V1__ListImagesRequest *q = (const Runtime__V1__ListImagesRequest *)request;
    Runtime__V1__ListImagesResponse reply = RUNTIME__V1__LIST_IMAGES_RESPONSE__INIT;
    struct arena a;

    arena_init(&a, 8192);
    reply.images = cri_images(arg, q->filter, &a, &reply.n_images);
    grpc_reply(x, &reply.base);
    arena_fini(&a);
}

static void stream_images(struct grpc_context *x, const ProtobufCMessage *request, void *arg)
{
    const Runtime__V1__StreamImagesRequest *q = (const Runtime__V1__StreamImagesRequest *)request;
    struct arena a;
    size_t n;

    arena_init(&a, 8192);
    Runtime__V1__Image **v = cri_images(arg, q->filter, &a, &n);
    for (size_t i = 0; i < n; i += STREAM_CHUNK) {
        Runtime__V1__StreamImagesResponse part = RUNTIME__V1__STREAM_IMAGES_RESPONSE__INIT;
        part.images = v + i;
        part.n_images = n - i < STREAM_CHUNK ? n - i : STREAM_CHUNK;
        if (grpc_send(x, &part.base) < 0)
            break;
    }
    grpc_finish(x, GRPC_OK, "");
    arena_fini(&a);
}

static void image_status(struct grpc_context *x, const ProtobufCMessage *request, void *arg)
{
    const Runtime__V1__ImageStatusRequest *q = (const Runtime__V1__ImageStatusRequest *)request;
    Runtime__V1__ImageStatusResponse reply = RUNTIME__V1__IMAGE_STATUS_RESPONSE__INIT;
    Runtime__V1__ImageStatusResponse__InfoEntry
        info = RUNTIME__V1__IMAGE_STATUS_RESPONSE__INFO_ENTRY__INIT,
        *infos = &info;
    const struct image *im = q->image ? image_get(arg, q->image->image) : NULL;
    cleanup_free char *config = NULL, *text = NULL;
    struct cri_image c;
    struct arena a;

    arena_init(&a, 1024);
    if (im) {
        cri_image_fill(&a, im, &c);
        reply.image = &c.image;
    }
    if (im && q->verbose && image_read_blob(arg, im->id, "config", &config, NULL) == 0) {
        text = xasprintf("{\"chainID\":\"%s%s\",\"imageSpec\":%s}", im->layers.n ? "sha256:" : "",
                         im->layers.n ? im->layers.v[im->layers.n - 1] : "", config);
        info.key = (char *)"info";
        info.value = text;
        reply.info = &infos;
        reply.n_info = 1;
    }
    grpc_reply(x, &reply.base);
    arena_fini(&a);
}

static void on_pulled(const struct image_result *r, void *arg)
{
    struct grpc_context *x = arg;
    Runtime__V1__PullImageResponse reply = RUNTIME__V1__PULL_IMAGE_RESPONSE__INIT;

    if (r->error) {
        grpc_fail_error(x, r->error);
        return;
    }
    reply.image_ref = r->ids.v[0];
    grpc_reply(x, &reply.base);
}

static void pull_image(struct grpc_context *x, const ProtobufCMessage *request, void *arg)
{
    const Runtime__V1__PullImageRequest *q = (const Runtime__V1__PullImageRequest *)request;
    cleanup_error struct error *err = NULL;
    struct image_auth auth = {0};

    if (!q->image || !*q->image->image) {
        grpc_fail(x, GRPC_INVALID_ARGUMENT, "image name is empty");
        return;
    }
    if (q->auth)
        auth = (struct image_auth){q->auth->username, q->auth->password, q->auth->auth,
                                   q->auth->identity_token, q->auth->registry_token};
    /* A client that goes away does not stop the pull: its next attempt joins it or finds the image.
     */
    if (image_pull(arg, q->image->image, &auth, NULL, on_pulled, x, NULL, &err) < 0)
        grpc_fail_error(x, err);
}

static void remove_image(struct grpc_context *x, const ProtobufCMessage *request, void *arg)
{
    const Runtime__V1__RemoveImageRequest *q = (const Runtime__V1__RemoveImageRequest *)request;
    Runtime__V1__RemoveImageResponse reply = RUNTIME__V1__REMOVE_IMAGE_RESPONSE__INIT;
    cleanup_error struct error *err = NULL;
    int r;

    if (!q->image || !*q->image->image) {
        grpc_fail(x, GRPC_INVALID_ARGUMENT, "image name is empty");
        return;
    }
    r = image_remove(arg, q->image->image, 0, NULL, NULL, &err);
    if (r == -EBUSY)
        grpc_fail(x, GRPC_FAILED_PRECONDITION, "%s", error_message(err));
    else if (r < 0 && r != -ENOENT) /* gone already is what was wanted */
        grpc_fail_error(x, err);
    else
        grpc_reply(x, &reply.base);
}

static void image_fs_info(struct grpc_context *x, const ProtobufCMessage *request, void *arg)
{
    Runtime__V1__ImageFsInfoResponse reply = RUNTIME__V1__IMAGE_FS_INFO_RESPONSE__INIT;
    Runtime__V1__FilesystemUsage usage = RUNTIME__V1__FILESYSTEM_USAGE__INIT, *usages = &usage;
    Runtime__V1__FilesystemIdentifier where = RUNTIME__V1__FILESYSTEM_IDENTIFIER__INIT;
    Runtime__V1__UInt64Value bytes = RUNTIME__V1__UINT64_VALUE__INIT,
                             inodes = RUNTIME__V1__UINT64_VALUE__INIT;

    image_store_usage(arg, &bytes.value, &inodes.value);
    usage.timestamp = wall_now().ns;
    where.mountpoint = (char *)image_store_data_root(arg);
    usage.fs_id = &where;
    usage.used_bytes = &bytes;
    usage.inodes_used = &inodes;
    /* writable layers live on the same file system */
    reply.image_filesystems = reply.container_filesystems = &usages;
    reply.n_image_filesystems = reply.n_container_filesystems = 1;
    grpc_reply(x, &reply.base);
}

void cri_image_register(struct grpc_server *g, struct image_store *s)
{
    const struct {
        const char *method;
        const ProtobufCMessageDescriptor *request;
        grpc_handler_fn fn;
    } rows[] = {
        {"/runtime.v1.ImageService/ListImages", &runtime__v1__list_images_request__descriptor,
         list_images},
        {"/runtime.v1.ImageService/StreamImages", &runtime__v1__stream_images_request__descriptor,
         stream_images},
        {"/runtime.v1.ImageService/ImageStatus", &runtime__v1__image_status_request__descriptor,
         image_status},
        {"/runtime.v1.ImageService/PullImage", &runtime__v1__pull_image_request__descriptor,
         pull_image},
        {"/runtime.v1.ImageService/RemoveImage", &runtime__v1__remove_image_request__descriptor,
         remove_image},
        {"/runtime.v1.ImageService/ImageFsInfo", &runtime__v1__image_fs_info_request__descriptor,
         image_fs_info},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        grpc_server_handle(g, rows[i].method, rows[i].request, rows[i].fn, s);
}
