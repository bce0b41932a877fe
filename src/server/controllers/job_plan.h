/* One step of a Job (NonIndexed). Pure. */
#pragma once
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
struct job_plan {
    int64_t create;       /* pods to make now */
    json_t *remove;       /* pods to delete (references) */
    int64_t wait_s;       /* look again after so many seconds; 0: no need */
    json_t *status;       /* new status */
    const char *finished; /* "Complete" or "Failed" when that happened now, else NULL */
};
void job_plan(const json_t *job, const json_t *pods, int64_t now_s, struct job_plan *ret);
void job_plan_fini(struct job_plan *p);
bool job_done(const json_t *status);
/* Seconds until a finished job's time to live ends; -1: it has none or is not finished. */
int64_t job_ttl_left(const json_t *job, int64_t now_s);
