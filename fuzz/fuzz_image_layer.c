/* A layer's tar stream, unpacked into a directory that must hold all of it: beside the root stands
 * a file that no entry may touch. Needs root for most of what a layer can ask for; without, fewer
 * paths are reached. */
#include "base/file.h"
#include "engine/image/unpack.h"
#include <archive.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char top[64];

static void clean_up(void)
{
    (void)dir_remove_tree(top, NULL);
}

static int count_one(int dirfd, const char *name, unsigned char type, void *arg)
{
    ++*(int *)arg;
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct unpack_result res = {0};
    struct archive *a = archive_read_new();
    char root[96], gone[96];
    int n = 0;

    if (!*top) {
        (void)snprintf(top, sizeof(top), "/dev/shm/skiff-fuzz-layer-%d", (int)getpid());
        (void)atexit(clean_up);
    }
    (void)snprintf(root, sizeof(root), "%s/root", top);
    (void)snprintf(gone, sizeof(gone), "%s/gone", top);
    (void)dir_remove_tree(top, NULL);
    if (dir_make(root, 0755, NULL) < 0 || dir_make(gone, 0755, NULL) < 0)
        abort();
    int root_fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC),
        gone_fd = open(gone, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    archive_read_support_format_tar(a);
    archive_read_support_format_empty(a);
    if (archive_read_open_memory(a, data, size) == ARCHIVE_OK &&
        unpack_tar(a, root_fd, gone_fd, &res, NULL) == 0)
        image_strings_fini(&res.implicit);
    (void)archive_read_free(a);
    (void)close(root_fd);
    (void)close(gone_fd);
    if (dir_each(top, count_one, &n, NULL) < 0 || n != 2) /* something came out */
        abort();
    return 0;
}
