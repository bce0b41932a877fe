/* Shared by the files of this folder only. */
#pragma once
#include "base/arena.h"
#include "engine/cri/cri.h"

#define CRI_SERVICE "/runtime.v1.RuntimeService/"

/* One row of a method table. */
struct cri_method {
    const char *name;
    const ProtobufCMessageDescriptor *request;
    grpc_handler_fn fn;
};
void cri_register(struct engine *e, const struct cri_method *methods, size_t n);
void cri_register_sandbox(struct engine *e);
void cri_register_container(struct engine *e);
void cri_register_stats(struct engine *e);
void cri_register_stream(struct engine *e);
void cri_register_exec_sync(struct engine *e);
void cri_register_events(struct engine *e);
void cri_register_status(struct engine *e);

/* Finds or answers with NotFound (then NULL). */
struct sandbox *cri_sandbox(struct engine *e, struct grpc_context *x, const char *id);
struct container *cri_container(struct engine *e, struct grpc_context *x, const char *id);
/* Every wanted label is there with that value. Arrays of any map<string, string>. */
bool cri_labels_match(const void *wanted, size_t wanted_n, const void *have, size_t have_n);
/* An id filter: empty, or a beginning of id. */
static inline bool cri_id_matches(const char *filter, const char *id)
{
    return !filter[0] || strstarts(id, filter);
}

/* Messages in an arena; they borrow from the objects. */
Runtime__V1__PodSandboxStatus *cri_sandbox_status(struct arena *a, const struct sandbox *s);
Runtime__V1__ContainerStatus *cri_container_status(struct arena *a, struct container *c);
/* All containers of a sandbox; NULL-safe. */
size_t cri_container_statuses(struct arena *a, const struct sandbox *s,
                              Runtime__V1__ContainerStatus ***ret);
#define NEW(a, type, init)                                                                         \
    ({                                                                                             \
        type *new_ = arena_alloc(a, sizeof(type));                                                 \
        init(new_);                                                                                \
        new_;                                                                                      \
    })
