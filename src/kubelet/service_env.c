/* Services as the variables of a container want them: a small projection of each. */
#include "api/reflector.h"
#include "base/mem.h"
#include "kubelet/env.h"
#include <ctype.h>

struct service_port {
    char *name;
    char protocol[8];
    int32_t port;
};
struct service {
    char *ip;
    struct service_port *ports;
    size_t n_ports;
};
struct service_env {
    struct kubelet *k;
    struct reflector *reflector;
    struct map by_name; /* "ns/name" */
    bool synced;
};

static void service_free(void *arg)
{
    struct service *s = arg;

    if (!s)
        return;
    for (size_t i = 0; i < s->n_ports; i++)
        free(s->ports[i].name);
    free(s->ports);
    free(s->ip);
    free(s);
}

static void on_object(enum reflect_event ev, void *msg, void *arg)
{
    struct service_env *e = arg;
    const K8s__Service *o = msg;
    cleanup_free char *key = xasprintf("%s/%s", object_namespace(msg), object_name(msg));
    struct service *s;

    if (!o->spec || !o->spec->clusterip || !*o->spec->clusterip ||
        streq(o->spec->clusterip, "None")) {
        service_free(map_remove(&e->by_name, key));
        return;
    }
    s = xcalloc(1, sizeof(*s));
    s->ip = xstrdup(o->spec->clusterip);
    s->ports = xcalloc(o->spec->n_ports + 1, sizeof(*s->ports));
    for (; s->n_ports < o->spec->n_ports; s->n_ports++) {
        const K8s__ServicePort *sp = o->spec->ports[s->n_ports];

        s->ports[s->n_ports].name = xstrdup(strna(sp->name));
        s->ports[s->n_ports].port = sp->port;
        (void)snprintf(s->ports[s->n_ports].protocol, 8, "%s",
                       sp->protocol && *sp->protocol ? sp->protocol : "TCP");
    }
    service_free(map_set(&e->by_name, key, s));
}

static void on_delete(const char *ns, const char *name, const char *uid, void *arg)
{
    struct service_env *e = arg;
    cleanup_free char *key = xasprintf("%s/%s", ns, name);

    service_free(map_remove(&e->by_name, key));
}

static void on_synced(void *arg)
{
    struct service_env *e = arg;

    if (!e->synced) {
        e->synced = true;
        pods_kick_all(e->k);
    }
}

struct service_env *service_env_start(struct kubelet *k)
{
    static const struct reflector_ops ops = {
        .on_object = on_object, .on_delete = on_delete, .on_synced = on_synced};
    struct service_env *e = xcalloc(1, sizeof(*e));
    struct reflector_config cfg = {
        .type = &k8s__service__descriptor, .track = true, .ops = &ops, .arg = e};

    e->k = k;
    map_init(&e->by_name);
    e->reflector = reflector_start(k->client, &cfg);
    return e;
}

void service_env_stop(struct service_env *e)
{
    if (!e)
        return;
    reflector_stop(e->reflector);
    map_fini(&e->by_name, service_free);
    free(e);
}

static char *upper(struct arena *a, const char *name)
{
    char *out = arena_strdup(a, name);

    for (char *c = out; *c; c++)
        *c = *c == '-' ? '_' : (char)toupper((unsigned char)*c);
    return out;
}

static void add_one(struct env *e, const char *service, const struct service *s)
{
    struct arena *a = e->a;
    const char *n = upper(a, service);

    if (!s->n_ports)
        return;
    env_service_set(e, arena_printf(a, "%s_SERVICE_HOST", n), s->ip);
    env_service_set(e, arena_printf(a, "%s_SERVICE_PORT", n),
                    arena_printf(a, "%d", s->ports[0].port));
    for (size_t i = 0; i < s->n_ports; i++)
        if (*s->ports[i].name)
            env_service_set(e, arena_printf(a, "%s_SERVICE_PORT_%s", n, upper(a, s->ports[i].name)),
                            arena_printf(a, "%d", s->ports[i].port));
    for (size_t i = 0; i < s->n_ports; i++) {
        const struct service_port *q = &s->ports[i];
        char *low = arena_strdup(a, q->protocol);
        char *prefix = arena_printf(a, "%s_PORT_%d_%s", n, q->port, upper(a, q->protocol));

        for (char *c = low; *c; c++)
            *c = (char)tolower((unsigned char)*c);
        char *address = arena_printf(a, strchr(s->ip, ':') ? "%s://[%s]:%d" : "%s://%s:%d", low,
                                     s->ip, q->port);
        if (i == 0)
            env_service_set(e, arena_printf(a, "%s_PORT", n), address);
        env_service_set(e, prefix, address);
        env_service_set(e, arena_printf(a, "%s_PROTO", prefix), low);
        env_service_set(e, arena_printf(a, "%s_PORT", prefix), arena_printf(a, "%d", q->port));
        env_service_set(e, arena_printf(a, "%s_ADDR", prefix), s->ip);
    }
}

bool service_env_add(struct kubelet *k, const char *ns, bool all, struct env *env)
{
    struct service_env *e = k->services;
    size_t it = 0, n = strlen(ns);
    struct map_entry *m;
    struct service *master = map_get(&e->by_name, "default/kubernetes");

    if (!e->synced)
        return false;
    if (master)
        add_one(env, "kubernetes", master);
    while (all && (m = map_next(&e->by_name, &it)))
        if (strncmp(m->key, ns, n) == 0 && m->key[n] == '/' && m->value != master)
            add_one(env, m->key + n + 1, m->value);
    return true;
}
