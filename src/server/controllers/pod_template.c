#include "server/controllers/pod_template.h"
#include "base/cleanup.h"
#include "base/mem.h"
#include "base/sha256.h"
#include "server/controllers/selector.h"

json_t *pod_from_template(const json_t *owner, const char *api_version, const char *kind,
                          const json_t *template)
{
    static const char *const kept[] = {"labels", "annotations", "finalizers"};
    char *prefix = xasprintf("%s-", meta_name(owner));
    json_t *meta = json_object(), *pod;

    json_set_text(meta, "generateName", prefix);
    json_set_text(meta, "namespace", meta_namespace(owner));
    for (size_t i = 0; i < 3; i++)
        if (json_at(template, "metadata", kept[i], NULL))
            json_object_set_new(meta, kept[i],
                                json_deep_copy(json_at(template, "metadata", kept[i], NULL)));
    json_object_set_new(meta, "ownerReferences",
                        json_pack("[o]", meta_owner_reference(owner, api_version, kind)));
    pod = json_pack("{s:s,s:s,s:o,s:o}", "apiVersion", "v1", "kind", "Pod", "metadata", meta,
                    "spec", json_deep_copy(json_object_get(template, "spec")));
    free(prefix);
    return pod;
}

void template_hash(const json_t *template, int64_t collisions, char out[static TEMPLATE_HASH])
{
    static const char alphabet[] = "bcdfghjklmnpqrstvwxz2456789";
    char *text = json_dumps(template, JSON_COMPACT | JSON_SORT_KEYS), *all;
    struct sha256 s;
    unsigned char sum[SHA256_BYTES];

    all = xasprintf("%s#%lld", strna(text), (long long)collisions);
    sha256_init(&s);
    sha256_update(&s, all, strlen(all));
    sha256_final(&s, sum);
    for (size_t i = 0; i < TEMPLATE_HASH - 1; i++)
        out[i] = alphabet[sum[i] % (sizeof(alphabet) - 1)];
    out[TEMPLATE_HASH - 1] = '\0';
    free(all);
    free(text);
}

bool pod_active(const json_t *pod)
{
    return !pod_finished(pod) && !meta_deleting(pod);
}

bool pod_available(const json_t *pod, int64_t min_s, int64_t *ret_wait_s)
{
    const json_t *ready = condition_get(json_at(pod, "status", "conditions", NULL), "Ready");
    struct wall since = json_wall(json_object_get(ready, "lastTransitionTime"));
    int64_t left;

    if (ret_wait_s)
        *ret_wait_s = 0;
    if (!pod_ready(pod))
        return false;
    left = min_s - (wall_now().ns - since.ns) / NSEC_PER_SEC;
    if (min_s == 0 || left <= 0)
        return true;
    if (ret_wait_s)
        *ret_wait_s = left;
    return false;
}

static bool adopt(struct controller *c, const json_t *owner, const char *api_version,
                  const char *kind, const json_t *pod)
{
    cleanup_json json_t *now = cluster_get(c->env->cluster, "pods", meta_namespace(pod),
                                           meta_name(pod)),
                        *o = NULL;

    if (!now || meta_controller(now))
        return false;
    o = json_deep_copy(now);
    json_array_append_new(json_array_need(json_object_get(o, "metadata"), "ownerReferences"),
                          meta_owner_reference(owner, api_version, kind));
    return cluster_update(c->env->cluster, "pods", NULL, o, NULL) == 0;
}

json_t *pods_of(struct controller *c, const json_t *owner, const char *api_version,
                const char *kind)
{
    json_t *all = cluster_list(c->env->cluster, "pods", meta_namespace(owner)), *out = json_array(),
           *p;
    const json_t *selector = json_at(owner, "spec", "selector", NULL);

    json_each(all, i, p)
    {
        bool matches = selector_matches(selector, json_at(p, "metadata", "labels", NULL));

        if (meta_controlled_by(p, meta_uid(owner)))
            json_array_append(out, p);
        else if (matches && !meta_controller(p) && pod_active(p) && !meta_deleting(owner) &&
                 adopt(c, owner, api_version, kind, p))
            json_array_append(out, p);
    }
    json_decref(all);
    return out;
}

int pod_create_for(struct controller *c, const json_t *owner, const char *api_version,
                   const char *kind, json_t *pod, const char *component, struct error **err)
{
    cleanup_json json_t *made = NULL;
    cleanup_free char *text = NULL;
    int rc = cluster_create(c->env->cluster, "pods", pod, &made, err);

    text = rc < 0 ? xasprintf("Error creating: %s", err && *err ? error_message(*err) : "unknown")
                  : xasprintf("Created pod: %s", meta_name(made));
    event_write(c->env, owner, api_version, kind, component, rc < 0 ? "Warning" : "Normal",
                rc < 0 ? "FailedCreate" : "SuccessfulCreate", text);
    return rc;
}

int pod_delete_for(struct controller *c, const json_t *owner, const char *api_version,
                   const char *kind, const json_t *pod, const char *component, struct error **err)
{
    struct cluster_delete opt = {.uid = meta_uid(pod), .grace_s = -1};
    cleanup_free char *text = xasprintf("Deleted pod: %s", meta_name(pod));
    int rc =
        cluster_remove(c->env->cluster, "pods", meta_namespace(pod), meta_name(pod), &opt, err);

    if (rc == 0)
        event_write(c->env, owner, api_version, kind, component, "Normal", "SuccessfulDelete",
                    text);
    return rc;
}
