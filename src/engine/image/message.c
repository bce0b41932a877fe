#include "engine/image/message.h"
#include "base/mem.h"
#include "codec/json.h"
#include <errno.h>

static int bad(struct error **err)
{
    return error_set(err, EPROTO, "unusable message from the image worker");
}

static int message_read(const json_t *o, struct worker_message *m, struct error **err)
{
    const char *t = json_text_or(o, "t", "");

    if (streq(t, "progress")) {
        int64_t current = json_int_or(o, "current", 0), total = json_int_or(o, "total", 0);
        m->type = MESSAGE_PROGRESS;
        m->id = xstrdup(json_text_or(o, "id", ""));
        m->status = xstrdup(json_text_or(o, "status", ""));
        m->current = current > 0 ? (uint64_t)current : 0;
        m->total = total > 0 ? (uint64_t)total : 0;
        return 0;
    }
    if (streq(t, "image")) {
        cleanup_buf struct buf b = {0};
        buf_init(&b, MESSAGE_MAX);
        const char *digest = json_text_or(o, "digest", NULL);
        m->type = MESSAGE_IMAGE;
        if (digest && !image_digest_ok(str_of(digest)))
            return bad(err);
        m->digest = xstrdup_null(digest);
        if (!json_is_object(json_object_get(o, "record")) ||
            json_write(json_object_get(o, "record"), &b) < 0)
            return bad(err);
        return image_record_parse(buf_str(&b), &m->record, err);
    }
    if (streq(t, "error")) {
        int64_t code = json_int_or(o, "code", EIO);
        m->type = MESSAGE_ERROR;
        m->code = code > 0 && code < 4096 ? (int)code : EIO;
        m->text = xstrdup(json_text_or(o, "message", "the image worker gave no reason"));
        return 0;
    }
    m->type = MESSAGE_DONE;
    return streq(t, "done") ? 0 : bad(err);
}

int worker_message_parse(struct str packet, struct worker_message *ret, struct error **err)
{
    cleanup_json json_t *o = NULL;
    struct worker_message m = {0};
    int r = json_parse(packet, MESSAGE_MAX, "message of the image worker", &o, err);

    if (r < 0)
        return r;
    r = json_is_object(o) ? message_read(o, &m, err) : bad(err);
    if (r < 0)
        worker_message_fini(&m);
    else
        *ret = m;
    return r;
}

void worker_message_fini(struct worker_message *m)
{
    free(m->id);
    free(m->status);
    free(m->digest);
    free(m->text);
    image_record_fini(&m->record);
    *m = (struct worker_message){0};
}

static void write_object(json_t *o, struct buf *b)
{
    (void)json_write(o, b);
    json_decref(o);
}

void worker_message_progress(struct buf *b, const char *id, const char *status, uint64_t current,
                             uint64_t total)
{
    write_object(json_pack("{ss ss ss sI sI}", "t", "progress", "id", id, "status", status,
                           "current", (json_int_t)current, "total", (json_int_t)total),
                 b);
}

void worker_message_image(struct buf *b, const struct image_record *r, const char *digest)
{
    (void)buf_add_z(b, "{\"t\":\"image\",\"record\":");
    (void)image_record_write(r, b);
    if (digest) {
        (void)buf_add_z(b, ",\"digest\":");
        (void)buf_add_json_string(b, str_of(digest));
    }
    (void)buf_add_char(b, '}');
}

void worker_message_error(struct buf *b, int code, const char *text)
{
    size_t n = strlen(text);

    (void)buf_printf(b, "{\"t\":\"error\",\"code\":%d,\"message\":", code);
    (void)buf_add_json_string(b,
                              (struct str){text, n < 8192 ? n : 8192}); /* the packet has a limit */
    (void)buf_add_char(b, '}');
}

void worker_message_done(struct buf *b)
{
    (void)buf_add_z(b, "{\"t\":\"done\"}");
}

/* ---- request ---- */
struct request_text {
    const char *key;
    size_t offset;
};
#define TEXT(key, member)                                                                          \
    {                                                                                              \
        key, offsetof(struct worker_request, member)                                               \
    }
static const struct request_text request_texts[] = {
    TEXT("op", op),
    TEXT("root", root),
    TEXT("tmp", tmp),
    TEXT("ref", ref),
    TEXT("platform", platform),
    TEXT("certs", certs_dir),
    TEXT("boot", boot),
    TEXT("username", username),
    TEXT("password", password),
    TEXT("identityToken", identity_token),
    TEXT("registryToken", registry_token),
};

static char **request_member(const struct worker_request *q, size_t i)
{
    return (char **)((char *)q + request_texts[i].offset);
}

static json_t *words(const struct image_strings *l)
{
    json_t *list = json_array();

    for (size_t i = 0; i < l->n; i++)
        json_array_append_new(list, json_string(l->v[i]));
    return list;
}

void worker_request_write(const struct worker_request *q, struct buf *b)
{
    json_t *o = json_object();

    for (size_t i = 0; i < ARRAY_LEN(request_texts); i++)
        if (*request_member(q, i))
            json_object_set_new(o, request_texts[i].key, json_string(*request_member(q, i)));
    json_object_set_new(o, "mirrors", words(&q->mirrors));
    json_object_set_new(o, "insecure", words(&q->insecure));
    json_object_set_new(o, "parallel", json_integer(q->parallel));
    json_object_set_new(o, "stallMs", json_integer(q->stall_ms));
    write_object(o, b);
}

static void words_read(const json_t *list, struct image_strings *ret)
{
    json_t *item;
    size_t i;

    json_array_foreach(list, i, item) if (json_is_string(item))
        image_strings_add(ret, json_string_value(item));
}

int worker_request_parse(struct str packet, struct worker_request *ret, struct error **err)
{
    cleanup_json json_t *o = NULL;
    struct worker_request q = {0};
    int r = json_parse(packet, MESSAGE_MAX, "request", &o, err);

    if (r < 0)
        return r;
    for (size_t i = 0; i < ARRAY_LEN(request_texts); i++)
        *request_member(&q, i) = xstrdup_null(json_text_or(o, request_texts[i].key, NULL));
    words_read(json_object_get(o, "mirrors"), &q.mirrors);
    words_read(json_object_get(o, "insecure"), &q.insecure);
    q.parallel = json_int_or(o, "parallel", 3);
    q.stall_ms = json_int_or(o, "stallMs", 60000);
    if (q.parallel < 1 || q.parallel > 64)
        q.parallel = 3;
    if (!q.op || !q.root || !q.tmp || !q.boot || (streq(q.op, "pull") && !q.ref)) {
        worker_request_fini(&q);
        return error_set(err, EINVAL, "request: a member is missing");
    }
    *ret = q;
    return 0;
}

void worker_request_fini(struct worker_request *q)
{
    for (size_t i = 0; i < ARRAY_LEN(request_texts); i++)
        free(*request_member(q, i));
    image_strings_fini(&q->mirrors);
    image_strings_fini(&q->insecure);
    *q = (struct worker_request){0};
}
