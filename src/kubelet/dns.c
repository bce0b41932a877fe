#include "kubelet/dns.h"
#include "base/file.h"
#include "base/log.h"

#define RESOLV_MAX (64 * 1024)

static void add(struct arena *a, char ***v, size_t *n, struct str word)
{
    for (size_t i = 0; i < *n; i++)
        if (str_eq_z(word, (*v)[i]))
            return;
    object_append(a, v, n, arena_strndup(a, word.p, word.n));
}

/* Words of a line after its first. */
static struct str word_next(struct str *rest)
{
    struct str s = str_trim(*rest);
    size_t i = 0;

    while (i < s.n && s.p[i] != ' ' && s.p[i] != '\t')
        i++;
    *rest = (struct str){s.p + i, s.n - i};
    return (struct str){s.p, i};
}

void dns_parse(struct arena *a, struct str text, Runtime__V1__DNSConfig *d)
{
    while (text.p) {
        struct str line = str_trim(str_split(&text, '\n'));
        struct str key = word_next(&line), w;

        if (str_eq_z(key, "nameserver")) {
            w = word_next(&line);
            if (w.n)
                add(a, &d->servers, &d->n_servers, w);
        } else if (str_eq_z(key, "search") || str_eq_z(key, "domain")) {
            if (str_eq_z(key, "search"))
                d->n_searches = 0; /* the last line counts */
            while ((w = word_next(&line)).n) {
                if (w.n > 1 && w.p[w.n - 1] == '.')
                    w.n--;
                add(a, &d->searches, &d->n_searches, w);
            }
        } else if (str_eq_z(key, "options")) {
            while ((w = word_next(&line)).n)
                add(a, &d->options, &d->n_options, w);
        }
    }
}

static int host_dns(struct arena *a, struct pod *p, Runtime__V1__DNSConfig *d, struct error **err)
{
    const char *path = p->k->cfg->resolv_conf;
    struct buf text;
    int r;

    if (!path || !*path)
        return 0;
    r = file_read(path, RESOLV_MAX, &text, err);
    if (r < 0)
        return path_exists(path) ? r : (error_clear(err), 0);
    dns_parse(a, buf_str(&text), d);
    buf_fini(&text);
    return 0;
}

static void cluster_dns(struct arena *a, struct pod *p, Runtime__V1__DNSConfig *d)
{
    struct str domain = str_of(p->k->cfg->cluster_domain);
    char **host = d->searches;
    size_t n_host = d->n_searches;

    while (domain.n && domain.p[domain.n - 1] == '.')
        domain.n--;
    d->servers = NULL;
    d->searches = NULL;
    d->options = NULL;
    d->n_servers = d->n_searches = d->n_options = 0;
    for (size_t i = 0; i < p->k->cfg->cluster_dns.n; i++)
        add(a, &d->servers, &d->n_servers, str_of(p->k->cfg->cluster_dns.v[i]));
    if (domain.n) {
        add(a, &d->searches, &d->n_searches,
            str_of(arena_printf(a, "%s.svc.%.*s", p->ns, STR_FMT(domain))));
        add(a, &d->searches, &d->n_searches, str_of(arena_printf(a, "svc.%.*s", STR_FMT(domain))));
        add(a, &d->searches, &d->n_searches, domain);
    }
    for (size_t i = 0; i < n_host; i++)
        add(a, &d->searches, &d->n_searches, str_of(host[i]));
    add(a, &d->options, &d->n_options, STR("ndots:5"));
}

static void own_dns(struct arena *a, const K8s__PodDNSConfig *c, Runtime__V1__DNSConfig *d)
{
    for (size_t i = 0; i < c->n_nameservers; i++)
        add(a, &d->servers, &d->n_servers, str_of(c->nameservers[i]));
    for (size_t i = 0; i < c->n_searches; i++)
        add(a, &d->searches, &d->n_searches, str_of(c->searches[i]));
    for (size_t i = 0; i < c->n_options; i++) {
        const K8s__PodDNSConfigOption *o = c->options[i];
        size_t n = strlen(strna(o->name));

        for (size_t k = 0; k < d->n_options; k++) /* theirs replaces ours of the same name */
            if (strncmp(d->options[k], strna(o->name), n) == 0 &&
                (d->options[k][n] == ':' || !d->options[k][n])) {
                memmove(&d->options[k], &d->options[k + 1],
                        (d->n_options - k - 1) * sizeof(char *));
                d->n_options--;
                break;
            }
        object_append(a, &d->options, &d->n_options,
                      o->value && *o->value ? arena_printf(a, "%s:%s", o->name, o->value)
                                            : arena_strdup(a, strna(o->name)));
    }
}

Runtime__V1__DNSConfig *pod_dns(struct arena *a, struct pod *p, struct error **err)
{
    Runtime__V1__DNSConfig *d = object_new(a, &runtime__v1__dnsconfig__descriptor);
    const char *policy = p->api->spec->dnspolicy;
    bool cluster = streq(policy, "ClusterFirstWithHostNet") ||
                   ((!policy || streq(policy, "ClusterFirst")) && !pod_host_network(p));

    if (!streq(policy, "None") && host_dns(a, p, d, err) < 0)
        return NULL;
    if (cluster && p->k->cfg->cluster_dns.n)
        cluster_dns(a, p, d);
    if (p->api->spec->dnsconfig)
        own_dns(a, p->api->spec->dnsconfig, d);
    return d;
}
