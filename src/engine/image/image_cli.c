#include "engine/image/image_cli.h"
#include "base/log.h"
#include "base/mem.h"
#include "engine/docker/docker.h"
#include "engine/image/image_cli_private.h"
#include "net/http_client.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>

int image_cli_say(const struct error *err)
{
    (void)fprintf(stderr, "skiff image: %s\n", error_message(err));
    return 1;
}

int image_cli_open(const char *file, struct error **err)
{
    int fd = streq(file, "-") ? fcntl(0, F_DUPFD_CLOEXEC, 3) : open(file, O_RDONLY | O_CLOEXEC);

    return fd < 0 ? error_set_errno(err, errno, "open %s", file) : fd;
}

void image_cli_row(const char *name, const char *id, uint64_t size_bytes)
{
    (void)printf("%-50s %-14.12s %8.1f MB\n", name, strstarts(id, "sha256:") ? id + 7 : id,
                 (double)size_bytes / 1e6);
}

/* ---- without an engine ---- */
struct local {
    struct image_cli *cli;
    int rc;
};

static void on_done(const struct image_result *r, void *arg)
{
    struct local *l = arg;

    if (r->error)
        l->rc = image_cli_say(r->error);
    for (size_t i = 0; i < r->names.n; i++)
        (void)printf("Loaded image: %s\n", r->names.v[i]);
    for (size_t i = 0; r->names.n == 0 && i < r->ids.n; i++)
        (void)printf("Loaded image ID: %s\n", r->ids.v[i]);
    loop_exit(l->cli->loop, 0);
}

static int local_run(struct image_cli *c, struct local *l, int started, struct error *err)
{
    if (started < 0)
        l->rc = image_cli_say(err);
    else
        (void)loop_run(c->loop);
    error_free(err);
    return l->rc;
}

int image_cli_local_load(struct image_cli *c, const char *file)
{
    struct local l = {c, 0};
    struct error *err = NULL;
    int fd = image_cli_open(file, &err);

    int r = fd < 0 ? fd : image_load(c->store, fd, NULL, on_done, &l, NULL, &err);

    return local_run(c, &l, r, err);
}

int image_cli_local_pull(struct image_cli *c, const char *name)
{
    struct local l = {c, 0};
    struct error *err = NULL;
    int r = image_pull(c->store, name, NULL, NULL, on_done, &l, NULL, &err);

    return local_run(c, &l, r, err);
}

int image_cli_local_list(struct image_cli *c)
{
    const struct image *im;

    for (size_t i = 0; (im = image_at(c->store, i)); i++) {
        for (size_t k = 0; k < im->repo_tags.n; k++)
            image_cli_row(im->repo_tags.v[k], im->id, im->size_bytes);
        if (!im->repo_tags.n)
            image_cli_row("<none>", im->id, im->size_bytes);
    }
    return 0;
}

int image_cli_local_remove(struct image_cli *c, const char *name)
{
    cleanup_error struct error *err = NULL;

    return image_remove(c->store, name, IMAGE_REMOVE_UNTAG, NULL, NULL, &err) < 0
               ? image_cli_say(err)
               : 0;
}

int image_cli_local_tag(struct image_cli *c, const char *name, const char *to)
{
    cleanup_error struct error *err = NULL;

    return image_tag(c->store, name, to, &err) < 0 ? image_cli_say(err) : 0;
}

/* ---- commands ---- */
static bool engine_answers(const char *path)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    cleanup_close int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0 || strlen(path) >= sizeof(a.sun_path))
        return false;
    memcpy(a.sun_path, path, strlen(path) + 1);
    return connect(fd, (struct sockaddr *)&a, sizeof(a)) == 0;
}

static int cli_open(struct image_cli *c)
{
    cleanup_error struct error *err = NULL;
    struct image_config cfg = {.data_root = c->data_root};

    c->loop = loop_new();
    if (!c->offline && engine_answers(c->socket)) {
        cleanup_free char *url = xasprintf("unix://%s", c->socket);
        struct http_client_config hc = {.base_url = url};
        if (http_client_new(c->loop, &hc, &c->client, &err) < 0)
            return image_cli_say(err);
        return 0;
    }
    if (geteuid() != 0) {
        (void)fprintf(
            stderr, "skiff image: no engine answers at %s, and only root can work on %s directly\n",
            c->socket, c->data_root);
        return 1;
    }
    log_set_level(LOG_LEVEL_WARN); /* what the store would tell a journal is printed by us */
    return image_store_open(c->loop, &cfg, &c->store, &err) < 0 ? image_cli_say(err) : 0;
}

