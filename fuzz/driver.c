/* Runs a fuzz target over files and directories of inputs, each also cut short at a few places:
 * what an ordinary build does with the corpus. */
#include "base/buf.h"
#include "base/file.h"
#include "base/mem.h"
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static unsigned count;

/* Exact-size heap copies, so that a sanitizer sees a read past the end. */
static void run_bytes(const char *p, size_t n)
{
    uint8_t *copy = xmalloc(n ? n : 1);
    memcpy(copy, p, n);
    (void)LLVMFuzzerTestOneInput(copy, n);
    free(copy);
    count++;
}

static int run_file(const char *path)
{
    struct buf b = {0};
    if (file_read(path, (size_t)16 << 20, &b, NULL) < 0)
        return -1;
    run_bytes(strna(b.p), b.n);
    for (size_t i = 1; i < 32 && b.n; i++)
        run_bytes(b.p, b.n * i / 32);
    buf_fini(&b);
    return 0;
}

static int run_entry(int dirfd, const char *name, unsigned char type, void *arg)
{
    (void)dirfd;
    (void)type;
    char *path = path_join(arg, name);
    int r = run_file(path);
    free(path);
    return r;
}

int main(int argc, char **argv)
{
    run_bytes("", 0);
    for (int i = 1; i < argc; i++) {
        struct stat st;
        int r = stat(argv[i], &st);
        if (!r)
            r = S_ISDIR(st.st_mode) ? dir_each(argv[i], run_entry, argv[i], NULL)
                                    : run_file(argv[i]);
        if (r) {
            fprintf(stderr, "%s: cannot be read\n", argv[i]);
            return 1;
        }
    }
    printf("%u inputs\n", count);
    return 0;
}
