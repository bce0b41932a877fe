/* The API over HTTP: how a request becomes a call of the registry. Private to the server. */
#pragma once
#include "net/http_server.h"
#include "server/auth/auth.h"
#include "server/registry/registry.h"
#include "server/server_private.h"

#define API_BODY_MAX (3u << 20)
/* One request being served; freed when it was answered or the client went away. */
struct api_request {
    struct server *s;
    struct http_exchange *x;
    struct user user;
    const struct resource *r;                       /* NULL: not about a resource */
    char *group, *version, *ns, *name, *sub, *rest; /* "" when absent; rest: path behind proxy/ */
    const char *verb;                               /* "get", "list", ...; static */
    bool aborted, dry_run;
};
/* Splits the path into group, version, namespace, resource, name, subresource. False: not an API
 * path. */
bool api_request_parse(struct api_request *q);
void api_request_free(struct api_request *q);
/* Answers: each ends the exchange and frees the request. */
void answer_status(struct api_request *q, struct api_status *st);
void answer_object(struct api_request *q, int code, json_t *object); /* takes object */
void answer_text(struct api_request *q, int code, const char *text);
void answer_json_bytes(struct api_request *q, int code, struct str bytes);
/* {apiVersion, kind} as the request's path names them, when it is not the storage version. */
void to_served_version(const struct api_request *q, json_t *object);
bool served_as_stored(const struct api_request *q);
enum accept_as { ACCEPT_PLAIN, ACCEPT_TABLE, ACCEPT_METADATA };
enum accept_as api_request_accepts(const struct api_request *q);
/* Table and PartialObjectMetadata around objects. */
json_t *table_new(const struct resource *r, bool with_columns, const char *resource_version);
void table_add(json_t *table, const struct resource *r, const json_t *object, struct str include);
json_t *metadata_only(const json_t *object);

/* handlers, one per verb; each takes the request */
void handle_get(struct api_request *q);
void handle_list(struct api_request *q);
void handle_watch(struct api_request *q);
void handle_create(struct api_request *q);
void handle_update(struct api_request *q);
void handle_patch(struct api_request *q);
void handle_delete(struct api_request *q);
void handle_delete_collection(struct api_request *q);
void handle_review(struct api_request *q, json_t *object); /* virtual resources; takes object */
void handle_pod_binding(struct api_request *q, json_t *object);
void handle_eviction(struct api_request *q, json_t *object);
void handle_token(struct api_request *q, json_t *object);
void handle_scale(struct api_request *q);
void handle_kubelet(struct api_request *q); /* logs, exec, attach, port-forward, proxy */
/* discovery, OpenAPI, health, version: true when the path was one of theirs */
bool handle_discovery(struct api_request *q);
bool handle_meta(struct api_request *q);
bool handle_openapi(struct api_request *q);

/* label and field selectors of a list or watch */
struct selector;
int selector_parse(struct str labels, struct str fields, struct selector **ret,
                   struct api_status *st);
bool selector_match(const struct selector *sel, const json_t *object); /* NULL matches all */
bool selector_empty(const struct selector *sel);
void selector_free(struct selector *sel);
