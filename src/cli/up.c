#include "cli/up.h"
#include "api/kubeconfig.h"
#include "base/cleanup.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "cli/cluster_objects.h"
#include "cli/found.h"
#include "cli/preflight.h"
#include "cli/progress.h"
#include "cli/supervise.h"
#include "cli/wait_api.h"
#include "codec/json.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct up {
    struct node_config config;
    struct layout layout;
    struct progress progress;
    struct api_session api;
    int64_t timeout_ns;
    struct mono deadline;
    struct wall began;
    bool started_now; /* false: the kubelet ran already, perhaps without a supervisor */
    struct error **err;
};

static int up_config(struct up *u)
{
    cleanup_free char *path = node_config_path(u->config.data);
    int r = 0;

    u->config.with_server = true;
    if (!u->config.node_ip)
        r = preflight_default_ip(&u->config.node_ip, u->err);
    if (r == 0 && !u->config.node_name)
        r = preflight_default_name(&u->config.node_name, u->err);
    if (r == 0)
        r = preflight(&u->config, &u->layout, supervise_running(&u->layout) != 0, u->err);
    if (r == 0)
        r = dir_make(u->layout.log, 0750, u->err);
    if (r == 0)
        r = found_record(&u->layout, u->err);
    return r < 0 ? r : node_config_save(&u->config, path, u->err);
}

/* The last line a role logged at warning or above, so that a person need not go and look. */
static char *last_complaint(const struct layout *l, const char *role)
{
    cleanup_free char *path = xasprintf("%s/%s.log", l->log, role);
    struct buf text;
    struct str rest, found = STR_NULL;
    char *copy;

    if (file_read(path, 16 << 20, &text, NULL) < 0)
        return NULL;
    rest = buf_str(&text);
    while (rest.p) {
        struct str line = str_split(&rest, '\n');
        const char *mark = line.n > 30 ? memchr(line.p, ' ', line.n) : NULL;

        if (mark && (mark[1] == 'E' || mark[1] == 'W') && mark[2] == ' ')
            found = (struct str){mark + 3, line.n - (size_t)(mark + 3 - line.p)};
    }
    copy = found.p ? str_dup(found) : NULL;
    buf_fini(&text);
    return copy;
}

static int explain(struct up *u, const char *what, const char *role)
{
    cleanup_free char *complaint = last_complaint(&u->layout, role);

    (void)error_wrap(u->err, "%s", what);
    if (!complaint || strstr(error_message(*u->err), complaint))
        return -EIO;
    return error_set(u->err, EIO, "%s (%s.log: %s)", what, role, complaint);
}

static int wait_file(struct up *u, const char *path)
{
    struct loop *l = loop_new();

    while (!path_exists(path) && mono_now().ns < u->deadline.ns)
        loop_run_once(l, 5);
    loop_free(l);
    if (path_exists(path))
        return 0;
    return error_set(u->err, ETIMEDOUT, "%s did not appear", path);
}

static int up_server(struct up *u)
{
    int r = wait_file(u, u->layout.admin_kubeconfig);

    if (r == 0)
        r = api_session_open(&u->api, u->layout.admin_kubeconfig, u->err);
    if (r == 0)
        r = api_wait_ok(&u->api, "/readyz", u->deadline, u->err);
    return r < 0 ? explain(u, "the control plane does not answer", "server") : 0;
}

static int create_objects(struct up *u, const char *token)
{
    struct cluster_object objects[CLUSTER_OBJECTS_MAX];
    size_t n = cluster_objects(token, objects);
    int r = 0;

    for (size_t i = 0; i < n; i++) {
        struct buf body;

        buf_init(&body, 64 * 1024);
        (void)json_write(objects[i].body, &body);
        if (r == 0)
            r = api_request(&u->api, KUBE_CREATE, objects[i].path, buf_str(&body), NULL, u->err);
        buf_fini(&body);
        json_decref(objects[i].body);
    }
    return r;
}

/* A bootstrap kubeconfig is made when the node has no certificate of its own yet; the kubelet does
 * the rest. */
static int up_bootstrap(struct up *u)
{
    cleanup_kubeconfig struct kubeconfig admin = {0}, k = {0};
    cleanup_free char *token = NULL;
    int r;

    if (path_exists(u->layout.kubelet_kubeconfig))
        return 0;
    token = bootstrap_token_new();
    r = create_objects(u, token);
    if (r == 0)
        r = kubeconfig_load(u->layout.admin_kubeconfig, &admin, u->err);
    if (r < 0)
        return r;
    k.server = xstrdup(admin.server);
    k.ca_file = xstrdup_null(admin.ca_file);
    k.ca_pem = xstrdup_null(admin.ca_pem);
    k.token = xstrdup(token);
    k.user = xstrdup("kubelet-bootstrap");
    return kubeconfig_write(&k, u->layout.bootstrap_kubeconfig, u->err);
}

/* A condition that an earlier kubelet left behind says nothing about this one. */
static bool is_fresh(const struct up *u, const json_t *condition)
{
    struct wall t;

    return !u->started_now ||
           (wall_parse(str_of(json_text_or(condition, "lastHeartbeatTime", "")), &t) == 0 &&
            t.ns / NSEC_PER_SEC >= u->began.ns / NSEC_PER_SEC);
}

