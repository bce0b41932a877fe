/*
 * The three patches of the Kubernetes API on JSON values: RFC 6902 JSON patch, RFC 7386 merge
 * patch, and the strategic merge patch with its merge keys and $patch directives. All work on a
 * copy: on failure nothing changed.
 */
#pragma once
#include "base/error.h"
#include <jansson.h>
/* New value, owned. -EINVAL (a patch that makes no sense) or -ENOENT (a path or test that does not
 * fit). */
int patch_json(const json_t *object, const json_t *patch, json_t **ret, struct error **err);
int patch_merge(const json_t *object, const json_t *patch, json_t **ret, struct error **err);
/* kind picks merge keys that depend on it ("Service" for ports). */
int patch_strategic(const json_t *object, const json_t *patch, const char *kind, json_t **ret,
                    struct error **err);
