#include "kubelet/image.h"
#include "base/log.h"
#include "base/mem.h"
#include "kubelet/image_auth.h"
#include "kubelet/refs.h"
#include <ctype.h>

#define PULL_FIRST_NS (10 * NSEC_PER_SEC)
#define PULL_MAX_NS (300 * NSEC_PER_SEC)
#define PULL_DEADLINE_MS (60 * 60 * 1000)

struct image_puller {
    struct kubelet *k;
    struct list waiting;
    int64_t active;
};
struct pull {
    struct list link; /* in waiting, while it waits for its turn */
    struct container *c;
    char *image;
    pull_done_fn done;
    void *arg;
    struct grpc_call *call;
    struct loop_defer defer;
    bool active; /* counts as a pull under way */
    struct pull_result result;
    char *message, *ref;
    int64_t began_ns, asked_ns;
    uint64_t size;
};

static void turn_next(struct image_puller *q);

struct image_puller *image_puller_new(struct kubelet *k)
{
    struct image_puller *q = xcalloc(1, sizeof(*q));

    q->k = k;
    list_init(&q->waiting);
    return q;
}

void image_puller_free(struct image_puller *q)
{
    free(q);
}

static struct kubelet *kubelet_of(const struct pull *x)
{
    return x->c->pod->k;
}

static void turn_end(struct pull *x)
{
    if (!x->active)
        return;
    x->active = false;
    kubelet_of(x)->puller->active--;
    turn_next(kubelet_of(x)->puller);
}

void pull_cancel(struct pull *x)
{
    if (!x)
        return;
    loop_defer_stop(&x->defer);
    list_remove(&x->link);
    grpc_call_cancel(x->call);
    turn_end(x);
    free(x->image);
    free(x->message);
    free(x->ref);
    free(x);
}

static bool path_char(char c)
{
    return islower((unsigned char)c) || isdigit((unsigned char)c) || c == '.' || c == '_' ||
           c == '-' || c == '/';
}

bool image_normalise(const char *image, char **ret)
{
    struct str rest = str_of(image);
    const char *at = strchr(image, '@');
    const char *slash = strchr(image, '/');
    const char *last = strrchr(image, '/');
    const char *colon = strrchr(last ? last : image, ':');
    size_t name_n = at ? (size_t)(at - image) : rest.n;
    size_t host_n = 0;

    if (colon && (!at || colon < at))
        name_n = (size_t)(colon - image);
    if (slash && (memchr(image, '.', (size_t)(slash - image)) ||
                  memchr(image, ':', (size_t)(slash - image)) || strstarts(image, "localhost/")))
        host_n = (size_t)(slash - image) + 1;
    if (name_n <= host_n || !isalnum((unsigned char)image[host_n]))
        return false;
    for (size_t i = host_n; i < name_n; i++)
        if (!path_char(image[i]))
            return false;
    if (colon && (!at || colon < at) && !colon[1])
        return false;
    *ret = at || (colon && !at) ? xstrdup(image) : xasprintf("%s:latest", image);
    return true;
}

const char *image_policy(const K8s__Container *c)
{
    const char *last = strrchr(strna(c->image), '/');
    const char *name = last ? last : strna(c->image);
    const char *colon = strrchr(name, ':');

    if (c->imagepullpolicy && *c->imagepullpolicy)
        return c->imagepullpolicy;
    if (strchr(name, '@'))
        return "IfNotPresent";
    return !colon || streq(colon, ":latest") ? "Always" : "IfNotPresent";
}

/* ---- the end: told from a deferred job, so that callers may start a pull anywhere ---- */

static void on_told(struct loop_defer *d)
{
    struct pull *x = container_of(d, struct pull, defer);

    turn_end(x);
    x->done(&x->result, x->arg);
}

