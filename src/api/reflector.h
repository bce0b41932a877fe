/*
 * List-watch: keeps a consumer level with one resource, whatever happens on the way. Lists in pages
 * of 500, watches from there with bookmarks, relists on 410, retries everything else with back-off
 * and jitter. The consumer sees either single changes or a replace: on_replace_begin, on_object for
 * each item that exists, on_synced; whatever it did not see between the two is gone. A reflector
 * that was told to track keys (`track`) computes those deletions itself and calls on_delete for
 * each.
 *
 * Messages live in an arena that ends with the callback: keep projections.
 */
#pragma once
#include "api/client.h"

struct reflector;
enum reflect_event { REFLECT_LISTED, REFLECT_ADDED, REFLECT_MODIFIED };
struct reflector_ops {
    void (*on_replace_begin)(void *arg); /* may be NULL */
    void (*on_object)(enum reflect_event ev, void *msg, void *arg);
    void (*on_delete)(const char *ns, const char *name, const char *uid, void *arg);
    void (*on_synced)(void *arg); /* after each complete list; may be NULL */
    /* State of the connection changed: err NULL is healthy. May be NULL. */
    void (*on_state)(const struct error *err, void *arg);
};
struct reflector_config {
    const ProtobufCMessageDescriptor *type;
    const char *namespace_;     /* NULL: all */
    const char *field_selector; /* unescaped; NULL none */
    const char *label_selector;
    bool track; /* remember ns/name/uid of everything seen, so that a relist yields on_delete */
    bool keep_managed_fields;
    const struct reflector_ops *ops;
    void *arg;
};
/* Starts at once; strings are copied; ops must outlive it. */
struct reflector *reflector_start(struct kube_client *c, const struct reflector_config *cfg);
void reflector_stop(
    struct reflector *r); /* NULL accepted; no callback afterwards; not from inside one */
bool reflector_synced(const struct reflector *r); /* a whole list was delivered at least once */
/* ms since the last byte of good news, for staleness; -1 before the first. */
int64_t reflector_age_ms(const struct reflector *r);
/* Looks again now instead of at the end of the back-off (network came back, certificate changed).
 */
void reflector_kick(struct reflector *r);
