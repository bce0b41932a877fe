/* Label selectors, node selectors, taints and tolerations on JSON values. Pure. */
#pragma once
#include <jansson.h>
#include <stdbool.h>
/* A LabelSelector; NULL selects nothing, an empty one everything. */
bool selector_matches(const json_t *selector, const json_t *labels);
/* A plain map as in Service.spec.selector: NULL or empty selects nothing here. */
bool selector_map_matches(const json_t *map, const json_t *labels);
/* A NodeSelector (terms are ORed); NULL or without terms matches nothing. */
bool node_selector_matches(const json_t *selector, const json_t *node);
/* One NodeSelectorTerm. */
bool node_term_matches(const json_t *term, const json_t *node);
/* spec.nodeSelector and required node affinity of a pod spec. */
bool pod_wants_node(const json_t *pod_spec, const json_t *node);
bool toleration_tolerates(const json_t *toleration, const json_t *taint);
bool tolerations_tolerate(const json_t *tolerations, const json_t *taint);
