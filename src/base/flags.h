/*
 * Command-line flags as tables (Go's pflag/flag syntax: --name value, --name=value, -name too; bool
 * without a value is true). A row with FLAG_IGNORED is known upstream and of no use here: accepted
 * with one warning line. An unknown flag is an error that names the nearest known one.
 */
#pragma once
#include "base/error.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
enum flag_type {
    FLAG_STRING,       /* char ** (owned, str_replace'd) */
    FLAG_BOOL,         /* bool * */
    FLAG_INT,          /* int64_t *, within [min,max] when max > min */
    FLAG_DURATION,     /* int64_t * nanoseconds */
    FLAG_LIST,         /* struct flag_list *, comma-separated, repeatable */
    FLAG_FUNC,         /* flag_fn */
    FLAG_IGNORED,      /* takes a value */
    FLAG_IGNORED_BOOL, /* takes none unless written --x=y */
};
struct flag_list {
    char **v;
    size_t n;
};
typedef int (*flag_fn)(void *target, const char *value, struct error **err);
struct flag {
    const char *name; /* without dashes */
    char shorthand;   /* 'v' or 0 */
    enum flag_type type;
    void *target;
    const char *help; /* NULL hides it */
    int64_t min, max;
    flag_fn fn; /* FLAG_FUNC */
    bool *seen; /* set true when given; may be NULL */
};
/* Parses argv[1..]; program names messages. Non-flag words go to ret_args (borrowed, may be NULL:
 * then a word is an error). Returns 0, or -EINVAL; positive FLAGS_HELP when help was asked for and
 * printed. */
#define FLAGS_HELP 1
int flags_parse(const char *program, const struct flag *flags, size_t n, int argc, char **argv,
                struct flag_list *ret_args, struct error **err);
void flags_print_help(const char *program, const struct flag *flags, size_t n);
void flag_list_add(struct flag_list *l, const char *word);
void flag_list_fini(struct flag_list *l);
