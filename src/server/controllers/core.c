#include "base/log.h"
#include "base/mem.h"
#include "server/controllers/controller.h"
#include <errno.h>

static const struct controller_def *const defs[] = {
    &namespace_controller,
    &service_account_controller,
    &node_ipam_controller,
    &node_lifecycle_controller,
    &taint_controller,
    &csr_controller,
    &token_cleaner_controller,
    &endpoints_controller,
    &deployment_controller,
    &replicaset_controller,
    &daemonset_controller,
    &gc_controller,
    &pod_gc_controller,
    &role_aggregation_controller,
    &endpoints_mirror_controller,
    &job_controller,
};
#define DEFS (sizeof(defs) / sizeof(defs[0]))
const char *controller_current_resource;

void enqueue_self(struct controller *c, enum cluster_change what, const json_t *object)
{
    char *key = meta_key(object);

    (void)what;
    queue_add(&c->queue, key);
    free(key);
}

void enqueue_owner(struct controller *c, const json_t *object, const char *kind)
{
    const json_t *ref = meta_controller(object);
    char *key;

    if (!ref || !streq(json_text_at(ref, "kind", NULL), kind))
        return;
    key = xasprintf("%s/%s", meta_namespace(object), strna(json_text_at(ref, "name", NULL)));
    queue_add(&c->queue, key);
    free(key);
}

void enqueue_all(struct controller *c, const char *resource, const char *ns)
{
    json_t *all = cluster_list(c->env->cluster, resource, ns);
    const json_t *o;

    json_each(all, i, o) enqueue_self(c, CLUSTER_MODIFIED, o);
    json_decref(all);
}

void key_split(const char *key, char **ret_ns, char **ret_name)
{
    const char *slash = strchr(key, '/');

    *ret_ns = slash ? xstrndup(key, (size_t)(slash - key)) : xstrdup("");
    *ret_name = xstrdup(slash ? slash + 1 : key);
}

enum queue_verdict settle(struct controller *c, const char *key, int rc, struct error **err)
{
    if (rc == -ENOENT || rc == -EEXIST) {
        error_clear(err);
        return QUEUE_DONE; /* the change that made it so is on its way to us */
    }
    if (rc < 0 && rc != -ESTALE)
        log_warn("server", "controller step failed", "controller", c->def->name, "object", key,
                 "error", error_message(*err), NULL);
    error_clear(err);
    return rc < 0 ? QUEUE_RETRY : QUEUE_DONE;
}

static enum queue_verdict run(struct queue *q, const char *key, void *arg)
{
    struct controller *c = arg;

    (void)q;
    return c->def->reconcile(c, key);
}

struct controller_set *controller_set_new(struct loop *l, struct cluster *cluster,
                                          const struct controllers_config *cfg)
{
    struct controller_set *s = xcalloc(1, sizeof(*s));

    s->env = (struct env){.cluster = cluster, .loop = l, .cfg = *cfg};
    s->env.cfg.cluster_cidr = xstrdup_null(cfg->cluster_cidr);
    s->env.cfg.root_ca_pem = xstrdup_null(cfg->root_ca_pem);
    s->env.cfg.sign_cert_pem = xstrdup_null(cfg->sign_cert_pem);
    s->env.cfg.sign_key_pem = xstrdup_null(cfg->sign_key_pem);
    s->env.cfg.advertise_address = xstrdup_null(cfg->advertise_address);
    s->env.cfg.service_cidr = xstrdup_null(cfg->service_cidr);
    map_init(&s->env.events);
    s->n = DEFS;
    s->list = xcalloc(DEFS, sizeof(*s->list));
    for (size_t i = 0; i < DEFS; i++) {
        s->list[i] = (struct controller){.def = defs[i], .env = &s->env};
        queue_init(&s->list[i].queue, l, run, &s->list[i]);
        if (defs[i]->begin)
            defs[i]->begin(&s->list[i]);
    }
    return s;
}

void controller_set_free(struct controller_set *s)
{
    if (!s)
        return;
    for (size_t i = 0; i < s->n; i++) {
        queue_fini(&s->list[i].queue);
        if (s->list[i].def->end)
            s->list[i].def->end(&s->list[i]);
    }
    event_fini(&s->env);
    map_fini(&s->env.large, NULL);
    free((char *)s->env.cfg.cluster_cidr);
    free((char *)s->env.cfg.root_ca_pem);
    free((char *)s->env.cfg.sign_cert_pem);
    if (s->env.cfg.sign_key_pem)
        explicit_bzero((char *)s->env.cfg.sign_key_pem, strlen(s->env.cfg.sign_key_pem));
    free((char *)s->env.cfg.sign_key_pem);
    free((char *)s->env.cfg.advertise_address);
    free((char *)s->env.cfg.service_cidr);
    free(s->list);
    free(s);
}

void controller_set_change(struct controller_set *s, const char *resource, enum cluster_change what,
                           const json_t *object)
{
    controller_current_resource = resource;
    for (size_t i = 0; i < s->n; i++)
        for (const struct controller_watch *w = s->list[i].def->watches; w->resource; w++)
            if (streq(w->resource, resource) || streq(w->resource, "*"))
                w->fn(&s->list[i], what, object);
}

/* Kinds the controllers care for; others are told when they change. */
static const char *const replayed[] = {
    "namespaces",
    "nodes",
    "leases.coordination.k8s.io",
    "serviceaccounts",
    "configmaps",
    "secrets",
    "services",
    "deployments.apps",
    "replicasets.apps",
    "daemonsets.apps",
    "controllerrevisions.apps",
    "pods",
    "endpoints",
    "endpointslices.discovery.k8s.io",
    "certificatesigningrequests.certificates.k8s.io",
    "clusterroles.rbac.authorization.k8s.io",
    "jobs.batch",
};

void controller_set_begin(struct controller_set *s)
{
    const json_t *o;

    for (size_t i = 0; i < sizeof(replayed) / sizeof(replayed[0]); i++) {
        json_t *all = cluster_list(s->env.cluster, replayed[i], NULL);

        json_each(all, k, o) controller_set_change(s, replayed[i], CLUSTER_ADDED, o);
        json_decref(all);
    }
}
