/*
 * ConfigMaps, Secrets and tokens that pods refer to: fetched when first asked for, kept while a pod
 * uses them, looked at again when older than a minute. A pod that asked for something not there yet
 * is stepped when it came.
 */
#pragma once
#include "kubelet/pod.h"
struct refs;
struct refs *refs_new(struct kubelet *k);
void refs_free(struct refs *r);
enum ref_state { REF_PENDING, REF_OK, REF_MISSING, REF_FAILED };
/* *ret_msg is borrowed until the loop turns. err_text (may be NULL): why it failed, borrowed. */
enum ref_state refs_config_map(struct pod *p, const char *name, K8s__ConfigMap **ret,
                               const char **err_text);
enum ref_state refs_secret(struct pod *p, const char *name, K8s__Secret **ret,
                           const char **err_text);
/* A token bound to the pod; renewed at 80 % of its life or after a day. */
enum ref_state refs_token(struct pod *p, const char *audience, int64_t seconds, const char **ret,
                          const char **err_text);
void refs_forget_pod(struct refs *r, const struct pod *p);
/* mono ns at which something this pod uses should be looked at again; 0 nothing. */
int64_t refs_next_ns(struct refs *r, const struct pod *p);
