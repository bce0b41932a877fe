/* Who asks, and may they: authentication by certificate and bearer token, authorization by RBAC and
 * the node rules. */
#pragma once
#include "base/error.h"
#include "net/http_server.h"
#include <jansson.h>
#include <stdbool.h>

struct admission_request;

struct server;
struct user {
    char *name, *uid;
    char **groups;
    size_t n_groups;
    char *pod_name, *pod_uid, *node_name; /* extra of a service account bound to a pod */
    char *impersonator;
};
void auth_user_fini(struct user *u);
void user_add_group(struct user *u, const char *group);
bool user_in_group(const struct user *u, const char *group);
/* Name of the node this user is ("system:node:x" in system:nodes), or NULL. */
const char *user_node(const struct user *u);
/* Fills u; anonymous when no credentials came. -EACCES: credentials came and are not valid; err
 * says why. */
int authenticate(struct server *s, struct http_exchange *x, struct user *u, struct error **err);
int authenticate_token(struct server *s, struct str token, const char *const *audiences, size_t n,
                       struct user *u, struct error **err);

struct attributes {
    const struct user *user;
    const char *verb, *group, *resource, *sub, *ns, *name; /* "" when absent */
    const char *path;                                      /* non-resource requests */
};
struct authorizer;
struct authorizer *authorizer_new(struct server *s);
void authorizer_free(struct authorizer *a);
bool authorize(struct authorizer *a, const struct attributes *q);
/* All PolicyRules (deep-shared, new array) that a user has in a namespace, for review and
 * escalation checks. */
json_t *authorizer_rules(struct authorizer *a, const struct user *u, const char *ns);
/* Upstream's 403 sentence; owned. */
char *forbidden_message(const struct attributes *q);
/* For admission. */
bool admission_authorize(void *arg, const struct admission_request *r, const char *verb,
                         const char *group, const char *resource, const char *name);
bool admission_covers(void *arg, const struct admission_request *r, const json_t *rules,
                      const char *ns);
