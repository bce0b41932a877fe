/* The pod half and the node half put together. */
#include "kubelet/kubelet.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "kubelet/env.h"
#include "kubelet/image.h"
#include "kubelet/image_gc.h"
#include "kubelet/log_rotate.h"
#include "kubelet/node.h"
#include "kubelet/orphans.h"
#include "kubelet/pod.h"
#include "kubelet/refs.h"
#include "kubelet/source.h"
#include <errno.h>
#include <signal.h>
#include <unistd.h>

#define HOUSEKEEPING_MS 60000

/* ---- the engine's name ---- */

static void on_version(int code, const char *message, const ProtobufCMessage *reply, void *arg)
{
    struct kubelet *k = arg;
    const Runtime__V1__VersionResponse *v = (const void *)reply;

    k->version_call = NULL;
    if (v)
        (void)snprintf(k->runtime_name, sizeof(k->runtime_name), "%s", v->runtime_name);
}

static void ask_version(struct kubelet *k)
{
    Runtime__V1__VersionRequest q = RUNTIME__V1__VERSION_REQUEST__INIT;

    k->version_call =
        grpc_call_start(k->cri, CRI_RUNTIME("Version"), &q.base,
                        &runtime__v1__version_response__descriptor, 60000, on_version, k);
}

/* ---- what the node half asks and tells ---- */

static void pods_json(struct buf *b, void *arg)
{
    struct kubelet *k = arg;
    struct map_entry *e;
    size_t it = 0, n = 0;

    (void)buf_add_z(b, "{\"kind\":\"PodList\",\"apiVersion\":\"v1\",\"metadata\":{},\"items\":[");
    while ((e = map_next(&k->pods, &it))) {
        struct pod *p = e->value;
        K8s__PodStatus *was;
        struct arena a;

        if (!p->api || !p->observed_once)
            continue;
        if (n++)
            (void)buf_add_char(b, ',');
        arena_init(&a, 4096);
        was = p->api->status;
        p->api->status = pod_status(&a, p);
        (void)object_encode_json(p->api, b);
        p->api->status = was;
        arena_fini(&a);
    }
    (void)buf_add_z(b, "]}");
}

static void on_client(struct kube_client *c, void *arg)
{
    struct kubelet *k = arg;

    k->client = c;
    k->recorder = recorder_new(c, "kubelet", k->node_name);
    k->services = service_env_start(k);
    k->source_api = source_api_start(k);
    if (k->cfg->on_client)
        k->cfg->on_client(c, k->node_name, k->cfg->arg);
    pods_kick_all(k);
}

static void on_node(const K8s__Node *node, void *arg)
{
    struct kubelet *k = arg;

    if (streq(k->node_uid, object_uid(node)))
        return;
    str_replace(&k->node_uid, object_uid(node));
    pods_kick_all(k); /* mirror pods name the node as their owner */
}

static void on_ready(bool ready, void *arg)
{
    struct kubelet *k = arg;

    if (!ready)
        return;
    if (!k->runtime_name[0] && !k->version_call)
        ask_version(k); /* it was not up yet */
    if (k->cfg->on_ready && !k->told_ready)
        k->cfg->on_ready(k->cfg->arg);
    k->told_ready = true;
    pods_kick_all(k);
}

static void configz_json(struct buf *b, void *arg)
{
    struct kubelet *k = arg;

    kubelet_config_json(k->cfg, b);
}

static const struct node_ops node_ops = {
    .on_client = on_client,
    .on_node = on_node,
    .on_ready = on_ready,
    .pods_json = pods_json,
    .configz_json = configz_json,
};

/* ---- housekeeping ---- */

static void on_housekeeping(struct loop_timer *t)
{
    struct kubelet *k = container_of(t, struct kubelet, housekeeping);

    if (sources_synced(k))
        orphans_clean(k);
    loop_timer_start(k->loop, t, HOUSEKEEPING_MS, on_housekeeping);
}

/* ---- lifecycle ---- */

static int check_config(const struct kubelet_config *c, struct error **err)
{
    if (!strstarts(strna(c->runtime_endpoint), "unix://"))
        return error_set(err, EINVAL,
                         "--container-runtime-endpoint: \"%s\" is not a unix:// address",
                         strna(c->runtime_endpoint));
    if (!streq(c->cgroup_driver, "cgroupfs"))
        return error_set(
            err, EINVAL,
            "cgroupDriver \"%s\" is not served; set it to cgroupfs here and in the engine",
            c->cgroup_driver);
    if (!streq(c->authorization_mode, "Webhook") && !streq(c->authorization_mode, "AlwaysAllow"))
        return error_set(err, EINVAL,
                         "authorization mode \"%s\" is neither Webhook nor AlwaysAllow",
                         c->authorization_mode);
    if (c->image_gc_low_percent >= c->image_gc_high_percent)
        return error_set(err, EINVAL,
                         "imageGCLowThresholdPercent must be below imageGCHighThresholdPercent");
    return 0;
}

