#include "base/file.h"
#include "base/mem.h"
#include "base/sha256.h"
#include "codec/json.h"
#include "engine/image/manifest.h"
#include "engine/image/registry_private.h"
#include <arpa/inet.h>
#include <errno.h>

/* ---- which registries may be plain ---- */
static bool in_cidr(const char *cidr, const char *address)
{
    unsigned char net[16], a[16];
    struct str rest = str_of(cidr), base = str_split(&rest, '/');
    cleanup_free char *text = str_dup(base);
    uint64_t bits;

    for (int i = 0; rest.p && i < 2; i++) {
        int family = i ? AF_INET6 : AF_INET;
        if (inet_pton(family, text, net) != 1 || inet_pton(family, address, a) != 1 ||
            str_to_u64(rest, i ? 128 : 32, &bits) < 0)
            continue;
        size_t whole = bits / 8, part = bits % 8;
        return memcmp(net, a, whole) == 0 &&
               (!part || (net[whole] >> (8 - part)) == (a[whole] >> (8 - part)));
    }
    return false;
}

bool registry_is_insecure(const char *host, const struct image_strings *insecure)
{
    const char *colon = strrchr(host, ':');
    size_t n = colon && (*host != '[' || colon[-1] == ']') ? (size_t)(colon - host) : strlen(host);
    cleanup_free char *name = *host == '[' && n > 2 ? xstrndup(host + 1, n - 2) : xstrndup(host, n);

    if (streq(name, "localhost") || in_cidr("127.0.0.0/8", name) || in_cidr("::1/128", name))
        return true;
    for (size_t i = 0; i < insecure->n; i++)
        if (streq(insecure->v[i], host) || streq(insecure->v[i], name) ||
            in_cidr(insecure->v[i], name))
            return true;
    return false;
}

/* ---- lifecycle ---- */
static void endpoint_add(struct registry *r, const char *base, bool mirror)
{
    const char *host = strstr(base, "://") + 3;
    size_t n = strlen(base);

    r->v = xreallocarray(r->v, r->n + 1, sizeof(*r->v));
    struct endpoint *ep = &r->v[r->n++];
    while (n && base[n - 1] == '/')
        n--;
    *ep = (struct endpoint){
        .base = xstrndup(base, n), .host = xstrndup(host, strcspn(host, "/")), .mirror = mirror};
    ep->insecure = registry_is_insecure(ep->host, &r->q->insecure);
}

void registry_new(const struct worker_request *q, const struct image_ref *ref,
                  struct registry **ret)
{
    struct registry *r = xcalloc(1, sizeof(*r));
    bool hub = streq(ref->domain, "docker.io");

    r->q = q;
    r->path = xstrdup(ref->path);
    r->ref_text = image_ref_text(ref);
    for (size_t i = 0; hub && i < q->mirrors.n; i++)
        if (strstr(q->mirrors.v[i], "://"))
            endpoint_add(r, q->mirrors.v[i], true);
    cleanup_free char *origin = xasprintf("https://%s", hub ? "registry-1.docker.io" : ref->domain);
    endpoint_add(r, origin, false);
    r->curl = curl_easy_init();
    *ret = r;
}

void registry_free(struct registry *r)
{
    if (!r)
        return;
    for (size_t i = 0; i < r->n; i++) {
        free(r->v[i].base);
        free(r->v[i].host);
        free(r->v[i].authorization);
    }
    free(r->v);
    free(r->path);
    free(r->ref_text);
    curl_easy_cleanup(r->curl);
    free(r);
}

char *endpoint_url(const struct registry *r, const struct endpoint *ep, const char *path)
{
    return xasprintf("%s/v2/%s/%s", ep->base, r->path, path);
}

/* ---- errors ---- */
static int no_reference(struct registry *r, int code, const char *why, struct error **err)
{
    return error_set(
        err, code, "failed to pull and unpack image \"%s\": failed to resolve reference \"%s\": %s",
        r->ref_text, r->ref_text, why);
}

