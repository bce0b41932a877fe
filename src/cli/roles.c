#include "cli/roles.h"
#include "base/cleanup.h"
#include "base/file.h"
#include "base/mem.h"
#include "codec/json.h"
#include <stdlib.h>

const char *const role_names[ROLE_MAX] = {"server", "engine", "agent"};

/* One row per text setting: name in the file, member, default. */
static const struct {
    const char *key, *fallback;
    size_t offset;
} settings[] = {
    {"nodeName", NULL, offsetof(struct node_config, node_name)},
    {"nodeIP", NULL, offsetof(struct node_config, node_ip)},
    {"dataDir", LAYOUT_DATA, offsetof(struct node_config, data)},
    {"runDir", LAYOUT_RUN, offsetof(struct node_config, run)},
    {"serviceCIDR", "10.254.0.0/16", offsetof(struct node_config, service_cidr)},
    {"clusterCIDR", "172.30.0.0/16", offsetof(struct node_config, cluster_cidr)},
    {"clusterDNS", "10.254.0.2", offsetof(struct node_config, cluster_dns)},
    {"clusterDomain", "cluster.local", offsetof(struct node_config, cluster_domain)},
    {"serviceNodePortRange", "30000-32767", offsetof(struct node_config, port_range)},
    {"logLevel", "info", offsetof(struct node_config, log_level)},
    {"runtime", "", offsetof(struct node_config, runtime)},
};

static char **member(const struct node_config *c, size_t i)
{
    return (char **)((char *)(uintptr_t)c + settings[i].offset);
}

void node_config_init(struct node_config *c)
{
    *c = (struct node_config){0};
    for (size_t i = 0; i < ARRAY_LEN(settings); i++)
        *member(c, i) = xstrdup_null(settings[i].fallback);
}

void node_config_fini(struct node_config *c)
{
    for (size_t i = 0; i < ARRAY_LEN(settings); i++)
        str_replace(member(c, i), NULL);
}

char *node_config_path(const char *data)
{
    return path_join(data, "node.json");
}

int node_config_load(const char *path, struct node_config *ret, struct error **err)
{
    cleanup_json json_t *doc = NULL;
    struct buf text;
    int r = file_read(path, 64 * 1024, &text, err);

    if (r < 0)
        return r;
    r = json_parse(buf_str(&text), 64 * 1024, path, &doc, err);
    buf_fini(&text);
    if (r < 0)
        return r;
    node_config_init(ret);
    for (size_t i = 0; i < ARRAY_LEN(settings); i++) {
        const char *v = json_text_or(doc, settings[i].key, NULL);

        if (v)
            str_replace(member(ret, i), v);
    }
    ret->with_server = json_bool_or(doc, "withServer", false);
    return 0;
}

int node_config_save(const struct node_config *c, const char *path, struct error **err)
{
    cleanup_json json_t *doc = json_object();
    struct buf text;
    int r;

    for (size_t i = 0; i < ARRAY_LEN(settings); i++)
        if (*member(c, i))
            (void)json_object_set_new(doc, settings[i].key, json_string(*member(c, i)));
    (void)json_object_set_new(doc, "withServer", json_boolean(c->with_server));
    buf_init(&text, 64 * 1024);
    (void)json_write_indented(doc, &text);
    (void)buf_add_char(&text, '\n');
    r = file_write_atomic(path, 0600, buf_str(&text), err);
    buf_fini(&text);
    return r;
}

static void add(struct flag_list *v, const char *flag, const char *value)
{
    cleanup_free char *word = xasprintf("--%s=%s", flag, value);

    flag_list_add(v, word);
}

static void server_argv(const struct node_config *c, const struct layout *l, struct flag_list *v)
{
    add(v, "data-dir", l->server_data);
    add(v, "cert-dir", l->pki);
    add(v, "advertise-address", c->node_ip);
    add(v, "service-cluster-ip-range", c->service_cidr);
    add(v, "cluster-cidr", c->cluster_cidr);
    add(v, "service-node-port-range", c->port_range);
    add(v, "admin-kubeconfig", l->admin_kubeconfig);
    add(v, "log-level", c->log_level);
}

static void engine_argv(const struct node_config *c, const struct layout *l, struct flag_list *v)
{
    cleanup_free char *cri = xasprintf("unix://%s", l->engine_socket);
    cleanup_free char *docker = xasprintf("unix://%s", l->docker_socket);

    add(v, "cri-socket", cri);
    flag_list_add(v, "-H");
    flag_list_add(v, docker);
    add(v, "data-root", l->engine_data);
    add(v, "exec-root", l->engine_run);
    add(v, "log-level", c->log_level);
    if (c->runtime && c->runtime[0])
        add(v, "runtime", c->runtime);
}

static void agent_argv(const struct node_config *c, const struct layout *l, struct flag_list *v)
{
    cleanup_free char *cri = xasprintf("unix://%s", l->engine_socket);

    add(v, "hostname-override", c->node_name);
    add(v, "node-ip", c->node_ip);
    add(v, "root-dir", l->kubelet_root);
    add(v, "container-runtime-endpoint", cri);
    add(v, "kubeconfig", l->kubelet_kubeconfig);
    add(v, "bootstrap-kubeconfig", l->bootstrap_kubeconfig);
    add(v, "cert-dir", l->pki);
    add(v, "client-ca-file", l->ca_file);
    add(v, "cluster-cidr", c->cluster_cidr);
    add(v, "cluster-dns", c->cluster_dns);
    add(v, "cluster-domain", c->cluster_domain);
    add(v, "log-level", c->log_level);
}

void role_argv(const struct node_config *c, const struct layout *l, enum role_id id,
               const char *program, struct flag_list *ret)
{
    flag_list_add(ret, program);
    flag_list_add(ret, role_names[id]);
    switch (id) {
    case ROLE_SERVER:
        server_argv(c, l, ret);
        break;
    case ROLE_ENGINE:
        engine_argv(c, l, ret);
        break;
    case ROLE_AGENT:
        agent_argv(c, l, ret);
        break;
    case ROLE_MAX:
        break;
    }
    ret->v = xreallocarray(ret->v, ret->n + 1, sizeof *ret->v);
    ret->v[ret->n] = NULL;
}
