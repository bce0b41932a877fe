/*
 * YAML 1.2 core schema (with YAML 1.1's yes/no left as text, as Kubernetes' reader does for JSON
 * conversion) into jansson values, by libyaml events. Limits: size, depth 64, and alias expansion
 * (a document may not grow past max_bytes / 8 nodes). JSON is YAML, so both spellings are read.
 */
#pragma once
#include "codec/json.h"
/* Parses exactly one document; an empty one is JSON null. *ret owned. */
int yaml_parse(struct str text, size_t max_bytes, const char *what, json_t **ret,
               struct error **err);
/* Parses all documents of a stream into an array; empty documents are left out. */
int yaml_parse_all(struct str text, size_t max_bytes, const char *what, json_t **ret,
                   struct error **err);
/* Block-style YAML of a value. */
int yaml_write(const json_t *v, struct buf *b);
