#include "api/kubeconfig.h"
#include "base/cleanup.h"
#include "base/file.h"
#include "base/mem.h"
#include "codec/yaml.h"
#include <errno.h>

#define KUBECONFIG_BYTES_MAX ((size_t)1 << 20)

void kubeconfig_fini(struct kubeconfig *k)
{
    char **all[] = {&k->server,    &k->tls_server_name, &k->ca_file,  &k->ca_pem,
                    &k->cert_file, &k->cert_pem,        &k->key_file, &k->key_pem,
                    &k->token,     &k->token_file,      &k->username, &k->password,
                    &k->context,   &k->namespace_,      &k->cluster,  &k->user};
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        free(*all[i]);
        *all[i] = NULL;
    }
}

/* The entry of list (root[plural]) whose name is name; its value stands under singular. */
static const json_t *named(const json_t *root, const char *plural, const char *singular,
                           const char *name)
{
    json_t *list = json_object_get(root, plural);
    for (size_t i = 0; i < json_array_size(list); i++) {
        json_t *e = json_array_get(list, i);
        if (streq(json_text_at(e, "name", NULL), name))
            return json_object_get(e, singular);
    }
    return NULL;
}

/* X-data (base64) goes to *pem, else X (a path, perhaps relative) to *file. */
static int file_or_data(const json_t *o, const char *key, const char *base_dir, char **ret_file,
                        char **ret_pem, struct error **err)
{
    cleanup_free char *data_key = xasprintf("%s-data", key);
    const char *data = json_text_at(o, data_key, NULL), *path = json_text_at(o, key, NULL);
    if (data && *data) {
        struct buf b;
        buf_init(&b, KUBECONFIG_BYTES_MAX);
        if (buf_add_base64_decoded(&b, str_trim(str_of(data))) < 0) {
            buf_fini(&b);
            return error_set(err, EINVAL, "%s is not base64", data_key);
        }
        *ret_pem = buf_take(&b);
    } else if (path && *path) {
        *ret_file = *path == '/' ? xstrdup(path) : path_join(base_dir, path);
    }
    return 0;
}

static int read_cluster(const json_t *c, const char *base_dir, struct kubeconfig *k,
                        struct error **err)
{
    k->server = xstrdup_null(json_text_at(c, "server", NULL));
    if (!k->server || !*k->server)
        return error_set(err, EINVAL, "cluster \"%s\" has no server", k->cluster);
    size_t n = strlen(k->server);
    while (n && k->server[n - 1] == '/')
        k->server[--n] = 0;
    if (!strstarts(k->server, "https://") && !strstarts(k->server, "http://"))
        return error_set(err, EINVAL, "server \"%s\" is not an http or https URL", k->server);
    k->tls_server_name = xstrdup_null(json_text_at(c, "tls-server-name", NULL));
    k->insecure_skip_tls_verify = json_bool_or(c, "insecure-skip-tls-verify", false);
    return file_or_data(c, "certificate-authority", base_dir, &k->ca_file, &k->ca_pem, err);
}

static int read_user(const json_t *u, const char *base_dir, struct kubeconfig *k,
                     struct error **err)
{
    if (json_object_get(u, "exec") || json_object_get(u, "auth-provider"))
        return error_set(err, ENOTSUP,
                         "user \"%s\" gets its credentials from a plug-in (exec, auth-provider), "
                         "which is not supported: use a client certificate or a token",
                         k->user);
    int r = file_or_data(u, "client-certificate", base_dir, &k->cert_file, &k->cert_pem, err);
    if (!r)
        r = file_or_data(u, "client-key", base_dir, &k->key_file, &k->key_pem, err);
    if (r)
        return r;
    if ((k->cert_file || k->cert_pem) != (k->key_file || k->key_pem))
        return error_set(err, EINVAL, "user \"%s\" has a client certificate or a key, but not both",
                         k->user);
    const char *file = json_text_at(u, "tokenFile", NULL);
    if (file && *file)
        k->token_file = *file == '/' ? xstrdup(file) : path_join(base_dir, file);
    k->token = xstrdup_null(json_text_at(u, "token", NULL));
    k->username = xstrdup_null(json_text_at(u, "username", NULL));
    k->password = xstrdup_null(json_text_at(u, "password", NULL));
    return 0;
}

static int resolve(const json_t *root, const char *base_dir, const char *context,
                   struct kubeconfig *k, struct error **err)
{
    if (!json_is_object(root))
        return error_set(err, EINVAL, "not a kubeconfig: the document is not a mapping");
    const char *kind = json_text_at(root, "kind", NULL);
    if (kind && !streq(kind, "Config"))
        return error_set(err, EINVAL, "not a kubeconfig: kind is \"%s\", not Config", kind);
    k->context = xstrdup_null(context ? context : json_text_at(root, "current-context", NULL));
    if (!k->context || !*k->context)
        return error_set(err, EINVAL, "no current-context is set");
    const json_t *ctx = named(root, "contexts", "context", k->context);
    if (!ctx)
        return error_set(err, ENOENT, "context \"%s\" does not exist", k->context);
    k->cluster = xstrdup(strna(json_text_at(ctx, "cluster", NULL)));
    k->user = xstrdup(strna(json_text_at(ctx, "user", NULL)));
    k->namespace_ = xstrdup_null(json_text_at(ctx, "namespace", NULL));
    const json_t *cluster = named(root, "clusters", "cluster", k->cluster);
    if (!cluster)
        return error_set(err, ENOENT, "context \"%s\" names cluster \"%s\", which does not exist",
                         k->context, k->cluster);
    int r = read_cluster(cluster, base_dir, k, err);
    if (r || !*k->user)
        return r;
    const json_t *user = named(root, "users", "user", k->user);
    if (!user)
        return error_set(err, ENOENT, "context \"%s\" names user \"%s\", which does not exist",
                         k->context, k->user);
    return read_user(user, base_dir, k, err);
}

