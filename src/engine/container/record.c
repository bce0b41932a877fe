#include "engine/container/container.h"
#include "base/cleanup.h"
#include "base/file.h"
#include <errno.h>

#define RECORD_MAX (8 << 20)

char *container_dir(const struct container *c)
{
    return xasprintf("%s/containers/%s", c->engine->cfg.data_root, c->id);
}

char *container_run_dir(const struct container *c)
{
    return xasprintf("%s/containers/%s", c->engine->cfg.exec_root, c->id);
}

char *container_exit_file(const struct container *c)
{
    return xasprintf("%s/exits/%s", c->engine->cfg.exec_root, c->id);
}

static json_t *pack_config(const Runtime__V1__ContainerConfig *config)
{
    cleanup_buf struct buf text;
    size_t n = protobuf_c_message_get_packed_size(&config->base);
    cleanup_free uint8_t *wire = xmalloc(n + 1);

    buf_init(&text, BUF_UNBOUNDED);
    (void)protobuf_c_message_pack(&config->base, wire);
    (void)buf_add_base64(&text, wire, n);
    return json_stringn(text.p ? text.p : "", text.n);
}

int container_save(struct container *c, struct error **err)
{
    cleanup_free char *dir = container_dir(c), *path = path_join(dir, "container.json");
    cleanup_buf struct buf text;
    json_t *groups = json_array();
    cleanup_json json_t *v = NULL;

    for (size_t i = 0; i < c->user.groups_n; i++)
        (void)json_array_append_new(groups, json_integer(c->user.groups[i]));
    v = json_pack(
        "{s:s, s:s, s:s, s:s, s:s, s:s, s:i, s:I, s:I, s:I, s:i, s:b, s:i, s:I, s:I, s:o, s:o}",
        "id", c->id, "sandbox", strna(c->sandbox_id), "image", strna(c->image_id), "imageRef",
        strna(c->image_ref), "cgroup", strna(c->cgroup), "boot", c->engine->boot_id, "state",
        (int)c->state, "createdAt", (json_int_t)c->created_at, "startedAt",
        (json_int_t)c->started_at, "finishedAt", (json_int_t)c->finished_at, "exitCode",
        c->exit_code, "oom", (int)c->oom, "stopSignal", c->stop_signal, "uid",
        (json_int_t)c->user.uid, "gid", (json_int_t)c->user.gid, "groups", groups, "config",
        pack_config(c->config));
    if (!v)
        return error_set(err, EINVAL, "container record is not valid UTF-8");
    if (c->reason)
        (void)json_object_set_new(v, "reason", json_string(c->reason));
    if (c->message)
        (void)json_object_set_new(v, "message", json_string(c->message));
    if (c->log_path)
        (void)json_object_set_new(v, "log", json_string(c->log_path));
    buf_init(&text, BUF_UNBOUNDED);
    (void)json_write(v, &text);
    return file_write_atomic_nosync(path, 0600, buf_str(&text), err);
}

static void read_user(const json_t *v, struct user *u)
{
    const json_t *groups = json_object_get(v, "groups");

    u->uid = json_int_or(v, "uid", 0);
    u->gid = json_int_or(v, "gid", 0);
    u->groups_n = json_array_size(groups);
    u->groups = xcalloc(u->groups_n + 1, sizeof *u->groups);
    for (size_t i = 0; i < u->groups_n; i++)
        u->groups[i] = json_integer_value(json_array_get(groups, i));
}

static void fill(struct container *c, const json_t *v)
{
    c->sandbox_id = xstrdup(json_text_or(v, "sandbox", ""));
    c->image_id = xstrdup(json_text_or(v, "image", ""));
    c->image_ref = xstrdup(json_text_or(v, "imageRef", ""));
    c->cgroup = xstrdup(json_text_or(v, "cgroup", ""));
    c->log_path = xstrdup_null(json_text_or(v, "log", NULL));
    c->reason = xstrdup_null(json_text_or(v, "reason", NULL));
    c->message = xstrdup_null(json_text_or(v, "message", NULL));
    c->state = (enum container_state)json_int_or(v, "state", CONTAINER_EXITED);
    c->created_at = json_int_or(v, "createdAt", 0);
    c->started_at = json_int_or(v, "startedAt", 0);
    c->finished_at = json_int_or(v, "finishedAt", 0);
    c->exit_code = (int)json_int_or(v, "exitCode", 0);
    c->stop_signal = (int)json_int_or(v, "stopSignal", 15);
    c->oom = json_bool_or(v, "oom", false);
    read_user(v, &c->user);
}

int container_read_record(struct engine *e, const char *id, struct container **ret,
                          struct error **err)
{
    cleanup_free char *path = xasprintf("%s/containers/%s/container.json", e->cfg.data_root, id);
    cleanup_buf struct buf text = {0}, wire;
    cleanup_json json_t *v = NULL;
    Runtime__V1__ContainerConfig *config = NULL;
    struct container *c;
    int r = file_read(path, RECORD_MAX, &text, err);

    buf_init(&wire, RECORD_MAX);
    if (r == 0)
        r = json_parse(buf_str(&text), RECORD_MAX, path, &v, err);
    if (r < 0)
        return r;
    if (buf_add_base64_decoded(&wire, str_of(json_text_or(v, "config", ""))) == 0)
        config = runtime__v1__container_config__unpack(NULL, wire.n, (const uint8_t *)wire.p);
    if (!config || strlen(id) != ID_HEX)
        return error_set(err, EINVAL, "%s is damaged", path);
    c = xcalloc(1, sizeof *c);
    c->engine = e;
    memcpy(c->id, id, ID_TEXT);
    c->config = config;
    list_init(&c->waiters);
    fill(c, v);
    if (!streq(json_text_or(v, "boot", ""), e->boot_id) && c->state == CONTAINER_RUNNING)
        c->init = -1; /* of another boot: nothing to look for */
    *ret = c;
    return 0;
}

int container_read_exit(const char *path, int *ret_code, int64_t *ret_finished, bool *ret_oom)
{
    cleanup_buf struct buf text = {0};
    struct str rest, code, at;
    int64_t v, finished;
    int r = file_read(path, 256, &text, NULL);

    if (r < 0)
        return r;
    rest = str_trim(buf_str(&text));
    code = str_split(&rest, ' ');
    at = str_split(&rest, ' ');
    if (str_to_i64(code, 0, 255, &v) < 0 || str_to_i64(at, 0, INT64_MAX, &finished) < 0)
        return -EINVAL;
    *ret_code = (int)v;
    *ret_finished = finished;
    *ret_oom = str_eq_z(rest, "1");
    return 0;
}

void container_free(struct container *c)
{
    if (!c)
        return;
    control_free(c->control);
    process_cancel(c->runtime);
    if (c->config)
        runtime__v1__container_config__free_unpacked(c->config, NULL);
    free(c->sandbox_id);
    free(c->image_id);
    free(c->image_ref);
    free(c->log_path);
    free(c->cgroup);
    free(c->reason);
    free(c->message);
    user_fini(&c->user);
    free(c);
}
