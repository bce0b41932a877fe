#include "kubelet/field.h"
#include "kubelet/refs.h"
#include "kubelet/volume.h"
#include <errno.h>

#define MODE_DEFAULT 0644
#define TOKEN_SECONDS_DEFAULT 3600

const char *volume_plugin(const K8s__VolumeSource *s)
{
    if (!s)
        return "kubernetes.io~empty-dir";
    if (s->hostpath)
        return "kubernetes.io~host-path";
    if (s->configmap)
        return "kubernetes.io~configmap";
    if (s->secret)
        return "kubernetes.io~secret";
    if (s->downwardapi)
        return "kubernetes.io~downward-api";
    if (s->projected)
        return "kubernetes.io~projected";
    return s->emptydir ? "kubernetes.io~empty-dir" : NULL;
}

bool volume_has_payload(const K8s__VolumeSource *s)
{
    return s && (s->configmap || s->secret || s->downwardapi || s->projected);
}

/* The one user all containers run as, when the spec says so; else negative. */
static int64_t only_user(const K8s__PodSpec *s)
{
    int64_t pod = s->securitycontext && s->securitycontext->has_runasuser
                      ? s->securitycontext->runasuser
                      : -1;
    int64_t user = -1;

    for (size_t i = 0; i < s->n_initcontainers + s->n_containers; i++) {
        const K8s__Container *c =
            i < s->n_initcontainers ? s->initcontainers[i] : s->containers[i - s->n_initcontainers];
        int64_t u = c->securitycontext && c->securitycontext->has_runasuser
                        ? c->securitycontext->runasuser
                        : pod;

        if (u < 0 || (i && u != user))
            return -1;
        user = u;
    }
    return user;
}

static int outcome(enum ref_state state, const char *kind, const char *name, const char *ns,
                   const char *text, struct error **err)
{
    switch (state) {
    case REF_PENDING:
        return error_set(err, EAGAIN, "%s \"%s\" is being fetched", kind, name);
    case REF_OK:
        return 0;
    case REF_MISSING:
        return error_set(err, ENOENT, "%s \"%s\" not found", kind, name);
    case REF_FAILED:
        return error_set(err, EIO, "couldn't get %s %s/%s: %s", kind, ns, name, strna(text));
    }
    return 0;
}

static int add_config_map(struct pod *p, const char *name, K8s__KeyToPath *const *items, size_t n,
                          uint32_t mode, bool optional, struct payload *l, struct error **err)
{
    const char *text = NULL;
    K8s__ConfigMap *m = NULL;
    enum ref_state state = refs_config_map(p, strna(name), &m, &text);

    if (state == REF_MISSING && optional)
        return 0;
    if (state != REF_OK)
        return outcome(state, "configmap", strna(name), p->ns, text, err);
    return payload_config_map(l, m, items, n, mode, optional, err);
}

static int add_secret(struct pod *p, const char *name, K8s__KeyToPath *const *items, size_t n,
                      uint32_t mode, bool optional, struct payload *l, struct error **err)
{
    const char *text = NULL;
    K8s__Secret *s = NULL;
    enum ref_state state = refs_secret(p, strna(name), &s, &text);

    if (state == REF_MISSING && optional)
        return 0;
    if (state != REF_OK)
        return outcome(state, "secret", strna(name), p->ns, text, err);
    return payload_secret(l, s, items, n, mode, optional, err);
}

static int add_downward(struct pod *p, K8s__DownwardAPIVolumeFile *const *items, size_t n,
                        uint32_t mode, struct payload *l, struct error **err)
{
    for (size_t i = 0; i < n; i++) {
        const K8s__DownwardAPIVolumeFile *f = items[i];
        char *value = NULL;
        int r;

        if (f->fieldref)
            r = field_value(l->a, p, strna(f->fieldref->fieldpath), true, pod_ip(p), &value, err);
        else if (f->resourcefieldref)
            r = resource_value(l->a, p, NULL, f->resourcefieldref, &value, err);
        else
            r = error_set(err, EINVAL,
                          "downwardAPI file %s has neither fieldRef nor resourceFieldRef",
                          strna(f->path));
        if (r >= 0)
            r = payload_add(l, f->path, str_of(value), f->has_mode ? (uint32_t)f->mode : mode, -1,
                            err);
        if (r < 0)
            return r;
    }
    return 0;
}

