/* Command line of the engine, also under the names it stands in for. */
#include "engine/engine.h"
#include "base/cleanup.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "engine/docker/docker.h"
#include "engine/core.h"
#include <errno.h>
#include <signal.h>
#include <stdio.h>

#define CRI_SOCKET "/run/skiff/engine.sock"
#define DOCKER_DEFAULT_BIP "172.17.0.1/16"

struct options {
    struct engine_config c;
    struct flag_list hosts;
    char *log_level, *pid_file;
    bool version, debug;
};

/* Where a name of ours differs in what holds by default. */
static void defaults(struct options *o, const char *program)
{
    bool docker = streq(program, "dockerd");

    *o = (struct options){.c = {.ip_masq = true, .iptables = true}, .log_level = xstrdup("info")};
    o->c.bridge = xstrdup(docker ? "docker0" : "skiff0");
    o->c.data_root = xstrdup("/var/lib/skiff/engine");
    o->c.exec_root = xstrdup("/run/skiff/engine");
    o->c.config_file = xstrdup("/etc/docker/daemon.json");
    if (docker) {
        str_replace(&o->c.data_root, "/var/lib/docker");
        str_replace(&o->c.exec_root, "/var/run/docker");
    } else if (streq(program, "containerd")) {
        str_replace(&o->c.data_root, "/var/lib/containerd");
        str_replace(&o->c.exec_root, "/run/containerd");
        o->c.cri_socket = xstrdup("/run/containerd/containerd.sock");
    }
}

/* Known to dockerd and of no use here, or not yet: accepted with one line. */
#define DOCKERD_IGNORED                                                                            \
    {"authorization-plugin", 0, FLAG_IGNORED}, {"cgroup-parent", 0, FLAG_IGNORED},                 \
        {"containerd", 0, FLAG_IGNORED}, {"containerd-namespace", 0, FLAG_IGNORED},                \
        {"cri-containerd", 0, FLAG_IGNORED_BOOL}, {"data-path-addr", 0, FLAG_IGNORED},             \
        {"default-address-pool", 0, FLAG_IGNORED}, {"default-cgroupns-mode", 0, FLAG_IGNORED},     \
        {"default-gateway", 0, FLAG_IGNORED}, {"default-ipc-mode", 0, FLAG_IGNORED},               \
        {"default-runtime", 0, FLAG_IGNORED}, {"default-shm-size", 0, FLAG_IGNORED},               \
        {"default-ulimit", 0, FLAG_IGNORED}, {"dns", 0, FLAG_IGNORED},                             \
        {"dns-opt", 0, FLAG_IGNORED}, {"dns-search", 0, FLAG_IGNORED},                             \
        {"exec-opt", 0, FLAG_IGNORED}, {"experimental", 0, FLAG_IGNORED_BOOL},                     \
        {"group", 'G', FLAG_IGNORED}, {"icc", 0, FLAG_IGNORED_BOOL},                               \
        {"init", 0, FLAG_IGNORED_BOOL}, {"init-path", 0, FLAG_IGNORED},                            \
        {"insecure-registry", 0, FLAG_IGNORED}, {"ip", 0, FLAG_IGNORED},                           \
        {"ip-forward", 0, FLAG_IGNORED_BOOL}, {"ip6tables", 0, FLAG_IGNORED_BOOL},                 \
        {"ipv6", 0, FLAG_IGNORED_BOOL}, {"label", 0, FLAG_IGNORED},                                \
        {"live-restore", 0, FLAG_IGNORED_BOOL}, {"log-driver", 0, FLAG_IGNORED},                   \
        {"log-format", 0, FLAG_IGNORED}, {"log-opt", 0, FLAG_IGNORED},                             \
        {"max-concurrent-downloads", 0, FLAG_IGNORED},                                             \
        {"max-concurrent-uploads", 0, FLAG_IGNORED}, {"max-download-attempts", 0, FLAG_IGNORED},   \
        {"metrics-addr", 0, FLAG_IGNORED}, {"network-control-plane-mtu", 0, FLAG_IGNORED},         \
        {"no-new-privileges", 0, FLAG_IGNORED_BOOL}, {"oom-score-adjust", 0, FLAG_IGNORED},        \
        {"raw-logs", 0, FLAG_IGNORED_BOOL}, {"registry-mirror", 0, FLAG_IGNORED},                  \
        {"rootless", 0, FLAG_IGNORED_BOOL}, {"seccomp-profile", 0, FLAG_IGNORED},                  \
        {"selinux-enabled", 0, FLAG_IGNORED_BOOL}, {"shutdown-timeout", 0, FLAG_IGNORED},          \
        {"storage-driver", 's', FLAG_IGNORED}, {"storage-opt", 0, FLAG_IGNORED},                   \
        {"swarm-default-advertise-addr", 0, FLAG_IGNORED}, {"tls", 0, FLAG_IGNORED_BOOL},          \
        {"tlscacert", 0, FLAG_IGNORED}, {"tlscert", 0, FLAG_IGNORED}, {"tlskey", 0, FLAG_IGNORED}, \
        {"tlsverify", 0, FLAG_IGNORED_BOOL}, {"userland-proxy", 0, FLAG_IGNORED_BOOL},             \
        {"userland-proxy-path", 0, FLAG_IGNORED}, {"userns-remap", 0, FLAG_IGNORED},               \
        {"validate", 0, FLAG_IGNORED_BOOL}, {"add-runtime", 0, FLAG_IGNORED},                      \
        {"allow-nondistributable-artifacts", 0, FLAG_IGNORED},                                     \
        {"api-cors-header", 0, FLAG_IGNORED}, {"bridge-accept-fwmark", 0, FLAG_IGNORED},           \
        {"cpu-rt-period", 0, FLAG_IGNORED},                                                        \
    {                                                                                              \
        "cpu-rt-runtime", 0, FLAG_IGNORED                                                          \
    }