int kubeconfig_parse(struct str text, const char *base_dir, const char *context,
                     struct kubeconfig *ret, struct error **err)
{
    cleanup_json json_t *root = NULL;
    int r = yaml_parse(text, KUBECONFIG_BYTES_MAX, "kubeconfig", &root, err);
    if (r)
        return r;
    cleanup_kubeconfig struct kubeconfig k = {0};
    r = resolve(root, base_dir, context, &k, err);
    if (r)
        return r;
    *ret = k;
    k = (struct kubeconfig){0};
    return 0;
}

int kubeconfig_load(const char *path, struct kubeconfig *ret, struct error **err)
{
    cleanup_buf struct buf b = {0};
    int r = file_read(path, KUBECONFIG_BYTES_MAX, &b, err);
    if (r)
        return error_wrap(err, "kubeconfig");
    const char *slash = strrchr(path, '/');
    cleanup_free char *dir = slash ? xstrndup(path, (size_t)(slash - path) + 1) : xstrdup("./");
    r = kubeconfig_parse(buf_str(&b), dir, NULL, ret, err);
    return r ? error_wrap(err, "kubeconfig %s", path) : 0;
}

#define IN_CLUSTER "/var/run/secrets/kubernetes.io/serviceaccount"

int kubeconfig_in_cluster(struct kubeconfig *ret, struct error **err)
{
    const char *host = getenv("KUBERNETES_SERVICE_HOST"), *port = getenv("KUBERNETES_SERVICE_PORT");
    if (!host || !*host || !port || !*port)
        return error_set(err, ENOENT,
                         "not inside a pod: KUBERNETES_SERVICE_HOST and _PORT are not set");
    bool v6 = strchr(host, ':') != NULL;
    *ret = (struct kubeconfig){
        .server = xasprintf("https://%s%s%s:%s", v6 ? "[" : "", host, v6 ? "]" : "", port),
        .ca_file = xstrdup(IN_CLUSTER "/ca.crt"),
        .token_file = xstrdup(IN_CLUSTER "/token"),
        .context = xstrdup("in-cluster"),
        .cluster = xstrdup("in-cluster"),
        .user = xstrdup("in-cluster"),
    };
    return 0;
}

/* ---- writing ---- */

static void put(json_t *o, const char *key, const char *value)
{
    if (value)
        (void)json_object_set_new(o, key, json_string(value));
}

static void put_data(json_t *o, const char *key, const char *path, const char *pem)
{
    cleanup_buf struct buf b;
    buf_init(&b, BUF_UNBOUNDED);
    cleanup_free char *data_key = xasprintf("%s-data", key);
    if (pem) {
        (void)buf_add_base64(&b, pem, strlen(pem));
        put(o, data_key, b.p);
    } else {
        put(o, key, path);
    }
}

static json_t *entry(const char *name, const char *key, json_t *value)
{
    return json_pack("[{s:o, s:s}]", key, value, "name", name);
}

int kubeconfig_format(const struct kubeconfig *k, struct buf *b)
{
    const char *cluster_name = k->cluster ? k->cluster : "default";
    const char *user_name = k->user ? k->user : "default";
    const char *context_name = k->context ? k->context : "default";
    json_t *cluster = json_object(), *user = json_object(), *context = json_object();
    put_data(cluster, "certificate-authority", k->ca_file, k->ca_pem);
    if (k->insecure_skip_tls_verify)
        (void)json_object_set_new(cluster, "insecure-skip-tls-verify", json_true());
    put(cluster, "server", k->server);
    put(cluster, "tls-server-name", k->tls_server_name);
    put(context, "cluster", cluster_name);
    put(context, "namespace", k->namespace_);
    put(context, "user", user_name);
    put_data(user, "client-certificate", k->cert_file, k->cert_pem);
    put_data(user, "client-key", k->key_file, k->key_pem);
    put(user, "token", k->token);
    put(user, "tokenFile", k->token_file);
    put(user, "username", k->username);
    put(user, "password", k->password);
    cleanup_json json_t *root =
        json_pack("{s:s, s:o, s:o, s:s, s:s, s:o}", "apiVersion", "v1", "clusters",
                  entry(cluster_name, "cluster", cluster), "contexts",
                  entry(context_name, "context", context), "current-context", context_name, "kind",
                  "Config", "users", entry(user_name, "user", user));
    return root ? yaml_write(root, b) : -EINVAL;
}

int kubeconfig_write(const struct kubeconfig *k, const char *path, struct error **err)
{
    cleanup_buf struct buf b;
    buf_init(&b, KUBECONFIG_BYTES_MAX);
    int r = kubeconfig_format(k, &b);
    if (r)
        return error_set_errno(err, -r, "kubeconfig %s", path);
    return file_write_atomic(path, 0600, buf_str(&b), err);
}
