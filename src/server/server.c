#include "server/server.h"
#include "base/cleanup.h"
#include "base/file.h"
#include "base/flags.h"
#include "base/log.h"
#include "base/mem.h"
#include "server/auth/auth.h"
#include "server/controllers/controllers.h"
#include "server/controllers/meta.h"
#include "server/server_private.h"
#include <arpa/inet.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#define ISSUER "https://kubernetes.default.svc.cluster.local"

struct options {
    char *data_dir, *cert_dir, *advertise, *bind, *service_cidr, *cluster_cidr, *ports,
        *admin_kubeconfig, *log_level;
    int64_t port, node_prefix, verbosity;
};

static int parse_ports(const char *text, int *ret_min, int *ret_max, struct error **err)
{
    struct str rest = str_of(text), low = str_split(&rest, '-');
    int64_t min, max;

    if (rest.p && str_to_i64(low, 1, 65535, &min) == 0 && str_to_i64(rest, min, 65535, &max) == 0) {
        *ret_min = (int)min;
        *ret_max = (int)max;
        return 0;
    }
    return error_set(err, EINVAL,
                     "--service-node-port-range \"%s\" is not a range such as 30000-32767", text);
}

/* First usable address of an IPv4 range: 10.254.0.0/16 -> 10.254.0.1. */
static int first_address(const char *cidr, char out[static INET_ADDRSTRLEN], struct error **err)
{
    struct str rest = str_of(cidr), net = str_split(&rest, '/');
    cleanup_free char *text = str_dup(net);
    struct in_addr a;
    int64_t bits;

    if (!rest.p || str_to_i64(rest, 8, 30, &bits) < 0 || inet_pton(AF_INET, text, &a) != 1)
        return error_set(err, EINVAL, "\"%s\" is not an IPv4 range such as 10.254.0.0/16", cidr);
    a.s_addr = htonl((ntohl(a.s_addr) & (uint32_t)(0xffffffffu << (32 - bits))) + 1);
    (void)inet_ntop(AF_INET, &a, out, INET_ADDRSTRLEN);
    return 0;
}

static bool csr_allows(void *arg, const json_t *spec, const char *subresource)
{
    struct server *s = arg;
    struct user u = {.name = xstrdup(json_text_or(spec, "username", ""))};
    struct attributes a = {.user = &u,
                           .verb = "create",
                           .group = "certificates.k8s.io",
                           .resource = "certificatesigningrequests",
                           .sub = subresource,
                           .ns = "",
                           .name = ""};
    const json_t *v;
    bool ok;

    json_each(json_object_get(spec, "groups"), i, v)
        user_add_group(&u, strna(json_string_value(v)));
    ok = authorize(s->authorizer, &a);
    auth_user_fini(&u);
    return ok;
}

static int open_admission(struct server *s, const struct options *o, struct error **err)
{
    struct admission_config cfg = {.cluster = &s->registry.cluster,
                                   .service_cidr = o->service_cidr,
                                   .authorize = admission_authorize,
                                   .covers = admission_covers,
                                   .arg = s};
    int r = parse_ports(o->ports, &cfg.node_port_min, &cfg.node_port_max, err);

    if (r == 0)
        r = admission_new(&cfg, &s->admission, err);
    s->registry.admission = s->admission;
    return r;
}

static int open_tls(struct server *s, struct error **err)
{
    struct tls_server_config cfg = {.cert.data = str_of(s->pki.server_cert),
                                    .key.data = str_of(s->pki.server_key),
                                    .client_ca.data = str_of(s->pki.ca_cert)};
    struct tls_client_config kubelet = {.insecure = true,
                                        .cert.data = str_of(s->pki.kubelet_cert),
                                        .key.data = str_of(s->pki.kubelet_key)};
    int r = tls_server_new(&cfg, &s->tls, err);

    /* a kubelet's serving certificate may be its own until one is signed, as upstream's default has
     * it */
    return r < 0 ? r : tls_client_new(&kubelet, &s->kubelet_tls, err);
}

