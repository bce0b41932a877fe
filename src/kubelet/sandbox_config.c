#include "base/file.h"
#include "base/mem.h"
#include "kubelet/dns.h"
#include "kubelet/field.h"
#include "kubelet/pod.h"
#include "kubelet/resources.h"
#include "kubelet/security.h"
#include <unistd.h>

char *pod_hostname(struct arena *a, struct pod *p)
{
    const K8s__PodSpec *s = p->api->spec;
    char *name;
    size_t n;

    if (s->hostnameoverride && *s->hostnameoverride)
        return arena_strdup(a, s->hostnameoverride);
    if (pod_host_network(p)) {
        char host[65] = "";

        (void)gethostname(host, sizeof(host) - 1);
        return arena_strdup(a, host);
    }
    name = arena_strdup(a, s->hostname && *s->hostname ? s->hostname : p->name);
    n = strlen(name);
    if (n > 63)
        name[n = 63] = '\0';
    while (n > 0 && (name[n - 1] == '-' || name[n - 1] == '.'))
        name[--n] = '\0';
    return name;
}

char *pod_cgroup_parent(struct arena *a, struct pod *p)
{
    static const char *const classes[] = {"", "/burstable", "/besteffort"};
    const char *root = p->k->cfg->cgroup_root;

    if (!p->k->cfg->cgroups_per_qos)
        return arena_strdup(a, root && *root ? root : "");
    if (!root || streq(root, "/"))
        root = "";
    return arena_printf(a, "%s/kubepods%s/pod%s", root, classes[pod_qos(p->api->spec)], p->uid);
}

static void add_ports(struct arena *a, const K8s__Container *c, bool host,
                      Runtime__V1__PodSandboxConfig *s)
{
    for (size_t i = 0; i < c->n_ports; i++) {
        const K8s__ContainerPort *cp = c->ports[i];
        Runtime__V1__PortMapping *m;

        if (!cp->hostport || host)
            continue;
        m = object_new(a, &runtime__v1__port_mapping__descriptor);
        m->container_port = cp->containerport;
        m->host_port = cp->hostport;
        m->host_ip = arena_strdup(a, strna(cp->hostip));
        m->protocol = streq(cp->protocol, "UDP")    ? RUNTIME__V1__PROTOCOL__UDP
                      : streq(cp->protocol, "SCTP") ? RUNTIME__V1__PROTOCOL__SCTP
                                                    : RUNTIME__V1__PROTOCOL__TCP;
        object_append(a, &s->port_mappings, &s->n_port_mappings, m);
    }
}

static void add_labels(struct arena *a, struct pod *p, Runtime__V1__PodSandboxConfig *s)
{
    const ProtobufCMessageDescriptor *l =
        &runtime__v1__pod_sandbox_config__labels_entry__descriptor;
    const ProtobufCMessageDescriptor *n =
        &runtime__v1__pod_sandbox_config__annotations_entry__descriptor;
    K8s__ObjectMeta *m = p->api->metadata;
    char seen[WALL_TEXT];

    for (size_t i = 0; i < m->n_labels; i++)
        cri_entry_add(a, &s->labels, &s->n_labels, l, m->labels[i]->key, m->labels[i]->value);
    cri_entry_add(a, &s->labels, &s->n_labels, l, LABEL_POD_NAME, p->name);
    cri_entry_add(a, &s->labels, &s->n_labels, l, LABEL_POD_NAMESPACE, p->ns);
    cri_entry_add(a, &s->labels, &s->n_labels, l, LABEL_POD_UID, p->uid);
    for (size_t i = 0; i < m->n_annotations; i++)
        cri_entry_add(a, &s->annotations, &s->n_annotations, n, m->annotations[i]->key,
                      m->annotations[i]->value);
    if (!pairs_get(m->annotations, m->n_annotations, ANNOTATION_CONFIG_SOURCE)) {
        wall_format_nano(wall_now(), seen);
        cri_entry_add(a, &s->annotations, &s->n_annotations, n, ANNOTATION_CONFIG_SEEN, seen);
        cri_entry_add(a, &s->annotations, &s->n_annotations, n, ANNOTATION_CONFIG_SOURCE, "api");
    }
}

static Runtime__V1__LinuxContainerResources *sum(struct arena *a, struct pod *p)
{
    Runtime__V1__LinuxContainerResources *r =
        object_new(a, &runtime__v1__linux_container_resources__descriptor);
    struct amounts q = pod_requests(p->api->spec), l = pod_limits(p->api->spec);

    r->cpu_shares = cpu_shares(q.cpu_milli);
    if (l.cpu_milli > 0) {
        r->cpu_period = 100000;
        r->cpu_quota = cpu_quota_us(l.cpu_milli, 100000);
    }
    r->memory_limit_in_bytes = l.memory > 0 ? l.memory : 0;
    return r;
}

Runtime__V1__PodSandboxConfig *sandbox_config(struct arena *a, struct pod *p, uint32_t attempt,
                                              struct error **err)
{
    Runtime__V1__PodSandboxConfig *s = object_new(a, &runtime__v1__pod_sandbox_config__descriptor);
    Runtime__V1__LinuxPodSandboxConfig *x =
        object_new(a, &runtime__v1__linux_pod_sandbox_config__descriptor);
    K8s__PodSpec *spec = p->api->spec;
    K8s__PodSecurityContext *sc = spec->securitycontext;
    cleanup_free char *logs = pod_log_dir(p);

    s->metadata = object_new(a, &runtime__v1__pod_sandbox_metadata__descriptor);
    s->metadata->name = arena_strdup(a, p->name);
    s->metadata->namespace_ = arena_strdup(a, p->ns);
    s->metadata->uid = arena_strdup(a, p->uid);
    s->metadata->attempt = attempt;
    if (!pod_host_network(p))
        s->hostname = pod_hostname(a, p);
    s->log_directory = arena_strdup(a, logs);
    s->dns_config = pod_dns(a, p, err);
    if (!s->dns_config)
        return NULL;
    for (size_t i = 0; i < spec->n_initcontainers; i++)
        if (streq(spec->initcontainers[i]->restartpolicy, "Always"))
            add_ports(a, spec->initcontainers[i], pod_host_network(p), s);
    for (size_t i = 0; i < spec->n_containers; i++)
        add_ports(a, spec->containers[i], pod_host_network(p), s);
    add_labels(a, p, s);
    s->linux = x;
    x->cgroup_parent = pod_cgroup_parent(a, p);
    x->security_context = security_sandbox(a, p);
    x->resources = sum(a, p);
    for (size_t i = 0; sc && i < sc->n_sysctls; i++)
        cri_entry_add(a, &x->sysctls, &x->n_sysctls,
                      &runtime__v1__linux_pod_sandbox_config__sysctls_entry__descriptor,
                      sc->sysctls[i]->name, sc->sysctls[i]->value);
    return s;
}
