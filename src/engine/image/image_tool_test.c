/* The image command and the faces of images without the rest of the engine, for
 * tests/component/image_test.sh: image-tool image ARGUMENTS... image-tool serve DATA-ROOT
 * DOCKER-SOCKET CRI-SOCKET     until SIGTERM *   image-tool mount DATA-ROOT IMAGE RW-DIR|- TARGET
 *   image-tool unmount TARGET
 *   image-tool sweep DIRECTORY
 *   image-tool cri CRI-SOCKET list|status|pull|remove|fs [IMAGE]
 */
#include "base/mem.h"
#include "cri.pb-c.h"
#include "engine/docker/docker.h"
#include "engine/image/image.h"
#include "engine/image/image_cli.h"
#include "net/grpc.h"
#include <signal.h>

static void on_signal(struct loop_signal *s, int signo)
{
    loop_exit(s->loop, 0);
}

static int serve(char **argv)
{
    struct loop *l = loop_new();
    struct image_config cfg = {.data_root = argv[2], .certs_dir = getenv("CERTS_DIR")};
    struct image_store *store = NULL;
    struct docker_api *docker = NULL;
    struct grpc_server *grpc = NULL;
    struct error *err = NULL;
    struct loop_signal term = {0};

    if (image_config_read_daemon_json(&cfg, argv[5] ? argv[5] : "/nonexistent", &err) < 0 ||
        image_store_open(l, &cfg, &store, &err) < 0 ||
        docker_api_start(l, argv[3], store, &docker, &err) < 0 ||
        grpc_server_new(l, argv[4], 0600, &grpc, &err) < 0) {
        (void)fprintf(stderr, "%s\n", error_message(err));
        return 1;
    }
    cri_image_register(grpc, store);
    loop_signal_start(l, &term, SIGTERM, on_signal);
    (void)loop_run(l);
    loop_signal_stop(&term);
    grpc_server_free(grpc);
    docker_api_stop(docker);
    image_store_close(store);
    image_strings_fini(&cfg.mirrors);
    image_strings_fini(&cfg.insecure);
    loop_free(l);
    return 0;
}

static int report(int r, struct error **err)
{
    if (r < 0)
        (void)fprintf(stderr, "%s\n", error_message(*err));
    error_clear(err);
    return r < 0;
}

static int mount_one(char **argv)
{
    struct loop *l = loop_new();
    struct image_config cfg = {.data_root = argv[2]};
    struct image_store *store = NULL;
    struct error *err = NULL;
    int r = image_store_open(l, &cfg, &store, &err);

    if (r == 0 && streq(argv[4], "-"))
        r = image_rootfs_mount_ro(store, argv[3], argv[5], &err);
    else if (r == 0)
        r = image_rootfs_mount(store, argv[3], argv[4], argv[5], &err);
    image_store_close(store);
    loop_free(l);
    return report(r, &err);
}

/* ---- CRI ---- */
struct cri_run {
    struct loop *loop;
    int rc;
};

static void print_image(const Runtime__V1__Image *im)
{
    (void)printf("%s %s %s size=%llu uid=%lld user=%s pinned=%d\n", im->id,
                 im->n_repo_tags ? im->repo_tags[0] : "<none>",
                 im->n_repo_digests ? im->repo_digests[0] : "<none>", (unsigned long long)im->size,
                 im->uid ? (long long)im->uid->value : -1LL, im->username, im->pinned);
}

