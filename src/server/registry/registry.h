/*
 * Objects with the rules of the API: metadata, resourceVersion conflicts, admission, subresources,
 * deletion with grace and finalizers. What HTTP handlers and, through struct cluster, the
 * controllers call. Objects are in the storage version of their resource.
 */
#pragma once
#include "server/controllers/cluster.h"
#include "server/registry/resource.h"
#include "server/registry/status.h"
#include "server/store/store.h"

struct admission;
struct registry {
    struct store *store;
    struct admission *admission; /* NULL only while bootstrapping */
    struct cluster cluster;      /* this registry as controllers see it */
};
struct actor { /* who asks */
    const char *user, *uid;
    const char *const *groups;
    size_t n_groups;
    bool system;
};
struct write_options {
    bool dry_run;
};
struct delete_options {
    const char *uid, *resource_version; /* preconditions or NULL */
    int64_t grace_s;                    /* negative: default */
    const char *propagation;            /* or NULL */
    bool dry_run;
};
#define OBJECT_BYTES_MAX (3u << 20)
void registry_init(struct registry *g, struct store *store);
/* All return 0, or -1 with st set. Objects returned are new references. */
int registry_get(struct registry *g, const struct resource *r, const char *ns, const char *name,
                 json_t **ret, struct api_status *st);
/* Takes object, also on failure. */
int registry_create(struct registry *g, const struct resource *r, const char *ns, json_t *object,
                    const struct actor *who, const struct write_options *o, json_t **ret,
                    struct api_status *st);
/* Takes object. sub is "" or a subresource. An object without resourceVersion replaces whatever is
 * there. */
int registry_update(struct registry *g, const struct resource *r, const char *sub, const char *ns,
                    const char *name, json_t *object, const struct actor *who,
                    const struct write_options *o, json_t **ret, struct api_status *st);
/* Stores a pod with its node and PodScheduled condition set: what a binding does past the rules of
 * an update. Takes pod. */
int registry_bind(struct registry *g, const struct resource *r, json_t *pod,
                  const struct actor *who, const struct write_options *o, json_t **ret,
                  struct api_status *st);
/* *ret: the object as it is now when it lives on (grace, finalizers), a Status of success when it
 * is gone. */
int registry_delete(struct registry *g, const struct resource *r, const char *ns, const char *name,
                    const struct actor *who, const struct delete_options *o, json_t **ret,
                    struct api_status *st);
/* Every object, parsed, below a namespace ("" or NULL: all). fn owns nothing. */
typedef int (*registry_each_fn)(json_t *object, void *arg);
int registry_each(struct registry *g, const struct resource *r, const char *ns, registry_each_fn fn,
                  void *arg);
