#include "engine/engine.h"
#include "base/cleanup.h"
#include "base/file.h"
#include "base/log.h"
#include "engine/container/container.h"
#include "engine/cri/cri.h"
#include "engine/sandbox/sandbox.h"
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <sys/resource.h>

#define SUBNET_ENV "/run/flannel/subnet.env"
#define SUBNET_POLL_MS 2000 /* until a subnet is known */
#define SUBNET_POLLS 60     /* after that nobody is expected to write the file */

static void copy_config(struct engine_config *to, const struct engine_config *from)
{
    *to = *from;
    to->cri_socket = xstrdup_null(from->cri_socket);
    to->data_root = xstrdup(from->data_root);
    to->exec_root = xstrdup(from->exec_root);
    to->config_file = xstrdup_null(from->config_file);
    to->runtime = xstrdup_null(from->runtime);
    to->bridge = xstrdup(from->bridge);
    to->bip = xstrdup_null(from->bip);
    to->fixed_cidr = xstrdup_null(from->fixed_cidr);
    to->cluster_cidr = xstrdup_null(from->cluster_cidr);
    to->stream_address = xstrdup_null(from->stream_address);
}

static void free_config(struct engine_config *c)
{
    char *all[] = {c->cri_socket, c->data_root, c->exec_root,  c->config_file,  c->runtime,
                   c->bridge,     c->bip,       c->fixed_cidr, c->cluster_cidr, c->stream_address};

    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        free(all[i]);
}

/* ---- what we need around us ---- */
static int make_dirs(const struct engine *e, struct error **err)
{
    static const char *const data[] = {"containers", "sandboxes"}, *const run[] = {"containers",
                                                                                   "sandboxes",
                                                                                   "exits"};

    for (size_t i = 0; i < ARRAY_LEN(data); i++) {
        cleanup_free char *path = path_join(e->cfg.data_root, data[i]);
        int r = dir_make(path, 0710, err);

        if (r < 0)
            return r;
    }
    for (size_t i = 0; i < ARRAY_LEN(run); i++) {
        cleanup_free char *path = path_join(e->cfg.exec_root, run[i]);
        int r = dir_make(path, 0711, err);

        if (r < 0)
            return r;
    }
    return 0;
}

static int read_boot_id(struct engine *e, struct error **err)
{
    cleanup_buf struct buf text = {0};
    struct str id;
    int r = file_read("/proc/sys/kernel/random/boot_id", 128, &text, err);

    if (r < 0)
        return r;
    id = str_trim(buf_str(&text));
    if (id.n >= sizeof e->boot_id)
        return error_set(err, EINVAL, "boot ID is too long");
    memcpy(e->boot_id, id.p, id.n);
    return 0;
}

