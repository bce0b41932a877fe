/* Borrowed slices of bytes; never NUL-terminated by contract. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct str {
    const char *p;
    size_t n;
};
#define STR(lit) ((struct str){(lit), sizeof(lit) - 1})
#define STR_NULL ((struct str){NULL, 0})
/* For printf: "%.*s", STR_FMT(s). */
#define STR_FMT(s) (int)(s).n, (s).p
static inline struct str str_of(const char *z)
{
    return (struct str){z, z ? strlen(z) : 0};
}
bool str_eq(struct str a, struct str b);
bool str_eq_z(struct str a, const char *z);
bool str_ieq_z(struct str a, const char *z); /* ASCII case-insensitive */
bool str_starts(struct str s, struct str prefix);
bool str_ends(struct str s, struct str suffix);
struct str str_trim(struct str s); /* ASCII white space */
/* Splits *rest at the first sep: returns what is before, *rest becomes what is after; when there is
 * no sep returns all and *rest becomes {NULL,0}. Loop while (rest.p). */
struct str str_split(struct str *rest, char sep);
char *str_dup(struct str s); /* owned, NUL-terminated */
/* Whole-slice decimal; -EINVAL when not a number, -ERANGE outside [min,max]. */
int str_to_i64(struct str s, int64_t min, int64_t max, int64_t *ret);
int str_to_u64(struct str s, uint64_t max, uint64_t *ret);
/* NUL-terminated conveniences; NULL equals NULL only. */
bool streq(const char *a, const char *b);
bool strstarts(const char *s, const char *prefix);
bool strends(const char *s, const char *suffix);
static inline const char *strna(const char *s)
{
    return s ? s : "";
}
/* Of n candidates the one with the smallest edit distance to word, or NULL when none is near. */
const char *str_nearest(const char *word, const char *const *candidates, size_t n);
