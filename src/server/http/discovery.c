/* What is served, for clients that ask before they act; all of it read off the resource table. */
#include "base/cleanup.h"
#include "base/mem.h"
#include "codec/json.h"
#include "server/controllers/meta.h"
#include "server/http/api.h"
#include <stdlib.h>
#include <sys/utsname.h>

struct sub_row {
    unsigned flag;
    const char *name, *kind, *verbs[5];
    const char *group, *version; /* when not the resource's own */
};
static const struct sub_row subs[] = {
    {SUB_STATUS | SUB_APPROVAL, "status", NULL, {"get", "patch", "update"}, NULL, NULL},
    {SUB_SCALE, "scale", "Scale", {"get", "patch", "update"}, "autoscaling", "v1"},
    {SUB_APPROVAL, "approval", NULL, {"get", "patch", "update"}, NULL, NULL},
    {SUB_TOKEN, "token", "TokenRequest", {"create"}, "authentication.k8s.io", "v1"},
    {SUB_BINDING, "binding", "Binding", {"create"}, NULL, NULL},
    {SUB_EVICTION, "eviction", "Eviction", {"create"}, "policy", "v1"},
    {SUB_STREAMS, "log", NULL, {"get"}, NULL, NULL},
    {SUB_STREAMS, "exec", "PodExecOptions", {"create", "get"}, NULL, NULL},
    {SUB_STREAMS, "attach", "PodAttachOptions", {"create", "get"}, NULL, NULL},
    {SUB_STREAMS, "portforward", "PodPortForwardOptions", {"create", "get"}, NULL, NULL},
    {SUB_PROXY, "proxy", NULL, {"create", "delete", "get", "patch", "update"}, NULL, NULL},
    {SUB_FINALIZE, "finalize", NULL, {"update"}, NULL, NULL},
};
static const char *const stored_verbs[] = {"create", "delete", "deletecollection", "get",
                                           "list",   "patch",  "update",           "watch"};

static json_t *verbs_of(const struct resource *r)
{
    json_t *v = json_array();

    for (size_t i = 0; i < (r->virtual_ ? 1 : ARRAY_LEN(stored_verbs)); i++)
        (void)json_array_append_new(v, json_string(stored_verbs[i]));
    return v;
}

static json_t *texts(const char *const *list, size_t max)
{
    json_t *v = json_array();

    for (size_t i = 0; i < max && list[i]; i++)
        (void)json_array_append_new(v, json_string(list[i]));
    return v;
}

/* The group/versions of the table, each once, in its order; "" group first. */
struct served {
    struct str group, version;
};
static size_t served_versions(struct served *out, size_t max)
{
    size_t n = 0;

    for (size_t i = 0; i < resources_n; i++) {
        struct served both[2] = {{str_of(resources[i].group), str_of(resources[i].version)},
                                 {STR_NULL, STR_NULL}};

        if (resources[i].also) {
            both[1].version = str_of(resources[i].also);
            both[1].group = str_split(&both[1].version, '/');
        }
        for (size_t k = 0; k < 2 && both[k].group.p; k++) {
            bool known = false;

            for (size_t m = 0; m < n; m++)
                known |=
                    str_eq(out[m].group, both[k].group) && str_eq(out[m].version, both[k].version);
            if (!known && n < max)
                out[n++] = both[k];
        }
    }
    return n;
}

static char *api_version_of(const struct served *v)
{
    return v->group.n ? xasprintf("%.*s/%.*s", STR_FMT(v->group), STR_FMT(v->version))
                      : str_dup(v->version);
}

static void add_subs(json_t *list, const struct resource *r)
{
    for (size_t i = 0; i < ARRAY_LEN(subs); i++) {
        const struct sub_row *s = &subs[i];
        json_t *o;

        if (!(r->subs & s->flag))
            continue;
        o = json_pack("{s:s++, s:s, s:b, s:s, s:o}", "name", r->plural, "/", s->name,
                      "singularName", "", "namespaced", r->namespaced, "kind",
                      s->kind ? s->kind : r->kind, "verbs", texts(s->verbs, 5));
        if (s->group) {
            json_set_text(o, "group", s->group);
            json_set_text(o, "version", s->version);
        }
        (void)json_array_append_new(list, o);
    }
}

static bool is_stored(const struct resource *r, const struct served *v)
{
    return str_eq_z(v->group, r->group) && str_eq_z(v->version, r->version);
}

