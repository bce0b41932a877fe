/*
 * What controllers, scheduler and admission see of the cluster: objects by resource, in this
 * process. The registry implements it; unit tests put an array behind it. Resources are named
 * "plural" for the core group and "plural.group" otherwise ("pods", "daemonsets.apps"). Objects
 * handed out are shared with the cache: read only, json_deep_copy before changing one.
 *
 * Errors of the writing calls: -ENOENT no such object, -EEXIST name is taken, -ESTALE
 * resourceVersion or uid did not match (look again), anything else is a failure to retry with
 * back-off.
 */
#pragma once
#include "base/error.h"
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

struct cluster;
struct cluster_delete {
    const char *uid;         /* precondition, or NULL */
    int64_t grace_s;         /* negative: the object's own */
    const char *propagation; /* "Background", "Foreground", "Orphan"; NULL: the default */
};
struct cluster_ops {
    /* New reference, or NULL. ns is NULL or "" for cluster-scoped resources. */
    json_t *(*get)(struct cluster *c, const char *resource, const char *ns, const char *name);
    /* New array of objects; ns NULL or "" means all namespaces. Never NULL. */
    json_t *(*list)(struct cluster *c, const char *resource, const char *ns);
    /* Through admission, as the controllers' own privileged identity. ret may be NULL; new
     * reference. */
    int (*create)(struct cluster *c, const char *resource, json_t *object, json_t **ret,
                  struct error **err);
    /* Whole-object update; subresource is NULL, "status", "finalize", "approval" or "binding". A
     * metadata.resourceVersion in the object is a precondition. */
    int (*update)(struct cluster *c, const char *resource, const char *subresource, json_t *object,
                  struct error **err);
    int (*remove)(struct cluster *c, const char *resource, const char *ns, const char *name,
                  const struct cluster_delete *opt, struct error **err);
};
struct cluster {
    const struct cluster_ops *ops;
    void *ctx;
};

/* One change, as the subscription reports it. */
enum cluster_change { CLUSTER_ADDED, CLUSTER_MODIFIED, CLUSTER_DELETED };

static inline json_t *cluster_get(struct cluster *c, const char *resource, const char *ns,
                                  const char *name)
{
    return c->ops->get(c, resource, ns, name);
}
static inline json_t *cluster_list(struct cluster *c, const char *resource, const char *ns)
{
    return c->ops->list(c, resource, ns);
}
static inline int cluster_create(struct cluster *c, const char *resource, json_t *object,
                                 json_t **ret, struct error **err)
{
    return c->ops->create(c, resource, object, ret, err);
}
static inline int cluster_update(struct cluster *c, const char *resource, const char *subresource,
                                 json_t *object, struct error **err)
{
    return c->ops->update(c, resource, subresource, object, err);
}
static inline int cluster_remove(struct cluster *c, const char *resource, const char *ns,
                                 const char *name, const struct cluster_delete *opt,
                                 struct error **err)
{
    return c->ops->remove(c, resource, ns, name, opt, err);
}