static char *server_message(struct str body)
{
    cleanup_json json_t *o = NULL;

    if (!body.n || json_parse(body, 1u << 20, "error", &o, NULL) < 0)
        return NULL;
    const json_t *first = json_array_get(json_object_get(o, "errors"), 0);
    const char *code = json_text_or(first, "code", NULL),
               *text = json_text_or(first, "message", "");
    return code ? xasprintf("%.100s: %.300s", code, text) : NULL;
}

int registry_status_error(struct registry *r, long status, struct str body, const char *url,
                          struct error **err)
{
    cleanup_free char *said = server_message(body), *why = NULL;

    if (status == 404) {
        why = xasprintf("%s: not found", r->ref_text);
        return no_reference(r, ENOENT, why, err);
    }
    if (status == 401 || status == 403) {
        why = xasprintf("pull access denied, repository does not exist or may require "
                        "authorization: server message: %s",
                        said            ? said
                        : status == 401 ? "authorization failed"
                                        : "forbidden");
        return no_reference(r, EACCES, why, err);
    }
    why = xasprintf("unexpected status from GET request to %s: %ld%s%s", url, status,
                    said ? ": " : "", strna(said));
    return no_reference(r, status == 429 ? EAGAIN : EIO, why, err);
}

int registry_curl_error(struct registry *r, CURLcode code, const char *detail, const char *url,
                        struct error **err)
{
    int e = code == CURLE_COULDNT_CONNECT        ? ECONNREFUSED
            : code == CURLE_OPERATION_TIMEDOUT   ? ETIMEDOUT
            : code == CURLE_COULDNT_RESOLVE_HOST ? EHOSTUNREACH
            : code == CURLE_WRITE_ERROR          ? EMSGSIZE
                                                 : EIO;
    cleanup_free char *why = xasprintf("failed to do request: Get \"%s\": %s", url,
                                       detail && *detail ? detail : curl_easy_strerror(code));

    return no_reference(r, e, why, err);
}

/* ---- requests ---- */
/* docker takes any *.crt of the directory for the authority; the first is ours. */
static int first_crt(int dirfd, const char *name, unsigned char type, void *arg)
{
    char **ret = arg;

    if (!strends(name, ".crt"))
        return 0;
    *ret = xstrdup(name);
    return 1;
}

static bool ca_file(const struct registry *r, const struct endpoint *ep, char **ret)
{
    cleanup_free char *dir = xasprintf("%s/%s", r->q->certs_dir, ep->host), *name = NULL;

    if (dir_each(dir, first_crt, &name, NULL) != 1)
        return false;
    *ret = path_join(dir, name);
    return true;
}

static int cert_file(const struct registry *r, const struct endpoint *ep, const char *name,
                     char **ret)
{
    char *path = xasprintf("%s/%s/%s", r->q->certs_dir, ep->host, name);

    if (access(path, R_OK) == 0) {
        *ret = path;
        return 1;
    }
    free(path);
    return 0;
}

static void setup_tls(struct registry *r, struct endpoint *ep, CURL *c)
{
    char *ca = NULL, *cert = NULL, *key = NULL;

    if (ep->insecure) {
        curl_easy_setopt(c, CURLOPT_SSL_VERIFYPEER, 0L);
        curl_easy_setopt(c, CURLOPT_SSL_VERIFYHOST, 0L);
    }
    if (!r->q->certs_dir)
        return;
    if (ca_file(r, ep, &ca))
        curl_easy_setopt(c, CURLOPT_CAINFO, ca);
    if (cert_file(r, ep, "client.cert", &cert) && cert_file(r, ep, "client.key", &key)) {
        curl_easy_setopt(c, CURLOPT_SSLCERT, cert);
        curl_easy_setopt(c, CURLOPT_SSLKEY, key);
    }
    free(ca);
    free(cert);
    free(key);
}

