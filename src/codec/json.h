/*
 * JSON documents of no known type, on jansson, with the limits a stranger's bytes need: size, depth
 * (jansson's own 2,048), no duplicate keys, no invalid UTF-8. Typed objects use api/object.h
 * instead.
 */
#pragma once
#include "base/buf.h"
#include "base/error.h"
#include <jansson.h>
/* Parses a whole document; *ret is owned. what names it in errors ("request body", a path). */
int json_parse(struct str text, size_t max_bytes, const char *what, json_t **ret,
               struct error **err);
/* Compact text appended to b; keys keep their order. */
int json_write(const json_t *v, struct buf *b);
int json_write_indented(const json_t *v, struct buf *b);
/* Path look-ups by key, NULL-terminated: json_at(pod, "spec", "nodeName", NULL). NULL when absent.
 */
json_t *json_at(const json_t *v, ...) __attribute__((sentinel));
/* String at a path, or NULL. */
const char *json_text_at(const json_t *v, ...) __attribute__((sentinel));
/* A string member or fallback. */
const char *json_text_or(const json_t *object, const char *key, const char *fallback);
int64_t json_int_or(const json_t *object, const char *key, int64_t fallback);
bool json_bool_or(const json_t *object, const char *key, bool fallback);
static inline void cleanup_jsonp(json_t **v)
{
    json_decref(*v);
}
#define cleanup_json __attribute__((cleanup(cleanup_jsonp)))
