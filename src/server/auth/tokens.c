#include "server/auth/tokens.h"
#include "base/cleanup.h"
#include "base/mem.h"
#include "base/random.h"
#include "net/jwt.h"
#include "net/x509.h"
#include "server/controllers/meta.h"
#include <errno.h>

#define TOKEN_SECONDS_DEFAULT 3600
#define TOKEN_SECONDS_MIN 600
#define TOKEN_SECONDS_MAX (1LL << 32)
#define TOKEN_PROJECTED 3607 /* what admission asks for; such tokens live long, as upstream */
#define TOKEN_EXTENDED (365 * 24 * 3600LL)
#define LEEWAY 10

struct tokens {
    struct cluster *cluster;
    char *issuer;
    struct buf key, public_key;
};

int tokens_new(const struct tokens_config *cfg, struct tokens **ret, struct error **err)
{
    struct tokens *t = xcalloc(1, sizeof(*t));

    t->cluster = cfg->cluster;
    t->issuer = xstrdup(cfg->issuer);
    buf_init(&t->key, 64 << 10);
    buf_init(&t->public_key, 64 << 10);
    if (buf_add_str(&t->key, cfg->key_pem) < 0 ||
        x509_public_key(cfg->key_pem, &t->public_key, err) < 0) {
        tokens_free(t);
        return err && *err
                   ? error_wrap(err, "service account signing key")
                   : error_set(err, EINVAL, "service account signing key is not a private key");
    }
    *ret = t;
    return 0;
}

void tokens_free(struct tokens *t)
{
    if (!t)
        return;
    free(t->issuer);
    if (t->key.p)
        explicit_bzero(t->key.p, t->key.n);
    buf_fini(&t->key);
    buf_fini(&t->public_key);
    free(t);
}

struct str tokens_public_key(const struct tokens *t)
{
    return buf_str(&t->public_key);
}

const char *tokens_issuer(const struct tokens *t)
{
    return t->issuer;
}

/* Looks the bound object up and adds it to the private claims. */
static int bind_object(struct tokens *t, const char *ns, const char *sa, const json_t *ref,
                       json_t *claims, struct error **err)
{
    const char *kind = json_text_or(ref, "kind", ""), *name = json_text_or(ref, "name", "");
    const char *uid = json_text_or(ref, "uid", ""), *node;
    bool pod = streq(kind, "Pod");
    cleanup_json json_t *o = NULL, *node_object = NULL;

    if (!pod && !streq(kind, "Secret"))
        return error_set(err, EINVAL, "cannot bind token to object of type %s", kind);
    o = cluster_get(t->cluster, pod ? "pods" : "secrets", ns, name);
    if (!o)
        return error_set(err, ENOENT, "%s \"%s\" not found", pod ? "pods" : "secrets", name);
    if (*uid && !streq(uid, meta_uid(o)))
        return error_set(
            err, ESTALE,
            "the UID in the bound object reference (%s) does not match the UID in record. "
            "The object might have been deleted and then recreated",
            uid);
    if (pod && !streq(strna(json_text_at(o, "spec", "serviceAccountName", NULL)), sa))
        return error_set(err, EINVAL,
                         "cannot bind token for serviceaccount \"%s\" to pod running with "
                         "different serviceaccount name.",
                         sa);
    json_object_set_new(claims, pod ? "pod" : "secret",
                        json_pack("{s:s,s:s}", "name", name, "uid", meta_uid(o)));
    node = pod ? json_text_at(o, "spec", "nodeName", NULL) : NULL;
    if (!node || !*node)
        return 0;
    node_object = cluster_get(t->cluster, "nodes", "", node);
    json_object_set_new(claims, "node",
                        node_object
                            ? json_pack("{s:s,s:s}", "name", node, "uid", meta_uid(node_object))
                            : json_pack("{s:s}", "name", node));
    return 0;
}

static json_t *payload_of(const struct tokens *t, const char *ns, const char *sa, json_t *audiences,
                          int64_t now, int64_t expires, json_t *claims)
{
    char *subject = xasprintf("system:serviceaccount:%s:%s", ns, sa), jti[UUID_TEXT];
    json_t *p;

    random_uuid(jti);
    p = json_pack("{s:O,s:I,s:I,s:s,s:s,s:O,s:I,s:s}", "aud", audiences, "exp", (json_int_t)expires,
                  "iat", (json_int_t)now, "iss", t->issuer, "jti", jti, "kubernetes.io", claims,
                  "nbf", (json_int_t)now, "sub", subject);
    free(subject);
    return p;
}

