/* Defaults and validation of the smaller kinds. One row per resource in admission.c. */
#pragma once
#include "server/admission/invalid.h"
void namespace_default(json_t *o, const json_t *old);
void node_default(json_t *o, const json_t *old);
void node_validate(struct invalid *v, const json_t *o, const json_t *old);
void secret_default(json_t *o, const json_t *old);
void secret_validate(struct invalid *v, const json_t *o, const json_t *old);
void configmap_validate(struct invalid *v, const json_t *o, const json_t *old);
void binding_default(json_t *o, const json_t *old); /* RoleBinding, ClusterRoleBinding */
void binding_validate(struct invalid *v, const json_t *o, const json_t *old);
void role_validate(struct invalid *v, const json_t *o, const json_t *old);
void csr_validate(struct invalid *v, const json_t *o, const json_t *old);
void slice_validate(struct invalid *v, const json_t *o, const json_t *old);
void job_default(json_t *o, const json_t *old); /* the object has its name and uid */
void job_validate(struct invalid *v, const json_t *o, const json_t *old);
void lease_validate(struct invalid *v, const json_t *o, const json_t *old);
/* Spec of a new request as the server fills it in: who asks. */
void csr_prepare(const struct admission_request *r);
/* rbac.c: may the user grant what the role or binding grants? 0 or -EPERM. */
int rbac_escalation(const struct admission_config *cfg, const struct admission_request *r,
                    struct admission_failure *f);