static void usage(FILE *to)
{
    (void)fprintf(
        to, "Usage: skiff image load FILE... | pull NAME... | ls | rm NAME... | tag NAME NEW-NAME\n"
            "  --socket PATH     Docker API socket of the engine (" DOCKER_SOCKET ")\n"
            "  --data-root PATH  used directly when no engine answers (/var/lib/skiff/engine)\n"
            "  --offline         use the data root even if an engine answers\n");
}

static int each(struct image_cli *c, const struct flag_list *args,
                int (*remote)(struct image_cli *, const char *),
                int (*local)(struct image_cli *, const char *))
{
    int rc = 0;

    for (size_t i = 1; i < args->n; i++)
        rc |= c->client ? remote(c, args->v[i]) : local(c, args->v[i]);
    return rc;
}

static int cli_run(struct image_cli *c, const struct flag_list *args)
{
    const char *verb = args->v[0];

    if (streq(verb, "ls") || streq(verb, "list"))
        return c->client ? image_cli_remote_list(c) : image_cli_local_list(c);
    if (streq(verb, "load"))
        return each(c, args, image_cli_remote_load, image_cli_local_load);
    if (streq(verb, "pull"))
        return each(c, args, image_cli_remote_pull, image_cli_local_pull);
    if (streq(verb, "rm"))
        return each(c, args, image_cli_remote_remove, image_cli_local_remove);
    return c->client ? image_cli_remote_tag(c, args->v[1], args->v[2])
                     : image_cli_local_tag(c, args->v[1], args->v[2]);
}

static bool arguments_ok(const struct flag_list *args)
{
    static const struct {
        const char *verb;
        size_t least, most;
    } verbs[] = {{"ls", 1, 1},       {"list", 1, 1},   {"load", 2, 10000},
                 {"pull", 2, 10000}, {"rm", 2, 10000}, {"tag", 3, 3}};

    for (size_t i = 0; args->n && i < ARRAY_LEN(verbs); i++)
        if (streq(verbs[i].verb, args->v[0]))
            return args->n >= verbs[i].least && args->n <= verbs[i].most;
    return false;
}

int image_cli_main(int argc, char **argv)
{
    struct image_cli c = {.socket = xstrdup(DOCKER_SOCKET),
                          .data_root = xstrdup("/var/lib/skiff/engine")};
    const struct flag flags[] = {
        {.name = "socket",
         .type = FLAG_STRING,
         .target = &c.socket,
         .help = "Docker API socket of the engine"},
        {.name = "data-root",
         .type = FLAG_STRING,
         .target = &c.data_root,
         .help = "used directly when no engine answers"},
        {.name = "offline",
         .type = FLAG_BOOL,
         .target = &c.offline,
         .help = "use the data root even if an engine answers"},
        {.name = "quiet",
         .shorthand = 'q',
         .type = FLAG_BOOL,
         .target = &c.quiet,
         .help = "no progress"},
    };
    struct flag_list args = {0};
    cleanup_error struct error *err = NULL;
    int rc = 2, r = flags_parse("skiff image", flags, ARRAY_LEN(flags), argc, argv, &args, &err);

    if (r < 0)
        (void)image_cli_say(err);
    else if (r == FLAGS_HELP)
        rc = 0;
    else if (!arguments_ok(&args))
        usage(stderr);
    else if ((rc = cli_open(&c)) == 0)
        rc = cli_run(&c, &args);
    flag_list_fini(&args);
    while (c.store && image_store_busy(c.store)) /* what was removed goes before we do */
        loop_run_once(c.loop, -1);
    http_client_free(c.client);
    image_store_close(c.store);
    loop_free(c.loop);
    free(c.socket);
    free(c.data_root);
    return rc;
}
