/*
 * Kubernetes API client: typed requests on one keep-alive connection, answered through callbacks on
 * the loop, never before the call that made them returns. The bearer token file is read anew when
 * it changed, client certificates as well (kube_client_reload forces it). Nothing is retried and
 * nothing is held back here: callers own that.
 */
#pragma once
#include "api/kubeconfig.h"
#include "api/object.h"
#include "loop/loop.h"

struct kube_client;
struct kube_client_options {
    const char *user_agent; /* NULL: "skiff/<version>" */
};
/* lifecycle. The kubeconfig is copied. Freeing cancels what is under way without calling back. */
int kube_client_new(struct loop *l, const struct kubeconfig *k, const struct kube_client_options *o,
                    struct kube_client **ret, struct error **err);
void kube_client_free(struct kube_client *c);
/* New connections use the files as they are now; what is under way lives on. */
int kube_client_reload(struct kube_client *c, struct error **err);
const char *kube_client_server(const struct kube_client *c);
struct loop *kube_client_loop(const struct kube_client *c);

enum kube_verb { KUBE_GET, KUBE_CREATE, KUBE_UPDATE, KUBE_PATCH, KUBE_DELETE };
enum kube_patch { KUBE_PATCH_STRATEGIC, KUBE_PATCH_MERGE, KUBE_PATCH_JSON, KUBE_PATCH_APPLY };
struct kube_request {
    enum kube_verb verb;
    const ProtobufCMessageDescriptor *type; /* has a row in object_kind; gives the path */
    const char *namespace_;  /* NULL or "" for cluster scope and for lists over all namespaces */
    const char *name;        /* NULL for create and list */
    const char *subresource; /* "status", "approval", "token", ..., or NULL */
    const char *query;       /* already escaped, without '?'; or NULL */
    const char *path;        /* instead of type: an absolute path, "/healthz" */
    const void *body;        /* a message, encoded here; DELETE takes K8s__DeleteOptions */
    struct str raw_body;     /* or bytes (a patch); copied */
    enum kube_patch patch;
    const ProtobufCMessageDescriptor *answer; /* type of the answer; NULL: the same as type */
    int64_t timeout_ms;                       /* 0: 30 s; negative: none */
    int64_t idle_timeout_ms;                  /* longest silence in a streamed answer; 0 none */
};

struct kube_result {
    int http_code;      /* 0 when there was no answer */
    const char *reason; /* Status.reason ("NotFound", "Conflict", ...), "" on success, "Transport"
                           with http_code 0 */
    struct error
        *err;        /* NULL on success; the server's message, or what stood in the way; borrowed */
    void *msg;       /* decoded answer or NULL; in an arena that ends with the callback */
    struct str body; /* the answer's bytes */
    int retry_after_s; /* from 429 or 503; 0 none */
};
static inline bool kube_result_is(const struct kube_result *r, const char *reason)
{
    return strcmp(r->reason, reason) == 0;
}
struct kube_call;
typedef void (*kube_done_fn)(const struct kube_result *r, void *arg);
/* Starts; done is called exactly once, later, unless cancelled. ret may be NULL. Cannot fail to
 * start: what is wrong with the request is reported through done as well. */
void kube_call(struct kube_client *c, const struct kube_request *q, kube_done_fn done, void *arg,
               struct kube_call **ret);
void kube_call_cancel(struct kube_call *call); /* NULL accepted */

/* short forms; all may be given NULL for ns where the kind is cluster-scoped */
void kube_get(struct kube_client *c, const ProtobufCMessageDescriptor *type, const char *ns,
              const char *name, kube_done_fn done, void *arg, struct kube_call **ret);
/* Namespace and name are taken from the message. */
void kube_create(struct kube_client *c, const void *msg, kube_done_fn done, void *arg,
                 struct kube_call **ret);
void kube_update(struct kube_client *c, const void *msg, const char *subresource, kube_done_fn done,
                 void *arg, struct kube_call **ret);
void kube_patch(struct kube_client *c, const ProtobufCMessageDescriptor *type, const char *ns,
                const char *name, const char *subresource, enum kube_patch kind, struct str patch,
                kube_done_fn done, void *arg, struct kube_call **ret);
/* grace_s < 0: server's default; uid NULL or the precondition. */
void kube_delete(struct kube_client *c, const ProtobufCMessageDescriptor *type, const char *ns,
                 const char *name, int64_t grace_s, const char *uid, kube_done_fn done, void *arg,
                 struct kube_call **ret);

/* A streamed answer (lists, watches, logs). on_data gets bytes of a 2xx body; on_end once, with the
 * decoded Status in r on an HTTP error, r->err NULL on a clean end. */
struct kube_stream_ops {
    void (*on_open)(void *arg); /* a 2xx head came; may be NULL */
    int (*on_data)(struct str bytes,
                   void *arg); /* negative: cancel; on_end follows with that code */
    void (*on_end)(const struct kube_result *r, void *arg);
};
void kube_stream(struct kube_client *c, const struct kube_request *q,
                 const struct kube_stream_ops *ops, void *arg, struct kube_call **ret);

/* "/api/v1/namespaces/ns/pods/name/status"; for tests and those who build their own requests. */
int kube_path(const struct object_kind *k, const char *ns, const char *name,
              const char *subresource, struct buf *b);
