/* Where pods come from. */
#pragma once
#include "kubelet/pod.h"
/* Manifests: every regular file of a directory (or one file) not starting with a dot; YAML or JSON,
 * one pod each. */
struct source_file *source_file_start(struct kubelet *k, const char *path);
void source_file_stop(struct source_file *s);
/* One manifest: defaults, name, UID and annotations as upstream makes them. Heap pod. */
int static_pod_parse(struct str text, const char *path, const char *node_name, K8s__Pod **ret,
                     struct error **err);
/* The API server's pods of this node. */
struct source_api *source_api_start(struct kubelet *k);
void source_api_stop(struct source_api *s);
void source_ignore_answer(const struct kube_result *r, void *arg);
