#include "cli/preflight.h"
#include "base/cleanup.h"
#include "base/file.h"
#include "base/mem.h"
#include "cli/supervise.h"
#include "loop/process.h"
#include <arpa/inet.h>
#include <errno.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <stdlib.h>
#include <sys/socket.h>

static int check_root(const struct node_config *c, const struct layout *l, struct error **err)
{
    (void)c;
    (void)l;
    if (geteuid() == 0)
        return 0;
    return error_set(err, EPERM,
                     "a node needs root for mounts, namespaces and network; run it with sudo");
}

static bool file_contains(const char *path, const char *word)
{
    struct buf text;
    bool found;

    if (file_read(path, 1 << 20, &text, NULL) < 0)
        return false;
    found = strstr(text.p, word) != NULL;
    buf_fini(&text);
    return found;
}

static int check_overlay(const struct node_config *c, const struct layout *l, struct error **err)
{
    const char *argv[] = {"modprobe", "overlay", NULL};

    (void)c;
    (void)l;
    if (file_contains("/proc/filesystems", "\toverlay\n"))
        return 0;
    (void)process_run(argv, STR_NULL, 5000, NULL, NULL);
    if (file_contains("/proc/filesystems", "\toverlay\n"))
        return 0;
    return error_set(err, ENOSYS,
                     "the kernel has no overlayfs (CONFIG_OVERLAY_FS); load it with "
                     "modprobe overlay or use a kernel that has it");
}

static int check_nftables(const struct node_config *c, const struct layout *l, struct error **err)
{
    cleanup_close int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, 12 /* NETLINK_NETFILTER */);

    (void)c;
    (void)l;
    if (fd >= 0)
        return 0;
    return error_set(err, ENOSYS,
                     "the kernel has no netfilter netlink (CONFIG_NF_TABLES); load it with "
                     "modprobe nf_tables or use a kernel that has it");
}

static int check_cgroups(const struct node_config *c, const struct layout *l, struct error **err)
{
    (void)c;
    (void)l;
    if (path_exists("/sys/fs/cgroup/cgroup.controllers") || path_exists("/sys/fs/cgroup/memory"))
        return 0;
    return error_set(err, ENOSYS,
                     "no cgroup hierarchy is mounted at /sys/fs/cgroup; mount -t cgroup2 "
                     "none /sys/fs/cgroup");
}

static bool in_path(const char *program)
{
    const char *path = getenv("PATH");
    struct str rest =
        str_of(path ? path : "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");

    while (rest.p) {
        struct str dir = str_split(&rest, ':');
        cleanup_free char *full = xasprintf("%.*s/%s", STR_FMT(dir), program);

        if (access(full, X_OK) == 0)
            return true;
    }
    return false;
}

static int check_runtime(const struct node_config *c, const struct layout *l, struct error **err)
{
    (void)l;
    if (c->runtime && c->runtime[0]) {
        if (in_path(c->runtime) || access(c->runtime, X_OK) == 0)
            return 0;
        return error_set(err, ENOENT,
                         "the OCI runtime %s is not there; install it or leave --runtime out",
                         c->runtime);
    }
    if (in_path("crun") || in_path("runc"))
        return 0;
    return error_set(err, ENOENT, "neither crun nor runc is in PATH; apt-get install crun");
}

static int check_helpers(const struct node_config *c, const struct layout *l, struct error **err)
{
    static const char *const names[] = {"skiff-monitor", "skiff-worker"};
    cleanup_free char *self = self_path();
    char *slash = strrchr(self, '/');

    (void)c;
    (void)l;
    if (!slash)
        return 0;
    *slash = '\0';
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        cleanup_free char *beside = path_join(self, names[i]);

        if (access(beside, X_OK) < 0)
            return error_set(err, ENOENT,
                             "%s is missing; it belongs beside the skiff binary: install both "
                             "(make install)",
                             beside);
    }
    return 0;
}

static int check_writable(const struct node_config *c, const struct layout *l, struct error **err)
{
    const char *const dirs[] = {l->data, l->run};

    (void)c;
    for (size_t i = 0; i < ARRAY_LEN(dirs); i++) {
        cleanup_free char *probe = path_join(dirs[i], ".probe");
        int r = dir_make(dirs[i], 0755, err);

        if (r == 0)
            r = file_write_atomic_nosync(probe, 0600, STR("x"), err);
        if (r < 0) {
            (void)error_wrap(err, "%s is not writable", dirs[i]);
            return r;
        }
        (void)unlink(probe);
    }
    return 0;
}

static int check_name(const struct node_config *c, const struct layout *l, struct error **err)
{
    struct str s = str_of(c->node_name);

    (void)l;
    for (size_t i = 0; i < s.n; i++) {
        char ch = s.p[i];
        bool edge = i == 0 || i + 1 == s.n;

        if ((ch >= 'a' && ch <= 'z') || (ch >= '0' && ch <= '9') ||
            (!edge && (ch == '-' || ch == '.')))
            continue;
        s.n = 0;
    }
    if (s.n > 0 && s.n <= 253)
        return 0;
    return error_set(err, EINVAL,
                     "node name \"%s\" is not a DNS-1123 name (a-z, 0-9, '-' and '.', starting "
                     "and ending with a letter or digit); give one with --node-name",
                     c->node_name);
}

