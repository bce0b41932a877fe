#include "base/flags.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/time.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

void flag_list_add(struct flag_list *l, const char *word)
{
    l->v = xreallocarray(l->v, l->n + 1, sizeof *l->v);
    l->v[l->n++] = xstrdup(word);
}

void flag_list_fini(struct flag_list *l)
{
    for (size_t i = 0; i < l->n; i++)
        free(l->v[i]);
    free(l->v);
    *l = (struct flag_list){0};
}

static bool is_bool(const struct flag *f)
{
    return f->type == FLAG_BOOL || f->type == FLAG_IGNORED_BOOL;
}

static const struct flag *find(const struct flag *flags, size_t n, struct str name)
{
    for (size_t i = 0; i < n; i++) {
        if (str_eq_z(name, flags[i].name))
            return &flags[i];
        if (name.n == 1 && flags[i].shorthand && name.p[0] == flags[i].shorthand)
            return &flags[i];
    }
    return NULL;
}

static int unknown(const char *program, const struct flag *flags, size_t n, struct str name,
                   struct error **err)
{
    const char **names = xcalloc(n + 1, sizeof *names);
    char *word = str_dup(name);
    const char *near;
    int r;

    for (size_t i = 0; i < n; i++)
        names[i] = flags[i].name;
    near = str_nearest(word, names, n);
    if (near)
        r = error_set(err, EINVAL, "%s: unknown flag --%s; did you mean --%s? (--help lists them)",
                      program, word, near);
    else
        r = error_set(err, EINVAL, "%s: unknown flag --%s; %s --help lists those it knows", program,
                      word, program);
    free(word);
    free(names);
    return r;
}

static int parse_bool(const char *value, bool *ret)
{
    static const char *const yes[] = {"1", "t", "T", "true", "TRUE", "True"};
    static const char *const no[] = {"0", "f", "F", "false", "FALSE", "False"};

    for (size_t i = 0; i < 6; i++) {
        if (streq(value, yes[i]) || streq(value, no[i])) {
            *ret = streq(value, yes[i]);
            return 0;
        }
    }
    return -EINVAL;
}

static void add_words(struct flag_list *l, const char *value)
{
    struct str rest = str_of(value);

    while (rest.p) {
        struct str word = str_trim(str_split(&rest, ','));
        char *z;

        if (!word.n)
            continue;
        z = str_dup(word);
        flag_list_add(l, z);
        free(z);
    }
}

static int bad(const struct flag *f, const char *value, const char *want, struct error **err)
{
    return error_set(err, EINVAL, "invalid value \"%s\" for flag --%s: want %s", value, f->name,
                     want);
}

static int assign_int(const struct flag *f, const char *value, struct error **err)
{
    bool bounded = f->max > f->min;
    int64_t v;
    char want[96];

    if (str_to_i64(str_of(value), bounded ? f->min : INT64_MIN, bounded ? f->max : INT64_MAX, &v) ==
        0) {
        *(int64_t *)f->target = v;
        return 0;
    }
    if (bounded)
        (void)snprintf(want, sizeof want, "a whole number from %lld to %lld", (long long)f->min,
                       (long long)f->max);
    else
        (void)snprintf(want, sizeof want, "a whole number");
    return bad(f, value, want, err);
}

static int assign(const char *program, const struct flag *f, const char *value, struct error **err)
{
    if (f->seen)
        *f->seen = true;
    switch (f->type) {
    case FLAG_STRING:
        str_replace(f->target, value);
        return 0;
    case FLAG_BOOL:
        return parse_bool(value, f->target) < 0 ? bad(f, value, "true or false", err) : 0;
    case FLAG_INT:
        return assign_int(f, value, err);
    case FLAG_DURATION:
        return duration_parse(str_of(value), f->target) < 0
                   ? bad(f, value, "a duration such as 300ms, 10s or 1h30m", err)
                   : 0;
    case FLAG_LIST:
        add_words(f->target, value);
        return 0;
    case FLAG_FUNC:
        return f->fn(f->target, value, err);
    case FLAG_IGNORED:
    case FLAG_IGNORED_BOOL:
        log_warnf(program, "flag --%s is accepted and has no effect%s%s", f->name,
                  f->help ? ": " : "", strna(f->help));
        return 0;
    }
    return 0;
}

static int one_flag(const char *program, const struct flag *flags, size_t n, int argc, char **argv,
                    int *i, struct error **err)
{
    const char *word = argv[*i] + (argv[*i][1] == '-' ? 2 : 1);
    struct str rest = str_of(word), name = str_split(&rest, '=');
    const struct flag *f;

    if (str_eq_z(name, "help") || str_eq_z(name, "h")) {
        flags_print_help(program, flags, n);
        return FLAGS_HELP;
    }
    f = find(flags, n, name);
    if (!f)
        return unknown(program, flags, n, name, err);
    if (rest.p)
        return assign(program, f, rest.p, err);
    if (is_bool(f))
        return assign(program, f, "true", err);
    if (*i + 1 >= argc)
        return error_set(err, EINVAL, "%s: flag --%s needs a value", program, f->name);
    return assign(program, f, argv[++*i], err);
}

int flags_parse(const char *program, const struct flag *flags, size_t n, int argc, char **argv,
                struct flag_list *ret_args, struct error **err)
{
    bool only_words = false;

    for (int i = 1; i < argc; i++) {
        int r;

        if (!only_words && streq(argv[i], "--")) {
            only_words = true;
            continue;
        }
        if (!only_words && argv[i][0] == '-' && argv[i][1]) {
            r = one_flag(program, flags, n, argc, argv, &i, err);
            if (r)
                return r;
            continue;
        }
        if (!ret_args)
            return error_set(err, EINVAL, "%s: unexpected word \"%s\"; a flag starts with --",
                             program, argv[i]);
        flag_list_add(ret_args, argv[i]);
    }
    return 0;
}

void flags_print_help(const char *program, const struct flag *flags, size_t n)
{
    static const char *const kinds[] = {
        [FLAG_STRING] = " string",     [FLAG_BOOL] = "",         [FLAG_INT] = " int",
        [FLAG_DURATION] = " duration", [FLAG_LIST] = " list",    [FLAG_FUNC] = " value",
        [FLAG_IGNORED] = " value",     [FLAG_IGNORED_BOOL] = "",
    };

    (void)printf("Usage: %s [flags]\n\nFlags:\n", program);
    for (size_t i = 0; i < n; i++) {
        const struct flag *f = &flags[i];
        char left[96];

        if (!f->help || f->type == FLAG_IGNORED || f->type == FLAG_IGNORED_BOOL)
            continue;
        (void)snprintf(left, sizeof left, "%s%c%s--%s%s", f->shorthand ? "-" : "  ",
                       f->shorthand ? f->shorthand : ' ', f->shorthand ? ", " : " ", f->name,
                       kinds[f->type]);
        (void)printf("  %-44s %s\n", left, f->help);
    }
}