static json_t *resource_list(const struct served *v)
{
    cleanup_free char *gv = api_version_of(v);
    json_t *list = json_array();

    for (size_t i = 0; i < resources_n; i++) {
        const struct resource *r = &resources[i];
        json_t *o;

        if (!resource_serves(r, v->group, v->version))
            continue;
        o = json_pack("{s:s, s:s, s:b, s:s, s:o}", "name", r->plural, "singularName", r->singular,
                      "namespaced", r->namespaced, "kind", r->kind, "verbs", verbs_of(r));
        if (!is_stored(r, v)) { /* short names mean the resource where it is stored, or clients
                                   would list it twice */
            (void)json_array_append_new(list, o);
            continue;
        }
        (void)json_object_set_new(o, "shortNames", texts(r->short_names, 3));
        if (r->in_all)
            (void)json_object_set_new(o, "categories", json_pack("[s]", "all"));
        (void)json_array_append_new(list, o);
        add_subs(list, r);
    }
    return json_pack("{s:s, s:s, s:s, s:o}", "kind", "APIResourceList", "apiVersion", "v1",
                     "groupVersion", gv, "resources", list);
}

static json_t *group_object(struct str group, const struct served *all, size_t n)
{
    json_t *versions = json_array(), *o;

    for (size_t i = 0; i < n; i++) {
        cleanup_free char *gv = api_version_of(&all[i]);

        if (str_eq(all[i].group, group))
            (void)json_array_append_new(versions,
                                        json_pack("{s:s, s:s%}", "groupVersion", gv, "version",
                                                  all[i].version.p, all[i].version.n));
    }
    o = json_pack("{s:s%, s:o, s:O}", "name", group.p, group.n, "versions", versions,
                  "preferredVersion", json_array_get(versions, 0));
    return o;
}

static json_t *group_list(const struct served *all, size_t n)
{
    json_t *groups = json_array();

    for (size_t i = 0; i < n; i++) {
        bool first = all[i].group.n > 0;

        for (size_t k = 0; k < i; k++)
            first = first && !str_eq(all[k].group, all[i].group);
        if (first)
            (void)json_array_append_new(groups, group_object(all[i].group, all, n));
    }
    return json_pack("{s:s, s:s, s:o}", "kind", "APIGroupList", "apiVersion", "v1", "groups",
                     groups);
}

/* aggregated discovery, v2 */

static json_t *kind_of(const char *group, const char *version, const char *kind)
{
    return json_pack("{s:s, s:s, s:s}", "group", group, "version", version, "kind", kind);
}

static json_t *aggregated_resource(const struct resource *r, const struct served *v)
{
    cleanup_free char *group = str_dup(v->group), *version = str_dup(v->version);
    json_t *list = json_array();
    json_t *o = json_pack("{s:s, s:o, s:s, s:s, s:o}", "resource", r->plural, "responseKind",
                          kind_of(group, version, r->kind), "scope",
                          r->namespaced ? "Namespaced" : "Cluster", "singularResource", r->singular,
                          "verbs", verbs_of(r));

    if (is_stored(r, v))
        (void)json_object_set_new(o, "shortNames", texts(r->short_names, 3));
    if (r->in_all && is_stored(r, v))
        (void)json_object_set_new(o, "categories", json_pack("[s]", "all"));
    for (size_t i = 0; i < ARRAY_LEN(subs); i++)
        if (r->subs & subs[i].flag)
            (void)json_array_append_new(
                list, json_pack("{s:s, s:o, s:o}", "subresource", subs[i].name, "responseKind",
                                kind_of(subs[i].group ? subs[i].group : group,
                                        subs[i].version ? subs[i].version : version,
                                        subs[i].kind ? subs[i].kind : r->kind),
                                "verbs", texts(subs[i].verbs, 5)));
    if (json_array_size(list))
        (void)json_object_set_new(o, "subresources", list);
    else
        json_decref(list);
    return o;
}

static json_t *aggregated(bool core, const struct served *all, size_t n)
{
    json_t *items = json_array();

    for (size_t i = 0; i < n; i++) {
        bool first = (all[i].group.n == 0) == core;
        json_t *versions = json_array();

        for (size_t k = 0; k < i; k++)
            first = first && !str_eq(all[k].group, all[i].group);
        for (size_t k = 0; first && k < n; k++) {
            json_t *rs = json_array();

            if (!str_eq(all[k].group, all[i].group)) {
                json_decref(rs);
                continue;
            }
            for (size_t m = 0; m < resources_n; m++)
                if (resource_serves(&resources[m], all[k].group, all[k].version))
                    (void)json_array_append_new(rs, aggregated_resource(&resources[m], &all[k]));
            (void)json_array_append_new(
                versions, json_pack("{s:s%, s:o, s:s}", "version", all[k].version.p,
                                    all[k].version.n, "resources", rs, "freshness", "Current"));
        }
        if (first)
            (void)json_array_append_new(
                items, json_pack("{s:{s:s%, s:n}, s:O}", "metadata", "name", all[i].group.p,
                                 all[i].group.n, "creationTimestamp", "versions", versions));
        json_decref(versions);
    }
    return json_pack("{s:s, s:s, s:{}, s:o}", "kind", "APIGroupDiscoveryList", "apiVersion",
                     "apidiscovery.k8s.io/v2", "metadata", "items", items);
}