static void end(struct pull *x, const char *reason, char *message)
{
    x->result.reason = reason;
    x->result.message = x->message = message;
    x->result.ref = x->ref;
    if (reason && !x->result.retry_ns)
        x->result.retry_ns = wall_now().ns + PULL_FIRST_NS;
    loop_defer_start(kubelet_of(x)->loop, &x->defer, on_told);
}

/* Who the image runs as, for runAsNonRoot. */
static void learn(struct container *c, const Runtime__V1__Image *image)
{
    c->image_uid = image->uid ? image->uid->value : 0;
    str_replace(&c->image_user, image->uid ? NULL : image->username);
}

static void end_present(struct pull *x, const char *ref)
{
    x->ref = xstrdup(ref);
    x->c->pull_delay_ns = 0;
    end(x, NULL, NULL);
}

/* ---- pulling ---- */

static void on_pulled_size(int code, const char *message, const ProtobufCMessage *reply, void *arg)
{
    struct pull *x = arg;
    const Runtime__V1__ImageStatusResponse *s = (const void *)reply;
    char took[WALL_TEXT], whole[WALL_TEXT];
    int64_t now = mono_now().ns;

    x->call = NULL;
    if (s && s->image)
        learn(x->c, s->image);
    duration_format((now - x->began_ns) / NSEC_PER_MSEC * NSEC_PER_MSEC, took);
    duration_format((now - x->asked_ns) / NSEC_PER_MSEC * NSEC_PER_MSEC, whole);
    pod_event(
        x->c->pod, x->c, "Normal", "Pulled",
        "Successfully pulled image \"%s\" in %s (%s including waiting). Image size: %llu bytes.",
        x->c->spec->image, took, whole, s && s->image ? (unsigned long long)s->image->size : 0ull);
    x->c->pull_delay_ns = 0;
    end(x, NULL, NULL);
}

static void ask_status(struct pull *x, const char *image, grpc_reply_fn fn)
{
    Runtime__V1__ImageSpec spec = RUNTIME__V1__IMAGE_SPEC__INIT;
    Runtime__V1__ImageStatusRequest q = RUNTIME__V1__IMAGE_STATUS_REQUEST__INIT;

    spec.image = (char *)(uintptr_t)image;
    q.image = &spec;
    x->call = grpc_call_start(kubelet_of(x)->cri, CRI_IMAGE("ImageStatus"), &q.base,
                              &runtime__v1__image_status_response__descriptor, 60000, fn, x);
}

static void on_pulled(int code, const char *message, const ProtobufCMessage *reply, void *arg)
{
    struct pull *x = arg;
    struct container *c = x->c;
    const Runtime__V1__PullImageResponse *r = (const void *)reply;
    char *text;

    x->call = NULL;
    if (r) {
        x->ref = xstrdup(r->image_ref);
        ask_status(x, x->image, on_pulled_size);
        return;
    }
    text = xasprintf("failed to pull and unpack image \"%s\": %s", c->spec->image, message);
    if (strstr(message, "pull"))
        str_replace(&text, message);
    pod_event(c->pod, c, "Warning", "Failed",
              "Failed to pull image \"%s\": rpc error: code = %s desc = %s", c->spec->image,
              grpc_code_name(code), text);
    c->pull_delay_ns = c->pull_delay_ns ? c->pull_delay_ns * 2 : PULL_FIRST_NS;
    if (c->pull_delay_ns > PULL_MAX_NS)
        c->pull_delay_ns = PULL_MAX_NS;
    c->pull_next_ns = x->result.retry_ns = wall_now().ns + c->pull_delay_ns;
    end(x, "ErrImagePull", text);
}

