/*
 * skiff-monitor sandbox -d DIR [-n] [-i] [-u HOSTNAME] [-p] [-m SHM_BYTES] [-s KEY=VALUE]...
 *
 * Makes the namespaces asked for (net, ipc, uts, pid) and pins each by a bind mount at DIR/net and
 * so on; nothing keeps running, except for -p a reaper that is the pid namespace's init, whose
 * number goes to stdout. Sysctls are set inside.
 */
#include "monitor/monitor.h"
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define SYSCTLS_MAX 64

static struct {
    const char *dir, *hostname, *shm;
    char *sysctl[SYSCTLS_MAX];
    int sysctls, flags;
} o;

static int touch(const char *name)
{
    int fd = open(name, O_WRONLY | O_CREAT | O_CLOEXEC, 0444);

    if (fd < 0)
        return errno;
    (void)close(fd);
    return 0;
}

static int pin(const char *source, const char *name)
{
    int r = touch(name);

    return r ? r : mount(source, name, NULL, MS_BIND, NULL) < 0 ? errno : 0;
}

static void text_add(char *to, size_t size, const char *z)
{
    size_t n = strlen(to), k = strlen(z);

    if (n + k + 1 <= size)
        memcpy(to + n, z, k + 1);
}

/* Dots in the name become slashes unless the name has slashes already. */
static int sysctl_set(char *setting)
{
    char path[512] = "/proc/sys/", *value = strchr(setting, '=');
    int fd, r = 0;

    if (!value)
        return EINVAL;
    *value++ = 0;
    if (!strchr(setting, '/'))
        for (char *p = setting; *p; p++)
            if (*p == '.')
                *p = '/';
    if (strstr(setting, ".."))
        return EINVAL;
    text_add(path, sizeof path, setting);
    fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return errno;
    if (write(fd, value, strlen(value)) < 0)
        r = errno;
    (void)close(fd);
    return r;
}

static int loopback_up(void)
{
    struct ifreq q = {.ifr_name = "lo", .ifr_flags = IFF_UP};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), r;

    if (fd < 0)
        return errno;
    r = ioctl(fd, SIOCSIFFLAGS, &q) < 0 ? errno : 0;
    (void)close(fd);
    return r;
}

/* Init of a shared pid namespace: the kernel reaps for whoever ignores SIGCHLD. */
static void reaper(void)
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);

    for (int i = 0; i < 3 && null >= 0; i++)
        (void)dup2(null, i);
    (void)setsid();
    (void)signal(SIGCHLD, SIG_IGN);
    (void)prctl(PR_SET_NAME, "pause");
    for (;;)
        (void)pause();
}

static int pin_pid(void)
{
    char path[64] = "/proc/", digits[16], *p = digits + sizeof digits;
    pid_t pid;
    int r;

    if (unshare(CLONE_NEWPID) < 0)
        return errno;
    pid = fork();
    if (pid < 0)
        return errno;
    if (pid == 0)
        reaper();
    *--p = 0;
    for (unsigned v = (unsigned)pid; v; v /= 10)
        *--p = (char)('0' + v % 10);
    text_add(path, sizeof path, p);
    text_add(path, sizeof path, "/ns/pid");
    r = pin(path, "pid");
    if (r || write(1, p, strlen(p)) < 0) {
        (void)kill(pid, SIGKILL);
        return r ? r : EPIPE;
    }
    return 0;
}

static int shm(void)
{
    char options[64] = "mode=1777,size=";

    text_add(options, sizeof options, o.shm);
    if (mkdir("shm", 0700) < 0 && errno != EEXIST)
        return errno;
    return mount("shm", "shm", "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, options) < 0 ? errno : 0;
}

static int options(int argc, char **argv)
{
    int c;

    while ((c = getopt(argc, argv, "d:niu:pm:s:")) != -1) {
        switch (c) {
        case 'd':
            o.dir = optarg;
            break;
        case 'n':
            o.flags |= CLONE_NEWNET;
            break;
        case 'i':
            o.flags |= CLONE_NEWIPC;
            break;
        case 'u':
            o.flags |= CLONE_NEWUTS;
            o.hostname = optarg;
            break;
        case 'p':
            o.flags |= CLONE_NEWPID;
            break;
        case 'm':
            o.shm = optarg;
            break;
        case 's':
            if (o.sysctls == SYSCTLS_MAX)
                return 1;
            o.sysctl[o.sysctls++] = optarg;
            break;
        default:
            return 1;
        }
    }
    return !o.dir;
}

static const struct {
    int flag;
    const char *source, *name;
} pins[] = {
    {CLONE_NEWNET, "/proc/self/ns/net", "net"},
    {CLONE_NEWIPC, "/proc/self/ns/ipc", "ipc"},
    {CLONE_NEWUTS, "/proc/self/ns/uts", "uts"},
};

int sandbox_main(int argc, char **argv)
{
    int r;

    if (options(argc, argv))
        return monitor_fail("usage", 0);
    if (chdir(o.dir) < 0)
        return monitor_fail(o.dir, errno);
    if (o.shm && (r = shm()) != 0)
        return monitor_fail("mount /dev/shm", r);
    if (unshare(o.flags & ~CLONE_NEWPID) < 0)
        return monitor_fail("make namespaces", errno);
    if ((o.flags & CLONE_NEWNET) && (r = loopback_up()) != 0)
        return monitor_fail("raise lo", r);
    if (o.hostname && sethostname(o.hostname, strlen(o.hostname)) < 0)
        return monitor_fail("set host name", errno);
    for (int i = 0; i < o.sysctls; i++)
        if ((r = sysctl_set(o.sysctl[i])) != 0) {
            for (char *p = o.sysctl[i]; *p; p++)
                if (*p == '/')
                    *p = '.';
            return monitor_fail(o.sysctl[i], r);
        }
    for (size_t i = 0; i < sizeof pins / sizeof *pins; i++)
        if ((o.flags & pins[i].flag) && (r = pin(pins[i].source, pins[i].name)) != 0)
            return monitor_fail(pins[i].name, r);
    if ((o.flags & CLONE_NEWPID) && (r = pin_pid()) != 0)
        return monitor_fail("pid", r);
    return 0;
}