static void answer_aggregated(struct api_request *q, bool core, const struct served *all, size_t n)
{
    json_t *o = aggregated(core, all, n);
    struct buf b;

    buf_init(&b, 4 << 20);
    (void)json_write(o, &b);
    json_decref(o);
    http_respond(q->x, 200, "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList",
                 buf_str(&b));
    buf_fini(&b);
    api_request_free(q);
}

static json_t *api_versions(const struct api_request *q)
{
    cleanup_free char *address =
        xasprintf("%s:%u", q->s->settings.advertise_address, q->s->settings.port);

    return json_pack("{s:s, s:[s], s:[{s:s, s:s}]}", "kind", "APIVersions", "versions", "v1",
                     "serverAddressByClientCIDRs", "clientCIDR", "0.0.0.0/0", "serverAddress",
                     address);
}

bool handle_discovery(struct api_request *q)
{
    struct served all[32];
    size_t n_all = served_versions(all, ARRAY_LEN(all)), n;
    const struct str *seg = http_segments(q->x, &n);
    struct str accept = http_header(q->x, "Accept");
    bool want_aggregated =
        accept.n && memmem(accept.p, accept.n, "v=v2;as=APIGroupDiscoveryList", 29);
    bool core = n > 0 && str_eq_z(seg[0], "api");

    if (n == 0 || (!core && !str_eq_z(seg[0], "apis")) || !http_method_is(q->x, "GET"))
        return false;
    if (n == 1 && want_aggregated) {
        answer_aggregated(q, core, all, n_all);
        return true;
    }
    if (n == 1) {
        answer_object(q, 200, core ? api_versions(q) : group_list(all, n_all));
        return true;
    }
    for (size_t i = 0; i < n_all; i++) {
        if (core ? n == 2 && !all[i].group.n && str_eq(all[i].version, seg[1])
                 : n == 3 && str_eq(all[i].group, seg[1]) && str_eq(all[i].version, seg[2])) {
            answer_object(q, 200, resource_list(&all[i]));
            return true;
        }
        if (!core && n == 2 && str_eq(all[i].group, seg[1])) {
            json_t *o = group_object(seg[1], all, n_all);

            json_set_text(o, "kind", "APIGroup");
            json_set_text(o, "apiVersion", "v1");
            answer_object(q, 200, o);
            return true;
        }
    }
    return false;
}

/* version and health */

static json_t *version_object(void)
{
    struct utsname u;

    (void)uname(&u);
    return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s}", "major", "1", "minor", "36",
                     "gitVersion", "v1.36.0+skiff-" SKIFF_VERSION, "gitCommit", "", "gitTreeState",
                     "", "buildDate", "1970-01-01T00:00:00Z", "goVersion", "none", "compiler", "cc",
                     "platform", streq(u.machine, "aarch64") ? "linux/arm64" : "linux/amd64");
}

static void answer_metrics(struct api_request *q)
{
    struct buf b;

    buf_init(&b, 64 * 1024);
    (void)buf_printf(
        &b,
        "# TYPE apiserver_storage_revision gauge\napiserver_storage_revision %llu\n"
        "# TYPE apiserver_current_connections gauge\napiserver_current_connections %zu\n",
        (unsigned long long)store_revision(q->s->store), http_server_connections(q->s->http));
    http_respond(q->x, 200, "text/plain; version=0.0.4", buf_str(&b));
    buf_fini(&b);
    api_request_free(q);
}

static void answer_key_set(struct api_request *q)
{
    cleanup_free char *uri = xasprintf("https://%s:%u/openid/v1/jwks",
                                       q->s->settings.advertise_address, q->s->settings.port);

    answer_object(q, 200,
                  json_pack("{s:s, s:s, s:[s], s:[s], s:[s]}", "issuer",
                            tokens_issuer(q->s->tokens), "jwks_uri", uri,
                            "response_types_supported", "id_token", "subject_types_supported",
                            "public", "id_token_signing_alg_values_supported", "ES256"));
}

bool handle_meta(struct api_request *q)
{
    struct str path = http_path(q->x);

    if (str_eq_z(path, "/version") || str_eq_z(path, "/version/")) {
        answer_object(q, 200, version_object());
    } else if (str_starts(path, STR("/healthz")) || str_starts(path, STR("/livez")) ||
               str_starts(path, STR("/readyz"))) {
        if (q->s->ready || str_starts(path, STR("/livez")))
            answer_text(q, 200,
                        http_query_get(q->x, "verbose").p
                            ? "[+]ping ok\n[+]store ok\nreadyz check passed\n"
                            : "ok");
        else
            answer_text(q, 500, "[-]bootstrap objects are not written yet\n");
    } else if (str_eq_z(path, "/metrics")) {
        answer_metrics(q);
    } else if (str_eq_z(path, "/.well-known/openid-configuration")) {
        answer_key_set(q);
    } else {
        return false;
    }
    return true;
}
