#include "cli/layout.h"
#include "base/file.h"
#include "base/mem.h"
#include <stdlib.h>

void layout_init(struct layout *l, const char *data, const char *run)
{
    l->data = xstrdup(data ? data : LAYOUT_DATA);
    l->run = xstrdup(run ? run : LAYOUT_RUN);
    l->log = path_join(l->data, "log");
    l->pki = path_join(l->data, "pki");
    l->ca_file = path_join(l->pki, "ca.crt");
    l->server_data = path_join(l->data, "server");
    l->engine_data = path_join(l->data, "engine");
    l->engine_run = path_join(l->run, "engine");
    l->kubelet_root = path_join(l->data, "kubelet");
    l->admin_kubeconfig = path_join(l->data, "admin.kubeconfig");
    l->bootstrap_kubeconfig = path_join(l->data, "bootstrap.kubeconfig");
    l->kubelet_kubeconfig = path_join(l->data, "kubelet.kubeconfig");
    l->engine_socket = path_join(l->run, "engine.sock");
    l->docker_socket = path_join(l->run, "docker.sock");
    l->node_lock = path_join(l->run, "node.pid");
    l->found_state = path_join(l->data, "found.json");
}

void layout_fini(struct layout *l)
{
    char **members[] = {&l->data,
                        &l->run,
                        &l->log,
                        &l->pki,
                        &l->ca_file,
                        &l->server_data,
                        &l->engine_data,
                        &l->engine_run,
                        &l->kubelet_root,
                        &l->admin_kubeconfig,
                        &l->bootstrap_kubeconfig,
                        &l->kubelet_kubeconfig,
                        &l->engine_socket,
                        &l->docker_socket,
                        &l->node_lock,
                        &l->found_state};

    for (size_t i = 0; i < sizeof members / sizeof members[0]; i++) {
        free(*members[i]);
        *members[i] = NULL;
    }
}
