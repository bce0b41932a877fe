/* Pods from templates, and what controllers of pods have in common. Pure but for the pod_* steps.
 */
#pragma once
#include "server/controllers/controller.h"
/* New Pod of the owner's template with generateName "OWNER-". */
json_t *pod_from_template(const json_t *owner, const char *api_version, const char *kind,
                          const json_t *template);
/* Short stable hash of a template, as text for pod-template-hash labels. */
#define TEMPLATE_HASH 11
void template_hash(const json_t *template, int64_t collisions, char out[static TEMPLATE_HASH]);
/* Active: not finished and not being deleted. */
bool pod_active(const json_t *pod);
/* Ready for at least min_s seconds; *ret_wait_s (may be NULL) is the rest to wait, 0 when not
 * ready. */
bool pod_available(const json_t *pod, int64_t min_s, int64_t *ret_wait_s);
/* Pods in ns controlled by uid; new array. Orphans that match selector are adopted first. */
json_t *pods_of(struct controller *c, const json_t *owner, const char *api_version,
                const char *kind);
/* Creates or deletes one, with the events upstream writes on the owner. */
int pod_create_for(struct controller *c, const json_t *owner, const char *api_version,
                   const char *kind, json_t *pod, const char *component, struct error **err);
int pod_delete_for(struct controller *c, const json_t *owner, const char *api_version,
                   const char *kind, const json_t *pod, const char *component, struct error **err);
