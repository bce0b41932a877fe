#include "api/client.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "base/mem.h"
#include "proxy/config.h"
#include <errno.h>
#include <signal.h>
#include <stdio.h>

struct running {
    struct loop *loop;
    struct loop_signal term, interrupt;
};

static void on_term(struct loop_signal *s, int signo)
{
    loop_exit(s->loop, 0);
}

static int fill_node_name(struct proxy_settings *s, struct error **err)
{
    char name[256] = "";

    if (s->node_name)
        return 0;
    if (gethostname(name, sizeof(name) - 1) < 0)
        return error_set_errno(err, errno, "read the host name");
    for (char *p = name; *p; p++)
        *p = (char)(*p >= 'A' && *p <= 'Z' ? *p | 0x20 : *p);
    str_replace(&s->node_name, name);
    return 0;
}

static int connect_api(const struct proxy_settings *s, struct loop *l, struct kube_client **ret,
                       struct error **err)
{
    cleanup_kubeconfig struct kubeconfig k = {0};
    int r = 0;

    if (s->kubeconfig)
        r = kubeconfig_load(s->kubeconfig, &k, err);
    else if (!s->server)
        r = kubeconfig_in_cluster(&k, err);
    if (r < 0)
        return s->kubeconfig ? r
                             : error_set(err, EINVAL,
                                         "no API server is named: give --kubeconfig or --config");
    if (s->server)
        str_replace(&k.server, s->server);
    return kube_client_new(
        l, &k, &(struct kube_client_options){.user_agent = "kube-proxy/" SKIFF_VERSION}, ret, err);
}

static int run(struct proxy_settings *s, struct error **err)
{
    struct running run = {.loop = loop_new()};
    struct proxy *p = NULL;
    int r = connect_api(s, run.loop, &s->config.client, err);

    loop_signal_start(run.loop, &run.term, SIGTERM, on_term);
    loop_signal_start(run.loop, &run.interrupt, SIGINT, on_term);
    if (r == 0)
        r = proxy_start(run.loop, &s->config, &p, err);
    if (r == 0)
        r = loop_run(run.loop);
    proxy_stop(p);
    kube_client_free(s->config.client);
    loop_signal_stop(&run.term);
    loop_signal_stop(&run.interrupt);
    loop_free(run.loop);
    return r;
}

int proxy_main(int argc, char **argv)
{
    cleanup_error struct error *err = NULL;
    struct proxy_settings s;
    int r;

    proxy_settings_init(&s);
    r = proxy_settings_parse(&s, argc, argv, &err);
    if (r == FLAGS_HELP) {
        proxy_settings_fini(&s);
        return 0;
    }
    if (r == 0 && s.cleanup) {
        r = proxy_cleanup(0, &err);
    } else if (r == 0) {
        log_set_level(s.verbosity >= 4 ? LOG_LEVEL_DEBUG : LOG_LEVEL_INFO);
        r = fill_node_name(&s, &err);
        if (r == 0)
            r = proxy_settings_finish(&s, &err);
        if (r == 0)
            r = run(&s, &err);
    }
    if (r < 0)
        (void)fprintf(
            stderr, "%s%s\n",
            strstarts(error_message(err), "kube-proxy:") ? "" : "kube-proxy: ", error_message(err));
    proxy_settings_fini(&s);
    return r < 0 ? 1 : r;
}