static void local_ip(struct kubelet *k)
{
    const char *ip = node_ip(k->node);

    (void)snprintf(k->node_ip, sizeof(k->node_ip), "%s", ip && *ip ? ip : strna(k->cfg->node_ip));
}

int kubelet_start(struct loop *l, const struct kubelet_config *cfg, struct kubelet **ret,
                  struct error **err)
{
    struct kubelet *k;
    cleanup_free char *name = NULL;
    cleanup_free char *pods = path_join(strna(cfg->root_dir), "pods");
    int r = check_config(cfg, err);

    if (r >= 0)
        r = dir_make(pods, 0750, err);
    if (r < 0)
        return r;
    k = xcalloc(1, sizeof(*k));
    k->loop = l;
    k->cfg = cfg;
    map_init(&k->pods);
    list_init(&k->dead);
    name = node_name_of(cfg);
    (void)snprintf(k->node_name, sizeof(k->node_name), "%s", name);
    k->api_wanted = cfg->kubeconfig && *cfg->kubeconfig;
    k->file_synced = !cfg->static_pod_path || !*cfg->static_pod_path;
    k->cri = grpc_client_new(l, cfg->runtime_endpoint + strlen("unix://"));
    k->refs = refs_new(k);
    k->puller = image_puller_new(k);
    r = node_start(l, cfg, k->cri, &node_ops, k, &k->node, err);
    if (r < 0) {
        kubelet_stop(k);
        return r;
    }
    local_ip(k);
    ask_version(k);
    (void)observer_start(k);
    if (!k->file_synced)
        k->source_file = source_file_start(k, cfg->static_pod_path);
    k->image_gc = image_gc_start(k);
    k->log_rotator = log_rotator_start(k);
    loop_timer_start(l, &k->housekeeping, HOUSEKEEPING_MS, on_housekeeping);
    log_info("kubelet", "started", "node", k->node_name, "engine", cfg->runtime_endpoint, "api",
             k->api_wanted ? "yes" : "no, static pods only", NULL);
    *ret = k;
    return 0;
}

static void pods_free(struct kubelet *k)
{
    struct map_entry *e;
    size_t it;

    for (it = 0; (e = map_next(&k->pods, &it)); it = 0)
        pod_free(e->value);
    list_for_safe(l, &k->dead)
    {
        pod_free(container_of(l, struct pod, link));
    }
    map_fini(&k->pods, NULL);
}

void kubelet_stop(struct kubelet *k)
{
    if (!k)
        return;
    k->stopping = true;
    loop_timer_stop(&k->housekeeping);
    loop_defer_stop(&k->reap);
    grpc_call_cancel(k->version_call);
    source_file_stop(k->source_file);
    source_api_stop(k->source_api);
    service_env_stop(k->services);
    image_gc_stop(k->image_gc);
    log_rotator_stop(k->log_rotator);
    observer_stop(k);
    pods_free(k);
    refs_free(k->refs);
    image_puller_free(k->puller);
    recorder_free(k->recorder);
    node_stop(k->node);
    grpc_client_free(k->cri);
    free(k->node_uid);
    free(k);
}

/* ---- the program ---- */

static void on_term(struct loop_signal *s, int signo)
{
    loop_exit(s->loop, 0);
}

int kubelet_main(int argc, char **argv)
{
    cleanup_error struct error *err = NULL;
    struct kubelet_config cfg;
    struct kubelet *k = NULL;
    struct loop_signal term = {0}, interrupt = {0};
    struct loop *l = NULL;
    enum log_level level;
    int r;

    kubelet_config_init(&cfg);
    r = kubelet_config_load(&cfg, argc, argv, NULL, 0, &err);
    if (r == 0) {
        if (log_level_parse(cfg.log_level, &level) == 0)
            log_set_level(level);
        (void)signal(SIGPIPE, SIG_IGN);
        l = loop_new();
        loop_signal_start(l, &term, SIGTERM, on_term);
        loop_signal_start(l, &interrupt, SIGINT, on_term);
        r = kubelet_start(l, &cfg, &k, &err);
        if (r == 0)
            r = loop_run(l);
        kubelet_stop(k);
        loop_signal_stop(&term);
        loop_signal_stop(&interrupt);
        loop_run_once(l, 0); /* what closes itself at the end of a turn */
        loop_free(l);
    }
    if (r < 0)
        log_errorf("kubelet", "%s", error_message(err));
    kubelet_config_fini(&cfg);
    return r < 0 ? 1 : 0;
}
