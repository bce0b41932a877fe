#include "server/registry/registry.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/random.h"
#include "codec/json.h"
#include "server/admission/admission.h"
#include "server/controllers/meta.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define GENERATE_TRIES 8

static int store_failed(struct api_status *st, struct error *err)
{
    int code = err && err->code == ENOSPC ? 507 : 500;

    (void)status_set(st, code, "InternalError", "Internal error occurred: %s", error_message(err));
    error_free(err);
    return -1;
}

/* raw revision of a stored object, with the object */
static int load(struct registry *g, const struct resource *r, const char *ns, const char *name,
                json_t **ret, uint64_t *ret_revision, struct api_status *st)
{
    cleanup_free char *key = resource_key(r, ns, name);
    cleanup_buf struct buf bytes = {.max = OBJECT_BYTES_MAX * 2};
    struct error *err = NULL;
    int rc = store_get(g->store, key, &bytes, ret_revision, &err);

    if (rc == -ENOENT)
        return status_not_found(st, r, name);
    if (rc == 0)
        rc = json_parse(buf_str(&bytes), OBJECT_BYTES_MAX * 2, key, ret, &err);
    return rc < 0 ? store_failed(st, err) : 0;
}

int registry_get(struct registry *g, const struct resource *r, const char *ns, const char *name,
                 json_t **ret, struct api_status *st)
{
    uint64_t revision;

    return load(g, r, ns, name, ret, &revision, st);
}

struct each {
    registry_each_fn fn;
    void *arg;
};

static int on_each(const char *key, struct str value, uint64_t revision, void *arg)
{
    struct each *e = arg;
    cleanup_json json_t *o = NULL;

    (void)revision;
    if (json_parse(value, OBJECT_BYTES_MAX * 2, key, &o, NULL) < 0)
        return 0; /* a damaged row must not take the rest with it */
    return e->fn(o, e->arg);
}

int registry_each(struct registry *g, const struct resource *r, const char *ns, registry_each_fn fn,
                  void *arg)
{
    cleanup_free char *prefix = resource_key(r, ns, NULL);
    struct each e = {fn, arg};

    return store_list(g->store, prefix, NULL, 0, on_each, &e, NULL);
}

static json_t *metadata(json_t *o)
{
    return json_object_need(o, "metadata");
}

static int admit(struct registry *g, const struct resource *r, const char *sub,
                 enum admission_op op, json_t *object, const json_t *old, const struct actor *who,
                 bool dry_run, struct api_status *st)
{
    struct admission_request q = {
        .op = op,
        .resource = r->id,
        .kind = r->kind,
        .subresource = sub,
        .ns = meta_namespace(object ? object : old),
        .name = meta_name(object ? object : old),
        .user = who->user,
        .groups = who->groups,
        .n_groups = who->n_groups,
        .system = who->system,
        .dry_run = dry_run,
        .object = object,
        .old = old,
    };
    struct admission_failure f = {0};

    if (!g->admission)
        return 0;
    if (admission_mutate(g->admission, &q, &f) == 0 &&
        admission_validate(g->admission, &q, &f) == 0)
        return 0;
    status_fini(st);
    st->code = f.code ? f.code : 500;
    st->reason = f.reason ? f.reason : "InternalError";
    st->message = TAKE(f.message);
    st->details = TAKE(f.details);
    admission_failure_fini(&f);
    return -1;
}

static int write_object(struct registry *g, const struct resource *r, const char *key, json_t *o,
                        uint64_t expect, struct api_status *st)
{
    cleanup_buf struct buf bytes = {.max = OBJECT_BYTES_MAX};
    struct error *err = NULL;
    char revision[24];
    int rc;

    (void)snprintf(revision, sizeof revision, "%llu",
                   (unsigned long long)store_next_revision(g->store));
    json_set_text(metadata(o), "resourceVersion", revision);
    if (json_write(o, &bytes) < 0)
        return status_set(st, 413, "RequestEntityTooLarge", "%s \"%s\" is larger than %u bytes",
                          status_resource(r), meta_name(o), OBJECT_BYTES_MAX);
    rc = store_put(g->store, key, buf_str(&bytes), expect, &err);
    if (rc == -EEXIST && !err)
        return status_exists(st, r, meta_name(o));
    if (rc == -ENOENT && !err)
        return status_not_found(st, r, meta_name(o));
    if (rc == -ESTALE && !err)
        return status_conflict(st, r, meta_name(o),
                               "the object has been modified; please apply your changes to the "
                               "latest version and try again");
    return rc < 0 ? store_failed(st, err) : 0;
}

