/*
 * Getting an image onto the node: pull policy, imagePullSecrets, one pull at a time or several as
 * configured, the wait after a failure.
 */
#pragma once
#include "kubelet/pod.h"
struct pull;
struct image_puller;
/* reason NULL: ref is the image's id. Otherwise upstream's reason ("ErrImagePull",
 * "ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName", "ImageInspectError") and a message;
 * retry_ns: wall time of the next try. */
struct pull_result {
    const char *ref;
    bool runs_as_root_known;
    const char *reason, *message;
    int64_t retry_ns;
};
typedef void (*pull_done_fn)(const struct pull_result *r, void *arg);
struct pull *pull_start(struct container *c, pull_done_fn done, void *arg);
void pull_cancel(struct pull *p); /* NULL accepted */
/* "nginx" -> "docker.io/library/nginx:latest"; false when it is no image name. Owned. */
bool image_normalise(const char *image, char **ret);
/* "Always" or "IfNotPresent" by upstream's rule when the spec says nothing. */
const char *image_policy(const K8s__Container *c);
struct image_puller *image_puller_new(struct kubelet *k);
void image_puller_free(struct image_puller *p);
/* /var/log/containers/POD_NS_CONTAINER-ID.log */
void log_link_make(struct pod *p, const char *container, const char *id, const char *target);
