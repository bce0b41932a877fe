/* The image command and the faces of images without the rest of the engine, for tests/component/image_test.sh:
 *   image-tool image ARGUMENTS...
 *   image-tool serve DATA-ROOT DOCKER-SOCKET CRI-SOCKET     until SIGTERM */
#include "base/mem.h"
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
    struct image_config cfg = {.data_root = argv[2]};
    struct image_store *store = NULL;
    struct docker_api *docker = NULL;
    struct grpc_server *grpc = NULL;
    struct error *err = NULL;
    struct loop_signal term = {0};

    if (image_config_read_daemon_json(&cfg, argv[5] ? argv[5] : "/nonexistent", &err) < 0 ||
        image_store_open(l, &cfg, &store, &err) < 0 || docker_api_start(l, argv[3], store, &docker, &err) < 0 ||
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

int main(int argc, char **argv)
{
    if (argc > 2 && streq(argv[1], "image"))
        return image_cli_main(argc - 1, argv + 1);
    if (argc >= 5 && streq(argv[1], "serve"))
        return serve(argv);
    return 2;
}
