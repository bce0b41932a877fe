#include "base/mem.h"
#include "base/str.h"
#include "kubelet/pod.h"

static void run_fini(struct run *r)
{
    free(r->id);
    free(r->sandbox_id);
    free(r->name);
    free(r->hash);
    free(r->reason);
    free(r->message);
    free(r->image);
    free(r->image_ref);
    free(r->log_path);
    free(r->last_words_file);
    free(r->last_words);
}

void observed_fini(struct observed *o)
{
    for (size_t i = 0; i < o->n_runs; i++)
        run_fini(&o->runs[i]);
    for (size_t i = 0; i < o->n_sandboxes; i++) {
        free(o->sandboxes[i].id);
        free(o->sandboxes[i].ip);
        free(o->sandboxes[i].ip2);
    }
    free(o->runs);
    free(o->sandboxes);
    *o = (struct observed){0};
}

const struct run *observed_run(const struct observed *o, const char *name, const char *sandbox_id,
                               unsigned nth)
{
    for (size_t i = 0; i < o->n_runs; i++) {
        const struct run *r = &o->runs[i];

        if (!streq(r->name, name) || (sandbox_id && !streq(r->sandbox_id, sandbox_id)))
            continue;
        if (!nth--)
            return r;
    }
    return NULL;
}

const struct sandbox *observed_sandbox(const struct observed *o)
{
    return o->n_sandboxes ? &o->sandboxes[0] : NULL;
}

bool observed_any_running(const struct observed *o)
{
    for (size_t i = 0; i < o->n_runs; i++)
        if (o->runs[i].state == RUN_RUNNING)
            return true;
    return false;
}

void cri_entry_add(struct arena *a, void *list, size_t *n, const ProtobufCMessageDescriptor *d,
                   const char *key, const char *value)
{
    struct cri_entry *e = arena_alloc(a, d->sizeof_message);

    d->message_init(&e->base);
    e->key = arena_strdup(a, key);
    e->value = arena_strdup(a, strna(value));
    object_append(a, list, n, e);
}

const char *cri_entry_get(void *list, size_t n, const char *key)
{
    struct cri_entry **v = list;

    for (size_t i = 0; i < n; i++)
        if (streq(v[i]->key, key))
            return v[i]->value;
    return NULL;
}
