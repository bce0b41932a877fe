/* Signing in: basic, and the token server of a bearer challenge. */
#include "base/mem.h"
#include "codec/json.h"
#include "engine/image/registry_private.h"
#include <errno.h>

#define TOKEN_MAX (256u * 1024)

static size_t on_body(char *p, size_t size, size_t n, void *arg)
{
    return buf_add(arg, p, n) < 0 ? 0 : n;
}

static void basic_header(const char *user, const char *password, struct endpoint *ep)
{
    cleanup_free char *pair = xasprintf("%s:%s", user, strna(password));
    cleanup_buf struct buf b = {0};

    buf_init(&b, TOKEN_MAX);
    (void)buf_add_z(&b, "Authorization: Basic ");
    (void)buf_add_base64(&b, pair, strlen(pair));
    free(ep->authorization);
    ep->authorization = buf_take(&b);
}

/* A token is put into a header line: nothing that could end the line. */
static bool header_safe(const char *token)
{
    for (const char *p = token; *p; p++)
        if ((unsigned char)*p <= ' ' || (unsigned char)*p > '~')
            return false;
    return *token != 0;
}

static int bearer_header(struct endpoint *ep, const char *token, struct error **err)
{
    if (!header_safe(token))
        return error_set(err, EPROTO, "the token server answered with an unusable token");
    free(ep->authorization);
    ep->authorization = xasprintf("Authorization: Bearer %s", token);
    return 0;
}

static void parameter(struct buf *b, char first, const char *key, const char *value)
{
    (void)buf_add_char(b, first);
    (void)buf_add_z(b, key);
    (void)buf_add_char(b, '=');
    (void)buf_add_url_escaped(b, str_of(value));
}

/* URL with its query, and the form when a refresh token is exchanged. */
static void token_request(struct registry *r, struct endpoint *ep, const struct challenge *c,
                          struct buf *url, struct buf *form)
{
    cleanup_free char *scope =
        c->scope ? xstrdup(c->scope) : xasprintf("repository:%s:pull", r->path);

    (void)buf_add_z(url, c->realm);
    if (!ep->mirror && r->q->identity_token) {
        (void)buf_add_z(form, "grant_type=refresh_token&client_id=skiff");
        parameter(form, '&', "refresh_token", r->q->identity_token);
        parameter(form, '&', "scope", scope);
        if (c->service)
            parameter(form, '&', "service", c->service);
        return;
    }
    parameter(url, strchr(c->realm, '?') ? '&' : '?', "scope", scope);
    if (c->service)
        parameter(url, '&', "service", c->service);
    if (!ep->mirror && r->q->username)
        parameter(url, '&', "account", r->q->username);
}

static int token_read(struct endpoint *ep, struct str body, struct error **err)
{
    cleanup_json json_t *o = NULL;
    int e = json_parse(body, TOKEN_MAX, "answer of the token server", &o, err);

    if (e < 0)
        return e;
    const char *token = json_text_or(o, "token", NULL);
    if (!token || !*token)
        token = json_text_or(o, "access_token", "");
    return bearer_header(ep, token, err);
}

static int token_get(struct registry *r, struct endpoint *ep, const struct challenge *c,
                     struct error **err)
{
    cleanup_buf struct buf url, form, body;
    char detail[CURL_ERROR_SIZE] = "";
    struct answer a = {.range_start = -1};
    long status = 0;

    buf_init(&url, 16 * 1024);
    buf_init(&form, TOKEN_MAX);
    buf_init(&body, TOKEN_MAX);
    token_request(r, ep, c, &url, &form);
    /* the same limits and certificates as for the registry, but another address and no header of
     * its own */
    free(ep->authorization);
    ep->authorization = NULL;
    struct curl_slist *headers = registry_setup(r, ep, r->curl, "", false, &a);
    curl_easy_setopt(r->curl, CURLOPT_URL, url.p);
    if (form.n)
        curl_easy_setopt(r->curl, CURLOPT_POSTFIELDS, form.p);
    else if (!ep->mirror && r->q->username) {
        curl_easy_setopt(r->curl, CURLOPT_USERNAME, r->q->username);
        curl_easy_setopt(r->curl, CURLOPT_PASSWORD, strna(r->q->password));
    }
    curl_easy_setopt(r->curl, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(r->curl, CURLOPT_WRITEDATA, &body);
    curl_easy_setopt(r->curl, CURLOPT_ERRORBUFFER, detail);
    CURLcode code = curl_easy_perform(r->curl);
    curl_easy_setopt(r->curl, CURLOPT_ERRORBUFFER, NULL);
    curl_easy_getinfo(r->curl, CURLINFO_RESPONSE_CODE, &status);
    curl_slist_free_all(headers);
    answer_fini(&a);
    explicit_bzero(form.p ? form.p : detail, form.p ? form.n : 0);
    if (code != CURLE_OK)
        return registry_curl_error(r, code, detail, c->realm, err);
    if (status != 200)
        return registry_status_error(r, status == 400 || status == 404 ? 401 : status,
                                     buf_str(&body), c->realm, err);
    return token_read(ep, buf_str(&body), err);
}

int registry_authorize(struct registry *r, struct endpoint *ep, const struct challenge *c,
                       struct error **err)
{
    if (c->scheme == CHALLENGE_BASIC) {
        if (ep->mirror || !r->q->username)
            return 1;
        basic_header(r->q->username, r->q->password, ep);
        return 0;
    }
    if (!ep->mirror && r->q->registry_token)
        return bearer_header(ep, r->q->registry_token, err);
    bool tls = strstarts(c->realm, "https://");
    if (!tls && !strstarts(c->realm, "http://"))
        return error_set(err, EPROTO, "%s: the registry names an unusable token server",
                         r->ref_text);
    if (!tls && !ep->insecure)
        return error_set(err, EPROTO,
                         "%s: the registry names a token server without TLS, which is refused",
                         r->ref_text);
    return token_get(r, ep, c, err);
}
