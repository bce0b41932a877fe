#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/sha256.h"
#include "codec/yaml.h"
#include "kubelet/source.h"
#include <errno.h>
#include <sys/inotify.h>
#include <sys/stat.h>

#define MANIFEST_MAX (1u << 20)
#define SETTLE_MS 100

struct source_file {
    struct kubelet *k;
    char *path;
    struct loop_io io;
    int inotify;
    struct loop_timer timer;
    struct map uids; /* of the last look: UID -> source_file */
    struct map next;
};

/* ---- one manifest ---- */

static void identify(struct arena *a, K8s__Pod *p, struct str text, const char *path,
                     const char *node_name)
{
    K8s__ObjectMeta *m = p->metadata;
    char hex[SHA256_HEX], seen[WALL_TEXT];
    struct sha256 h;
    unsigned char sum[SHA256_BYTES];
    struct buf b;

    if (!m->namespace_ || !*m->namespace_)
        m->namespace_ = arena_strdup(a, "default");
    if (!m->uid || !*m->uid) {
        sha256_init(&h);
        sha256_update(&h, node_name, strlen(node_name));
        sha256_update(&h, path, strlen(path) + 1);
        sha256_update(&h, text.p, text.n);
        sha256_final(&h, sum);
        buf_init(&b, 64);
        (void)buf_add_hex(&b, sum, 16);
        (void)snprintf(hex, sizeof(hex), "%s", b.p);
        buf_fini(&b);
        m->uid = arena_strdup(a, hex);
    }
    m->name = arena_printf(a, "%s-%s", m->name, node_name);
    p->spec->nodename = arena_strdup(a, node_name);
    wall_format_nano(wall_now(), seen);
    pairs_set(a, &m->annotations, &m->n_annotations, ANNOTATION_CONFIG_HASH, m->uid);
    pairs_set(a, &m->annotations, &m->n_annotations, ANNOTATION_CONFIG_SEEN, seen);
    pairs_set(a, &m->annotations, &m->n_annotations, ANNOTATION_CONFIG_SOURCE, "file");
}

static int check(const K8s__Pod *p, const char *path, struct error **err)
{
    if (!p->metadata || !p->metadata->name || !*p->metadata->name)
        return error_set(err, EINVAL, "%s: metadata.name is missing", path);
    if (!p->spec || !p->spec->n_containers)
        return error_set(err, EINVAL, "%s: spec.containers is empty", path);
    for (size_t i = 0; i < p->spec->n_containers; i++)
        if (!p->spec->containers[i]->name || !p->spec->containers[i]->image)
            return error_set(err, EINVAL, "%s: spec.containers[%zu] needs a name and an image",
                             path, i);
    for (size_t i = 0; i < p->spec->n_volumes; i++) {
        const K8s__VolumeSource *s = p->spec->volumes[i]->volumesource;

        if (s && (s->configmap || s->secret || s->projected))
            return error_set(err, EINVAL,
                             "%s: volume %s: a static pod may not refer to other API objects", path,
                             strna(p->spec->volumes[i]->name));
    }
    return 0;
}

static void defaults(struct arena *a, K8s__Pod *p)
{
    K8s__Toleration *t = object_new(a, &k8s__toleration__descriptor);

    if (!p->spec->restartpolicy)
        p->spec->restartpolicy = arena_strdup(a, "Always");
    if (!p->spec->dnspolicy)
        p->spec->dnspolicy = arena_strdup(a, "ClusterFirst");
    if (!p->spec->has_terminationgraceperiodseconds) {
        p->spec->has_terminationgraceperiodseconds = 1;
        p->spec->terminationgraceperiodseconds = 30;
    }
    t->operator_ = arena_strdup(a, "Exists");
    t->effect = arena_strdup(a, "NoExecute");
    object_append(a, &p->spec->tolerations, &p->spec->n_tolerations, t);
}

int static_pod_parse(struct str text, const char *path, const char *node_name, K8s__Pod **ret,
                     struct error **err)
{
    cleanup_json json_t *doc = NULL;
    cleanup_buf struct buf json;
    struct arena a;
    K8s__Pod *p = NULL;
    int r;

