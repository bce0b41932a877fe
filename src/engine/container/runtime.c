#include "engine/container/runtime.h"
#include "base/cleanup.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "codec/json.h"
#include "engine/container/cgroup.h"
#include <errno.h>
#include <unistd.h>

#define LOG_BYTES_MAX (256 * 1024)
#define VERSION_TIMEOUT_MS 5000
#define RUNTIME_TIMEOUT_MS 120000

/* Where `name` is; owned, NULL when nowhere. */
static char *find_program(const char *name)
{
    const char *path = getenv("PATH");
    struct str rest = str_of(
        path && path[0] ? path : "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");

    if (strchr(name, '/'))
        return access(name, X_OK) == 0 ? xstrdup(name) : NULL;
    while (rest.p) {
        struct str dir = str_split(&rest, ':');
        char *full = xasprintf("%.*s/%s", STR_FMT(dir), name);

        if (access(full, X_OK) == 0)
            return full;
        free(full);
    }
    return NULL;
}

/* crun takes each controller of the v2 tree for its own; one that has no v1 mount makes it refuse
 * hybrid mounts. */
static bool crun_refuses(const struct cgroups *c)
{
    cleanup_buf struct buf text = {0};

    if (!c->hybrid || file_read("/sys/fs/cgroup/unified/cgroup.controllers", 4096, &text, NULL) < 0)
        return false;
    return strstr(text.p ? text.p : "", "hugetlb") && !path_exists("/sys/fs/cgroup/hugetlb");
}

static void read_version(struct runtime *r)
{
    const char *argv[] = {r->path, "--version", NULL};
    cleanup_buf struct buf out;
    struct str rest, line;

    buf_init(&out, 4096);
    if (process_run(argv, STR_NULL, VERSION_TIMEOUT_MS, &out, NULL) < 0)
        return;
    rest = buf_str(&out);
    line = str_split(&rest, '\n');
    r->version = str_dup(line);
}

int runtime_choose(const char *wanted, const char *exec_root, const struct cgroups *c,
                   struct runtime *ret, struct error **err)
{
    cleanup_free char *found = NULL;

    if (wanted && wanted[0]) {
        found = find_program(wanted);
        if (!found)
            return error_set(err, ENOENT, "runtime \"%s\" is not installed", wanted);
    } else {
        found = find_program("crun");
        if (found && crun_refuses(c)) {
            cleanup_free char *runc = find_program("runc");

            if (runc) {
                log_info("engine",
                         "crun cannot work with this machine's hybrid cgroups (no v1 hugetlb "
                         "mount): using runc",
                         NULL);
                str_replace(&found, runc);
            }
        }
        if (!found)
            found = find_program("runc");
        if (!found)
            return error_set(
                err, ENOENT,
                "neither crun nor runc is installed; install one or name it with --runtime");
    }
    *ret = (struct runtime){.path = TAKE(found), .root = path_join(exec_root, "runtime")};
    read_version(ret);
    return dir_make(ret->root, 0700, err);
}

void runtime_fini(struct runtime *r)
{
    free(r->path);
    free(r->root);
    free(r->version);
    *r = (struct runtime){0};
}

void runtime_argv(const struct runtime *r, const char *log, bool systemd, struct flag_list *ret)
{
    flag_list_add(ret, r->path);
    flag_list_add(ret, "--root");
    flag_list_add(ret, r->root);
    if (log) {
        flag_list_add(ret, "--log");
        flag_list_add(ret, log);
        flag_list_add(ret, "--log-format");
        flag_list_add(ret, "json");
    }
    if (systemd)
        flag_list_add(ret, "--systemd-cgroup");
}

char *runtime_log_message(const char *path)
{
    cleanup_buf struct buf text = {0};
    struct str rest;
    char *last = NULL;

    if (file_read(path, LOG_BYTES_MAX, &text, NULL) < 0)
        return NULL;
    for (rest = buf_str(&text); rest.p;) {
        struct str line = str_split(&rest, '\n');
        cleanup_json json_t *v = NULL;
        const char *msg;

        if (line.n && json_parse(line, LOG_BYTES_MAX, "runtime log", &v, NULL) == 0 &&
            (msg = json_text_or(v, "msg", NULL)))
            str_replace(&last, msg);
    }
    return last;
}

int runtime_start(struct loop *l, const struct runtime *r, const char *const *args,
                  struct str input, process_done_fn done, void *arg, struct process **ret,
                  struct error **err)
{
    struct flag_list argv = {0};
    struct process_spec spec = {.input = input, .timeout_ms = RUNTIME_TIMEOUT_MS};
    int code;

    runtime_argv(r, NULL, false, &argv);
    for (; *args; args++)
        flag_list_add(&argv, *args);
    argv.v = xreallocarray(argv.v, argv.n + 1, sizeof *argv.v);
    argv.v[argv.n] = NULL;
    spec.argv = (const char *const *)argv.v;
    code = process_start(l, &spec, done, arg, ret, err);
    flag_list_fini(&argv);
    return code;
}
