/*
 * What a controller is to the dispatcher: which changes it looks at, and how one key is reconciled.
 * Private to controllers/. reconcile() reads the cluster anew each time; a change only says which
 * key to look at.
 */
#pragma once
#include "server/controllers/cluster.h"
#include "server/controllers/controllers.h"
#include "server/controllers/meta.h"
#include "server/controllers/queue.h"

struct env {
    struct cluster *cluster;
    struct loop *loop;
    struct controllers_config cfg;
    struct map events; /* recently written events, see event.c */
    void *gc;          /* gc.c */
    void *nodes;       /* node_lifecycle.c */
    struct map large;  /* keys of Services with many pods, see endpoints.c */
};
struct controller {
    const struct controller_def *def;
    struct env *env;
    struct queue queue;
};
typedef void (*controller_change_fn)(struct controller *c, enum cluster_change what,
                                     const json_t *object);
struct controller_watch {
    const char *resource; /* NULL ends; "*" is every resource, told in current_resource */
    controller_change_fn fn;
};
struct controller_def {
    const char *name;
    struct controller_watch watches[8];
    enum queue_verdict (*reconcile)(struct controller *c, const char *key);
    void (*begin)(struct controller *c); /* once, before the first changes; or NULL */
    void (*end)(struct controller *c);
};
/* Resource of the change being told, for "*" watchers. */
extern const char *controller_current_resource;

/* helpers for definitions */
void enqueue_self(struct controller *c, enum cluster_change what, const json_t *object);
/* The controller owner of the object, when of that kind, in the object's namespace. */
void enqueue_owner(struct controller *c, const json_t *object, const char *kind);
void enqueue_all(struct controller *c, const char *resource, const char *ns);
/* "ns/name" split into two owned strings. */
void key_split(const char *key, char **ret_ns, char **ret_name);
/* 0, -ENOENT and -EEXIST and -ESTALE are no news; else logged. QUEUE_RETRY when it should be tried
 * again. */
enum queue_verdict settle(struct controller *c, const char *key, int rc, struct error **err);

/* event.c: an Event about object; repeated ones raise the count. type is "Normal" or "Warning". */
void event_write(struct env *e, const json_t *object, const char *api_version, const char *kind,
                 const char *component, const char *type, const char *reason, const char *message);
void event_fini(struct env *e);

/* core.c */
struct controller_set {
    struct env env;
    struct controller *list;
    size_t n;
};
struct controller_set *controller_set_new(struct loop *l, struct cluster *cluster,
                                          const struct controllers_config *cfg);
void controller_set_free(struct controller_set *s);
/* Replays what exists as additions. */
void controller_set_begin(struct controller_set *s);
/* One change of the store. */
void controller_set_change(struct controller_set *s, const char *resource, enum cluster_change what,
                           const json_t *object);
/* bootstrap.c: the objects a cluster has from the start. */
void bootstrap_objects(struct env *e);

extern const struct controller_def daemonset_controller, replicaset_controller,
    deployment_controller, endpoints_controller, namespace_controller, service_account_controller,
    gc_controller, node_lifecycle_controller, taint_controller, node_ipam_controller,
    pod_gc_controller, csr_controller, token_cleaner_controller, role_aggregation_controller,
    endpoints_mirror_controller, job_controller;
