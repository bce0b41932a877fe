#include "engine/image/ref.h"
#include "base/mem.h"
#include "engine/image/image.h"
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>

static bool lower_alnum(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

bool image_hex_ok(struct str s)
{
    if (s.n != 64)
        return false;
    for (size_t i = 0; i < s.n; i++)
        if (!((s.p[i] >= '0' && s.p[i] <= '9') || (s.p[i] >= 'a' && s.p[i] <= 'f')))
            return false;
    return true;
}

bool image_digest_ok(struct str s)
{
    return str_starts(s, STR("sha256:")) && image_hex_ok((struct str){s.p + 7, s.n - 7});
}

/* One path component: runs of letters and digits joined by one '.', one or two '_', or any number
 * of '-'. */
static bool component_ok(struct str s)
{
    size_t i = 0;

    if (s.n == 0 || !lower_alnum(s.p[0]) || !lower_alnum(s.p[s.n - 1]))
        return false;
    while (i < s.n) {
        if (lower_alnum(s.p[i])) {
            i++;
            continue;
        }
        char sep = s.p[i];
        size_t start = i;
        while (i < s.n && s.p[i] == sep)
            i++;
        size_t max = sep == '.' ? 1 : sep == '_' ? 2 : sep == '-' ? s.n : 0;
        if (i - start > max || i >= s.n || !lower_alnum(s.p[i]))
            return false;
    }
    return true;
}

static bool tag_ok(struct str s)
{
    if (s.n == 0 || s.n > 128)
        return false;
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        bool word = c < 128 && (isalnum(c) || c == '_');
        if (!word && (i == 0 || (c != '.' && c != '-')))
            return false;
    }
    return true;
}

/* host, host:port, [v6]:port; labels of letters, digits and inner hyphens. */
static bool domain_ok(struct str s)
{
    struct str host = s, port = STR_NULL;

    if (s.n && s.p[0] == '[') {
        const char *end = memchr(s.p, ']', s.n);
        if (!end)
            return false;
        for (const char *p = s.p + 1; p < end; p++)
            if (!isxdigit((unsigned char)*p) && *p != ':')
                return false;
        size_t n = (size_t)(end - s.p) + 1;
        if (n == s.n)
            return n > 2;
        if (s.p[n] != ':')
            return false;
        port = (struct str){s.p + n + 1, s.n - n - 1};
    } else {
        struct str rest = s;
        host = str_split(&rest, ':');
        if (rest.p)
            port = rest;
        while (host.p) {
            struct str label = str_split(&host, '.');
            if (label.n == 0 || label.p[0] == '-' || label.p[label.n - 1] == '-')
                return false;
            for (size_t i = 0; i < label.n; i++)
                if ((unsigned char)label.p[i] > 127 ||
                    (!isalnum((unsigned char)label.p[i]) && label.p[i] != '-'))
                    return false;
        }
    }
    uint64_t number;
    return !port.p || (port.n > 0 && str_to_u64(port, 65535, &number) == 0);
}

static bool looks_like_domain(struct str s)
{
    if (str_eq_z(s, "localhost"))
        return true;
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] == '.' || s.p[i] == ':' || (s.p[i] >= 'A' && s.p[i] <= 'Z'))
            return true;
    return false;
}

static int invalid(struct str text, const char *why, struct error **err)
{
    return error_set(err, EINVAL, "could not parse image reference \"%.*s\": %s", STR_FMT(text),
                     why);
}

static const char *ref_split(struct str text, struct str *domain, struct str *path, struct str *tag,
                             struct str *digest)
{
    struct str rest = text;

