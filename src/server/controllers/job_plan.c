#include "server/controllers/job_plan.h"
#include "server/controllers/meta.h"
#include "server/controllers/pod_template.h"

#define BACKOFF_S 10
#define BACKOFF_MAX_S 360

struct counts {
    int64_t active, ready, succeeded, failed, terminating, restarts, last_failure_s;
};

static int64_t finished_at(const json_t *pod)
{
    const json_t *ready = condition_get(json_at(pod, "status", "conditions", NULL), "Ready");
    struct wall t = json_wall(json_object_get(ready, "lastTransitionTime"));

    return (t.ns ? t : meta_created(pod)).ns / NSEC_PER_SEC;
}

static struct counts count(const json_t *pods)
{
    struct counts n = {0};
    const json_t *p;

    json_each(pods, i, p)
    {
        const char *phase = strna(json_text_at(p, "status", "phase", NULL));

        if (streq(phase, "Succeeded")) {
            n.succeeded++;
        } else if (streq(phase, "Failed")) {
            n.failed++;
            if (finished_at(p) > n.last_failure_s)
                n.last_failure_s = finished_at(p);
        } else if (meta_deleting(p)) {
            n.terminating++;
        } else {
            n.active++;
            n.ready += pod_ready(p);
            n.restarts += json_int_or(json_object_get(p, "status"), "restarts", 0);
        }
    }
    return n;
}

bool job_done(const json_t *status)
{
    const json_t *c = json_object_get(status, "conditions");

    return condition_is(c, "Complete", "True") || condition_is(c, "Failed", "True");
}

static void remove_active(const json_t *pods, int64_t most, struct job_plan *ret)
{
    json_t *p;

    json_each(pods, i, p) if (pod_active(p) && most-- > 0) json_array_append(ret->remove, p);
}

static void finish(json_t *status, const char *early, const char *type, const char *reason,
                   const char *message, struct job_plan *ret)
{
    json_t *conditions = json_array_need(status, "conditions");

    (void)condition_set(conditions, early, "True", reason, message);
    (void)condition_set(conditions, type, "True", reason, message);
    if (streq(type, "Complete"))
        json_object_set_new(status, "completionTime", json_now());
    ret->finished = type;
}

/* Why the job has failed, or NULL. */
static const char *failure(const json_t *spec, const json_t *status, const struct counts *n,
                           int64_t now_s, const char **ret_text, int64_t *ret_wait)
{
    const json_t *deadline = json_object_get(spec, "activeDeadlineSeconds");
    int64_t limit = json_int_or(spec, "backoffLimit", 6);
    int64_t start = json_wall(json_object_get(status, "startTime")).ns / NSEC_PER_SEC;

    if (n->failed > limit || (n->restarts > 0 && n->restarts >= limit)) {
        *ret_text = "Job has reached the specified backoff limit";
        return "BackoffLimitExceeded";
    }
    if (!json_is_integer(deadline) || !start)
        return NULL;
    if (now_s - start >= json_integer_value(deadline)) {
        *ret_text = "Job was active longer than specified deadline";
        return "DeadlineExceeded";
    }
    *ret_wait = json_integer_value(deadline) - (now_s - start);
    return NULL;
}

/* How many pods to run at once, and not before the last failure's back-off is over. */
static void plan_pods(const json_t *spec, const json_t *pods, const struct counts *n, int64_t now_s,
                      struct job_plan *ret)
{
    const json_t *completions = json_object_get(spec, "completions");
    int64_t want = json_int_or(spec, "parallelism", 1), wait;

    if (json_is_integer(completions)) {
        int64_t left = json_integer_value(completions) - n->succeeded;

        want = want < left ? want : left;
    } else if (n->succeeded > 0) {
        want = n->active; /* one success: no new ones, those that run may end */
    }
    if (n->active > want) {
        remove_active(pods, n->active - want, ret);
        return;
    }
    if (n->failed > 0 && n->active < want) {
        wait = BACKOFF_S << (n->failed < 7 ? n->failed - 1 : 6);
        wait = (wait < BACKOFF_MAX_S ? wait : BACKOFF_MAX_S) - (now_s - n->last_failure_s);
        if (wait > 0) {
            ret->wait_s = ret->wait_s && ret->wait_s < wait ? ret->wait_s : wait;
            return;
        }
    }
    ret->create = want - n->active;
}

static void put_counts(json_t *status, const struct counts *n)
{
    const struct {
        const char *key;
        int64_t n;
    } rows[] = {{"active", n->active}, {"succeeded", n->succeeded}, {"failed", n->failed}};

    for (size_t i = 0; i < 3; i++)
        if (rows[i].n)
            json_set_int(status, rows[i].key, rows[i].n);
        else
            json_object_del(status, rows[i].key);
    json_set_int(status, "ready", n->ready);
    json_set_int(status, "terminating", n->terminating);
    json_default(status, "uncountedTerminatedPods", json_object());
}

void job_plan(const json_t *job, const json_t *pods, int64_t now_s, struct job_plan *ret)
{
    const json_t *spec = json_object_get(job, "spec"),
                 *completions = json_object_get(spec, "completions");
    json_t *status = json_is_object(json_object_get(job, "status"))
                         ? json_deep_copy(json_object_get(job, "status"))
                         : json_object();
    struct counts n = count(pods);
    const char *reason, *text = NULL;
    bool enough = json_is_integer(completions) ? n.succeeded >= json_integer_value(completions)
                                               : n.succeeded > 0 && n.active == 0;

    *ret = (struct job_plan){.remove = json_array(), .status = status};
    if (job_done(status))
        return;
    put_counts(status, &n);
    if (json_bool_or(spec, "suspend", false)) {
        (void)condition_set(json_array_need(status, "conditions"), "Suspended", "True",
                            "JobSuspended", "Job suspended");
        json_object_del(status, "startTime");
        remove_active(pods, n.active, ret);
        return;
    }
    if (condition_is(json_object_get(status, "conditions"), "Suspended", "True"))
        (void)condition_set(json_array_need(status, "conditions"), "Suspended", "False",
                            "JobResumed", "Job resumed");
    json_default(status, "startTime", json_now());
    reason = failure(spec, status, &n, now_s, &text, &ret->wait_s);
    if (enough) {
        remove_active(pods, n.active, ret);
        finish(status, "SuccessCriteriaMet", "Complete", "CompletionsReached",
               "Reached expected number of succeeded pods", ret);
    } else if (reason) {
        remove_active(pods, n.active, ret);
        finish(status, "FailureTarget", "Failed", reason, text, ret);
    } else {
        plan_pods(spec, pods, &n, now_s, ret);
    }
}

void job_plan_fini(struct job_plan *p)
{
    json_decref(p->remove);
    json_decref(p->status);
    *p = (struct job_plan){0};
}

int64_t job_ttl_left(const json_t *job, int64_t now_s)
{
    const json_t *ttl = json_at(job, "spec", "ttlSecondsAfterFinished", NULL),
                 *conditions = json_at(job, "status", "conditions", NULL);
    const json_t *c = condition_get(
        conditions, condition_is(conditions, "Complete", "True") ? "Complete" : "Failed");
    int64_t left;

    if (!json_is_integer(ttl) || !job_done(json_object_get(job, "status")))
        return -1;
    left = json_wall(json_object_get(c, "lastTransitionTime")).ns / NSEC_PER_SEC +
           json_integer_value(ttl) - now_s;
    return left > 0 ? left : 0;
}
