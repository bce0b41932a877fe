#include "base/cleanup.h"
#include "base/mem.h"
#include "base/time.h"
#include "codec/json.h"
#include "server/auth/auth.h"
#include "server/controllers/meta.h"
#include "server/server_private.h"
#include <errno.h>
#include <stdlib.h>

void auth_user_fini(struct user *u)
{
    for (size_t i = 0; i < u->n_groups; i++)
        free(u->groups[i]);
    free(u->groups);
    free(u->name);
    free(u->uid);
    free(u->pod_name);
    free(u->pod_uid);
    free(u->node_name);
    free(u->impersonator);
    *u = (struct user){0};
}

void user_add_group(struct user *u, const char *group)
{
    if (user_in_group(u, group))
        return;
    u->groups = xreallocarray(u->groups, u->n_groups + 1, sizeof *u->groups);
    u->groups[u->n_groups++] = xstrdup(group);
}

bool user_in_group(const struct user *u, const char *group)
{
    for (size_t i = 0; i < u->n_groups; i++)
        if (streq(u->groups[i], group))
            return true;
    return false;
}

const char *user_node(const struct user *u)
{
    static const char prefix[] = "system:node:";

    return strstarts(u->name, prefix) && user_in_group(u, "system:nodes")
               ? u->name + sizeof prefix - 1
               : NULL;
}

static char *secret_text(const json_t *secret, const char *key)
{
    const char *b64 = json_text_at(secret, "data", key, NULL);
    struct buf b;

    if (!b64)
        return NULL;
    buf_init(&b, 4096);
    if (buf_add_base64_decoded(&b, str_of(b64)) < 0) {
        buf_fini(&b);
        return NULL;
    }
    return buf_take(&b);
}

static bool same_secret(const char *a, const char *b, size_t n)
{
    unsigned char diff = 0;

    for (size_t i = 0; i < n; i++)
        diff |= (unsigned char)(a[i] ^ b[i]);
    return diff == 0;
}

static bool looks_like_bootstrap(struct str t)
{
    if (t.n != 23 || t.p[6] != '.')
        return false;
    for (size_t i = 0; i < t.n; i++)
        if (i != 6 && !((t.p[i] >= 'a' && t.p[i] <= 'z') || (t.p[i] >= '0' && t.p[i] <= '9')))
            return false;
    return true;
}

static int bootstrap_user(const json_t *secret, struct str token, struct user *u,
                          struct error **err)
{
    cleanup_free char *have = secret_text(secret, "token-secret"),
                      *until = secret_text(secret, "expiration");
    cleanup_free char *usage = secret_text(secret, "usage-bootstrap-authentication");
    cleanup_free char *extra = secret_text(secret, "auth-extra-groups");
    struct str rest = str_of(strna(extra));
    struct wall end;

    if (!have || strlen(have) != 16 || !same_secret(have, token.p + 7, 16))
        return error_set(err, EACCES, "bootstrap token %.6s: the secret part does not match",
                         token.p);
    if (!streq(usage, "true"))
        return error_set(err, EACCES, "bootstrap token %.6s may not be used for authentication",
                         token.p);
    if (until && (wall_parse(str_of(until), &end) < 0 || end.ns < wall_now().ns))
        return error_set(err, EACCES, "bootstrap token %.6s expired at %s", token.p, until);
    u->name = xasprintf("system:bootstrap:%.6s", token.p);
    user_add_group(u, "system:bootstrappers");
    while (extra && rest.p) {
        cleanup_free char *group = str_dup(str_trim(str_split(&rest, ',')));

        if (strstarts(group, "system:bootstrappers:"))
            user_add_group(u, group);
    }
    return 0;
}

static int bootstrap_token(struct server *s, struct str token, struct user *u, struct error **err)
{
    cleanup_free char *name = xasprintf("bootstrap-token-%.6s", token.p);
    cleanup_json json_t *secret = cluster_get(&s->registry.cluster, "secrets", "kube-system", name);

    if (!secret || !streq(json_text_at(secret, "type", NULL), "bootstrap.kubernetes.io/token") ||
        meta_deleting(secret))
        return error_set(
            err, EACCES,
            "bootstrap token %.6s is not known; it may have expired and been cleaned up", token.p);
    return bootstrap_user(secret, token, u, err);
}

int authenticate_token(struct server *s, struct str token, const char *const *audiences, size_t n,
                       struct user *u, struct error **err)
{
    struct token_user t = {0};
    int r;

    if (looks_like_bootstrap(token)) {
        r = bootstrap_token(s, token, u, err);
    } else {
        r = tokens_verify(s->tokens, token, audiences, n, &t, err);
        if (r == 0) {
            u->name = xstrdup(t.name);
            u->uid = xstrdup_null(t.uid);
            for (size_t i = 0; i < t.n_groups; i++)
                user_add_group(u, t.groups[i]);
            u->pod_name = xstrdup_null(t.pod_name);
            u->pod_uid = xstrdup_null(t.pod_uid);
            u->node_name = xstrdup_null(t.node_name);
        }
        token_user_fini(&t);
    }
    if (r < 0)
        return -EACCES;
    user_add_group(u, "system:authenticated");
    return 0;
}

int authenticate(struct server *s, struct http_exchange *x, struct user *u, struct error **err)
{
    const struct tls_peer *peer = http_tls_peer(x);
    struct str auth = http_header(x, "Authorization");

    if (peer && !peer->verified)
        return error_set(err, EACCES, "client certificate \"%s\": %s", strna(peer->cn),
                         strna(peer->verify_error));
    if (peer) {
        u->name = xstrdup(peer->cn);
        for (size_t i = 0; i < peer->orgs_n; i++)
            user_add_group(u, peer->orgs[i]);
        user_add_group(u, "system:authenticated");
        return 0;
    }
    if (auth.n > 7 && str_ieq_z((struct str){auth.p, 7}, "bearer "))
        return authenticate_token(s, str_trim((struct str){auth.p + 7, auth.n - 7}), NULL, 0, u,
                                  err);
    if (auth.n)
        return error_set(err, EACCES, "only client certificates and bearer tokens are accepted");
    u->name = xstrdup("system:anonymous");
    user_add_group(u, "system:unauthenticated");
    return 0;
}