static int open_all(struct server *s, const struct options *o, struct error **err)
{
    cleanup_free char *db = path_join(o->data_dir, "store.db");
    char service_ip[INET_ADDRSTRLEN];
    struct pki_config pki = {.dir = o->cert_dir,
                             .advertise_address = o->advertise,
                             .service_ip = service_ip,
                             .admin_kubeconfig = o->admin_kubeconfig,
                             .port = (unsigned)o->port};
    struct tokens_config tokens = {.cluster = &s->registry.cluster, .issuer = ISSUER};
    int r = first_address(o->service_cidr, service_ip, err);

    if (r == 0)
        r = dir_make(o->data_dir, 0700, err);
    if (r == 0)
        r = store_open(db, &s->store, err);
    if (r < 0)
        return r;
    registry_init(&s->registry, s->store);
    s->authorizer = authorizer_new(s);
    r = pki_open(&pki, &s->pki, err);
    if (r == 0)
        r = open_admission(s, o, err);
    tokens.key_pem = str_of(strna(s->pki.sa_key));
    if (r == 0)
        r = tokens_new(&tokens, &s->tokens, err);
    return r < 0 ? r : open_tls(s, err);
}

static int serve(struct server *s, const struct options *o, struct error **err)
{
    struct http_server_config cfg = {.on_request = server_request, .arg = s};

    s->http = http_server_new(s->loop, &cfg);
    return http_server_listen_tcp(s->http, o->bind, (uint16_t)o->port, s->tls, err);
}

static void on_term(struct loop_signal *sig, int signo)
{
    (void)signo;
    loop_exit(sig->loop, 0);
}

static void close_all(struct server *s)
{
    watches_stop(s);
    http_server_free(s->http);
    tls_server_unref(s->tls);
    tls_client_unref(s->kubelet_tls);
    tokens_free(s->tokens);
    admission_free(s->admission);
    authorizer_free(s->authorizer);
    store_close(s->store);
    pki_fini(&s->pki);
}

static int run(const struct options *o, struct error **err)
{
    struct server s = {.loop = loop_new()};
    struct loop_signal term = {0}, interrupt = {0};
    struct controllers *controllers = NULL;
    int r;

    list_init(&s.watches);
    s.settings = (struct server_settings){.cluster_cidr = o->cluster_cidr,
                                          .service_cidr = o->service_cidr,
                                          .advertise_address = o->advertise,
                                          .node_cidr_bits = (int)o->node_prefix,
                                          .port = (unsigned)o->port};
    loop_signal_start(s.loop, &term, SIGTERM, on_term);
    loop_signal_start(s.loop, &interrupt, SIGINT, on_term);
    r = open_all(&s, o, err);
    if (r == 0)
        r = serve(&s, o, err);
    if (r == 0) {
        struct controllers_config cfg = {.cluster_cidr = o->cluster_cidr,
                                         .node_cidr_prefix = (int)o->node_prefix,
                                         .root_ca_pem = s.pki.ca_cert,
                                         .sign_cert_pem = s.pki.ca_cert,
                                         .sign_key_pem = s.pki.ca_key,
                                         .advertise_address = o->advertise,
                                         .service_cidr = o->service_cidr,
                                         .secure_port = (int)o->port,
                                         .allows = csr_allows,
                                         .arg = &s};

        controllers = controllers_start(s.loop, s.store, &s.registry.cluster, &cfg);
        s.ready = true;
        log_infof("server", "serving on %s:%lld", o->bind[0] ? o->bind : "*", (long long)o->port);
        r = loop_run(s.loop);
    }
    controllers_stop(controllers);
    close_all(&s);
    loop_signal_stop(&term);
    loop_signal_stop(&interrupt);
    loop_run_once(s.loop, 0);
    loop_free(s.loop);
    return r;
}

