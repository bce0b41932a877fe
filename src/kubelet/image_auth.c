#include "kubelet/image_auth.h"
#include "codec/json.h"
#include "kubelet/refs.h"

#define CONFIG_MAX (1u << 20)

/* "docker.io" for names without a registry. */
static struct str registry_of(const char *image)
{
    const char *slash = strchr(image, '/');
    struct str host = {image, slash ? (size_t)(slash - image) : 0};

    if (!slash || (!memchr(host.p, '.', host.n) && !memchr(host.p, ':', host.n) &&
                   !str_eq_z(host, "localhost")))
        return STR("docker.io");
    return host;
}

bool image_auth_matches(const char *key, const char *image)
{
    struct str host = registry_of(image);
    struct str k = str_of(key);

    if (str_starts(k, STR("https://")))
        k = (struct str){k.p + 8, k.n - 8};
    else if (str_starts(k, STR("http://")))
        k = (struct str){k.p + 7, k.n - 7};
    if (str_eq_z(host, "docker.io"))
        return str_starts(k, STR("docker.io")) || str_starts(k, STR("index.docker.io"));
    struct str rest = k;
    struct str kh = str_split(&rest, '/');
    if (!str_eq(kh, host))
        return false;
    if (!rest.p || !rest.n || str_eq_z(rest, "v1/") || str_eq_z(rest, "v2/"))
        return true;
    return strstarts(image + host.n + 1, rest.p); /* "registry/path" */
}

static Runtime__V1__AuthConfig *auth_of(struct arena *a, const json_t *v, const char *server)
{
    Runtime__V1__AuthConfig *c = object_new(a, &runtime__v1__auth_config__descriptor);
    const char *auth = json_text_or(v, "auth", NULL);

    c->server_address = arena_strdup(a, server);
    c->username = arena_strdup(a, json_text_or(v, "username", ""));
    c->password = arena_strdup(a, json_text_or(v, "password", ""));
    c->identity_token = arena_strdup(a, json_text_or(v, "identitytoken", ""));
    c->registry_token = arena_strdup(a, json_text_or(v, "registrytoken", ""));
    if (auth && !*c->username) {
        struct buf plain;
        char *colon;

        buf_init(&plain, 64 * 1024);
        if (buf_add_base64_decoded(&plain, str_of(auth)) >= 0 && plain.p &&
            (colon = memchr(plain.p, ':', plain.n))) {
            c->username = arena_strndup(a, plain.p, (size_t)(colon - plain.p));
            c->password = arena_strdup(a, colon + 1);
        }
        buf_fini(&plain);
    }
    return c;
}

static Runtime__V1__AuthConfig *search(struct arena *a, const K8s__Secret *s, const char *image)
{
    for (size_t i = 0; i < s->n_data; i++) {
        bool config = streq(s->data[i]->key, ".dockerconfigjson");
        cleanup_json json_t *doc = NULL;
        const json_t *auths;
        const char *key;
        json_t *v;

        if (!config && !streq(s->data[i]->key, ".dockercfg"))
            continue;
        if (json_parse((struct str){(const char *)s->data[i]->value.data, s->data[i]->value.len},
                       CONFIG_MAX, "secret", &doc, NULL) < 0)
            continue;
        auths = config ? json_object_get(doc, "auths") : doc;
        json_object_foreach((json_t *)(uintptr_t)auths, key,
                            v) if (image_auth_matches(key, image)) return auth_of(a, v, key);
    }
    return NULL;
}

Runtime__V1__AuthConfig *image_auth(struct arena *a, struct pod *p, const char *image)
{
    for (size_t i = 0; i < p->api->spec->n_imagepullsecrets; i++) {
        K8s__Secret *s;
        Runtime__V1__AuthConfig *c;

        if (!p->api->spec->imagepullsecrets[i]->name ||
            refs_secret(p, p->api->spec->imagepullsecrets[i]->name, &s, NULL) != REF_OK)
            continue;
        c = search(a, s, image);
        if (c)
            return c;
    }
    return NULL;
}