static int answer(struct tokens *t, const json_t *request, json_t *payload, json_t *audiences,
                  int64_t seconds, int64_t expires, json_t **ret, struct error **err)
{
    cleanup_buf struct buf text, token;
    json_t *o, *spec, *meta;
    int rc;

    buf_init(&text, JWT_BYTES_MAX);
    buf_init(&token, JWT_BYTES_MAX);
    (void)json_write(payload, &text);
    rc = jwt_sign(buf_str(&t->key), buf_str(&text), &token, err);
    if (rc < 0)
        return rc;
    o = request ? json_deep_copy(request) : json_object();
    json_set_text(o, "kind", "TokenRequest");
    json_set_text(o, "apiVersion", "authentication.k8s.io/v1");
    meta = json_object_need(o, "metadata");
    json_object_set_new(meta, "creationTimestamp", json_now());
    spec = json_object_need(o, "spec");
    json_object_set(spec, "audiences", audiences);
    json_set_int(spec, "expirationSeconds", seconds);
    json_default(spec, "boundObjectRef", json_null());
    json_object_set_new(o, "status",
                        json_pack("{s:s%,s:o}", "token", token.p, token.n, "expirationTimestamp",
                                  json_time((struct wall){expires * NSEC_PER_SEC})));
    *ret = o;
    return 0;
}

int tokens_request(struct tokens *t, const char *ns, const char *name, const json_t *request,
                   json_t **ret, struct error **err)
{
    const json_t *spec = json_object_get(request, "spec"),
                 *ref = json_object_get(spec, "boundObjectRef");
    int64_t seconds = json_int_or(spec, "expirationSeconds", TOKEN_SECONDS_DEFAULT);
    int64_t now = wall_now().ns / NSEC_PER_SEC, expires = now + seconds;
    cleanup_json json_t *sa = cluster_get(t->cluster, "serviceaccounts", ns, name);
    cleanup_json json_t *audiences = NULL, *claims = NULL, *payload = NULL;
    int rc;

    if (!sa)
        return error_set(err, ENOENT, "serviceaccounts \"%s\" not found", name);
    if (seconds < TOKEN_SECONDS_MIN)
        return error_set(err, EINVAL,
                         "spec.expirationSeconds: Invalid value: %lld: may not specify a duration "
                         "less than 10 minutes",
                         (long long)seconds);
    if (seconds > TOKEN_SECONDS_MAX)
        return error_set(err, EINVAL,
                         "spec.expirationSeconds: Invalid value: %lld: may not specify a duration "
                         "larger than 2^32 seconds",
                         (long long)seconds);
    claims = json_pack("{s:s,s:{s:s,s:s}}", "namespace", ns, "serviceaccount", "name", name, "uid",
                       meta_uid(sa));
    if (json_is_object(ref)) {
        rc = bind_object(t, ns, name, ref, claims, err);
        if (rc < 0)
            return rc;
    }
    audiences = json_array_size(json_object_get(spec, "audiences")) > 0
                    ? json_deep_copy(json_object_get(spec, "audiences"))
                    : json_pack("[s]", t->issuer);
    if (seconds == TOKEN_PROJECTED && json_object_get(claims, "pod")) {
        json_object_set_new(claims, "warnafter", json_integer(expires));
        expires = now + TOKEN_EXTENDED;
    }
    payload = payload_of(t, ns, name, audiences, now, expires, claims);
    return answer(t, request, payload, audiences, seconds, now + seconds, ret, err);
}

int tokens_node_may(struct tokens *t, const char *node, const char *ns, const char *service_account,
                    const json_t *request, struct error **err)
{
    const json_t *ref = json_at(request, "spec", "boundObjectRef", NULL);
    const char *uid = json_text_or(ref, "uid", ""), *name = json_text_or(ref, "name", "");
    cleanup_json json_t *pod = NULL;

    if (!json_is_object(ref))
        return error_set(err, EACCES, "node requested token not bound to a pod");
    if (!streq(json_text_or(ref, "kind", ""), "Pod") || !*name || !*uid)
        return error_set(
            err, EACCES,
            "node requested token bound to something else than a pod with a name and a uid");
    pod = cluster_get(t->cluster, "pods", ns, name);
    if (!pod || !streq(meta_uid(pod), uid))
        return error_set(err, EACCES, "node requested token bound to a pod that is not there: %s",
                         name);
    if (!streq(json_text_at(pod, "spec", "nodeName", NULL), node))
        return error_set(err, EACCES,
                         "node requested token bound to a pod scheduled on a different node");
    if (!streq(json_text_at(pod, "spec", "serviceAccountName", NULL), service_account))
        return error_set(err, EACCES,
                         "node requested token of a service account that the pod does not run as");
    return 0;
}

