/*
 * Event recorder: "what happened to this object", as core/v1 Events. Repeats of one event within
 * ten minutes become a count on the first; more than ten similar ones become "(combined from
 * similar events)"; per object a burst of 25, then one each five minutes. The queue holds 1,000;
 * over that the oldest goes. Recording never fails and never blocks; what cannot be sent is
 * retried, then dropped.
 */
#pragma once
#include "api/client.h"
struct recorder;
/* component: "kubelet"; host: the node's name, may be NULL. */
struct recorder *recorder_new(struct kube_client *c, const char *component, const char *host);
void recorder_free(struct recorder *r);
/* The client may change or go away (NULL: events wait in the queue). */
void recorder_set_client(struct recorder *r, struct kube_client *c);
struct recorder_object {
    const char *api_version, *kind, *namespace_, *name, *uid, *resource_version, *field_path;
};
/* type is "Normal" or "Warning". Cluster-scoped objects have their events in "default". */
void recorder_event(struct recorder *r, const struct recorder_object *o, const char *type,
                    const char *reason, const char *fmt, ...) __attribute__((format(printf, 5, 6)));
/* Fills o from a message with borrowed strings; api_version in text. */
void recorder_object_of(const void *msg, struct recorder_object *o,
                        char text[static OBJECT_API_VERSION_TEXT]);
