#include "engine/container/user.h"
#include "base/cleanup.h"
#include "base/file.h"
#include "base/mem.h"
#include <errno.h>
#include <fcntl.h>

#define TABLE_MAX (4 << 20)
#define ID_MAX 4294967294ll
#define FIELDS 7

void user_fini(struct user *u)
{
    free(u->groups);
    free(u->home);
    *u = (struct user){0};
}

static void add_group(struct user *u, int64_t gid)
{
    size_t at = 0;

    while (at < u->groups_n && u->groups[at] < gid)
        at++;
    if (at < u->groups_n && u->groups[at] == gid)
        return;
    u->groups = xreallocarray(u->groups, u->groups_n + 1, sizeof *u->groups);
    memmove(u->groups + at + 1, u->groups + at, (u->groups_n - at) * sizeof *u->groups);
    u->groups[at] = gid;
    u->groups_n++;
}

/* A table of the image, through no symlink that leaves it; empty when absent. */
static void read_table(int rootfs, const char *path, struct buf *ret)
{
    int fd = open_in_root(rootfs, path, O_RDONLY | O_NONBLOCK | O_CLOEXEC, 0);
    ssize_t n = 0;

    buf_init(ret, TABLE_MAX);
    while (fd >= 0) {
        char *p = buf_reserve(ret, 4096);

        if (!p || (n = read(fd, p, 4096)) <= 0)
            break;
        buf_commit(ret, (size_t)n);
    }
    if (fd >= 0)
        (void)close(fd);
}

static size_t split(struct str line, struct str fields[static FIELDS])
{
    size_t n = 0;

    while (line.p && n < FIELDS)
        fields[n++] = str_split(&line, ':');
    return n;
}

static bool is_id(struct str s, int64_t *ret)
{
    return s.n && str_to_i64(s, 0, ID_MAX, ret) == 0;
}

/* Finds by name, or by number when name is {NULL}. */
static bool find_user(struct str table, struct str name, int64_t uid, struct user *u,
                      struct str *ret_name)
{
    while (table.p) {
        struct str f[FIELDS], line = str_split(&table, '\n');
        int64_t id, gid;

        if (split(line, f) < 6 || !is_id(f[2], &id) || !is_id(f[3], &gid))
            continue;
        if (name.p ? !str_eq(f[0], name) : id != uid)
            continue;
        u->uid = id;
        u->gid = gid;
        *ret_name = f[0];
        free(u->home);
        u->home = f[5].n ? str_dup(f[5]) : NULL;
        return true;
    }
    return false;
}

static bool find_group(struct str table, struct str name, int64_t *ret)
{
    while (table.p) {
        struct str f[FIELDS], line = str_split(&table, '\n');

        if (split(line, f) >= 3 && str_eq(f[0], name) && is_id(f[2], ret))
            return true;
    }
    return false;
}

static void add_memberships(struct str table, struct str user, struct user *u)
{
    while (user.n && table.p) {
        struct str f[FIELDS], line = str_split(&table, '\n'), members;
        int64_t gid;

        if (split(line, f) < 4 || !is_id(f[2], &gid))
            continue;
        for (members = f[3]; members.p;)
            if (str_eq(str_trim(str_split(&members, ',')), user))
                add_group(u, gid);
    }
}

/* Name or number of the user; ret_name gets the table's name for it. */
static int resolve_user(struct str passwd, struct str word, struct user *u, struct str *ret_name,
                        struct error **err)
{
    int64_t id = 0;

    if (find_user(passwd, word, 0, u, ret_name))
        return 0;
    if (!is_id(word, &id))
        return error_set(err, EINVAL,
                         "unable to find user %.*s: no matching entries in passwd file",
                         STR_FMT(word));
    if (!find_user(passwd, STR_NULL, id, u, ret_name)) {
        u->uid = id;
        u->gid = 0;
    }
    return 0;
}

int user_resolve(int rootfs, const struct user_spec *spec, struct user *ret, struct error **err)
{
    cleanup_buf struct buf passwd = {0}, group = {0};
    struct user u = {0};
    struct str rest = str_of(strna(spec->user)), user = str_split(&rest, ':'), name = STR_NULL;
    int r = 0;

    read_table(rootfs, "etc/passwd", &passwd);
    read_table(rootfs, "etc/group", &group);
    if (spec->has_uid) {
        if (!find_user(buf_str(&passwd), STR_NULL, spec->uid, &u, &name))
            u.uid = spec->uid;
        rest = STR_NULL;
    } else if (user.n) {
        r = resolve_user(buf_str(&passwd), user, &u, &name, err);
    } else {
        (void)find_user(buf_str(&passwd), STR_NULL, 0, &u, &name);
    }
    if (r == 0 && spec->has_gid)
        u.gid = spec->gid;
    else if (r == 0 && rest.n && !find_group(buf_str(&group), rest, &u.gid) && !is_id(rest, &u.gid))
        r = error_set(err, EINVAL, "unable to find group %.*s: no matching entries in group file",
                      STR_FMT(rest));
    if (r < 0) {
        user_fini(&u);
        return r;
    }
    add_group(&u, u.gid);
    if (!spec->strict)
        add_memberships(buf_str(&group), name, &u);
    for (size_t i = 0; i < spec->extra_n; i++)
        add_group(&u, spec->extra[i]);
    *ret = u;
    return 0;
}
