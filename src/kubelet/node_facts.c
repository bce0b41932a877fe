#include "kubelet/node_facts.h"
#include "base/quantity.h"
#include "base/cleanup.h"
#include "base/file.h"
#include "base/mem.h"
#include "kubelet/node_status.h"
#include <arpa/inet.h>
#include <errno.h>
#include <ifaddrs.h>
#include <inttypes.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/statvfs.h>
#include <sys/utsname.h>

#define KUBELET_VERSION "v1.36.0+skiff" SKIFF_VERSION
#define FILE_BYTES_MAX ((size_t)256 << 10)

static int64_t cpu_count(void)
{
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof(set), &set) == 0)
        return CPU_COUNT(&set);
    long n = sysconf(_SC_NPROCESSORS_ONLN);
    return n > 0 ? n : 1;
}

/* "Key:   123 kB" in /proc/meminfo, in bytes; 0 when absent. */
static int64_t meminfo(struct str text, const char *key)
{
    while (text.p) {
        struct str line = str_split(&text, '\n'), rest = line;
        struct str name = str_split(&rest, ':');
        if (!str_eq_z(name, key) || !rest.p)
            continue;
        struct str digits = str_trim(rest);
        digits = str_split(&digits, ' ');
        int64_t v;
        return str_to_i64(digits, 0, INT64_MAX / 1024, &v) == 0 ? v * 1024 : 0;
    }
    return 0;
}

static int64_t number_file(const char *path)
{
    cleanup_buf struct buf b = {0};
    int64_t v;
    if (file_read(path, 256, &b, NULL) < 0 ||
        str_to_i64(str_trim(buf_str(&b)), 0, INT64_MAX, &v) < 0)
        return 0;
    return v;
}

/* Fourth field of /proc/loadavg is "running/total" tasks. */
static int64_t task_count(void)
{
    cleanup_buf struct buf b = {0};
    if (file_read("/proc/loadavg", 256, &b, NULL) < 0)
        return 0;
    struct str rest = buf_str(&b), field = STR_NULL;
    for (int i = 0; i < 4 && rest.p; i++)
        field = str_split(&rest, ' ');
    (void)str_split(&field, '/');
    int64_t v;
    return field.p && str_to_i64(field, 0, INT64_MAX, &v) == 0 ? v : 0;
}

void node_facts_read(struct node_facts *f, const char *root_dir)
{
    *f = (struct node_facts){.cpus = cpu_count()};
    cleanup_buf struct buf b = {0};
    if (file_read("/proc/meminfo", FILE_BYTES_MAX, &b, NULL) == 0) {
        f->memory_bytes = meminfo(buf_str(&b), "MemTotal");
        f->memory_available_bytes = meminfo(buf_str(&b), "MemAvailable");
        f->swap_bytes = meminfo(buf_str(&b), "SwapTotal");
    }
    struct statvfs v;
    if (statvfs(root_dir, &v) == 0 || statvfs("/", &v) == 0) {
        f->storage_bytes = (int64_t)(v.f_blocks * v.f_frsize);
        f->storage_available_bytes = (int64_t)(v.f_bavail * v.f_frsize);
        f->inodes = (int64_t)v.f_files;
        f->inodes_free = (int64_t)v.f_favail;
    }
    f->pids_max = number_file("/proc/sys/kernel/pid_max");
    f->pids_used = task_count();
}

static char *line_file(struct arena *a, const char *path)
{
    cleanup_buf struct buf b = {0};
    if (file_read(path, 4096, &b, NULL) < 0)
        return NULL;
    struct str s = str_trim(buf_str(&b));
    return s.n ? arena_strndup(a, s.p, s.n) : NULL;
}

/* PRETTY_NAME="..." of os-release */
static char *os_image(struct arena *a)
{
    cleanup_buf struct buf b = {0};
    if (file_read("/etc/os-release", FILE_BYTES_MAX, &b, NULL) == 0) {
        struct str rest = buf_str(&b);
        while (rest.p) {
            struct str line = str_split(&rest, '\n'), value = line;
            if (!str_eq_z(str_split(&value, '='), "PRETTY_NAME") || !value.p)
                continue;
            if (value.n >= 2 && (value.p[0] == '"' || value.p[0] == '\''))
                value = (struct str){value.p + 1, value.n - 2};
            return arena_strndup(a, value.p, value.n);
        }
    }
    return arena_strdup(a, "Linux");
}

const char *node_architecture(void)
{
    static struct utsname u;
    static const struct {
        const char *machine, *go;
    } rows[] = {{"x86_64", "amd64"}, {"aarch64", "arm64"},   {"armv7l", "arm"},
                {"armv6l", "arm"},   {"riscv64", "riscv64"}, {"ppc64le", "ppc64le"},
                {"s390x", "s390x"},  {"i686", "386"}};
    (void)uname(&u);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        if (streq(u.machine, rows[i].machine))
            return rows[i].go;
    return u.machine;
}

