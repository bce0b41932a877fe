/* Bodies in protobuf's wire form, as kubectl sends some of its requests: made into the JSON that
 * everything here works on. */
#pragma once
#include "base/error.h"
#include "base/str.h"
#include <jansson.h>
#include <stdbool.h>
#define WIRE_CONTENT_TYPE "application/vnd.kubernetes.protobuf"
/* "k8s\0" and a runtime.Unknown around the object. -EINVAL: damaged; -ENOTSUP: a kind or a field
 * that this server has no wire schema for (it would be lost, so it is refused). */
int wire_to_json(struct str body, json_t **ret, struct error **err);