    buf_init(&json, 4 * MANIFEST_MAX);
    r = yaml_parse(text, MANIFEST_MAX, path, &doc, err);
    if (r < 0)
        return r;
    if (!streq(json_text_or(doc, "kind", ""), "Pod") ||
        !streq(json_text_or(doc, "apiVersion", ""), "v1"))
        return error_set(err, EINVAL, "%s: not a v1 Pod", path);
    (void)json_write(doc, &json);
    arena_init(&a, 8192);
    r = object_decode_json(&k8s__pod__descriptor, buf_str(&json), 0, &a, &p, err);
    if (r >= 0)
        r = check(p, path, err);
    else
        (void)error_wrap(err, "%s", path);
    if (r >= 0) {
        identify(&a, p, text, path, node_name);
        defaults(&a, p);
        p->status = NULL;
        *ret = object_dup(p);
    }
    arena_fini(&a);
    return r;
}

/* ---- the directory ---- */

static void take(struct source_file *s, const char *path)
{
    cleanup_error struct error *err = NULL;
    struct buf text;
    K8s__Pod *api = NULL;
    struct pod *p;
    int r = file_read(path, MANIFEST_MAX, &text, &err);

    if (r >= 0) {
        r = static_pod_parse(buf_str(&text), path, s->k->node_name, &api, &err);
        buf_fini(&text);
    }
    if (r < 0) {
        log_error("kubelet", "manifest cannot be used", "error", error_message(err), NULL);
        return;
    }
    (void)map_set(&s->next, object_uid(api), s);
    p = pod_find(s->k, object_uid(api));
    if (p && p->wanted) {
        object_free(api); /* the same text gives the same UID */
        return;
    }
    if (!p)
        p = pod_new(s->k, object_uid(api), object_namespace(api), object_name(api),
                    POD_SOURCE_FILE);
    p->source = POD_SOURCE_FILE;
    log_info("kubelet", "static pod", "pod", p->text, "manifest", path, NULL);
    pod_set_spec(p, api);
}

static int on_entry(int dirfd, const char *name, unsigned char type, void *arg)
{
    struct source_file *s = arg;
    cleanup_free char *path = path_join(s->path, name);
    struct stat st;

    if (name[0] != '.' && stat(path, &st) == 0 && S_ISREG(st.st_mode))
        take(s, path);
    return 0;
}

static void on_look(struct loop_timer *t)
{
    struct source_file *s = container_of(t, struct source_file, timer);
    struct stat st;
    struct map_entry *e;
    struct map m;
    size_t it = 0;

    if (stat(s->path, &st) == 0 && S_ISREG(st.st_mode))
        take(s, s->path);
    else
        (void)dir_each(s->path, on_entry, s, NULL);
    while ((e = map_next(&s->uids, &it))) {
        struct pod *p = pod_find(s->k, e->key);

        if (p && !map_has(&s->next, e->key)) {
            log_info("kubelet", "manifest is gone", "pod", p->text, NULL);
            pod_unwant(p);
        }
    }
    map_clear(&s->uids, NULL);
    m = s->uids;
    s->uids = s->next;
    s->next = m;
    if (!s->k->file_synced) {
        s->k->file_synced = true;
        observer_relist(s->k);
    }
    loop_timer_start(s->k->loop, &s->timer, s->k->cfg->file_check_frequency_ns / NSEC_PER_MSEC,
                     on_look);
}

static void on_change(struct loop_io *io, unsigned events)
{
    struct source_file *s = container_of(io, struct source_file, io);
    char b[4096];

    while (read(s->inotify, b, sizeof(b)) > 0)
        ;
    loop_timer_start(s->k->loop, &s->timer, SETTLE_MS, on_look);
}

struct source_file *source_file_start(struct kubelet *k, const char *path)
{
    struct source_file *s = xcalloc(1, sizeof(*s));

    s->k = k;
    s->path = xstrdup(path);
    map_init(&s->uids);
    map_init(&s->next);
    (void)dir_make(path, 0755, NULL);
    s->inotify = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    if (s->inotify >= 0 && inotify_add_watch(s->inotify, path,
                                             IN_CREATE | IN_CLOSE_WRITE | IN_MOVED_TO |
                                                 IN_MOVED_FROM | IN_DELETE) >= 0)
        loop_io_start(k->loop, &s->io, s->inotify, LOOP_READ, on_change);
    loop_timer_start(k->loop, &s->timer, 0, on_look);
    return s;
}

void source_file_stop(struct source_file *s)
{
    if (!s)
        return;
    loop_timer_stop(&s->timer);
    loop_io_stop(&s->io);
    if (s->inotify >= 0)
        (void)close(s->inotify);
    map_fini(&s->uids, NULL);
    map_fini(&s->next, NULL);
    free(s->path);
    free(s);
}
