#include "server/controllers/endpoints_build.h"
#include "base/mem.h"
#include "server/controllers/meta.h"
#include "server/controllers/selector.h"
#include <stdlib.h>

#define SLICE_MAX 100

/* The number a service port leads to on this pod, or 0 when the name is not there. */
static int64_t target_port(const json_t *port, const json_t *pod)
{
    static const char *const lists[] = {"containers", "initContainers"};
    const json_t *target = json_object_get(port, "targetPort"), *c, *p;
    const char *name = json_string_value(target);

    if (!target || (json_is_integer(target) && !json_integer_value(target)))
        return json_int_or(port, "port", 0);
    if (!name)
        return json_integer_value(target);
    for (size_t n = 0; n < 2; n++)
        json_each(json_at(pod, "spec", lists[n], NULL), i, c)
            json_each(json_object_get(c, "ports"), k,
                      p) if (streq(json_text_or(p, "name", ""), name) &&
                             streq(json_text_or(p, "protocol", "TCP"),
                                   json_text_or(port, "protocol",
                                                "TCP"))) return json_int_or(p, "containerPort", 0);
    return 0;
}

static json_t *ports_for(const json_t *service, const json_t *pod)
{
    json_t *out = json_array();
    const json_t *p;

    json_each(json_at(service, "spec", "ports", NULL), i, p)
    {
        int64_t n = target_port(p, pod);
        json_t *q;

        if (!n)
            continue;
        q = json_pack("{s:s,s:I,s:s}", "name", json_text_or(p, "name", ""), "port", (json_int_t)n,
                      "protocol", json_text_or(p, "protocol", "TCP"));
        if (*json_text_or(p, "appProtocol", ""))
            json_set_text(q, "appProtocol", json_text_or(p, "appProtocol", ""));
        json_array_append_new(out, q);
    }
    return out;
}

static bool is_member(const json_t *service, const json_t *pod)
{
    return selector_map_matches(json_at(service, "spec", "selector", NULL),
                                json_at(pod, "metadata", "labels", NULL)) &&
           !pod_finished(pod) && *strna(json_text_at(pod, "status", "podIP", NULL)) &&
           *strna(json_text_at(pod, "spec", "nodeName", NULL));
}

static json_t *target_ref(const json_t *pod)
{
    return json_pack("{s:s,s:s,s:s,s:s}", "kind", "Pod", "name", meta_name(pod), "namespace",
                     meta_namespace(pod), "uid", meta_uid(pod));
}

static const char *hostname_of(const json_t *service, const json_t *pod)
{
    const char *host = json_text_at(pod, "spec", "hostname", NULL);

    return host && *host && streq(json_text_at(pod, "spec", "subdomain", NULL), meta_name(service))
               ? host
               : NULL;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(meta_name(*(json_t *const *)a), meta_name(*(json_t *const *)b));
}

/* The Service's pods in the order of their names; *ret_n of them. Owned array of borrowed objects.
 */
static json_t **members(const json_t *service, const json_t *pods, size_t *ret_n)
{
    json_t **v = xcalloc(json_array_size(pods) + 1, sizeof(*v)), *p;
    size_t n = 0;

    json_each(pods, i, p) if (is_member(service, p)) v[n++] = p;
    qsort(v, n, sizeof(*v), by_name);
    *ret_n = n;
    return v;
}

/* The group of these ports, made when new. Takes ports. */
static json_t *group_for(json_t *groups, json_t *ports)
{
    json_t *g;

    json_each(groups, i, g) if (json_equal(json_object_get(g, "ports"), ports))
    {
        json_decref(ports);
        return g;
    }
    g = json_pack("{s:o}", "ports", ports);
    json_array_append_new(groups, g);
    return g;
}

json_t *endpoints_subsets(const json_t *service, const json_t *pods)
{
    bool all = json_bool_or(json_object_get(service, "spec"), "publishNotReadyAddresses", false);
    bool headless = streq(json_text_at(service, "spec", "clusterIP", NULL), "None");
    json_t *groups = json_array();
    size_t n;
    json_t **v = members(service, pods, &n);

    for (size_t i = 0; i < n; i++) {
        json_t *ports = ports_for(service, v[i]), *address, *group;
        const char *host = hostname_of(service, v[i]);

        if ((meta_deleting(v[i]) && !all) ||
            (json_array_size(ports) == 0 &&
             !(headless && json_array_size(json_at(service, "spec", "ports", NULL)) == 0))) {
            json_decref(ports);
            continue;
        }
        address = json_pack("{s:s,s:s,s:o}", "ip", json_text_at(v[i], "status", "podIP", NULL),
                            "nodeName", json_text_at(v[i], "spec", "nodeName", NULL), "targetRef",
                            target_ref(v[i]));
        if (host)
            json_set_text(address, "hostname", host);
        group = group_for(groups, ports);
        json_array_append_new(
            json_array_need(group, pod_ready(v[i]) || all ? "addresses" : "notReadyAddresses"),
            address);
    }
    free(v);
    json_t *g;
    json_each(groups, k, g)
    {
        json_t *p;

        if (json_array_size(json_object_get(g, "ports")) == 0)
            json_object_del(g, "ports");
        json_each(json_object_get(g, "ports"), m, p) if (!*json_text_or(p, "name", ""))
            json_object_del(p, "name");
    }
    return groups;
}

static json_t *slice_endpoint(const json_t *service, const json_t *pod, const json_t *nodes)
{
    bool all = json_bool_or(json_object_get(service, "spec"), "publishNotReadyAddresses", false);
    const char *node = json_text_at(pod, "spec", "nodeName", NULL),
               *host = hostname_of(service, pod);
    const json_t *node_object = json_object_get(nodes, node);
    const char *zone = meta_label(node_object, "topology.kubernetes.io/zone");
    bool serving = pod_ready(pod), going = meta_deleting(pod);
    json_t *e = json_pack("{s:[s],s:{s:b,s:b,s:b},s:s,s:o}", "addresses",
                          json_text_at(pod, "status", "podIP", NULL), "conditions", "ready",
                          all || (serving && !going), "serving", serving, "terminating", going,
                          "nodeName", node, "targetRef", target_ref(pod));

    if (zone)
        json_set_text(e, "zone", zone);
    if (host)
        json_set_text(e, "hostname", host);
    return e;
}

json_t *endpoints_slices(const json_t *service, const json_t *pods, const json_t *nodes)
{
    json_t *groups = json_array(), *out = json_array(), *g, *e;
    size_t n;
    json_t **v = members(service, pods, &n);

    for (size_t i = 0; i < n; i++) {
        json_t *group = group_for(groups, ports_for(service, v[i]));

        json_array_append_new(json_array_need(group, "endpoints"),
                              slice_endpoint(service, v[i], nodes));
    }
    free(v);
    json_each(groups, k, g)
    {
        json_t *slice = NULL;

        json_each(json_object_get(g, "endpoints"), m, e)
        {
            if (m % SLICE_MAX == 0) {
                slice = json_pack("{s:O,s:[]}", "ports", json_object_get(g, "ports"), "endpoints");
                json_array_append_new(out, slice);
            }
            json_array_append(json_object_get(slice, "endpoints"), e);
        }
    }
    if (json_array_size(out) == 0)
        json_array_append_new(out, json_pack("{s:[],s:[]}", "ports", "endpoints"));
    json_decref(groups);
    return out;
}
