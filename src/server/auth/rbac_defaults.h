/* The stock roles and bindings, under upstream's names, as objects ready to be created or
 * reconciled. */
#pragma once
#include <jansson.h>
#include <stddef.h>
/* New array of ClusterRole, ClusterRoleBinding, Role and RoleBinding objects. */
json_t *rbac_defaults(void);
/* Brings what exists up to what is wanted, as upstream's auto-reconcile does: rules and subjects
 * are added, never taken away; labels and the annotation too. A changed copy (new reference), or
 * NULL when nothing differs or the annotation rbac.authorization.kubernetes.io/autoupdate is
 * "false". */
json_t *rbac_reconcile(const json_t *wanted, const json_t *existing);
/* Does some rule of rules allow all that rule allows? rules and rule are PolicyRules. */
int rbac_rules_cover(const json_t *rules, const json_t *rule);
