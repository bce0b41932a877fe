#include "base/cleanup.h"
#include "base/buf.h"
#include "server/controllers/controller.h"

static void on_secret(struct controller *c, enum cluster_change what, const json_t *o)
{
    if (what != CLUSTER_DELETED &&
        streq(json_text_or(o, "type", ""), "bootstrap.kubernetes.io/token") &&
        streq(meta_namespace(o), "kube-system"))
        queue_add(&c->queue, meta_name(o));
}

/* 0 when the secret has no end. */
static struct wall expiration(const json_t *secret)
{
    struct wall t = {0};
    struct buf b;

    buf_init(&b, 256);
    if (buf_add_base64_decoded(
            &b, str_of(strna(json_text_at(secret, "data", "expiration", NULL)))) == 0 &&
        b.n)
        (void)wall_parse(buf_str(&b), &t);
    buf_fini(&b);
    return t;
}

static enum queue_verdict reconcile(struct controller *c, const char *key)
{
    cleanup_json json_t *secret = cluster_get(c->env->cluster, "secrets", "kube-system", key);
    struct cluster_delete opt = {.uid = meta_uid(secret), .grace_s = -1};
    struct wall end = expiration(secret);
    int64_t left_ms = (end.ns - wall_now().ns) / NSEC_PER_MSEC;
    struct error *err = NULL;

    if (!secret || !end.ns)
        return QUEUE_DONE;
    if (left_ms > 0) {
        queue_add_after(&c->queue, key, left_ms < 3600000 ? left_ms + 1 : 3600000);
        return QUEUE_DONE;
    }
    return settle(c, key,
                  cluster_remove(c->env->cluster, "secrets", "kube-system", key, &opt, &err), &err);
}

const struct controller_def token_cleaner_controller = {
    .name = "tokencleaner",
    .watches = {{"secrets", on_secret}},
    .reconcile = reconcile,
};
