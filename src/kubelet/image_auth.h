/* Registry credentials of a pod's imagePullSecrets (.dockerconfigjson and .dockercfg). */
#pragma once
#include "kubelet/pod.h"
/* NULL: none fits. Strings in the arena. */
Runtime__V1__AuthConfig *image_auth(struct arena *a, struct pod *p, const char *image);
/* Does a key of "auths" ("registry:5000", "https://index.docker.io/v1/") stand for the image's
 * registry? */
bool image_auth_matches(const char *key, const char *image);