K8s__NodeSystemInfo *node_system_info(struct arena *a)
{
    struct utsname u;
    (void)uname(&u);
    K8s__NodeSystemInfo *i = object_new(a, &k8s__node_system_info__descriptor);
    char *machine = line_file(a, "/etc/machine-id"),
         *uuid = line_file(a, "/sys/class/dmi/id/product_uuid");
    char *boot = line_file(a, "/proc/sys/kernel/random/boot_id");
    i->machineid = machine ? machine : arena_strdup(a, "");
    i->systemuuid = uuid ? uuid : i->machineid;
    i->bootid = boot ? boot : arena_strdup(a, "");
    i->kernelversion = arena_strdup(a, u.release);
    i->osimage = os_image(a);
    i->kubeletversion = arena_strdup(a, KUBELET_VERSION);
    i->kubeproxyversion = arena_strdup(a, "");
    i->operatingsystem = arena_strdup(a, "linux");
    i->architecture = arena_strdup(a, node_architecture());
    return i;
}

struct hugepage_walk {
    struct arena *a;
    K8s__NodeStatus *s;
};

static int one_size(int dirfd, const char *name, unsigned char type, void *arg)
{
    (void)dirfd;
    (void)type;
    struct hugepage_walk *w = arg;
    int64_t kb = 0;
    struct str digits = str_of(name);
    if (!strstarts(name, "hugepages-") || !strends(name, "kB"))
        return 0;
    digits.p += strlen("hugepages-");
    digits.n -= strlen("hugepages-") + 2;
    if (str_to_i64(digits, 1, (int64_t)1 << 40, &kb) < 0)
        return 0;
    cleanup_free char *path = xasprintf("/sys/kernel/mm/hugepages/%s/nr_hugepages", name);
    int64_t pages = number_file(path);
    char resource[QUANTITY_TEXT + 16], size[QUANTITY_TEXT], amount[QUANTITY_TEXT];
    quantity_format((struct quantity){kb * 1024 * 1000, 'b'}, size);
    quantity_format((struct quantity){pages * kb * 1024 * 1000, 'b'}, amount);
    (void)snprintf(resource, sizeof(resource), "hugepages-%s", size);
    quantities_set(w->a, &w->s->capacity, &w->s->n_capacity, resource, amount);
    quantities_set(w->a, &w->s->allocatable, &w->s->n_allocatable, resource, amount);
    return 0;
}

void node_hugepages(struct arena *a, K8s__NodeStatus *s)
{
    struct hugepage_walk w = {a, s};
    (void)dir_each("/sys/kernel/mm/hugepages", one_size, &w, NULL);
}

/* The kernel's choice of source for a far address; nothing is sent. */
static int route_source(char out[static NODE_IP_TEXT])
{
    cleanup_close int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in far = {.sin_family = AF_INET, .sin_port = htons(9)}, own;
    far.sin_addr.s_addr =
        htonl(0xC6120001); /* 198.18.0.1: reserved for tests, behind the default route */
    socklen_t n = sizeof(own);
    if (fd < 0 || connect(fd, (struct sockaddr *)&far, sizeof(far)) < 0 ||
        getsockname(fd, (struct sockaddr *)&own, &n) < 0 || own.sin_addr.s_addr == 0)
        return -ENETUNREACH;
    return inet_ntop(AF_INET, &own.sin_addr, out, NODE_IP_TEXT) ? 0 : -errno;
}

int node_default_ip(char out[static NODE_IP_TEXT])
{
    if (route_source(out) == 0)
        return 0;
    struct ifaddrs *list;
    if (getifaddrs(&list) < 0)
        return -ENETUNREACH;
    int r = -ENETUNREACH;
    for (struct ifaddrs *i = list; i && r; i = i->ifa_next) {
        if (!i->ifa_addr || i->ifa_addr->sa_family != AF_INET || !(i->ifa_flags & IFF_UP) ||
            (i->ifa_flags & IFF_LOOPBACK) || strstarts(i->ifa_name, "docker") ||
            strstarts(i->ifa_name, "cni") || strstarts(i->ifa_name, "flannel") ||
            strstarts(i->ifa_name, "veth"))
            continue;
        const struct sockaddr_in *s = (const struct sockaddr_in *)i->ifa_addr;
        if (inet_ntop(AF_INET, &s->sin_addr, out, NODE_IP_TEXT))
            r = 0;
    }
    freeifaddrs(list);
    return r;
}
