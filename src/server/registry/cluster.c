/* The registry as controllers, scheduler and admission see it: struct cluster. */
#include "base/cleanup.h"
#include "base/log.h"
#include "base/mem.h"
#include "codec/json.h"
#include "server/controllers/meta.h"
#include "server/registry/registry.h"
#include <errno.h>
#include <stdlib.h>

static const char *const system_groups[] = {"system:masters", "system:authenticated"};
static const struct actor controller = {.user = "system:kube-controller-manager",
                                        .groups = system_groups,
                                        .n_groups = 2,
                                        .system = true};

static json_t *c_get(struct cluster *c, const char *resource, const char *ns, const char *name)
{
    const struct resource *r = resource_by_id(resource);
    struct api_status st = {0};
    json_t *o = NULL;

    if (r && registry_get(c->ctx, r, ns, name, &o, &st) < 0)
        o = NULL;
    status_fini(&st);
    return o;
}

static int append(json_t *object, void *arg)
{
    (void)json_array_append(arg, object);
    return 0;
}

static json_t *c_list(struct cluster *c, const char *resource, const char *ns)
{
    const struct resource *r = resource_by_id(resource);
    json_t *all = json_array();

    if (r)
        (void)registry_each(c->ctx, r, ns, append, all);
    return all;
}

static int to_errno(const struct api_status *st, struct error **err)
{
    int code = EIO;

    if (st->code == 404)
        code = ENOENT;
    else if (streq(st->reason, "AlreadyExists"))
        code = EEXIST;
    else if (st->code == 409)
        code = ESTALE;
    return error_set(err, code, "%s", st->message ? st->message : "failed");
}

static int finish(int rc, struct api_status *st, struct error **err)
{
    int r = rc < 0 ? to_errno(st, err) : 0;

    status_fini(st);
    return r;
}

static int c_create(struct cluster *c, const char *resource, json_t *object, json_t **ret,
                    struct error **err)
{
    const struct resource *r = resource_by_id(resource);
    struct api_status st = {0};
    struct write_options o = {0};

    if (!r)
        return error_set(err, EINVAL, "%s is not served", resource);
    return finish(registry_create(c->ctx, r, meta_namespace(object), json_deep_copy(object),
                                  &controller, &o, ret, &st),
                  &st, err);
}

/* A binding sets the node of a pod that has none. */
static int c_bind(struct cluster *c, const struct resource *r, json_t *object, struct error **err)
{
    const char *node = json_text_at(object, "target", "name", NULL);
    struct api_status st = {0};
    struct write_options o = {0};
    cleanup_json json_t *out = NULL;
    json_t *pod = NULL;
    int rc;

    if (!node) /* the whole pod with its node in it */
        node = strna(json_text_at(object, "spec", "nodeName", NULL));
    rc = registry_get(c->ctx, r, meta_namespace(object), meta_name(object), &pod, &st);
    if (rc == 0) {
        const char *have = json_text_at(pod, "spec", "nodeName", NULL);

        if (have && have[0] && !streq(have, node)) {
            json_decref(pod);
            return error_set(err, ESTALE, "pod %s is already assigned to node \"%s\"",
                             meta_name(object), have);
        }
        json_set_text(json_object_need(pod, "spec"), "nodeName", node);
        (void)condition_set(json_array_need(json_object_need(pod, "status"), "conditions"),
                            "PodScheduled", "True", NULL, NULL);
        rc = registry_bind(c->ctx, r, pod, &controller, &o, &out, &st);
    }
    return finish(rc, &st, err);
}

static int c_update(struct cluster *c, const char *resource, const char *subresource,
                    json_t *object, struct error **err)
{
    const struct resource *r = resource_by_id(resource);
    struct api_status st = {0};
    struct write_options o = {0};
    cleanup_json json_t *out = NULL;

    if (!r)
        return error_set(err, EINVAL, "%s is not served", resource);
    if (streq(subresource, "binding"))
        return c_bind(c, r, object, err);
    return finish(registry_update(c->ctx, r, subresource ? subresource : "", meta_namespace(object),
                                  meta_name(object), json_deep_copy(object), &controller, &o, &out,
                                  &st),
                  &st, err);
}

static int c_remove(struct cluster *c, const char *resource, const char *ns, const char *name,
                    const struct cluster_delete *opt, struct error **err)
{
    const struct resource *r = resource_by_id(resource);
    struct api_status st = {0};
    struct delete_options d = {.grace_s = -1};
    cleanup_json json_t *out = NULL;

    if (!r)
        return error_set(err, EINVAL, "%s is not served", resource);
    if (opt)
        d = (struct delete_options){
            .uid = opt->uid, .grace_s = opt->grace_s, .propagation = opt->propagation};
    return finish(registry_delete(c->ctx, r, ns, name, &controller, &d, &out, &st), &st, err);
}

static const struct cluster_ops ops = {c_get, c_list, c_create, c_update, c_remove};

void registry_init(struct registry *g, struct store *store)
{
    *g = (struct registry){.store = store, .cluster = {&ops, NULL}};
    g->cluster.ctx = g;
}
