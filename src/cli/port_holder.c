/* Who listens on a port: /proc/net/tcp names the socket's inode, /proc/PID/fd names its owner
 * (proc(5)). */
#include "base/cleanup.h"
#include "base/file.h"
#include "base/mem.h"
#include "cli/preflight.h"
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

static uint64_t listening_inode(const char *table, unsigned port)
{
    struct buf text;
    struct str rest;
    uint64_t inode = 0;

    if (file_read(table, 4 << 20, &text, NULL) < 0)
        return 0;
    rest = buf_str(&text);
    (void)str_split(&rest, '\n');
    while (rest.p && !inode) {
        cleanup_free char *line = str_dup(str_split(&rest, '\n'));
        char local[48];
        unsigned state;
        unsigned long long at;
        char *colon;

        if (sscanf(line, " %*u: %47s %*s %x %*s %*s %*s %*u %*u %llu", local, &state, &at) != 3)
            continue;
        colon = strrchr(local, ':');
        if (state == 0x0a && colon && strtoul(colon + 1, NULL, 16) == port)
            inode = at;
    }
    buf_fini(&text);
    return inode;
}

struct search {
    char target[64], pid[24];
};

static int match_fd(int dirfd, const char *name, unsigned char type, void *arg)
{
    struct search *s = arg;
    char link[64];
    ssize_t n = readlinkat(dirfd, name, link, sizeof link - 1);

    (void)type;
    if (n <= 0)
        return 0;
    link[n] = '\0';
    return streq(link, s->target);
}

static int match_pid(int dirfd, const char *name, unsigned char type, void *arg)
{
    struct search *s = arg;
    cleanup_free char *fds = NULL;

    (void)dirfd;
    (void)type;
    if (name[0] < '0' || name[0] > '9')
        return 0;
    fds = xasprintf("/proc/%s/fd", name);
    if (dir_each(fds, match_fd, s, NULL) != 1)
        return 0;
    (void)snprintf(s->pid, sizeof s->pid, "%s", name);
    return 1;
}

char *preflight_port_holder(unsigned port)
{
    cleanup_free char *comm = NULL;
    struct search s = {0};
    struct buf name;
    uint64_t inode = listening_inode("/proc/net/tcp6", port);
    char *text;

    if (!inode)
        inode = listening_inode("/proc/net/tcp", port);
    if (!inode)
        return NULL;
    (void)snprintf(s.target, sizeof s.target, "socket:[%llu]", (unsigned long long)inode);
    if (dir_each("/proc", match_pid, &s, NULL) != 1)
        return NULL;
    comm = xasprintf("/proc/%s/comm", s.pid);
    if (file_read(comm, 64, &name, NULL) < 0)
        return xasprintf("process %s", s.pid);
    text = xasprintf("process %s (%.*s)", s.pid, STR_FMT(str_trim(buf_str(&name))));
    buf_fini(&name);
    return text;
}
