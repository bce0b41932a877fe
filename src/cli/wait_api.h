/*
 * Blocking conversations of a command-line tool with the API server: each runs the loop until the
 * answer or the deadline. Errors are one sentence.
 */
#pragma once
#include "api/client.h"
#include "base/time.h"
struct api_session {
    struct loop *loop;
    struct kube_client *client;
};
int api_session_open(struct api_session *s, const char *kubeconfig, struct error **err);
void api_session_close(struct api_session *s);
/* GET until it answers 200, a try every 10 ms, at most until deadline; the last failure is the
 * error. */
int api_wait_ok(struct api_session *s, const char *path, struct mono deadline, struct error **err);
/* One request on an absolute path; the body of the answer goes into out (may be NULL).
 * AlreadyExists is success for a create. */
int api_request(struct api_session *s, enum kube_verb verb, const char *path, struct str body,
                struct buf *out, struct error **err);