static void on_reply(int code, const char *message, const ProtobufCMessage *reply, void *arg)
{
    struct cri_run *run = arg;

    if (code != GRPC_OK) {
        (void)printf("%s: %s\n", grpc_code_name(code), message);
        run->rc = 1;
    } else if (reply->descriptor == &runtime__v1__list_images_response__descriptor) {
        const Runtime__V1__ListImagesResponse *r = (const void *)reply;
        for (size_t i = 0; i < r->n_images; i++)
            print_image(r->images[i]);
    } else if (reply->descriptor == &runtime__v1__image_status_response__descriptor) {
        const Runtime__V1__ImageStatusResponse *r = (const void *)reply;
        if (r->image)
            print_image(r->image);
        else
            (void)printf("no image\n");
        for (size_t i = 0; i < r->n_info; i++)
            (void)printf("%s: %s\n", r->info[i]->key, r->info[i]->value);
    } else if (reply->descriptor == &runtime__v1__pull_image_response__descriptor) {
        (void)printf("%s\n",
                     ((const Runtime__V1__PullImageResponse *)(const void *)reply)->image_ref);
    } else if (reply->descriptor == &runtime__v1__image_fs_info_response__descriptor) {
        const Runtime__V1__ImageFsInfoResponse *r = (const void *)reply;
        (void)printf("%s bytes=%llu inodes=%llu\n", r->image_filesystems[0]->fs_id->mountpoint,
                     (unsigned long long)r->image_filesystems[0]->used_bytes->value,
                     (unsigned long long)r->image_filesystems[0]->inodes_used->value);
    }
    loop_exit(run->loop, 0);
}

static int cri(int argc, char **argv)
{
    struct cri_run run = {loop_new(), 0};
    struct grpc_client *c = grpc_client_new(run.loop, argv[2]);
    Runtime__V1__ImageSpec spec = RUNTIME__V1__IMAGE_SPEC__INIT;
    Runtime__V1__ListImagesRequest list = RUNTIME__V1__LIST_IMAGES_REQUEST__INIT;
    Runtime__V1__ImageStatusRequest status = RUNTIME__V1__IMAGE_STATUS_REQUEST__INIT;
    Runtime__V1__PullImageRequest pull = RUNTIME__V1__PULL_IMAGE_REQUEST__INIT;
    Runtime__V1__RemoveImageRequest removal = RUNTIME__V1__REMOVE_IMAGE_REQUEST__INIT;
    Runtime__V1__ImageFsInfoRequest fs = RUNTIME__V1__IMAGE_FS_INFO_REQUEST__INIT;
    const char *verb = argv[3];

    spec.image = argc > 4 ? argv[4] : (char *)"";
    status.image = pull.image = removal.image = &spec;
    status.verbose = argc > 5;
    if (streq(verb, "list"))
        grpc_call_start(c, "/runtime.v1.ImageService/ListImages", &list.base,
                        &runtime__v1__list_images_response__descriptor, 0, on_reply, &run);
    else if (streq(verb, "status"))
        grpc_call_start(c, "/runtime.v1.ImageService/ImageStatus", &status.base,
                        &runtime__v1__image_status_response__descriptor, 0, on_reply, &run);
    else if (streq(verb, "pull"))
        grpc_call_start(c, "/runtime.v1.ImageService/PullImage", &pull.base,
                        &runtime__v1__pull_image_response__descriptor, 0, on_reply, &run);
    else if (streq(verb, "remove"))
        grpc_call_start(c, "/runtime.v1.ImageService/RemoveImage", &removal.base,
                        &runtime__v1__remove_image_response__descriptor, 0, on_reply, &run);
    else
        grpc_call_start(c, "/runtime.v1.ImageService/ImageFsInfo", &fs.base,
                        &runtime__v1__image_fs_info_response__descriptor, 0, on_reply, &run);
    (void)loop_run(run.loop);
    grpc_client_free(c);
    loop_free(run.loop);
    return run.rc;
}

int main(int argc, char **argv)
{
    if (argc > 2 && streq(argv[1], "image"))
        return image_cli_main(argc - 1, argv + 1);
    if (argc >= 5 && streq(argv[1], "serve"))
        return serve(argv);
    struct error *err = NULL;
    if (argc == 6 && streq(argv[1], "mount"))
        return mount_one(argv);
    if (argc == 3 && streq(argv[1], "unmount"))
        return report(image_rootfs_unmount(argv[2], &err), &err);
    if (argc == 3 && streq(argv[1], "sweep"))
        return report(image_rootfs_sweep(argv[2], NULL, NULL, &err), &err);
    if (argc >= 4 && streq(argv[1], "cri"))
        return cri(argc, argv);
    return 2;
}
