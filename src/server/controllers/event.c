#include "base/cleanup.h"
#include "base/log.h"
#include "base/mem.h"
#include "server/controllers/controller.h"
#include <inttypes.h>

#define EVENTS_REMEMBERED 512

/* What makes two events the same: object, reason, message. */
static char *event_key(const json_t *object, const char *component, const char *reason,
                       const char *message)
{
    return xasprintf("%s|%s|%s|%s", meta_uid(object), component, reason, message);
}

static bool raise_count(struct env *e, const char *ns, const char *name)
{
    cleanup_json json_t *have = cluster_get(e->cluster, "events", ns, name), *o = NULL;

    if (!have)
        return false;
    o = json_deep_copy(have);
    json_set_int(o, "count", json_int_or(o, "count", 1) + 1);
    json_object_set_new(o, "lastTimestamp", json_now());
    return cluster_update(e->cluster, "events", NULL, o, NULL) == 0;
}

static json_t *event_object(const json_t *object, const char *api_version, const char *kind,
                            const char *ns, const char *name)
{
    return json_pack("{s:s,s:s,s:{s:s,s:s},s:{s:s,s:s,s:s,s:s,s:s,s:s}}", "apiVersion", "v1",
                     "kind", "Event", "metadata", "name", name, "namespace", ns, "involvedObject",
                     "apiVersion", api_version, "kind", kind, "namespace", meta_namespace(object),
                     "name", meta_name(object), "uid", meta_uid(object), "resourceVersion",
                     meta_version(object));
}

void event_write(struct env *e, const json_t *object, const char *api_version, const char *kind,
                 const char *component, const char *type, const char *reason, const char *message)
{
    const char *ns = *meta_namespace(object) ? meta_namespace(object) : "default";
    cleanup_free char *key = event_key(object, component, reason, message);
    cleanup_json json_t *o = NULL;
    cleanup_error struct error *err = NULL;
    char *name = map_get(&e->events, key);

    if (name && raise_count(e, ns, name))
        return;
    if (e->events.n >= EVENTS_REMEMBERED)
        map_clear(&e->events, free);
    name = xasprintf("%s.%" PRIx64, meta_name(object), (uint64_t)wall_now().ns);
    o = event_object(object, api_version, kind, ns, name);
    json_object_set_new(o, "source", json_pack("{s:s}", "component", component));
    json_set_text(o, "reportingComponent", component);
    json_set_text(o, "reportingInstance", "");
    json_set_text(o, "type", type);
    json_set_text(o, "reason", reason);
    json_set_text(o, "message", message);
    json_set_int(o, "count", 1);
    json_object_set_new(o, "firstTimestamp", json_now());
    json_object_set_new(o, "lastTimestamp", json_now());
    json_object_set_new(o, "eventTime", json_null());
    if (cluster_create(e->cluster, "events", o, NULL, &err) < 0) {
        log_debug("server", "event not written", "reason", reason, "error", error_message(err),
                  NULL);
        free(name);
        return;
    }
    free(map_set(&e->events, key, name));
}

void event_fini(struct env *e)
{
    map_fini(&e->events, free);
}
