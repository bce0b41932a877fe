#include "engine/image/ref.h"
#include "base/mem.h"
#include "base/test.h"
#include <errno.h>
#include <stdlib.h>

#define D64 "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static void good(const char *in, const char *out, const char *familiar)
{
    struct image_ref r;
    struct error *err = NULL;

    if (image_ref_parse(str_of(in), &r, &err) < 0)
        fail_msg("%s: %s", in, error_message(err));
    char *text = image_ref_text(&r), *f = image_ref_familiar(text);
    assert_string_equal(text, out);
    assert_string_equal(f, familiar);
    free(text);
    free(f);
    image_ref_fini(&r);
}

static void bad(const char *in)
{
    struct image_ref r;
    struct error *err = NULL;

    if (image_ref_parse(str_of(in), &r, &err) != -EINVAL)
        fail_msg("%s was accepted", in);
    assert_non_null(strstr(error_message(err), "could not parse image reference"));
    error_free(err);
}

TEST(defaults_of_docker)
{
    good("nginx", "docker.io/library/nginx:latest", "nginx:latest");
    good("nginx:1.7.9", "docker.io/library/nginx:1.7.9", "nginx:1.7.9");
    good("a/b", "docker.io/a/b:latest", "a/b:latest");
    good("docker.io/nginx", "docker.io/library/nginx:latest", "nginx:latest");
    good("index.docker.io/a/b:c", "docker.io/a/b:c", "a/b:c");
    good("localhost/x", "localhost/x:latest", "localhost/x:latest");
    good("127.0.0.1:5000/a/b-c__d.e:T_1-x", "127.0.0.1:5000/a/b-c__d.e:T_1-x",
         "127.0.0.1:5000/a/b-c__d.e:T_1-x");
    good("[::1]:5000/a", "[::1]:5000/a:latest", "[::1]:5000/a:latest");
}

TEST(digests)
{
    good("nginx@sha256:" D64, "docker.io/library/nginx@sha256:" D64, "nginx@sha256:" D64);
    good("nginx:1@sha256:" D64, "docker.io/library/nginx:1@sha256:" D64, "nginx:1@sha256:" D64);
    bad("nginx@sha256:0123");
    bad("nginx@md5:" D64);
    bad(D64);
}

TEST(refused)
{
    const char *const words[] = {
        "",     ":",     "/",        "a//b",        "Nginx",        "a/B",
        "a:",   "a:b:c", "-a",       "a-",          "a..b",         "a___b",
        "a b",  "../x",  "a/../b",   "host:port/a", "host:99999/a", "a.b-/c",
        "a:.x", "a@",    "\xc3\xa9", "[::1/a",      "a\nb"};

    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
        bad(words[i]);
}

TEST_MAIN()
