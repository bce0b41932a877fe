/* Names and labels: what upstream allows, and its sentence when it does not. Pure. */
#pragma once
#include "server/admission/invalid.h"
/* NULL when fine, else the sentence (static). */
const char *name_dns1123_label(const char *z);
const char *name_dns1123_subdomain(const char *z);
const char *name_dns1035_label(const char *z);
const char *name_label_value(const char *z);
const char *name_qualified(const char *z);
const char *name_path_segment(const char *z); /* RBAC objects */
const char *name_env(const char *z);
const char *name_config_key(const char *z);
const char *name_port(const char *z); /* IANA_SVC_NAME */
/* metadata of any object: name by the resource's rule, namespace, labels, annotations, finalizers,
 * owners. */
void meta_validate(struct invalid *v, const struct admission_request *r);
/* A map of labels below field. */
void labels_validate(struct invalid *v, const char *field, const json_t *labels);
/* A LabelSelector below field. */
void selector_validate(struct invalid *v, const char *field, const json_t *selector);
