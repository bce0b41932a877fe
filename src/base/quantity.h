/* Kubernetes resource.Quantity: "100m", "64Mi", "1e3", "0.5". Kept as an integer of 10^-3 units. */
#pragma once
#include "base/str.h"
struct quantity {
    int64_t milli; /* value * 1000, rounded up, saturating at int64 */
    char format;   /* 'b' binary suffix, 'd' decimal suffix, 'e' exponent */
};
int quantity_parse(struct str s, struct quantity *ret); /* -EINVAL, -ERANGE */
#define QUANTITY_TEXT 40
void quantity_format(struct quantity q, char out[static QUANTITY_TEXT]); /* canonical form */
static inline int64_t quantity_value(struct quantity q) /* whole units, rounded up */
{
    return q.milli / 1000 + (q.milli % 1000 > 0);
}
/* Convenience on NUL-terminated text: NULL or invalid gives fallback. */
int64_t quantity_milli_or(const char *z, int64_t fallback);
int64_t quantity_value_or(const char *z, int64_t fallback);
