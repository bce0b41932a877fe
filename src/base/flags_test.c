#include "base/flags.h"
#include "base/str.h"
#include "base/test.h"
#include <errno.h>
#include <stdlib.h>
static char *name;
static bool on;
static int64_t count, wait_ns;
static struct flag_list list;
static bool seen;
static const struct flag table[] = {
    {.name = "name", .type = FLAG_STRING, .target = &name, .help = "a name", .seen = &seen},
    {.name = "on", .type = FLAG_BOOL, .target = &on},
    {.name = "v", .shorthand = 'v', .type = FLAG_INT, .target = &count, .min = 0, .max = 10},
    {.name = "wait", .type = FLAG_DURATION, .target = &wait_ns},
    {.name = "list", .type = FLAG_LIST, .target = &list},
    {.name = "old", .type = FLAG_IGNORED},
};
static int parse(struct error **err, int argc, ...)
{
    char *argv[16] = {(char *)"prog"};
    va_list ap;
    va_start(ap, argc);
    for (int i = 1; i <= argc; i++)
        argv[i] = va_arg(ap, char *);
    va_end(ap);
    return flags_parse("prog", table, 6, argc + 1, argv, NULL, err);
}
TEST(all_spellings)
{
    struct error *err = NULL;
    assert_int_equal(parse(&err, 9, "--name=x", "-on", "-v=2", "--wait", "1m30s", "--list", "a, b",
                           "--list=c", "--old=1"),
                     0);
    assert_string_equal(name, "x");
    assert_true(on && seen);
    assert_int_equal(count, 2);
    assert_true(wait_ns == 90000000000LL);
    assert_int_equal(list.n, 3);
    assert_string_equal(list.v[1], "b");
    flag_list_fini(&list);
    assert_int_equal(parse(&err, 1, "--on=false"), 0);
    assert_false(on);
    free(name);
    name = NULL;
}
static void expect(struct error **err, int r, const char *text)
{
    assert_int_equal(r, -EINVAL);
    assert_string_equal(error_message(*err), text);
    error_clear(err);
}
TEST(errors_name_the_thing)
{
    struct error *err = NULL;
    expect(&err, parse(&err, 1, "--nam=x"),
           "prog: unknown flag --nam; did you mean --name? (--help lists them)");
    expect(&err, parse(&err, 1, "--v=11"),
           "invalid value \"11\" for flag --v: want a whole number from 0 to 10");
    expect(&err, parse(&err, 1, "--wait"), "prog: flag --wait needs a value");
    expect(&err, parse(&err, 1, "word"), "prog: unexpected word \"word\"; a flag starts with --");
    expect(&err, parse(&err, 1, "--on=maybe"),
           "invalid value \"maybe\" for flag --on: want true or false");
}
TEST_MAIN()
