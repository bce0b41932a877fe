/* Every field of KubeletConfiguration v1beta1 (v1.36) and the removed ones that old files still
 * carry. Private to config*.c. */
#pragma once
#include "kubelet/kubelet.h"
enum config_type {
    CONFIG_BOOL,
    CONFIG_INT,
    CONFIG_DURATION,
    CONFIG_TEXT,
    CONFIG_TEXTS,
    CONFIG_MAP,
    CONFIG_NUMBER,
    CONFIG_ANY,
    CONFIG_OBJECT,
    CONFIG_REMOVED, /* upstream had it once: accepted with a warning */
};
#define CONFIG_NOWHERE ((size_t)-1)
struct config_row {
    const char *path; /* "authentication.anonymous.enabled"; an object's own row comes before its
                         members' */
    enum config_type type;
    size_t
        offset; /* in struct kubelet_config, or CONFIG_NOWHERE: read, checked, of no effect here */
    int64_t min, max; /* CONFIG_INT, when max > min */
};
extern const struct config_row config_rows[];
extern const size_t config_rows_n;
/* Values that are understood and cannot be served: -EINVAL. */
int kubelet_config_check(const struct kubelet_config *c, struct error **err);
