#include "engine/sandbox/sandbox.h"
#include "engine/sandbox/sandbox_private.h"
#include "base/cleanup.h"
#include "base/file.h"
#include <errno.h>

#define RECORD_MAX (8 << 20)

char *sandbox_dir(const struct sandbox *s)
{
    return xasprintf("%s/sandboxes/%s", s->engine->cfg.data_root, s->id);
}

char *sandbox_run_dir(const struct sandbox *s)
{
    return xasprintf("%s/sandboxes/%s", s->engine->cfg.exec_root, s->id);
}

const char *sandbox_cgroup_parent(const struct sandbox *s)
{
    return s->config->linux ? s->config->linux->cgroup_parent : "";
}

const Runtime__V1__NamespaceOption *sandbox_namespaces(const struct sandbox *s)
{
    const Runtime__V1__LinuxPodSandboxConfig *l = s->config->linux;

    return l && l->security_context ? l->security_context->namespace_options : NULL;
}

bool sandbox_is_host_network(const struct sandbox *s)
{
    const Runtime__V1__NamespaceOption *o = sandbox_namespaces(s);

    return o && o->network == RUNTIME__V1__NAMESPACE_MODE__NODE;
}

int sandbox_save(struct sandbox *s, struct error **err)
{
    cleanup_free char *dir = sandbox_dir(s), *path = path_join(dir, "sandbox.json");
    cleanup_buf struct buf text, wire64;
    size_t n = protobuf_c_message_get_packed_size(&s->config->base);
    cleanup_free uint8_t *wire = xmalloc(n + 1);
    cleanup_json json_t *v = NULL;

    buf_init(&text, BUF_UNBOUNDED);
    buf_init(&wire64, BUF_UNBOUNDED);
    (void)protobuf_c_message_pack(&s->config->base, wire);
    (void)buf_add_base64(&wire64, wire, n);
    v = json_pack("{s:s, s:s, s:b, s:I, s:s, s:i, s:s, s:s}", "id", s->id, "boot",
                  s->engine->boot_id, "ready", (int)s->ready, "createdAt",
                  (json_int_t)s->created_at, "ip", s->ip, "reaper", (int)s->reaper, "handler",
                  strna(s->handler), "config", wire64.p ? wire64.p : "");
    (void)json_write(v, &text);
    return file_write_atomic_nosync(path, 0600, buf_str(&text), err);
}

Runtime__V1__PodSandboxConfig *sandbox_copy_config(const Runtime__V1__PodSandboxConfig *config)
{
    size_t n = protobuf_c_message_get_packed_size(&config->base);
    cleanup_free uint8_t *wire = xmalloc(n + 1);

    (void)protobuf_c_message_pack(&config->base, wire);
    return runtime__v1__pod_sandbox_config__unpack(NULL, n, wire);
}

int sandbox_read_record(struct engine *e, const char *id, struct sandbox **ret, struct error **err)
{
    cleanup_free char *path = xasprintf("%s/sandboxes/%s/sandbox.json", e->cfg.data_root, id);
    cleanup_buf struct buf text = {0}, wire;
    cleanup_json json_t *v = NULL;
    Runtime__V1__PodSandboxConfig *config = NULL;
    struct sandbox *s;
    const char *ip;
    int r = file_read(path, RECORD_MAX, &text, err);

    buf_init(&wire, RECORD_MAX);
    if (r == 0)
        r = json_parse(buf_str(&text), RECORD_MAX, path, &v, err);
    if (r < 0)
        return r;
    if (buf_add_base64_decoded(&wire, str_of(json_text_or(v, "config", ""))) == 0)
        config = runtime__v1__pod_sandbox_config__unpack(NULL, wire.n, (const uint8_t *)wire.p);
    if (!config || !config->metadata || strlen(id) != ID_HEX) {
        if (config)
            runtime__v1__pod_sandbox_config__free_unpacked(config, NULL);
        return error_set(err, EINVAL, "%s is damaged", path);
    }
    s = xcalloc(1, sizeof *s);
    s->engine = e;
    memcpy(s->id, id, ID_TEXT);
    s->config = config;
    s->handler = xstrdup(json_text_or(v, "handler", ""));
    s->created_at = json_int_or(v, "createdAt", 0);
    ip = json_text_or(v, "ip", "");
    if (strlen(ip) < sizeof s->ip)
        memcpy(s->ip, ip, strlen(ip) + 1);
    s->ready = json_bool_or(v, "ready", false);
    s->reaper = (pid_t)json_int_or(v, "reaper", 0);
    if (!streq(json_text_or(v, "boot", ""), e->boot_id)) {
        s->ready = false;
        s->reaper = 0;
    }
    *ret = s;
    return 0;
}

void sandbox_free(struct sandbox *s)
{
    if (!s)
        return;
    process_cancel(s->helper);
    if (s->config)
        runtime__v1__pod_sandbox_config__free_unpacked(s->config, NULL);
    free(s->handler);
    free(s);
}