static int parse(struct options *o, const char *program, int argc, char **argv, struct error **err)
{
    const struct flag flags[] = {
        {"host", 'H', FLAG_LIST, &o->hosts, "unix socket of the Docker API; repeatable"},
        {"cri-socket", 0, FLAG_STRING, &o->c.cri_socket, "unix socket of the CRI service"},
        {"address", 'a', FLAG_STRING, &o->c.cri_socket, "as --cri-socket (containerd)"},
        {"data-root", 0, FLAG_STRING, &o->c.data_root, "persistent state"},
        {"root", 0, FLAG_STRING, &o->c.data_root, "as --data-root (containerd)"},
        {"exec-root", 0, FLAG_STRING, &o->c.exec_root, "state of what runs"},
        {"state", 0, FLAG_STRING, &o->c.exec_root, "as --exec-root (containerd)"},
        {"config-file", 0, FLAG_STRING, &o->c.config_file, "daemon configuration file"},
        {"config", 'c', FLAG_IGNORED, NULL, NULL},
        {"log-level", 'l', FLAG_STRING, &o->log_level, "debug, info, warn, error or fatal"},
        {"debug", 'D', FLAG_BOOL, &o->debug, "log level debug"},
        {"runtime", 0, FLAG_STRING, &o->c.runtime,
         "OCI runtime: crun, runc or a path; chosen when not given"},
        {"bridge", 'b', FLAG_STRING, &o->c.bridge, "name of the built-in bridge"},
        {"bip", 0, FLAG_STRING, &o->c.bip, "address of the bridge, such as 172.17.0.1/16"},
        {"fixed-cidr", 0, FLAG_STRING, &o->c.fixed_cidr,
         "part of the bridge's subnet that containers get"},
        {"cluster-cidr", 0, FLAG_STRING, &o->c.cluster_cidr,
         "destinations that are never masqueraded"},
        {"mtu", 0, FLAG_INT, &o->c.mtu, "MTU of containers' links", 0, 65535},
        {"ip-masq", 0, FLAG_BOOL, &o->c.ip_masq, "masquerade what containers send outside"},
        {"iptables", 0, FLAG_BOOL, &o->c.iptables,
         "manage packet filter rules (in a table of our own)"},
        {"stream-address", 0, FLAG_STRING, &o->c.stream_address,
         "address of the exec, attach and port-forward server"},
        {"pidfile", 'p', FLAG_STRING, &o->pid_file, "file that gets our process number"},
        {"version", 'v', FLAG_BOOL, &o->version, "print the version"},
        DOCKERD_IGNORED,
    };

    return flags_parse(program, flags, ARRAY_LEN(flags), argc, argv, NULL, err);
}

static void free_options(struct options *o)
{
    char *all[] = {o->c.cri_socket,   o->c.data_root,      o->c.exec_root, o->c.config_file,
                   o->c.runtime,      o->c.bridge,         o->c.bip,       o->c.fixed_cidr,
                   o->c.cluster_cidr, o->c.stream_address, o->log_level,   o->pid_file};

    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        free(all[i]);
    flag_list_fini(&o->hosts);
}

