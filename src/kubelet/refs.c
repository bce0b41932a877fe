#include "kubelet/refs.h"
#include "base/log.h"
#include "base/mem.h"

#define REF_FRESH_NS (60 * NSEC_PER_SEC)
#define REF_RETRY_NS (5 * NSEC_PER_SEC)

struct ref {
    struct refs *all;
    char *key;
    const ProtobufCMessageDescriptor *type;
    char *ns, *name;
    enum ref_state state;
    void *msg;
    char *error;
    int64_t asked_ns; /* mono; of the last answer */
    struct kube_call *call;
    struct map users; /* pod UIDs */
    /* tokens */
    char *audience, *uid, *pod_name, *token;
    int64_t seconds, renew_ns; /* renew: mono */
};
struct refs {
    struct kubelet *k;
    struct map by_key;
};

struct refs *refs_new(struct kubelet *k)
{
    struct refs *r = xcalloc(1, sizeof(*r));

    r->k = k;
    map_init(&r->by_key);
    return r;
}

static void ref_free(void *arg)
{
    struct ref *f = arg;

    kube_call_cancel(f->call);
    object_free(f->msg);
    map_fini(&f->users, NULL);
    free(f->key);
    free(f->ns);
    free(f->name);
    free(f->error);
    free(f->audience);
    free(f->uid);
    free(f->pod_name);
    if (f->token)
        explicit_bzero(f->token, strlen(f->token));
    free(f->token);
    free(f);
}

void refs_free(struct refs *r)
{
    if (!r)
        return;
    map_fini(&r->by_key, ref_free);
    free(r);
}

static void users_kick(struct ref *f)
{
    struct map_entry *e;
    size_t it = 0;

    while ((e = map_next(&f->users, &it))) {
        struct pod *p = pod_find(f->all->k, e->key);

        if (!p)
            continue;
        if (p->volumes_next_ns)
            p->volumes_next_ns = 1;
        for (size_t i = 0; i < p->n_containers; i++)
            if (streq(p->containers[i]->wait_reason, "CreateContainerConfigError") ||
                !p->containers[i]->wait_reason)
                p->containers[i]->retry_ns = 0;
        pod_kick(p);
    }
}

static void on_answer(const struct kube_result *r, void *arg)
{
    struct ref *f = arg;
    enum ref_state was = f->state;
    bool changed = true;

    f->call = NULL;
    f->asked_ns = mono_now().ns;
    if (!r->err && r->msg) {
        changed = was != REF_OK || !object_equal(f->msg, r->msg);
        if (changed) {
            object_free(f->msg);
            f->msg = object_dup(r->msg);
        }
        f->state = REF_OK;
    } else if (r->http_code == 404) {
        f->state = REF_MISSING;
    } else if (was != REF_OK) { /* what is known stays good while the API server is away */
        f->state = REF_FAILED;
        str_replace(&f->error, error_message(r->err));
    }
    if (f->state != was || changed)
        users_kick(f);
}

static void on_token(const struct kube_result *r, void *arg)
{
    struct ref *f = arg;
    const K8s__TokenRequest *t = r->msg;
    int64_t life, now = mono_now().ns;

    f->call = NULL;
    f->asked_ns = now;
    if (!r->err && t && t->status && t->status->token) {
        str_replace(&f->token, t->status->token);
        f->state = REF_OK;
        life = object_wall(t->status->expirationtimestamp).ns - wall_now().ns;
        life = life * 8 / 10;
        if (life > 24 * 3600 * NSEC_PER_SEC)
            life = 24 * 3600 * NSEC_PER_SEC;
        f->renew_ns = now + (life > 10 * NSEC_PER_SEC ? life : 10 * NSEC_PER_SEC);
    } else if (f->state == REF_OK) {
        f->renew_ns = now + REF_RETRY_NS;
        return;
    } else {
        f->state = r->http_code == 404 ? REF_MISSING : REF_FAILED;
        str_replace(&f->error, error_message(r->err));
    }
    users_kick(f);
}

static void ask_token(struct ref *f)
{
    K8s__TokenRequest q = K8S__TOKEN_REQUEST__INIT;
    K8s__TokenRequestSpec spec = K8S__TOKEN_REQUEST_SPEC__INIT;
    K8s__BoundObjectReference bound = K8S__BOUND_OBJECT_REFERENCE__INIT;
    char *audiences[1] = {f->audience};
    struct kube_request rq = {.verb = KUBE_CREATE,
                              .type = &k8s__service_account__descriptor,
                              .namespace_ = f->ns,
                              .name = f->name,
                              .subresource = "token",
                              .body = &q,
                              .answer = &k8s__token_request__descriptor};

    bound.apiversion = (char *)(uintptr_t) "v1";
    bound.kind = (char *)(uintptr_t) "Pod";
    bound.name = f->pod_name;
    bound.uid = f->uid;
    spec.boundobjectref = &bound;
    spec.has_expirationseconds = 1;
    spec.expirationseconds = f->seconds;
    if (*f->audience) {
        spec.audiences = audiences;
        spec.n_audiences = 1;
    }
    q.spec = &spec;
    kube_call(f->all->k->client, &rq, on_token, f, &f->call);
}

