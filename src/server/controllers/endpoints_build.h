/* Endpoints and EndpointSlices of a Service from its Pods. Pure. */
#pragma once
#include <jansson.h>
/* subsets of the Endpoints object; new array. pods is an array of the Service's namespace. */
json_t *endpoints_subsets(const json_t *service, const json_t *pods);
/* New array of slice contents {"ports":[...],"endpoints":[...]}: one or more per distinct set of
 * port numbers, at most 100 endpoints each. nodes: name -> Node object (for zones), may be NULL. */
json_t *endpoints_slices(const json_t *service, const json_t *pods, const json_t *nodes);