static int add_token(struct pod *p, const K8s__ServiceAccountTokenProjection *t, uint32_t mode,
                     struct payload *l, struct error **err)
{
    const K8s__PodSecurityContext *sc = p->api->spec->securitycontext;
    int64_t user = only_user(p->api->spec);
    const char *text = NULL;
    const char *token = NULL;
    enum ref_state state = refs_token(
        p, strna(t->audience),
        t->has_expirationseconds ? t->expirationseconds : TOKEN_SECONDS_DEFAULT, &token, &text);

    if (state == REF_PENDING)
        return error_set(err, EAGAIN, "a token is being fetched");
    if (state != REF_OK)
        return error_set(err, EIO, "failed to fetch token: %s",
                         text ? text : "service account not found");
    if (user >= 0 || (sc && sc->has_fsgroup))
        mode = 0600;
    return payload_add(l, t->path, str_of(token), mode, user, err);
}

static int add_projection(struct pod *p, const K8s__VolumeProjection *s, uint32_t mode,
                          struct payload *l, struct error **err)
{
    if (s->secret)
        return add_secret(
            p, s->secret->localobjectreference ? s->secret->localobjectreference->name : "",
            s->secret->items, s->secret->n_items, mode, s->secret->optional, l, err);
    if (s->configmap)
        return add_config_map(
            p, s->configmap->localobjectreference ? s->configmap->localobjectreference->name : "",
            s->configmap->items, s->configmap->n_items, mode, s->configmap->optional, l, err);
    if (s->downwardapi)
        return add_downward(p, s->downwardapi->items, s->downwardapi->n_items, mode, l, err);
    if (s->serviceaccounttoken)
        return add_token(p, s->serviceaccounttoken, mode, l, err);
    return error_set(err, ENOTSUP,
                     "a source of the projected volume is of a kind this node does not serve");
}

static int add_projected(struct pod *p, const K8s__ProjectedVolumeSource *s, struct payload *l,
                         struct error **err)
{
    uint32_t mode = s->has_defaultmode ? (uint32_t)s->defaultmode : MODE_DEFAULT;
    bool pending = false;

    for (size_t i = 0; i < s->n_sources; i++) { /* all of them, so that fetches run side by side */
        struct error *e = NULL;
        int r = add_projection(p, s->sources[i], mode, l, &e);

        if (r == -EAGAIN) {
            pending = true;
            error_free(e);
        } else if (r < 0) {
            r = error_set(err, -r, "%s", error_message(e));
            error_free(e);
            return r;
        }
    }
    return pending ? error_set(err, EAGAIN, "sources of the volume are being fetched") : 0;
}

int volume_payload(struct pod *p, const K8s__VolumeSource *s, struct payload *l, struct error **err)
{
    if (s->configmap)
        return add_config_map(
            p, s->configmap->localobjectreference ? s->configmap->localobjectreference->name : "",
            s->configmap->items, s->configmap->n_items,
            s->configmap->has_defaultmode ? (uint32_t)s->configmap->defaultmode : MODE_DEFAULT,
            s->configmap->optional, l, err);
    if (s->secret)
        return add_secret(p, s->secret->secretname, s->secret->items, s->secret->n_items,
                          s->secret->has_defaultmode ? (uint32_t)s->secret->defaultmode
                                                     : MODE_DEFAULT,
                          s->secret->optional, l, err);
    if (s->downwardapi)
        return add_downward(p, s->downwardapi->items, s->downwardapi->n_items,
                            s->downwardapi->has_defaultmode ? (uint32_t)s->downwardapi->defaultmode
                                                            : MODE_DEFAULT,
                            l, err);
    return add_projected(p, s->projected, l, err);
}
