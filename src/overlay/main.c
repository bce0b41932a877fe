#include "api/client.h"
#include "base/cleanup.h"
#include "base/file.h"
#include "base/flags.h"
#include "base/log.h"
#include "base/mem.h"
#include "codec/json.h"
#include "overlay/output.h"
#include "overlay/overlay.h"
#include <errno.h>
#include <signal.h>
#include <stdio.h>

struct settings {
    char *kubeconfig, *server, *node_name, *interface, *public_ip, *subnet_file, *docker_file,
        *network, *net_config;
    char *backend;
    bool kube, masquerade, cleanup, version;
    int64_t verbosity, vni, port;
    bool etcd;
};

static void settings_fini(struct settings *s)
{
    char *v[] = {s->kubeconfig,  s->server,      s->node_name, s->interface,  s->public_ip,
                 s->subnet_file, s->docker_file, s->network,   s->net_config, s->backend};

    for (size_t i = 0; i < ARRAY_LEN(v); i++)
        free(v[i]);
}

static int parse_flags(struct settings *s, int argc, char **argv, struct error **err)
{
    char *etcd[5] = {NULL};
    const struct flag flags[] = {
        {"kube-subnet-mgr", 0, FLAG_BOOL, &s->kube, "subnets from the Node objects"},
        {"kubeconfig-file", 0, FLAG_STRING, &s->kubeconfig,
         "credentials and address of the API server"},
        {"kube-api-url", 0, FLAG_STRING, &s->server,
         "address of the API server; overrides the kubeconfig's"},
        {"hostname-override", 0, FLAG_STRING, &s->node_name,
         "this node's name [NODE_NAME or the host's]"},
        {"iface", 0, FLAG_STRING, &s->interface, "interface or address to the other nodes"},
        {"public-ip", 0, FLAG_STRING, &s->public_ip, "address the other nodes send to"},
        {"subnet-file", 0, FLAG_STRING, &s->subnet_file, "where the subnet is written"},
        {"docker-file", 0, FLAG_STRING, &s->docker_file, "where dockerd's options are written"},
        {"net-config-path", 0, FLAG_STRING, &s->net_config,
         "network configuration: Network and Backend"},
        {"network", 0, FLAG_STRING, &s->network, "addresses of all pods"},
        {"backend", 0, FLAG_STRING, &s->backend, "vxlan or host-gw"},
        {"ip-masq", 0, FLAG_BOOL, &s->masquerade, "masquerade packets from pods to the world"},
        {"cleanup", 0, FLAG_BOOL, &s->cleanup, "remove device, rules and files, and exit"},
        {"v", 'v', FLAG_INT, &s->verbosity, "verbosity", .min = 0, .max = 20},
        {"version", 0, FLAG_BOOL, &s->version, "print the version and exit"},
        {"etcd-endpoints", 0, FLAG_STRING, &etcd[0], NULL, .seen = &s->etcd},
        {"etcd-prefix", 0, FLAG_STRING, &etcd[1], NULL, .seen = &s->etcd},
        {"etcd-cafile", 0, FLAG_STRING, &etcd[2], NULL, .seen = &s->etcd},
        {"etcd-certfile", 0, FLAG_STRING, &etcd[3], NULL, .seen = &s->etcd},
        {"etcd-keyfile", 0, FLAG_STRING, &etcd[4], NULL, .seen = &s->etcd},
        {"etcd-username", 0, FLAG_IGNORED},
        {"etcd-password", 0, FLAG_IGNORED},
        {"kube-annotation-prefix", 0, FLAG_IGNORED},
        {"healthz-ip", 0, FLAG_IGNORED},
        {"healthz-port", 0, FLAG_IGNORED},
        {"iface-regex", 0, FLAG_IGNORED},
        {"iface-can-reach", 0, FLAG_IGNORED},
        {"iptables-forward-rules", 0, FLAG_IGNORED_BOOL},
        {"iptables-resync", 0, FLAG_IGNORED},
        {"set-node-network-unavailable", 0, FLAG_IGNORED_BOOL},
        {"subnet-lease-renew-margin", 0, FLAG_IGNORED},
        {"public-ipv6", 0, FLAG_IGNORED},
        {"logtostderr", 0, FLAG_IGNORED_BOOL},
        {"alsologtostderr", 0, FLAG_IGNORED_BOOL},
        {"log_dir", 0, FLAG_IGNORED},
        {"stderrthreshold", 0, FLAG_IGNORED},
        {"vmodule", 0, FLAG_IGNORED},
    };

    int r = flags_parse("flanneld", flags, ARRAY_LEN(flags), argc, argv, NULL, err);

    for (size_t i = 0; i < ARRAY_LEN(etcd); i++)
        free(etcd[i]);
    return r;
}

