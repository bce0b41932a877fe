/* What all objects have, on JSON values: metadata, owners, conditions, times. NULL safe on reading.
 */
#pragma once
#include "base/str.h"
#include "base/time.h"
#include "codec/json.h"

/* reading; strings never NULL unless said */
const char *meta_name(const json_t *o);
const char *meta_namespace(const json_t *o);
const char *meta_uid(const json_t *o);
const char *meta_version(const json_t *o);                     /* resourceVersion */
const char *meta_label(const json_t *o, const char *key);      /* NULL when absent */
const char *meta_annotation(const json_t *o, const char *key); /* NULL when absent */
bool meta_deleting(const json_t *o);
/* "ns/name", or "name" when cluster-scoped; owned. */
char *meta_key(const json_t *o);
/* Owner with controller: true, borrowed; NULL when none. */
const json_t *meta_controller(const json_t *o);
bool meta_controlled_by(const json_t *o, const char *uid);
bool meta_has_finalizer(const json_t *o, const char *name);
struct wall meta_created(const json_t *o);
struct wall json_wall(const json_t *text); /* zero when absent or malformed */

/* writing */
json_t *json_object_need(json_t *o,
                         const char *key); /* member object, made when absent; borrowed */
json_t *json_array_need(json_t *o, const char *key);
/* Sets when the key is absent or null, and a text when it is empty. Takes v. */
void json_default(json_t *o, const char *key, json_t *v);
void json_set_text(json_t *o, const char *key, const char *text);
void json_set_int(json_t *o, const char *key, int64_t v);
void meta_set_annotation(json_t *o, const char *key, const char *value);
void meta_set_label(json_t *o, const char *key, const char *value);
/* New OwnerReference with controller and blockOwnerDeletion true. */
json_t *meta_owner_reference(const json_t *owner, const char *api_version, const char *kind);
json_t *json_now(void); /* "2026-11-23T21:44:36Z" */
json_t *json_time(struct wall t);

/* conditions: an array of {type,status,reason,message,lastTransitionTime} */
const json_t *condition_get(const json_t *conditions, const char *type);
bool condition_is(const json_t *conditions, const char *type, const char *status);
/* Sets or adds; lastTransitionTime moves only when status changes. True when anything changed. */
bool condition_set(json_t *conditions, const char *type, const char *status, const char *reason,
                   const char *message);
bool pod_ready(const json_t *pod);
bool pod_finished(const json_t *pod); /* Succeeded or Failed */

/* IntOrString: a number, or a per cent of total rounded up or down; negative when malformed. */
int64_t int_or_percent(const json_t *v, int64_t total, bool up, int64_t fallback);

/* For loops over JSON arrays: index variable i, element v; a NULL array is empty. */
#define json_each(array, i, v)                                                                     \
    for (size_t i = 0; i < json_array_size(array) && ((v) = json_array_get(array, i)); i++)