static bool audience_matches(const struct tokens *t, const json_t *have, const char *const *want,
                             size_t n)
{
    const json_t *a;

    json_each(have, i, a)
    {
        const char *z = strna(json_string_value(a));

        if (n == 0 && streq(z, t->issuer))
            return true;
        for (size_t k = 0; k < n; k++)
            if (streq(z, want[k]))
                return true;
    }
    return false;
}

/* The object a claim names still exists with that uid and is not long deleted. */
static int check_bound(struct tokens *t, const char *ns, const json_t *claims, const char *key,
                       const char *resource, struct error **err)
{
    const json_t *claim = json_object_get(claims, key);
    const char *name = json_text_or(claim, "name", "");
    cleanup_json json_t *o = NULL;
    struct wall gone;

    if (!json_is_object(claim))
        return 0;
    o = cluster_get(t->cluster, resource, ns, name);
    if (!o || !streq(meta_uid(o), json_text_or(claim, "uid", "")))
        return error_set(err, EACCES, "service account token has been invalidated");
    gone = json_wall(json_at(o, "metadata", "deletionTimestamp", NULL));
    if (gone.ns && gone.ns + 60 * NSEC_PER_SEC < wall_now().ns)
        return error_set(err, EACCES, "service account token has been invalidated");
    return 0;
}

static int check_claims(struct tokens *t, const json_t *p, struct error **err)
{
    const json_t *claims = json_object_get(p, "kubernetes.io");
    const char *ns = json_text_or(claims, "namespace", "");
    int64_t now = wall_now().ns / NSEC_PER_SEC;

    if (now > json_int_or(p, "exp", 0) + LEEWAY)
        return error_set(err, EACCES, "service account token has expired");
    if (now + LEEWAY < json_int_or(p, "nbf", 0))
        return error_set(err, EACCES, "service account token is not valid yet");
    if (check_bound(t, ns, claims, "serviceaccount", "serviceaccounts", err) < 0 ||
        check_bound(t, ns, claims, "pod", "pods", err) < 0 ||
        check_bound(t, ns, claims, "secret", "secrets", err) < 0)
        return -EACCES;
    return 0;
}

static void fill_user(const json_t *p, struct token_user *u)
{
    const json_t *claims = json_object_get(p, "kubernetes.io");
    const char *ns = json_text_or(claims, "namespace", "");

    *u = (struct token_user){0};
    u->name = xasprintf("system:serviceaccount:%s:%s", ns,
                        strna(json_text_at(claims, "serviceaccount", "name", NULL)));
    u->uid = xstrdup_null(json_text_at(claims, "serviceaccount", "uid", NULL));
    u->groups[0] = xstrdup("system:serviceaccounts");
    u->groups[1] = xasprintf("system:serviceaccounts:%s", ns);
    u->groups[2] = xstrdup("system:authenticated");
    u->n_groups = 3;
    u->pod_name = xstrdup_null(json_text_at(claims, "pod", "name", NULL));
    u->pod_uid = xstrdup_null(json_text_at(claims, "pod", "uid", NULL));
    u->node_name = xstrdup_null(json_text_at(claims, "node", "name", NULL));
    u->credential_id = xasprintf("JTI=%s", json_text_or(p, "jti", ""));
}

/* The issuer named in a token, before anything about it is believed. */
static bool issued_by_us(const struct tokens *t, const json_t *p)
{
    return streq(json_text_or(p, "iss", ""), t->issuer) &&
           json_is_object(json_object_get(p, "kubernetes.io"));
}

int tokens_verify(struct tokens *t, struct str token, const char *const *audiences,
                  size_t n_audiences, struct token_user *ret, struct error **err)
{
    cleanup_buf struct buf text;
    cleanup_json json_t *p = NULL;
    int rc;

    buf_init(&text, JWT_BYTES_MAX);
    rc = jwt_verify(buf_str(&t->public_key), token, &text, err);
    if (rc < 0)
        return rc;
    if (json_parse(buf_str(&text), JWT_BYTES_MAX, "token payload", &p, err) < 0)
        return -EINVAL;
    if (!issued_by_us(t, p))
        return error_set(err, EINVAL, "token was issued by somebody else");
    if (check_claims(t, p, err) < 0)
        return -EACCES;
    if (!audience_matches(t, json_object_get(p, "aud"), audiences, n_audiences))
        return error_set(err, EACCES, "token audiences do not match");
    fill_user(p, ret);
    return 0;
}

void token_user_fini(struct token_user *u)
{
    free(u->name);
    free(u->uid);
    for (size_t i = 0; i < u->n_groups; i++)
        free(u->groups[i]);
    free(u->pod_name);
    free(u->pod_uid);
    free(u->node_name);
    free(u->credential_id);
    *u = (struct token_user){0};
}
