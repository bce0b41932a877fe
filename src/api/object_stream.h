/*
 * Lists and watches, fed in pieces as they come off the wire (bytes in, objects out; no descriptor,
 * no clock). Each item is decoded into one arena that is reused for the next: a consumer keeps its
 * own projection and must not keep pointers.
 */
#pragma once
#include "api/object.h"

/* ---- a List document ---- */
struct object_list;
/* Non-zero stops: feeding returns it when negative. */
typedef int (*object_item_fn)(void *msg, void *arg);
struct object_list *object_list_new(const ProtobufCMessageDescriptor *item, unsigned flags,
                                    object_item_fn fn, void *arg);
int object_list_feed(struct object_list *l, struct str bytes, struct error **err);
/* After the last byte: -EINVAL when the document is not whole. */
int object_list_end(struct object_list *l, struct error **err);
const char *object_list_resource_version(const struct object_list *l); /* "" */
const char *object_list_continue(const struct object_list *l);         /* "" */
void object_list_free(struct object_list *l);

/* ---- a watch stream ---- */
enum watch_type { WATCH_ADDED, WATCH_MODIFIED, WATCH_DELETED, WATCH_BOOKMARK, WATCH_ERROR };
const char *watch_type_name(enum watch_type t); /* "ADDED" */
struct object_watch;
/* msg is of the watched type, for WATCH_ERROR a K8s__Status. Non-zero stops the feed. */
typedef int (*object_watch_fn)(enum watch_type type, void *msg, void *arg);
struct object_watch *object_watch_new(const ProtobufCMessageDescriptor *item, unsigned flags,
                                      object_watch_fn fn, void *arg);
int object_watch_feed(struct object_watch *w, struct str bytes, struct error **err);
void object_watch_free(struct object_watch *w);