/* Namespace and name of the request and of the object must not contradict each other. */
static int settle_names(const struct resource *r, const char *ns, json_t *o, struct api_status *st)
{
    json_t *meta = metadata(o);
    const char *have = json_text_or(meta, "namespace", "");

    if (!r->namespaced) {
        (void)json_object_del(meta, "namespace");
        return 0;
    }
    if (have[0] && !streq(have, ns))
        return status_bad(st, "the namespace of the provided object does not match the namespace "
                              "sent on the request");
    json_set_text(meta, "namespace", ns);
    return 0;
}

static void stamp_new(json_t *o)
{
    static const char *const dropped[] = {"deletionTimestamp", "deletionGracePeriodSeconds",
                                          "selfLink", "managedFields", "resourceVersion"};
    json_t *meta = metadata(o);
    char uid[UUID_TEXT];

    for (size_t i = 0; i < ARRAY_LEN(dropped); i++)
        (void)json_object_del(meta, dropped[i]);
    random_uuid(uid);
    json_set_text(meta, "uid", uid);
    (void)json_object_set_new(meta, "creationTimestamp", json_now());
}

/* Status is the server's and the node's to write; nodes bring theirs along, as upstream's
 * strategies have it. */
static void drop_status(const struct resource *r, json_t *o)
{
    if ((r->subs & (SUB_STATUS | SUB_APPROVAL)) && !streq(r->id, "nodes"))
        (void)json_object_del(o, "status");
}

static int create_once(struct registry *g, const struct resource *r, json_t *o,
                       const struct actor *who, const struct write_options *w,
                       struct api_status *st)
{
    cleanup_free char *key = NULL;

    stamp_new(o);
    drop_status(r, o);
    if (admit(g, r, "", ADMISSION_CREATE, o, NULL, who, w->dry_run, st) < 0)
        return -1;
    key = resource_key(r, meta_namespace(o), meta_name(o));
    if (w->dry_run)
        return store_get(g->store, key, NULL, NULL, NULL) == 0 ? status_exists(st, r, meta_name(o))
                                                               : 0;
    if (write_object(g, r, key, o, STORE_MUST_NOT_EXIST, st) == 0)
        return 0;
    admission_released(g->admission, r->id, o);
    return -1;
}

static void generate_name(json_t *o)
{
    char suffix[6];
    cleanup_free char *name = NULL;

    random_suffix(suffix, 5);
    name = xasprintf("%.58s%s", json_text_or(metadata(o), "generateName", ""), suffix);
    json_set_text(metadata(o), "name", name);
}

int registry_create(struct registry *g, const struct resource *r, const char *ns, json_t *object,
                    const struct actor *who, const struct write_options *o, json_t **ret,
                    struct api_status *st)
{
    cleanup_json json_t *given = object;
    bool generated;
    int rc;

    if (json_text_or(metadata(given), "resourceVersion", "")[0])
        return status_bad(st, "resourceVersion should not be set on objects to be created");
    if (settle_names(r, ns, given, st) < 0)
        return -1;
    generated = !meta_name(given)[0] && json_text_or(metadata(given), "generateName", "")[0];
    for (int i = 0;; i++) {
        json_t *try = json_deep_copy(given);

        if (generated)
            generate_name(try);
        rc = create_once(g, r, try, who, o, st);
        if (rc == 0 && ret)
            *ret = json_incref(try);
        json_decref(try);
        if (rc == 0 || !generated || st->code != 409 || i == GENERATE_TRIES)
            return rc;
    }
}

/* What a client cannot change: taken over from the old object. */
static void keep_metadata(json_t *o, const json_t *old)
{
    static const char *const kept[] = {"uid",
                                       "creationTimestamp",
                                       "deletionTimestamp",
                                       "deletionGracePeriodSeconds",
                                       "generation",
                                       "name",
                                       "namespace",
                                       "generateName"};
    json_t *meta = metadata(o), *before = json_object_get(old, "metadata");

    for (size_t i = 0; i < ARRAY_LEN(kept); i++) {
        json_t *v = json_object_get(before, kept[i]);

        if (v)
            (void)json_object_set(meta, kept[i], v);
        else
            (void)json_object_del(meta, kept[i]);
    }
    (void)json_object_del(meta, "selfLink");
    (void)json_object_del(meta, "managedFields");
}

static void take_member(json_t *to, const json_t *from, const char *key)
{
    json_t *v = json_object_get(from, key);

    if (v)
        (void)json_object_set(to, key, v);
    else
        (void)json_object_del(to, key);
}

