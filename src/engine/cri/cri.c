#include "engine/cri/cri_private.h"
#include "base/cleanup.h"
#include <errno.h>

void cri_register(struct engine *e, const struct cri_method *methods, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        cleanup_free char *path = xasprintf(CRI_SERVICE "%s", methods[i].name);

        grpc_server_handle(e->grpc, path, methods[i].request, methods[i].fn, e);
    }
}

void cri_runtime_register(struct engine *e)
{
    cri_register_status(e);
    cri_register_sandbox(e);
    cri_register_container(e);
    cri_register_stats(e);
    cri_register_stream(e);
    cri_register_exec_sync(e);
    cri_register_events(e);
}

static void *find(const struct map *m, const char *kind, struct grpc_context *x, const char *id)
{
    cleanup_error struct error *err = NULL;
    void *found;

    if (engine_find(m, kind, id, &found, &err) == 0)
        return found;
    grpc_fail_error(x, err);
    return NULL;
}

struct sandbox *cri_sandbox(struct engine *e, struct grpc_context *x, const char *id)
{
    return find(&e->sandboxes, "sandbox", x, id);
}

struct container *cri_container(struct engine *e, struct grpc_context *x, const char *id)
{
    return find(&e->containers, "container", x, id);
}

bool cri_labels_match(const void *wanted, size_t wanted_n, const void *have, size_t have_n)
{
    struct label *const *w = wanted, *const *h = have;

    for (size_t i = 0; i < wanted_n; i++) {
        bool found = false;

        for (size_t k = 0; k < have_n && !found; k++)
            found = streq(w[i]->key, h[k]->key) && streq(w[i]->value, h[k]->value);
        if (!found)
            return false;
    }
    return true;
}
