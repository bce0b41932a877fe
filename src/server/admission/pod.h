/* Pods and pod templates: defaults, admission's additions, validation. Pure but for pod_admission.
 */
#pragma once
#include "server/admission/invalid.h"
/* Defaults of a PodSpec in a Pod (pod true) or in a template. */
void pod_spec_default(json_t *spec, bool pod);
void pod_template_default(json_t *template);
/* status.phase and status.qosClass of a new Pod; what the client sent is dropped. */
void pod_status_init(json_t *pod);
const char *pod_qos_class(const json_t *spec);
/* ServiceAccount, priority, tolerations. 0 or -EPERM. */
int pod_admission(struct cluster *c, struct admission_request *r, struct admission_failure *f);
void pod_spec_validate(struct invalid *v, const char *field, const json_t *spec);
void pod_validate_update(struct invalid *v, const json_t *pod, const json_t *old);
void template_validate(struct invalid *v, const char *field, const json_t *template,
                       const json_t *selector);
/* pod_container.c */
void container_validate(struct invalid *v, const char *field, const json_t *c,
                        const json_t *volumes, bool init);
