/* The engine's objects, shared by its folders and nobody else. */
#pragma once
#include "base/map.h"
#include "base/mem.h"
#include "engine/container/cgroup.h"
#include "engine/container/runtime.h"
#include "engine/engine.h"
#include "engine/image/image.h"
#include "engine/network/network.h"
#include "engine/streaming/streaming.h"
#include "net/grpc.h"

#define ID_HEX 64
#define ID_TEXT (ID_HEX + 1)
#define OBJECTS_MAX 4096 /* containers, and sandboxes, that may exist at a time */

struct container;
struct sandbox;
enum engine_event {
    EVENT_CREATED,
    EVENT_STARTED,
    EVENT_STOPPED,
    EVENT_DELETED
}; /* as CRI counts them */

struct engine {
    struct loop *loop;
    struct engine_config cfg;
    struct image_store *images;
    struct runtime runtime;
    struct cgroups cgroups;
    struct network *network;
    struct streaming *streaming;
    struct grpc_server *grpc;
    struct map containers, sandboxes; /* by full id */
    struct list watchers;             /* of container events */
    struct loop_signal hup;
    struct loop_timer network_poll;
    unsigned network_polls;
    char boot_id[40];
    char *monitor; /* path of skiff-monitor */
};
/* 64 hex digits nobody has. */
void engine_new_id(char out[static ID_TEXT]);
/* By id or an unambiguous beginning of one; -ENOENT with the kind named. */
int engine_find(const struct map *m, const char *kind, const char *id, void **ret,
                struct error **err);
/* Tells those who watch; c may be NULL for a sandbox's own events. */
void engine_emit(struct engine *e, enum engine_event event, struct container *c, struct sandbox *s);
