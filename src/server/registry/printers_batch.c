/* Table cells of batch/v1. */
#include "server/controllers/meta.h"
#include "server/registry/print.h"

const struct column columns_jobs[] = {
    NAME_COLUMN,
    {"Status", "string", "", "How the job ended, or that it runs.", 0},
    {"Completions", "string", "", "Pods that succeeded, of those wanted.", 0},
    {"Duration", "string", "", "From the start to the end, or to now.", 0},
    AGE_COLUMN,
    {0},
};
static const char *job_state(const json_t *o)
{
    const json_t *c = json_at(o, "status", "conditions", NULL);

    if (condition_is(c, "Complete", "True"))
        return "Complete";
    if (condition_is(c, "Failed", "True"))
        return "Failed";
    if (meta_deleting(o))
        return "Terminating";
    return condition_is(c, "Suspended", "True") ? "Suspended" : "Running";
}

void print_jobs(const json_t *o, json_t *cells)
{
    const json_t *completions = json_at(o, "spec", "completions", NULL),
                 *status = json_object_get(o, "status");
    struct wall start = json_wall(json_object_get(status, "startTime")),
                end = json_wall(json_object_get(status, "completionTime"));
    int64_t done = json_int_or(status, "succeeded", 0),
            parallel = json_int_or(json_object_get(o, "spec"), "parallelism", 0);
    char text[64], duration[WALL_TEXT] = "";

    if (json_is_integer(completions))
        (void)snprintf(text, sizeof text, "%lld/%lld", (long long)done,
                       (long long)json_integer_value(completions));
    else if (parallel > 1)
        (void)snprintf(text, sizeof text, "%lld/1 of %lld", (long long)done, (long long)parallel);
    else
        (void)snprintf(text, sizeof text, "%lld/1", (long long)done);
    if (start.ns)
        duration_format_human((end.ns ? end.ns : wall_now().ns) - start.ns, duration);
    cell_name(cells, o);
    cell(cells, job_state(o));
    cell(cells, text);
    cell(cells, duration);
    cell_age(cells, o);
}