static void ask(struct ref *f)
{
    if (f->call || !f->all->k->client)
        return;
    if (f->audience)
        ask_token(f);
    else
        kube_get(f->all->k->client, f->type, f->ns, f->name, on_answer, f, &f->call);
}

static bool due(const struct ref *f, int64_t now)
{
    if (!f->asked_ns)
        return true;
    if (f->state != REF_OK)
        return now - f->asked_ns >= REF_RETRY_NS;
    return f->audience ? now >= f->renew_ns : now - f->asked_ns >= REF_FRESH_NS;
}

static struct ref *ref_of(struct pod *p, char *key)
{
    struct refs *all = p->k->refs;
    struct ref *f = map_get(&all->by_key, key);

    if (!f) {
        f = xcalloc(1, sizeof(*f));
        f->all = all;
        f->key = xstrdup(key);
        map_init(&f->users);
        (void)map_set(&all->by_key, key, f);
    }
    if (!map_has(&f->users, p->uid))
        (void)map_set(&f->users, p->uid, f);
    return f;
}

static enum ref_state look(struct ref *f, const char **err_text)
{
    if (!f->all->k->client) {
        if (err_text)
            *err_text = "there is no API server to ask";
        return f->state == REF_OK ? REF_OK : f->all->k->api_wanted ? REF_PENDING : REF_FAILED;
    }
    if (due(f, mono_now().ns))
        ask(f);
    if (err_text)
        *err_text = f->error;
    return f->state;
}

static struct ref *object_ref(struct pod *p, const ProtobufCMessageDescriptor *type,
                              const char *name)
{
    cleanup_free char *key = xasprintf("%s/%s/%s", type->short_name, p->ns, name);
    struct ref *f = ref_of(p, key);

    if (!f->name) {
        f->type = type;
        f->ns = xstrdup(p->ns);
        f->name = xstrdup(name);
    }
    return f;
}

enum ref_state refs_config_map(struct pod *p, const char *name, K8s__ConfigMap **ret,
                               const char **err_text)
{
    struct ref *f = object_ref(p, &k8s__config_map__descriptor, name);
    enum ref_state st = look(f, err_text);

    *ret = f->msg;
    return st;
}

enum ref_state refs_secret(struct pod *p, const char *name, K8s__Secret **ret,
                           const char **err_text)
{
    struct ref *f = object_ref(p, &k8s__secret__descriptor, name);
    enum ref_state st = look(f, err_text);

    *ret = f->msg;
    return st;
}

enum ref_state refs_token(struct pod *p, const char *audience, int64_t seconds, const char **ret,
                          const char **err_text)
{
    cleanup_free char *key =
        xasprintf("token/%s/%lld/%s", p->uid, (long long)seconds, strna(audience));
    struct ref *f = ref_of(p, key);
    const char *account = p->api->spec->serviceaccountname;
    enum ref_state st;

    if (!f->name) {
        f->audience = xstrdup(strna(audience));
        f->seconds = seconds > 0 ? seconds : 3600;
        f->ns = xstrdup(p->ns);
        f->name = xstrdup(account && *account ? account : "default");
        f->uid = xstrdup(p->uid);
        f->pod_name = xstrdup(p->name);
    }
    st = look(f, err_text);
    *ret = f->token;
    return st;
}

void refs_forget_pod(struct refs *r, const struct pod *p)
{
    struct map_entry *e;
    size_t it = 0;

    if (!r)
        return;
    while ((e = map_next(&r->by_key, &it))) {
        struct ref *f = e->value;

        if (!map_remove(&f->users, p->uid) || f->users.n)
            continue;
        (void)map_remove(&r->by_key, f->key);
        ref_free(f);
    }
}

int64_t refs_next_ns(struct refs *r, const struct pod *p)
{
    struct map_entry *e;
    size_t it = 0;
    int64_t next = 0;

    while ((e = map_next(&r->by_key, &it))) {
        struct ref *f = e->value;
        int64_t at;

        if (!map_has(&f->users, p->uid))
            continue;
        at = f->state != REF_OK ? f->asked_ns + REF_RETRY_NS
             : f->audience      ? f->renew_ns
                                : f->asked_ns + REF_FRESH_NS;
        if (!next || at < next)
            next = at;
    }
    return next;
}