/* The parts of the new object that this subresource may write, in the old object's frame. Takes
 * object. */
static json_t *frame(const struct resource *r, const char *sub, json_t *object, const json_t *old)
{
    json_t *out;

    if (!sub[0]) {
        if (r->subs & SUB_STATUS)
            take_member(object, old, "status");
        if (r->subs & SUB_FINALIZE && json_object_get(object, "spec"))
            take_member(json_object_get(object, "spec"), json_object_get(old, "spec"),
                        "finalizers");
        return object;
    }
    out = json_deep_copy(old);
    if (streq(sub, "finalize")) {
        take_member(json_object_need(out, "spec"), json_object_get(object, "spec"), "finalizers");
    } else if (streq(sub, "approval")) {
        take_member(json_object_need(out, "status"), json_object_get(object, "status"),
                    "conditions");
    } else {
        take_member(out, object, "status");
        take_member(metadata(out), json_object_get(object, "metadata"), "annotations");
        take_member(metadata(out), json_object_get(object, "metadata"), "labels");
        take_member(metadata(out), json_object_get(object, "metadata"), "finalizers");
    }
    take_member(metadata(out), json_object_get(object, "metadata"), "resourceVersion");
    json_decref(object);
    return out;
}

static bool held(const struct resource *r, const json_t *o)
{
    if (json_array_size(json_at(o, "metadata", "finalizers", NULL)))
        return true;
    return (r->subs & SUB_FINALIZE) && json_array_size(json_at(o, "spec", "finalizers", NULL));
}

/* Out of the store for good. */
static int remove_object(struct registry *g, const struct resource *r, json_t *o, uint64_t expect,
                         struct api_status *st)
{
    cleanup_free char *key = resource_key(r, meta_namespace(o), meta_name(o));
    cleanup_buf struct buf bytes = {.max = OBJECT_BYTES_MAX * 2};
    struct error *err = NULL;
    char revision[24];
    int rc;

    (void)snprintf(revision, sizeof revision, "%llu",
                   (unsigned long long)store_next_revision(g->store));
    json_set_text(metadata(o), "resourceVersion", revision);
    (void)json_write(o, &bytes);
    rc = store_delete(g->store, key, buf_str(&bytes), expect, &err);
    if (rc == -ENOENT && !err)
        return status_not_found(st, r, meta_name(o));
    if (rc == -ESTALE && !err)
        return status_conflict(st, r, meta_name(o),
                               "the object has been modified; please try again");
    if (rc < 0)
        return store_failed(st, err);
    if (g->admission)
        admission_released(g->admission, r->id, o);
    return 0;
}

static int check_versions(const struct resource *r, const json_t *o, const json_t *old,
                          struct api_status *st)
{
    const char *version = meta_version(o), *uid = meta_uid(o);

    if (version[0] && !streq(version, meta_version(old)))
        return status_conflict(st, r, meta_name(old),
                               "the object has been modified; please apply your changes to the "
                               "latest version and try again");
    if (uid[0] && !streq(uid, meta_uid(old))) {
        cleanup_free char *why =
            xasprintf("Precondition failed: UID in precondition: %s, UID in object meta: %s", uid,
                      meta_uid(old));

        return status_conflict(st, r, meta_name(old), why);
    }
    return 0;
}

int registry_update(struct registry *g, const struct resource *r, const char *sub, const char *ns,
                    const char *name, json_t *object, const struct actor *who,
                    const struct write_options *w, json_t **ret, struct api_status *st)
{
    cleanup_json json_t *old = NULL, *o = object;
    cleanup_free char *key = resource_key(r, ns, name);
    uint64_t revision;

    if (meta_name(o)[0] && !streq(meta_name(o), name))
        return status_bad(st, "the name of the object (%s) does not match the name on the URL (%s)",
                          meta_name(o), name);
    if (settle_names(r, ns, o, st) < 0 || load(g, r, ns, name, &old, &revision, st) < 0)
        return -1;
    if (check_versions(r, o, old, st) < 0)
        return -1;
    o = frame(r, sub, o, old);
    keep_metadata(o, old);
    if (admit(g, r, sub, ADMISSION_UPDATE, o, old, who, w->dry_run, st) < 0)
        return -1;
    json_set_text(metadata(o), "resourceVersion", meta_version(old));
    if (json_equal(o, old) || w->dry_run) {
        *ret = json_incref(o);
        return 0;
    }
    if (meta_deleting(o) && !held(r, o) &&
        json_int_or(metadata(o), "deletionGracePeriodSeconds", 0) == 0) {
        if (remove_object(g, r, o, revision, st) < 0)
            return -1;
    } else if (write_object(g, r, key, o, revision, st) < 0) {
        return -1;
    }
    *ret = json_incref(o);
    return 0;
}