static int settle_options(struct options *o, struct error **err)
{
    enum log_level level;

    if (o->log_level && log_level_parse(o->log_level, &level) < 0)
        return error_set(err, EINVAL, "--log-level \"%s\" is none of error, warn, info, debug",
                         o->log_level);
    if (o->log_level)
        log_set_level(level);
    if (o->verbosity >= 4)
        log_set_level(LOG_LEVEL_DEBUG);
    if (!o->advertise)
        return error_set(err, EINVAL,
                         "--advertise-address is needed: the address nodes reach this server at");
    if (!o->cert_dir)
        o->cert_dir = path_join(o->data_dir, "pki");
    return 0;
}

int server_main(int argc, char **argv)
{
    cleanup_error struct error *err = NULL;
    struct options o = {.data_dir = xstrdup("/var/lib/skiff/server"),
                        .bind = xstrdup(""),
                        .port = 6443,
                        .node_prefix = 24,
                        .service_cidr = xstrdup("10.254.0.0/16"),
                        .cluster_cidr = xstrdup("172.30.0.0/16"),
                        .ports = xstrdup("30000-32767")};
    const struct flag flags[] = {
        {.name = "data-dir",
         .type = FLAG_STRING,
         .target = &o.data_dir,
         .help = "where the store lives"},
        {.name = "cert-dir",
         .type = FLAG_STRING,
         .target = &o.cert_dir,
         .help = "keys and certificates [<data-dir>/pki]"},
        {.name = "advertise-address",
         .type = FLAG_STRING,
         .target = &o.advertise,
         .help = "address nodes reach this server at"},
        {.name = "bind-address",
         .type = FLAG_STRING,
         .target = &o.bind,
         .help = "address to listen on [all]"},
        {.name = "secure-port",
         .type = FLAG_INT,
         .target = &o.port,
         .min = 1,
         .max = 65535,
         .help = "port of the API [6443]"},
        {.name = "service-cluster-ip-range",
         .type = FLAG_STRING,
         .target = &o.service_cidr,
         .help = "Service addresses"},
        {.name = "service-node-port-range",
         .type = FLAG_STRING,
         .target = &o.ports,
         .help = "[30000-32767]"},
        {.name = "cluster-cidr",
         .type = FLAG_STRING,
         .target = &o.cluster_cidr,
         .help = "pod addresses, cut into node subnets"},
        {.name = "node-cidr-mask-size",
         .type = FLAG_INT,
         .target = &o.node_prefix,
         .min = 16,
         .max = 28,
         .help = "[24]"},
        {.name = "admin-kubeconfig",
         .type = FLAG_STRING,
         .target = &o.admin_kubeconfig,
         .help = "write a kubeconfig for the administrator here"},
        {.name = "log-level",
         .type = FLAG_STRING,
         .target = &o.log_level,
         .help = "error, warn, info or debug"},
        {.name = "v",
         .shorthand = 'v',
         .type = FLAG_INT,
         .target = &o.verbosity,
         .min = 0,
         .max = 10},
        {.name = "logtostderr", .type = FLAG_IGNORED_BOOL},
        {.name = "allow-privileged", .type = FLAG_IGNORED_BOOL},
        {.name = "enable-admission-plugins", .type = FLAG_IGNORED},
        {.name = "authorization-mode", .type = FLAG_IGNORED, .help = "Node and RBAC are always on"},
        {.name = "enable-bootstrap-token-auth", .type = FLAG_IGNORED_BOOL, .help = "always on"},
        {.name = "anonymous-auth",
         .type = FLAG_IGNORED_BOOL,
         .help = "anonymous requests get what RBAC gives them"},
    };
    int r = flags_parse("skiff server", flags, ARRAY_LEN(flags), argc, argv, NULL, &err);

    if (r == 0)
        r = settle_options(&o, &err);
    if (r == 0)
        r = run(&o, &err);
    if (r < 0)
        log_errorf("server", "%s", error_message(err));
    char **owned[] = {&o.data_dir, &o.cert_dir,         &o.advertise,
                      &o.bind,     &o.service_cidr,     &o.cluster_cidr,
                      &o.ports,    &o.admin_kubeconfig, &o.log_level};
    for (size_t i = 0; i < ARRAY_LEN(owned); i++)
        free(*owned[i]);
    return r < 0 ? 1 : 0;
}