static int find_monitor(struct engine *e, struct error **err)
{
    const char *told = getenv("SKIFF_MONITOR");
    char self[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    char *slash;

    if (told && told[0]) {
        e->monitor = xstrdup(told);
    } else if (n > 0) {
        self[n] = 0;
        slash = strrchr(self, '/');
        e->monitor = xasprintf("%.*s/skiff-monitor", (int)(slash ? slash - self : 0), self);
    }
    if (!e->monitor || access(e->monitor, X_OK) < 0)
        return error_set(
            err, ENOENT,
            "skiff-monitor is not beside this program (%s); install it there or set SKIFF_MONITOR",
            strna(e->monitor));
    return 0;
}

/* ---- images ---- */
static bool image_in_use(const char *id, void *arg)
{
    struct engine *e = arg;
    struct map_entry *m;
    size_t it = 0;

    while ((m = map_next(&e->containers, &it)))
        if (streq(((struct container *)m->value)->image_id, id))
            return true;
    return false;
}

static int read_image_config(const struct engine *e, struct image_config *c, struct error **err)
{
    *c = (struct image_config){.data_root = xstrdup(e->cfg.data_root)};
    return e->cfg.config_file ? image_config_read_daemon_json(c, e->cfg.config_file, err) : 0;
}

static int open_images(struct engine *e, struct error **err)
{
    struct image_config c;
    int r = read_image_config(e, &c, err);

    if (r == 0)
        r = image_store_open(e->loop, &c, &e->images, err);
    image_config_fini(&c);
    if (r == 0)
        image_store_set_in_use(e->images, image_in_use, e);
    return r;
}

static void on_hup(struct loop_signal *s, int signo)
{
    struct engine *e = container_of(s, struct engine, hup);
    cleanup_error struct error *err = NULL;
    struct image_config c;

    (void)signo;
    if (read_image_config(e, &c, &err) < 0)
        log_error("engine", "configuration stays as it was", "reason", error_message(err), NULL);
    else {
        image_store_reconfigure(e->images, &c);
        log_info("engine", "configuration read again", "file", strna(e->cfg.config_file), NULL);
    }
    image_config_fini(&c);
}

/* ---- network ---- */
static void on_network_poll(struct loop_timer *t)
{
    struct engine *e = container_of(t, struct engine, network_poll);
    const char *reason;
    bool told = network_read_subnet_env(e->network, SUBNET_ENV) == 0;

    /* A subnet can come from the kubelet first; the overlay's word on MTU and masquerading comes a
     * little later. */
    if (!network_ready(e->network, &reason) || (!told && ++e->network_polls < SUBNET_POLLS))
        loop_timer_start(e->loop, &e->network_poll, SUBNET_POLL_MS, on_network_poll);
}

static int open_network(struct engine *e, struct error **err)
{
    cleanup_free char *dir = path_join(e->cfg.data_root, "network");
    struct network_config c = {.bridge = e->cfg.bridge,
                               .dir = dir,
                               .bip = e->cfg.bip,
                               .fixed_cidr = e->cfg.fixed_cidr,
                               .cluster_cidr = e->cfg.cluster_cidr,
                               .mtu = e->cfg.mtu,
                               .masquerade = e->cfg.ip_masq,
                               .rules = e->cfg.iptables};

    return network_open(&c, &e->network, err);
}

/* ---- start ---- */
static int load(struct engine *e, struct error **err)
{
    cleanup_error struct error *soft = NULL;
    int r = sandbox_load_all(e, err);

    if (r == 0)
        r = container_load_all(e, err);
    if (r < 0)
        return r;
    on_network_poll(&e->network_poll);
    if (network_sweep(e->network, &soft) < 0)
        log_warn("network", "cannot restore", "reason", error_message(soft), NULL);
    sandbox_sweep(e);
    return 0;
}

static int serve(struct engine *e, struct error **err)
{
    int r =
        streaming_new(e->loop, e->cfg.stream_address, &cri_streaming_ops, e, &e->streaming, err);

    if (r == 0 && e->cfg.cri_socket) {
        r = dir_make_parent(e->cfg.cri_socket, 0711, err);
        if (r == 0)
            r = grpc_server_new(e->loop, e->cfg.cri_socket, 0660, &e->grpc, err);
        if (r == 0) {
            cri_runtime_register(e);
            cri_image_register(e->grpc, e->images);
            log_info("engine", "serving CRI", "socket", e->cfg.cri_socket, "runtime",
                     e->runtime.path, NULL);
        }
    }
    return r;
}

int engine_start(struct loop *l, const struct engine_config *cfg, struct engine **ret,
                 struct error **err)
{
    struct engine *e = xcalloc(1, sizeof *e);
    int r;

    e->loop = l;
    copy_config(&e->cfg, cfg);
    map_init(&e->containers);
    map_init(&e->sandboxes);
    list_init(&e->watchers);
    cgroups_detect(&e->cgroups);
    r = make_dirs(e, err);
    if (r == 0)
        r = read_boot_id(e, err);
    if (r == 0)
        r = find_monitor(e, err);
    if (r == 0)
        r = open_images(e, err);
    if (r == 0)
        r = runtime_choose(e->cfg.runtime, e->cfg.exec_root, &e->cgroups, &e->runtime, err);
    if (r == 0)
        r = open_network(e, err);
    if (r == 0)
        r = load(e, err);
    if (r == 0)
        r = serve(e, err);
    if (r < 0) {
        engine_stop(e);
        return r;
    }
    loop_signal_start(l, &e->hup, SIGHUP, on_hup);
    *ret = e;
    return 0;
}

static void free_container(void *value)
{
    container_free(value);
}

static void free_sandbox(void *value)
{
    sandbox_free(value);
}

void engine_stop(struct engine *e)
{
    if (!e)
        return;
    loop_signal_stop(&e->hup);
    loop_timer_stop(&e->network_poll);
    cri_events_close(e);
    streaming_free(e->streaming);
    grpc_server_free(e->grpc);
    map_fini(&e->containers, free_container);
    map_fini(&e->sandboxes, free_sandbox);
    network_close(e->network);
    image_store_close(e->images);
    runtime_fini(&e->runtime);
    free(e->monitor);
    free_config(&e->cfg);
    free(e);
}
