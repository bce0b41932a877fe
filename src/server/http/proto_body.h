/*
 * Request bodies as application/vnd.kubernetes.protobuf, which kubectl's imperative commands send: turned into the JSON
 * that the rest of the server works on. Values that the wire form cannot tell from "not set" (empty texts, zeros,
 * false) are left out, save for the fields where upstream has a pointer and the zero was meant.
 */
#pragma once
#include "base/error.h"
#include "base/str.h"
#include <jansson.h>
/* 0; -EINVAL: not such a message; -ENOTSUP: a kind without a type here. *ret is owned. */
int proto_body_parse(struct str body, json_t **ret, struct error **err);
