/* Who a container runs as: names looked up in the image's own /etc/passwd and /etc/group. */
#pragma once
#include "base/error.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct user {
    int64_t uid, gid;
    int64_t *groups; /* supplementary, sorted, without duplicates; gid is among them as upstream
                        reports it */
    size_t groups_n;
    char *home; /* NULL unknown */
};
struct user_spec {
    const char *user; /* "", name, number, "a:b" */
    bool has_uid, has_gid;
    int64_t uid, gid;     /* win over user */
    const int64_t *extra; /* supplementary groups asked for */
    size_t extra_n;
    bool strict; /* groups only from extra, none from the image */
};
/* rootfs: open directory of the container's root. -EINVAL when a name is not there. */
int user_resolve(int rootfs, const struct user_spec *spec, struct user *ret, struct error **err);
void user_fini(struct user *u);
