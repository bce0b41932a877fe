#include "kubelet/image_gc.h"
#include "base/log.h"
#include "base/mem.h"
#include <sys/statvfs.h>

#define PERIOD_MS (5 * 60 * 1000)
#define DEADLINE_MS 60000

struct seen {                  /* an image since it was first met here */
    int64_t first_ns, used_ns; /* mono */
    bool now;
};
struct image_gc {
    struct kubelet *k;
    struct loop_timer timer;
    struct grpc_call *call;
    struct map images; /* id -> struct seen */
    int64_t excess;
    char **doomed;
    size_t n_doomed, next;
};

int64_t image_gc_excess(int64_t capacity, int64_t available, int64_t high, int64_t low)
{
    if (capacity <= 0 || high >= 100 || 100 - available * 100 / capacity < high)
        return 0;
    return capacity * (100 - low) / 100 - available;
}

static void rest(struct image_gc *g);

static void doomed_free(struct image_gc *g)
{
    for (size_t i = 0; i < g->n_doomed; i++)
        free(g->doomed[i]);
    free(TAKE(g->doomed));
    g->n_doomed = g->next = 0;
}

static void remove_next(struct image_gc *g);

static void on_removed(int code, const char *message, const ProtobufCMessage *reply, void *arg)
{
    struct image_gc *g = arg;

    g->call = NULL;
    if (code != GRPC_OK && code != GRPC_NOT_FOUND)
        log_warn("kubelet", "removing an image", "image", g->doomed[g->next], "error", message,
                 NULL);
    g->next++;
    remove_next(g);
}

static void remove_next(struct image_gc *g)
{
    Runtime__V1__ImageSpec spec = RUNTIME__V1__IMAGE_SPEC__INIT;
    Runtime__V1__RemoveImageRequest q = RUNTIME__V1__REMOVE_IMAGE_REQUEST__INIT;

    if (g->next >= g->n_doomed) {
        doomed_free(g);
        rest(g);
        return;
    }
    log_info("kubelet", "disk is full: removing an unused image", "image", g->doomed[g->next],
             NULL);
    spec.image = g->doomed[g->next];
    q.image = &spec;
    g->call = grpc_call_start(g->k->cri, CRI_IMAGE("RemoveImage"), &q.base,
                              &runtime__v1__remove_image_response__descriptor, DEADLINE_MS,
                              on_removed, g);
}

static bool in_use(const struct kubelet *k, const char *id)
{
    struct map_entry *e;
    size_t it = 0;

    while ((e = map_next(&k->pods, &it))) {
        const struct pod *p = e->value;

        for (size_t i = 0; i < p->obs.n_runs; i++)
            if (streq(p->obs.runs[i].image_ref, id))
                return true;
        for (size_t i = 0; i < p->n_containers; i++)
            if (streq(p->containers[i]->image_ref, id))
                return true;
    }
    return false;
}

static bool used_by_reference(const struct kubelet *k, const Runtime__V1__Image *m)
{
    for (size_t i = 0; i < m->n_repo_digests; i++)
        if (in_use(k, m->repo_digests[i]))
            return true;
    return in_use(k, m->id);
}

struct candidate {
    const Runtime__V1__Image *image;
    int64_t used_ns;
};

static int by_use(const void *a, const void *b)
{
    const struct candidate *x = a, *y = b;

    return x->used_ns < y->used_ns ? -1 : x->used_ns > y->used_ns;
}

static struct seen *seen_of(struct image_gc *g, const char *id)
{
    struct seen *s = map_get(&g->images, id);

    if (!s) {
        s = xcalloc(1, sizeof(*s));
        s->first_ns = mono_now().ns;
        (void)map_set(&g->images, id, s);
    }
    s->now = true;
    return s;
}

static void forget_gone(struct image_gc *g)
{
    struct map_entry *e;
    size_t it = 0;

    while ((e = map_next(&g->images, &it))) {
        struct seen *s = e->value;

        if (!s->now) {
            (void)map_remove(&g->images, e->key);
            free(s);
        } else {
            s->now = false;
        }
    }
}

static void on_images(int code, const char *message, const ProtobufCMessage *reply, void *arg)
{
    struct image_gc *g = arg;
    const Runtime__V1__ListImagesResponse *l = (const void *)reply;
    struct candidate *v;
    size_t n = 0;
    int64_t now = mono_now().ns;

    g->call = NULL;
    if (!l) {
        rest(g);
        return;
    }
    v = xcalloc(l->n_images + 1, sizeof(*v));
    for (size_t i = 0; i < l->n_images; i++) {
        struct seen *s = seen_of(g, l->images[i]->id);

        if (used_by_reference(g->k, l->images[i]))
            s->used_ns = now;
        else if (!l->images[i]->pinned && now - s->first_ns >= g->k->cfg->image_minimum_gc_age_ns)
            v[n++] = (struct candidate){l->images[i], s->used_ns};
    }
    forget_gone(g);
    if (n)
        qsort(v, n, sizeof(*v), by_use);
    for (size_t i = 0; i < n && g->excess > 0; i++) {
        g->doomed = xreallocarray(g->doomed, g->n_doomed + 1, sizeof(*g->doomed));
        g->doomed[g->n_doomed++] = xstrdup(v[i].image->id);
        g->excess -= (int64_t)v[i].image->size;
    }
    free(v);
    remove_next(g);
}

static void on_fs(int code, const char *message, const ProtobufCMessage *reply, void *arg)
{
    struct image_gc *g = arg;
    const Runtime__V1__ImageFsInfoResponse *f = (const void *)reply;
    Runtime__V1__ListImagesRequest q = RUNTIME__V1__LIST_IMAGES_REQUEST__INIT;
    struct statvfs st;

    g->call = NULL;
    g->excess = 0;
    if (f && f->n_image_filesystems && f->image_filesystems[0]->fs_id &&
        statvfs(f->image_filesystems[0]->fs_id->mountpoint, &st) == 0)
        g->excess = image_gc_excess(
            (int64_t)(st.f_blocks * st.f_frsize), (int64_t)(st.f_bavail * st.f_frsize),
            g->k->cfg->image_gc_high_percent, g->k->cfg->image_gc_low_percent);
    if (!f || !sources_synced(g->k)) {
        rest(g);
        return;
    }
    g->call =
        grpc_call_start(g->k->cri, CRI_IMAGE("ListImages"), &q.base,
                        &runtime__v1__list_images_response__descriptor, DEADLINE_MS, on_images, g);
}

static void on_timer(struct loop_timer *t)
{
    struct image_gc *g = container_of(t, struct image_gc, timer);
    Runtime__V1__ImageFsInfoRequest q = RUNTIME__V1__IMAGE_FS_INFO_REQUEST__INIT;

    g->call =
        grpc_call_start(g->k->cri, CRI_IMAGE("ImageFsInfo"), &q.base,
                        &runtime__v1__image_fs_info_response__descriptor, DEADLINE_MS, on_fs, g);
}

static void rest(struct image_gc *g)
{
    loop_timer_start(g->k->loop, &g->timer, PERIOD_MS, on_timer);
}

struct image_gc *image_gc_start(struct kubelet *k)
{
    struct image_gc *g = xcalloc(1, sizeof(*g));

    g->k = k;
    map_init(&g->images);
    rest(g);
    return g;
}

void image_gc_stop(struct image_gc *g)
{
    if (!g)
        return;
    loop_timer_stop(&g->timer);
    grpc_call_cancel(g->call);
    doomed_free(g);
    map_fini(&g->images, free);
    free(g);
}