static int check_address(const struct node_config *c, const struct layout *l, struct error **err)
{
    unsigned char addr[16];

    (void)l;
    if (inet_pton(AF_INET, c->node_ip, addr) != 1 && inet_pton(AF_INET6, c->node_ip, addr) != 1)
        return error_set(err, EINVAL,
                         "node address \"%s\" is not an IP address; give one with --node-ip",
                         c->node_ip);
    if (strstarts(c->node_ip, "127.") || streq(c->node_ip, "::1"))
        return error_set(err, EINVAL,
                         "node address %s is a loopback address, which pods and other nodes "
                         "cannot reach; give another with --node-ip",
                         c->node_ip);
    return 0;
}

static const struct {
    int (*fn)(const struct node_config *, const struct layout *, struct error **);
} checks[] = {{check_root},     {check_name},    {check_address}, {check_cgroups}, {check_overlay},
              {check_nftables}, {check_runtime}, {check_helpers}, {check_writable}};

static int check_port(unsigned port, const char *what, struct error **err)
{
    struct sockaddr_in6 a = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port)};
    cleanup_close int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cleanup_free char *holder = NULL;
    int one = 1;

    if (fd < 0)
        return 0; /* no IPv6: the role itself will say when it cannot bind */
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(fd, (struct sockaddr *)&a, sizeof a) == 0 || errno != EADDRINUSE)
        return 0;
    holder = preflight_port_holder(port);
    return error_set(err, EADDRINUSE, "port %u (%s) is taken%s%s; stop that program and try again",
                     port, what, holder ? " by " : "", strna(holder));
}

int preflight(const struct node_config *c, const struct layout *l, bool running, struct error **err)
{
    static const struct {
        unsigned port;
        const char *what;
        enum role_id role;
    } ports[] = {
        {6443, "API server", ROLE_SERVER},     {10250, "kubelet", ROLE_AGENT},
        {10248, "kubelet health", ROLE_AGENT}, {10249, "proxy metrics", ROLE_AGENT},
        {10256, "proxy health", ROLE_AGENT},
    };

    for (size_t i = 0; i < ARRAY_LEN(checks); i++) {
        int r = checks[i].fn(c, l, err);

        if (r < 0)
            return r;
    }
    for (size_t i = 0; i < ARRAY_LEN(ports) && !running; i++) {
        int r;

        if ((ports[i].role == ROLE_SERVER && !c->with_server) ||
            supervise_role_pid(l, ports[i].role))
            continue;
        r = check_port(ports[i].port, ports[i].what, err);
        if (r < 0)
            return r;
    }
    return 0;
}

static char *address_text(const struct sockaddr *a)
{
    char text[INET6_ADDRSTRLEN];
    const void *addr = a->sa_family == AF_INET
                           ? (const void *)&((const struct sockaddr_in *)a)->sin_addr
                           : (const void *)&((const struct sockaddr_in6 *)a)->sin6_addr;

    return inet_ntop(a->sa_family, addr, text, sizeof text) ? xstrdup(text) : NULL;
}

/* connect(2) on a datagram socket sends nothing and picks the source address of the route. */
static char *route_source(void)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(53)}, from;
    socklen_t n = sizeof from;
    cleanup_close int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    (void)inet_pton(AF_INET, "8.8.8.8", &to.sin_addr);
    if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof to) < 0 ||
        getsockname(fd, (struct sockaddr *)&from, &n) < 0)
        return NULL;
    return address_text((struct sockaddr *)&from);
}

int preflight_default_ip(char **ret, struct error **err)
{
    struct ifaddrs *all = NULL;
    char *found = route_source();

    if (!found && getifaddrs(&all) == 0) {
        for (struct ifaddrs *i = all; i && !found; i = i->ifa_next)
            if (i->ifa_addr && i->ifa_addr->sa_family == AF_INET && (i->ifa_flags & IFF_UP) &&
                !(i->ifa_flags & IFF_LOOPBACK))
                found = address_text(i->ifa_addr);
        freeifaddrs(all);
    }
    if (!found)
        return error_set(err, EADDRNOTAVAIL,
                         "no address but loopback on this machine; bring an interface up "
                         "or give an address with --node-ip");
    *ret = found;
    return 0;
}

int preflight_default_name(char **ret, struct error **err)
{
    char name[256] = "";

    if (gethostname(name, sizeof name - 1) < 0 || !name[0])
        return error_set(err, ENOENT,
                         "this machine has no host name; give a node name with --node-name");
    for (char *p = name; *p; p++)
        if (*p >= 'A' && *p <= 'Z')
            *p = (char)(*p + 32);
    *ret = xstrdup(name);
    return 0;
}