/* flannel's net-conf.json:
 * {"Network":"172.30.0.0/16","Backend":{"Type":"vxlan","VNI":1,"Port":8472}} */
static int read_net_config(struct settings *s, struct error **err)
{
    cleanup_json json_t *o = NULL;
    cleanup_buf struct buf text = {0};
    const char *path = s->net_config ? s->net_config : "/etc/kube-flannel/net-conf.json";
    const char *v;

    if (!s->net_config && !path_exists(path))
        return 0;
    int r = file_read(path, 65536, &text, err);
    if (r == 0)
        r = json_parse(buf_str(&text), 65536, path, &o, err);
    if (r < 0)
        return r;
    v = json_text_at(o, "Network", NULL);
    if (v && !s->network)
        str_replace(&s->network, v);
    v = json_text_at(o, "Backend", "Type", NULL);
    if (v && !s->backend)
        str_replace(&s->backend, v);
    s->vni = json_int_or(json_at(o, "Backend", NULL), "VNI", 0);
    s->port = json_int_or(json_at(o, "Backend", NULL), "Port", 0);
    return 0;
}

static int fill_node_name(struct settings *s, struct error **err)
{
    char host[256] = "";

    if (s->node_name)
        return 0;
    str_replace(&s->node_name, getenv("NODE_NAME"));
    if (s->node_name)
        return 0;
    if (gethostname(host, sizeof(host) - 1) < 0)
        return error_set_errno(err, errno, "read the host name");
    for (char *p = host; *p; p++)
        *p = (char)(*p >= 'A' && *p <= 'Z' ? *p | 0x20 : *p);
    str_replace(&s->node_name, host);
    return 0;
}

static int make_config(struct settings *s, struct overlay_config *c, struct error **err)
{
    int r;

    if (s->etcd && !s->kube)
        return error_set(err, ENOTSUP,
                         "leases in etcd are not served yet: give --kube-subnet-mgr "
                         "--kubeconfig-file=FILE, which takes "
                         "subnets from the Node objects");
    r = read_net_config(s, err);
    if (r == 0)
        r = fill_node_name(s, err);
    if (r < 0)
        return r;
    if (s->backend && !streq(s->backend, "vxlan") && !streq(s->backend, "host-gw"))
        return error_set(err, ENOTSUP, "backend \"%s\" is not served: vxlan and host-gw are",
                         s->backend);
    if (s->vni < 0 || s->vni >= 1 << 24 || s->port < 0 || s->port > 65535)
        return error_set(err, EINVAL, "VNI or Port of the network configuration is out of range");
    *c = (struct overlay_config){.node_name = s->node_name,
                                 .interface = s->interface,
                                 .public_ip = s->public_ip,
                                 .network = s->network,
                                 .subnet_file = s->subnet_file,
                                 .docker_file = s->docker_file,
                                 .vni = (uint32_t)s->vni,
                                 .port = (uint16_t)s->port,
                                 .no_masquerade = !s->masquerade,
                                 .host_gateway = streq(s->backend, "host-gw")};
    return 0;
}

static void on_term(struct loop_signal *s, int signo)
{
    loop_exit(s->loop, 0);
}

