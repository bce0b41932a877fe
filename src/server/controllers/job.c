#include "base/cleanup.h"
#include "base/mem.h"
#include "server/controllers/job_plan.h"
#include "server/controllers/pod_template.h"
#include <errno.h>

#define COMPONENT "job-controller"
#define JOBS "jobs.batch"

static void on_pod(struct controller *c, enum cluster_change what, const json_t *pod)
{
    (void)what;
    enqueue_owner(c, pod, "Job");
}

static int write_status(struct controller *c, const json_t *job, const struct job_plan *plan,
                        struct error **err)
{
    cleanup_json json_t *o = NULL;
    int rc;

    if (json_equal(plan->status, json_object_get(job, "status")))
        return 0;
    o = json_deep_copy(job);
    json_object_set(o, "status", plan->status);
    rc = cluster_update(c->env->cluster, JOBS, "status", o, err);
    if (rc == 0 && streq(plan->finished, "Complete"))
        event_write(c->env, job, "batch/v1", "Job", COMPONENT, "Normal", "Completed",
                    "Job completed");
    else if (rc == 0 && plan->finished)
        event_write(
            c->env, job, "batch/v1", "Job", COMPONENT, "Warning",
            strna(json_text_at(condition_get(json_object_get(plan->status, "conditions"), "Failed"),
                               "reason", NULL)),
            strna(json_text_at(condition_get(json_object_get(plan->status, "conditions"), "Failed"),
                               "message", NULL)));
    return rc;
}

static int apply(struct controller *c, const json_t *job, const struct job_plan *plan,
                 struct error **err)
{
    const json_t *p;
    int rc = 0;

    json_each(plan->remove, i, p)
    {
        rc = pod_delete_for(c, job, "batch/v1", "Job", p, COMPONENT, err);
        if (rc < 0 && rc != -ENOENT)
            return rc;
        error_clear(err);
    }
    for (int64_t i = 0; i < plan->create; i++) {
        cleanup_json json_t *pod =
            pod_from_template(job, "batch/v1", "Job", json_at(job, "spec", "template", NULL));

        rc = pod_create_for(c, job, "batch/v1", "Job", pod, COMPONENT, err);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static enum queue_verdict reconcile(struct controller *c, const char *key)
{
    cleanup_free char *ns = NULL, *name = NULL;
    cleanup_json json_t *job = NULL, *pods = NULL;
    struct cluster_delete opt = {.grace_s = -1, .propagation = "Background"};
    struct job_plan plan;
    struct error *err = NULL;
    int64_t now_s = wall_now().ns / NSEC_PER_SEC, ttl;
    int rc;

    key_split(key, &ns, &name);
    job = cluster_get(c->env->cluster, JOBS, ns, name);
    if (!job || meta_deleting(job))
        return QUEUE_DONE;
    ttl = job_ttl_left(job, now_s);
    if (ttl == 0) {
        opt.uid = meta_uid(job);
        return settle(c, key, cluster_remove(c->env->cluster, JOBS, ns, name, &opt, &err), &err);
    }
    pods = pods_of(c, job, "batch/v1", "Job");
    job_plan(job, pods, now_s, &plan);
    rc = apply(c, job, &plan, &err);
    if (rc == 0)
        rc = write_status(c, job, &plan, &err);
    if (plan.wait_s || ttl > 0)
        queue_add_after(&c->queue, key, (plan.wait_s ? plan.wait_s : ttl) * 1000);
    job_plan_fini(&plan);
    return settle(c, key, rc, &err);
}

const struct controller_def job_controller = {
    .name = "job",
    .watches = {{JOBS, enqueue_self}, {"pods", on_pod}},
    .reconcile = reconcile,
};
