/* Who asks (client certificate, bearer token by TokenReview, anonymous) and whether they may
 * (SubjectAccessReview). */
#include "base/cleanup.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/sha256.h"
#include "kubelet/server_private.h"
#include <errno.h>

#define AUTHN_TTL_MS 120000
#define ALLOW_TTL_MS 300000
#define DENY_TTL_MS 30000
#define CACHE_MAX 1024

struct authn_entry {
    struct mono until;
    bool ok;
    char *user, *uid;
    char **groups;
    size_t n_groups;
};
struct authz_entry {
    struct mono until;
    bool allowed;
};
struct entry { /* how both begin */
    struct mono until;
};

static bool fresh(const struct entry *e)
{
    return e && e->until.ns > mono_now().ns;
}

static struct mono in_ms(int64_t ms)
{
    return (struct mono){mono_now().ns + ms * NSEC_PER_MSEC};
}

static void authn_free(void *p)
{
    struct authn_entry *e = p;
    if (!e)
        return;
    free(e->user);
    free(e->uid);
    for (size_t i = 0; i < e->n_groups; i++)
        free(e->groups[i]);
    free(e->groups);
    free(e);
}

void auth_caches_free(struct kubelet_server *s)
{
    map_fini(&s->authn_cache, authn_free);
    map_fini(&s->authz_cache, free);
}

static void trim(struct map *m, map_free_fn fn)
{
    size_t it = 0;
    struct map_entry *e;
    while ((e = map_next(m, &it)))
        if (!fresh(e->value))
            fn(map_remove(m, e->key));
    if (m->n >= CACHE_MAX)
        map_clear(m, fn);
}

/* ---- authentication ---- */

static void add_group(struct request *q, const char *group)
{
    const char **v = arena_alloc(http_arena(q->x), (q->who.n_groups + 1) * sizeof(*v));
    if (q->who.n_groups)
        memcpy(v, q->who.groups, q->who.n_groups * sizeof(*v));
    v[q->who.n_groups++] = group;
    q->who.groups = v;
}

static void unauthorized(struct request *q)
{
    request_fail(q, 401, "Unauthorized");
}

static bool by_certificate(struct request *q)
{
    const struct tls_peer *p = http_tls_peer(q->x);
    if (!p || !p->verified || !*p->cn)
        return false;
    q->who.user = p->cn;
    for (size_t i = 0; i < p->orgs_n; i++)
        add_group(q, p->orgs[i]);
    add_group(q, "system:authenticated");
    return true;
}

static struct authn_entry *remember_review(struct kubelet_server *s, const char *key,
                                           const K8s__TokenReview *t)
{
    struct authn_entry *e = xcalloc(1, sizeof(*e));
    e->until = in_ms(s->cfg.authn_ttl_ms ? s->cfg.authn_ttl_ms : AUTHN_TTL_MS);
    const K8s__UserInfo *u = t->status ? t->status->user : NULL;
    e->ok =
        t->status && t->status->has_authenticated && t->status->authenticated && u && u->username;
    if (e->ok) {
        e->user = xstrdup(u->username);
        e->uid = xstrdup(strna(u->uid));
        e->groups = xcalloc(u->n_groups + 1, sizeof(char *));
        for (size_t i = 0; i < u->n_groups; i++)
            e->groups[e->n_groups++] = xstrdup(u->groups[i]);
    }
    trim(&s->authn_cache, authn_free);
    authn_free(map_set(&s->authn_cache, key, e));
    return e;
}

struct review { /* what a request waits with; in the exchange's arena */
    request_fn next;
    char key[SHA256_HEX];
    char *authz_key;
};

static void use_identity(struct request *q, const struct authn_entry *e, request_fn next)
{
    if (!e->ok) {
        unauthorized(q);
        return;
    }
    struct arena *a = http_arena(q->x);
    q->who.user = arena_strdup(a, e->user);
    q->who.uid = arena_strdup(a, e->uid);
    for (size_t i = 0; i < e->n_groups; i++)
        add_group(q, arena_strdup(a, e->groups[i]));
    next(q);
}

static void on_review(const struct kube_result *res, void *arg)
{
    struct request *q = arg;
    q->call = NULL;
    struct review *r = http_user(q->x);
    if (res->err) {
        log_warnf("kubelet", "a token cannot be checked: %s", error_message(res->err));
        request_fail(q, 500, "the token cannot be checked: %s", error_message(res->err));
        return;
    }
    use_identity(q, remember_review(q->server, r->key, res->msg), r->next);
}

static void by_token(struct request *q, struct str token, request_fn next)
{
    struct kubelet_server *s = q->server;
    struct arena *a = http_arena(q->x);
    struct review *r = arena_zalloc(a, sizeof(*r));
    sha256_hex(token.p, token.n, r->key); /* secrets do not stay in the table */
    const struct authn_entry *e = map_get(&s->authn_cache, r->key);
    if (fresh((const struct entry *)e)) {
        use_identity(q, e, next);
        return;
    }
    if (!s->client) {
        request_fail(q, 503, "tokens cannot be checked before the API server is reached");
        return;
    }
    r->next = next;
    http_set_user(q->x, r);
    K8s__TokenReview t = K8S__TOKEN_REVIEW__INIT;
    K8s__TokenReviewSpec spec = K8S__TOKEN_REVIEW_SPEC__INIT;
    spec.token = arena_strndup(a, token.p, token.n);
    t.spec = &spec;
    kube_create(s->client, &t, on_review, q, &q->call);
}