void answer_fini(struct answer *a)
{
    challenge_fini(&a->challenge);
    free(a->content_digest);
    *a = (struct answer){.range_start = -1};
}

static size_t on_header(char *p, size_t size, size_t n, void *arg)
{
    struct answer *a = arg;
    struct str rest = {p, n}, name;

    if (str_starts(rest, STR("HTTP/"))) { /* of the next response, after a redirect */
        answer_fini(a);
        return n;
    }
    name = str_split(&rest, ':');
    struct str value = str_trim(rest);
    if (str_ieq_z(name, "www-authenticate"))
        challenge_parse(value, &a->challenge);
    else if (str_ieq_z(name, "docker-content-digest") && image_digest_ok(value)) {
        free(a->content_digest);
        a->content_digest = str_dup(value);
    } else if (str_ieq_z(name, "content-range") && str_starts(value, STR("bytes "))) {
        struct str from = {value.p + 6, value.n - 6}, first = str_split(&from, '-');
        if (str_to_i64(first, 0, INT64_MAX, &a->range_start) < 0)
            a->range_start = -1;
    }
    return n;
}

struct curl_slist *registry_setup(struct registry *r, struct endpoint *ep, CURL *c,
                                  const char *path, bool manifest, struct answer *a)
{
    static const char *const accepts[] = {
        "Accept: application/vnd.oci.image.index.v1+json",
        "Accept: application/vnd.oci.image.manifest.v1+json",
        "Accept: application/vnd.docker.distribution.manifest.list.v2+json",
        "Accept: application/vnd.docker.distribution.manifest.v2+json"};
    cleanup_free char *url = endpoint_url(r, ep, path);
    struct curl_slist *headers = NULL;

    curl_easy_reset(c);
    curl_easy_setopt(c, CURLOPT_URL, url);
    curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(c, CURLOPT_REDIR_PROTOCOLS_STR, ep->insecure ? "http,https" : "https");
    curl_easy_setopt(c, CURLOPT_FOLLOWLOCATION, 1L);
    curl_easy_setopt(c, CURLOPT_MAXREDIRS, 5L);
    curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT, 15L);
    curl_easy_setopt(c, CURLOPT_LOW_SPEED_LIMIT, 1L);
    curl_easy_setopt(c, CURLOPT_LOW_SPEED_TIME, (long)((r->q->stall_ms + 999) / 1000));
    curl_easy_setopt(c, CURLOPT_USERAGENT, "skiff/" SKIFF_VERSION);
    curl_easy_setopt(c, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(c, CURLOPT_HEADERDATA, a);
    setup_tls(r, ep, c);
    for (size_t i = 0; manifest && i < ARRAY_LEN(accepts); i++)
        headers = curl_slist_append(headers, accepts[i]);
    if (ep->authorization)
        headers = curl_slist_append(headers, ep->authorization);
    curl_easy_setopt(c, CURLOPT_HTTPHEADER, headers);
    return headers;
}

bool registry_go_plain(struct endpoint *ep, CURLcode code)
{
    bool no_tls = code == CURLE_SSL_CONNECT_ERROR || code == CURLE_COULDNT_CONNECT ||
                  code == CURLE_RECV_ERROR || code == CURLE_GOT_NOTHING || code == CURLE_SEND_ERROR;

    if (!ep->insecure || ep->plain_tried || !no_tls || !strstarts(ep->base, "https://"))
        return false;
    char *base = xasprintf("http://%s", ep->base + strlen("https://"));
    free(ep->base);
    ep->base = base;
    ep->plain_tried = true;
    return true;
}

static size_t on_body(char *p, size_t size, size_t n, void *arg)
{
    return buf_add(arg, p, n) < 0 ? 0 : n;
}

