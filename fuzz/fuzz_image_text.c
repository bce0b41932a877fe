/* Documents and words that come with images: references, manifests, configurations, challenges,
 * archive names, the worker's messages. The first byte says which. What parses must survive being
 * written and parsed again. */
#include "engine/image/challenge.h"
#include "engine/image/manifest.h"
#include "engine/image/message.h"
#include "engine/image/ref.h"
#include "engine/image/tar_path.h"
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void reference(struct str text)
{
    struct image_ref r, again;

    if (image_ref_parse(text, &r, NULL) < 0)
        return;
    char *normal = image_ref_text(&r), *short_name = image_ref_familiar(normal);
    if (image_ref_parse(str_of(normal), &again, NULL) < 0)
        abort();
    char *second = image_ref_text(&again);
    if (!streq(normal, second))
        abort();
    image_ref_fini(&r);
    image_ref_fini(&again);
    free(normal);
    free(second);
    free(short_name);
}

static void manifest(struct str text)
{
    struct manifest m;

    if (manifest_parse(text, &m, NULL) < 0)
        return;
    (void)manifest_choose(&m, "linux/arm/v7");
    manifest_fini(&m);
}

static void configuration(struct str text)
{
    struct image_config_data c;
    struct image_strings ids = {0};
    struct arena a;

    arena_init(&a, 0);
    if (image_config_data_parse(text, &a, &c, &ids, NULL) == 0)
        image_strings_fini(&ids);
    arena_fini(&a);
}

static void record(struct str text)
{
    struct image_record r, again;
    cleanup_buf struct buf b = {0};

    if (image_record_parse(text, &r, NULL) < 0)
        return;
    buf_init(&b, BUF_UNBOUNDED);
    if (image_record_write(&r, &b) < 0 || image_record_parse(buf_str(&b), &again, NULL) < 0)
        abort();
    image_record_fini(&r);
    image_record_fini(&again);
}

static void message(struct str text)
{
    struct worker_message m;
    struct worker_request q;

    if (worker_message_parse(text, &m, NULL) == 0)
        worker_message_fini(&m);
    if (worker_request_parse(text, &q, NULL) == 0)
        worker_request_fini(&q);
}

/* No component of a clean path is empty, "." or "..". */
static void path(struct str text)
{
    char *z = str_dup(text), out[TAR_PATH_MAX], parent[TAR_PATH_MAX];
    const char *base, *hidden;

    if (tar_path_clean(z, out) == 0) {
        for (struct str rest = str_of(out); *out && rest.p;) {
            struct str c = str_split(&rest, '/');
            if (!c.n || str_eq_z(c, ".") || str_eq_z(c, ".."))
                abort();
        }
        tar_path_split(out, parent, &base);
        if (strchr(base, '/') ||
            (tar_whiteout(base, &hidden) == TAR_WHITEOUT && (!*hidden || streq(hidden, ".."))))
            abort();
    }
    free(z);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str text = {(const char *)data + 1, size - 1};
    struct challenge c = {0};

    if (size < 1)
        return 0;
    switch (data[0] % 7) {
    case 0:
        reference(text);
        break;
    case 1:
        manifest(text);
        break;
    case 2:
        configuration(text);
        break;
    case 3:
        record(text);
        break;
    case 4:
        message(text);
        break;
    case 5:
        path(text);
        break;
    case 6:
        challenge_parse(text, &c);
        challenge_fini(&c);
        break;
    }
    return 0;
}
