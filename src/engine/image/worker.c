#include "engine/image/worker.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/sha256.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <locale.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>

void worker_send(const struct buf *b)
{
    /* without a reader there is nobody to work for */
    if (send(WORKER_FD, b->p, b->n, MSG_NOSIGNAL) < 0 && (errno == EPIPE || errno == ECONNRESET))
        _exit(1);
}

void worker_progress(const char *id, const char *status, uint64_t current, uint64_t total)
{
    static char last[64];
    static struct mono at;
    cleanup_buf struct buf b = {0};
    char key[64];

    (void)snprintf(key, sizeof(key), "%s %s", id, status);
    if (streq(key, last) && current != total && mono_ms_since(at) < 100)
        return;
    (void)snprintf(last, sizeof(last), "%s", key);
    at = mono_now();
    buf_init(&b, MESSAGE_MAX);
    worker_message_progress(&b, id, status, current, total);
    worker_send(&b);
}

int blob_store(const struct worker_request *q, struct str text, char ret_hex[static 65],
               struct error **err)
{
    sha256_hex(text.p, text.n, ret_hex);
    cleanup_free char *path = xasprintf("%s/images/blobs/%s", q->root, ret_hex);
    return path_exists(path) ? 0 : file_write_atomic(path, 0600, text, err);
}

int worker_image_begin(const struct worker_request *q, struct str config, struct image_record *ret,
                       struct error **err)
{
    struct image_record rec = {0};
    struct image_config_data data;
    struct arena arena;
    char hex[65];
    int r;

    arena_init(&arena, 0);
    r = image_config_data_parse(config, &arena, &data, &rec.diff_ids, err);
    arena_fini(&arena);
    if (r < 0 || (r = blob_store(q, config, hex, err)) < 0) {
        image_record_fini(&rec);
        return r;
    }
    rec.id = xasprintf("sha256:%s", hex);
    layer_chains(&rec.diff_ids, &rec.layers);
    *ret = rec;
    return 0;
}

static int clean_one(int dirfd, const char *name, unsigned char type, void *arg)
{
    cleanup_free char *path = path_join(".", name);

    (void)dir_remove_tree(path, NULL);
    return 0;
}

/* The directory on standard input is emptied: trees that the engine has moved out of the way. */
static int clean(void)
{
    if (fchdir(0) < 0)
        return 1;
    return dir_each(".", clean_one, NULL, NULL) < 0;
}

/* What unpacking as root takes, and no more: owners, modes, devices, file capabilities, trusted
 * attributes. */
static void drop_capabilities(void)
{
    static const int kept[] = {CAP_CHOWN, CAP_DAC_OVERRIDE, CAP_FOWNER,   CAP_FSETID,
                               CAP_MKNOD, CAP_SETFCAP,      CAP_SYS_ADMIN};
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct now[2] = {0}, less[2] = {0};

    if (syscall(SYS_capget, &header, now) < 0)
        return;
    for (size_t i = 0; i < ARRAY_LEN(kept); i++)
        less[kept[i] / 32].permitted |= now[kept[i] / 32].permitted & (1u << (kept[i] % 32));
    for (size_t i = 0; i < ARRAY_LEN(less); i++)
        less[i].effective = less[i].permitted;
    (void)syscall(SYS_capset, &header, less);
}

static int run(void)
{
    static char packet[MESSAGE_MAX];
    struct error *err = NULL;
    struct worker_request q;
    cleanup_buf struct buf b = {0};
    ssize_t n = recv(WORKER_FD, packet, sizeof(packet), MSG_TRUNC);
    int r;

    if (n <= 0 || (size_t)n > sizeof(packet))
        return 2;
    r = worker_request_parse((struct str){packet, (size_t)n}, &q, &err);
    explicit_bzero(packet, sizeof(packet)); /* credentials */
    if (r == 0) {
        r = streq(q.op, "pull")   ? worker_pull(&q, &err)
            : streq(q.op, "load") ? worker_load(&q, 0, &err)
                                  : error_set(&err, EINVAL, "unknown operation");
        worker_request_fini(&q);
    }
    buf_init(&b, MESSAGE_MAX);
    if (r < 0)
        worker_message_error(&b, err ? err->code : EIO, error_message(err));
    else
        worker_message_done(&b);
    worker_send(&b);
    error_free(err);
    return r < 0;
}

int image_worker_main(int argc, char **argv)
{
    struct rlimit none = {0, 0};

    /* names in archives are bytes; libarchive wants a locale that can hold them */
    (void)setlocale(LC_CTYPE, "C.UTF-8");
    (void)setrlimit(RLIMIT_CORE, &none);
    (void)prctl(PR_SET_DUMPABLE, 0);
    (void)umask(022);
    drop_capabilities();
    if (argc == 2 && streq(argv[1], "clean"))
        return clean();
    if (argc == 2 && streq(argv[1], "run"))
        return run();
    (void)fprintf(stderr,
                  "skiff-worker is started by the engine; there is nothing to call it for\n");
    return 2;
}