/* One endpoint: a small document, with sign-in when asked for. 0 and the body, or failure. */
static int get_from(struct registry *r, struct endpoint *ep, const char *path, bool manifest,
                    size_t max, struct buf *body, struct answer *a, struct error **err)
{
    char detail[CURL_ERROR_SIZE] = "";
    bool signed_in = false;

    for (;;) {
        buf_clear(body);
        body->max = max;
        answer_fini(a);
        struct curl_slist *headers = registry_setup(r, ep, r->curl, path, manifest, a);
        cleanup_free char *url = endpoint_url(r, ep, path);
        curl_easy_setopt(r->curl, CURLOPT_WRITEFUNCTION, on_body);
        curl_easy_setopt(r->curl, CURLOPT_WRITEDATA, body);
        curl_easy_setopt(r->curl, CURLOPT_ERRORBUFFER, detail);
        CURLcode code = curl_easy_perform(r->curl);
        curl_easy_setopt(r->curl, CURLOPT_ERRORBUFFER, NULL);
        curl_slist_free_all(headers);
        if (code != CURLE_OK && registry_go_plain(ep, code))
            continue;
        if (code != CURLE_OK)
            return registry_curl_error(
                r, code, body->overflowed ? "the answer is too long" : detail, url, err);
        curl_easy_getinfo(r->curl, CURLINFO_RESPONSE_CODE, &a->status);
        if (a->status == 200)
            return 0;
        if (a->status == 401 && !signed_in && a->challenge.scheme != CHALLENGE_NONE) {
            int e = registry_authorize(r, ep, &a->challenge, err);
            if (e < 0)
                return e;
            signed_in = true;
            if (e == 0)
                continue;
        }
        return registry_status_error(r, a->status, buf_str(body), url, err);
    }
}

/* All endpoints in turn; the origin's error is the one that counts. */
static int get(struct registry *r, const char *path, bool manifest, size_t max, struct buf *body,
               struct answer *a, struct error **err)
{
    int e = 0;

    buf_init(body, max);
    for (size_t k = 0; k < r->n; k++) {
        size_t i = (r->first + k) % r->n;
        error_clear(err ? err : &(struct error *){NULL});
        answer_fini(a);
        e = get_from(r, &r->v[i], path, manifest, max, body, a, err);
        if (e == 0) {
            r->first = i;
            return 0;
        }
    }
    buf_fini(body);
    answer_fini(a);
    return e;
}

static void digest_of(struct str text, char out[static 72])
{
    memcpy(out, "sha256:", 7);
    sha256_hex(text.p, text.n, out + 7);
}

int registry_manifest(struct registry *r, const char *reference, struct buf *ret,
                      char ret_digest[static 72], struct error **err)
{
    cleanup_free char *path = xasprintf("manifests/%s", reference);
    struct answer a = {.range_start = -1};
    int e = get(r, path, true, MANIFEST_MAX, ret, &a, err);

    if (e < 0)
        return e;
    digest_of(buf_str(ret), ret_digest);
    const char *wanted = strstarts(reference, "sha256:") ? reference : a.content_digest;
    if (wanted && !streq(wanted, ret_digest)) {
        e = error_set(err, EBADMSG,
                      "failed to pull and unpack image \"%s\": manifest digest mismatch: %s was "
                      "announced, %s came",
                      r->ref_text, wanted, ret_digest);
        buf_fini(ret);
    }
    answer_fini(&a);
    return e;
}

int registry_blob(struct registry *r, const char *digest, size_t max, struct buf *ret,
                  struct error **err)
{
    cleanup_free char *path = xasprintf("blobs/%s", digest);
    struct answer a = {.range_start = -1};
    char got[72];
    int e = get(r, path, false, max, ret, &a, err);

    answer_fini(&a);
    if (e < 0)
        return e;
    digest_of(buf_str(ret), got);
    if (streq(got, digest))
        return 0;
    buf_fini(ret);
    return error_set(err, EBADMSG, "failed to pull and unpack image \"%s\": digest mismatch of %s",
                     r->ref_text, digest);
}