    *tag = *digest = STR_NULL;
    const char *at = memchr(rest.p, '@', rest.n);
    if (at) {
        *digest = (struct str){at + 1, (size_t)(text.p + text.n - at) - 1};
        rest.n = (size_t)(at - rest.p);
        if (!image_digest_ok(*digest))
            return "invalid digest, expected sha256: and 64 lower-case hex digits";
    }
    const char *slash = memrchr(rest.p, '/', rest.n);
    const char *from = slash ? slash : rest.p;
    const char *colon = memchr(from, ':', rest.n - (size_t)(from - rest.p));
    if (colon) {
        *tag = (struct str){colon + 1, (size_t)(rest.p + rest.n - colon) - 1};
        rest.n = (size_t)(colon - rest.p);
        if (!tag_ok(*tag))
            return "invalid tag";
    }
    *path = rest;
    *domain = STR_NULL;
    const char *first = memchr(rest.p, '/', rest.n);
    if (first && looks_like_domain((struct str){rest.p, (size_t)(first - rest.p)})) {
        *domain = (struct str){rest.p, (size_t)(first - rest.p)};
        *path = (struct str){first + 1, rest.n - domain->n - 1};
        if (!domain_ok(*domain))
            return "invalid registry name";
    }
    return NULL;
}

int image_ref_parse(struct str text, struct image_ref *ret, struct error **err)
{
    struct str domain, path, tag, digest;

    if (text.n == 0)
        return error_set(err, EINVAL, "could not parse image reference: it is empty");
    if (text.n > IMAGE_REF_MAX || memchr(text.p, 0, text.n))
        return error_set(err, EINVAL, "could not parse image reference: too long, or not text");
    const char *why = ref_split(text, &domain, &path, &tag, &digest);
    if (why)
        return invalid(text, why, err);
    for (struct str rest = path; rest.p;) {
        struct str c = str_split(&rest, '/');
        if (!component_ok(c)) {
            for (size_t i = 0; i < path.n; i++)
                if (path.p[i] >= 'A' && path.p[i] <= 'Z')
                    return invalid(
                        text, "invalid reference format: repository name must be lowercase", err);
            return invalid(text, "invalid reference format", err);
        }
    }
    if (!domain.p && image_hex_ok(path) && !tag.p)
        return invalid(text, "cannot specify 64-byte hexadecimal strings as a name", err);
    if (!domain.p || str_eq_z(domain, "index.docker.io"))
        domain = STR("docker.io");
    bool library = str_eq_z(domain, "docker.io") && !memchr(path.p, '/', path.n);
    if (domain.n + 1 + path.n + (library ? strlen("library/") : 0) > 255) /* as written out */
        return invalid(text, "repository name must not be more than 255 characters", err);
    *ret = (struct image_ref){
        .domain = str_dup(domain),
        .path = library ? xasprintf("library/%.*s", STR_FMT(path)) : str_dup(path),
        .tag = tag.p      ? str_dup(tag)
               : digest.p ? NULL
                          : xstrdup("latest"),
        .digest = digest.p ? str_dup(digest) : NULL,
    };
    return 0;
}

void image_ref_fini(struct image_ref *r)
{
    free(r->domain);
    free(r->path);
    free(r->tag);
    free(r->digest);
    *r = (struct image_ref){0};
}

int image_name_normalize(const char *name, char **ret, struct error **err)
{
    struct image_ref ref;
    int r = image_ref_parse(str_of(name), &ref, err);

    if (r < 0)
        return r;
    *ret = image_ref_text(&ref);
    image_ref_fini(&ref);
    return 0;
}

char *image_ref_name(const struct image_ref *r)
{
    return xasprintf("%s/%s", r->domain, r->path);
}

char *image_ref_text(const struct image_ref *r)
{
    return xasprintf("%s/%s%s%s%s%s", r->domain, r->path, r->tag ? ":" : "", strna(r->tag),
                     r->digest ? "@" : "", strna(r->digest));
}

char *image_ref_familiar(const char *normal)
{
    if (strstarts(normal, "docker.io/library/"))
        return xstrdup(normal + strlen("docker.io/library/"));
    if (strstarts(normal, "docker.io/"))
        return xstrdup(normal + strlen("docker.io/"));
    return xstrdup(normal);
}