void request_authenticate(struct request *q, request_fn authenticated)
{
    struct kubelet_server *s = q->server;
    struct str h = http_header(q->x, "Authorization");
    if (by_certificate(q)) {
        authenticated(q);
    } else if (s->cfg.webhook_authn && h.n > 7 && str_ieq_z((struct str){h.p, 7}, "bearer ")) {
        by_token(q, str_trim((struct str){h.p + 7, h.n - 7}), authenticated);
    } else if (s->cfg.anonymous && !h.n) {
        q->who.user = "system:anonymous";
        add_group(q, "system:unauthenticated");
        authenticated(q);
    } else {
        unauthorized(q);
    }
}

/* ---- authorization ---- */

static const char *verb(const struct request *q)
{
    static const char *const rows[][2] = {{"POST", "create"}, {"PUT", "update"},
                                          {"PATCH", "patch"}, {"GET", "get"},
                                          {"HEAD", "get"},    {"DELETE", "delete"}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        if (http_method_is(q->x, rows[i][0]))
            return rows[i][1];
    return "";
}

static char *authz_key(const struct request *q)
{
    struct arena *a = http_arena(q->x);
    char *key = arena_printf(a, "%s|%s|%s", q->who.user, verb(q), q->subresource);
    for (size_t i = 0; i < q->who.n_groups; i++)
        key = arena_printf(a, "%s|%s", key, q->who.groups[i]);
    return key;
}

static void ask(struct request *q, request_fn next);

static void decide(struct request *q, const struct authz_entry *e, request_fn next)
{
    if (e->allowed) {
        next(q);
    } else if (!streq(q->subresource, "proxy") &&
               (streq(q->subresource, "pods") || streq(q->subresource, "healthz") ||
                streq(q->subresource, "configz"))) {
        q->subresource = "proxy"; /* who may do everything may do this, too */
        ask(q, next);
    } else {
        request_fail(q, 403, "Forbidden (user=%s, verb=%s, resource=nodes, subresource(s)=[%s])",
                     q->who.user, verb(q), q->route->subresource);
    }
}

static void on_access(const struct kube_result *res, void *arg)
{
    struct request *q = arg;
    struct kubelet_server *s = q->server;
    q->call = NULL;
    struct review *r = http_user(q->x);
    if (res->err) {
        log_warnf("kubelet", "access of %s cannot be checked: %s", q->who.user,
                  error_message(res->err));
        request_fail(q, 500,
                     "Authorization error (user=%s, verb=%s, resource=nodes, subresource=%s): %s",
                     q->who.user, verb(q), q->subresource, error_message(res->err));
        return;
    }
    const K8s__SubjectAccessReview *sar = res->msg;
    struct authz_entry *e = xcalloc(1, sizeof(*e));
    e->allowed = sar->status && sar->status->has_allowed && sar->status->allowed;
    int64_t allow = s->cfg.authz_allow_ttl_ms, deny = s->cfg.authz_deny_ttl_ms;
    e->until = in_ms(e->allowed ? (allow ? allow : ALLOW_TTL_MS) : (deny ? deny : DENY_TTL_MS));
    trim(&s->authz_cache, free);
    free(map_set(&s->authz_cache, r->authz_key, e));
    decide(q, e, r->next);
}

static void ask(struct request *q, request_fn next)
{
    struct kubelet_server *s = q->server;
    struct arena *a = http_arena(q->x);
    char *key = authz_key(q);
    const struct authz_entry *e = map_get(&s->authz_cache, key);
    if (fresh((const struct entry *)e)) {
        decide(q, e, next);
        return;
    }
    if (!s->client) {
        request_fail(q, 503, "access cannot be checked before the API server is reached");
        return;
    }
    struct review *r = arena_zalloc(a, sizeof(*r));
    r->next = next;
    r->authz_key = key;
    http_set_user(q->x, r);
    K8s__SubjectAccessReview *m = object_new(a, &k8s__subject_access_review__descriptor);
    m->spec = object_new(a, &k8s__subject_access_review_spec__descriptor);
    m->spec->user = arena_strdup(a, q->who.user);
    for (size_t i = 0; i < q->who.n_groups; i++)
        object_append(a, &m->spec->groups, &m->spec->n_groups, arena_strdup(a, q->who.groups[i]));
    K8s__ResourceAttributes *ra = object_new(a, &k8s__resource_attributes__descriptor);
    ra->verb = arena_strdup(a, verb(q));
    ra->version = arena_strdup(a, "v1");
    ra->resource = arena_strdup(a, "nodes");
    ra->subresource = arena_strdup(a, q->subresource);
    ra->name = arena_strdup(a, s->node_name);
    m->spec->resourceattributes = ra;
    kube_create(s->client, m, on_access, q, &q->call);
}

void request_authorize(struct request *q, request_fn authorized)
{
    q->subresource = q->route->subresource;
    switch (q->server->cfg.authz) {
    case KUBELET_AUTHZ_ALWAYS_ALLOW:
        authorized(q);
        return;
    case KUBELET_AUTHZ_WEBHOOK:
        ask(q, authorized);
        return;
    }
}
