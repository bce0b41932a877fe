#include "cli/wait_api.h"
#include "base/cleanup.h"
#include <errno.h>

#define RETRY_MS 10

struct answer {
    struct loop *loop;
    struct buf *out;
    struct error **err;
    int result;
};

int api_session_open(struct api_session *s, const char *kubeconfig, struct error **err)
{
    cleanup_kubeconfig struct kubeconfig k = {0};
    struct kube_client_options o = {.user_agent = "skiff-cli/" SKIFF_VERSION};
    int r = kubeconfig_load(kubeconfig, &k, err);

    if (r < 0)
        return r;
    s->loop = loop_new();
    r = kube_client_new(s->loop, &k, &o, &s->client, err);
    if (r < 0) {
        loop_free(s->loop);
        s->loop = NULL;
    }
    return r;
}

void api_session_close(struct api_session *s)
{
    if (!s->loop)
        return;
    kube_client_free(s->client);
    loop_run_once(s->loop, 0); /* streams free themselves at the end of a turn */
    loop_free(s->loop);
    *s = (struct api_session){0};
}

static void on_answer(const struct kube_result *r, void *arg)
{
    struct answer *a = arg;

    if (r->err && !kube_result_is(r, "AlreadyExists"))
        a->result =
            error_set(a->err, r->err->code ? r->err->code : EIO, "%s", error_message(r->err));
    else if (a->out)
        (void)buf_add_str(a->out, r->body);
    loop_exit(a->loop, 0);
}

int api_request(struct api_session *s, enum kube_verb verb, const char *path, struct str body,
                struct buf *out, struct error **err)
{
    struct kube_request q = {.verb = verb, .path = path, .raw_body = body, .timeout_ms = 10000};
    struct answer a = {.loop = s->loop, .out = out, .err = err};

    kube_call(s->client, &q, on_answer, &a, NULL);
    (void)loop_run(s->loop);
    return a.result;
}

int api_wait_ok(struct api_session *s, const char *path, struct mono deadline, struct error **err)
{
    for (;;) {
        struct error *last = NULL;
        int r = api_request(s, KUBE_GET, path, STR_NULL, NULL, &last);

        if (r == 0)
            return 0;
        if (mono_now().ns >= deadline.ns) {
            if (err)
                *err = last;
            else
                error_free(last);
            return r;
        }
        error_free(last);
        loop_run_once(s->loop, RETRY_MS);
    }
}