/* "unix:///path" or "/path" become the path. */
static int socket_path(char **p, const char *flag, struct error **err)
{
    cleanup_free char *old = *p;

    *p = NULL;
    if (!old || !old[0])
        return 0;
    if (strstarts(old, "unix://"))
        *p = xstrdup(old + 7);
    else if (old[0] == '/')
        *p = xstrdup(old);
    else
        return error_set(err, EINVAL, "--%s %s: only unix:///path is served", flag, old);
    return 0;
}

static int check(struct options *o, const char *program, struct error **err)
{
    enum log_level level;
    int r = socket_path(&o->c.cri_socket, "cri-socket", err);

    for (size_t i = 0; r == 0 && i < o->hosts.n; i++) {
        if (streq(o->hosts.v[i], "fd://"))
            str_replace(&o->hosts.v[i], "unix:///var/run/docker.sock");
        r = socket_path(&o->hosts.v[i], "host", err);
    }
    if (r < 0)
        return r;
    if (log_level_parse(o->debug ? "debug" : o->log_level, &level) < 0)
        return error_set(err, EINVAL, "--log-level %s is none of debug, info, warn, error",
                         o->log_level);
    log_set_level(level);
    if (streq(program, "dockerd")) {
        if (!o->c.bip)
            o->c.bip = xstrdup(DOCKER_DEFAULT_BIP);
        if (!o->hosts.n)
            flag_list_add(&o->hosts, "/var/run/docker.sock");
    } else if (!o->c.cri_socket && !o->hosts.n) {
        o->c.cri_socket = xstrdup(CRI_SOCKET);
    }
    if (o->c.data_root[0] != '/' || o->c.exec_root[0] != '/')
        return error_set(err, EINVAL, "--data-root and --exec-root must be absolute");
    return 0;
}

struct runner {
    struct loop *loop;
    struct loop_signal term, intr;
};

static void on_term(struct loop_signal *s, int signo)
{
    (void)signo;
    loop_exit(s->loop, 0);
}

static int write_pid(const char *path, struct error **err)
{
    cleanup_free char *text = xasprintf("%d\n", (int)getpid());

    return path ? file_write_atomic_nosync(path, 0644, str_of(text), err) : 0;
}

static int run(struct options *o, struct error **err)
{
    struct runner n = {.loop = loop_new()};
    struct docker_api *docker = NULL;
    struct engine *e = NULL;
    int r = engine_start(n.loop, &o->c, &e, err), code = 1;

    for (size_t i = 1; i < o->hosts.n; i++)
        log_warn("engine", "only the first --host is served", "ignored", o->hosts.v[i], NULL);
    if (r == 0 && o->hosts.n && (r = dir_make_parent(o->hosts.v[0], 0711, err)) == 0)
        r = docker_api_start(n.loop, o->hosts.v[0], e->images, &docker, err);
    if (r == 0)
        r = write_pid(o->pid_file, err);
    if (r == 0) {
        (void)signal(SIGPIPE, SIG_IGN);
        loop_signal_start(n.loop, &n.term, SIGTERM, on_term);
        loop_signal_start(n.loop, &n.intr, SIGINT, on_term);
        code = loop_run(n.loop);
        loop_signal_stop(&n.term);
        loop_signal_stop(&n.intr);
    }
    docker_api_stop(docker);
    engine_stop(e);
    loop_free(n.loop);
    return r < 0 ? r : code;
}

int engine_main(int argc, char **argv)
{
    const char *program = path_basename(argv[0]);
    cleanup_error struct error *err = NULL;
    struct options o;
    int r;

    defaults(&o, program);
    r = parse(&o, program, argc, argv, &err);
    if (r < 0) { /* the message names the program already */
        (void)fprintf(stderr, "%s\n", error_message(err));
        free_options(&o);
        return 2;
    }
    if (r == 0 && o.version) {
        (void)printf("skiff engine %s\n", SKIFF_VERSION);
        r = FLAGS_HELP;
    }
    if (r == 0)
        r = check(&o, program, &err);
    if (r < 0) {
        (void)fprintf(stderr, "%s: %s\n", program, error_message(err));
        free_options(&o);
        return 2;
    }
    if (r == 0) {
        r = run(&o, &err);
        if (err)
            (void)fprintf(stderr, "%s: %s\n", program, error_message(err));
    }
    free_options(&o);
    return r < 0 ? 1 : r == FLAGS_HELP ? 0 : r;
}
