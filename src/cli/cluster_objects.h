/*
 * What `up` puts into a new control plane so that a node may join it: a bootstrap token, the
 * bindings that let its group ask for a node certificate and get it, and what nodes need to renew
 * and to proxy.
 */
#pragma once
#include "base/buf.h"
#include "base/error.h"
#include <jansson.h>
struct cluster_object {
    const char *path; /* API collection to POST to */
    json_t *body;     /* owned */
};
#define CLUSTER_OBJECTS_MAX 16
/* Fills objects (at most CLUSTER_OBJECTS_MAX); token is "id.secret". Returns how many. */
size_t cluster_objects(const char *token, struct cluster_object *objects);
/* A fresh token in the form [a-z0-9]{6}.[a-z0-9]{16}; owned. */
char *bootstrap_token_new(void);