/* 1 when the node says Ready; 0 not yet, with the reason in *reason (owned). */
static int node_ready(const struct up *u, const json_t *node, char **reason)
{
    json_t *conditions = json_at(node, "status", "conditions", NULL), *c;
    size_t i;

    json_array_foreach(conditions, i, c)
    {
        if (!streq(json_text_at(c, "type", NULL), "Ready"))
            continue;
        if (!is_fresh(u, c)) {
            str_replace(reason, "the kubelet has not reported since it was started");
            return 0;
        }
        if (streq(json_text_at(c, "status", NULL), "True"))
            return 1;
        str_replace(reason, json_text_at(c, "message", NULL));
    }
    return 0;
}

static int poll_node(struct up *u, const char *path, char **reason)
{
    cleanup_error struct error *err = NULL;
    cleanup_json json_t *node = NULL;
    struct buf body;
    int r;

    buf_init(&body, 4 << 20);
    r = api_request(&u->api, KUBE_GET, path, STR_NULL, &body, &err);
    if (r == 0)
        r = json_parse(buf_str(&body), 4 << 20, "the Node object", &node, &err);
    buf_fini(&body);
    if (r == 0)
        return node_ready(u, node, reason);
    str_replace(reason, error_message(err));
    return 0;
}

static int up_wait_ready(struct up *u)
{
    cleanup_free char *path = xasprintf("/api/v1/nodes/%s", u->config.node_name);
    cleanup_free char *reason = NULL;

    while (mono_now().ns < u->deadline.ns) {
        if (poll_node(u, path, &reason) == 1)
            return 0;
        loop_run_once(u->api.loop, 10);
    }
    (void)error_set(u->err, ETIMEDOUT, "%s", reason ? reason : "no answer");
    return explain(u, "the node does not become Ready", "agent");
}

static int up_start(struct up *u)
{
    pid_t running = supervise_running(&u->layout);

    u->began = wall_now();
    u->started_now = supervise_role_pid(&u->layout, ROLE_AGENT) == 0;
    return running ? 0 : supervise_spawn(&u->layout, u->err);
}

static int up_run(struct up *u)
{
    static const struct {
        const char *step;
        int (*fn)(struct up *);
    } steps[] = {
        {"machine checked", up_config},       {"processes started", up_start},
        {"control plane answers", up_server}, {"node may join", up_bootstrap},
        {"node Ready", up_wait_ready},
    };

    for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
        int r;

        progress_step(&u->progress, "%s", steps[i].step);
        u->deadline = (struct mono){mono_now().ns + u->timeout_ns};
        r = steps[i].fn(u);
        if (r < 0)
            return r;
    }
    progress_done(&u->progress, NULL);
    (void)printf(
        "\nnode %s is Ready after %lld ms. Next:\n  export KUBECONFIG=%s\n  kubectl get nodes\n",
        u->config.node_name, (long long)progress_total_ms(&u->progress),
        u->layout.admin_kubeconfig);
    return 0;
}

int up_main(int argc, char **argv)
{
    cleanup_error struct error *err = NULL;
    struct up u = {.timeout_ns = 60 * NSEC_PER_SEC, .err = &err};
    struct flag flags[] = {
        {.name = "node-name",
         .type = FLAG_STRING,
         .target = &u.config.node_name,
         .help = "name of the Node [host name]"},
        {.name = "node-ip",
         .type = FLAG_STRING,
         .target = &u.config.node_ip,
         .help = "address of this machine [source of the default route]"},
        {.name = "data-dir",
         .type = FLAG_STRING,
         .target = &u.config.data,
         .help = "state [" LAYOUT_DATA "]"},
        {.name = "run-dir",
         .type = FLAG_STRING,
         .target = &u.config.run,
         .help = "sockets and locks [" LAYOUT_RUN "]"},
        {.name = "service-cidr",
         .type = FLAG_STRING,
         .target = &u.config.service_cidr,
         .help = "Service addresses [10.254.0.0/16]"},
        {.name = "cluster-cidr",
         .type = FLAG_STRING,
         .target = &u.config.cluster_cidr,
         .help = "pod addresses [172.30.0.0/16]"},
        {.name = "service-node-port-range",
         .type = FLAG_STRING,
         .target = &u.config.port_range,
         .help = "[30000-32767]"},
        {.name = "runtime",
         .type = FLAG_STRING,
         .target = &u.config.runtime,
         .help = "OCI runtime [crun, else runc]"},
        {.name = "log-level",
         .type = FLAG_STRING,
         .target = &u.config.log_level,
         .help = "error, warn, info or debug [info]"},
        {.name = "timeout",
         .type = FLAG_DURATION,
         .target = &u.timeout_ns,
         .help = "longest wait for one step [1m0s]"},
    };
    int r;

    node_config_init(&u.config);
    r = flags_parse("skiff up", flags, ARRAY_LEN(flags), argc, argv, NULL, &err);
    if (r == 0) {
        layout_init(&u.layout, u.config.data, u.config.run);
        progress_init(&u.progress);
        r = up_run(&u);
        if (r < 0)
            progress_fail(&u.progress, error_message(err));
        api_session_close(&u.api);
        layout_fini(&u.layout);
    } else if (r < 0) {
        (void)fprintf(stderr, "%s\n", error_message(err));
    }
    node_config_fini(&u.config);
    return r < 0 ? 1 : 0;
}
