/* Between client.c (the connection and its credentials) and call.c (one request). */
#pragma once
#include "api/client.h"
#include "base/list.h"
#include "net/http_client.h"

struct kube_client {
    struct loop *loop;
    struct kubeconfig config;
    struct tls_client *tls; /* NULL for plain http */
    struct http_client *http;
    struct list calls;
    char *token; /* what the token file held last */
    struct wall token_mtime;
    struct mono checked; /* when files were last looked at */
};
/* Authorization header's value into b; empty when there is none. Looks at the files when it is
 * time. */
int kube_client_authorization(struct kube_client *c, struct buf *b, struct error **err);
void kube_client_forget_token(struct kube_client *c); /* after 401 */
void kube_call_free_from_client(struct list *link);   /* drops a call without calling back */
