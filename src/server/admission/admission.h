/*
 * What happens to an object between decoding and storing: defaults, mutation, validation. The
 * registry calls admission_mutate (which defaults too) and then admission_validate for each create
 * and update, and admission_released when an object is gone for good or its creation came to
 * nothing. Object and old object are JSON in the storage version of the resource ("apps/v1" for
 * daemonsets).
 */
#pragma once
#include "server/controllers/cluster.h"
#include <stddef.h>
#include <stdint.h>

struct admission;
enum admission_op { ADMISSION_CREATE, ADMISSION_UPDATE, ADMISSION_DELETE };
struct admission_request {
    enum admission_op op;
    const char *resource; /* as in cluster.h: "pods", "daemonsets.apps" */
    const char *kind;     /* "DaemonSet" */
    const char
        *subresource; /* NULL or "" for none, "status", "scale", "eviction", "approval" ... */
    const char *ns;   /* "" for cluster-scoped */
    const char *name; /* "" before generateName was resolved */
    const char *user; /* who asks */
    const char *const *groups;
    size_t n_groups;
    bool system;       /* a controller of this process: no escalation check */
    bool dry_run;      /* nothing is reserved */
    json_t *object;    /* changed in place by admission_mutate; NULL for DELETE */
    const json_t *old; /* NULL for CREATE */
};
/* Why not: the fields of a metav1.Status. Free with admission_failure_fini. */
struct admission_failure {
    int code;           /* 422, 403, 404, 409, 500 */
    const char *reason; /* "Invalid", "Forbidden", ...; static */
    char *message;      /* owned */
    json_t *details;    /* owned, or NULL: {"group","kind","name","causes":[...]} */
};
struct admission_config {
    struct cluster *cluster;
    const char *service_cidr; /* "10.254.0.0/16" */
    int node_port_min, node_port_max;
    /* 0 allowed; for the RBAC escalation check: may user do this? NULL: no check is done. */
    bool (*authorize)(void *arg, const struct admission_request *r, const char *verb,
                      const char *group, const char *resource, const char *name);
    /* All of rules (an array of PolicyRule) covered by what the user may do in ns? NULL: no check.
     */
    bool (*covers)(void *arg, const struct admission_request *r, const json_t *rules,
                   const char *ns);
    void *arg;
};

/* lifecycle; reads the Services in the cluster to learn which addresses and ports are taken */
int admission_new(const struct admission_config *cfg, struct admission **ret, struct error **err);
void admission_free(struct admission *a); /* NULL accepted */

/* 0 or -EPERM with *f filled. */
int admission_mutate(struct admission *a, struct admission_request *r, struct admission_failure *f);
int admission_validate(struct admission *a, struct admission_request *r,
                       struct admission_failure *f);
/* The object is gone from the store, or was never stored although admission_mutate had succeeded.
 */
void admission_released(struct admission *a, const char *resource, const json_t *object);
void admission_failure_fini(struct admission_failure *f);
