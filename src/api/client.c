#include "api/client.h"
#include "api/client_private.h"
#include "base/cleanup.h"
#include "base/file.h"
#include "base/mem.h"
#include <errno.h>
#include <sys/stat.h>

#define TOKEN_BYTES_MAX ((size_t)64 << 10)
#define CHECK_PERIOD_MS 10000

static struct tls_client_config tls_config(const struct kubeconfig *k)
{
    return (struct tls_client_config){
        .ca = {.path = k->ca_file, .data = str_of(k->ca_pem)},
        .insecure = k->insecure_skip_tls_verify,
        .cert = {.path = k->cert_file, .data = str_of(k->cert_pem)},
        .key = {.path = k->key_file, .data = str_of(k->key_pem)},
    };
}

static void config_copy(struct kubeconfig *to, const struct kubeconfig *from)
{
    to->server = xstrdup(from->server);
    to->tls_server_name = xstrdup_null(from->tls_server_name);
    to->insecure_skip_tls_verify = from->insecure_skip_tls_verify;
    to->ca_file = xstrdup_null(from->ca_file);
    to->ca_pem = xstrdup_null(from->ca_pem);
    to->cert_file = xstrdup_null(from->cert_file);
    to->cert_pem = xstrdup_null(from->cert_pem);
    to->key_file = xstrdup_null(from->key_file);
    to->key_pem = xstrdup_null(from->key_pem);
    to->token = xstrdup_null(from->token);
    to->token_file = xstrdup_null(from->token_file);
    to->username = xstrdup_null(from->username);
    to->password = xstrdup_null(from->password);
    to->namespace_ = xstrdup_null(from->namespace_);
}

int kube_client_new(struct loop *l, const struct kubeconfig *k, const struct kube_client_options *o,
                    struct kube_client **ret, struct error **err)
{
    if (!k->server)
        return error_set(err, EINVAL, "no API server is named");
    struct kube_client *c = xcalloc(1, sizeof(*c));
    c->loop = l;
    list_init(&c->calls);
    config_copy(&c->config, k);
    int r = 0;
    if (strstarts(c->config.server, "https:")) {
        struct tls_client_config tc = tls_config(&c->config);
        r = tls_client_new(&tc, &c->tls, err);
    }
    if (!r) {
        struct http_client_config hc = {
            .base_url = c->config.server,
            .tls = c->tls,
            .server_name = c->config.tls_server_name,
            .user_agent = o ? o->user_agent : NULL,
            .http2 = true, /* all watches of a node share one connection */
        };
        r = http_client_new(l, &hc, &c->http, err);
    }
    if (r) {
        kube_client_free(c);
        return r;
    }
    c->checked = mono_now();
    *ret = c;
    return 0;
}

void kube_client_free(struct kube_client *c)
{
    if (!c)
        return;
    while (!list_empty(&c->calls))
        kube_call_free_from_client(c->calls.next);
    http_client_free(c->http);
    tls_client_unref(c->tls);
    kubeconfig_fini(&c->config);
    free(c->token);
    free(c);
}

int kube_client_reload(struct kube_client *c, struct error **err)
{
    kube_client_forget_token(c);
    return c->tls ? tls_client_reload_files(c->tls, err) : 0;
}

const char *kube_client_server(const struct kube_client *c)
{
    return c->config.server;
}

struct loop *kube_client_loop(const struct kube_client *c)
{
    return c->loop;
}

void kube_client_forget_token(struct kube_client *c)
{
    c->token_mtime = (struct wall){0};
    c->checked = (struct mono){0};
}

/* Reads the token file when it changed; keeps the old token when the new one cannot be read. */
static int refresh_token(struct kube_client *c, struct error **err)
{
    struct stat st;
    if (stat(c->config.token_file, &st) < 0)
        return c->token ? 0 : error_set_errno(err, errno, "token file %s", c->config.token_file);
    struct wall mtime = {st.st_mtim.tv_sec * NSEC_PER_SEC + st.st_mtim.tv_nsec};
    if (c->token && mtime.ns == c->token_mtime.ns)
        return 0;
    cleanup_buf struct buf b = {0};
    int r = file_read(c->config.token_file, TOKEN_BYTES_MAX, &b, err);
    if (r)
        return c->token ? (error_clear(err), 0) : r;
    struct str t = str_trim(buf_str(&b));
    if (!t.n)
        return c->token ? 0
                        : error_set(err, EINVAL, "token file %s is empty", c->config.token_file);
    free(c->token);
    c->token = str_dup(t);
    c->token_mtime = mtime;
    return 0;
}

static int refresh_files(struct kube_client *c, struct error **err)
{
    if (c->checked.ns && mono_ms_since(c->checked) < CHECK_PERIOD_MS &&
        (c->token || !c->config.token_file))
        return 0;
    c->checked = mono_now();
    if (c->tls && tls_client_files_changed(c->tls))
        (void)tls_client_reload_files(c->tls,
                                      NULL); /* half-written: the old one serves until next time */
    return c->config.token_file ? refresh_token(c, err) : 0;
}

int kube_client_authorization(struct kube_client *c, struct buf *b, struct error **err)
{
    int r = refresh_files(c, err);
    if (r)
        return r;
    const char *token = c->config.token_file ? c->token : c->config.token;
    if (token && *token)
        return buf_printf(b, "Bearer %s", token);
    if (!c->config.username)
        return 0;
    cleanup_buf struct buf pair;
    buf_init(&pair, 4096);
    (void)buf_printf(&pair, "%s:%s", c->config.username, strna(c->config.password));
    (void)buf_add_z(b, "Basic ");
    return buf_add_base64(b, pair.p, pair.n);
}
