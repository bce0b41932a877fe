/* Patches of pods/status: the newest state is sent, one request a pod at a time; equal states are
 * not sent again. */
#include "base/log.h"
#include "base/mem.h"
#include "kubelet/pod.h"

#define RETRY_FIRST_MS 500
#define RETRY_MAX_MS 30000
#define BODY_MAX (1u << 20)

static const char *text_or_null(const char *z)
{
    return z && *z ? z : NULL;
}

static void add_text(struct buf *b, const char *key, const char *value)
{
    (void)buf_printf(b, ",\"%s\":", key);
    (void)(text_or_null(value) ? buf_add_json_string(b, str_of(value)) : buf_add_z(b, "null"));
}

/* Conditions are merged by type with what others set; what is absent must be said to be. */
static void add_conditions(struct buf *b, const K8s__PodStatus *s)
{
    (void)buf_add_z(b, ",\"conditions\":[");
    for (size_t i = 0; i < s->n_conditions; i++) {
        const K8s__PodCondition *c = s->conditions[i];
        char when[WALL_TEXT];

        wall_format(object_wall(c->lasttransitiontime), when);
        (void)buf_printf(b,
                         "%s{\"type\":\"%s\",\"status\":\"%s\",\"lastProbeTime\":null,"
                         "\"lastTransitionTime\":\"%s\"",
                         i ? "," : "", c->type, c->status, when);
        if (c->has_observedgeneration)
            (void)buf_printf(b, ",\"observedGeneration\":%lld", (long long)c->observedgeneration);
        add_text(b, "reason", c->reason);
        add_text(b, "message", c->message);
        (void)buf_add_char(b, '}');
    }
    (void)buf_add_char(b, ']');
}

static void add_list(struct buf *b, const char *key, K8s__ContainerStatus *const *v, size_t n)
{
    if (!n)
        return;
    (void)buf_printf(b, ",\"%s\":[", key);
    for (size_t i = 0; i < n; i++) {
        if (i)
            (void)buf_add_char(b, ',');
        (void)object_encode_json(v[i], b);
    }
    (void)buf_add_char(b, ']');
}

static void body(struct pod *p, const K8s__PodStatus *s, const char *uid, struct buf *b)
{
    char started[WALL_TEXT];

    wall_format(object_wall(s->starttime), started);
    (void)buf_printf(b,
                     "{\"metadata\":{\"uid\":\"%s\"},\"status\":{\"phase\":\"%s\",\"startTime\":\"%"
                     "s\",\"qosClass\":\"%s\"",
                     uid, s->phase, started, s->qosclass);
    if (s->has_observedgeneration && !pod_is_static(p))
        (void)buf_printf(b, ",\"observedGeneration\":%lld", (long long)s->observedgeneration);
    add_text(b, "reason", s->reason);
    add_text(b, "message", s->message);
    add_text(b, "hostIP", s->hostip);
    add_text(b, "podIP", s->podip);
    (void)buf_add_z(b, ",\"hostIPs\":[{\"$patch\":\"replace\"}");
    for (size_t i = 0; i < s->n_hostips; i++)
        (void)buf_printf(b, ",{\"ip\":\"%s\"}", s->hostips[i]->ip);
    (void)buf_add_z(b, "],\"podIPs\":[{\"$patch\":\"replace\"}");
    for (size_t i = 0; i < s->n_podips; i++)
        (void)buf_printf(b, ",{\"ip\":\"%s\"}", s->podips[i]->ip);
    (void)buf_add_z(b, "]");
    add_list(b, "initContainerStatuses", s->initcontainerstatuses, s->n_initcontainerstatuses);
    add_list(b, "containerStatuses", s->containerstatuses, s->n_containerstatuses);
    add_list(b, "ephemeralContainerStatuses", s->ephemeralcontainerstatuses,
             s->n_ephemeralcontainerstatuses);
    add_conditions(b, s);
    (void)buf_add_z(b, "}}");
}

static void on_timer(struct loop_timer *t)
{
    struct pod *p = container_of(t, struct pod, status_timer);

    p->status_dirty = true;
    status_send(p);
}

static void on_sent(const struct kube_result *r, void *arg)
{
    struct pod *p = arg;

    p->status_call = NULL;
    if (r->err && r->http_code != 404 && r->http_code != 409 && r->http_code != 422) {
        log_warn("kubelet", "sending a pod's status", "pod", p->text, "error",
                 error_message(r->err), NULL);
        str_replace(&p->sent, NULL);
        p->status_delay_ms = p->status_delay_ms ? p->status_delay_ms * 2 : RETRY_FIRST_MS;
        if (p->status_delay_ms > RETRY_MAX_MS)
            p->status_delay_ms = RETRY_MAX_MS;
        loop_timer_start(p->k->loop, &p->status_timer, p->status_delay_ms, on_timer);
        return;
    }
    if (r->err && r->http_code != 404)
        log_warn("kubelet", "status refused", "pod", p->text, "error", error_message(r->err), NULL);
    p->status_delay_ms = 0;
    if (p->terminating && !observed_any_running(&p->obs) && list_empty(&p->kills))
        p->status_sent_final = true;
    pod_kick(p);
}

void status_send(struct pod *p)
{
    const char *uid = pod_is_static(p) ? p->mirror_uid : p->uid;
    struct arena a;
    struct buf b;
    bool ended = p->terminating && !observed_any_running(&p->obs) && list_empty(&p->kills);

    if (!p->status_dirty || p->status_call || !p->k->client || !uid || !p->api || !p->observed_once)
        return;
    p->status_dirty = false;
    arena_init(&a, 8192);
    buf_init(&b, BODY_MAX);
    body(p, pod_status(&a, p), uid, &b);
    if (!streq(p->sent, b.p)) {
        str_replace(&p->sent, b.p);
        kube_patch(p->k->client, &k8s__pod__descriptor, p->ns, p->name, "status",
                   KUBE_PATCH_STRATEGIC, buf_str(&b), on_sent, p, &p->status_call);
    } else if (ended) {
        p->status_sent_final = true;
    }
    buf_fini(&b);
    arena_fini(&a);
}

void pod_status_changed(struct pod *p)
{
    p->status_dirty = true;
    status_send(p);
}

void status_send_stop(struct pod *p)
{
    kube_call_cancel(TAKE(p->status_call));
    loop_timer_stop(&p->status_timer);
}
