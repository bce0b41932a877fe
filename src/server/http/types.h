/* Are the values of a request body of the types the schema gives them? */
#pragma once
#include "server/registry/resource.h"
#include "server/registry/status.h"
/* 0, or -1 with st set (400). Kinds without a schema pass. One object of wrong types in the store
 * would stop every typed client that lists it, so it must not get there. */
int types_check(const struct resource *r, const char *version, const json_t *object,
                struct api_status *st);