int registry_bind(struct registry *g, const struct resource *r, json_t *pod,
                  const struct actor *who, const struct write_options *w, json_t **ret,
                  struct api_status *st)
{
    cleanup_json json_t *old = NULL, *o = pod;
    cleanup_free char *key = resource_key(r, meta_namespace(o), meta_name(o));
    uint64_t revision;

    (void)who;
    if (load(g, r, meta_namespace(o), meta_name(o), &old, &revision, st) < 0 ||
        check_versions(r, o, old, st) < 0)
        return -1;
    if (!w->dry_run && write_object(g, r, key, o, revision, st) < 0)
        return -1;
    *ret = json_incref(o);
    return 0;
}

static json_t *deleted_status(const struct resource *r, const json_t *o)
{
    return json_pack("{s:s, s:s, s:{}, s:s, s:{s:s, s:s*, s:s, s:s}}", "kind", "Status",
                     "apiVersion", "v1", "metadata", "status", "Success", "details", "name",
                     meta_name(o), "group", r->group[0] ? r->group : NULL, "kind", r->plural, "uid",
                     meta_uid(o));
}

/* Seconds a pod may take to end: nothing for one that runs nowhere or has ended. */
static int64_t pod_grace(const json_t *o, int64_t asked)
{
    const char *node = json_text_at(o, "spec", "nodeName", NULL);

    if (!node || !node[0] || pod_finished(o))
        return 0;
    if (asked < 0)
        asked = json_int_or(json_at(o, "spec", NULL), "terminationGracePeriodSeconds", 30);
    return asked;
}

static void add_finalizer(json_t *o, const char *name)
{
    if (!meta_has_finalizer(o, name))
        (void)json_array_append_new(json_array_need(metadata(o), "finalizers"), json_string(name));
}

/* Marks for deletion; true when anything changed. */
static bool mark_deleted(const struct resource *r, json_t *o, int64_t grace,
                         const struct delete_options *d)
{
    bool was = meta_deleting(o);
    json_t *meta = metadata(o);

    if (!was && streq(d->propagation, "Foreground"))
        add_finalizer(o, "foregroundDeletion");
    if (!was && streq(d->propagation, "Orphan"))
        add_finalizer(o, "orphan");
    if (was && grace >= json_int_or(meta, "deletionGracePeriodSeconds", 0))
        return false;
    (void)json_object_set_new(meta, "deletionTimestamp",
                              json_time((struct wall){wall_now().ns + grace * NSEC_PER_SEC}));
    json_set_int(meta, "deletionGracePeriodSeconds", grace);
    if (json_object_get(meta, "generation") && !was)
        json_set_int(meta, "generation", json_int_or(meta, "generation", 0) + 1);
    if (r->subs & SUB_FINALIZE)
        json_set_text(json_object_need(o, "status"), "phase", "Terminating");
    return true;
}

int registry_delete(struct registry *g, const struct resource *r, const char *ns, const char *name,
                    const struct actor *who, const struct delete_options *d, json_t **ret,
                    struct api_status *st)
{
    cleanup_json json_t *o = NULL, *wanted = json_object();
    cleanup_free char *key = resource_key(r, ns, name);
    uint64_t revision;
    int64_t grace;

    if (load(g, r, ns, name, &o, &revision, st) < 0)
        return -1;
    if (d->uid)
        json_set_text(metadata(wanted), "uid", d->uid);
    if (d->resource_version)
        json_set_text(metadata(wanted), "resourceVersion", d->resource_version);
    if (check_versions(r, wanted, o, st) < 0 ||
        admit(g, r, "", ADMISSION_DELETE, NULL, o, who, d->dry_run, st) < 0)
        return -1;
    grace = streq(r->id, "pods") ? pod_grace(o, d->grace_s) : 0;
    if (grace == 0 && !held(r, o) && !streq(d->propagation, "Foreground") &&
        !streq(d->propagation, "Orphan")) {
        if (!d->dry_run && remove_object(g, r, o, revision, st) < 0)
            return -1;
        *ret = deleted_status(r, o);
        return 0;
    }
    if (mark_deleted(r, o, grace, d) && !d->dry_run && write_object(g, r, key, o, revision, st) < 0)
        return -1;
    *ret = json_incref(o);
    return 0;
}