static void pull_now(struct pull *x)
{
    Runtime__V1__ImageSpec spec = RUNTIME__V1__IMAGE_SPEC__INIT;
    Runtime__V1__PullImageRequest q = RUNTIME__V1__PULL_IMAGE_REQUEST__INIT;
    struct arena a;

    x->active = true;
    kubelet_of(x)->puller->active++;
    x->began_ns = mono_now().ns;
    arena_init(&a, 1024);
    spec.image = x->image;
    spec.user_specified_image = x->c->spec->image;
    q.image = &spec;
    q.auth = image_auth(&a, x->c->pod, x->image);
    pod_event(x->c->pod, x->c, "Normal", "Pulling", "Pulling image \"%s\"", x->c->spec->image);
    x->call = grpc_call_start(kubelet_of(x)->cri, CRI_IMAGE("PullImage"), &q.base,
                              &runtime__v1__pull_image_response__descriptor, PULL_DEADLINE_MS,
                              on_pulled, x);
    arena_fini(&a);
}

static void turn_next(struct image_puller *q)
{
    int64_t max = q->k->cfg->max_parallel_image_pulls;

    if (q->k->cfg->serialize_image_pulls && max < 2)
        max = 1;
    while (!list_empty(&q->waiting) && (max <= 0 || q->active < max)) {
        struct pull *x = container_of(q->waiting.next, struct pull, link);

        list_remove(&x->link);
        pull_now(x);
    }
}

static void pull_wait_turn(struct pull *x)
{
    struct container *c = x->c;

    if (c->pull_delay_ns && wall_now().ns < c->pull_next_ns) {
        x->result.retry_ns = c->pull_next_ns;
        if (!streq(c->wait_reason, "ImagePullBackOff"))
            pod_event(c->pod, c, "Normal", "BackOff", "Back-off pulling image \"%s\"",
                      c->spec->image);
        end(x, "ImagePullBackOff", xasprintf("Back-off pulling image \"%s\"", c->spec->image));
        return;
    }
    list_add_tail(&kubelet_of(x)->puller->waiting, &x->link);
    turn_next(kubelet_of(x)->puller);
}

static void on_status(int code, const char *message, const ProtobufCMessage *reply, void *arg)
{
    struct pull *x = arg;
    const Runtime__V1__ImageStatusResponse *s = (const void *)reply;
    const char *policy = image_policy(x->c->spec);

    x->call = NULL;
    if (!s) {
        end(x, "ImageInspectError",
            xasprintf("Failed to inspect image \"%s\": rpc error: code = %s desc = %s",
                      x->c->spec->image, grpc_code_name(code), message));
        return;
    }
    if (s->image && !streq(policy, "Always")) {
        pod_event(
            x->c->pod, x->c, "Normal", "Pulled",
            "Container image \"%s\" already present on machine and can be accessed by the pod",
            x->c->spec->image);
        learn(x->c, s->image);
        end_present(x, s->image->id);
        return;
    }
    if (streq(policy, "Never")) {
        pod_event(x->c->pod, x->c, "Warning", "ErrImageNeverPull",
                  "Container image \"%s\" is not present with pull policy of Never",
                  x->c->spec->image);
        end(x, "ErrImageNeverPull",
            xasprintf("Container image \"%s\" is not present with pull policy of Never",
                      x->c->spec->image));
        return;
    }
    pull_wait_turn(x);
}

struct pull *pull_start(struct container *c, pull_done_fn done, void *arg)
{
    struct pull *x = xcalloc(1, sizeof(*x));

    x->c = c;
    x->done = done;
    x->arg = arg;
    x->asked_ns = mono_now().ns;
    if (!image_normalise(strna(c->spec->image), &x->image)) {
        pod_event(c->pod, c, "Warning", "InspectFailed",
                  "Failed to apply default image tag \"%s\": couldn't parse image name \"%s\": "
                  "invalid reference format",
                  strna(c->spec->image), strna(c->spec->image));
        x->result.retry_ns = wall_now().ns + PULL_MAX_NS;
        end(x, "InvalidImageName",
            xasprintf("Failed to apply default image tag \"%s\": couldn't parse image name \"%s\": "
                      "invalid reference format",
                      strna(c->spec->image), strna(c->spec->image)));
    } else {
        ask_status(x, x->image, on_status);
    }
    return x;
}
