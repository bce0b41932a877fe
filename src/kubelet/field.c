#include "kubelet/field.h"
#include "base/buf.h"
#include "kubelet/resources.h"
#include <errno.h>
#include <inttypes.h>
#include <unistd.h>

int64_t node_memory_bytes(void)
{
    return (int64_t)sysconf(_SC_PHYS_PAGES) * sysconf(_SC_PAGESIZE);
}

int64_t node_cpu_milli(void)
{
    return sysconf(_SC_NPROCESSORS_ONLN) * 1000;
}

/* "metadata.labels['key']" */
static bool subscript(const char *path, const char *what, struct str *ret)
{
    size_t n = strlen(path), w = strlen(what);

    if (!strstarts(path, what) || n < w + 4 || path[w] != '[' || path[w + 1] != '\'' ||
        !strends(path, "']"))
        return false;
    *ret = (struct str){path + w + 2, n - w - 4};
    return true;
}

static char *pairs_text(struct arena *a, K8s__StringPair *const *v, size_t n)
{
    struct buf b;
    char *text;
    size_t *order = arena_alloc(a, (n + 1) * sizeof(*order));

    for (size_t i = 0; i < n; i++) {
        size_t k = i;

        for (; k > 0 && strcmp(v[order[k - 1]]->key, v[i]->key) > 0; k--)
            order[k] = order[k - 1];
        order[k] = i;
    }
    buf_init(&b, 1u << 20);
    for (size_t i = 0; i < n; i++) {
        (void)buf_printf(&b, "%s%s=", i ? "\n" : "", v[order[i]]->key);
        (void)buf_add_json_string(&b, str_of(strna(v[order[i]]->value)));
    }
    text = arena_strndup(a, strna(b.p), b.n);
    buf_fini(&b);
    return text;
}

static char *pair(struct arena *a, K8s__StringPair *const *v, size_t n, struct str key)
{
    for (size_t i = 0; i < n; i++)
        if (str_eq_z(key, v[i]->key))
            return arena_strdup(a, strna(v[i]->value));
    return arena_strdup(a, "");
}

int field_value(struct arena *a, struct pod *p, const char *path, bool in_volume,
                const char *sandbox_ip, char **ret, struct error **err)
{
    K8s__ObjectMeta *m = p->api->metadata;
    const char *sa = p->api->spec->serviceaccountname;
    const char *ip = pod_host_network(p) ? p->k->node_ip : strna(sandbox_ip);
    const struct {
        const char *path, *value;
    } plain[] = {
        {"metadata.name", p->name},
        {"metadata.namespace", p->ns},
        {"metadata.uid", p->uid},
        {"spec.nodeName", p->k->node_name},
        {"spec.serviceAccountName", strna(sa)},
        {"status.hostIP", p->k->node_ip},
        {"status.hostIPs", p->k->node_ip},
        {"status.podIP", ip},
        {"status.podIPs", ip},
    };
    struct str key;

    for (size_t i = 0; i < ARRAY_LEN(plain); i++)
        if (streq(path, plain[i].path)) {
            *ret = arena_strdup(a, plain[i].value);
            return 0;
        }
    if (subscript(path, "metadata.labels", &key)) {
        *ret = pair(a, m->labels, m->n_labels, key);
        return 0;
    }
    if (subscript(path, "metadata.annotations", &key)) {
        *ret = pair(a, m->annotations, m->n_annotations, key);
        return 0;
    }
    if (in_volume && streq(path, "metadata.labels")) {
        *ret = pairs_text(a, m->labels, m->n_labels);
        return 0;
    }
    if (in_volume && streq(path, "metadata.annotations")) {
        *ret = pairs_text(a, m->annotations, m->n_annotations);
        return 0;
    }
    return error_set(err, EINVAL, "unsupported fieldPath: %s", path);
}

int resource_value(struct arena *a, struct pod *p, const struct container *c,
                   const K8s__ResourceFieldSelector *s, char **ret, struct error **err)
{
    const struct container *of =
        s->containername && *s->containername ? pod_container(p, s->containername) : c;
    int64_t v;

    if (!of)
        return error_set(err, ENOENT, "container %s not found", strna(s->containername));
    if (resource_field(of->spec, strna(s->resource), s->divisor ? s->divisor->string : NULL,
                       node_cpu_milli(), node_memory_bytes(), &v) < 0)
        return error_set(err, EINVAL, "unsupported container resource : %s", strna(s->resource));
    *ret = arena_printf(a, "%" PRId64, v);
    return 0;
}