static int run(const struct settings *s, struct overlay_config *c, struct error **err)
{
    cleanup_kubeconfig struct kubeconfig k = {0};
    struct loop *l;
    struct loop_signal term = {0}, interrupt = {0};
    struct overlay *o = NULL;
    int r = 0;

    if (s->kubeconfig)
        r = kubeconfig_load(s->kubeconfig, &k, err);
    else if (!s->server)
        r = kubeconfig_in_cluster(&k, err);
    if (r < 0)
        return r;
    if (s->server)
        str_replace(&k.server, s->server);
    l = loop_new();
    r = kube_client_new(l, &k,
                        &(struct kube_client_options){.user_agent = "flanneld/" SKIFF_VERSION},
                        &c->client, err);
    loop_signal_start(l, &term, SIGTERM, on_term);
    loop_signal_start(l, &interrupt, SIGINT, on_term);
    if (r == 0)
        r = overlay_start(l, c, &o, err);
    if (r == 0)
        r = loop_run(l);
    overlay_stop(o);
    kube_client_free(c->client);
    loop_signal_stop(&term);
    loop_signal_stop(&interrupt);
    loop_free(l);
    return r;
}

/* mk-docker-opts.sh [-f subnet file] [-d output] [-i] [-c] [-m] [-k combined key] */
static int docker_opts_main(int argc, char **argv)
{
    cleanup_error struct error *err = NULL;
    cleanup_free char *file = xstrdup("/run/flannel/subnet.env"),
                      *to = xstrdup("/run/docker_opts.env"), *key = NULL;
    cleanup_buf struct buf text = {0}, out = {0};
    struct output_docker d = {0};
    struct output o;
    bool ignored, only_individual = false, only_combined = false, no_masquerade = false;
    const struct flag flags[] = {
        {"f", 'f', FLAG_STRING, &file, "subnet file"},
        {"d", 'd', FLAG_STRING, &to, "file to write"},
        {"i", 'i', FLAG_BOOL, &only_individual, "individual options only"},
        {"c", 'c', FLAG_BOOL, &only_combined, "combined option only"},
        {"m", 'm', FLAG_BOOL, &no_masquerade, "leave out --ip-masq"},
        {"k", 'k', FLAG_STRING, &key, "name of the combined option"},
    };
    int r = flags_parse("mk-docker-opts.sh", flags, ARRAY_LEN(flags), argc, argv, NULL, &err);

    buf_init(&out, 4096);
    if (r == FLAGS_HELP)
        return 0;
    d.individual = !only_combined;
    d.combined = !only_individual;
    d.combined_key = key;
    d.no_masquerade_option = no_masquerade;
    if (r == 0)
        r = file_read(file, 65536, &text, &err);
    if (r == 0)
        r = output_parse(buf_str(&text), &o, &err);
    if (r == 0) {
        d.masquerade = !o.masquerade;
        r = output_format_docker(&o, &d, &out);
    }
    if (r == 0)
        r = output_write(to, buf_str(&out), &ignored, &err);
    if (r < 0)
        (void)fprintf(stderr, "mk-docker-opts.sh: %s\n", error_message(err));
    return r < 0 ? 1 : 0;
}

int overlay_main(int argc, char **argv)
{
    cleanup_error struct error *err = NULL;
    struct settings s = {.verbosity = 2, .masquerade = false};
    struct overlay_config c = {0};
    int r;

    if (argc > 0 && streq(path_basename(argv[0]), "mk-docker-opts.sh"))
        return docker_opts_main(argc, argv);
    r = parse_flags(&s, argc, argv, &err);
    if (r == 0 && s.version) {
        (void)printf("skiff overlay %s\n", SKIFF_VERSION);
    } else if (r == 0 && s.cleanup) {
        r = overlay_cleanup(s.subnet_file, s.docker_file, 0, &err);
    } else if (r == 0) {
        log_set_level(s.verbosity >= 4 ? LOG_LEVEL_DEBUG : LOG_LEVEL_INFO);
        r = make_config(&s, &c, &err);
        if (r == 0)
            r = run(&s, &c, &err);
    }
    if (r < 0)
        (void)fprintf(
            stderr, "%s%s\n",
            strstarts(error_message(err), "flanneld:") ? "" : "flanneld: ", error_message(err));
    settings_fini(&s);
    return r < 0 ? 1 : 0;
}
