#include "cli/agent.h"
#include "base/backoff.h"
#include "base/cleanup.h"
#include "base/flags.h"
#include "base/log.h"
#include "base/mem.h"
#include "kubelet/kubelet.h"
#include "overlay/overlay.h"
#include "proxy/proxy.h"
#include <signal.h>
#include <stdlib.h>

struct agent {
    struct loop *loop;
    struct kubelet_config config;
    struct kubelet *kubelet;
    struct proxy *proxy;
    struct overlay *overlay;
    struct kube_client *client;
    char *node_name, *cluster_cidr, *interface;
    bool no_proxy, no_overlay;
    struct loop_signal term, interrupt;
    struct loop_timer retry;
    struct backoff backoff;
};

static void start_missing(struct agent *a);

static void on_retry(struct loop_timer *t)
{
    start_missing(container_of(t, struct agent, retry));
}

static int start_proxy(struct agent *a, struct error **err)
{
    struct proxy_config cfg = {.client = a->client,
                               .node_name = a->node_name,
                               .cluster_cidr = a->cluster_cidr,
                               .masquerade_bit = -1,
                               .healthz_address = "0.0.0.0:10256",
                               .metrics_address = "127.0.0.1:10249"};

    return a->proxy || a->no_proxy ? 0 : proxy_start(a->loop, &cfg, &a->proxy, err);
}

static int start_overlay(struct agent *a, struct error **err)
{
    struct overlay_config cfg = {.client = a->client,
                                 .node_name = a->node_name,
                                 .network = a->cluster_cidr,
                                 .interface = a->interface,
                                 .public_ip = a->config.node_ip};

    return a->overlay || a->no_overlay ? 0 : overlay_start(a->loop, &cfg, &a->overlay, err);
}

/* A part that cannot start (a port that is taken, a kernel without a feature) must not take the
 * others with it. */
static void start_missing(struct agent *a)
{
    cleanup_error struct error *proxy = NULL, *overlay = NULL;
    int rp = start_proxy(a, &proxy), ro = start_overlay(a, &overlay);

    if (rp < 0)
        log_errorf("agent", "proxy: %s", error_message(proxy));
    if (ro < 0)
        log_errorf("agent", "overlay: %s", error_message(overlay));
    if (rp < 0 || ro < 0)
        loop_timer_start(a->loop, &a->retry, backoff_next_ms(&a->backoff), on_retry);
}

static void on_client(struct kube_client *c, const char *node_name, void *arg)
{
    struct agent *a = arg;

    a->client = c;
    str_replace(&a->node_name, node_name);
    start_missing(a);
}

static void on_term(struct loop_signal *s, int signo)
{
    (void)signo;
    loop_exit(s->loop, 0);
}

static int agent_run(struct agent *a, struct error **err)
{
    int r;

    a->loop = loop_new();
    a->backoff = (struct backoff){.first_ms = 1000, .max_ms = 60000};
    a->config.on_client = on_client;
    a->config.arg = a;
    loop_signal_start(a->loop, &a->term, SIGTERM, on_term);
    loop_signal_start(a->loop, &a->interrupt, SIGINT, on_term);
    r = kubelet_start(a->loop, &a->config, &a->kubelet, err);
    if (r == 0)
        r = loop_run(a->loop);
    loop_timer_stop(&a->retry);
    proxy_stop(a->proxy);
    overlay_stop(a->overlay);
    kubelet_stop(a->kubelet);
    loop_signal_stop(&a->term);
    loop_signal_stop(&a->interrupt);
    loop_run_once(a->loop, 0);
    loop_free(a->loop);
    return r;
}

int agent_main(int argc, char **argv)
{
    cleanup_error struct error *err = NULL;
    struct agent a = {0};
    const struct flag extra[] = {
        {.name = "cluster-cidr",
         .type = FLAG_STRING,
         .target = &a.cluster_cidr,
         .help = "pod addresses of the whole cluster"},
        {.name = "iface",
         .type = FLAG_STRING,
         .target = &a.interface,
         .help = "interface to the other nodes"},
        {.name = "no-proxy",
         .type = FLAG_BOOL,
         .target = &a.no_proxy,
         .help = "leave Service addresses to another program"},
        {.name = "no-overlay",
         .type = FLAG_BOOL,
         .target = &a.no_overlay,
         .help = "leave the pod network to another program"},
    };
    int r;

    kubelet_config_init(&a.config);
    r = kubelet_config_load(&a.config, argc, argv, extra, ARRAY_LEN(extra), &err);
    if (r == 0)
        r = agent_run(&a, &err);
    if (r < 0)
        log_errorf("agent", "%s", error_message(err));
    kubelet_config_fini(&a.config);
    free(a.node_name);
    free(a.cluster_cidr);
    free(a.interface);
    return r < 0 ? 1 : 0;
}
